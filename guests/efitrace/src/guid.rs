//! GUIDs and status codes as text.

use core::fmt;

/// A GUID in the byte order of memory (UEFI specification 2.10, appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guid(pub [u8; 16]);

/// The order in which text has the bytes of memory, and where it has hyphens.
const ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
const HYPHENS: [usize; 4] = [4, 6, 8, 10];

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, index) in ORDER.iter().enumerate() {
            if HYPHENS.contains(&position) {
                f.write_str("-")?;
            }
            write!(f, "{:02x}", self.0[*index])?;
        }
        Ok(())
    }
}

impl Guid {
    /// The GUID of a text such as `5b1b31a1-9562-11d2-8e3f-00a0c969723b`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 16];
        let mut rest = text;
        for (position, index) in ORDER.iter().enumerate() {
            if HYPHENS.contains(&position) {
                rest = rest.strip_prefix('-')?;
            }
            let (digits, after) = rest.split_at_checked(2)?;
            bytes[*index] = u8::from_str_radix(digits, 16).ok()?;
            rest = after;
        }
        rest.is_empty().then_some(Self(bytes))
    }
}

/// A status code (UEFI specification 2.10, appendix D).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(pub u64);

/// Status codes with this bit are errors.
pub const ERROR: u64 = 1 << 63;

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match (self.0 & ERROR != 0, self.0 & !ERROR) {
            (false, 0) => "SUCCESS",
            (true, 1) => "LOAD_ERROR",
            (true, 2) => "INVALID_PARAMETER",
            (true, 3) => "UNSUPPORTED",
            (true, 4) => "BAD_BUFFER_SIZE",
            (true, 5) => "BUFFER_TOO_SMALL",
            (true, 6) => "NOT_READY",
            (true, 7) => "DEVICE_ERROR",
            (true, 8) => "WRITE_PROTECTED",
            (true, 9) => "OUT_OF_RESOURCES",
            (true, 14) => "NOT_FOUND",
            (true, 15) => "ACCESS_DENIED",
            (true, 20) => "ALREADY_STARTED",
            (true, 21) => "ABORTED",
            (true, 26) => "SECURITY_VIOLATION",
            _ => return write!(f, "{:#x}", self.0),
        };
        f.write_str(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guids_have_the_order_of_the_specification() {
        let text = "5b1b31a1-9562-11d2-8e3f-00a0c969723b";
        let bytes = [
            0xa1, 0x31, 0x1b, 0x5b, 0x62, 0x95, 0xd2, 0x11, 0x8e, 0x3f, 0x00, 0xa0, 0xc9, 0x69, 0x72, 0x3b,
        ];
        assert_eq!(Guid(bytes).to_string(), text);
        assert_eq!(Guid::parse(text), Some(Guid(bytes)));
        for bad in [
            "",
            "5b1b31a1",
            "5b1b31a1-9562-11d2-8e3f-00a0c969723b0",
            "é",
            &text.replace('-', "0"),
        ] {
            assert_eq!(Guid::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn unknown_status_codes_are_numbers() {
        for (status, text) in [
            (0, "SUCCESS"),
            (ERROR + 14, "NOT_FOUND"),
            (ERROR + 77, "0x800000000000004d"),
            (3, "0x3"),
        ] {
            assert_eq!(Status(status).to_string(), text);
        }
    }
}
