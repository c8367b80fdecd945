//! What the guest finds at its entry under QEMU's own loader, and in our plan: kernel bytes, initrd, command line, memory, zero page or start info, device tree.
//!
//! Without QEMU or the kernels, which `cargo xtask test` fetches, the cases count as skipped.

mod device_tree;
mod gdb;
mod input;
mod qemu;
#[path = "../shared/with_fixture.rs"]
mod with_fixture;
mod x86;

use std::path::Path;

use libtest_mimic::{Arguments, Completion, Failed};

use self::with_fixture::with_fixture;

/// A kernel, the program that boots it, and what compares both.
type Case = (&'static str, &'static str, fn(&Path) -> Result<(), Failed>);

const CASES: [Case; 4] = [
    ("kernels/x86_64/debian-13.vmlinux", "qemu-system-x86_64", x86::pvh),
    (
        "kernels/x86_64/debian-13.bzImage",
        "qemu-system-x86_64",
        x86::bzimage,
    ),
    (
        "kernels/aarch64/debian-13.Image",
        "qemu-system-aarch64",
        device_tree::arm64,
    ),
    (
        "kernels/riscv64/debian-13.Image",
        "qemu-system-riscv64",
        device_tree::riscv64,
    ),
];

fn main() {
    let trials = CASES.map(|(kernel, program, compare)| {
        with_fixture(kernel, kernel, move |kernel| {
            if !qemu::is_installed(program) {
                return Ok(Completion::ignored_with(format!("{program} is not installed")));
            }
            compare(kernel)?;
            Ok(Completion::Completed)
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.into()).exit();
}
