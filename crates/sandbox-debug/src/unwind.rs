//! Stack traces by frame pointers.

use std::iter;

use boot_core::Arch;
use hv_core::{GuestRegisters, return_addresses};

use crate::memory::{AddressSpace, PhysicalMemory};

/// Largest number of frames of a stack trace.
pub const MAX_FRAMES: usize = 64;

/// A frame of a stack trace. Addresses come from the guest, which can have written any value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Frame {
    /// Virtual address of the next instruction of this frame.
    pub address: u64,
    /// The address is a return address: the call is the instruction before it.
    pub is_return: bool,
}

impl Frame {
    /// The frame of the current instruction.
    #[must_use]
    pub const fn current(address: u64) -> Self {
        let is_return = false;
        Self { address, is_return }
    }

    /// A frame that a call returns to.
    #[must_use]
    pub const fn caller(address: u64) -> Self {
        let is_return = true;
        Self { address, is_return }
    }

    /// An address within the instruction that the frame executes: that of the call for a return address.
    #[must_use]
    pub const fn lookup_address(&self) -> u64 {
        if self.is_return {
            self.address.wrapping_sub(1)
        } else {
            self.address
        }
    }
}

/// The frames of the current instruction and its callers, innermost first, up to [`MAX_FRAMES`].
///
/// The guest has to be compiled with frame pointers (`-C force-frame-pointers`). A function without a frame of its own, such as a leaf
/// function on arm64 and riscv64, hides its caller. The trace ends at a return address of 0, a frame that is not above the one before, or
/// one that cannot be read.
#[must_use]
pub fn backtrace(registers: &GuestRegisters, memory: &dyn PhysicalMemory) -> Vec<Frame> {
    let space = AddressSpace::of(registers);
    let read = |address| space.read_u64(memory, address).ok();
    unwind(registers.arch(), registers.pc(), registers.frame_pointer(), read)
}

/// As [`backtrace`], from an instruction address and a frame pointer, such as those of a crash that the guest reported. `read` reads a 64-bit
/// word of the stack at a virtual address, and decides which addresses belong to it.
#[must_use]
pub fn unwind(arch: Arch, pc: u64, frame_pointer: u64, read: impl Fn(u64) -> Option<u64>) -> Vec<Frame> {
    let callers = return_addresses(arch, frame_pointer, read).take_while(|address| *address != 0);
    iter::once(Frame::current(pc))
        .chain(callers.map(Frame::caller))
        .take(MAX_FRAMES)
        .collect()
}

#[cfg(test)]
mod tests {
    use boot_core::{
        CpuState,
        cpu::{aarch64, riscv64, x86_64},
    };

    use super::*;
    use crate::testing::Machine;

    /// Registers of each architecture with the instruction address 0x100 and a frame pointer, with the distance of the frame.
    fn all(pointer: u64) -> Vec<(GuestRegisters, i64)> {
        let mut x86 = x86_64::State::protected_mode(0x100, 8, 16);
        x86.rbp = pointer;
        let mut arm = aarch64::State::new(0x100);
        arm.x[29] = pointer;
        let mut riscv = riscv64::State::new(0x100);
        riscv.x[8] = pointer;
        [(CpuState::from(x86), 0), (arm.into(), 0), (riscv.into(), -16)]
            .map(|(state, distance)| (GuestRegisters::new(&state).unwrap(), distance))
            .into()
    }

    fn check(pointer: u64, frames: &[(u64, u64, u64)], expected: &[u64]) {
        for (registers, distance) in all(pointer) {
            let mut machine = Machine::flat(0x1000, 0x1_0000);
            for &(at, next, address) in frames {
                let at = at.wrapping_add_signed(distance);
                machine.write(at, &next.to_le_bytes());
                machine.write(at + 8, &address.to_le_bytes());
            }
            let found = backtrace(&registers, &machine);
            let addresses: Vec<_> = found.iter().map(|frame| frame.address).collect();
            assert_eq!(addresses, expected, "{:?}", registers.arch());
            assert!(!found[0].is_return && found[1..].iter().all(|frame| frame.is_return));
        }
    }

    #[test]
    fn callers_are_found_by_frame_pointers() {
        let frames = [
            (0x2000, 0x2040, 0x200),
            (0x2040, 0x3000, 0x300),
            (0x3000, 0, 0x400),
        ];
        check(0x2000, &frames, &[0x100, 0x200, 0x300, 0x400]);
        // The first function has no return address.
        let frames = [(0x2000, 0x2040, 0x200), (0x2040, 0x3000, 0)];
        check(0x2000, &frames, &[0x100, 0x200]);
    }

    #[test]
    fn hostile_frames_end_the_trace() {
        // A circle, a frame below, odd pointers, pointers outside of memory.
        check(0x2000, &[(0x2000, 0x2000, 0x200)], &[0x100, 0x200]);
        check(0x2000, &[(0x2000, 0x1800, 0x200)], &[0x100, 0x200]);
        check(0x2000, &[(0x2000, 0x2041, 0x200)], &[0x100, 0x200]);
        check(0x2000, &[(0x2000, u64::MAX - 7, 0x200)], &[0x100, 0x200]);
        for pointer in [0, 8, 0x2001, 0x2_0000, u64::MAX - 7, u64::MAX] {
            check(pointer, &[], &[0x100]);
        }
    }

    #[test]
    fn the_number_of_frames_is_limited() {
        let frames: Vec<_> = (0..0x400)
            .map(|at| (0x2000 + at * 16, 0x2010 + at * 16, 0x55))
            .collect();
        let mut expected = vec![0x55; MAX_FRAMES];
        expected[0] = 0x100;
        check(0x2000, &frames, &expected);
    }

    #[test]
    fn the_reader_decides_what_belongs_to_the_stack() {
        let read = |address| (address < 0x2010).then_some(address + 0x10);
        let found = unwind(Arch::X86_64, 0x100, 0x2000, read);
        assert_eq!(found, [Frame::current(0x100), Frame::caller(0x2018)]);
    }

    #[test]
    fn a_return_address_is_looked_up_at_the_call() {
        assert_eq!(Frame::caller(0x200).lookup_address(), 0x1ff);
        assert_eq!(Frame::current(0x200).lookup_address(), 0x200);
    }
}
