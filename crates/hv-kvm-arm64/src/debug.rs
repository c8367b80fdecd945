//! Hardware breakpoints and watchpoints as registers (Arm ARM, "The AArch64 Self-hosted Debug"), as plain data.

use hv_core::{BreakOn, DebugCause, HardwareBreakpoint};

use crate::KvmError;

/// Largest number of breakpoints, and of watchpoints.
const MAX: usize = 16;

/// Values of the registers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DebugRegisters {
    /// `DBGBVR0_EL1` to `DBGBVR15_EL1`.
    pub bvr: [u64; MAX],
    /// `DBGBCR0_EL1` to `DBGBCR15_EL1`.
    pub bcr: [u64; MAX],
    /// `DBGWVR0_EL1` to `DBGWVR15_EL1`.
    pub wvr: [u64; MAX],
    /// `DBGWCR0_EL1` to `DBGWCR15_EL1`.
    pub wcr: [u64; MAX],
}

/// Enabled, at EL1 and EL0.
const ENABLED: u64 = 0b111;
/// `BAS` of a breakpoint: the four bytes of an A64 instruction.
const INSTRUCTION: u64 = 0xf << 5;
/// Position of `BAS` and `LSC` of a watchpoint.
const BAS: u32 = 5;
const LSC: u32 = 3;

impl DebugRegisters {
    /// The registers for `hardware` on a CPU with this number of breakpoints and watchpoints.
    ///
    /// # Errors
    ///
    /// [`KvmError::TooManyBreakpoints`] and [`KvmError::Breakpoint`].
    pub fn new(
        hardware: &[HardwareBreakpoint],
        breakpoints: usize,
        watchpoints: usize,
    ) -> Result<Self, KvmError> {
        let is_breakpoint = |breakpoint: &&HardwareBreakpoint| breakpoint.on == BreakOn::Execute;
        let count = hardware.iter().filter(is_breakpoint).count();
        for (kind, count, max) in [
            ("breakpoint", count, breakpoints),
            ("watchpoint", hardware.len() - count, watchpoints),
        ] {
            if count > max.min(MAX) {
                return Err(KvmError::TooManyBreakpoints { kind, count, max });
            }
        }
        let mut registers = Self::default();
        let values = registers.bvr.iter_mut().zip(&mut registers.bcr);
        for ((value, control), breakpoint) in values.zip(hardware.iter().filter(is_breakpoint)) {
            let &HardwareBreakpoint { address, len, .. } = breakpoint;
            if len != 1 || !address.is_multiple_of(4) {
                return Err(KvmError::Breakpoint { address, len });
            }
            (*value, *control) = (address, INSTRUCTION | ENABLED);
        }
        let watchpoints = hardware.iter().filter(|breakpoint| !is_breakpoint(breakpoint));
        let values = registers.wvr.iter_mut().zip(&mut registers.wcr);
        for ((value, control), watchpoint) in values.zip(watchpoints) {
            let &HardwareBreakpoint { address, len, on, .. } = watchpoint;
            if !matches!(len, 1 | 2 | 4 | 8) || !address.is_multiple_of(len.into()) {
                return Err(KvmError::Breakpoint { address, len });
            }
            let accesses = if on == BreakOn::Write { 0b10 } else { 0b11 };
            let bytes = ((1 << len) - 1) << (address & 7);
            *value = address & !7;
            *control = bytes << BAS | accesses << LSC | ENABLED;
        }
        Ok(registers)
    }
}

