//! Registers of the local APIC in the layout of `KVM_GET_LAPIC` (Intel SDM 3A, "Local APIC Register Address Map").

use std::fmt;

/// A register of the local APIC, by its offset into the register page. The constants have Linux's abbreviations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LapicRegister(u16);

impl LapicRegister {
    /// Local APIC ID.
    pub const ID: Self = Self(0x20);
    /// Version.
    pub const VERSION: Self = Self(0x30);
    /// Task priority.
    pub const TPR: Self = Self(0x80);
    /// Processor priority, derived from the task priority and the interrupts in service.
    pub const PPR: Self = Self(0xa0);
    /// Logical destination.
    pub const LDR: Self = Self(0xd0);
    /// Destination format.
    pub const DFR: Self = Self(0xe0);
    /// Spurious interrupt vector and software enable.
    pub const SVR: Self = Self(0xf0);
    /// Error status.
    pub const ESR: Self = Self(0x280);
    /// Interrupt command, bits 0 to 31.
    pub const ICR: Self = Self(0x300);
    /// Interrupt command, bits 32 to 63.
    pub const ICR2: Self = Self(0x310);
    /// Local vector of the timer.
    pub const LVT_TIMER: Self = Self(0x320);
    /// Local vector of the thermal sensor.
    pub const LVT_THERMAL: Self = Self(0x330);
    /// Local vector of the performance counters.
    pub const LVT_PC: Self = Self(0x340);
    /// Local vector of pin LINT0.
    pub const LVT_LINT0: Self = Self(0x350);
    /// Local vector of pin LINT1.
    pub const LVT_LINT1: Self = Self(0x360);
    /// Local vector of errors.
    pub const LVT_ERROR: Self = Self(0x370);
    /// Initial count of the timer.
    pub const TMICT: Self = Self(0x380);
    /// Divide configuration of the timer.
    pub const TDCR: Self = Self(0x3e0);

    /// The register at `offset`; `None` unless that is a multiple of 16 below 0x400.
    #[must_use]
    pub const fn at(offset: u16) -> Option<Self> {
        if offset < 0x400 && offset.is_multiple_of(16) {
            Some(Self(offset))
        } else {
            None
        }
    }

    /// The offset into the register page.
    #[must_use]
    pub const fn offset(self) -> u16 {
        self.0
    }
}

/// Delivery mode "NMI" of a local vector table entry (SDM 3A, "Local Vector Table").
const DELIVERY_NMI: u32 = 4 << 8;
/// Delivery mode "`ExtINT`": the vector comes from the PIC.
const DELIVERY_EXT_INT: u32 = 7 << 8;
/// The delivery mode field.
const DELIVERY_MASK: u32 = 7 << 8;
/// The interrupt is masked.
const MASKED: u32 = 1 << 16;

/// Registers of a local APIC: the first 1024 bytes of its register page (`struct kvm_lapic_state`).
#[derive(Clone, PartialEq, Eq)]
pub struct Lapic(Box<[u8; 1024]>);

impl Default for Lapic {
    fn default() -> Self {
        Self(Box::new([0; 1024]))
    }
}

impl fmt::Debug for Lapic {
    /// Lists the registers that are not zero.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let registers = (0..0x400).step_by(16).filter_map(LapicRegister::at);
        f.debug_map()
            .entries(
                registers
                    .map(|r| (r.offset(), self.get(r)))
                    .filter(|&(_, value)| value != 0),
            )
            .finish()
    }
}

impl Lapic {
    /// Registers from the bytes of the page.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 1024]) -> Self {
        Self(Box::new(bytes))
    }

    /// The bytes of the page.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 1024] {
        &self.0
    }

    /// The value of `register`.
    #[must_use]
    pub fn get(&self, register: LapicRegister) -> u32 {
        let at = usize::from(register.0);
        // `LapicRegister` cannot hold an offset outside the page.
        self.0
            .get(at..)
            .and_then(|rest| rest.first_chunk())
            .copied()
            .map_or(0, u32::from_le_bytes)
    }

    /// Sets the value of `register`.
    pub fn set(&mut self, register: LapicRegister, value: u32) {
        let at = usize::from(register.0);
        if let Some(bytes) = self.0.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
            *bytes = value.to_le_bytes();
        }
    }

    /// Configures the local interrupt pins as the firmware of a PC does: LINT0 for interrupts of the PIC (`ExtINT`), LINT1 for
    /// the NMI.
    pub fn configure_lint(&mut self) {
        for (register, mode) in [
            (LapicRegister::LVT_LINT0, DELIVERY_EXT_INT),
            (LapicRegister::LVT_LINT1, DELIVERY_NMI),
        ] {
            let value = self.get(register) & !(DELIVERY_MASK | MASKED);
            self.set(register, value | mode);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_interrupt_pins_are_those_of_a_pc() {
        let mut lapic = Lapic::default();
        lapic.set(LapicRegister::LVT_LINT0, 0x1_0000);
        lapic.set(LapicRegister::LVT_LINT1, 0x1_0155);
        lapic.configure_lint();
        assert_eq!(lapic.get(LapicRegister::LVT_LINT0), 0x700);
        assert_eq!(lapic.get(LapicRegister::LVT_LINT1), 0x455);
        assert_eq!(format!("{lapic:?}"), "{848: 1792, 864: 1109}");
    }

    #[test]
    fn registers_stay_inside_the_page() {
        assert_eq!(LapicRegister::at(0x3f0).map(LapicRegister::offset), Some(0x3f0));
        assert_eq!(LapicRegister::at(0x400), None);
        assert_eq!(LapicRegister::at(0x21), None);
        let mut lapic = Lapic::default();
        let last = LapicRegister::at(0x3f0).unwrap();
        lapic.set(last, 0x1234_5678);
        assert_eq!(lapic.get(last), 0x1234_5678);
        assert_eq!(lapic.as_bytes()[0x3f0..0x3f4], [0x78, 0x56, 0x34, 0x12]);
    }
}
