//! Numbers in options.

use std::num::{NonZeroU32, ParseIntError};

use boot_core::{ByteCount, GuestRange};

/// Error in a number.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NumberError {
    #[error("not an address; use an address in bytes such as 0xe0000 or 917504")]
    Address(#[source] ParseIntError),
    #[error("not a size; use a size such as 512M, 3.5G or 2GiB")]
    Size,
    #[error("more than a value; use the value alone: {0}")]
    Assignment(String),
    #[error("the unit `{0}` is unknown; use a size such as 512M, 3.5G or 2GiB")]
    Unit(String),
    #[error("not a size; use a decimal point: {0}")]
    DecimalComma(String),
    #[error("a number of bytes has no fraction; use a whole number before B")]
    PartOfByte,
    #[error("more than the limit of {}; use a smaller size", ByteCount(MAX_MEMORY))]
    TooLarge,
    #[error("a machine needs memory; use a size such as 512M, 3.5G or 2GiB")]
    NoMemory,
    #[error("that is {}, more than the limit of {}{}", ByteCount(*.0), ByteCount(MAX_MEMORY), unit_advice(*.1))]
    TooMuchMemory(u64, Unit),
    #[error("not a number of vCPUs; use a whole number of at least 1, such as 4")]
    Vcpus(#[source] ParseIntError),
    #[error("not a number of seconds; use a whole number such as 60")]
    Seconds(#[source] ParseIntError),
    #[error(
        "not a range of addresses; use START..END such as 0x9fc00..0xa0000 or 32M..33M, with START below END"
    )]
    Range,
}

fn unit_advice(unit: Unit) -> &'static str {
    match unit {
        Unit::Given => "; use a smaller size",
        Unit::Assumed => "; append B for bytes: a size without a unit is in MiB",
    }
}

/// Largest size of a guest's RAM, so that a mistake in a unit is an error. A slot of KVM has at most 2³¹ - 1 pages of 4 KiB.
const MAX_MEMORY: u64 = 8 << 40;

/// Granularity of RAM in bytes, to which a size with a fraction is rounded down.
const PAGE: u64 = 0x1000;

/// Where the unit of a size comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// From the text.
    Given,
    /// The text has a number only.
    Assumed,
}

/// Size of a guest's RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MemorySize {
    /// In bytes.
    pub(crate) bytes: u64,
    pub(crate) unit: Unit,
}

/// The digits after `0x`.
fn hex_digits(text: &str) -> Option<&str> {
    text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))
}

/// Digits of a number as a decimal or, after `0x`, a hexadecimal number.
fn number(text: &str) -> Result<u64, ParseIntError> {
    match hex_digits(text) {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    }
}

/// Parses an address: decimal, or hexadecimal after `0x`.
pub(crate) fn address(text: &str) -> Result<u64, NumberError> {
    number(text).map_err(NumberError::Address)
}

/// Parses a number of vCPUs.
pub(crate) fn vcpus(text: &str) -> Result<NonZeroU32, NumberError> {
    let parse = |text: &str| text.trim().parse().map_err(NumberError::Vcpus);
    let value = assigned(text);
    match parse(value) {
        Ok(_) if value != text => Err(NumberError::Assignment(value.to_owned())),
        result => result,
    }
}

/// Parses a number of seconds.
pub(crate) fn seconds(text: &str) -> Result<u64, NumberError> {
    text.parse().map_err(NumberError::Seconds)
}

/// A number with a unit.
struct Quantity {
    bytes: u64,
    unit: Unit,
    has_fraction: bool,
}

/// Power of two of a unit, in any case: `K`, `KB` and `KiB` are 1024 bytes, and so on.
fn shift(unit: &str) -> Option<u32> {
    Some(match unit.to_ascii_lowercase().as_str() {
        "b" | "byte" | "bytes" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return None,
    })
}

