#![doc = include_str!("../README.md")]

mod error;
mod layout;
mod options;
mod pages;
mod ram;
mod region;

pub use error::RamError;
pub use options::{HugePages, RamOptions};
pub use ram::GuestRam;
pub use region::RamRegion;
