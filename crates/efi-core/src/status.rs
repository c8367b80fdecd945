//! Status codes, UEFI 2.10 appendix D.

use core::fmt;

/// A status code, `EFI_STATUS`: an open set of numbers. The highest bit is set in errors.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Status(pub usize);

/// Result of a service: the error is the status that the caller of the service gets.
pub type Result<T> = core::result::Result<T, Status>;

/// The bit of errors.
const ERROR: usize = 1 << (usize::BITS - 1);

/// The error with this number.
const fn error(number: usize) -> usize {
    ERROR | number
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $value:expr;)*) => {
        impl Status {
            $($(#[$doc])* pub const $name: Self = Self($value);)*

            /// The name in the specification without its prefix, or `None` for other numbers.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

codes! {
    /// The operation completed.
    SUCCESS = 0;
    /// The image did not load.
    LOAD_ERROR = error(1);
    /// A parameter is wrong.
    INVALID_PARAMETER = error(2);
    /// The operation is not supported.
    UNSUPPORTED = error(3);
    /// The buffer's size is not that of the request.
    BAD_BUFFER_SIZE = error(4);
    /// The buffer is too small; the needed size is returned beside it.
    BUFFER_TOO_SMALL = error(5);
    /// No data is pending.
    NOT_READY = error(6);
    /// The device reported an error.
    DEVICE_ERROR = error(7);
    /// The device cannot be written to.
    WRITE_PROTECTED = error(8);
    /// A resource has run out.
    OUT_OF_RESOURCES = error(9);
    /// The file system is inconsistent.
    VOLUME_CORRUPTED = error(10);
    /// The file system has no space left.
    VOLUME_FULL = error(11);
    /// The device has no medium.
    NO_MEDIA = error(12);
    /// The medium was changed.
    MEDIA_CHANGED = error(13);
    /// The item was not found.
    NOT_FOUND = error(14);
    /// Access was denied.
    ACCESS_DENIED = error(15);
    /// The server was not found or did not respond.
    NO_RESPONSE = error(16);
    /// No mapping to the device exists.
    NO_MAPPING = error(17);
    /// The timeout expired.
    TIMEOUT = error(18);
    /// The protocol was not started.
    NOT_STARTED = error(19);
    /// The protocol was already started.
    ALREADY_STARTED = error(20);
    /// The operation was aborted.
    ABORTED = error(21);
    /// The function met an incompatible version.
    INCOMPATIBLE_VERSION = error(24);
    /// The function was not performed because of a security violation.
    SECURITY_VIOLATION = error(26);
    /// A CRC error was detected.
    CRC_ERROR = error(27);
    /// The beginning or the end of the medium was reached.
    END_OF_MEDIA = error(28);
    /// The end of the file was reached.
    END_OF_FILE = error(31);
    /// The language was invalid.
    INVALID_LANGUAGE = error(32);
    /// The security status of the data is unknown or compromised.
    COMPROMISED_DATA = error(33);
    /// Warning: the text has characters that the device cannot show.
    WARN_UNKNOWN_GLYPH = 1;
    /// Warning: the handle was closed, but the file was not deleted.
    WARN_DELETE_FAILURE = 2;
}

impl Status {
    /// True for errors; success and warnings are none.
    #[must_use]
    pub const fn is_error(self) -> bool {
        self.0 & ERROR != 0
    }

    /// The number that a service returns for this result.
    #[must_use]
    pub fn of<T>(result: &Result<T>) -> Self {
        match result {
            Ok(_) => Self::SUCCESS,
            Err(status) => *status,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "EFI status {:#x}", self.0),
        }
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl core::error::Error for Status {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn statuses_have_the_numbers_and_names_of_the_specification() {
        let check = |status: Status, number: usize, name: &str| {
            assert_eq!(status.0 & !ERROR, number);
            assert_eq!(status.to_string(), name);
        };
        check(Status::SUCCESS, 0, "SUCCESS");
        check(Status::NOT_FOUND, 14, "NOT_FOUND");
        check(Status::COMPROMISED_DATA, 33, "COMPROMISED_DATA");
        check(Status(99), 99, "EFI status 0x63");
        assert!(Status::NOT_FOUND.is_error() && !Status::WARN_UNKNOWN_GLYPH.is_error());
        assert_eq!(Status::of(&Err::<(), _>(Status::ABORTED)), Status::ABORTED);
        assert_eq!(Status::of(&Ok(3)), Status::SUCCESS);
    }
}
