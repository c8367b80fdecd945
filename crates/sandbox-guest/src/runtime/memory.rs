//! `memcpy` and the like, which the standard library of a Linux target expects from a C library.
//!
//! They are assembly, because the compiler may turn loops in Rust into calls of these functions.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "riscv64")]
mod riscv64;
#[cfg(target_arch = "x86_64")]
mod x86_64;
