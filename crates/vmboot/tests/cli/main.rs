//! The command on generated files: errors and reports.

mod default_cmdline;
mod documentation;
#[path = "../hints/files.rs"]
mod files;
mod input;
mod mistakes;
mod prepared;
mod tables;

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::process::{Command, Output};

use vmboot::report::{InspectReport, PlanReport};

fn vmboot(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vmboot"))
        .args(args)
        .output()
        .unwrap()
}

fn stderr(output: &Output) -> &str {
    str::from_utf8(&output.stderr).unwrap()
}

/// Asserts that `inspect` and `plan` both fail on `path` with status 1 and an error that contains `words`.
fn check_refused(path: &Path, words: &[&str]) {
    let path = path.to_str().unwrap();
    for command in ["inspect", "plan"] {
        let output = vmboot(&[command, path]);
        let error = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{command} {path}: {error}");
        assert!(output.stdout.is_empty(), "{command} {path} printed a report");
        assert!(
            error.starts_with("error: ") && error.contains(path),
            "{command} {path}: {error}"
        );
        for word in words {
            assert!(error.contains(word), "{command} {path}: no `{word}` in {error}");
        }
    }
}

#[test]
fn files_that_are_not_kernels_are_rejected_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    check_refused(&file("empty", b""), &["the image is empty"]);
    check_refused(
        &file("script", b"#!/bin/sh\nexit\n"),
        &[
            "not a kernel image of a known format",
            "the file is a script",
            "help: pass the kernel image",
        ],
    );
    check_refused(
        &file("text", b"hello world"),
        &[
            "not a kernel image of a known format",
            "the text \"hello wo\"",
            "formats tried: bzimage",
        ],
    );
    check_refused(&dir.path().join("missing"), &["cannot open", "No such file"]);
    check_refused(dir.path(), &["a directory"]);
    check_refused(Path::new("/dev/null"), &["a character device"]);
    check_refused(
        Path::new("/bin/ls"),
        &["elf", "not supported", "dynamically linked"],
    );
}

/// A minimal x86_64 ELF with a PVH note, in a sparse file of `len` bytes.
fn sparse_elf(path: &Path, len: u64) {
    let mut elf = Vec::new();
    elf.extend_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    elf.extend_from_slice(&2u16.to_le_bytes()); // e_type: ET_EXEC
    elf.extend_from_slice(&62u16.to_le_bytes()); // e_machine: EM_X86_64
    elf.extend_from_slice(&1u32.to_le_bytes()); // e_version
    elf.extend_from_slice(&0x20_0000u64.to_le_bytes()); // e_entry
    elf.extend_from_slice(&64u64.to_le_bytes()); // e_phoff
    elf.extend_from_slice(&[0; 12]); // e_shoff, e_flags
    for half in [64u16, 56, 2, 0, 0, 0] {
        elf.extend_from_slice(&half.to_le_bytes());
    }
    let mut segment = |kind: u32, flags: u32, words: [u64; 6]| {
        elf.extend_from_slice(&kind.to_le_bytes());
        elf.extend_from_slice(&flags.to_le_bytes());
        for word in words {
            elf.extend_from_slice(&word.to_le_bytes());
        }
    };
    let loaded = len - 0x1000;
    segment(1, 5, [0x1000, 0x20_0000, 0x20_0000, loaded, loaded, 0x1000]); // PT_LOAD, R+X
    segment(4, 4, [0x200, 0, 0, 20, 20, 4]); // PT_NOTE
    let mut file = File::create(path).unwrap();
    file.write_all(&elf).unwrap();
    file.seek(SeekFrom::Start(0x200)).unwrap();
    for word in [4u32, 4, 18, u32::from_le_bytes(*b"Xen\0"), 0x20_0000] {
        file.write_all(&word.to_le_bytes()).unwrap();
    }
    file.set_len(len).unwrap();
}

