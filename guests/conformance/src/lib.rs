#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), no_std)]

// Pure functions, which are also built and tested on the host.
pub mod descriptor;
pub mod page_walk;
pub mod setup_header;

#[cfg(target_os = "none")]
mod machine {
    pub(crate) mod entry;
    pub(crate) mod phys;
    pub(crate) mod port;
    pub(crate) mod serial;
    pub(crate) mod trap;
}

#[cfg(target_os = "none")]
mod clauses {
    pub(crate) mod acpi;
    pub(crate) mod cpu;
    pub(crate) mod linux;
    pub(crate) mod modules;
    pub(crate) mod multiboot;
    pub(crate) mod pvh;
}

#[cfg(target_os = "none")]
mod exit;
#[cfg(target_os = "none")]
mod modes;
#[cfg(target_os = "none")]
mod run;
