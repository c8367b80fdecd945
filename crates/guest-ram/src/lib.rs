#![doc = include_str!("../README.md")]

mod error;
mod huge_pages;
mod layout;
mod options;
mod pages;
mod parallel_copy;
mod ram;
mod region;

// Miri supports neither madvise nor pread into mappings.
#[cfg(all(test, target_os = "linux", not(miri)))]
mod slice_equivalence;

pub use error::RamError;
pub use huge_pages::HugePages;
pub use options::RamOptions;
pub use ram::GuestRam;
pub use region::RamRegion;
