//! Times of files.

use core::fmt;

/// A valid date and time of the Gregorian calendar, in the time zone of the file system: local time for FAT, UTC for ext4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    year: u16,
    month: u8,
    day: u8,
    hour: u8,
    minute: u8,
    second: u8,
    nanosecond: u32,
}

const SECONDS_PER_DAY: i64 = 86400;

impl Timestamp {
    /// Midnight of a date; `None` if there is no such date between 1900 and 9999, the years of `EFI_TIME`.
    #[must_use]
    pub const fn date(year: u16, month: u8, day: u8) -> Option<Self> {
        if year < 1900 || year > 9999 || day == 0 || day > days_in(year, month) {
            return None;
        }
        Some(Self {
            year,
            month,
            day,
            hour: 0,
            minute: 0,
            second: 0,
            nanosecond: 0,
        })
    }

    /// The date of `self` with a time; `None` if there is no such time of day. Leap seconds are not supported.
    #[must_use]
    pub const fn at(self, hour: u8, minute: u8, second: u8, nanosecond: u32) -> Option<Self> {
        if hour > 23 || minute > 59 || second > 59 || nanosecond > 999_999_999 {
            return None;
        }
        Some(Self {
            hour,
            minute,
            second,
            nanosecond,
            ..self
        })
    }

    /// The time `seconds` after 1970-01-01 00:00:00 UTC, without leap seconds; `None` outside the years 1900 to 9999.
    #[must_use]
    pub fn from_unix(seconds: i64, nanosecond: u32) -> Option<Self> {
        let mut days = seconds.div_euclid(SECONDS_PER_DAY);
        let second_of_day = u32::try_from(seconds.rem_euclid(SECONDS_PER_DAY)).ok()?;
        // From 1900-01-01 on; 25,567 days before 1970. The bound keeps the loops short.
        days = days
            .checked_add(25_567)
            .filter(|days| (0..3_000_000).contains(days))?;
        let mut year = 1900_u16;
        loop {
            let len = if is_leap(year) { 366 } else { 365 };
            if days < len {
                break;
            }
            days = days.checked_sub(len)?;
            year = year.checked_add(1)?;
        }
        let mut month = 1_u8;
        while days >= i64::from(days_in(year, month)) {
            days = days.checked_sub(i64::from(days_in(year, month)))?;
            month = month.checked_add(1)?;
        }
        let day = u8::try_from(days).ok()?.checked_add(1)?;
        let part = |unit: u32, count: u32| {
            let value = second_of_day.checked_div(unit)?.checked_rem(count)?;
            u8::try_from(value).ok()
        };
        Self::date(year, month, day)?.at(part(3600, 24)?, part(60, 60)?, part(1, 60)?, nanosecond)
    }

    /// Year, 1900 to 9999.
    #[must_use]
    pub const fn year(self) -> u16 {
        self.year
    }

    /// Month, 1 to 12.
    #[must_use]
    pub const fn month(self) -> u8 {
        self.month
    }

    /// Day of the month, 1 to 31.
    #[must_use]
    pub const fn day(self) -> u8 {
        self.day
    }

    /// Hour, 0 to 23.
    #[must_use]
    pub const fn hour(self) -> u8 {
        self.hour
    }

    /// Minute, 0 to 59.
    #[must_use]
    pub const fn minute(self) -> u8 {
        self.minute
    }

    /// Second, 0 to 59.
    #[must_use]
    pub const fn second(self) -> u8 {
        self.second
    }

    /// Nanosecond, 0 to 999,999,999.
    #[must_use]
    pub const fn nanosecond(self) -> u32 {
        self.nanosecond
    }
}

const fn is_leap(year: u16) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// Number of days of a month; 0 if there is no such month.
const fn days_in(year: u16, month: u8) -> u8 {
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 0,
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            year,
            month,
            day,
            hour,
            minute,
            second,
            ..
        } = self;
        write!(
            f,
            "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"
        )
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let check = |(year, month, day), expected| {
            assert_eq!(
                Timestamp::date(year, month, day).is_some(),
                expected,
                "{year}-{month}-{day}"
            );
        };
        check((2024, 2, 29), true);
        check((2023, 2, 29), false);
        check((1900, 2, 29), false);
        check((2000, 2, 29), true);
        check((2000, 4, 31), false);
        check((2000, 12, 31), true);
        check((2000, 13, 1), false);
        check((2000, 0, 1), false);
        check((2000, 1, 0), false);
        check((1899, 12, 31), false);
        check((9999, 12, 31), true);
        check((10000, 1, 1), false);
        let date = Timestamp::date(2000, 1, 1).unwrap();
        assert!(date.at(23, 59, 59, 999_999_999).is_some());
        for (hour, minute, second, nanosecond) in [
            (24, 0, 0, 0),
            (0, 60, 0, 0),
            (0, 0, 60, 0),
            (0, 0, 0, 1_000_000_000),
        ] {
            assert_eq!(date.at(hour, minute, second, nanosecond), None);
        }
    }

    #[test]
    fn unix_times_have_dates() {
        let check = |seconds, expected: Option<&str>| {
            let found = Timestamp::from_unix(seconds, 5).map(|time| time.to_string());
            assert_eq!(found.as_deref(), expected, "{seconds}");
        };
        check(0, Some("1970-01-01 00:00:00"));
        check(-1, Some("1969-12-31 23:59:59"));
        check(951_827_696, Some("2000-02-29 12:34:56"));
        check(1_735_689_599, Some("2024-12-31 23:59:59"));
        check(4_102_444_800, Some("2100-01-01 00:00:00"));
        check(-2_208_988_800, Some("1900-01-01 00:00:00"));
        check(-2_208_988_801, None);
        check(253_402_300_799, Some("9999-12-31 23:59:59"));
        check(253_402_300_800, None);
        check(i64::MAX, None);
        check(i64::MIN, None);
        let time = Timestamp::from_unix(951_827_696, 7).unwrap();
        assert_eq!((time.year(), time.month(), time.day()), (2000, 2, 29));
        assert_eq!(
            (time.hour(), time.minute(), time.second(), time.nanosecond()),
            (12, 34, 56, 7)
        );
        assert_eq!(Timestamp::from_unix(0, 1_000_000_000), None);
    }
}
