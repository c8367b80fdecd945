//! OVMF images: what a launch of a confidential guest needs of them.
//!
//! At the end of the file is a table of entries with GUIDs (edk2 `OvmfPkg/ResetVector/Ia16/ResetVectorVtf0.asm`). One entry locates
//! the SEV metadata: sections of guest memory and their roles in the launch (`OvmfPkg/ResetVector/X64/OvmfSevMetadata.asm`).

use alloc::vec::Vec;

use boot_core::{ByteSource, ReadError, SizedSource, arith};
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::pieces::PAGE_SIZE;

/// End of the guest addresses of the firmware: it is mapped below 4 GiB.
const FOUR_GIB: u64 = 1 << 32;
/// Bytes behind the table, which are the reset vector.
const RESET_VECTOR_LEN: u64 = 32;

const TABLE_FOOTER: [u8; 16] = guid(0x96b5_82de, 0x1fb2, 0x45f7, 0xbaea_a366_c55a_082d);
const HASH_TABLE: [u8; 16] = guid(0x7255_371f, 0x3a3b, 0x4b04, 0x927b_1da6_efa8_d454);
const RESET_BLOCK: [u8; 16] = guid(0x00f7_71de, 0x1a7e, 0x4fcb, 0x890e_68c7_7e2f_b44e);
const SEV_METADATA: [u8; 16] = guid(0xdc88_6566, 0x984a, 0x4798, 0xa75e_5585_a7bf_67cc);

/// The bytes of a GUID whose last two groups are `rest`.
pub(crate) const fn guid(a: u32, b: u16, c: u16, rest: u64) -> [u8; 16] {
    let ([a0, a1, a2, a3], [b0, b1], [c0, c1]) = (a.to_le_bytes(), b.to_le_bytes(), c.to_le_bytes());
    let [d0, d1, d2, d3, d4, d5, d6, d7] = rest.to_be_bytes();
    [a0, a1, a2, a3, b0, b1, c0, c1, d0, d1, d2, d3, d4, d5, d6, d7]
}

/// Entry of the table at the end of the file. Its data are before it.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct TableEntry {
    /// Length in bytes with this structure.
    size: U16,
    guid: [u8; 16],
}

const _: () = assert!(size_of::<TableEntry>() == 18);

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct MetadataHeader {
    signature: [u8; 4],
    /// Length in bytes with this structure and all sections.
    size: U32,
    version: U32,
    sections: U32,
}

const _: () = assert!(size_of::<MetadataHeader>() == 16);

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawSection {
    gpa: U32,
    size: U32,
    kind: U32,
}

const _: () = assert!(size_of::<RawSection>() == 12);

/// Role of a section of guest memory in the launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SectionKind {
    /// Memory that the firmware uses before it validates memory itself: zeros.
    SecMem,
    /// The secrets page.
    Secrets,
    /// The CPUID page.
    Cpuid,
    /// The calling area of a secure VM service module: zeros.
    SvsmCaa,
    /// The page with the hashes of kernel, initrd and command line; zeros without a kernel.
    KernelHashes,
}

/// A section of guest memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Section {
    /// Guest physical address, a multiple of 4096.
    pub gpa: u32,
    /// Length in bytes, a multiple of 4096.
    pub size: u32,
    /// Role.
    pub kind: SectionKind,
}

impl Section {
    /// The guest physical addresses of its pages.
    pub(crate) fn pages(&self) -> impl Iterator<Item = u64> + use<> {
        let start = u64::from(self.gpa);
        (0..u64::from(self.size) / PAGE_SIZE).map(move |i| start.saturating_add(i.saturating_mul(PAGE_SIZE)))
    }
}