/// Parses a number with a unit. A decimal number may have a fraction, digits may be separated by `_`, and spaces may
/// precede the unit. A hexadecimal number without a unit is in bytes; for a decimal one, `assumed` is the power of two.
fn quantity(text: &str, assumed: u32) -> Result<Quantity, NumberError> {
    let text = text.trim();
    let hex = hex_digits(text);
    let digits = hex.unwrap_or(text);
    let is_digit = |c: char| match hex {
        Some(_) => c.is_ascii_hexdigit() || c == '_',
        None => c.is_ascii_digit() || c == '_' || c == '.',
    };
    let end = digits.find(|c| !is_digit(c)).unwrap_or(digits.len());
    let (digits, unit) = digits.split_at(end);
    let (digits, unit) = (digits.trim(), unit.trim());
    if digits.is_empty() || digits.starts_with('_') || digits.ends_with('_') {
        return Err(NumberError::Size);
    }
    let digits = digits.replace('_', "");
    let (shift, unit) = match unit {
        // A hexadecimal number is in bytes by convention.
        "" if hex.is_some() => (0, Unit::Given),
        "" => (assumed, Unit::Assumed),
        unit => (
            shift(unit).ok_or_else(|| NumberError::Unit(unit.to_owned()))?,
            Unit::Given,
        ),
    };
    let (whole, fraction) = match digits.split_once('.') {
        Some((_, "")) => return Err(NumberError::Size),
        Some(("", fraction)) => ("0", Some(fraction)),
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (digits.as_str(), None),
    };
    let radix = if hex.is_some() { 16 } else { 10 };
    let parse = |digits: &str| {
        u128::from_str_radix(digits, radix).map_err(|error| match error.kind() {
            std::num::IntErrorKind::PosOverflow => NumberError::TooLarge,
            _ => NumberError::Size,
        })
    };
    let mut bytes = parse(whole)?
        .checked_mul(1 << shift)
        .ok_or(NumberError::TooLarge)?;
    if let Some(fraction) = fraction {
        if shift == 0 {
            return Err(NumberError::PartOfByte);
        }
        let scale = u32::try_from(fraction.len())
            .ok()
            .and_then(|len| 10_u128.checked_pow(len))
            .ok_or(NumberError::Size)?;
        let part = parse(fraction)?
            .checked_mul(1 << shift)
            .ok_or(NumberError::Size)?
            / scale;
        bytes = bytes.checked_add(part).ok_or(NumberError::TooLarge)?;
    }
    Ok(Quantity {
        bytes: u64::try_from(bytes).ok().ok_or(NumberError::TooLarge)?,
        unit,
        has_fraction: fraction.is_some(),
    })
}

/// The value in a property as of other programs: `512M` in `size=512M,shared=on`.
fn assigned(text: &str) -> &str {
    let property = text.split_once(',').map_or(text, |(property, _)| property);
    property.split_once('=').map_or(property, |(_, value)| value)
}

/// The error for a size with a comma in place of the decimal point: `1,5G`.
fn decimal_comma(text: &str) -> Option<NumberError> {
    let corrected = text.replacen(',', ".", 1);
    (corrected != text && quantity(&corrected, 20).is_ok()).then_some(NumberError::DecimalComma(corrected))
}

/// Parses a size of RAM: in MiB, or with a unit. A size with a fraction is rounded down to whole pages.
pub(crate) fn memory_size(text: &str) -> Result<MemorySize, NumberError> {
    let Quantity {
        mut bytes,
        unit,
        has_fraction,
    } = quantity(text, 20).map_err(|error| {
        let value = assigned(text);
        match quantity(value, 20) {
            Ok(_) if text.contains('=') => NumberError::Assignment(value.to_owned()),
            _ => decimal_comma(text).unwrap_or(error),
        }
    })?;
    if has_fraction {
        bytes -= bytes % PAGE;
    }
    if bytes == 0 {
        return Err(NumberError::NoMemory);
    }
    if bytes > MAX_MEMORY {
        return Err(NumberError::TooMuchMemory(bytes, unit));
    }
    Ok(MemorySize { bytes, unit })
}

