//! `vmboot doctor`, and the check of the host by `vmboot run`.

use std::env::consts::ARCH;

use vmboot::report::{DoctorReport, GuestSupport};

use crate::boot::vmboot;
use crate::files;

fn args(args: &[&str]) -> Vec<String> {
    args.iter().map(|arg| (*arg).to_owned()).collect()
}

#[test]
fn the_report_and_the_status_are_those_of_this_host() {
    let output = vmboot(&args(&["doctor", "--json"]));
    let report: DoctorReport = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (report.schema.as_str(), report.arch.as_str()),
        (DoctorReport::SCHEMA, ARCH)
    );
    let own = report.guests.iter().find(|guest| guest.arch == ARCH).unwrap();
    let expected = i32::from(own.support != GuestSupport::Full);
    assert_eq!(output.status.code(), Some(expected), "{report}");

    let output = vmboot(&args(&["doctor"]));
    assert_eq!(output.status.code(), Some(expected));
    let text = String::from_utf8(output.stdout).unwrap();
    for check in &report.checks {
        assert!(text.contains(&check.name), "no {} in\n{text}", check.name);
    }
    for arch in ["x86_64", "aarch64", "riscv64"] {
        assert!(text.contains(&format!("  {arch}")), "{text}");
    }
}

#[test]
fn a_foreign_image_is_refused_before_the_machine_is_planned() {
    let dir = tempfile::tempdir().unwrap();
    for (arch, kernel) in [
        ("x86_64", files::kernel()),
        ("aarch64", files::arm64_image(0, 0x8000, 0)),
        ("riscv64", files::riscv_image(0x20_0000, 0x8000)),
    ] {
        if arch == ARCH {
            continue;
        }
        let kernel = files::write(dir.path(), arch, &kernel);
        // This machine cannot be planned.
        let output = vmboot(&args(&["run", "--memory", "12345B", kernel.to_str().unwrap()]));
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        for words in [
            arch,
            ARCH,
            "`vmboot plan`",
            &format!("cargo xtask run --arch {arch} --kernel FILE"),
        ] {
            assert!(error.contains(words), "no {words} in {error}");
        }
    }
}
