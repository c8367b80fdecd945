//! The relocation table of a vmlinux.

use boot_core::{KernelImage, arith};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, SizeError, Unaligned};

use crate::kind::Kind;
use crate::{RelocationsError, VirtualOffset};

/// `__START_KERNEL_map` (`arch/x86/include/asm/page_64_types.h`): virtual address of physical address zero in the kernel's mapping, as linked. Its
/// low half.
const KERNEL_MAP: u32 = 0x8000_0000;

/// The relocation table behind a vmlinux: lists of places that contain virtual addresses of the kernel.
///
/// An entry has 32 bits: the low half of the virtual link address of a place. In front of each list is a zero. The lists are, in this order,
/// [`Kind::Absolute64`], [`Kind::Inverse32`] (up to Linux 6.14) and [`Kind::Absolute32`].
#[derive(Clone, Copy, Debug)]
pub struct Relocations<'a> {
    absolute64: &'a [U32],
    inverse32: &'a [U32],
    absolute32: &'a [U32],
}

impl<'a> Relocations<'a> {
    /// The table behind the ELF file at the start of `file`: the bytes behind its section headers, which are the last part of a vmlinux. `None`
    /// without bytes there, or if `file` is not a 64-bit ELF file with section headers.
    ///
    /// # Errors
    ///
    /// Those of [`parse`](Self::parse).
    pub fn behind(file: &'a [u8]) -> Result<Option<Self>, RelocationsError> {
        let table = elf_len(file).and_then(|len| file.get(len..));
        table
            .filter(|table| !table.is_empty())
            .map(Self::parse)
            .transpose()
    }

    /// Parses a table: the bytes from the end of the ELF file to the end of the unpacked payload of a bzImage.
    ///
    /// # Errors
    ///
    /// [`RelocationsError::Length`], [`Start`](RelocationsError::Start) or [`Lists`](RelocationsError::Lists) if it has another structure. The
    /// places are checked by [`apply`](Self::apply).
    pub fn parse(table: &'a [u8]) -> Result<Self, RelocationsError> {
        let entries = <[U32]>::ref_from_bytes(table)
            .map_err(SizeError::from)
            .map_err(|error| RelocationsError::Length {
                len: error.into_src().len(),
            })?;
        let Some((zero, lists)) = entries.split_first().filter(|(first, _)| first.get() == 0) else {
            let found = entries.first().map_or(0, |first| first.get());
            return Err(RelocationsError::Start { found });
        };
        let mut split = lists.split(|entry| entry == zero);
        let lists = [split.next(), split.next(), split.next()];
        match (lists, split.count()) {
            ([Some(absolute64), Some(absolute32), None], _) => Ok(Self {
                absolute64,
                inverse32: &[],
                absolute32,
            }),
            ([Some(absolute64), Some(inverse32), Some(absolute32)], 0) => Ok(Self {
                absolute64,
                inverse32,
                absolute32,
            }),
            (lists, rest) => {
                let found = lists.into_iter().flatten().count().saturating_add(rest);
                Err(RelocationsError::Lists { found })
            }
        }
    }

    /// Number of places.
    #[must_use]
    pub fn len(&self) -> usize {
        let lists = self.lists().map(|(_, list)| list.len());
        lists.into_iter().fold(0, usize::saturating_add)
    }

    /// Whether there are no places.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lists(&self) -> [(Kind, &'a [U32]); 3] {
        [
            (Kind::Absolute64, self.absolute64),
            (Kind::Inverse32, self.inverse32),
            (Kind::Absolute32, self.absolute32),
        ]
    }

    /// Moves the virtual addresses of the kernel in `file` by `offset`. `image` is what `fmt-elf` parsed from these bytes; its segments, entry
    /// points and physical addresses stay as they are.
    ///
    /// # Errors
    ///
    /// [`RelocationsError::Place`] for a place outside of the bytes of the kernel's segments, and [`RelocationsError::OtherFile`] if `file` has
    /// another length than that of the image. Nothing is changed then.
    pub fn apply(
        &self,
        image: &KernelImage,
        file: &mut [u8],
        offset: VirtualOffset,
    ) -> Result<(), RelocationsError> {
        check_len(image, file)?;
        self.apply_to(image, file, offset)
    }

    /// As [`apply`](Self::apply), with the first bytes of the file.
    fn apply_to(
        &self,
        image: &KernelImage,
        start: &mut [u8],
        offset: VirtualOffset,
    ) -> Result<(), RelocationsError> {
        self.for_each(image, start.len(), |_, _| {})?;
        self.for_each(image, start.len(), |kind, at| {
            let place = at..at.saturating_add(kind.width());
            if let Some(bytes) = start.get_mut(place) {
                kind.relocate(bytes, offset.get());
            }
        })
    }

    /// Calls `f` with the kind of each place and its offset in the file, whose first `len` bytes have all places.
    fn for_each(
        &self,
        image: &KernelImage,
        len: usize,
        mut f: impl FnMut(Kind, usize),
    ) -> Result<(), RelocationsError> {
        for (kind, list) in self.lists() {
            // Lists are sorted: most places are in the segment of the one before.
            let mut latest = 0;
            for (index, entry) in list.iter().enumerate() {
                let found = place(image, *entry, kind.width(), &mut latest)
                    .filter(|at| at.saturating_add(kind.width()) <= len);
                let at = found.ok_or_else(|| RelocationsError::Place {
                    kind,
                    index,
                    addr: virtual_address(*entry),
                })?;
                f(kind, at);
            }
        }
        Ok(())
    }
}

