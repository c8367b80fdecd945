//! Tables of a machine in a plan.

use vmboot::report::PlanReport;

use crate::files::{arm64_image, bzimage, kernel, write};
use crate::{stderr, vmboot};

#[test]
fn plans_have_the_tables_of_the_options() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name, bytes: &[u8]| write(dir.path(), name, bytes).to_str().unwrap().to_owned();
    let (bzimage, elf) = (file("bzImage", &bzimage()), file("kernel", &kernel()));
    let check = |args: &[&str], expected: &[&str]| {
        let output = vmboot(&[&["plan", "--json", "--no-default-cmdline"], args].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        let plan: PlanReport = serde_json::from_slice(&output.stdout).unwrap();
        let of_machine = ["ACPI tables", "MP tables", "SMBIOS tables"];
        let tables = plan
            .loads
            .iter()
            .filter(|load| of_machine.contains(&load.label.as_str()));
        let found: Vec<_> = tables.map(|load| (load.label.as_str(), load.end.0)).collect();
        let labels: Vec<_> = found.iter().map(|(label, _)| *label).collect();
        assert_eq!(labels, expected, "{args:?}");
        // The floating pointer is at the start of the last KiB of base memory.
        for (_, end) in found.iter().filter(|(label, _)| *label == "MP tables") {
            assert_eq!(*end, 0x9_fc10);
        }
    };
    for kernel in [&bzimage, &elf] {
        check(&[kernel], &["ACPI tables"]);
        check(&[kernel, "--no-acpi"], &[]);
        for vcpus in ["1", "255"] {
            check(
                &[kernel, "--no-acpi", "--mp-table", "--vcpus", vcpus],
                &["MP tables"],
            );
        }
        let smbios = ["--smbios", "system-family=Example"];
        check(
            &[&[kernel.as_str(), "--no-acpi", "--mp-table"], &smbios[..]].concat(),
            &["MP tables", "SMBIOS tables"],
        );
    }
}

#[test]
fn topologies_of_three_and_four_numbers_are_planned() {
    let dir = tempfile::tempdir().unwrap();
    let image = write(dir.path(), "Image", &arm64_image(0, 1 << 20, 2));
    let image = image.to_str().unwrap();
    let tree = |options: &[&str]| {
        let output = vmboot(&[&["plan", "--json", "--vcpus", "8", image], options].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        let plan: PlanReport = serde_json::from_slice(&output.stdout).unwrap();
        let load = plan.loads.iter().find(|load| load.label == "device tree");
        load.map(|load| load.end.0 - load.start.0).unwrap()
    };
    let plain = tree(&[]);
    let three = tree(&["--topology", "2,2,2"]);
    let four = tree(&["--topology", "2,2,1,2"]);
    assert!(plain < three && three < four, "{plain} {three} {four}");
}
