//! The emulator of each machine, with its suitable versions.

use super::Qemu;

/// Under version 10.0.2, a read of CR4 in a guest of L1 returns L1's value although KVM intercepts the read, and the output
/// of a stock Linux guest's init process is lost.
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

/// The package exists in some releases of Debian; in others another package provides it.
pub(crate) const RISCV64: Qemu = Qemu::new("qemu-system-riscv64", "qemu-system-riscv64");

/// Version 7.2 lacks the property `ssaia`, and the kernel hangs with its AIA.
///
/// The OpenSBI of Debian 12 (1.1) starts a hart before it has stored the address: a hart that is not yet asleep at the time of `hart_start` may run from the
/// address of the boot hart, and a program with two harts is then entered twice.
pub(crate) const RISCV64_SINCE_10: Qemu = RISCV64.since(
    (10, 0),
    "bookworm-backports",
    &["qemu-system-riscv", "qemu-system-data", "opensbi"],
);