/// Moves the virtual addresses of the kernel in `file` by `offset`, by the table that is [behind](Relocations::behind) it. `false` without a table:
/// nothing is changed then.
///
/// # Errors
///
/// Those of [`Relocations::parse`] and [`Relocations::apply`]; places in the table itself are an error, too.
pub fn relocate(
    image: &KernelImage,
    file: &mut [u8],
    offset: VirtualOffset,
) -> Result<bool, RelocationsError> {
    check_len(image, file)?;
    let len = elf_len(file).filter(|len| *len < file.len());
    let Some((elf, table)) = len.and_then(|len| file.split_at_mut_checked(len)) else {
        return Ok(false);
    };
    Relocations::parse(table)?.apply_to(image, elf, offset)?;
    Ok(true)
}

/// Checks that the image has the length of the file.
fn check_len(image: &KernelImage, file: &[u8]) -> Result<(), RelocationsError> {
    if arith::to_u64(file.len()) == image.source_len() {
        return Ok(());
    }
    Err(RelocationsError::OtherFile {
        expected: image.source_len(),
        found: file.len(),
    })
}

/// End of the section headers of a 64-bit ELF file.
fn elf_len(file: &[u8]) -> Option<usize> {
    /// `\x7fELF`, `ELFCLASS64` and `ELFDATA2LSB`.
    const MAGIC: &[u8] = b"\x7fELF\x02\x01";
    let (header, _) = SectionHeaders::read_from_prefix(file.get(0x28..)?).ok()?;
    let count = usize::from(header.e_shnum.get());
    let len = count.checked_mul(header.e_shentsize.get().into())?;
    let start = usize::try_from(header.e_shoff.get()).ok()?;
    start
        .checked_add(len)
        .filter(|_| len > 0 && file.starts_with(MAGIC))
}

/// The end of the header of a 64-bit ELF file (gABI, "ELF Header"), from offset 0x28 on.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[expect(
    clippy::struct_field_names,
    reason = "the prefix is part of the specification's names"
)]
struct SectionHeaders {
    e_shoff: U64,
    e_flags: U32,
    e_ehsize: U16,
    e_phentsize: U16,
    e_phnum: U16,
    e_shentsize: U16,
    e_shnum: U16,
    e_shstrndx: U16,
}

const _: () = assert!(size_of::<SectionHeaders>() == 0x40 - 0x28);

/// The offset in the file of a place of `width` bytes. `latest` is the index of the segment of the place before, and becomes that of this one.
fn place(image: &KernelImage, entry: U32, width: usize, latest: &mut usize) -> Option<usize> {
    // Segments have physical addresses.
    let addr = u64::from(entry.get().checked_sub(KERNEL_MAP)?);
    file_offset(image, addr, width, latest)
}

/// The offset in the file of `width` bytes at an address of the image. `latest` is as for [`place`].
pub(crate) fn file_offset(image: &KernelImage, addr: u64, width: usize, latest: &mut usize) -> Option<usize> {
    let segments = image.segments();
    let contains = |index: &usize| {
        segments
            .get(*index)
            .is_some_and(|segment| segment.file_part().contains_addr(addr))
    };
    let index = Some(*latest)
        .filter(contains)
        .or_else(|| {
            segments
                .partition_point(|segment| segment.range.start() <= addr)
                .checked_sub(1)
        })
        .filter(contains)?;
    *latest = index;
    let segment = segments.get(index)?;
    let part = segment.file_part();
    if part.end().checked_sub(addr)? < arith::to_u64(width) {
        return None;
    }
    let at = segment
        .source
        .offset()
        .checked_add(addr.checked_sub(part.start())?)?;
    usize::try_from(at).ok()
}

/// The virtual address of an entry, which is its low half; the upper half extends the sign.
fn virtual_address(entry: U32) -> u64 {
    let upper = if entry.get() >= KERNEL_MAP { u32::MAX } else { 0 };
    (u64::from(upper) << 32) | u64::from(entry.get())
}
