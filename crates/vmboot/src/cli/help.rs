//! What to do about errors.

use std::error::Error;
use std::io;

use bls::uki::UkiError;
use boot_core::protocol::Refusal;
use boot_core::{
    CmdlineError, DetectError, FormatError, FormatErrorKind, IncompatibleImage, MemoryMapError, PlanError,
    RequestPart, SelectError,
};
use boot_measure::igvm::ExportError;
use boot_measure::ovmf::OvmfError;
use boot_measure::pcr::{AddonError, UkiSectionsError};
use boot_measure::{AuthenticodeError, MeasureError};
use fmt_bzimage::BzImageError;
use fmt_elf::ElfError;
use fmt_wrapped::OpenError;
use hv_core::virt::VirtError;
use vmboot::doctor::NotReady;

use super::advised::{AdvisedError, UsageError};
use super::dump::DumpError;
use super::file::{FileError, Name};
use super::output::OutputError;

/// Verbs that begin the advice in messages of this workspace: "…; use …".
const VERBS: [&str; 28] = [
    "add",
    "append",
    "boot",
    "build",
    "compile",
    "convert",
    "copy",
    "decompress",
    "extract",
    "fetch",
    "give",
    "link",
    "list",
    "mount",
    "omit",
    "pass",
    "prepare",
    "quote",
    "remove",
    "rename",
    "save",
    "shorten",
    "start",
    "take",
    "try",
    "unpack",
    "use",
    "write",
];

/// A clause at the end of messages about damaged files, which the advice on them replaces.
const QUESTION: &str = "is the file truncated?";

/// Advice on a file of no supported format.
const FORMATS: &str = "pass a kernel: an ELF file, a Linux bzImage or Image, or a Multiboot file";

/// What to do about a unified kernel image, its profile or an addon.
fn profile_or_addon(error: &UkiError) -> String {
    match error {
        UkiError::NoSuchProfile { count: 0, .. } => "omit --profile; the image has none".to_owned(),
        UkiError::NoSuchProfile { .. } | UkiError::NoSuchProfileId { .. } => {
            "use another --profile, or omit it for the first one".to_owned()
        }
        UkiError::AddonNotPe | UkiError::AddonWithKernel | UkiError::AddonEmpty => {
            "pass an addon, whose name ends with .addon.efi".to_owned()
        }
        _ => DAMAGED.to_owned(),
    }
}

/// Advice on a damaged file.
const DAMAGED: &str = "get or build the file again; it is incomplete or damaged";

/// Splits a message before its advice: the first clause after a semicolon that begins with an imperative, or is the question
/// whether the file is truncated.
pub(crate) fn split_advice(text: &str) -> (&str, Option<&str>) {
    let is_advice = |clause: &str| {
        clause.split(' ').next().is_some_and(|word| VERBS.contains(&word)) || clause == QUESTION
    };
    text.match_indices("; ")
        .map(|(at, separator)| (&text[..at], &text[at + separator.len()..]))
        .find(|(_, clause)| is_advice(clause))
        .map_or((text, None), |(text, advice)| (text, Some(advice)))
}

