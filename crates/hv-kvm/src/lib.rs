#![doc = include_str!("../README.md")]

pub mod exit_reason;

#[cfg(target_os = "linux")]
mod kick;

#[cfg(target_os = "linux")]
pub use kick::{Kicker, install_kick_handler, kick_signal};
