//! Reading `hvm_start_info`, for firmware that is started by PVH.

use alloc::vec::Vec;

use boot_core::{Arch, GuestMemory, GuestRange, Machine, MemoryError, MemoryMap, MemoryMapError, RegionKind};
use zerocopy::{FromZeros, IntoBytes};

use crate::raw::{MAGIC, MemmapEntry, StartInfo};

/// Largest number of entries of a memory map that is read.
pub const MAX_MEMMAP_ENTRIES: u32 = 1024;

/// Largest length of a command line that is read, in bytes without the NUL.
pub const MAX_CMDLINE: usize = 0x1_0000;

/// What a start info contains.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Started {
    /// The machine: one CPU, the memory map, the address of the RSDP.
    pub machine: Machine,
    /// The bytes of the command line without the NUL; empty if there is none.
    pub cmdline: Vec<u8>,
}

/// Why a start info cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartInfoError {
    /// Memory that the start info is in, or refers to, cannot be read.
    #[error("the {what} of the start info cannot be read")]
    Unreadable {
        /// The part.
        what: &'static str,
        /// The error of the memory.
        source: MemoryError,
    },
    /// Another magic number.
    #[error("the start info has the magic number {found:#x}, not {MAGIC:#x}")]
    Magic {
        /// The number.
        found: u32,
    },
    /// No memory map: version 0, or an empty table.
    #[error("the start info of version {version} has no memory map")]
    NoMemoryMap {
        /// The version.
        version: u32,
    },
    /// A memory map with too many entries.
    #[error(
        "the memory map of the start info has {found} entries; at most {MAX_MEMMAP_ENTRIES} are supported"
    )]
    TooManyEntries {
        /// The number of entries.
        found: u32,
    },
    /// An entry past the end of the address space.
    #[error("entry {index} of the memory map wraps around: {size:#x} bytes at {addr:#x}")]
    Wraps {
        /// Its number, from 0.
        index: u32,
        /// Its address.
        addr: u64,
        /// Its size in bytes.
        size: u64,
    },
    /// Entries that overlap.
    #[error("entry {index} of the memory map")]
    Region {
        /// The number of the entry, from 0.
        index: u32,
        /// The error of the map.
        source: MemoryMapError,
    },
    /// A command line without an end.
    #[error("the command line at {addr:#x} has no end within {MAX_CMDLINE} bytes")]
    CmdlineTooLong {
        /// Its address.
        addr: u64,
    },
}

/// Reads the start info at the physical address `addr` of `memory`.
///
/// Types of memory that are not known count as reserved. Empty entries are ignored.
///
/// # Errors
///
/// [`StartInfoError`].
pub fn read_start_info(memory: &dyn GuestMemory, addr: u64) -> Result<Started, StartInfoError> {
    let unreadable = |what| move |source| StartInfoError::Unreadable { what, source };
    let mut info = StartInfo::new_zeroed();
    memory
        .read(addr, info.as_mut_bytes())
        .map_err(unreadable("header"))?;
    let magic = info.magic.get();
    if magic != MAGIC {
        return Err(StartInfoError::Magic { found: magic });
    }
    let (version, count) = (info.version.get(), info.memmap_entries.get());
    if version == 0 || count == 0 || info.memmap_paddr.get() == 0 {
        return Err(StartInfoError::NoMemoryMap { version });
    }
    let mut machine = Machine::new(Arch::X86_64, memory_map(memory, info.memmap_paddr.get(), count)?);
    machine.acpi_rsdp = Some(info.rsdp_paddr.get()).filter(|addr| *addr != 0);
    let cmdline = match info.cmdline_paddr.get() {
        0 => Vec::new(),
        addr => cmdline(memory, addr)?,
    };
    Ok(Started { machine, cmdline })
}

/// Reads a memory map of `count` entries.
fn memory_map(memory: &dyn GuestMemory, addr: u64, count: u32) -> Result<MemoryMap, StartInfoError> {
    if count > MAX_MEMMAP_ENTRIES {
        return Err(StartInfoError::TooManyEntries { found: count });
    }
    let mut map = MemoryMap::new();
    let mut at = addr;
    for index in 0..count {
        let mut entry = MemmapEntry::new_zeroed();
        memory
            .read(at, entry.as_mut_bytes())
            .map_err(|source| StartInfoError::Unreadable {
                what: "memory map",
                source,
            })?;
        at = at.saturating_add(boot_core::arith::to_u64(size_of::<MemmapEntry>()));
        let (addr, size) = (entry.addr.get(), entry.size.get());
        if size == 0 {
            continue;
        }
        let range = GuestRange::new(addr, size).ok_or(StartInfoError::Wraps { index, addr, size })?;
        map.insert(range, RegionKind::from_e820_type(entry.kind.get()))
            .map_err(|source| StartInfoError::Region { index, source })?;
    }
    Ok(map)
}

