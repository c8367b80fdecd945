//! Copies of a kernel that print the time-stamp counter at a place and reset the machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use boot_core::{EntryAbi, SizedSource};
use fmt_elf::{ElfFile, ProgramHeader, raw};

use crate::error::{Error, WithPath as _};
use crate::extract_vmlinux;
use crate::fixtures;
use crate::process;
use crate::progress::Step;
use crate::workspace::Workspace;

/// Digits of the counter: `A` to `P` for 0 to 15, the lowest first.
const DIGITS: usize = 16;

/// Prints the counter on port 0xe9 and resets the machine, in 64-bit mode:
///
/// ```text
///     rdtsc; shl rdx, 32; or rax, rdx; mov rsi, rax
///     mov ecx, 16; mov dx, 0xe9
/// 1:  mov eax, esi; and al, 15; add al, 'A'; out dx, al; shr rsi, 4; dec ecx; jnz 1b
///     mov al, 0xfe; out 0x64, al      (the keyboard controller pulses the reset line)
/// 2:  hlt; jmp 2b
/// ```
const PRINT_64: [u8; 43] = [
    0x0f, 0x31, 0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09, 0xd0, 0x48, 0x89, 0xc6, 0xb9, 0x10, 0, 0, 0, 0x66, 0xba,
    0xe9, 0, 0x89, 0xf0, 0x24, 0x0f, 0x04, 0x41, 0xee, 0x48, 0xc1, 0xee, 0x04, 0xff, 0xc9, 0x75, 0xf1, 0xb0,
    0xfe, 0xe6, 0x64, 0xf4, 0xeb, 0xfd,
];

/// The same in 32-bit mode:
///
/// ```text
///     rdtsc; mov edi, edx; mov esi, eax
///     mov dx, 0xe9; mov ebx, 2
/// 1:  mov ecx, 8
/// 2:  mov eax, esi; and al, 15; add al, 'A'; out dx, al; shr esi, 4; dec ecx; jnz 2b
///     mov esi, edi; dec ebx; jnz 1b
///     mov al, 0xfe; out 0x64, al
/// 3:  hlt; jmp 3b
/// ```
const PRINT_32: [u8; 45] = [
    0x0f, 0x31, 0x89, 0xd7, 0x89, 0xc6, 0x66, 0xba, 0xe9, 0, 0xbb, 2, 0, 0, 0, 0xb9, 8, 0, 0, 0, 0x89, 0xf0,
    0x24, 0x0f, 0x04, 0x41, 0xee, 0xc1, 0xee, 0x04, 0x49, 0x75, 0xf3, 0x89, 0xfe, 0x4b, 0x75, 0xe9, 0xb0,
    0xfe, 0xe6, 0x64, 0xf4, 0xeb, 0xfd,
];

/// Bytes of the relocation table behind the vmlinux that become zeros. A kernel that stays where it is does not read them, and other versions of
/// `zstd` than that of the kernel's build may need the room.
const UNUSED: usize = 128 << 10;

/// The copies.
pub(super) struct Kernels {
    pub(super) bzimage_entry: PathBuf,
    pub(super) bzimage_end: PathBuf,
    pub(super) pvh_entry: PathBuf,
    pub(super) vmlinux_end: PathBuf,
}

impl Kernels {
    /// Writes the copies; their end is at the virtual address `start_kernel`.
    pub(super) fn write(workspace: &Workspace, bzimage: &Path, start_kernel: u64) -> Result<Self, Error> {
        let directory = workspace.xtask("vmlinux");
        let path = |name: &str| directory.join(name);
        let kernels = Self {
            bzimage_entry: path("entry.bzImage"),
            bzimage_end: path("end.bzImage"),
            pvh_entry: path("entry.elf"),
            vmlinux_end: path("end.elf"),
        };
        let original = fixtures::vmlinux(workspace, bzimage)?;
        let mut file = fs::read(&original).with_path(&original)?;
        let unused = file.len().saturating_sub(UNUSED);
        file[unused..].fill(0);
        let layout = Layout::read(&file).ok_or(Error::StartKernel("is in a file that is no ELF file"))?;
        let entry = layout
            .pvh_entry
            .and_then(|addr| layout.offset(addr, |segment| segment.physical));
        let end = layout.offset(start_kernel, |segment| segment.virt);
        patched(&file, entry, &PRINT_32, &kernels.pvh_entry)?;
        patched(&file, end, &PRINT_64, &kernels.vmlinux_end)?;

        let mut whole = fs::read(bzimage).with_path(bzimage)?;
        // The 32-bit entry is the first byte behind the setup sectors (`Documentation/arch/x86/boot.rst`).
        let entry = (usize::from(whole[0x1f1]) + 1) * 512;
        patched(&whole, Some(entry), &PRINT_32, &kernels.bzimage_entry)?;
        let packed = compress(workspace, &kernels.vmlinux_end)?;
        extract_vmlinux::replace(&mut whole, &packed).map_err(|source| Error::ExtractVmlinux {
            path: bzimage.to_path_buf(),
            source,
        })?;
        fs::write(&kernels.bzimage_end, whole).with_path(&kernels.bzimage_end)?;
        Ok(kernels)
    }
}