/// Cause of a debug exception with this class (`ESR_ELx.EC`), address of the instruction and fault address, while `hardware` was requested.
#[must_use]
pub fn cause(class: u32, pc: u64, far: u64, hardware: &[HardwareBreakpoint]) -> DebugCause {
    const BREAKPOINT: u32 = 0x30;
    const STEP: u32 = 0x32;
    const WATCHPOINT: u32 = 0x34;
    const BRK: u32 = 0x3c;
    // An access that is wider than the watched bytes can start before them.
    let distance = |breakpoint: &HardwareBreakpoint| {
        let end = breakpoint.address + u64::from(breakpoint.len);
        (far < end).then(|| breakpoint.address.saturating_sub(far))
    };
    let index = match class {
        STEP => return DebugCause::Step,
        BRK => return DebugCause::Breakpoint,
        BREAKPOINT => hardware
            .iter()
            .position(|breakpoint| breakpoint.on == BreakOn::Execute && breakpoint.address == pc),
        WATCHPOINT => hardware
            .iter()
            .enumerate()
            .filter(|(_, breakpoint)| breakpoint.on != BreakOn::Execute)
            .filter_map(|(index, breakpoint)| Some((distance(breakpoint)?, index)))
            .min()
            .map(|(_, index)| index),
        _ => None,
    };
    match index.and_then(|index| u8::try_from(index).ok()) {
        Some(index) => DebugCause::Hardware(index),
        None => DebugCause::Other(class),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_of_breakpoints() {
        let hardware = [
            HardwareBreakpoint::watch(0x4000_2004, 4, BreakOn::Write),
            HardwareBreakpoint::execute(0x4000_1004),
            HardwareBreakpoint::watch(0x4000_2008, 8, BreakOn::ReadWrite),
            HardwareBreakpoint::watch(0x4000_2013, 1, BreakOn::ReadWrite),
        ];
        let registers = DebugRegisters::new(&hardware, 1, 3).unwrap();
        assert_eq!((registers.bvr[0], registers.bcr[0]), (0x4000_1004, 0x1e7));
        assert_eq!((registers.bvr[1], registers.bcr[1]), (0, 0));
        assert_eq!(registers.wvr[..4], [0x4000_2000, 0x4000_2008, 0x4000_2010, 0]);
        assert_eq!(registers.wcr[..4], [0x1e17, 0x1fff, 0x11f, 0]);
        for (breakpoints, watchpoints) in [(0, 3), (1, 2)] {
            let error = DebugRegisters::new(&hardware, breakpoints, watchpoints).unwrap_err();
            assert!(matches!(error, KvmError::TooManyBreakpoints { .. }), "{error}");
        }
        let many = [HardwareBreakpoint::execute(0); 17];
        assert!(DebugRegisters::new(&many, 17, 0).is_err());
    }

    #[test]
    fn impossible_breakpoints_are_refused() {
        for (address, len, on) in [
            (0x1000, 3, BreakOn::Write),
            (0x1002, 4, BreakOn::Write),
            (0x1000, 4, BreakOn::Execute),
            (0x1002, 1, BreakOn::Execute),
            (0x1000, 0, BreakOn::ReadWrite),
        ] {
            let hardware = [HardwareBreakpoint::watch(address, len, on)];
            let error = DebugRegisters::new(&hardware, 16, 16).unwrap_err();
            assert!(matches!(error, KvmError::Breakpoint { .. }), "{error}");
        }
    }

    #[test]
    fn causes() {
        let hardware = [
            HardwareBreakpoint::watch(0x1010, 8, BreakOn::Write),
            HardwareBreakpoint::execute(0x1000),
            HardwareBreakpoint::watch(0x1008, 4, BreakOn::Write),
        ];
        let check = |class, pc, far, expected| {
            assert_eq!(cause(class, pc, far, &hardware), expected, "{class:#x} {far:#x}");
        };
        check(0x30, 0x1000, 0, DebugCause::Hardware(1));
        check(0x30, 0x1004, 0, DebugCause::Other(0x30));
        check(0x32, 0, 0, DebugCause::Step);
        check(0x3c, 0, 0, DebugCause::Breakpoint);
        check(0x34, 0, 0x100b, DebugCause::Hardware(2));
        check(0x34, 0, 0x1000, DebugCause::Hardware(2));
        check(0x34, 0, 0x100c, DebugCause::Hardware(0));
        check(0x34, 0, 0x1017, DebugCause::Hardware(0));
        check(0x34, 0, 0x1018, DebugCause::Other(0x34));
        check(0x3a, 0, 0, DebugCause::Other(0x3a));
    }
}
