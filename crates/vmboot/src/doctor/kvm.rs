//! Queries of KVM with the harness of each architecture.

use std::error::Error;

use boot_core::Arch;
use hv_kvm::{HarnessError, KvmProbe};

/// RAM of guests of `vmboot run` without `--memory`, in bytes.
pub const DEFAULT_MEMORY: u64 = 512 << 20;

/// Architectures of guests.
pub(super) const GUESTS: [Arch; 3] = [Arch::X86_64, Arch::Aarch64, Arch::Riscv64];

/// Queries the KVM of this host with the harness for `arch`.
pub(super) fn probe(arch: Arch) -> Result<KvmProbe, HarnessError> {
    match arch {
        Arch::X86_64 => hv_kvm_x86::probe(),
        Arch::Aarch64 => hv_kvm_arm64::probe(),
        Arch::Riscv64 => hv_kvm_riscv::probe(),
        guest => Err(HarnessError::UnsupportedHost { guest }),
    }
}

/// The messages of an error and its sources.
pub(super) fn chain(error: &dyn Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}
