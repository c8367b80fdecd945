//! Relative relocations of a position-independent ELF kernel.

use core::ops::Range;

use boot_core::{Arch, Endian, KernelImage, arith};

use crate::error::RelativeError;
use crate::relocations::file_offset;

/// `\x7fELF` and `ELFCLASS64` (gABI, "ELF Identification").
const MAGIC: &[u8] = b"\x7fELF\x02";

/// `ET_DYN` (gABI, "ELF Header").
const ET_DYN: u16 = 3;

/// `PT_LOAD` and `PT_DYNAMIC` (gABI, "Program Header").
const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;

/// Length of `Elf64_Phdr`, `Elf64_Dyn` and `Elf64_Rela`.
const PHDR_LEN: u64 = 56;
const DYN_LEN: u64 = 16;
const RELA_LEN: u64 = 24;
const RELA_SIZE: usize = 24;

/// Tags of `PT_DYNAMIC` (gABI, "Dynamic Section").
const DT_NULL: u64 = 0;
const DT_RELA: u64 = 7;
const DT_RELASZ: u64 = 8;
const DT_RELAENT: u64 = 9;

/// `R_*_NONE` of each architecture.
const NONE: u64 = 0;

/// x86-64 psABI, "Relocation Types".
const R_X86_64_RELATIVE: u32 = 8;
/// ELF for the Arm 64-bit Architecture, "Dynamic relocations".
const R_AARCH64_RELATIVE: u32 = 1027;
/// RISC-V ELF psABI, "Relocations".
const R_RISCV_RELATIVE: u32 = 3;

/// Moves a position-independent ELF64 kernel in `file` from its link address to `start`, the address of its first byte in a plan: applies the entries
/// `R_*_RELATIVE` of its table `DT_RELA`. Returns their number.
///
/// The plan stays as it is: only bytes in the file change. A kernel that applies its own relocations is not harmed, since an entry of `DT_RELA`
/// holds the whole address. `DT_RELR` changes addresses in place, so that the kernel has to apply it itself.
///
/// Nothing is done, and the number is 0, for a kernel at its link address, a file that is not `ET_DYN`, one without `DT_RELA`, and one whose virtual
/// link addresses are not its physical ones.
///
/// # Errors
///
/// [`RelativeError`] with the entry; nothing is changed then. [`RelativeError::OtherFile`] if `file` has another length than that of the image.
pub fn relocate_relative(image: &KernelImage, file: &mut [u8], start: u64) -> Result<u64, RelativeError> {
    if arith::to_u64(file.len()) != image.source_len() {
        return Err(RelativeError::OtherFile {
            expected: image.source_len(),
            found: file.len(),
        });
    }
    let distance = start.wrapping_sub(image.extent().start());
    let Some(table) = Rela::find(image, file).filter(|_| distance != 0) else {
        return Ok(0);
    };
    let entries = table.entries(image, file)?;
    // All entries are checked before one is applied.
    let mut latest = 0;
    for index in 0..entries.count() {
        entries.place(image, file, index, &mut latest)?;
    }
    let mut applied = 0_u64;
    for index in 0..entries.count() {
        if let Some((place, addend)) = entries.place(image, file, index, &mut latest)? {
            let value = addend.wrapping_add(distance);
            if let Some(bytes) = file.get_mut(place..).and_then(<[u8]>::first_chunk_mut) {
                *bytes = entries.elf.encode(value);
            }
            applied = applied.saturating_add(1);
        }
    }
    Ok(applied)
}

/// An ELF64 file of type `ET_DYN`: where its program headers are. The bytes are passed to the functions, because they change.
#[derive(Clone, Copy, Debug)]
struct Elf {
    endian: Endian,
    phoff: u64,
    phentsize: u64,
    phnum: u64,
}

/// Fields of a program header (gABI, "Program Header").
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::struct_field_names,
    reason = "the prefix is part of the specification's names"
)]
struct Phdr {
    p_type: u32,
    p_offset: u64,
    p_vaddr: u64,
    p_paddr: u64,
    p_filesz: u64,
}

impl Elf {
    fn parse(endian: Endian, file: &[u8]) -> Option<Self> {
        let header = Self {
            endian,
            phoff: 0,
            phentsize: 0,
            phnum: 0,
        };
        if !file.starts_with(MAGIC) || header.half(file, 0x10)? != ET_DYN {
            return None;
        }
        let elf = Self {
            phoff: header.xword(file, 0x20)?,
            phentsize: header.half(file, 0x36)?.into(),
            phnum: header.half(file, 0x38)?.into(),
            ..header
        };
        (elf.phentsize >= PHDR_LEN).then_some(elf)
    }

    fn half(self, file: &[u8], at: u64) -> Option<u16> {
        let bytes = *file.get(usize::try_from(at).ok()?..)?.first_chunk()?;
        Some(match self.endian {
            Endian::Little => u16::from_le_bytes(bytes),
            Endian::Big => u16::from_be_bytes(bytes),
        })
    }

    fn word(self, file: &[u8], at: u64) -> Option<u32> {
        let bytes = *file.get(usize::try_from(at).ok()?..)?.first_chunk()?;
        Some(match self.endian {
            Endian::Little => u32::from_le_bytes(bytes),
            Endian::Big => u32::from_be_bytes(bytes),
        })
    }

    fn xword(self, file: &[u8], at: u64) -> Option<u64> {
        let bytes = *file.get(usize::try_from(at).ok()?..)?.first_chunk()?;
        Some(match self.endian {
            Endian::Little => u64::from_le_bytes(bytes),
            Endian::Big => u64::from_be_bytes(bytes),
        })
    }

    fn encode(self, value: u64) -> [u8; 8] {
        match self.endian {
            Endian::Little => value.to_le_bytes(),
            Endian::Big => value.to_be_bytes(),
        }
    }

