//! Reset and power-off.

use crate::aml::Namespace;
use crate::fadt::{Fadt, Register};

/// How a machine is reset and switched off by ACPI.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Power {
    /// Reset; `None` if the tables have no reset register.
    pub reset: Option<Reset>,
    /// Power-off; `None` if the tables have no state S5, or no register for it.
    pub soft_off: Option<SoftOff>,
}

/// A reset: a write of one byte (ACPI specification 6.5, section 4.8.3.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reset {
    /// The register.
    pub register: Register,
    /// The value to write.
    pub value: u8,
}

/// A power-off (section 16.1.4: transition to S5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SoftOff {
    /// Writes to the PM1 control registers: A, then B if it exists.
    Pm1 {
        /// PM1a.
        a: Pm1Control,
        /// PM1b.
        b: Option<Pm1Control>,
    },
    /// A write of one byte to the sleep control register, on machines with reduced hardware.
    SleepControl {
        /// The register.
        register: Register,
        /// The value to write.
        value: u8,
    },
}

/// A PM1 control register (section 4.8.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pm1Control {
    /// The register, of 16 bits.
    pub register: Register,
    /// Type of the sleep state, 0 to 7.
    pub sleep_type: u8,
}

/// Bits of sleep types: `SLP_TYPx` of PM1 control registers, and the same of the sleep control register.
const SLP_TYP_MASK: u16 = 7 << 10;
const SLP_EN: u16 = 1 << 13;
const SLEEP_CONTROL_EN: u8 = 1 << 5;

impl Pm1Control {
    /// The value to write, made of the value that the register has: `SLP_TYPx` and `SLP_EN` change, the other bits stay.
    #[must_use]
    pub fn value(&self, current: u16) -> u16 {
        let sleep_type = u16::from(self.sleep_type) << 10 & SLP_TYP_MASK;
        current & !(SLP_TYP_MASK | SLP_EN) | sleep_type | SLP_EN
    }
}

impl Power {
    /// Reset and power-off by the FADT and the object `\_S5` of the namespace.
    #[must_use]
    pub fn new(fadt: &Fadt, namespace: &Namespace) -> Self {
        let reset = fadt.reset.map(|(register, value)| Reset { register, value });
        let soft_off = namespace.soft_off.and_then(|[a, b]| {
            if fadt.is_hardware_reduced() {
                let register = fadt.sleep_control?;
                let value = (a & 7) << 2 | SLEEP_CONTROL_EN;
                return Some(SoftOff::SleepControl { register, value });
            }
            let control = |register, sleep_type: u8| Pm1Control {
                register,
                sleep_type: sleep_type & 7,
            };
            Some(SoftOff::Pm1 {
                a: control(fadt.pm1a_control?, a),
                b: fadt.pm1b_control.map(|register| control(register, b)),
            })
        });
        Self { reset, soft_off }
    }
}
