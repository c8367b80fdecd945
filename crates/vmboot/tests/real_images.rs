//! `inspect` and `plan` on boot images of several projects.
//!
//! A case without its image is ignored; `cargo xtask test` fetches all images.

#[path = "hints/files.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod files;
#[path = "shared/with_fixture.rs"]
mod with_fixture;

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::process::Command;

use boot_core::SizedSource;
use fmt_pe::pe::{DirectoryEntry, Machine, PeFile, Subsystem};
use fmt_test::CountingSource;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use serde::de::DeserializeOwned;
use vmboot::report::{InspectReport, PlacementReport, PlanReport};

use self::with_fixture::with_fixture;

/// Expected properties of an image.
#[derive(Clone, Copy)]
struct Known {
    file: &'static str,
    arch: &'static str,
    format: &'static str,
    /// Start of the version string.
    version: Option<&'static str>,
    boot_protocol: Option<&'static str>,
    codec: Option<&'static str>,
    /// Preferred address, if there is one, and alignment; `None` for an image that is not relocatable.
    relocation: Option<(Option<u64>, u64)>,
    /// Page size of an arm64 `Image`.
    page_size: Option<u32>,
    /// Whether the file is also an EFI application.
    efi_stub: bool,
    /// ABIs of the entry points.
    entries: &'static [&'static str],
    /// Supported protocols, with the entry address on a machine with 512 MiB.
    starts: &'static [(&'static str, u64)],
    /// Whether there are warnings about the image.
    has_warnings: bool,
}

const LINUX: Known = Known {
    file: "",
    arch: "x86_64",
    format: "bzimage",
    version: None,
    boot_protocol: Some("2.15"),
    codec: None,
    relocation: Some((Some(0x100_0000), 0x20_0000)),
    page_size: None,
    efi_stub: true,
    entries: &["linux-x86-64", "linux-x86-32"],
    starts: &[("linux", 0x100_0200)],
    has_warnings: false,
};

/// An image with the setup header of a kernel that runs in real mode.
const REAL_MODE: Known = Known {
    file: "",
    arch: "x86_64",
    format: "bzimage",
    version: None,
    boot_protocol: None,
    codec: None,
    relocation: None,
    page_size: None,
    efi_stub: false,
    entries: &["linux-x86-16"],
    starts: &[],
    has_warnings: true,
};

/// An arm64 `Image`, which is loaded at the start of RAM.
const ARM64: Known = Known {
    file: "",
    arch: "aarch64",
    format: "arm64-image",
    version: None,
    boot_protocol: None,
    codec: None,
    relocation: Some((None, 0x20_0000)),
    page_size: Some(4096),
    efi_stub: true,
    entries: &["arm64-image"],
    starts: &[("fdt-arm64", 0x8000_0000)],
    has_warnings: false,
};

const KNOWN: [Known; 11] = [
    Known {
        file: "kernels/aarch64/debian-13.Image",
        ..ARM64
    },
    Known {
        file: "images/aarch64/debian-13.Image",
        ..ARM64
    },
    Known {
        file: "images/aarch64/debian-13-16k.Image",
        page_size: Some(16384),
        ..ARM64
    },
    Known {
        file: "kernels/riscv64/debian-13.Image",
        arch: "riscv64",
        format: "riscv-image",
        page_size: None,
        entries: &["riscv-image"],
        // `text_offset` is 2 MiB, because firmware can be at the start of RAM.
        starts: &[("fdt-riscv64", 0x8020_0000)],
        ..ARM64
    },
    Known {
        file: "kernels/x86_64/debian-13.bzImage",
        version: Some("6.12."),
        codec: Some("zstd"),
        ..LINUX
    },
    Known {
        file: "kernels/x86_64/debian-12.bzImage",
        version: Some("6.1."),
        codec: Some("lz4-legacy"),
        ..LINUX
    },
    Known {
        file: "kernels/x86_64/debian-11.bzImage",
        version: Some("5.10."),
        codec: Some("lz4-legacy"),
        ..LINUX
    },
    Known {
        file: "kernels/x86_64/debian-13.vmlinux",
        format: "elf",
        boot_protocol: None,
        // From the note PHYS32_RELOC.
        relocation: LINUX.relocation,
        efi_stub: false,
        entries: &["elf64", "pvh"],
        // The entry points depend on the build; `check` reads them from the file.
        starts: &[],
        ..LINUX
    },
    Known {
        file: "images/x86_64/memtest86+x64.bin",
        version: Some("Memtest86+ v"),
        boot_protocol: Some("2.12"),
        relocation: None,
        // Its EFI application is a separate file.
        efi_stub: false,
        starts: &[("linux", 0x10_0200)],
        ..LINUX
    },
    Known {
        file: "images/x86_64/ipxe.lkrn",
        version: Some("1."),
        boot_protocol: Some("2.07"),
        ..REAL_MODE
    },
    Known {
        file: "images/x86_64/memdisk",
        version: Some("MEMDISK 6"),
        boot_protocol: Some("2.03"),
        ..REAL_MODE
    },
];

