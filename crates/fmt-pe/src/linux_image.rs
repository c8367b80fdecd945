//! Common parts of the arm64 and riscv `Image` parsers: addresses, and the PE header of the EFI stub.

use alloc::vec::Vec;

use boot_core::{GuestRange, SizedSource, SourceRange};

use crate::error::{LinuxImageError, Malformed};
use crate::pe::{self, Machine, PeError, PeFile};
use crate::warning::Warning;

/// Link addresses of an `Image`, which starts at `text_offset`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// File range: the whole file.
    pub(crate) source: SourceRange,
    /// Range of the file in memory.
    pub(crate) segment: GuestRange,
    /// Runtime extent, which begins with the file.
    pub(crate) extent: GuestRange,
}

/// Determines the addresses of a file of `len` bytes that needs `image_size` bytes of memory below `max`.
pub(crate) fn compute_layout(
    text_offset: u64,
    image_size: u64,
    len: u64,
    max: u64,
    warnings: &mut Vec<Warning>,
) -> Result<Layout, Malformed> {
    if image_size < len {
        warnings.push(Warning::SmallImageSize { image_size, len });
    }
    let need = image_size.max(len);
    let at = |len| {
        GuestRange::new(text_offset, len)
            .filter(|range| range.end() <= max)
            .ok_or(Malformed::AddressOverflow {
                text_offset,
                len: need,
            })
    };
    Ok(Layout {
        source: SourceRange::whole(len),
        segment: at(len)?,
        extent: at(need)?,
    })
}

/// Machine type in the PE header of an `Image`, if there is a valid one.
///
/// Only firmware uses that header, so errors in it are warnings. The exception is a truncated file, which is refused: the
/// header of the `Image` does not contain the length of the file, but the PE header does.
pub(crate) fn pe_machine(
    source: SizedSource<'_>,
    warnings: &mut Vec<Warning>,
) -> Result<Option<Machine>, LinuxImageError> {
    match PeFile::parse(source) {
        Ok(pe) => Ok(pe.map(|pe| pe.machine())),
        Err(PeError::Read(error)) => Err(error.into()),
        Err(PeError::Malformed(
            error @ (pe::Malformed::HeadersTruncated { .. } | pe::Malformed::SectionTruncated { .. }),
        )) => Err(Malformed::PeTruncated(error).into()),
        Err(PeError::Malformed(error)) => {
            warnings.push(Warning::PeMalformed(error));
            Ok(None)
        }
        Err(PeError::Unsupported(error)) => {
            warnings.push(Warning::PeUnsupported(error));
            Ok(None)
        }
    }
}
