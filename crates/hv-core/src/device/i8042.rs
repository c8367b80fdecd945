//! The part of a keyboard controller that resets a PC.

use crate::{Device, DeviceError, Outcome, Verdict};

/// Command that pulses output line 0, which is wired to the CPU's reset.
const PULSE_RESET: u8 = 0xfe;

/// Status: the output buffer has a byte for the driver.
const OUTPUT_FULL: u8 = 1 << 0;

/// The command and status port (0x64) of an i8042 whose only function is command 0xfe, "reset the CPU".
///
/// Put it on one port. Its status always says "output buffer full, input buffer empty". So a driver that
/// looks for a keyboard drains the output, finds that it never ends and concludes at once that there is no
/// controller, while a reset sequence that waits for an empty input buffer never has to wait.
#[derive(Clone, Copy, Debug, Default)]
pub struct I8042;

impl I8042 {
    /// The port it has on a PC.
    pub const PORT: u16 = 0x64;
}

impl Device for I8042 {
    fn read(&mut self, _offset: u64, data: &mut [u8]) -> Result<(), DeviceError> {
        data.fill(OUTPUT_FULL);
        Ok(())
    }

    fn write(&mut self, _offset: u64, data: &[u8]) -> Result<Verdict, DeviceError> {
        Ok(match data {
            [PULSE_RESET] => Verdict::End(Outcome::Reset),
            _ => Verdict::Continue,
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
                Verdict::End(Outcome::Reset)
            } else {
                Verdict::Continue
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
