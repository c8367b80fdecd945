//! Command lines as bytes, and the reference to either form.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use crate::error::check_len;
use crate::{Cmdline, CmdlineError};

/// A command line as bytes: for guests other than Linux, and for callers that must pass a line on unchanged.
///
/// The guest gets exactly these bytes and a terminating NUL. Quotes, white space and encoding have no meaning here; only a
/// NUL is refused, because the line would end there.
///
/// ```
/// use boot_cmdline::{Cmdline, RawCmdline};
///
/// let raw: RawCmdline = "/bin/app \"unbalanced -- a -- b".parse()?;
/// assert_eq!(raw.to_bytes(2047)?, b"/bin/app \"unbalanced -- a -- b\0");
/// assert!(Cmdline::try_from(&raw).is_err());
/// # Ok::<(), boot_cmdline::CmdlineError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RawCmdline {
    /// Without a NUL.
    bytes: Vec<u8>,
}

impl RawCmdline {
    /// An empty command line.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: Vec::new() }
    }

    /// A command line of these bytes, without a terminating NUL.
    ///
    /// # Errors
    ///
    /// [`CmdlineError::Nul`].
    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> Result<Self, CmdlineError> {
        let bytes = bytes.into();
        match bytes.iter().position(|byte| *byte == 0) {
            Some(offset) => Err(CmdlineError::Nul { offset }),
            None => Ok(Self { bytes }),
        }
    }

    /// A command line of these bytes, which have no NUL.
    pub(crate) const fn without_nul(bytes: Vec<u8>) -> Self {
        Self { bytes }
    }

    /// The line without a terminating NUL.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether the line has no byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The length of the line in bytes, without a terminating NUL.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        self.bytes.len()
    }

    /// Checks that the line has at most `max_len` bytes, without a terminating NUL.
    ///
    /// # Errors
    ///
    /// [`CmdlineError::TooLong`] for a longer line.
    pub fn check_len(&self, max_len: usize) -> Result<(), CmdlineError> {
        check_len(self.encoded_len(), max_len)
    }

    /// The bytes for guest memory: the line and a terminating NUL. `max_len` is the limit in bytes without the NUL.
    ///
    /// # Errors
    ///
    /// [`CmdlineError::TooLong`] for a longer line.
    pub fn to_bytes(&self, max_len: usize) -> Result<Vec<u8>, CmdlineError> {
        self.check_len(max_len)?;
        let mut bytes = self.bytes.clone();
        bytes.push(0);
        Ok(bytes)
    }
}

/// Bytes that are not UTF-8 are replaced by U+FFFD.
impl fmt::Display for RawCmdline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.bytes))
    }
}

impl From<&Cmdline> for RawCmdline {
    fn from(cmdline: &Cmdline) -> Self {
        // A parsed line has no control characters.
        Self {
            bytes: alloc::format!("{cmdline}").into_bytes(),
        }
    }
}

impl From<Cmdline> for RawCmdline {
    fn from(cmdline: Cmdline) -> Self {
        Self::from(&cmdline)
    }
}

impl FromStr for RawCmdline {
    type Err = CmdlineError;

    fn from_str(line: &str) -> Result<Self, CmdlineError> {
        Self::from_bytes(line)
    }
}

impl TryFrom<&str> for RawCmdline {
    type Error = CmdlineError;

    fn try_from(line: &str) -> Result<Self, CmdlineError> {
        Self::from_bytes(line)
    }
}

impl TryFrom<&[u8]> for RawCmdline {
    type Error = CmdlineError;

    fn try_from(line: &[u8]) -> Result<Self, CmdlineError> {
        Self::from_bytes(line)
    }
}

/// Parses the bytes by the rules of Linux.
impl TryFrom<&RawCmdline> for Cmdline {
    type Error = CmdlineError;

    fn try_from(raw: &RawCmdline) -> Result<Self, CmdlineError> {
        Self::from_bytes(raw.as_bytes())
    }
}

/// A reference to a command line in either form. A boot protocol writes both in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CmdlineRef<'a> {
    /// A line that follows the rules of Linux.
    Linux(&'a Cmdline),
    /// Bytes that the guest gets unchanged.
    Raw(&'a RawCmdline),
}

impl CmdlineRef<'_> {
    /// Whether the line has no byte.
    #[must_use]
    pub fn is_empty(self) -> bool {
        match self {
            Self::Linux(cmdline) => cmdline.is_empty(),
            Self::Raw(cmdline) => cmdline.is_empty(),
        }
    }

    /// The length of the line in bytes, without a terminating NUL.
    #[must_use]
    pub fn encoded_len(self) -> usize {
        match self {
            Self::Linux(cmdline) => cmdline.encoded_len(),
            Self::Raw(cmdline) => cmdline.encoded_len(),
        }
    }

    /// Checks that the line has at most `max_len` bytes, without a terminating NUL.
    ///
    /// # Errors
    ///
    /// [`CmdlineError::TooLong`] for a longer line.
    pub fn check_len(self, max_len: usize) -> Result<(), CmdlineError> {
        check_len(self.encoded_len(), max_len)
    }

    /// The bytes for guest memory: the line and a terminating NUL. `max_len` is the limit in bytes without the NUL.
    ///
    /// # Errors
    ///
    /// [`CmdlineError::TooLong`] for a longer line.
    pub fn to_bytes(self, max_len: usize) -> Result<Vec<u8>, CmdlineError> {
        match self {
            Self::Linux(cmdline) => cmdline.to_bytes(max_len),
            Self::Raw(cmdline) => cmdline.to_bytes(max_len),
        }
    }
}

impl fmt::Display for CmdlineRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Linux(cmdline) => cmdline.fmt(f),
            Self::Raw(cmdline) => cmdline.fmt(f),
        }
    }
}

impl<'a> From<&'a Cmdline> for CmdlineRef<'a> {
    fn from(cmdline: &'a Cmdline) -> Self {
        Self::Linux(cmdline)
    }
}

impl<'a> From<&'a RawCmdline> for CmdlineRef<'a> {
    fn from(cmdline: &'a RawCmdline) -> Self {
        Self::Raw(cmdline)
    }
}
