//! The conformance guest: every build through every protocol it supports, on machines of several shapes.

mod build;
mod checks;
mod device_tree;
mod expectation;
mod pc;
mod soak;

use super::case::Case;

pub(crate) fn cases() -> Vec<Case> {
    match std::env::consts::ARCH {
        "x86_64" => pc::cases(),
        "aarch64" => device_tree::arm64::cases(),
        "riscv64" => device_tree::riscv64::cases(),
        // There is no harness for this host.
        _ => Vec::new(),
    }
}
