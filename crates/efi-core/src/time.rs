//! Calendar time, `EFI_TIME`, UEFI 2.10 section 8.3.

use crate::{Result, Status};

/// `TimeZone` of local time: the relation to UTC is unknown.
pub const UNSPECIFIED_TIMEZONE: i16 = 0x07ff;

const SECONDS_OF_DAY: u64 = 86_400;

/// A date and a time of day, proleptic Gregorian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time {
    /// Year, 1900 to 9999.
    pub year: u16,
    /// Month, 1 to 12.
    pub month: u8,
    /// Day of the month, 1 to 31.
    pub day: u8,
    /// Hour, 0 to 23.
    pub hour: u8,
    /// Minute, 0 to 59.
    pub minute: u8,
    /// Second, 0 to 59.
    pub second: u8,
    /// Nanosecond, 0 to 999,999,999.
    pub nanosecond: u32,
    /// Offset from UTC in minutes, -1440 to 1440 or [`UNSPECIFIED_TIMEZONE`]. Local time is UTC minus this offset.
    pub time_zone: i16,
    /// Bits of daylight saving time.
    pub daylight: u8,
}

const fn is_leap_year(year: u16) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

const fn days_of_month(year: u16, month: u8) -> u8 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap_year(year) => 29,
        2 => 28,
        _ => 31,
    }
}

impl Time {
    /// The time in UTC at a number of seconds after 1970-01-01T00:00:00, or `None` after the year 9999.
    #[must_use]
    pub fn from_unix(seconds: u64) -> Option<Self> {
        let of_day = seconds.checked_rem(SECONDS_OF_DAY)?;
        let mut days = seconds.checked_div(SECONDS_OF_DAY)?;
        let mut year = 1970_u16;
        while year <= 9999 {
            let length = if is_leap_year(year) { 366 } else { 365 };
            match days.checked_sub(length) {
                Some(rest) => days = rest,
                None => break,
            }
            year = year.checked_add(1)?;
        }
        if year > 9999 {
            return None;
        }
        let mut month = 1_u8;
        while let Some(rest) = days.checked_sub(u64::from(days_of_month(year, month))) {
            days = rest;
            month = month.checked_add(1)?;
        }
        let part = |value: u64| u8::try_from(value).ok();
        Some(Self {
            year,
            month,
            day: part(days)?.checked_add(1)?,
            hour: part(of_day.checked_div(3600)?)?,
            minute: part(of_day.checked_div(60)?.checked_rem(60)?)?,
            second: part(of_day.checked_rem(60)?)?,
            nanosecond: 0,
            time_zone: 0,
            daylight: 0,
        })
    }

    /// Seconds after 1970-01-01T00:00:00 UTC. A time zone that is not specified counts as UTC.
    ///
    /// # Errors
    ///
    /// `INVALID_PARAMETER` if a field is out of its range, or the time is before 1970.
    pub fn to_unix(&self) -> Result<u64> {
        self.validate()?;
        self.seconds().ok_or(Status::INVALID_PARAMETER)
    }

    fn seconds(&self) -> Option<u64> {
        let mut days = 0_u64;
        for year in 1970..self.year {
            days = days.checked_add(if is_leap_year(year) { 366 } else { 365 })?;
        }
        for month in 1..self.month {
            days = days.checked_add(u64::from(days_of_month(self.year, month)))?;
        }
        days = days.checked_add(u64::from(self.day).checked_sub(1)?)?;
        if self.year < 1970 {
            return None;
        }
        let minutes = u64::from(self.hour)
            .checked_mul(60)?
            .checked_add(u64::from(self.minute))?;
        let of_day = minutes.checked_mul(60)?.checked_add(u64::from(self.second))?;
        let local = days.checked_mul(SECONDS_OF_DAY)?.checked_add(of_day)?;
        let zone = match self.time_zone {
            UNSPECIFIED_TIMEZONE => 0,
            minutes => i64::from(minutes).checked_mul(60)?,
        };
        local.checked_add_signed(zone)
    }