#[test]
fn a_gibibyte_of_sparse_elf_is_inspected_and_planned_from_its_headers() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sparse.elf");
    sparse_elf(&path, 1 << 30);
    let path = path.to_str().unwrap();

    let output = vmboot(&["inspect", "--json", path]);
    assert!(output.status.success(), "{}", stderr(&output));
    let report: InspectReport = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report.schema, InspectReport::SCHEMA);
    assert_eq!(
        (report.len, report.format.as_str(), report.arch.as_str()),
        (1 << 30, "elf", "x86_64")
    );
    assert_eq!(report.segments[0].file_len, (1 << 30) - 0x1000);
    assert_eq!(report.default_protocol.as_deref(), Some("pvh"));
    let support = report
        .protocols
        .iter()
        .filter(|protocol| protocol.support != "none");
    let support: Vec<_> = support
        .map(|protocol| (protocol.name.as_str(), protocol.support.as_str()))
        .collect();
    assert_eq!(support, [("pvh", "declared"), ("linux", "possible")]);

    let output = vmboot(&["plan", "--memory", "512M", path]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("the machine has no memory at 0x20000000..0x401ff000"),
        "{}",
        stderr(&output)
    );

    let output = vmboot(&["plan", "--json", "--memory", "2G", "--protocol", "pvh", path]);
    assert!(output.status.success(), "{}", stderr(&output));
    let report: PlanReport = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (report.schema.as_str(), report.protocol.as_str()),
        (PlanReport::SCHEMA, "pvh")
    );
    assert_eq!(report.kernel_start.0, 0x20_0000);
    assert_eq!(report.cpus.len(), 1);
    assert_eq!(report.cpus[0].entry.0, 0x20_0000);
}

/// An ELF like an arm64 vmlinux, whose physical addresses are virtual.
fn arm64_vmlinux(path: &Path, e_type: u16) {
    const LINKED_AT: u64 = 0xffff_8000_8000_0000;
    sparse_elf(path, 0x2000);
    let mut bytes = fs::read(path).unwrap();
    let mut put = |offset: usize, new: &[u8]| bytes[offset..offset + new.len()].copy_from_slice(new);
    put(16, &e_type.to_le_bytes());
    put(18, &183u16.to_le_bytes()); // e_machine: EM_AARCH64
    put(24, &LINKED_AT.to_le_bytes()); // e_entry
    put(64 + 16, &LINKED_AT.to_le_bytes()); // p_vaddr
    put(64 + 24, &LINKED_AT.to_le_bytes()); // p_paddr
    fs::write(path, bytes).unwrap();
}