/// What to do about an error, by the first error of its chain for which that is known.
pub(crate) fn help(error: &(dyn Error + 'static)) -> Option<String> {
    let mut error = Some(error);
    while let Some(found) = error {
        if let Some(help) = help_for(found) {
            return Some(help);
        }
        error = found.source();
    }
    None
}

fn help_for(error: &(dyn Error + 'static)) -> Option<String> {
    fn of<E: Error + 'static>(
        error: &(dyn Error + 'static),
        help: impl FnOnce(&E) -> Option<String>,
    ) -> Option<String> {
        error.downcast_ref().and_then(help)
    }
    of(error, |error: &AdvisedError| Some(error.help.clone()))
        .or_else(|| of(error, |UsageError(error)| help_for(&**error)))
        .or_else(|| of(error, |error: &OutputError| Some(error.help().to_owned())))
        .or_else(|| of(error, file))
        .or_else(|| of(error, dump))
        .or_else(|| of(error, detection))
        .or_else(|| of(error, memory))
        .or_else(|| of(error, host))
        .or_else(|| of(error, machine))
        .or_else(|| of(error, plan))
        .or_else(|| of(error, measure))
        .or_else(|| of(error, igvm))
        .or_else(|| of(error, |_: &OpenError| Some(DAMAGED.to_owned())))
        .or_else(|| of(error, |error| Some(profile_or_addon(error))))
        .or_else(|| {
            of(error, |_: &OvmfError| {
                Some("pass the image that the VMM starts, such as OVMF.amdsev.fd".to_owned())
            })
        })
        .or_else(|| of(error, |error| Some(uki(error))))
        .or_else(|| {
            of(error, |_: &AddonError| {
                Some("pass a file that ends with .addon.efi".to_owned())
            })
        })
        .or_else(|| of(error, |_: &AuthenticodeError| Some(DAMAGED.to_owned())))
        .or_else(|| of(error, |error| Some(selection(error))))
        .or_else(|| of(error, cmdline))
}

fn host(error: &NotReady) -> Option<String> {
    match error {
        NotReady::Kvm(_) | NotReady::Probe(_) => {
            Some("run `vmboot doctor`, which has the details".to_owned())
        }
        _ => None,
    }
}

fn machine(error: &VirtError) -> Option<String> {
    match error {
        VirtError::Memory(error) => memory(error),
        VirtError::TooManyCpus { max, .. } => Some(format!("use at most --vcpus {max}")),
        _ => None,
    }
}

fn file(error: &FileError) -> Option<String> {
    Some(match error {
        FileError::Open { name, source } => match source.kind() {
            io::ErrorKind::PermissionDenied => {
                format!(
                    "copy it to a file that you can read, with \"sudo install -m 644 {name} OUTPUT\", and name OUTPUT"
                )
            }
            _ => "check the path".to_owned(),
        },
        FileError::NotAFile {
            what: "a directory", ..
        } => "name a file in it".to_owned(),
        FileError::NotAFile { name, .. } if name.is_stdin() => {
            "redirect a file or a pipe to it, as in `vmboot run - < vmlinuz`".to_owned()
        }
        FileError::NotAFile { .. } => "name a file, a block device or a pipe".to_owned(),
        FileError::Read { .. } => "check the program that writes it".to_owned(),
        FileError::TooLong { .. } => "save it to a file, and name that".to_owned(),
        FileError::StdinTwice => "name the others as files".to_owned(),
        FileError::Empty(_) => "get or build the file again".to_owned(),
        FileError::Content { name, source } => return role(name, &**source),
    })
}

/// Help for a file of another role in place of the kernel, and for standard input without data.
fn role(name: &Name, error: &(dyn Error + 'static)) -> Option<String> {
    if name.is_stdin() && matches!(error.downcast_ref(), Some(DetectError::Empty)) {
        return Some("check the file or the program that it comes from".to_owned());
    }
    let DetectError::Unknown { kind: Some(kind), .. } = error.downcast_ref()? else {
        return None;
    };
    let name = if name.is_stdin() {
        "-".to_owned()
    } else {
        name.to_string()
    };
    match kind.name {
        "a device tree" => Some(format!(
            "pass it to `vmboot run` as --dtb {name}, with an arm64 or riscv64 kernel as KERNEL"
        )),
        initrd if initrd.ends_with("the format of an initrd") => Some(format!(
            "pass it to `vmboot run` as --initrd {name}, and the kernel as KERNEL"
        )),
        _ => None,
    }
}

fn dump(error: &DumpError) -> Option<String> {
    Some(
        match error {
            DumpError::Directory { .. } => "name a new or an empty directory that can be written",
            DumpError::Write { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                "free space there, or name another directory"
            }
            DumpError::Write { .. } => "name another directory",
            DumpError::TooManyFiles { .. } => "omit --dump; `vmboot plan` alone shows the pieces",
            _ => return None,
        }
        .to_owned(),
    )
}

fn detection(error: &DetectError) -> Option<String> {
    match error {
        DetectError::Empty => Some("get or build the file again".to_owned()),
        DetectError::Unknown { kind: None, .. } => Some(FORMATS.to_owned()),
        DetectError::Format(error) => format(error),
        _ => None,
    }
}

fn format(error: &FormatError) -> Option<String> {
    let text = error.get_ref().to_string();
    if split_advice(&text).1.is_some_and(|advice| advice != QUESTION) {
        return None;
    }
    let is_version_unknown = matches!(
        error.get_ref().downcast_ref(),
        Some(BzImageError::Unsupported(
            fmt_bzimage::Unsupported::ProtocolVersion(..)
        ))
    );
    let elf_error = error.get_ref().downcast_ref::<ElfError>();
    Some(
        match error.kind {
            FormatErrorKind::Malformed if matches!(elf_error, Some(ElfError::NoEntry { .. })) => {
                "link the kernel with an entry point, as with ENTRY(_start) in its linker script"
            }
            FormatErrorKind::Malformed if matches!(elf_error, Some(ElfError::NoLoadableSegment { .. })) => {
                "pass the linked kernel, not a file of debug information; its linker script must create a PT_LOAD segment"
            }
            FormatErrorKind::Malformed => "get or build the file again; it is incomplete or damaged",
            FormatErrorKind::Unsupported => match elf_error {
                Some(ElfError::Unsupported(error)) => elf(*error),
                _ if is_version_unknown => "get or build the file again; a version that does not exist means damage",
                _ => FORMATS,
            },
            _ => return None,
        }
        .to_owned(),
    )
}

fn elf(error: fmt_elf::Unsupported) -> &'static str {
    match error {
        fmt_elf::Unsupported::RelocatableFile { .. } => "pass the linked kernel, such as vmlinux or vmlinuz",
        fmt_elf::Unsupported::CoreFile { .. } => "pass the kernel, not a dump of its memory",
        fmt_elf::Unsupported::DynamicallyLinked { .. } => "pass a kernel, such as /boot/vmlinuz",
        fmt_elf::Unsupported::Machine { .. } | fmt_elf::Unsupported::MachineEncoding { .. } => {
            "pass a kernel for x86_64, i386, arm64 or riscv64"
        }
        _ => FORMATS,
    }
}

fn memory(error: &MemoryMapError) -> Option<String> {
    match error {
        MemoryMapError::TooSmall { min, .. } => {
            Some(format!("use --memory {}M or more", min.div_ceil(1 << 20)))
        }
        MemoryMapError::TooLarge { .. } => Some("use a smaller --memory".to_owned()),
        MemoryMapError::Unaligned { len } => Some(format!("use --memory {}K", (len / 0x1000 * 4).max(4))),
        _ => None,
    }
}

fn plan(error: &PlanError) -> Option<String> {
    Some(match error {
        PlanError::Incompatible { reason, .. } => match reason {
            IncompatibleImage::Arch { .. } => "omit --protocol; the image determines it".to_owned(),
            _ => "omit --protocol, or see the protocols that `vmboot inspect` lists".to_owned(),
        },
        PlanError::NotAccepted { part, .. } => match part {
            RequestPart::DeviceTree => {
                "omit --dtb; only arm64 and riscv64 machines have a device tree".to_owned()
            }
            RequestPart::Initrd => "use --module FILE".to_owned(),
            RequestPart::AcpiRsdp => "omit --acpi-rsdp; the protocol does not hand it over".to_owned(),
            _ => return None,
        },
        PlanError::RsdpInRam { addr } => {
            let page = addr / 0x1000 * 0x1000;
            format!(
                "reserve its memory, as in --reserve {page:#x}..{:#x}",
                page.saturating_add(0x1000)
            )
        }
        PlanError::SmbiosInRam { .. } => "omit --smbios".to_owned(),
        PlanError::Cmdline(error) => return cmdline(error),
        _ => return None,
    })
}

fn measure(error: &MeasureError) -> Option<String> {
    Some(
        match error {
            MeasureError::Arch { .. } => "omit --snp; only x86_64 guests have SEV-SNP",
            MeasureError::Changed { .. } | MeasureError::Read { .. } => {
                "start again when nothing writes the file any more"
            }
            _ => return None,
        }
        .to_owned(),
    )
}

fn igvm(error: &ExportError) -> Option<String> {
    match error {
        ExportError::Plan(error) => measure(error),
        _ => Some("omit --igvm; `vmboot plan --dump` writes the pieces of any plan".to_owned()),
    }
}

fn uki(error: &UkiSectionsError) -> String {
    match error {
        UkiSectionsError::NoProfile { found: 0 | 1, .. } => "omit --profile".to_owned(),
        UkiSectionsError::NoProfile { found, .. } => {
            format!("use --profile 0 to --profile {}", found.saturating_sub(1))
        }
        UkiSectionsError::NoDeviceTree { .. } => {
            "omit --dtbauto, or use the number of another section".to_owned()
        }
        _ => "pass a unified kernel image".to_owned(),
    }
}

fn selection(error: &SelectError) -> String {
    let contradicted = error
        .refused
        .iter()
        .find(|(_, reason)| matches!(reason, Refusal::Contradicted(_)));
    match contradicted {
        Some((protocol, _)) => format!("pass a kernel, or use --protocol {protocol} if the file is one"),
        None => "pass a kernel with an entry point of one of the protocols".to_owned(),
    }
}

fn cmdline(error: &CmdlineError) -> Option<String> {
    match error {
        CmdlineError::TooLong { max, .. } => Some(format!("shorten --cmdline to {max} bytes")),
        _ => None,
    }
}

/// Help for a device tree that cannot be parsed.
pub(crate) const DEVICE_TREE: &str =
    "pass a device tree blob (.dtb); \"dtc -O dtb -o OUTPUT SOURCE\" compiles a source (.dts)";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// The table of mistakes has no such row: root can read every file.
    #[test]
    fn a_file_without_permission_is_copied() {
        let error = FileError::Open {
            name: Name::new(Path::new("/boot/vmlinuz")),
            source: io::ErrorKind::PermissionDenied.into(),
        };
        let text = help(&error).unwrap();
        assert!(
            text.ends_with("\"sudo install -m 644 /boot/vmlinuz OUTPUT\", and name OUTPUT"),
            "{text}"
        );
    }

    #[test]
    fn advice_begins_with_an_imperative() {
        let check = |text, expected: (&str, Option<&str>)| assert_eq!(split_advice(text), expected);
        check("a file; use another", ("a file", Some("use another")));
        check("a; b; boot c; use d", ("a; b", Some("boot c; use d")));
        check("a file; is it a kernel?", ("a file; is it a kernel?", None));
        check("a file; is the file truncated?", ("a file", Some(QUESTION)));
        check("nothing", ("nothing", None));
        check("a; uses b", ("a; uses b", None));
    }
}
