//! `start-cost` with programs that use no KVM; `cargo xtask bench start` measures one that does.
#![cfg(target_os = "linux")]

use std::process::Command;

fn check(args: &[&str], expected: &str) {
    let output = Command::new(env!("CARGO_BIN_EXE_start-cost"))
        .args(args)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(text.trim_end(), format!("start-cost: {expected}"));
}

#[test]
fn programs_without_kvm_have_no_cost() {
    check(&["/bin/true"], "the program ended with status 0 before KVM_RUN:");
    check(
        &["/bin/cat"],
        "the program ended with status 1 before KVM_RUN: /bin/cat: unrecognized option '--map-files'\nTry '/bin/cat --help' for more information.",
    );
    check(&[], "expected PROGRAM ARGUMENT...");
}

#[test]
fn programs_that_cannot_be_started_have_no_cost() {
    check(
        &["/no/such/program"],
        "the program ended with status 1 before KVM_RUN: start-cost: No such file or directory (os error 2)",
    );
}