/// Writes `file` with `code` at `offset`.
fn patched(file: &[u8], offset: Option<usize>, code: &[u8], path: &Path) -> Result<(), Error> {
    let mut file = file.to_vec();
    let place = offset.and_then(|at| file.get_mut(at..)?.get_mut(..code.len()));
    place
        .ok_or(Error::StartKernel("or the entry is outside of the segments"))?
        .copy_from_slice(code);
    fs::write(path, file).with_path(path)
}

/// As the kernel's build does (`scripts/Makefile.lib`, `cmd_zstd22`).
fn compress(workspace: &Workspace, file: &Path) -> Result<Vec<u8>, Error> {
    let _step = Step::start("compressing the kernel");
    let mut command = Command::new("zstd");
    command
        .args(["-22", "--ultra", "--no-check", "-q", "-c"])
        .arg(file);
    process::output(&mut command, &workspace.log("zstd")?)
}

/// The counter in the output of a copy.
pub(super) fn counter(output: &str) -> Option<u64> {
    let digits = output.as_bytes().last_chunk::<DIGITS>()?;
    digits.iter().rev().try_fold(0, |value: u64, digit| {
        let digit = digit.checked_sub(b'A').filter(|digit| *digit < 16)?;
        Some(value << 4 | u64::from(digit))
    })
}

/// The segments of a vmlinux, and its entry for PVH.
#[derive(Debug, Default, PartialEq, Eq)]
struct Layout {
    segments: Vec<Segment>,
    pvh_entry: Option<u64>,
}

#[derive(Debug, PartialEq, Eq)]
struct Segment {
    offset: u64,
    virt: u64,
    physical: u64,
    len: u64,
}

impl Layout {
    fn read(file: &[u8]) -> Option<Self> {
        let elf = ElfFile::parse(SizedSource::new(&file).ok()?).ok()??;
        let headers: Vec<ProgramHeader> = elf.program_headers().collect::<Result<_, _>>().ok()?;
        let loaded = headers.iter().filter(|header| header.p_type == raw::PT_LOAD);
        let segments = loaded.map(|header| Segment {
            offset: header.p_offset,
            virt: header.p_vaddr,
            physical: header.p_paddr,
            len: header.p_filesz,
        });
        let image = fmt_elf::parse(&file).ok()??;
        Some(Self {
            segments: segments.collect(),
            pvh_entry: image.entry(EntryAbi::PVH).map(|entry| entry.addr),
        })
    }

    /// The offset in the file of the address `addr`, where `start` is the address of a segment.
    fn offset(&self, addr: u64, start: fn(&Segment) -> u64) -> Option<usize> {
        self.segments.iter().find_map(|segment| {
            let distance = addr.checked_sub(start(segment))?;
            let offset = segment.offset.checked_add(distance)?;
            usize::try_from(offset).ok().filter(|_| distance < segment.len)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_from_the_lowest_digit_on() {
        assert_eq!(counter("BCAAAAAAAAAAAAAA"), Some(0x21));
        assert_eq!(counter("from a BIOS PAAAAAAAAAAAAAAA"), Some(0xf));
        assert_eq!(counter("QAAAAAAAAAAAAAAA"), None);
        assert_eq!(counter("A"), None);
    }

    #[test]
    fn addresses_are_in_segments() {
        let layout = Layout {
            segments: vec![Segment {
                offset: 0x1000,
                virt: 0x8000,
                physical: 0x2000,
                len: 0x10,
            }],
            pvh_entry: None,
        };
        assert_eq!(layout.offset(0x8004, |segment| segment.virt), Some(0x1004));
        assert_eq!(layout.offset(0x2000, |segment| segment.physical), Some(0x1000));
        assert_eq!(layout.offset(0x8010, |segment| segment.virt), None);
        assert_eq!(layout.offset(0, |segment| segment.virt), None);
    }
}
