//! Registers of x86_64.

use boot_core::cpu::x86_64::State;

/// Registers of an x86_64 vCPU.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct X86Registers {
    /// General, segment and control registers.
    pub cpu: State,
    /// Extended control register 0: enabled state components.
    pub xcr0: u64,
    /// XSAVE area in its standard format (SDM 1, 13.4), at least [`XSAVE_MIN`](Self::XSAVE_MIN) bytes. The first 512 bytes are the format of
    /// `FXSAVE64`. A component whose bit in the header's `XSTATE_BV`, at offset 512, is clear has its initial value.
    pub xsave: Vec<u8>,
}

impl X86Registers {
    /// Size of the legacy region and the header of an XSAVE area, in bytes.
    pub const XSAVE_MIN: usize = 576;

    /// Size of the legacy region: an area of `FXSAVE64`, in bytes.
    pub const FXSAVE: usize = 512;

    /// Registers with the reset values of the x87 FPU and SSE.
    #[must_use]
    pub fn new(cpu: State) -> Self {
        let mut area = [0; Self::FXSAVE];
        // FCW and MXCSR (SDM 3A, table 11-1).
        area[..2].copy_from_slice(&0x37f_u16.to_le_bytes());
        area[24..28].copy_from_slice(&0x1f80_u32.to_le_bytes());
        let mut registers = Self {
            cpu,
            xcr0: 1,
            xsave: Vec::new(),
        };
        registers.set_fxsave(&area);
        registers
    }

    /// The x87 FPU and SSE registers in the format of `FXSAVE64` (SDM 1, table 10-2).
    #[must_use]
    pub fn fxsave(&self) -> [u8; Self::FXSAVE] {
        let mut area = [0; Self::FXSAVE];
        area.iter_mut()
            .zip(&self.xsave)
            .for_each(|(to, from)| *to = *from);
        area
    }

    /// Replaces the x87 FPU and SSE registers.
    pub fn set_fxsave(&mut self, area: &[u8; Self::FXSAVE]) {
        const X87_AND_SSE: u8 = 3;
        let len = self.xsave.len().max(Self::XSAVE_MIN);
        self.xsave.resize(len, 0);
        self.xsave.iter_mut().zip(area).for_each(|(to, from)| *to = *from);
        // For a component that is marked as initial, the contents of the area are ignored.
        if let Some(present) = self.xsave.get_mut(Self::FXSAVE) {
            *present |= X87_AND_SSE;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fxsave_is_the_start_of_the_area() {
        let mut registers = X86Registers::new(State::reset());
        assert_eq!(registers.xsave.len(), X86Registers::XSAVE_MIN);
        assert_eq!((registers.fxsave()[0], registers.fxsave()[25]), (0x7f, 0x1f));
        // An area with AVX whose components are all initial.
        registers.xsave = vec![0; 832];
        registers.xsave[575] = 7;
        registers.xsave[831] = 9;
        let mut area = [0; 512];
        area[160] = 0x11;
        area[511] = 0x22;
        registers.set_fxsave(&area);
        assert_eq!(registers.fxsave(), area);
        assert_eq!((registers.xsave.len(), registers.xsave[512]), (832, 3));
        assert_eq!((registers.xsave[575], registers.xsave[831]), (7, 9));
    }
}
