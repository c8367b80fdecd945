#![doc = include_str!("../README.md")]

mod error;
mod layout;
mod options;
mod pages;
mod ram;
mod region;
mod split;

// Miri knows neither madvise nor pread into mappings.
#[cfg(all(test, target_os = "linux", not(miri)))]
mod model;

pub use error::RamError;
pub use options::{HugePages, RamOptions};
pub use ram::GuestRam;
pub use region::RamRegion;
