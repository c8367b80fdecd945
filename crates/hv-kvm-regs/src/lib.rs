#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

pub mod aarch64;
pub mod riscv64;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod x86_64;
