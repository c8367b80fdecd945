//! The default command line of Linux kernels, and what `--fast` adds to command lines.

use std::path::Path;

use vmboot::report::PlanReport;

use crate::files::{arm64_image, bzimage, kernel, riscv_image, write};
use crate::{stderr, vmboot};

const MIB: u64 = 1 << 20;

/// Paths of a Linux kernel for x86_64, arm64 and riscv64, and of a kernel that is not Linux.
fn images(dir: &Path) -> [String; 4] {
    let file = |name, bytes: &[u8]| write(dir, name, bytes).to_str().unwrap().to_owned();
    [
        file("bzImage", &bzimage()),
        file("Image", &arm64_image(0, MIB, 2)),
        file("Image.riscv", &riscv_image(0, MIB)),
        file("kernel", &kernel()),
    ]
}

#[test]
fn linux_has_a_default_command_line_and_others_have_none() {
    let dir = tempfile::tempdir().unwrap();
    let [bzimage, arm64, riscv, elf] = images(dir.path());
    // The length of the command line in the plan tells whether the guest gets it.
    let check = |args: &[&str], default: Option<&str>, len: Option<usize>| {
        let output = vmboot(&[&["plan", "--json"], args].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        let note = default
            .map(|line| format!("note: default command line \"{line}\"; --no-default-cmdline omits it\n"));
        assert_eq!(stderr(&output), note.unwrap_or_default(), "{args:?}");
        let plan: PlanReport = serde_json::from_slice(&output.stdout).unwrap();
        let load = plan.loads.iter().find(|load| load.label == "command line");
        // The line ends with a NUL.
        let found = load.map(|load| usize::try_from(load.end.0 - load.start.0).unwrap() - 1);
        assert_eq!(found, len, "{args:?}: {:?}", plan.loads);
    };
    let x86_line = "console=ttyS0 earlyprintk=ttyS0 panic=-1 reboot=k";
    check(&[&bzimage], Some(x86_line), Some(x86_line.len()));
    check(&[&bzimage, "--no-default-cmdline"], None, Some(0));
    check(&[&bzimage, "--cmdline", ""], None, Some(0));
    check(&[&bzimage, "--cmdline", "quiet"], None, Some("quiet".len()));
    check(&[&elf], None, Some(0));
    // The command line is part of the device tree.
    for image in [&arm64, &riscv] {
        let default = "console=ttyS0 earlycon panic=-1";
        check(&[image], Some(default), None);
        check(&[image, "--no-default-cmdline"], None, None);
    }
}

#[test]
fn fast_adds_what_the_command_line_leaves_open() {
    let dir = tempfile::tempdir().unwrap();
    let [bzimage, arm64, riscv, elf] = images(dir.path());
    let digest = |args: &[&str]| -> (Vec<u8>, String) {
        let output = vmboot(&[&["measure"], args].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        (output.stdout.clone(), stderr(&output).to_owned())
    };
    // Its plan is that of the line which the note has, for every subcommand that plans.
    let check = |image: &str, given: &[&str], line: &str, note: &str| {
        let notes = format!("note: {}\n", note.replace("LINE", &format!("\"{line}\"")));
        let plan = vmboot(&[&["plan", image, "--fast"], given].concat());
        assert!(plan.status.success(), "{}", stderr(&plan));
        assert_eq!(stderr(&plan), notes, "{given:?}");
        let fast = digest(&[&[image, "--fast"], given].concat());
        let plain = digest(&[image, "--cmdline", line]);
        assert_eq!(fast, (plain.0, notes), "{given:?}");
        assert_eq!(plain.1, "");
    };
    let added = "command line LINE, with what --fast adds";
    check(
        &bzimage,
        &["--cmdline", "a"],
        "cryptomgr.notests quiet pci=off a",
        added,
    );
    check(
        &bzimage,
        &["--cmdline", "pci=conf1 debug"],
        "cryptomgr.notests pci=conf1 debug",
        added,
    );
    check(
        &arm64,
        &["--cmdline", "loglevel=7"],
        "cryptomgr.notests loglevel=7",
        added,
    );
    check(&riscv, &["--cmdline", "a"], "cryptomgr.notests quiet a", added);
    check(
        &riscv,
        &["--no-default-cmdline"],
        "cryptomgr.notests quiet",
        added,
    );
    check(
        &bzimage,
        &[],
        "cryptomgr.notests quiet pci=off console=ttyS0 earlyprintk=ttyS0 panic=-1 reboot=k",
        "default command line LINE, with what --fast adds; --no-default-cmdline omits the default",
    );
    // A line that decides about all, and one that has no room.
    for line in ["quiet pci=off cryptomgr.notests=0", &"a".repeat(2047)] {
        let fast = digest(&[&bzimage, "--fast", "--cmdline", line]);
        assert_eq!(fast, digest(&[&bzimage, "--cmdline", line]));
    }
    let (fast, note) = digest(&[&elf, "--fast"]);
    assert_eq!(fast, digest(&[&elf]).0);
    assert_eq!(
        note,
        "note: --fast changes nothing: there is no evidence in the image that it is Linux\n"
    );
}

#[test]
fn fast_is_an_error_where_it_would_have_no_effect() {
    for args in [
        ["measure", "--pcrs", "--fast", "kernel"].as_slice(),
        &[
            "measure",
            "--snp",
            "--ovmf",
            "code.fd",
            "--vcpu-type",
            "EPYC",
            "--fast",
            "kernel",
        ],
        &["plan", "--fast", "--firmware", "fw"],
    ] {
        let output = vmboot(args);
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert!(
            stderr(&output).contains("cannot be used with"),
            "{}",
            stderr(&output)
        );
    }
}