    /// Checks the ranges of all fields, as `SetTime` does.
    ///
    /// # Errors
    ///
    /// `INVALID_PARAMETER` if a field is out of its range.
    pub fn validate(&self) -> Result<()> {
        let zone = (-1440..=1440).contains(&self.time_zone) || self.time_zone == UNSPECIFIED_TIMEZONE;
        let is_valid = (1900..=9999).contains(&self.year)
            && (1..=12).contains(&self.month)
            && (1..=days_of_month(self.year, self.month)).contains(&self.day)
            && self.hour < 24
            && self.minute < 60
            && self.second < 60
            && self.nanosecond < 1_000_000_000
            && zone
            && self.daylight & !3 == 0;
        if is_valid {
            Ok(())
        } else {
            Err(Status::INVALID_PARAMETER)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_instants_convert_in_both_directions() {
        let check = |seconds: u64, expected: (u16, u8, u8, u8, u8, u8)| {
            let time = Time::from_unix(seconds).unwrap();
            let found = (
                time.year,
                time.month,
                time.day,
                time.hour,
                time.minute,
                time.second,
            );
            assert_eq!(found, expected);
            assert_eq!(time.to_unix(), Ok(seconds));
        };
        check(0, (1970, 1, 1, 0, 0, 0));
        check(951_782_399, (2000, 2, 28, 23, 59, 59));
        check(951_782_400, (2000, 2, 29, 0, 0, 0));
        check(1_795_811_177, (2026, 11, 27, 20, 26, 17));
        check(4_107_542_400, (2100, 3, 1, 0, 0, 0));
        check(253_402_300_799, (9999, 12, 31, 23, 59, 59));
        assert_eq!(Time::from_unix(253_402_300_800), None);
        assert_eq!(Time::from_unix(u64::MAX), None);
    }

    #[test]
    fn fields_out_of_range_are_refused() {
        let good = Time::from_unix(951_782_400).unwrap();
        let check = |change: fn(&mut Time), expected: Result<()>| {
            let mut time = good;
            change(&mut time);
            assert_eq!(time.validate(), expected, "{time:?}");
        };
        let refused = Err(Status::INVALID_PARAMETER);
        check(|_| (), Ok(()));
        check(|time| time.year = 1900, refused);
        check(|time| (time.year, time.day) = (1900, 28), Ok(()));
        check(|time| (time.year, time.day) = (1899, 28), refused);
        check(|time| time.year = 10_000, refused);
        check(|time| time.month = 0, refused);
        check(|time| time.month = 13, refused);
        check(|time| time.day = 0, refused);
        check(|time| time.day = 30, refused);
        check(|time| time.hour = 24, refused);
        check(|time| time.minute = 60, refused);
        check(|time| time.second = 60, refused);
        check(|time| time.nanosecond = 1_000_000_000, refused);
        check(|time| time.time_zone = 1441, refused);
        check(|time| time.time_zone = UNSPECIFIED_TIMEZONE, Ok(()));
        check(|time| time.daylight = 4, refused);
        check(|time| (time.year, time.day) = (1969, 28), Ok(()));
        let mut old = good;
        (old.year, old.day) = (1969, 28);
        assert_eq!(old.to_unix(), Err(Status::INVALID_PARAMETER));
    }

    #[test]
    fn zones_are_minutes_to_add_for_utc() {
        let mut time = Time::from_unix(951_782_400).unwrap();
        time.time_zone = -60;
        assert_eq!(time.to_unix(), Ok(951_782_400 - 3600));
        time.time_zone = UNSPECIFIED_TIMEZONE;
        assert_eq!(time.to_unix(), Ok(951_782_400));
    }

    proptest! {
        #[test]
        fn seconds_survive_a_round_trip(seconds in 0_u64..253_402_300_800) {
            prop_assert_eq!(Time::from_unix(seconds).unwrap().to_unix(), Ok(seconds));
        }
    }
}
