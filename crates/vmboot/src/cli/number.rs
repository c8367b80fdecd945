//! Numbers in options.

use std::num::ParseIntError;

use boot_core::GuestRange;

/// Error in a number.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NumberError {
    #[error("expected an address such as 0xe0000 or 917504")]
    Address(#[source] ParseIntError),
    #[error("expected a number such as 512M, 2G, 65536 or 0x10000")]
    Size(#[source] Option<ParseIntError>),
    #[error("the number does not fit 64 bits")]
    TooLarge,
    #[error("expected a range START..END such as 0x9fc00..0xa0000, with START below END")]
    Range,
}

/// Parses a number: decimal, or hexadecimal after `0x`.
fn number(text: &str) -> Result<u64, ParseIntError> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    }
}

/// Parses an address: decimal, or hexadecimal after `0x`.
pub(crate) fn address(text: &str) -> Result<u64, NumberError> {
    number(text).map_err(NumberError::Address)
}

/// Parses a number of bytes. The suffixes K, M, G and T are multiples of 1024, 1024², 1024³ and 1024⁴.
pub(crate) fn size(text: &str) -> Result<u64, NumberError> {
    let suffixes = [('K', 10), ('M', 20), ('G', 30), ('T', 40)];
    let last = text
        .chars()
        .last()
        .ok_or(NumberError::Size(None))?
        .to_ascii_uppercase();
    let number = |text| number(text).map_err(|error| NumberError::Size(Some(error)));
    match suffixes.into_iter().find(|(suffix, _)| *suffix == last) {
        None => number(text),
        Some((_, shift)) => {
            let count = number(&text[..text.len() - 1])?;
            count.checked_mul(1 << shift).ok_or(NumberError::TooLarge)
        }
    }
}

/// Parses a range of addresses, `START..END`.
pub(crate) fn range(text: &str) -> Result<GuestRange, NumberError> {
    let (start, end) = text.split_once("..").ok_or(NumberError::Range)?;
    GuestRange::from_bounds(size(start)?, size(end)?)
        .filter(|range| !range.is_empty())
        .ok_or(NumberError::Range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let check = |text, expected: Option<u64>| assert_eq!(size(text).ok(), expected, "{text}");
        check("4096", Some(4096));
        check("0x1000", Some(4096));
        check("512M", Some(512 << 20));
        check("2g", Some(2 << 30));
        check("16777216T", None);
        for bad in ["", "M", "-1", "1.5G", "1 G", "0xG", "é"] {
            check(bad, None);
        }
    }

    #[test]
    fn addresses() {
        let check = |text, expected: Option<u64>| assert_eq!(address(text).ok(), expected, "{text}");
        check("0xe0000", Some(0xe_0000));
        check("4096", Some(4096));
        for bad in ["", "1M", "-1", "0x", "e0000"] {
            check(bad, None);
        }
    }

    #[test]
    fn ranges() {
        let check = |text, expected: Option<(u64, u64)>| {
            assert_eq!(
                range(text).ok().map(|range| (range.start(), range.end())),
                expected,
                "{text}"
            );
        };
        check("0x9fc00..0xa0000", Some((0x9_fc00, 0xa_0000)));
        check("1M..2M", Some((1 << 20, 2 << 20)));
        for bad in ["2M..1M", "1M..1M", "1M", "1M-2M", ".."] {
            check(bad, None);
        }
    }
}
