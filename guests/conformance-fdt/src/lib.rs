#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), no_std)]

// Pure functions, which are also built and tested on the host.
pub mod fdt;
pub mod image_header;

#[cfg(target_os = "none")]
mod machine {
    #[cfg(target_arch = "riscv64")]
    pub(crate) mod aia_plic;
    #[cfg(target_arch = "aarch64")]
    pub(crate) mod arm64;
    pub(crate) mod console;
    pub(crate) mod exception;
    #[cfg(target_arch = "aarch64")]
    pub(crate) mod gic;
    pub(crate) mod phys;
    #[cfg(target_arch = "riscv64")]
    pub(crate) mod riscv64;

    #[cfg(target_arch = "riscv64")]
    pub(crate) use aia_plic as irqchip;
    #[cfg(target_arch = "aarch64")]
    pub(crate) use arm64 as arch;
    #[cfg(target_arch = "aarch64")]
    pub(crate) use gic as irqchip;
    #[cfg(target_arch = "riscv64")]
    pub(crate) use riscv64 as arch;
}

#[cfg(target_os = "none")]
mod clauses {
    pub(crate) mod chosen;
    pub(crate) mod cpus;
    pub(crate) mod devices;
    pub(crate) mod image;
    pub(crate) mod memory;
    pub(crate) mod tree;
}

#[cfg(target_os = "none")]
mod exit;
#[cfg(target_os = "none")]
mod modes;
#[cfg(target_os = "none")]
mod run;
