#![doc = include_str!("../README.md")]

mod access;
mod access_options;
#[cfg(target_os = "linux")]
mod exclusive;
#[cfg(all(feature = "vm-memory", target_os = "linux"))]
mod file_mapper;
#[cfg(all(feature = "vm-memory", target_os = "linux"))]
mod guest_access;
mod host_ram;
mod huge_pages;
mod idle_cpus;
#[cfg(target_os = "linux")]
mod mapping;
#[cfg(target_os = "linux")]
mod mapping_error;
#[cfg(target_os = "linux")]
mod memfd;
mod pages;
mod parallel_copy;
#[cfg(target_os = "linux")]
mod short_copy;
mod slice;

#[cfg(feature = "vm-memory")]
mod congruent;
#[cfg(feature = "vm-memory")]
mod error;
#[cfg(feature = "vm-memory")]
mod layout;
#[cfg(feature = "vm-memory")]
mod options;
#[cfg(all(feature = "vm-memory", target_os = "linux"))]
mod prepared;
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
#[cfg(target_os = "linux")]
pub use exclusive::ExclusiveBytes;
#[cfg(all(feature = "vm-memory", target_os = "linux"))]
pub use file_mapper::{FileMapper, FileMapping, MappedRange};
pub use host_ram::{HostRam, HostRegion, HostRegionError};
pub use huge_pages::HugePages;
#[cfg(target_os = "linux")]
pub use mapping::{HostMapping, MemfdSharing};
#[cfg(target_os = "linux")]
pub use mapping_error::MappingError;
#[cfg(target_os = "linux")]
pub use memfd::Memfd;
#[cfg(feature = "vm-memory")]
pub use options::RamOptions;
#[cfg(all(feature = "vm-memory", target_os = "linux"))]
pub use pages::map::MappableFile;
#[cfg(all(feature = "prepared-files", feature = "vm-memory", target_os = "linux"))]
pub use prepared::file::{PREPARED_FILE_VERSION, PreparedFileError};
#[cfg(all(feature = "vm-memory", target_os = "linux"))]
pub use prepared::{PrepareError, PreparedBoot};
#[cfg(feature = "vm-memory")]
pub use ram::{GuestRam, memory_map};
#[cfg(feature = "vm-memory")]
pub use region::RamRegion;
