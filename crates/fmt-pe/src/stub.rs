//! What the headers of both `Image` formats have in common: where the file goes, and the EFI stub.

use alloc::vec::Vec;

use boot_core::{GuestRange, SizedSource, SourceRange};

use crate::error::{KernelError, Malformed};
use crate::pe::{self, Machine, PeError, PeFile};
use crate::warning::Warning;

/// The link addresses of an `Image`: it starts `text_offset` after address zero.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// The whole file.
    pub(crate) source: SourceRange,
    /// Where the file goes.
    pub(crate) segment: GuestRange,
    /// The memory that the kernel needs; it begins with the file.
    pub(crate) extent: GuestRange,
}

/// Lays out a file of `len` bytes that needs `need` bytes, below `max`.
pub(crate) fn layout(
    text_offset: u64,
    need: u64,
    len: u64,
    max: u64,
    warnings: &mut Vec<Warning>,
) -> Result<Layout, Malformed> {
    if need < len {
        warnings.push(Warning::SmallImageSize { found: need, len });
    }
    let need = need.max(len);
    let at = |len| {
        GuestRange::new(text_offset, len)
            .filter(|range| range.end() <= max)
            .ok_or(Malformed::Memory { text_offset, need })
    };
    Ok(Layout {
        source: SourceRange::whole(len),
        segment: at(len)?,
        extent: at(need)?,
    })
}

/// What the PE header of an `Image` is for, where there is one.
///
/// Only firmware needs that header, so what is wrong with it is an warning. But it knows better than the header of the
/// `Image` how long the file must be: a kernel that was cut is refused.
pub(crate) fn machine(
    source: SizedSource<'_>,
    warnings: &mut Vec<Warning>,
) -> Result<Option<Machine>, KernelError> {
    match PeFile::open(source) {
        Ok(pe) => Ok(pe.map(|pe| pe.machine())),
        Err(PeError::Read(error)) => Err(error.into()),
        Err(PeError::Malformed(
            error @ (pe::Malformed::HeadersCut { .. } | pe::Malformed::SectionCut { .. }),
        )) => Err(Malformed::PeCut(error).into()),
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
