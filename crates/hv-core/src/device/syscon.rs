//! Power-off and reset register (syscon).

use boot_core::machine::Syscon;

use crate::{Device, DeviceAction, DeviceError, Outcome};

/// Device that a [`Syscon`] describes: a 32-bit write of the power-off or reset value to its register ends the run.
///
/// Registers read as zero. Other writes have no effect. The range on the bus is [`Syscon::range`].
#[derive(Clone, Debug)]
pub struct SysconDevice(Syscon);

impl SysconDevice {
    /// The device of `syscon`.
    #[must_use]
    pub const fn new(syscon: Syscon) -> Self {
        Self(syscon)
    }
}

impl Device for SysconDevice {
    fn read(&mut self, _offset: u64, data: &mut [u8]) -> Result<(), DeviceError> {
        data.fill(0);
        Ok(())
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> Result<DeviceAction, DeviceError> {
        let Ok(value) = data.try_into().map(u32::from_le_bytes) else {
            return Ok(DeviceAction::Continue);
        };
        let is = |register: Option<boot_core::machine::RegisterWrite>| {
            register.is_some_and(|register| u64::from(register.offset) == offset && register.value == value)
        };
        Ok(if is(self.0.poweroff) {
            DeviceAction::End(Outcome::PowerOff)
        } else if is(self.0.reset) {
            DeviceAction::End(Outcome::Reset)
        } else {
            DeviceAction::Continue
        })
    }
}

#[cfg(test)]
mod tests {
    use boot_core::machine::RegisterWrite;

    use super::*;
    use crate::virt;

    #[test]
    fn its_values_end_the_run_and_others_do_not() {
        let check = |syscon: Syscon, offset, data: &[u8], expected| {
            let found = SysconDevice::new(syscon).write(offset, data).unwrap();
            assert_eq!(found, expected, "{offset:#x} {data:x?}");
        };
        let off = virt::POWEROFF.value.to_le_bytes();
        let reset = virt::RESET.value.to_le_bytes();
        check(virt::syscon(), 0, &off, DeviceAction::End(Outcome::PowerOff));
        check(virt::syscon(), 0, &reset, DeviceAction::End(Outcome::Reset));
        check(virt::syscon(), 4, &off, DeviceAction::Continue);
        check(virt::syscon(), 0, &[0; 4], DeviceAction::Continue);
        check(virt::syscon(), 0, &off[..2], DeviceAction::Continue);
        let without = Syscon::new(virt::SYSCON).with_reset(RegisterWrite::new(8, 1));
        check(without.clone(), 0, &off, DeviceAction::Continue);
        check(without, 8, &[1, 0, 0, 0], DeviceAction::End(Outcome::Reset));
        let mut data = [1; 4];
        SysconDevice::new(virt::syscon()).read(0, &mut data).unwrap();
        assert_eq!(data, [0; 4]);
    }
}