/// Reads a NUL-terminated command line.
fn cmdline(memory: &dyn GuestMemory, addr: u64) -> Result<Vec<u8>, StartInfoError> {
    let mut line = Vec::new();
    let mut at = addr;
    while line.len() <= MAX_CMDLINE {
        let mut byte = [0];
        memory
            .read(at, &mut byte)
            .map_err(|source| StartInfoError::Unreadable {
                what: "command line",
                source,
            })?;
        let [byte] = byte;
        if byte == 0 {
            return Ok(line);
        }
        line.push(byte);
        at = at.saturating_add(1);
    }
    Err(StartInfoError::CmdlineTooLong { addr })
}

#[cfg(test)]
mod tests {
    use std::string::ToString;
    use std::vec;

    use boot_core::SliceMemory;

    use super::*;

    const AT: u64 = 0x1000;
    const MAP: u64 = 0x1100;
    const LINE: u64 = 0x1400;

    fn entry(addr: u64, size: u64, kind: u32) -> MemmapEntry {
        MemmapEntry {
            addr: addr.into(),
            size: size.into(),
            kind: kind.into(),
            reserved: 0.into(),
        }
    }

    fn info(entries: u32) -> StartInfo {
        StartInfo {
            magic: MAGIC.into(),
            version: 1.into(),
            memmap_paddr: MAP.into(),
            memmap_entries: entries.into(),
            cmdline_paddr: LINE.into(),
            rsdp_paddr: 0xe_0000.into(),
            ..StartInfo::new_zeroed()
        }
    }

    /// Reads a start info from memory of 2 KiB.
    fn read(info: &StartInfo, entries: &[MemmapEntry], line: &[u8]) -> Result<Started, StartInfoError> {
        let mut ram = vec![0xff; 0x800];
        let mut memory = SliceMemory::new();
        memory.add(AT, &mut ram).unwrap();
        memory.write(AT, info.as_bytes()).unwrap();
        memory.write(MAP, entries.as_bytes()).unwrap();
        memory.write(LINE, line).unwrap();
        read_start_info(&memory, AT)
    }

    #[test]
    fn a_start_info_gives_the_machine() {
        let entries = [
            entry(0, 0xa_0000, 1),
            entry(0x10_0000, 0x1000, 3),
            entry(0x20_0000, 0x1000, 77),
            entry(5, 0, 1),
        ];
        let started = read(&info(4), &entries, b"quiet\0").unwrap();
        assert_eq!(started.cmdline, b"quiet");
        assert_eq!(started.machine.acpi_rsdp, Some(0xe_0000));
        let regions: Vec<_> = started.machine.memory.regions().iter().collect();
        let kinds: Vec<_> = regions.iter().map(|region| region.kind).collect();
        assert_eq!(
            kinds,
            [RegionKind::Ram, RegionKind::AcpiReclaimable, RegionKind::Reserved]
        );
        let mut bare = info(1);
        bare.cmdline_paddr = 0.into();
        bare.rsdp_paddr = 0.into();
        let started = read(&bare, &entries, b"").unwrap();
        assert_eq!((started.cmdline.len(), started.machine.acpi_rsdp), (0, None));
    }

    #[test]
    fn a_start_info_that_cannot_be_used_is_refused() {
        let check = |info: StartInfo, entries: &[MemmapEntry], line: &[u8], expected: &str| {
            assert_eq!(read(&info, entries, line).unwrap_err().to_string(), expected);
        };
        let good = [entry(0, 0xa_0000, 1)];
        let mut other = info(1);
        other.magic = 5.into();
        check(
            other,
            &good,
            b"\0",
            "the start info has the magic number 0x5, not 0x336ec578",
        );
        let mut old = info(1);
        old.version = 0.into();
        check(old, &good, b"\0", "the start info of version 0 has no memory map");
        check(
            info(0),
            &good,
            b"\0",
            "the start info of version 1 has no memory map",
        );
        check(
            info(1025),
            &good,
            b"\0",
            "the memory map of the start info has 1025 entries; at most 1024 are supported",
        );
        check(
            info(1024),
            &[],
            b"\0",
            "entry 0 of the memory map wraps around: 0xffffffffffffffff bytes at 0xffffffffffffffff",
        );
        check(
            info(2),
            &[good[0], entry(0x1000, 0x1000, 1)],
            b"\0",
            "entry 1 of the memory map",
        );
        check(
            info(1),
            &good,
            &[b'a'; 0x400],
            "the command line of the start info cannot be read",
        );
    }

    #[test]
    fn a_command_line_needs_an_end() {
        let check = |len: usize, is_accepted: bool| {
            let mut ram = vec![0; MAX_CMDLINE + 0x2000];
            let mut memory = SliceMemory::new();
            memory.add(0, &mut ram).unwrap();
            memory.write(AT, info(1).as_bytes()).unwrap();
            memory.write(MAP, entry(0, 0xa_0000, 1).as_bytes()).unwrap();
            memory.write(LINE, &vec![b'a'; len]).unwrap();
            match read_start_info(&memory, AT) {
                Ok(started) => assert!(is_accepted && started.cmdline.len() == len, "{len:#x}"),
                Err(StartInfoError::CmdlineTooLong { addr: LINE }) => assert!(!is_accepted, "{len:#x}"),
                Err(error) => panic!("{len:#x}: {error}"),
            }
        };
        check(MAX_CMDLINE, true);
        check(MAX_CMDLINE + 1, false);
    }
}
