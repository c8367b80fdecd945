//! The real-time clock of PCs (Motorola MC146818). Its time is UTC.
//!
//! Runtime services use it: no heap, no text, no tables of functions.

use efi_core::time::{Time, UNSPECIFIED_TIMEZONE};

/// Registers: second, minute, hour, day of the month, month, year, status A and B.
const SECOND: u8 = 0;
const MINUTE: u8 = 2;
const HOUR: u8 = 4;
const DAY: u8 = 7;
const MONTH: u8 = 8;
const YEAR: u8 = 9;
const STATUS_A: u8 = 10;
const STATUS_B: u8 = 11;
/// Status A: an update is in progress.
const UPDATING: u8 = 1 << 7;
/// Status B: updates are stopped, values are binary, hours are 0 to 23.
const SET: u8 = 1 << 7;
const BINARY: u8 = 1 << 2;
const HOURS_24: u8 = 1 << 1;
/// Bit of the hour after noon, if hours are 1 to 12.
const AFTERNOON: u8 = 1 << 7;

/// Reads of status A before the clock counts as absent. An update takes 2 ms at most.
const MAX_POLLS: u32 = 1_000_000;
/// Times that are read before the clock counts as broken.
const MAX_READS: u32 = 10;

/// Access to the registers.
pub trait Cmos {
    /// Reads a register.
    fn read(&mut self, register: u8) -> u8;
    /// Writes a register.
    fn write(&mut self, register: u8, value: u8);
}

/// The values of the registers.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Values {
    second: u8,
    minute: u8,
    hour: u8,
    day: u8,
    month: u8,
    year: u8,
    century: u8,
}

/// Waits for the end of an update; false if it does not end.
fn wait(cmos: &mut impl Cmos) -> bool {
    (0..MAX_POLLS).any(|_| cmos.read(STATUS_A) & UPDATING == 0)
}

fn values(cmos: &mut impl Cmos, century: u8) -> Option<Values> {
    let mut read = || {
        wait(cmos).then(|| Values {
            second: cmos.read(SECOND),
            minute: cmos.read(MINUTE),
            hour: cmos.read(HOUR),
            day: cmos.read(DAY),
            month: cmos.read(MONTH),
            year: cmos.read(YEAR),
            century: if century == 0 { 0 } else { cmos.read(century) },
        })
    };
    let mut last = read()?;
    for _ in 0..MAX_READS {
        let next = read()?;
        if next == last {
            return Some(next);
        }
        last = next;
    }
    None
}

/// The number that a register has.
const fn decode(value: u8, is_binary: bool) -> u8 {
    if is_binary {
        value
    } else {
        (value >> 4).wrapping_mul(10).wrapping_add(value & 15)
    }
}

const fn encode(value: u8, is_binary: bool) -> u8 {
    if is_binary {
        value
    } else {
        ((value / 10) << 4) | (value % 10)
    }
}

/// Seconds after 1970-01-01T00:00:00 UTC; `None` if there is no clock. `century` is the register of the century of the FADT, or 0: years are
/// then 1970 to 2069.
pub fn time(cmos: &mut impl Cmos, century: u8) -> Option<u64> {
    let values = values(cmos, century)?;
    let status = cmos.read(STATUS_B);
    let is_binary = status & BINARY != 0;
    let mut hour = decode(values.hour & !AFTERNOON, is_binary);
    if status & HOURS_24 == 0 {
        let offset = if values.hour & AFTERNOON == 0 { 0 } else { 12 };
        hour = hour % 12 + offset;
    }
    let year = u16::from(decode(values.year, is_binary));
    let hundreds = match decode(values.century, is_binary) {
        hundreds @ 19..=99 => u16::from(hundreds),
        _ if year < 70 => 20,
        _ => 19,
    };
    let time = Time {
        year: hundreds * 100 + year,
        month: decode(values.month, is_binary),
        day: decode(values.day, is_binary),
        hour,
        minute: decode(values.minute, is_binary),
        second: decode(values.second, is_binary),
        nanosecond: 0,
        time_zone: UNSPECIFIED_TIMEZONE,
        daylight: 0,
    };
    time.to_unix().ok()
}

