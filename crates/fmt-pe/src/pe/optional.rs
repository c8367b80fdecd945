//! The optional header of PE32 and PE32+.

use boot_core::{SizedSource, arith};
use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, IntoBytes};

use super::constants::Subsystem;
use super::error::{Malformed, PeError, Unsupported};
use super::raw;

/// Optional header of PE32 or PE32+: the fields that a loader needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct OptionalHeader {
    /// True for PE32+, which has 64-bit addresses.
    pub is_pe32_plus: bool,
    /// `AddressOfEntryPoint`: an RVA inside the image; zero for none.
    pub address_of_entry_point: u32,
    /// `ImageBase`: link address of the image.
    pub image_base: u64,
    /// `SectionAlignment`: alignment of the image in memory, a power of two.
    pub section_alignment: u32,
    /// `FileAlignment`: a power of two, not above [`section_alignment`](Self::section_alignment).
    pub file_alignment: u32,
    /// `SizeOfImage`: size of the image in memory, in bytes.
    pub size_of_image: u32,
    /// `SizeOfHeaders`: number of bytes from the start of the file that are loaded to the start of the image.
    pub size_of_headers: u32,
    /// `CheckSum`; zero if it was not computed.
    pub check_sum: u32,
    /// `Subsystem`.
    pub subsystem: Subsystem,
    /// `DllCharacteristics`: flags such as [`raw::NX_COMPAT`].
    pub dll_characteristics: u16,
    pub(super) number_of_rva_and_sizes: u32,
}

/// Reads the optional header without its data directories. Returns it and its length in the file.
pub(super) fn read_fixed(source: &SizedSource<'_>, offset: u64) -> Result<(OptionalHeader, u64), PeError> {
    let magic: U16 = read(source, offset)?;
    match magic.get() {
        raw::MAGIC_PE32 => {
            let header: raw::OptionalHeader32 = read(source, offset)?;
            let optional = OptionalHeader {
                is_pe32_plus: false,
                address_of_entry_point: header.address_of_entry_point.get(),
                image_base: header.image_base.get().into(),
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
    /// True if the image states that it runs with data that is not executable and code that is not writable
    /// ([`raw::NX_COMPAT`]).
    #[must_use]
    pub const fn is_nx_compatible(&self) -> bool {
        self.dll_characteristics & raw::NX_COMPAT != 0
    }

    /// Header with the fields that are common to PE32 and PE32+; the others are zero.
    fn with_common(common: &raw::OptionalCommon) -> Self {
        Self {
            is_pe32_plus: false,
            address_of_entry_point: 0,
            image_base: 0,
            section_alignment: common.section_alignment.get(),
            file_alignment: common.file_alignment.get(),
            size_of_image: common.size_of_image.get(),
            size_of_headers: common.size_of_headers.get(),
            check_sum: common.check_sum.get(),
            subsystem: Subsystem(common.subsystem.get()),
            dll_characteristics: common.dll_characteristics.get(),
            number_of_rva_and_sizes: 0,
        }
    }
}

/// Reads a header.
pub(super) fn read<T: FromBytes + IntoBytes>(source: &SizedSource<'_>, offset: u64) -> Result<T, PeError> {
    check_headers_end(source, offset.saturating_add(arith::to_u64(size_of::<T>())))?;
    Ok(source.read(offset)?)
}

/// Checks that headers that end at `end` lie in the file.
pub(super) fn check_headers_end(source: &SizedSource<'_>, end: u64) -> Result<(), Malformed> {
    let len = source.len();
    if end > len {
        return Err(Malformed::HeadersTruncated { end, len });
    }
    Ok(())
}