fn main() {
    let trials = KNOWN.map(|known| {
        with_fixture(known.file, known.file, move |path| {
            check(&known, path.to_str().ok_or("a path that is no UTF-8")?)?;
            Ok(Completion::Completed)
        })
    });
    let mut trials = Vec::from(trials);
    trials.extend(wrapped());
    trials.extend(reads());
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

/// Runs the command and parses its JSON output.
fn vmboot<T: DeserializeOwned>(args: &[&str]) -> Result<T, Failed> {
    let output = Command::new(env!("CARGO_BIN_EXE_vmboot")).args(args).output()?;
    if !output.status.success() {
        return Err(format!("{args:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn check(known: &Known, path: &str) -> Result<(), Failed> {
    let report: InspectReport = vmboot(&["inspect", "--json", path])?;
    let len = fs::metadata(path)?.len();
    assert_eq!(
        (report.format.as_str(), report.arch.as_str(), report.len),
        (known.format, known.arch, len)
    );
    let version = report.kernel_version.as_deref();
    assert_eq!(version.is_some(), known.version.is_some(), "{version:?}");
    assert!(
        version
            .unwrap_or_default()
            .starts_with(known.version.unwrap_or_default()),
        "{version:?}"
    );
    let header = report.linux_x86.as_ref();
    assert_eq!(
        header.map(|header| header.boot_protocol.as_str()),
        known.boot_protocol
    );
    let codec = report
        .payload
        .as_ref()
        .and_then(|payload| payload.codec.as_deref());
    assert_eq!(codec, known.codec);
    let relocation = match report.placement {
        PlacementReport::Fixed => None,
        PlacementReport::Relocatable { align, preferred, .. } => {
            Some((preferred.map(|start| start.0), align.0))
        }
    };
    assert_eq!(relocation, known.relocation);
    let arm64_image = report.arm64_image.as_ref();
    assert_eq!(arm64_image.and_then(|header| header.page_size), known.page_size);
    if let Some(header) = arm64_image {
        // All kernels since 4.6.
        assert!(header.placed_anywhere);
    }
    let riscv_image = report.riscv_image.as_ref();
    let is_riscv = known.arch == "riscv64";
    assert_eq!(
        riscv_image.map(|header| header.version.as_str()),
        is_riscv.then_some("0.2")
    );
    assert_eq!(report.efi_stub, known.efi_stub);
    let entries: Vec<_> = report.entries.iter().map(|entry| entry.abi.as_str()).collect();
    assert_eq!(entries, known.entries);
    assert_eq!(
        !report.warnings.is_empty(),
        known.has_warnings,
        "{:?}",
        report.warnings
    );
    for segment in &report.segments {
        assert!(
            segment.offset.0 + segment.file_len <= len,
            "{segment:?} is outside the file"
        );
        assert!(
            report.extent_start <= segment.start && segment.end <= report.extent_end,
            "{segment:?}"
        );
    }
    if known.format.ends_with("-image") {
        check_pe(known, path)?;
    }
    if known.codec.is_some() {
        check_payload(&report)?;
    }
    // A vmlinux with a PVH note starts through PVH, which it declares; both entry points are tried below.
    let default = match known.format {
        "elf" => Some("pvh"),
        _ => known.starts.first().map(|(name, _)| *name),
    };
    assert_eq!(report.default_protocol.as_deref(), default);
    for protocol in &report.protocols {
        let listed = known.starts.iter().find(|(name, _)| *name == protocol.name);
        match listed {
            Some((_, entry)) => check_plan(path, &protocol.name, Some(*entry))?,
            None if known.format == "elf" && protocol.name == "linux" => {
                check_plan(path, "linux", Some(elf_entry(path)?))?;
            }
            None if known.format == "elf" && protocol.name == "pvh" => check_plan(path, "pvh", None)?,
            None => assert_eq!(protocol.support, "none", "{protocol:?}"),
        }
    }
    Ok(())
}

/// The payload of a bzImage unpacks to an ELF file of the length that is behind it.
fn check_payload(report: &InspectReport) -> Result<(), Failed> {
    let payload = report.payload.as_ref().ok_or("no payload")?;
    let [layer] = report.layers.as_slice() else {
        return Err(format!("{:?}", report.layers).into());
    };
    assert_eq!(
        (layer.wrapper.as_str(), &layer.codec),
        ("bzimage", &payload.codec)
    );
    assert_eq!(
        (layer.format.as_deref(), layer.arch.as_deref()),
        (Some("elf"), Some("x86_64"))
    );
    assert_eq!(Some(layer.content_len), payload.unpacked_len);
    Ok(())
}

/// A command that compresses, its options, and the name of the codec in a zboot image.
type Tool = (&'static str, &'static [&'static str], Option<&'static [u8]>);

const TOOLS: [Tool; 8] = [
    ("gzip", &["-1nc"], Some(b"gzip\0")),
    ("xz", &["-1c", "--check=crc32"], Some(b"xzkern\0")),
    ("xz", &["-1c", "--format=lzma"], Some(b"lzma\0")),
    ("zstd", &["-1qcf"], Some(b"zstd22\0")),
    ("lz4", &["-1qc"], None),
    ("lz4", &["-1qlc"], Some(b"lz4\0")),
    ("lzop", &["-1qc"], Some(b"lzo\0")),
    ("bzip2", &["-1qc"], None),
];

/// One trial for each kernel and command: files with an `Image` inside are planned as the `Image` itself, and a bzImage with a payload of another
/// codec as the vmlinux in it.
fn wrapped() -> Vec<Trial> {
    let kernels: [(&str, Check); 3] = [
        ("kernels/aarch64/debian-13.Image", check_wrapped),
        ("kernels/riscv64/debian-13.Image", check_wrapped),
        ("kernels/x86_64/debian-13.bzImage", check_payload_of),
    ];
    let pairs = kernels
        .into_iter()
        .flat_map(|kernel| TOOLS.map(|tool| (kernel, tool)));
    pairs
        .map(|((kernel, check), tool)| {
            let name = format!("{kernel} in {} {}", tool.0, tool.1.join(" "));
            with_fixture(name, kernel, move |kernel| {
                if !check(kernel, tool)? {
                    return Ok(Completion::ignored_with(format!("{} is not installed", tool.0)));
                }
                Ok(Completion::Completed)
            })
        })
        .collect()
}

/// One trial for each x86_64 kernel: its format is detected, and the image parsed, with few reads.
fn reads() -> Vec<Trial> {
    let kernels = [
        ("kernels/x86_64/debian-13.vmlinux", 3),
        ("kernels/x86_64/debian-13.bzImage", 4),
    ];
    let trials = kernels.into_iter().map(|(kernel, most)| {
        with_fixture(format!("reads of {kernel}"), kernel, move |path| {
            let file = fs::read(path)?;
            let source = CountingSource::new(&file);
            boot_core::detect(&vmboot::formats()?, &source)?;
            let reads = source.reads();
            assert!((1..=most).contains(&reads), "{reads} reads");
            Ok(Completion::Completed)
        })
    });
    trials.collect()
}

/// Checks a kernel in a file made with a tool. False if the tool is not installed.
type Check = fn(&Path, Tool) -> Result<bool, Failed>;

/// What the tool makes of the file; `None` if it is not installed.
fn compress((tool, args, _): Tool, file: &Path) -> Option<Vec<u8>> {
    let output = Command::new(tool).args(args).arg("--").arg(file).output().ok()?;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Some(output.stdout)
}

fn plan(options: &[&str], path: &Path) -> Result<PlanReport, Failed> {
    let path = path.to_str().ok_or("a path that is no UTF-8")?;
    vmboot(&[&["plan", "--json"], options, &[path]].concat())
}

/// Checks the plans of the compressed image, and of a zboot image with it.
fn check_wrapped(image: &Path, tool: Tool) -> Result<bool, Failed> {
    let Some(packed) = compress(tool, image) else {
        return Ok(false);
    };
    let expected = plan(&[], image)?;
    let dir = tempfile::tempdir()?;
    let len = u32::try_from(fs::metadata(image)?.len())?;
    let zboot = tool.2.map(|codec| files::zboot(codec, &packed, len));
    for file in [Some(&packed), zboot.as_ref()].into_iter().flatten() {
        assert_eq!(plan(&[], &files::write(dir.path(), "file", file))?, expected);
    }
    Ok(true)
}

/// Replaces the payload of a bzImage by the same with another codec, as the kernel's build would have compressed it, and checks the plan of the vmlinux
/// in it.
fn check_payload_of(bzimage: &Path, tool: Tool) -> Result<bool, Failed> {
    // Fields of the setup header (`Documentation/arch/x86/boot.rst`).
    const SETUP_SECTS: usize = 0x1f1;
    const SYSSIZE: usize = 0x1f4;
    const PAYLOAD_OFFSET: usize = 0x248;
    const PAYLOAD_LENGTH: usize = 0x24c;
    let dir = tempfile::tempdir()?;
    let layers = dir.path().join("layers");
    let extracted = Command::new(env!("CARGO_BIN_EXE_vmboot"))
        .arg("extract")
        .args([bzimage, &layers])
        .output()?;
    assert!(extracted.status.success());
    let payload = layers.join("1-elf");
    let Some(mut packed) = compress(tool, &payload) else {
        return Ok(false);
    };
    // Behind the data of gzip is their length; behind those of the other codecs, the build appends it.
    if tool.0 != "gzip" {
        packed.extend(u32::try_from(fs::metadata(&payload)?.len())?.to_le_bytes());
    }
    let mut file = fs::read(bzimage)?;
    let field =
        |file: &[u8], at: usize| u32::from_le_bytes([file[at], file[at + 1], file[at + 2], file[at + 3]]);
    let code = (usize::from(file[SETUP_SECTS]) + 1) * 512;
    file.truncate(code + usize::try_from(field(&file, PAYLOAD_OFFSET))?);
    let len = u32::try_from(packed.len())?;
    file[PAYLOAD_LENGTH..][..4].copy_from_slice(&len.to_le_bytes());
    file.extend(packed);
    file.resize(code + (file.len() - code).next_multiple_of(16), 0);
    let paragraphs = u32::try_from((file.len() - code) / 16)?;
    file[SYSSIZE..][..4].copy_from_slice(&paragraphs.to_le_bytes());
    let options = ["--unpack", "always", "--memory", "512M"];
    let expected = plan(&options, bzimage)?;
    assert_eq!(
        plan(&options, &files::write(dir.path(), "file", &file))?,
        expected
    );
    Ok(true)
}

/// Checks the PE headers of an `Image`.
fn check_pe(known: &Known, path: &str) -> Result<(), Failed> {
    let file = File::open(path)?;
    let source = SizedSource::new(&file)?;
    let pe = PeFile::parse(source)?.ok_or("not a PE file")?;
    let machine = match known.arch {
        "aarch64" => Machine::ARM64,
        _ => Machine::RISCV64,
    };
    let header = pe.optional_header();
    assert_eq!(
        (pe.machine(), header.subsystem),
        (machine, Subsystem::EFI_APPLICATION)
    );
    // It is position-independent: relocatable, and without base relocations.
    assert_eq!((pe.is_relocs_stripped(), pe.relocations()?.count()), (false, 0));
    if header.check_sum != 0 {
        assert_eq!(pe.compute_check_sum()?, header.check_sum);
    }
    assert!(!pe.sections().is_empty());
    for section in pe.sections() {
        assert!(
            !section.data.is_empty() && section.data.end() <= source.len(),
            "{section:?} is not in the file"
        );
    }
    // The only directory whose address is a file offset.
    if let Some(table) = pe.directory(DirectoryEntry::CERTIFICATE) {
        let end = u64::from(table.virtual_address) + u64::from(table.size);
        assert!(end <= source.len(), "{table:?} is not in the file");
    }
    Ok(())
}

fn check_plan(path: &str, protocol: &str, entry: Option<u64>) -> Result<(), Failed> {
    let plan: PlanReport = vmboot(&["plan", "--json", "--memory", "512M", "--protocol", protocol, path])?;
    assert_eq!(plan.protocol, protocol);
    let found = plan.cpus[0].entry.0;
    assert!(
        (plan.kernel_start.0..plan.kernel_end.0).contains(&found),
        "the entry {found:#x} is not in the kernel"
    );
    if let Some(entry) = entry {
        assert_eq!(found, entry);
    }
    let kernel: u64 = plan
        .loads
        .iter()
        .filter(|load| load.source.as_deref() == Some("kernel"))
        .map(|load| load.end.0 - load.start.0)
        .sum();
    assert!(kernel > 0x1000, "only {kernel} bytes of the kernel are loaded");
    Ok(())
}

/// `e_entry` of an ELF64 file.
fn elf_entry(path: &str) -> Result<u64, Failed> {
    let mut header = [0; 32];
    File::open(path)?.read_exact(&mut header)?;
    Ok(u64::from_le_bytes(header[24..].try_into()?))
}
