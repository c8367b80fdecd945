//! A stopped guest with arbitrary registers and memory: reads by virtual addresses, the stack trace and the core dump have to end within their
//! limits, and read nothing outside of memory.

#![no_main]

use std::io::{self, Write};

use boot_core::{
    CpuState, GuestRange,
    cpu::{aarch64, riscv64, x86_64},
};
use hv_core::GuestRegisters;
use libfuzzer_sys::fuzz_target;
use sandbox_debug::{AddressSpace, CoreDump, CoreLimits, MAX_FRAMES, PhysicalMemory, backtrace};

/// Memory from address 0, and its first page again at the end of the address space.
struct Memory<'a>(&'a [u8]);

const LAST: u64 = 0x000f_ffff_ffff_f000;

impl PhysicalMemory for Memory<'_> {
    fn ranges(&self) -> Vec<GuestRange> {
        let len = u64::try_from(self.0.len()).expect("a length");
        let start = GuestRange::new(0, len).expect("a range");
        let last = GuestRange::new(LAST, len.min(0x1000)).expect("a range");
        vec![start, last]
    }

    fn read(&self, address: u64, bytes: &mut [u8]) -> bool {
        let len = u64::try_from(bytes.len()).expect("a length");
        let wanted = GuestRange::new(address, len);
        let is_inside = |range: &GuestRange| wanted.is_some_and(|wanted| range.contains(wanted));
        let Some(range) = self.ranges().into_iter().find(is_inside) else {
            return false;
        };
        let at = usize::try_from(address - range.start()).expect("an offset");
        bytes.copy_from_slice(&self.0[at..][..bytes.len()]);
        true
    }
}

/// A file that counts.
struct Count(u64);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += u64::try_from(bytes.len()).expect("a length");
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn registers(choice: u8, [pc, pointer, root, control]: [u64; 4]) -> Option<GuestRegisters> {
    let state: CpuState = match choice % 4 {
        0 => {
            let mut state = x86_64::State::long_mode(pc, root, 8, 16);
            state.rbp = pointer;
            state.into()
        }
        1 => {
            let mut state = aarch64::State::new(pc);
            state.x[29] = pointer;
            state.into()
        }
        mode => {
            let mut state = riscv64::State::new(pc);
            state.x[8] = pointer;
            state.satp = u64::from(mode + 6) << 60 | root >> 12;
            state.into()
        }
    };
    let mut registers = GuestRegisters::new(&state)?;
    match &mut registers {
        GuestRegisters::X86_64(registers) => registers.cpu.cr0 ^= control << 31,
        GuestRegisters::Aarch64(registers) => {
            registers.sctlr_el1 = 1;
            registers.tcr_el1 = 16 ^ control << 14;
            registers.ttbr0_el1 = root;
        }
        _ => {}
    }
    Some(registers)
}

fuzz_target!(|data: &[u8]| {
    let Some((head, memory)) = data.split_first_chunk::<33>() else {
        return;
    };
    let word = |index: usize| u64::from_le_bytes(std::array::from_fn(|at| head[1 + index * 8 + at]));
    let Some(registers) = registers(head[0], [word(0), word(1), word(2) & 0x1_f000, word(3)]) else {
        return;
    };
    let memory = Memory(memory);

    let space = AddressSpace::of(&registers);
    for address in [word(0), word(1), word(2)] {
        let mut bytes = [0; 0x2001];
        if space.read(&memory, address, &mut bytes).is_ok() {
            assert!(space.translate(&memory, address).is_ok());
        }
    }

    let frames = backtrace(&registers, &memory);
    assert!((1..=MAX_FRAMES).contains(&frames.len()));
    assert_eq!(frames[0].address, registers.pc());

    let mut limits = CoreLimits::default();
    (limits.bytes, limits.parts, limits.tables) = (0x10_0000, 64, 32);
    let mut file = Count(0);
    let summary = CoreDump::new(&registers, &memory)
        .with_limits(limits)
        .write(&mut file)
        .expect("the file has no errors");
    assert_eq!(summary.len, file.0);
    assert!(summary.memory <= limits.bytes && summary.len <= limits.bytes + 0x4000);
});