/// Parses a range of addresses, `START..END`, in bytes or with a unit.
pub(crate) fn range(text: &str) -> Result<GuestRange, NumberError> {
    let (start, end) = text.split_once("..").ok_or(NumberError::Range)?;
    let bound = |text| quantity(text, 0).map_or(Err(NumberError::Range), |found| Ok(found.bytes));
    GuestRange::from_bounds(bound(start)?, bound(end)?)
        .filter(|range| !range.is_empty())
        .ok_or(NumberError::Range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_memory() {
        let check = |text, bytes: u64, unit| {
            assert_eq!(memory_size(text), Ok(MemorySize { bytes, unit }), "{text}");
        };
        let given = |text, bytes| check(text, bytes, Unit::Given);
        for text in [
            "512M",
            "512m",
            "512MB",
            "512mb",
            "512MiB",
            "512mib",
            "512 MiB",
            " 512M ",
            "0.5G",
            ".5G",
            "5_12M",
            "536870912B",
            "536870912 bytes",
            "536_870_912b",
            "524288K",
            "524288KiB",
            "0x20000000",
            "0X2000_0000",
            "0x200M",
            "0x80000KiB",
        ] {
            given(text, 512 << 20);
        }
        given("3.5G", 7 << 29);
        given("1GiB", 1 << 30);
        given("1T", 1 << 40);
        given("8TiB", 8 << 40);
        given("1.50G", 3 << 29);
        // Rounded down to pages.
        given("1.3G", 1_395_863_552);
        // No unit: MiB.
        check("512", 512 << 20, Unit::Assumed);
        check("1_024", 1 << 30, Unit::Assumed);
        check("1.5", 3 << 19, Unit::Assumed);
        let refused = |text, expected| assert_eq!(memory_size(text), Err(expected), "{text}");
        for text in [
            "", "M", "-1", "_5", "5_", "1.", "1.G", "1.2.3G", "é", "G5", "1,5,5G", "1.5.G",
        ] {
            let error = memory_size(text).unwrap_err();
            assert!(
                matches!(error, NumberError::Size | NumberError::Unit(_)),
                "{text}: {error:?}"
            );
        }
        refused("512X", NumberError::Unit("X".to_owned()));
        refused("512 MiBs", NumberError::Unit("MiBs".to_owned()));
        refused("1.5B", NumberError::PartOfByte);
        refused("1,5G", NumberError::DecimalComma("1.5G".to_owned()));
        refused("size=512M,shared=on", NumberError::Assignment("512M".to_owned()));
        refused("0", NumberError::NoMemory);
        refused("0.000001M", NumberError::NoMemory);
        refused("9T", NumberError::TooMuchMemory(9 << 40, Unit::Given));
        refused("536870912", NumberError::TooMuchMemory(1 << 49, Unit::Assumed));
        refused("16777216T", NumberError::TooLarge);
        refused("309485009821345068724781056T", NumberError::TooLarge);
        refused("99999999999999999999999999999999999999999", NumberError::TooLarge);
    }

    #[test]
    fn numbers_of_vcpus() {
        assert_eq!(vcpus("4").map(NonZeroU32::get), Ok(4));
        for text in ["boot=4", "4,sockets=1", "cpus=4,maxcpus=8"] {
            assert_eq!(
                vcpus(text),
                Err(NumberError::Assignment("4".to_owned())),
                "{text}"
            );
        }
        for text in ["", "0", "-1", "1.5", "four", "4294967296"] {
            assert!(matches!(vcpus(text), Err(NumberError::Vcpus(_))), "{text}");
        }
    }

    #[test]
    fn addresses() {
        let check = |text, expected: Option<u64>| assert_eq!(address(text).ok(), expected, "{text}");
        check("0xe0000", Some(0xe_0000));
        check("0XE0000", Some(0xe_0000));
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
        check("4096..8192", Some((4096, 8192)));
        check("1.5MiB..2MiB", Some((3 << 19, 2 << 20)));
        for bad in ["2M..1M", "1M..1M", "1M", "1M-2M", "..", "1X..2X"] {
            check(bad, None);
        }
    }
}
