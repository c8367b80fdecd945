//! ELF core dumps.

mod notes;
mod parts;

use std::io::{self, Write};

use boot_core::{Arch, arith};
use boot_paging::Access;
use hv_core::GuestRegisters;
use object::elf::{
    EM_AARCH64, EM_RISCV, EM_X86_64, ET_CORE, EV_CURRENT, Machine, PF_R, PF_W, PF_X, PT_LOAD, PT_NOTE,
};

use self::parts::{Part, Parts};
use crate::memory::{AddressSpace, PhysicalMemory};

/// Limits of a core dump, since page tables of the guest can map the same memory many times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct CoreLimits {
    /// Bytes of memory in the file. Default: 1 GiB.
    pub bytes: u64,
    /// Number of parts of memory, at most 65,000. Default: 4096.
    pub parts: usize,
    /// Number of page tables. Default: 1024.
    pub tables: usize,
}

impl Default for CoreLimits {
    fn default() -> Self {
        Self {
            bytes: 1 << 30,
            parts: 4096,
            tables: 1024,
        }
    }
}

/// What a core dump contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct CoreSummary {
    /// Length of the file in bytes.
    pub len: u64,
    /// Bytes of memory in the file.
    pub memory: u64,
    /// Something is missing: malformed page tables, an address space that is not supported, or more than [`CoreLimits`].
    pub is_incomplete: bool,
}

/// A core dump of a stopped guest: an ELF file with the registers and all memory that the page tables map, as Linux writes it for a process.
///
/// `gdb-multiarch guest.elf core` opens it. Debug information and symbols are those of the guest's ELF file.
#[derive(Clone, Copy)]
pub struct CoreDump<'a> {
    registers: &'a GuestRegisters,
    memory: &'a dyn PhysicalMemory,
    signal: u32,
    note: &'a [u8],
    limits: CoreLimits,
}

impl std::fmt::Debug for CoreDump<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CoreDump")
            .field("registers", self.registers)
            .field("signal", &self.signal)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Size of the file header and of a program header.
const FILE_HEADER: u16 = 64;
const PROGRAM_HEADER: u16 = 56;

/// Largest number of program headers that the file header has space for, with one for the notes; `PN_XNUM` and above have another meaning.
const MAX_PARTS: usize = 65_000;

/// Unit in which memory is copied, in bytes.
const CHUNK: u64 = 0x1_0000;

/// Alignment of memory in the file.
const PAGE: u64 = 0x1000;

impl<'a> CoreDump<'a> {
    /// Owner of the note with data of the caller.
    pub const OWNER: &'static str = "VMSandbox";

    /// Type of the note with data of the caller.
    pub const NOTE: u32 = 1;

    /// A dump of this guest, with the signal `SIGABRT`.
    #[must_use]
    pub fn new(registers: &'a GuestRegisters, memory: &'a dyn PhysicalMemory) -> Self {
        const SIGABRT: u32 = 6;
        Self {
            registers,
            memory,
            signal: SIGABRT,
            note: &[],
            limits: CoreLimits::default(),
        }
    }

    /// Sets the signal that debuggers show as the reason of the crash: 4 illegal instruction, 6 abort, 11 access to memory.
    #[must_use]
    pub fn with_signal(mut self, signal: u32) -> Self {
        self.signal = signal;
        self
    }

    /// Adds a note with the owner [`OWNER`](Self::OWNER) and these bytes.
    #[must_use]
    pub fn with_note(mut self, note: &'a [u8]) -> Self {
        self.note = note;
        self
    }

