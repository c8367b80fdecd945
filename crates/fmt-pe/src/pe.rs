//! PE/COFF images: EFI applications and drivers, and kernels with an EFI stub (Microsoft "PE Format").
//!
//! [`PeFile`] gives a loader the headers, sections, base relocations and checksum; [`load`] loads an EFI application or driver
//! into memory.
//!
//! ```
//! use boot_core::SizedSource;
//! use fmt_pe::pe::{PeError, PeFile};
//!
//! assert!(PeFile::parse(SizedSource::new(b"#!/bin/sh\n")?)?.is_none());
//! # Ok::<(), PeError>(())
//! ```

mod checksum;
mod constants;
mod error;
mod file;
pub mod load;
mod optional;
pub mod raw;
mod relocations;
mod rva;
mod section;
mod section_name;

pub use constants::{DirectoryEntry, MAX_SECTIONS, Machine, RelocationType, SectionFlags, Subsystem};
pub use error::{Malformed, PeError, Unsupported};
pub use file::{DataDirectory, PeFile};
pub use optional::OptionalHeader;
pub use relocations::{BaseRelocation, Relocations};
pub use rva::RvaRange;
pub use section::Section;
pub use section_name::SectionName;