/// Sets the clock to a number of seconds after 1970-01-01T00:00:00 UTC; false if there is no clock, or it cannot have this time.
pub fn set_time(cmos: &mut impl Cmos, century: u8, seconds: u64) -> bool {
    let Some(time) = Time::from_unix(seconds) else {
        return false;
    };
    let [hundreds, year] = [time.year / 100, time.year % 100].map(|value| u8::try_from(value).unwrap_or(0));
    let is_in_range = century != 0 || matches!(time.year, 1970..=2069);
    if !is_in_range || !wait(cmos) {
        return false;
    }
    let status = cmos.read(STATUS_B);
    let is_binary = status & BINARY != 0;
    let hour = if status & HOURS_24 != 0 {
        encode(time.hour, is_binary)
    } else {
        let flag = if time.hour < 12 { 0 } else { AFTERNOON };
        let hour = if time.hour % 12 == 0 { 12 } else { time.hour % 12 };
        encode(hour, is_binary) | flag
    };
    cmos.write(STATUS_B, status | SET);
    cmos.write(SECOND, encode(time.second, is_binary));
    cmos.write(MINUTE, encode(time.minute, is_binary));
    cmos.write(HOUR, hour);
    cmos.write(DAY, encode(time.day, is_binary));
    cmos.write(MONTH, encode(time.month, is_binary));
    cmos.write(YEAR, encode(year, is_binary));
    if century != 0 {
        cmos.write(century, encode(hundreds, is_binary));
    }
    cmos.write(STATUS_B, status);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const CENTURY: u8 = 0x32;

    /// A clock that stands still; status A says "update" for a number of reads.
    struct Fake {
        registers: [u8; 128],
        updates: u32,
    }

    impl Cmos for Fake {
        fn read(&mut self, register: u8) -> u8 {
            if register == STATUS_A && self.updates > 0 {
                self.updates -= 1;
                return UPDATING;
            }
            self.registers[usize::from(register)]
        }

        fn write(&mut self, register: u8, value: u8) {
            self.registers[usize::from(register)] = value;
        }
    }

    fn fake(status: u8, second_to_year: [u8; 6], century: u8) -> Fake {
        let mut fake = Fake {
            registers: [0; 128],
            updates: 3,
        };
        for (register, value) in [SECOND, MINUTE, HOUR, DAY, MONTH, YEAR]
            .iter()
            .zip(second_to_year)
        {
            fake.write(*register, value);
        }
        fake.write(STATUS_B, status);
        fake.write(CENTURY, century);
        fake
    }

    #[test]
    fn times_of_all_formats() {
        let check = |status, values, century, register, expected: u64| {
            let mut cmos = fake(status, values, century);
            assert_eq!(
                time(&mut cmos, register),
                Some(expected),
                "{status:#x} {values:02x?}"
            );
            // The same time is written as it was read.
            let before = cmos.registers;
            cmos.registers[..10].fill(0xff);
            cmos.registers[usize::from(CENTURY)] = if register == 0 { century } else { 0xff };
            for unused in [1, 3, 5, 6] {
                cmos.registers[unused] = before[unused];
            }
            assert!(set_time(&mut cmos, register, expected));
            assert_eq!(cmos.registers, before);
        };
        // 2026-11-27T23:05:09, 12:00 and 0:30 of the same day, 1999-12-31T23:59:59.
        let at = 1_795_820_709;
        check(HOURS_24, [0x09, 0x05, 0x23, 0x27, 0x11, 0x26], 0x20, CENTURY, at);
        check(HOURS_24, [0x09, 0x05, 0x23, 0x27, 0x11, 0x26], 0, 0, at);
        check(HOURS_24 | BINARY, [9, 5, 23, 27, 11, 26], 20, CENTURY, at);
        check(0, [0x09, 0x05, 0x91, 0x27, 0x11, 0x26], 0x20, CENTURY, at);
        check(BINARY, [9, 5, 0x0b | AFTERNOON, 27, 11, 26], 20, CENTURY, at);
        check(0, [0, 0, 0x92, 0x27, 0x11, 0x26], 0x20, CENTURY, 1_795_780_800);
        check(0, [0, 0x30, 0x12, 0x27, 0x11, 0x26], 0x20, CENTURY, 1_795_739_400);
        check(
            HOURS_24,
            [0x59, 0x59, 0x23, 0x31, 0x12, 0x99],
            0x19,
            CENTURY,
            946_684_799,
        );
        check(HOURS_24, [0x59, 0x59, 0x23, 0x31, 0x12, 0x99], 0, 0, 946_684_799);
    }

    #[test]
    fn a_machine_without_a_clock_has_no_time() {
        struct Nothing;
        impl Cmos for Nothing {
            fn read(&mut self, _: u8) -> u8 {
                0xff
            }
            fn write(&mut self, _: u8, _: u8) {}
        }
        assert_eq!(time(&mut Nothing, 0), None);
        assert!(!set_time(&mut Nothing, 0, 0));
        // No month.
        assert_eq!(time(&mut fake(HOURS_24, [0; 6], 0x20), CENTURY), None);
        // Years without a century.
        let mut cmos = fake(HOURS_24, [0; 6], 0);
        assert!(!set_time(&mut cmos, 0, 3_155_760_000));
        assert!(!set_time(&mut cmos, CENTURY, u64::MAX));
    }
}
