//! Keyboard controller (i8042), limited to its reset command.

use crate::{Device, DeviceAction, DeviceError, Outcome};

/// Command that pulses output line 0, the reset line of the CPU.
const PULSE_RESET: u8 = 0xfe;

/// Status: the output buffer has a byte for the driver.
const OUTPUT_FULL: u8 = 1 << 0;

/// Keyboard controller (i8042) of a PC with one function: command 0xfe resets the machine.
///
/// The device has the command and status port only. Its status is always "output buffer full, input buffer empty": a driver
/// that probes for a keyboard cannot drain the output and gives up at once, and a reset sequence that waits for an empty input
/// buffer does not wait.
#[derive(Clone, Copy, Debug, Default)]
pub struct I8042;

impl I8042 {
    /// I/O port of the commands and the status on a PC.
    pub const PORT: u16 = 0x64;
}

impl Device for I8042 {
    fn read(&mut self, _offset: u64, data: &mut [u8]) -> Result<(), DeviceError> {
        data.fill(OUTPUT_FULL);
        Ok(())
    }

    fn write(&mut self, _offset: u64, data: &[u8]) -> Result<DeviceAction, DeviceError> {
        Ok(match data {
            [PULSE_RESET] => DeviceAction::End(Outcome::Reset),
            _ => DeviceAction::Continue,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_reset_command_resets() {
        for command in 0..=u8::MAX {
            let expected = if command == 0xfe {
                DeviceAction::End(Outcome::Reset)
            } else {
                DeviceAction::Continue
            };
            assert_eq!(
                I8042.write(0, &[command]).unwrap(),
                expected,
                "command {command:#x}"
            );
        }
        let mut status = [0];
        I8042.read(0, &mut status).unwrap();
        assert_eq!(status, [1]);
    }
}