    /// Sets the limits.
    #[must_use]
    pub fn with_limits(mut self, limits: CoreLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Writes the file, from the start to the end.
    ///
    /// # Errors
    ///
    /// Errors of `to`.
    pub fn write(&self, to: &mut dyn Write) -> io::Result<CoreSummary> {
        let mut notes = Vec::new();
        notes::push_registers(&mut notes, self.registers, self.signal);
        if !self.note.is_empty() {
            notes::push(&mut notes, Self::OWNER, Self::NOTE, self.note);
        }
        let space = AddressSpace::of(self.registers);
        let max_parts = self.limits.parts.min(MAX_PARTS);
        let mut found = Parts::find(space, self.memory, self.limits.tables, max_parts);
        let mut left = self.limits.bytes / PAGE * PAGE;
        found.parts.retain_mut(|part| {
            found.is_incomplete |= part.len > left;
            part.len = part.len.min(left);
            left = left.saturating_sub(part.len);
            part.len > 0
        });
        let headers = found.parts.len().saturating_add(1);
        let notes_at = u64::from(FILE_HEADER)
            .saturating_add(arith::to_u64(headers).saturating_mul(u64::from(PROGRAM_HEADER)));
        let notes_len = arith::to_u64(notes.len());
        let memory_at = notes_at.saturating_add(notes_len).next_multiple_of(PAGE);
        let mut file = Counted { to, len: 0 };
        file.write_all(&self.file_header(headers))?;
        file.write_all(&program_header(PT_NOTE.0, PF_R.0, notes_at, (0, 0), notes_len, 4))?;
        let mut at = memory_at;
        for part in &found.parts {
            let addresses = (part.address, part.physical);
            file.write_all(&program_header(
                PT_LOAD.0,
                flags(part),
                at,
                addresses,
                part.len,
                PAGE,
            ))?;
            at = at.saturating_add(part.len);
        }
        file.write_all(&notes)?;
        file.fill_to(memory_at)?;
        for part in &found.parts {
            self.copy(part, &mut file)?;
        }
        Ok(CoreSummary {
            len: file.len,
            memory: at.saturating_sub(memory_at),
            is_incomplete: found.is_incomplete,
        })
    }

    /// Copies memory to the file. What cannot be read is zero.
    fn copy(&self, part: &Part, file: &mut Counted<'_>) -> io::Result<()> {
        let mut buffer = vec![0; usize::try_from(part.len.min(CHUNK)).unwrap_or_default()];
        let mut done = 0;
        while done < part.len {
            let len = part.len.saturating_sub(done).min(CHUNK);
            let bytes = usize::try_from(len).ok().and_then(|len| buffer.get_mut(..len));
            let bytes = bytes.unwrap_or_default();
            if !self.memory.read(part.physical.saturating_add(done), bytes) {
                bytes.fill(0);
            }
            file.write_all(bytes)?;
            done = done.saturating_add(len);
        }
        Ok(())
    }

    /// `Elf64_Ehdr`.
    fn file_header(&self, headers: usize) -> Vec<u8> {
        let machine = match self.registers.arch() {
            Arch::Aarch64 => EM_AARCH64,
            Arch::Riscv64 => EM_RISCV,
            _ => EM_X86_64,
        };
        // 64-bit, little-endian, version 1, System V.
        let mut bytes = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        bytes.extend_from_slice(&ET_CORE.0.to_le_bytes());
        bytes.extend_from_slice(&machine.0.to_le_bytes());
        bytes.extend_from_slice(&u32::from(EV_CURRENT.0).to_le_bytes());
        // The entry.
        bytes.extend_from_slice(&0_u64.to_le_bytes());
        bytes.extend_from_slice(&u64::from(FILE_HEADER).to_le_bytes());
        // No section headers.
        bytes.extend_from_slice(&0_u64.to_le_bytes());
        bytes.extend_from_slice(&machine_flags(machine).to_le_bytes());
        bytes.extend_from_slice(&FILE_HEADER.to_le_bytes());
        bytes.extend_from_slice(&PROGRAM_HEADER.to_le_bytes());
        let headers = u16::try_from(headers).unwrap_or(u16::MAX);
        bytes.extend_from_slice(&headers.to_le_bytes());
        bytes.extend_from_slice(&[0; 6]);
        bytes
    }
}

/// `e_flags`: debuggers take the width of floating-point registers from them on riscv64 (`EF_RISCV_FLOAT_ABI_DOUBLE`, `EF_RISCV_RVC`).
fn machine_flags(machine: Machine) -> u32 {
    if machine == EM_RISCV { 4 | 1 } else { 0 }
}

fn flags(part: &Part) -> u32 {
    let mut flags = PF_R;
    if part.access.contains(Access::WRITE) {
        flags |= PF_W;
    }
    if part.access.contains(Access::EXECUTE) {
        flags |= PF_X;
    }
    flags.0
}

/// `Elf64_Phdr`. `addresses`: virtual and physical.
fn program_header(kind: u32, flags: u32, at: u64, addresses: (u64, u64), len: u64, align: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&kind.to_le_bytes());
    bytes.extend_from_slice(&flags.to_le_bytes());
    for value in [at, addresses.0, addresses.1, len, len, align] {
        bytes.extend_from_slice(&value.to_le_bytes());
    }
    bytes
}

