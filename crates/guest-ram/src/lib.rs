#![doc = include_str!("../README.md")]

mod access;
mod access_options;
mod host_ram;
mod huge_pages;
mod pages;
mod parallel_copy;
mod slice;

#[cfg(feature = "vm-memory")]
mod congruent;
#[cfg(feature = "vm-memory")]
mod error;
#[cfg(feature = "vm-memory")]
mod layout;
#[cfg(feature = "vm-memory")]
mod options;
#[cfg(feature = "vm-memory")]
mod ram;
#[cfg(feature = "vm-memory")]
mod region;

// Miri supports neither madvise nor pread into mappings.
#[cfg(all(test, feature = "vm-memory", target_os = "linux", not(miri)))]
mod slice_equivalence;

pub use access_options::{AccessOptions, SystemCalls};
#[cfg(feature = "vm-memory")]
pub use error::RamError;
pub use host_ram::{HostRam, HostRegion, HostRegionError};
pub use huge_pages::HugePages;
#[cfg(feature = "vm-memory")]
pub use options::RamOptions;
#[cfg(feature = "vm-memory")]
pub use ram::{GuestRam, memory_map};
#[cfg(feature = "vm-memory")]
pub use region::RamRegion;