/// Why an image is no OVMF image that can be launched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OvmfError {
    /// The file cannot be read.
    #[error("the firmware cannot be read")]
    Read(#[from] ReadError),
    /// The length of the file.
    #[error("the firmware has {0:#x} bytes, but it must be whole pages of 4096 bytes below 4 GiB")]
    Length(u64),
    /// The file does not end with the table.
    #[error(
        "the firmware has no table with the GUID 96b582de-1fb2-45f7-baea-a366c55a082d at its end: it is not OVMF"
    )]
    NoTable,
    /// An entry of the table is shorter than its header, or longer than the rest of the table.
    #[error("an entry of the table at the end has {found:#x} bytes, but must have 0x12 to {max:#x}")]
    EntrySize {
        /// Its length.
        found: u16,
        /// Bytes of the table up to its end.
        max: usize,
    },
    /// An entry of the table has fewer data bytes than its meaning needs.
    #[error("the entry of the table for the {0} has no four bytes of data")]
    EntryData(&'static str),
    /// The metadata are outside the file.
    #[error("the SEV metadata at {offset:#x} bytes before the end of the firmware are outside the file")]
    MetadataOutside {
        /// Distance from the end of the file.
        offset: u32,
    },
    /// The header of the metadata is not that of version 1.
    #[error(
        "the SEV metadata begin with {signature:02x?} and have version {version}, but must have ASEV and 1"
    )]
    MetadataHeader {
        /// The signature.
        signature: [u8; 4],
        /// The version.
        version: u32,
    },
    /// More sections than the length of the metadata permits.
    #[error("the SEV metadata have {sections} sections in {size:#x} bytes")]
    MetadataSize {
        /// Number of sections.
        sections: u32,
        /// Length of the metadata.
        size: u32,
    },
    /// The role of a section is unknown.
    #[error("the section of SEV metadata at {gpa:#x} has the unknown kind {kind:#x}")]
    SectionKind {
        /// Guest physical address.
        gpa: u32,
        /// Kind.
        kind: u32,
    },
    /// A section is not whole pages, or ends past 4 GiB, or all sections together are more than 4 GiB.
    #[error(
        "the section of SEV metadata at {gpa:#x} has {size:#x} bytes; sections are whole pages, together below 4 GiB"
    )]
    SectionRange {
        /// Guest physical address.
        gpa: u32,
        /// Length in bytes.
        size: u32,
    },
}

/// An OVMF image.
#[derive(Clone, Debug)]
pub struct Ovmf<'a> {
    source: SizedSource<'a>,
    hash_table: Option<u32>,
    reset_eip: Option<u32>,
    sections: Vec<Section>,
}

impl<'a> Ovmf<'a> {
    /// Parses the table at the end and the metadata.
    ///
    /// # Errors
    ///
    /// [`OvmfError`] where the file is not OVMF or its metadata are malformed.
    pub fn parse(source: &'a dyn ByteSource) -> Result<Self, OvmfError> {
        let source = SizedSource::new(source)?;
        let len = source.len();
        if len == 0 || len >= FOUR_GIB || len % PAGE_SIZE != 0 {
            return Err(OvmfError::Length(len));
        }
        let mut ovmf = Self {
            source,
            hash_table: None,
            reset_eip: None,
            sections: Vec::new(),
        };
        // The file is at least a page: this does not underflow.
        let entry_len = arith::to_u64(size_of::<TableEntry>());
        let footer_at = len.saturating_sub(RESET_VECTOR_LEN).saturating_sub(entry_len);
        let footer: TableEntry = source.read(footer_at)?;
        let table_len = usize::from(footer.size.get()).checked_sub(size_of::<TableEntry>());
        let table_len = table_len
            .filter(|_| footer.guid == TABLE_FOOTER)
            .ok_or(OvmfError::NoTable)?;
        let table_at = footer_at
            .checked_sub(arith::to_u64(table_len))
            .ok_or(OvmfError::NoTable)?;
        let table = source.read_vec(table_at, table_len)?;
        let mut metadata = None;
        let mut rest = table.as_slice();
        while let Ok((before, entry)) = TableEntry::read_from_suffix(rest) {
            let found = entry.size.get();
            let data_len = usize::from(found).checked_sub(size_of::<TableEntry>());
            let start = data_len.and_then(|len| before.len().checked_sub(len));
            let Some((next, data)) = start.and_then(|start| before.split_at_checked(start)) else {
                return Err(OvmfError::EntrySize {
                    found,
                    max: rest.len(),
                });
            };
            let number = |what| {
                let number = U32::read_from_prefix(data);
                number.map_or(Err(OvmfError::EntryData(what)), |(number, _)| Ok(number.get()))
            };
            // Of entries with the same GUID, the first of the table wins: it is the last here.
            match entry.guid {
                HASH_TABLE => ovmf.hash_table = Some(number("table of hashes")?),
                RESET_BLOCK => ovmf.reset_eip = Some(number("reset block")?),
                SEV_METADATA => metadata = Some(number("SEV metadata")?),
                _ => {}
            }
            rest = next;
        }
        if let Some(offset) = metadata {
            ovmf.sections = read_metadata(&source, offset)?;
        }
        Ok(ovmf)
    }

