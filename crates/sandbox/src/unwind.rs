//! Calls on the stack of a guest, by its frame pointers.

use std::iter;

use boot_core::{Arch, GuestRange};
use hv_core::return_addresses;

use crate::crash::{Frame, Registers};

/// Largest number of frames.
const MAX_FRAMES: usize = 64;

/// The calls on the stack, the innermost first: the instruction, and then return addresses in `code` of frames in `stack`. `read` copies 8
/// bytes of guest memory. All values come from the guest, so they are used as numbers only.
pub(crate) fn backtrace(
    arch: Arch,
    registers: &Registers,
    code: GuestRange,
    stack: GuestRange,
    read: impl Fn(u64) -> Option<u64>,
) -> Vec<Frame> {
    let in_stack = |addr| stack.contains_addr(addr).then(|| read(addr)).flatten();
    let callers = return_addresses(arch, registers.fp, in_stack).take_while(|addr| code.contains_addr(*addr));
    iter::once(registers.pc)
        .chain(callers)
        .take(MAX_FRAMES)
        .map(Frame::new)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: GuestRange = GuestRange::from_bounds(0x4000_0000, 0x4001_0000).unwrap();
    const STACK: GuestRange = GuestRange::from_bounds(0x4100_0000, 0x4100_1000).unwrap();

    /// Addresses of the frames, with a stack of `(address, value)`.
    fn check(arch: Arch, fp: u64, words: &[(u64, u64)], expected: &[u64]) {
        let registers = Registers {
            pc: 0x1234,
            fp,
            ..Registers::default()
        };
        let read = |addr| words.iter().find(|(at, _)| *at == addr).map(|(_, value)| *value);
        let frames = backtrace(arch, &registers, CODE, STACK, read);
        let found: Vec<u64> = frames.iter().map(|frame| frame.address).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn frames_follow_the_frame_pointers() {
        let words = [
            (0x4100_0100, 0x4100_0200),
            (0x4100_0108, 0x4000_0010),
            (0x4100_0200, 0),
            (0x4100_0208, 0x4000_0020),
        ];
        let expected = [0x1234, 0x4000_0010, 0x4000_0020];
        check(Arch::X86_64, 0x4100_0100, &words, &expected);
        check(Arch::Aarch64, 0x4100_0100, &words, &expected);
        // The same frames, whose pointers are 16 bytes higher.
        let words = words.map(|(at, value)| (at, if value == 0x4100_0200 { value + 16 } else { value }));
        check(Arch::Riscv64, 0x4100_0110, &words, &expected);
    }

    #[test]
    fn wrong_frame_pointers_end_the_trace() {
        let arch = Arch::X86_64;
        for fp in [0, 0x4100_0101, 0x4000_0000, 0x4100_2000, u64::MAX, u64::MAX - 7] {
            check(arch, fp, &[(fp, 0), (fp.wrapping_add(8), 0x4000_0010)], &[0x1234]);
        }
        // A cycle, an address that is not code, and a frame that cannot be read.
        let cycle = [(0x4100_0100, 0x4100_0100), (0x4100_0108, 0x4000_0010)];
        check(arch, 0x4100_0100, &cycle, &[0x1234, 0x4000_0010]);
        let data = [(0x4100_0100, 0x4100_0200), (0x4100_0108, 0x4100_0010)];
        check(arch, 0x4100_0100, &data, &[0x1234]);
        check(arch, 0x4100_0100, &[(0x4100_0100, 0x4100_0200)], &[0x1234]);
    }

    #[test]
    fn the_number_of_frames_is_limited() {
        let words: Vec<_> = (0..200)
            .flat_map(|at| {
                let fp = 0x4100_0000 + at * 16;
                [(fp, fp + 16), (fp + 8, 0x4000_0010)]
            })
            .collect();
        let mut expected = vec![0x4000_0010; MAX_FRAMES];
        expected[0] = 0x1234;
        check(Arch::X86_64, 0x4100_0000, &words, &expected);
    }
}