    fn phdrs(self, file: &[u8]) -> impl Iterator<Item = Phdr> + '_ {
        (0..self.phnum).map_while(move |index| {
            let at = self.phoff.checked_add(index.checked_mul(self.phentsize)?)?;
            Some(Phdr {
                p_type: self.word(file, at)?,
                p_offset: self.xword(file, at.checked_add(8)?)?,
                p_vaddr: self.xword(file, at.checked_add(16)?)?,
                p_paddr: self.xword(file, at.checked_add(24)?)?,
                p_filesz: self.xword(file, at.checked_add(32)?)?,
            })
        })
    }

    /// The value of a tag in `PT_DYNAMIC`.
    fn dynamic(self, file: &[u8], tag: u64) -> Option<u64> {
        let dynamic = self.phdrs(file).find(|phdr| phdr.p_type == PT_DYNAMIC)?;
        let count = dynamic.p_filesz.checked_div(DYN_LEN)?;
        (0..count)
            .map_while(|index| {
                let at = dynamic.p_offset.checked_add(index.checked_mul(DYN_LEN)?)?;
                let found = self.xword(file, at)?;
                (found != DT_NULL).then_some((found, at))
            })
            .find(|(found, _)| *found == tag)
            .and_then(|(_, at)| self.xword(file, at.checked_add(8)?))
    }
}

/// The table `DT_RELA`.
#[derive(Clone, Copy, Debug)]
struct Rela {
    elf: Elf,
    /// `R_*_RELATIVE` of the architecture.
    relative: u32,
    /// Virtual address.
    addr: u64,
    /// `DT_RELASZ`.
    len: u64,
    /// `DT_RELAENT`.
    entry_len: u64,
}

impl Rela {
    /// The table of a kernel that runs where it is loaded.
    fn find(image: &KernelImage, file: &[u8]) -> Option<Self> {
        let elf = Elf::parse(image.endian(), file)?;
        let relative = match image.arch() {
            Arch::X86_64 => R_X86_64_RELATIVE,
            Arch::Aarch64 => R_AARCH64_RELATIVE,
            Arch::Riscv64 => R_RISCV_RELATIVE,
            _ => return None,
        };
        let mut loaded = elf.phdrs(file).filter(|phdr| phdr.p_type == PT_LOAD);
        if loaded.any(|phdr| phdr.p_vaddr != phdr.p_paddr) {
            return None;
        }
        Some(Self {
            elf,
            relative,
            addr: elf.dynamic(file, DT_RELA)?,
            len: elf.dynamic(file, DT_RELASZ)?,
            entry_len: elf.dynamic(file, DT_RELAENT)?,
        })
    }

    /// The entries, which are in one segment; the address of a table without entries does not matter.
    fn entries(self, image: &KernelImage, file: &[u8]) -> Result<Entries, RelativeError> {
        if self.entry_len != RELA_LEN {
            return Err(RelativeError::EntryLen {
                found: self.entry_len,
            });
        }
        let count = usize::try_from(self.len / RELA_LEN).ok();
        let table = match count.and_then(|count| count.checked_mul(RELA_SIZE)) {
            Some(0) => Some(0..0),
            Some(len) => bytes_at(image, file, self.addr, len, &mut 0),
            None => None,
        };
        let table = table.ok_or(RelativeError::Table {
            addr: self.addr,
            len: self.len,
        })?;
        Ok(Entries {
            elf: self.elf,
            relative: self.relative,
            table,
        })
    }
}

/// The entries of a table that is in the file.
#[derive(Clone, Debug)]
struct Entries {
    elf: Elf,
    /// `R_*_RELATIVE` of the architecture.
    relative: u32,
    /// Where they are in the file.
    table: Range<usize>,
}

impl Entries {
    const fn count(&self) -> usize {
        self.table.end.saturating_sub(self.table.start) / RELA_SIZE
    }

    /// The offset of an entry's place in the file, and its addend; `None` for `R_*_NONE`. `latest` is as for [`file_offset`].
    fn place(
        &self,
        image: &KernelImage,
        file: &[u8],
        index: usize,
        latest: &mut usize,
    ) -> Result<Option<(usize, u64)>, RelativeError> {
        let at = self.table.start.saturating_add(index.saturating_mul(RELA_SIZE));
        // `r_offset`, `r_info`, whose low half is the type, and `r_addend` (gABI, "Relocation"). All are in the file.
        let field = |offset| {
            self.elf
                .xword(file, arith::to_u64(at.saturating_add(offset)))
                .unwrap_or_default()
        };
        let (addr, info, addend) = (field(0), field(8), field(16));
        let index = arith::to_u64(index);
        let (symbol, kind) = (info >> 32, info & u64::from(u32::MAX));
        if kind == NONE {
            return Ok(None);
        }
        if kind != u64::from(self.relative) || symbol != 0 {
            return Err(RelativeError::Type { index, symbol, kind });
        }
        let place = bytes_at(image, file, addr, size_of::<u64>(), latest)
            .ok_or(RelativeError::Place { index, addr })?;
        // The entry there would be another one than the one that was checked.
        if place.start < self.table.end && self.table.start < place.end {
            return Err(RelativeError::InTable { index, addr });
        }
        Ok(Some((place.start, addend)))
    }
}

/// Where `len` bytes at an address of the image are in the file. `latest` is as for [`file_offset`].
fn bytes_at(
    image: &KernelImage,
    file: &[u8],
    addr: u64,
    len: usize,
    latest: &mut usize,
) -> Option<Range<usize>> {
    let start = file_offset(image, addr, len, latest)?;
    let end = start.checked_add(len)?;
    (end <= file.len()).then_some(start..end)
}
