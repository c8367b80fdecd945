//! Evidence of what kind of program a file is.

use boot_core::{Arch, Segment, SizedSource, arith};
use boot_linux::vmlinux::{Evidence, LinuxMark, OtherMark};
use boot_multiboot::{v1, v2};
use zerocopy::FromBytes;

use crate::encoding::Class;
use crate::error::{ElfError, Field, Unsupported};
use crate::file::ElfFile;
use crate::header::{Decode, DynamicEntry, ProgramHeader, field};
use crate::note_scan::NoteScan;
use crate::raw;
use crate::riscv::uses_machine_mode;
use crate::warning::{Warning, Warnings};

/// Lowest link address that only kernels have: the upper half of a 64-bit address space, or the highest of the four
/// gigabytes of a 32-bit one.
const KERNEL_ADDRESSES: (u64, u64) = (0xc000_0000, 1 << 63);

/// `__START_KERNEL_map` of Linux on x86_64 (Documentation/arch/x86/x86_64/mm.rst).
const START_KERNEL_MAP: u64 = 0xffff_ffff_8000_0000;

/// The default of `PAGE_OFFSET` of Linux on i386.
const PAGE_OFFSET_32: u64 = 0xc000_0000;

/// Highest number of dynamic entries that are read. Programs have about thirty.
const MAX_DYNAMIC_ENTRIES: u64 = 64;

/// Operating systems with a number of their own in `EI_OSABI`: NetBSD, FreeBSD and OpenBSD.
const OTHER_OS_ABIS: [u8; 3] = [2, 9, 12];

/// Marks in the program headers, collected one at a time.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    /// Index of the first `PT_INTERP`, and its `p_type`.
    interpreter: Option<(u32, Field)>,
    has_thread_local_storage: bool,
    /// True if a `PT_LOAD` has the ELF header, as linkers do by default.
    loads_elf_header: bool,
    /// The highest kind of addresses of all `PT_LOAD`s.
    addresses: Addresses,
    /// Entries of the first dynamic table.
    dynamic: Option<DynamicTable>,
}

/// Kind of the virtual addresses of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Addresses {
    /// Equal to the physical ones, as in user programs.
    #[default]
    Equal,
    /// Different from the physical ones.
    Mapped,
    /// Those that only kernels have.
    Kernel,
}

impl Addresses {
    fn of(header: &ProgramHeader) -> Self {
        let lowest = match header.class {
            Class::Elf32 => KERNEL_ADDRESSES.0,
            Class::Elf64 => KERNEL_ADDRESSES.1,
        };
        if header.p_memsz == 0 {
            Self::Equal
        } else if header.p_vaddr >= lowest {
            Self::Kernel
        } else if header.p_vaddr != header.p_paddr {
            Self::Mapped
        } else {
            Self::Equal
        }
    }
}

/// Whether a dynamic table has these entries.
#[derive(Clone, Copy, Debug, Default)]
struct DynamicTable {
    init: bool,
    fini: bool,
    soname: bool,
}

impl Marks {
    /// Adds the marks in a program header.
    pub(crate) fn add(&mut self, file: &ElfFile<'_>, header: &ProgramHeader) -> Result<(), ElfError> {
        match header.p_type {
            raw::PT_LOAD => {
                self.addresses = self.addresses.max(Addresses::of(header));
                self.loads_elf_header |= header.p_offset == 0 && header.p_filesz != 0;
            }
            raw::PT_INTERP if self.interpreter.is_none() => {
                let field = field!(header.class, Phdr32 | Phdr64 @ header.header_offset, p_type);
                self.interpreter = Some((header.index, field));
            }
            raw::PT_TLS => self.has_thread_local_storage = true,
            raw::PT_DYNAMIC if self.dynamic.is_none() => self.dynamic = Some(dynamic_table(file, header)?),
            _ => {}
        }
        Ok(())
    }

