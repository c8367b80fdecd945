//! Dates and times (section 6.3).

use disk::{Metadata, Timestamp};

use crate::raw::DirectoryEntry;

/// Midnight of a date: bits 0 to 4 day, 5 to 8 month, 9 to 15 years from 1980. `None` for invalid dates; 0 is one of them.
fn date(value: u16) -> Option<Timestamp> {
    let year = (value >> 9).checked_add(1980)?;
    let month = u8::try_from(value >> 5 & 0xf).ok()?;
    Timestamp::date(year, month, u8::try_from(value & 0x1f).ok()?)
}

/// A date with its time: bits 0 to 4 two-second units, 5 to 10 minutes, 11 to 15 hours, and up to 199 units of 10 ms. An invalid time
/// is midnight.
fn date_time(day: u16, time: u16, hundredths: u8) -> Option<Timestamp> {
    let midnight = date(day)?;
    let part = |shift: u32, mask: u16| u8::try_from(time >> shift & mask).unwrap_or(u8::MAX);
    let (seconds, hundredths) = match hundredths {
        0..100 => (0, hundredths),
        100..200 => (1, hundredths.saturating_sub(100)),
        _ => (0, 0),
    };
    let second = part(0, 0x1f).saturating_mul(2).saturating_add(seconds);
    let nanosecond = u32::from(hundredths).saturating_mul(10_000_000);
    midnight
        .at(part(11, 0x1f), part(5, 0x3f), second, nanosecond)
        .or(Some(midnight))
}

/// Fills in the times of an entry.
pub(crate) fn set(metadata: &mut Metadata, entry: &DirectoryEntry) {
    metadata.created = date_time(entry.crt_date.get(), entry.crt_time.get(), entry.crt_time_tenth);
    metadata.accessed = date(entry.lst_acc_date.get());
    metadata.modified = date_time(entry.wrt_date.get(), entry.wrt_time.get(), 0);
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn times_are_decoded() {
        let check = |day: u16, time: u16, hundredths, expected: Option<(&str, u32)>| {
            let found = date_time(day, time, hundredths);
            let found = found.map(|time| (time.to_string(), time.nanosecond()));
            assert_eq!(
                found.as_ref().map(|(text, nanos)| (text.as_str(), *nanos)),
                expected
            );
        };
        let day = (44 << 9) + (2 << 5) + 29;
        let time = (12 << 11) + (34 << 5) + 28;
        check(day, time, 0, Some(("2024-02-29 12:34:56", 0)));
        check(day, time, 199, Some(("2024-02-29 12:34:57", 990_000_000)));
        check(day, time, 100, Some(("2024-02-29 12:34:57", 0)));
        check(day, time, 99, Some(("2024-02-29 12:34:56", 990_000_000)));
        check(day, time, 200, Some(("2024-02-29 12:34:56", 0)));
        check(day, 24 << 11, 0, Some(("2024-02-29 00:00:00", 0)));
        check(day, 60 << 5, 0, Some(("2024-02-29 00:00:00", 0)));
        check(day, 30, 0, Some(("2024-02-29 00:00:00", 0)));
        check(day, 29, 100, Some(("2024-02-29 00:00:59", 0)));
        check(
            (127 << 9) + (12 << 5) + 31,
            0,
            0,
            Some(("2107-12-31 00:00:00", 0)),
        );
        check((43 << 9) + (2 << 5) + 29, time, 0, None);
        check(0, 0, 0, None);
        check(0xffff, 0, 0, None);
    }
}
