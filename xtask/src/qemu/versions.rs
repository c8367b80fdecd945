//! The emulator of each machine, in a version that can play it.

use super::Qemu;

/// Version 10.0.2 lets a guest of L1 read the CR4 that L1 gave it, though KVM intercepts that read, and what a stock Linux
/// guest's first process prints did not arrive.
pub(crate) const X86_64: Qemu = Qemu::new("qemu-system-x86", "qemu-system-x86_64").before(
    (10, 0),
    "bookworm",
    &[
        "qemu-system-x86",
        "qemu-system-common",
        "qemu-system-data",
        "seabios",
    ],
);

pub(crate) const AARCH64: Qemu = Qemu::new("qemu-system-arm", "qemu-system-aarch64");

/// Real in some releases of Debian, provided by another package in others.
pub(crate) const RISCV64: Qemu = Qemu::new("qemu-system-riscv64", "qemu-system-riscv64");

/// Version 7.2 has no Ssaia to switch on by its name of today, and a kernel hangs with its AIA.
pub(crate) const RISCV64_AIA: Qemu = RISCV64.since(
    (10, 0),
    "bookworm-backports",
    &["qemu-system-riscv", "qemu-system-data", "opensbi"],
);