    fn is_shared_object(&self) -> bool {
        self.dynamic.is_some_and(|table| table.soname)
    }
}

/// The entries at the start of a dynamic table (gABI chapter 5, "Dynamic Section"). A table past the end of the file has none.
fn dynamic_table(file: &ElfFile<'_>, header: &ProgramHeader) -> Result<DynamicTable, ElfError> {
    let size = DynamicEntry::raw_size(header.class);
    let max = MAX_DYNAMIC_ENTRIES.saturating_mul(arith::to_u64(size));
    let source = file.source();
    let mut table = DynamicTable::default();
    let len = match source.range(header.p_offset, header.p_filesz.min(max)) {
        Ok(range) => usize::try_from(range.len()).unwrap_or_default(),
        Err(_) => 0,
    };
    if len == 0 {
        return Ok(table);
    }
    for bytes in source.read_vec(header.p_offset, len)?.chunks_exact(size) {
        match DynamicEntry::decode(bytes, file.encoding()).map(|entry| entry.d_tag) {
            None | Some(raw::DT_NULL) => break,
            Some(raw::DT_INIT) => table.init = true,
            Some(raw::DT_FINI) => table.fini = true,
            Some(raw::DT_SONAME) => table.soname = true,
            Some(_) => {}
        }
    }
    Ok(table)
}

/// All that the evidence depends on.
pub(crate) struct Findings<'a> {
    pub(crate) arch: Arch,
    pub(crate) marks: &'a Marks,
    pub(crate) notes: &'a NoteScan,
    pub(crate) segments: &'a [(u32, Segment)],
    /// Physical address of the ELF entry point.
    pub(crate) entry: Option<u64>,
    /// If `e_entry` is a physical address in a segment of code: the distance from there to its virtual address.
    pub(crate) entry_distance: Option<u64>,
}

