//! The optional header: two layouts, one meaning.

use boot_core::{SizedSource, arith};
use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, IntoBytes};

use super::{DllCharacteristics, Malformed, PeError, Subsystem, Unsupported, raw};

/// The optional header of PE32 or PE32+, without what no loader needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct OptionalHeader {
    /// Whether it is PE32+, with 64-bit addresses.
    pub is_pe32_plus: bool,
    /// `AddressOfEntryPoint`: relative to the image, inside it; zero for none.
    pub address_of_entry_point: u32,
    /// `ImageBase`: the address that the image was linked for.
    pub image_base: u64,
    /// `SectionAlignment`: a power of two, the alignment of the image in memory.
    pub section_alignment: u32,
    /// `FileAlignment`: a power of two, not above [`section_alignment`](Self::section_alignment).
    pub file_alignment: u32,
    /// `MajorImageVersion` and `MinorImageVersion`. A Linux EFI stub has its own version here.
    pub image_version: (u16, u16),
    /// `MajorSubsystemVersion` and `MinorSubsystemVersion`.
    pub subsystem_version: (u16, u16),
    /// `SizeOfImage`: how much memory the image needs, in bytes.
    pub size_of_image: u32,
    /// `SizeOfHeaders`: how many bytes from the start of the file go to the start of the image.
    pub size_of_headers: u32,
    /// `CheckSum`; zero where nobody computed it.
    pub check_sum: u32,
    /// `Subsystem`.
    pub subsystem: Subsystem,
    /// `DllCharacteristics`.
    pub dll_characteristics: DllCharacteristics,
    /// `SizeOfStackReserve`, in bytes.
    pub size_of_stack_reserve: u64,
    /// `SizeOfStackCommit`, in bytes.
    pub size_of_stack_commit: u64,
    /// `SizeOfHeapReserve`, in bytes.
    pub size_of_heap_reserve: u64,
    /// `SizeOfHeapCommit`, in bytes.
    pub size_of_heap_commit: u64,
    pub(super) number_of_rva_and_sizes: u32,
}

/// The fixed part of the optional header, and its length.
pub(super) fn read_fixed(source: &SizedSource<'_>, offset: u64) -> Result<(OptionalHeader, u64), PeError> {
    let magic: U16 = read(source, offset)?;
    match magic.get() {
        raw::MAGIC_PE32 => {
            let header: raw::OptionalHeader32 = read(source, offset)?;
            let optional = OptionalHeader {
                is_pe32_plus: false,
                address_of_entry_point: header.address_of_entry_point.get(),
                image_base: header.image_base.get().into(),
                size_of_stack_reserve: header.size_of_stack_reserve.get().into(),
                size_of_stack_commit: header.size_of_stack_commit.get().into(),
                size_of_heap_reserve: header.size_of_heap_reserve.get().into(),
                size_of_heap_commit: header.size_of_heap_commit.get().into(),
                number_of_rva_and_sizes: header.number_of_rva_and_sizes.get(),
                ..OptionalHeader::with_common(&header.common)
            };
            Ok((optional, arith::to_u64(size_of::<raw::OptionalHeader32>())))
        }
        raw::MAGIC_PE32_PLUS => {
            let header: raw::OptionalHeader64 = read(source, offset)?;
            let optional = OptionalHeader {
                is_pe32_plus: true,
                address_of_entry_point: header.address_of_entry_point.get(),
                image_base: header.image_base.get(),
                size_of_stack_reserve: header.size_of_stack_reserve.get(),
                size_of_stack_commit: header.size_of_stack_commit.get(),
                size_of_heap_reserve: header.size_of_heap_reserve.get(),
                size_of_heap_commit: header.size_of_heap_commit.get(),
                number_of_rva_and_sizes: header.number_of_rva_and_sizes.get(),
                ..OptionalHeader::with_common(&header.common)
            };
            Ok((optional, arith::to_u64(size_of::<raw::OptionalHeader64>())))
        }
        raw::MAGIC_ROM => Err(Unsupported::Rom.into()),
        found => Err(Malformed::OptionalMagic { offset, found }.into()),
    }
}

impl OptionalHeader {
    /// What both kinds have in common; the rest is zero.
    fn with_common(common: &raw::OptionalCommon) -> Self {
        Self {
            is_pe32_plus: false,
            address_of_entry_point: 0,
            image_base: 0,
            section_alignment: common.section_alignment.get(),
            file_alignment: common.file_alignment.get(),
            image_version: (common.major_image_version.get(), common.minor_image_version.get()),
            subsystem_version: (
                common.major_subsystem_version.get(),
                common.minor_subsystem_version.get(),
            ),
            size_of_image: common.size_of_image.get(),
            size_of_headers: common.size_of_headers.get(),
            check_sum: common.check_sum.get(),
            subsystem: Subsystem(common.subsystem.get()),
            dll_characteristics: DllCharacteristics::from_bits_retain(common.dll_characteristics.get()),
            size_of_stack_reserve: 0,
            size_of_stack_commit: 0,
            size_of_heap_reserve: 0,
            size_of_heap_commit: 0,
            number_of_rva_and_sizes: 0,
        }
    }
}

/// Reads a header, which must be in the file as a whole.
pub(super) fn read<T: FromBytes + IntoBytes>(source: &SizedSource<'_>, offset: u64) -> Result<T, PeError> {
    check_cut(source, offset.saturating_add(arith::to_u64(size_of::<T>())))?;
    Ok(source.read(offset)?)
}

/// Checks that the headers, which reach to `end`, are in the file.
pub(super) fn check_cut(source: &SizedSource<'_>, end: u64) -> Result<(), Malformed> {
    let len = source.len();
    if end > len {
        return Err(Malformed::HeadersCut { end, len });
    }
    Ok(())
}
