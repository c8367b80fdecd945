//! PE/COFF images: EFI applications and drivers, and kernels with an EFI stub (Microsoft "PE Format").
//!
//! [`PeFile`] gives a loader the headers, sections, base relocations and checksum:
//!
//! ```
//! use std::error::Error;
//!
//! use boot_core::{SizedSource, SourceRange};
//! use fmt_pe::pe::{PeError, PeFile, RelocationType};
//!
//! /// Image in memory, and the address of its entry point.
//! type Loaded = (Vec<u8>, Option<u64>);
//!
//! /// Loads `pe` for `base`, ready to be copied there.
//! fn load(pe: &PeFile<'_>, source: SizedSource<'_>, base: u64) -> Result<Loaded, Box<dyn Error>> {
//!     let header = pe.optional_header();
//!     let delta = base.wrapping_sub(header.image_base);
//!     if pe.is_relocs_stripped() && delta != 0 {
//!         return Err(format!("the image must be loaded at {:#x}", header.image_base).into());
//!     }
//!     let mut image = vec![0; header.size_of_image as usize]; // Up to 4 GiB: a real loader has a limit.
//!     let mut copy = |data: SourceRange, rva: u32| {
//!         let at = rva as usize;
//!         source.read_exact_at(data.offset(), &mut image[at..at + data.len() as usize])
//!     };
//!     copy(pe.headers(), 0)?;
//!     for section in pe.sections() {
//!         copy(section.data, section.range.start())?;
//!     }
//!     for relocation in pe.relocations()? {
//!         let relocation = relocation?;
//!         let at = relocation.rva as usize;
//!         match relocation.relocation_type {
//!             RelocationType::DIR64 => {
//!                 let field = image[at..].first_chunk_mut().expect("checked by the parser");
//!                 *field = u64::from_le_bytes(*field).wrapping_add(delta).to_le_bytes();
//!             }
//!             other => return Err(format!("{other} relocations are not implemented").into()),
//!         }
//!     }
//!     Ok((image, pe.entry_point().map(|entry| base + u64::from(entry))))
//! }
//!
//! assert!(PeFile::open(SizedSource::new(b"#!/bin/sh\n")?)?.is_none());
//! # Ok::<(), PeError>(())
//! ```

mod checksum;
mod constants;
mod error;
mod file;
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
