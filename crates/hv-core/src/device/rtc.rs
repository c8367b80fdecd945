//! Real-time clock of a PC (MC146818).

use std::{fmt, time::SystemTime};

use time::{OffsetDateTime, Weekday};

use crate::{Device, DeviceAction, DeviceError};

/// Registers of the MC146818 (its data sheet, "Address map"), and the century as PC firmware keeps it.
mod register {
    pub(super) const SECONDS: u8 = 0x00;
    pub(super) const MINUTES: u8 = 0x02;
    pub(super) const HOURS: u8 = 0x04;
    pub(super) const WEEKDAY: u8 = 0x06;
    pub(super) const DAY: u8 = 0x07;
    pub(super) const MONTH: u8 = 0x08;
    pub(super) const YEAR: u8 = 0x09;
    pub(super) const A: u8 = 0x0a;
    pub(super) const B: u8 = 0x0b;
    #[cfg(test)]
    pub(super) const C: u8 = 0x0c;
    pub(super) const D: u8 = 0x0d;
    pub(super) const CENTURY: u8 = 0x32;
}

/// Register A: 32,768 Hz time base, 1,024 Hz periodic rate. Bit 7, "update in progress", is always clear.
const RATES: u8 = 0x26;
/// Register B: 24-hour mode. The data mode bit is clear, so the time is in BCD.
const HOURS_24: u8 = 1 << 1;
/// Register D: the time and the memory are valid.
const VALID: u8 = 1 << 7;

/// Real-time clock (MC146818) with an index port and a data port. The time is in UTC. The guest cannot set it, and there is no
/// alarm and no periodic interrupt.
///
/// A PC should have one: reads of a port without a device return all ones, so Linux would wait several times during boot, for
/// a second or more, for the end of an update cycle.
pub struct Rtc {
    index: u8,
    clock: Box<dyn Fn() -> SystemTime + Send>,
}

impl fmt::Debug for Rtc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rtc")
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}

impl Default for Rtc {
    /// A clock with the host's time.
    fn default() -> Self {
        Self::new(SystemTime::now)
    }
}

impl Rtc {
    /// First of the two I/O ports on a PC.
    pub const PORT: u16 = 0x70;
    /// Number of I/O ports.
    pub const LEN: u64 = 2;

    /// A device that reads the time from `clock`.
    #[must_use]
    pub fn new(clock: impl Fn() -> SystemTime + Send + 'static) -> Self {
        Self {
            index: 0,
            clock: Box::new(clock),
        }
    }

    fn value(&self) -> u8 {
        let now = OffsetDateTime::from((self.clock)());
        let year = now.year().rem_euclid(10_000);
        match self.index {
            register::SECONDS => bcd(now.second()),
            register::MINUTES => bcd(now.minute()),
            register::HOURS => bcd(now.hour()),
            register::WEEKDAY => weekday(now.weekday()),
            register::DAY => bcd(now.day()),
            register::MONTH => bcd(now.month().into()),
            register::YEAR => bcd(two_digits(year % 100)),
            register::CENTURY => bcd(two_digits(year / 100)),
            register::A => RATES,
            register::B => HOURS_24,
            register::D => VALID,
            // Register C has no interrupt to report, and the rest of the memory is empty.
            _ => 0,
        }
    }
}

impl Device for Rtc {
    fn read(&mut self, offset: u64, data: &mut [u8]) -> Result<(), DeviceError> {
        // The index port is write-only.
        data.fill(if offset == 0 { 0xff } else { self.value() });
        Ok(())
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> Result<DeviceAction, DeviceError> {
        if let (0, [index, ..]) = (offset, data) {
            // Bit 7 masks non-maskable interrupts, which nothing raises here.
            self.index = index & 0x7f;
        }
        Ok(DeviceAction::Continue)
    }
}

/// The two decimal digits of a number below 100.
fn bcd(n: u8) -> u8 {
    ((n / 10) << 4) | (n % 10)
}

fn two_digits(n: i32) -> u8 {
    u8::try_from(n).unwrap_or(0)
}

/// Days count from Sunday, which is 1.
fn weekday(day: Weekday) -> u8 {
    day.number_from_sunday()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn read(rtc: &mut Rtc, index: u8) -> u8 {
        rtc.write(0, &[index | 0x80]).unwrap();
        let mut data = [0xaa];
        rtc.read(1, &mut data).unwrap();
        data[0]
    }

    #[test]
    fn the_time_is_utc_in_bcd() {
        // 2026-11-21 (a Saturday) 17:08:59 UTC.
        let mut rtc = Rtc::new(|| SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_280_939));
        let expected = [
            (register::CENTURY, 0x20),
            (register::YEAR, 0x26),
            (register::MONTH, 0x11),
            (register::DAY, 0x21),
            (register::WEEKDAY, 7),
            (register::HOURS, 0x17),
            (register::MINUTES, 0x08),
            (register::SECONDS, 0x59),
        ];
        for (index, value) in expected {
            assert_eq!(read(&mut rtc, index), value, "register {index:#x}");
        }
    }

    #[test]
    fn no_update_is_ever_in_progress_and_the_contents_are_valid() {
        let mut rtc = Rtc::default();
        assert_eq!(read(&mut rtc, register::A) & 0x80, 0);
        assert_eq!(read(&mut rtc, register::B), HOURS_24);
        assert_eq!(read(&mut rtc, register::C), 0);
        assert_eq!(read(&mut rtc, register::D), 0x80);
        assert_eq!(read(&mut rtc, 0x10), 0);
    }
}