    /// Guest physical address of the first byte: the file ends at 4 GiB.
    #[must_use]
    pub fn gpa(&self) -> u64 {
        FOUR_GIB.saturating_sub(self.source.len())
    }

    /// The bytes.
    #[must_use]
    pub fn source(&self) -> &SizedSource<'a> {
        &self.source
    }

    /// Guest physical address of the table of hashes of kernel, initrd and command line; `None` if the firmware does not
    /// check them.
    #[must_use]
    pub fn hash_table(&self) -> Option<u32> {
        self.hash_table.filter(|gpa| *gpa != 0)
    }

    /// The address at which CPUs other than the boot CPU start.
    #[must_use]
    pub fn reset_eip(&self) -> Option<u32> {
        self.reset_eip
    }

    /// The sections of guest memory, in the order of the metadata.
    #[must_use]
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }
}

fn read_metadata(source: &SizedSource<'_>, offset: u32) -> Result<Vec<Section>, OvmfError> {
    let outside = OvmfError::MetadataOutside { offset };
    let at = source.len().checked_sub(offset.into());
    let header_len = arith::to_u64(size_of::<MetadataHeader>());
    let Some(at) = at.filter(|_| u64::from(offset) >= header_len) else {
        return Err(outside);
    };
    let header: MetadataHeader = source.read(at)?;
    if &header.signature != b"ASEV" || header.version.get() != 1 {
        return Err(OvmfError::MetadataHeader {
            signature: header.signature,
            version: header.version.get(),
        });
    }
    let (size, sections) = (header.size.get(), header.sections.get());
    let sections_len = u64::from(sections).saturating_mul(arith::to_u64(size_of::<RawSection>()));
    if sections_len.saturating_add(header_len) > size.into() {
        return Err(OvmfError::MetadataSize { sections, size });
    }
    if size > offset {
        return Err(outside);
    }
    let len = usize::try_from(sections_len).map_or(Err(outside), Ok)?;
    let bytes = source.read_vec(at.saturating_add(header_len), len)?;
    let mut found = Vec::new();
    let mut total = 0_u64;
    for bytes in bytes.chunks_exact(size_of::<RawSection>()) {
        // Chunks have the length of a section: nothing is skipped.
        let Ok(raw) = RawSection::read_from_bytes(bytes) else {
            continue;
        };
        let (gpa, size) = (raw.gpa.get(), raw.size.get());
        total = total.saturating_add(size.into());
        let end = u64::from(gpa).saturating_add(size.into());
        let is_whole = u64::from(gpa | size) % PAGE_SIZE == 0;
        if !is_whole || end > FOUR_GIB || total > FOUR_GIB {
            return Err(OvmfError::SectionRange { gpa, size });
        }
        let kind = match raw.kind.get() {
            1 => SectionKind::SecMem,
            2 => SectionKind::Secrets,
            3 => SectionKind::Cpuid,
            4 => SectionKind::SvsmCaa,
            0x10 => SectionKind::KernelHashes,
            kind => return Err(OvmfError::SectionKind { gpa, kind }),
        };
        found.push(Section { gpa, size, kind });
    }
    Ok(found)
}