/// The plan puts the kernel elsewhere than it is linked, and the bytes that are loaded have the addresses there.
#[test]
fn a_position_independent_kernel_is_relocated_to_its_place() {
    const R_AARCH64_RELATIVE: u64 = 1027;
    const BASE: u64 = 0x8020_0000;
    let dir = tempfile::tempdir().unwrap();
    let kernel = dir.path().join("kernel");
    let kernel_at = |entries: &[[u64; 3]]| {
        let elf = fmt_test::elf::position_independent(fmt_test::elf::EM_AARCH64, false, BASE, entries);
        fs::write(&kernel, elf.bytes()).unwrap();
    };
    kernel_at(&[[BASE + 8, R_AARCH64_RELATIVE, BASE + 0x10]]);
    let dump = dir.path().join("dump");
    let options = ["plan", "--json", "--kaslr", "0xfedcba9876543210", "--dump"];
    let paths = [&dump, &kernel].map(|path| path.to_str().unwrap());
    let output = vmboot(&[&options[..], &paths].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    let plan: PlanReport = serde_json::from_slice(&output.stdout).unwrap();
    let start = plan.kernel_start.0;
    assert_ne!(start, BASE);
    let loaded = fs::read(dump.join(format!("{start:016x}-kernel.bin"))).unwrap();
    assert_eq!(loaded[8..16], (start + 0x10).to_le_bytes());

    // R_AARCH64_ABS64, which needs a symbol.
    kernel_at(&[[BASE + 8, 257, 0]]);
    let output = vmboot(&["plan", "--kaslr", "0xfedcba9876543210", paths[1]]);
    assert_eq!(output.status.code(), Some(1));
    let error = stderr(&output);
    assert!(
        error.contains("cannot be moved from its link address") && error.contains("type 257"),
        "{error}"
    );
}

#[test]
fn an_arm64_vmlinux_causes_a_warning_or_an_error() {
    const ET_EXEC: u16 = 2;
    const ET_DYN: u16 = 3;
    const WARNING: &str = "the lowest `p_paddr` is 0xffff800080000000, a virtual address";
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vmlinux");
    let file = path.to_str().unwrap();

    // Position-independent: the plan has a warning.
    arm64_vmlinux(&path, ET_DYN);
    let output = vmboot(&["plan", "--json", file]);
    assert!(output.status.success(), "{}", stderr(&output));
    let plan: PlanReport = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(plan.protocol, "fdt-arm64");
    assert!(
        matches!(plan.warnings.as_slice(), [warning] if warning.starts_with(WARNING)),
        "{:?}",
        plan.warnings
    );

    // Not relocatable: the plan fails with an error that explains it.
    arm64_vmlinux(&path, ET_EXEC);
    let output = vmboot(&["plan", file]);
    let error = stderr(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    assert!(
        error.contains(WARNING) && error.contains("it can only be started below 0x1000000000000"),
        "{error}"
    );
}

#[test]
fn the_text_of_a_plan_shows_the_effect_of_the_options() {
    let dir = tempfile::tempdir().unwrap();
    let kernel = dir.path().join("kernel.elf");
    sparse_elf(&kernel, 0x2000);
    let initrd = dir.path().join("initrd");
    fs::write(&initrd, [7; 5000]).unwrap();
    let (kernel, initrd) = (kernel.to_str().unwrap(), initrd.to_str().unwrap());
    let output = vmboot(&[
        "plan",
        "--memory",
        "64M",
        "--cmdline",
        "console=ttyS0",
        "--initrd",
        initrd,
        "--reserve",
        "32M..33M",
        "--protocol",
        "linux",
        kernel,
    ]);
    assert!(output.status.success(), "{}", stderr(&output));
    let picture = str::from_utf8(&output.stdout).unwrap();
    for words in [
        "linux boot on x86_64, entry 0x200000",
        "initrd bytes 0x0..0x1388",
        "0x000002000000 ┬─ reserved ─ 1 MiB",
        "zero page",
    ] {
        assert!(picture.contains(words), "no `{words}` in\n{picture}");
    }
}

#[test]
fn a_line_that_linux_may_misread_is_passed_to_other_guests_with_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let kernel = dir.path().join("kernel.elf");
    sparse_elf(&kernel, 0x2000);
    let check = |args: &[&str], line: &str, has_warning: bool| {
        let kernel = kernel.to_str().unwrap();
        let output = vmboot(&[&["plan", "--cmdline", line, kernel], args].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        let warning = "warning: if the guest is Linux, it may misread the command line: ";
        assert_eq!(
            stderr(&output).starts_with(warning),
            has_warning,
            "{args:?} {line}"
        );
    };
    check(&["--protocol", "pvh"], "a=\"b", true);
    check(&["--protocol", "pvh"], "a=\"b\"", false);
    check(&["--protocol", "pvh", "--raw-cmdline"], "a=\"b", false);
    check(&["--protocol", "linux", "--raw-cmdline"], "a=\"b", false);
}

#[test]
fn a_wrong_command_line_ends_with_status_2() {
    for args in [
        &[][..],
        &["boot"],
        &["inspect"],
        &["plan", "--memory", "1.5X", "x"],
        &["plan", "--vcpus", "0", "x"],
    ] {
        assert_eq!(vmboot(args).status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn invalid_options_are_rejected_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let kernel = dir.path().join("kernel.elf");
    sparse_elf(&kernel, 0x2000);
    let check = |args: &[&str], words: &str| {
        let output = vmboot(&[&["plan"], args, &[kernel.to_str().unwrap()]].concat());
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
    };
    check(&["--protocol", "linux", "--cmdline", "a=\"b"], "quote");
    check(
        &["--protocol", "linux", "--cmdline", &"x".repeat(5000)],
        "command line",
    );
    check(&["--memory", "1M"], "at least 2 MiB is needed");
    check(&["--reserve", "0x9f000..0xa1000"], "not inside RAM");
    check(
        &["--irqchip", "gicv3-its"],
        "machines for x86_64 images do not support the interrupt controller gicv3-its\nhelp: omit --irqchip",
    );
}
