//! The default command line of Linux kernels.

use vmboot::report::PlanReport;

use crate::files::{arm64_image, bzimage, kernel, riscv_image, write};
use crate::{stderr, vmboot};

const MIB: u64 = 1 << 20;

#[test]
fn linux_has_a_default_command_line_and_others_have_none() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name, bytes: &[u8]| write(dir.path(), name, bytes).to_str().unwrap().to_owned();
    let bzimage = file("bzImage", &bzimage());
    let arm64 = file("Image", &arm64_image(0, MIB, 2));
    let riscv = file("Image.riscv", &riscv_image(0, MIB));
    let elf = file("kernel", &kernel());
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
