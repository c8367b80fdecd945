//! The first instructions, the doorbell and the exceptions of each architecture.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "riscv64")]
mod riscv64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
pub(super) use self::aarch64::*;
#[cfg(target_arch = "riscv64")]
pub(super) use self::riscv64::*;
#[cfg(target_arch = "x86_64")]
pub(super) use self::x86_64::*;
