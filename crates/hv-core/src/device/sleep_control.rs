//! ACPI sleep control and status registers.

use crate::{Device, DeviceAction, DeviceError, Outcome};

/// `SLP_EN`: enter the sleep state of `SLP_TYP`.
const SLP_EN: u8 = 1 << 5;
/// Position of `SLP_TYP`, which has three bits.
const SLP_TYP_SHIFT: u8 = 2;

/// The sleep control register of a machine with hardware-reduced ACPI, and the sleep status register behind it (ACPI 6.5, section 4.8.3.7). The
/// sleep type 5 turns the machine off.
///
/// The status is always zero: the machine never wakes.
#[derive(Clone, Copy, Debug, Default)]
pub struct SleepControl;

impl SleepControl {
    /// I/O port of the control register on the reference PC.
    pub const PORT: u16 = 0x600;

    /// Number of registers.
    pub const LEN: u64 = 2;

    /// The sleep type that turns the machine off, for the object `\_S5`.
    pub const POWER_OFF: u8 = 5;
}

impl Device for SleepControl {
    fn read(&mut self, _offset: u64, data: &mut [u8]) -> Result<(), DeviceError> {
        data.fill(0);
        Ok(())
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> Result<DeviceAction, DeviceError> {
        Ok(match (offset, data) {
            (0, [value])
                if value & (SLP_EN | 7 << SLP_TYP_SHIFT) == SLP_EN | Self::POWER_OFF << SLP_TYP_SHIFT =>
            {
                DeviceAction::End(Outcome::PowerOff)
            }
            _ => DeviceAction::Continue,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sleep_type_5_turns_the_machine_off() {
        for value in 0..=u8::MAX {
            let is_off = value >> 2 & 7 == 5 && value & 1 << 5 != 0;
            let expected = if is_off {
                DeviceAction::End(Outcome::PowerOff)
            } else {
                DeviceAction::Continue
            };
            assert_eq!(SleepControl.write(0, &[value]).unwrap(), expected, "{value:#x}");
            assert_eq!(SleepControl.write(1, &[value]).unwrap(), DeviceAction::Continue);
        }
        assert_eq!(SleepControl.write(0, &[0x34, 0]).unwrap(), DeviceAction::Continue);
        let mut status = [1];
        SleepControl.read(1, &mut status).unwrap();
        assert_eq!(status, [0]);
    }
}