/// A writer that counts.
struct Counted<'a> {
    to: &'a mut dyn Write,
    len: u64,
}

impl Counted<'_> {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.to.write_all(bytes)?;
        self.len = self.len.saturating_add(arith::to_u64(bytes.len()));
        Ok(())
    }

    /// Writes zeros up to an offset.
    fn fill_to(&mut self, offset: u64) -> io::Result<()> {
        let len = offset.saturating_sub(self.len);
        self.write_all(&vec![0; usize::try_from(len).unwrap_or_default()])
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use boot_core::{
        CpuState,
        cpu::{aarch64, riscv64, x86_64},
    };
    use boot_paging::Scheme;
    use object::{
        LittleEndian, Object, ObjectSegment,
        elf::{FileHeader64, PT_NOTE},
        read::elf::{ElfFile64, FileHeader, ProgramHeader as _},
    };

    use super::*;
    use crate::testing::Machine;

    type TestResult = Result<(), Box<dyn Error>>;

    /// Registers whose page tables are those of the machine.
    fn registers(scheme: Scheme, root: u64) -> GuestRegisters {
        match scheme {
            Scheme::X86_64 => {
                let mut state = x86_64::State::long_mode(0x4000_0010, root, 8, 16);
                state.r15 = 0x1515;
                state.rsp = 0x5b;
                GuestRegisters::new(&CpuState::from(state)).unwrap()
            }
            Scheme::Arm64 => {
                let mut state = aarch64::State::new(0x4000_0010);
                state.x[0] = 0x1515;
                state.sp_el1 = 0x5b;
                let mut registers = GuestRegisters::new(&CpuState::from(state)).unwrap();
                if let GuestRegisters::Aarch64(registers) = &mut registers {
                    registers.sctlr_el1 = 1;
                    registers.tcr_el1 = 16;
                    registers.ttbr0_el1 = root;
                    registers.v[31] = 0x31;
                    registers.fpcr = 0xfc;
                }
                registers
            }
            _ => {
                let mut state = riscv64::State::new(0x4000_0010);
                state.x[1] = 0x1515;
                state.x[2] = 0x5b;
                state.satp = 8 << 60 | root >> 12;
                let mut registers = GuestRegisters::new(&CpuState::from(state)).unwrap();
                if let GuestRegisters::Riscv64(registers) = &mut registers {
                    registers.f[31] = 0x31;
                    registers.fcsr = 0xfc;
                }
                registers
            }
        }
    }

    fn machine(scheme: Scheme) -> (Machine, GuestRegisters) {
        let mut machine = Machine::paged(
            scheme,
            &[
                (0x4000_0000, 0x3000, 0x1000, Access::EXECUTE),
                (0x4000_1000, 0x1_0000, 0x2_0000, Access::WRITE),
            ],
        );
        machine.write(0x3010, b"instructions");
        machine.write(0x2_fff8, &7_u64.to_le_bytes());
        let AddressSpace::Paged { root, .. } = machine.space else {
            unreachable!("the machine has page tables")
        };
        (machine, registers(scheme, root))
    }

    /// A note: owner, type, descriptor.
    type Note = (String, u32, Vec<u8>);

    fn notes(file: &[u8]) -> Result<Vec<Note>, Box<dyn Error>> {
        let header = FileHeader64::<LittleEndian>::parse(file)?;
        let mut found = Vec::new();
        for segment in header.program_headers(LittleEndian, file)? {
            if let Some(mut notes) = segment.notes(LittleEndian, file)? {
                assert_eq!(segment.p_type(LittleEndian), PT_NOTE);
                while let Some(note) = notes.next()? {
                    let owner = String::from_utf8(note.name().to_vec())?;
                    found.push((owner, note.n_type(LittleEndian).0, note.desc().to_vec()));
                }
            }
        }
        Ok(found)
    }

    fn word(bytes: &[u8], at: usize) -> u64 {
        u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
    }

    #[test]
    fn a_dump_is_an_elf_file_with_memory_and_registers() -> TestResult {
        for (scheme, machine_type, register, pc, sp, status_len) in [
            (Scheme::X86_64, EM_X86_64, 0, 16, 19, 336),
            (Scheme::Arm64, EM_AARCH64, 0, 32, 31, 392),
            (Scheme::Sv39, EM_RISCV, 1, 0, 2, 376),
        ] {
            let (machine, registers) = machine(scheme);
            let mut file = Vec::new();
            let summary = CoreDump::new(&registers, &machine)
                .with_signal(11)
                .with_note(b"call 7")
                .write(&mut file)?;
            assert_eq!(summary.len, u64::try_from(file.len())?);
            assert_eq!((summary.memory, summary.is_incomplete), (0x2_1000, false));
            let elf = ElfFile64::<LittleEndian>::parse(&*file)?;
            assert_eq!(elf.kind(), object::ObjectKind::Core);
            assert_eq!(elf.elf_header().e_machine(LittleEndian), machine_type);
            let segments: Vec<_> = elf.segments().collect();
            let places: Vec<_> = segments
                .iter()
                .map(|segment| (segment.address(), segment.size(), segment.align()))
                .collect();
            assert_eq!(
                places,
                [(0x4000_0000, 0x1000, 0x1000), (0x4000_1000, 0x2_0000, 0x1000)]
            );
            let access: Vec<_> = segments
                .iter()
                .map(|segment| segment.elf_program_header().p_flags(LittleEndian))
                .collect();
            assert_eq!(access, [PF_R | PF_X, PF_R | PF_W]);
            assert_eq!(&segments[0].data()?[0x10..0x1c], b"instructions");
            assert_eq!(word(segments[1].data()?, 0x1_fff8), 7);
            let notes = notes(&file)?;
            let [(owner, kind, status), ..] = &*notes else {
                return Err("no notes".into());
            };
            assert_eq!((owner.as_str(), *kind, status.len()), ("CORE", 1, status_len));
            assert_eq!((status[0], status[12], status[32]), (11, 11, 1));
            // The general registers start at offset 112 of `struct elf_prstatus`.
            let general = |index: usize| word(status, 112 + index * 8);
            assert_eq!(general(register), 0x1515, "{scheme:?}");
            assert_eq!((general(pc), general(sp)), (0x4000_0010, 0x5b));
            let (owner, kind, float) = &notes[1];
            assert_eq!((owner.as_str(), *kind), ("CORE", 2));
            match scheme {
                Scheme::X86_64 => assert_eq!((float.len(), word(float, 24)), (512, 0x1f80)),
                Scheme::Arm64 => {
                    assert_eq!((float.len(), float[31 * 16], float[516]), (528, 0x31, 0xfc));
                }
                _ => assert_eq!((float.len(), float[31 * 8], float[256]), (264, 0x31, 0xfc)),
            }
            let last = notes.last().ok_or("no notes")?;
            assert_eq!(
                last,
                &(CoreDump::OWNER.into(), CoreDump::NOTE, b"call 7".to_vec())
            );
        }
        Ok(())
    }

    #[test]
    fn limits_cut_the_memory() -> TestResult {
        let (machine, registers) = machine(Scheme::X86_64);
        for (bytes, parts, tables, expected) in [
            (0x2_1000, 2, 8, (0x2_1000, false)),
            (0x2_0fff, 2, 8, (0x2_0000, true)),
            (0x800, 2, 8, (0, true)),
            (0x2_1000, 1, 8, (0x1000, true)),
            (0x2_1000, 2, 1, (0, true)),
        ] {
            let mut limits = CoreLimits::default();
            (limits.bytes, limits.parts, limits.tables) = (bytes, parts, tables);
            let mut file = Vec::new();
            let summary = CoreDump::new(&registers, &machine)
                .with_limits(limits)
                .write(&mut file)?;
            assert_eq!((summary.memory, summary.is_incomplete), expected);
            ElfFile64::<LittleEndian>::parse(&*file)?;
        }
        Ok(())
    }

    #[test]
    fn a_dump_ends_with_the_errors_of_its_file() {
        struct Full(usize);
        impl Write for Full {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0 = self
                    .0
                    .checked_sub(bytes.len())
                    .ok_or(io::ErrorKind::StorageFull)?;
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (machine, registers) = machine(Scheme::Arm64);
        for len in [0, 64, 200, 0x1000, 0x2000, 0x2_1fff] {
            let error = CoreDump::new(&registers, &machine)
                .write(&mut Full(len))
                .unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        }
        let summary = CoreDump::new(&registers, &machine).write(&mut Full(0x2_2000));
        assert_eq!(summary.unwrap().len, 0x2_2000);
    }
}
