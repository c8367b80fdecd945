//! Debug-exit device, with which a guest under test ends its run.

use crate::{Device, DeviceAction, DeviceError, Outcome};

/// Debug-exit device: a write ends the run with [`Outcome::DebugExit`] and the written value. Reads return zero.
///
/// The value is little-endian, at any offset. Bytes after the first four are ignored.
#[derive(Clone, Copy, Debug, Default)]
pub struct DebugExitDevice;

impl Device for DebugExitDevice {
    fn read(&mut self, _offset: u64, data: &mut [u8]) -> Result<(), DeviceError> {
        data.fill(0);
        Ok(())
    }

    fn write(&mut self, _offset: u64, data: &[u8]) -> Result<DeviceAction, DeviceError> {
        let code = data
            .iter()
            .take(4)
            .rev()
            .fold(0, |code, &byte| code << 8 | u32::from(byte));
        Ok(DeviceAction::End(Outcome::DebugExit(code)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_written_value_is_the_code() {
        let check = |data: &[u8], code| {
            assert_eq!(
                DebugExitDevice.write(3, data).unwrap(),
                DeviceAction::End(Outcome::DebugExit(code))
            );
        };
        check(&[0x2a], 0x2a);
        check(&[0x34, 0x12], 0x1234);
        check(&[0x78, 0x56, 0x34, 0x12], 0x1234_5678);
        check(&[0x78, 0x56, 0x34, 0xf2, 0xff, 0, 0, 0], 0xf234_5678);
        check(&[], 0);
    }
}
