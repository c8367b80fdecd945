#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), no_std)]

// Pure functions, which are also built and tested on the host.
pub mod guid;
pub mod pending;
pub mod refusal;
pub mod services;

#[cfg(target_os = "uefi")]
pub mod machine;
