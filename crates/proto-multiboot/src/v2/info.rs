//! The boot information (Multiboot2 2.0, 3.6): a header and tags, each aligned to eight bytes.

use alloc::vec::Vec;

use boot_core::{GuestRange, MemoryMap, PlanError};
use boot_multiboot::v2::{
    ALIGN, BasicMemory, InfoHeader, InfoTag, InfoTagHeader, MmapEntry, MmapHeader, Module,
};
use zerocopy::little_endian::U32;
use zerocopy::{FromZeros, IntoBytes};

use crate::block::{BOOT_LOADER_NAME, Block, basic_memory, len32};
use crate::files::{File, bounds};

/// Name of the protocol.
pub(super) const NAME: &str = "multiboot2";

/// A copy of the machine's RSDP (ACPI 6.5, 5.2.5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rsdp {
    /// RSDP of ACPI 1.0 (revision 0), for the tag [`InfoTag::ACPI_OLD_RSDP`].
    Old([u8; 20]),
    /// RSDP of ACPI 2.0 or later (revision 2), for the tag [`InfoTag::ACPI_NEW_RSDP`].
    New([u8; 36]),
}

impl Rsdp {
    /// Type of the information tag that contains it.
    pub(super) const fn tag(self) -> InfoTag {
        match self {
            Self::Old(_) => InfoTag::ACPI_OLD_RSDP,
            Self::New(_) => InfoTag::ACPI_NEW_RSDP,
        }
    }
}

/// Contents of the boot information.
pub(super) struct Contents<'a> {
    pub(super) memory: &'a MemoryMap,
    /// With its terminating NUL.
    pub(super) cmdline: &'a [u8],
    pub(super) files: &'a [File],
    pub(super) rsdp: Option<Rsdp>,
    /// Load address of a relocatable image.
    pub(super) load_base: Option<u32>,
}

impl Contents<'_> {
    /// Builds the boot information for modules at `places`. Its length does not depend on them, and it does not contain its
    /// own address.
    pub(super) fn build(&self, places: &[Option<GuestRange>]) -> Result<Vec<u8>, PlanError> {
        let mut block = Block::new(0);
        let mut header = InfoHeader::new_zeroed();
        block.push(header.as_bytes());

        tag(&mut block, InfoTag::CMDLINE, &[self.cmdline])?;
        tag(&mut block, InfoTag::BOOT_LOADER_NAME, &[BOOT_LOADER_NAME])?;
        for (i, file) in self.files.iter().enumerate() {
            let (start, end) = bounds(places.get(i).copied().flatten());
            let module = Module {
                mod_start: start.into(),
                mod_end: end.into(),
            };
            let string: &[u8] = if file.cmdline.is_empty() {
                b"\0"
            } else {
                &file.cmdline
            };
            tag(&mut block, InfoTag::MODULE, &[module.as_bytes(), string])?;
        }
        let (lower, upper) = basic_memory(self.memory);
        let basic = BasicMemory {
            mem_lower: lower.into(),
            mem_upper: upper.into(),
        };
        tag(&mut block, InfoTag::BASIC_MEMORY, &[basic.as_bytes()])?;
        self.memory_map(&mut block)?;
        match self.rsdp {
            None => {}
            Some(Rsdp::Old(bytes)) => tag(&mut block, InfoTag::ACPI_OLD_RSDP, &[&bytes])?,
            Some(Rsdp::New(bytes)) => tag(&mut block, InfoTag::ACPI_NEW_RSDP, &[&bytes])?,
        }
        if let Some(base) = self.load_base {
            tag(&mut block, InfoTag::LOAD_BASE, &[U32::new(base).as_bytes()])?;
        }
        tag(&mut block, InfoTag::END, &[])?;

        header.total_size = len32(NAME, block.len())?.into();
        block.patch(0, &header);
        Ok(block.into_bytes())
    }

    fn memory_map(&self, block: &mut Block) -> Result<(), PlanError> {
        let head = MmapHeader {
            entry_size: ENTRY_SIZE.into(),
            entry_version: 0.into(),
        };
        let entries: Vec<_> = self
            .memory
            .regions()
            .iter()
            .map(|region| MmapEntry {
                base_addr: region.range.start().into(),
                length: region.range.len().into(),
                kind: region.kind.e820_type().into(),
                reserved: 0.into(),
            })
            .collect();
        tag(block, InfoTag::MEMORY_MAP, &[head.as_bytes(), entries.as_bytes()])
    }
}

/// `entry_size` of the memory map.
const ENTRY_SIZE: u32 = 24;
const _: () = assert!(size_of::<MmapEntry>() == 24);

/// Appends a tag with these contents, and zeros up to the next multiple of [`ALIGN`].
fn tag(block: &mut Block, kind: InfoTag, contents: &[&[u8]]) -> Result<(), PlanError> {
    let len = contents.iter().fold(size_of::<InfoTagHeader>(), |len, part| {
        len.saturating_add(part.len())
    });
    let header = InfoTagHeader {
        kind: kind.0.into(),
        size: len32(NAME, len)?.into(),
    };
    block.push(header.as_bytes());
    for part in contents {
        block.push(part);
    }
    block.align(ALIGN);
    Ok(())
}