impl Findings<'_> {
    /// Evidence for or against a Linux kernel. A `PT_INTERP` is an error without a mark of any kernel, else a warning.
    pub(crate) fn evidence(
        &self,
        file: &ElfFile<'_>,
        warnings: &mut Warnings,
    ) -> Result<Option<Evidence>, ElfError> {
        let evidence = self.kernel_evidence(file)?;
        let is_kernel = self.marks.addresses == Addresses::Kernel
            || self.notes.has_xen_note
            || matches!(
                evidence,
                Some(Evidence::Linux(_) | Evidence::Other(OtherMark::Multiboot | OtherMark::Multiboot2))
            );
        if let Some((index, field)) = self.marks.interpreter {
            if !is_kernel {
                return Err(Unsupported::DynamicallyLinked { index, field }.into());
            }
            warnings.add(Warning::Interpreter { index, field });
        }
        if evidence.is_some() || is_kernel {
            return Ok(evidence);
        }
        Ok(self.user_program().map(Evidence::Other))
    }

    /// Evidence of a kernel or of firmware. Notes that name the operating system come first.
    fn kernel_evidence(&self, file: &ElfFile<'_>) -> Result<Option<Evidence>, ElfError> {
        if self.notes.has_linux_note && !self.is_in_user_space() {
            return Ok(Some(Evidence::Linux(LinuxMark::Note)));
        }
        match self.notes.is_linux_guest {
            Some(true) => return Ok(Some(Evidence::Linux(LinuxMark::GuestOs))),
            Some(false) => return Ok(Some(Evidence::Other(OtherMark::GuestOs))),
            None => {}
        }
        // A Multiboot header does not matter to a kernel that starts through PVH.
        if self.arch == Arch::X86_64 && self.notes.pvh.entry().is_none() {
            if let Some(mark) = multiboot_header(&file.source())? {
                return Ok(Some(Evidence::Other(mark)));
            }
        }
        if let Some(os) = self.notes.other_os {
            return Ok(Some(Evidence::Other(OtherMark::OsNote(os))));
        }
        if OTHER_OS_ABIS.contains(&file.os_abi()) {
            return Ok(Some(Evidence::Other(OtherMark::OsAbi(file.os_abi()))));
        }
        if self.arch == Arch::Riscv64 && self.entry_uses_machine_mode(&file.source())? {
            return Ok(Some(Evidence::Other(OtherMark::MachineMode)));
        }
        let kernel_mapping = match (self.arch, file.encoding().class) {
            (Arch::X86_64, Class::Elf64) => Some(START_KERNEL_MAP),
            (Arch::X86_64, Class::Elf32) => Some(PAGE_OFFSET_32),
            _ => None,
        };
        let is_mapped = kernel_mapping.is_some() && self.entry_distance == kernel_mapping;
        Ok(is_mapped.then_some(Evidence::Linux(LinuxMark::KernelMapping)))
    }

    /// True for a file with the marks of a user program and without the addresses of a kernel. User Mode Linux and vDSO images have
    /// notes of Linux, too. A kernel for a machine without an MMU has equal virtual and physical addresses, but none of the marks.
    fn is_in_user_space(&self) -> bool {
        let marks = self.marks;
        marks.addresses == Addresses::Equal
            && (marks.interpreter.is_some() || self.notes.has_gnu_abi_tag || marks.is_shared_object())
    }

    fn user_program(&self) -> Option<OtherMark> {
        let marks = self.marks;
        if self.notes.has_gnu_abi_tag {
            Some(OtherMark::GnuAbiTag)
        } else if marks.is_shared_object() {
            Some(OtherMark::SharedObject)
        } else if marks.dynamic.is_some_and(|table| table.init && table.fini) {
            Some(OtherMark::InitAndFini)
        } else if marks.has_thread_local_storage && marks.loads_elf_header {
            Some(OtherMark::ThreadLocalStorage)
        } else {
            None
        }
    }

    /// True if the code at the ELF entry point uses machine-mode registers of riscv.
    fn entry_uses_machine_mode(&self, source: &SizedSource<'_>) -> Result<bool, ElfError> {
        /// Number of bytes that are read. The first access of OpenSBI is at 0x11c.
        const LEN: u64 = 0x400;
        let code = self.entry.and_then(|entry| {
            let mut segments = self.segments.iter().map(|(_, segment)| segment);
            let segment = segments.find(|segment| segment.file_part().contains_addr(entry))?;
            let distance = entry.checked_sub(segment.range.start())?;
            let len = segment.source.len().checked_sub(distance)?.min(LEN);
            Some((
                segment.source.offset().checked_add(distance)?,
                usize::try_from(len).ok()?,
            ))
        });
        match code {
            Some((offset, len)) => Ok(uses_machine_mode(&source.read_vec(offset, len)?)),
            None => Ok(false),
        }
    }
}

/// The Multiboot header in the first bytes of the file.
fn multiboot_header(source: &SizedSource<'_>) -> Result<Option<OtherMark>, ElfError> {
    let len = usize::try_from(source.len())
        .unwrap_or(usize::MAX)
        .min(v2::SEARCH_LEN);
    let start = source.read_vec(0, len)?;
    let is_v2 = |at: usize| {
        let header = start
            .get(at..)
            .and_then(|bytes| v2::Header::read_from_prefix(bytes).ok());
        header.is_some_and(|(header, _)| header.is_valid())
    };
    if (0..start.len()).step_by(v2::ALIGN).any(is_v2) {
        return Ok(Some(OtherMark::Multiboot2));
    }
    let first = start.get(..v1::SEARCH_LEN).unwrap_or(&start);
    let is_v1 = |at: usize| {
        let header = first
            .get(at..)
            .and_then(|bytes| v1::Header::read_from_prefix(bytes).ok());
        header.is_some_and(|(header, _)| header.is_valid())
    };
    let has_v1 = (0..first.len()).step_by(v1::HEADER_ALIGN).any(is_v1);
    Ok(has_v1.then_some(OtherMark::Multiboot))
}
