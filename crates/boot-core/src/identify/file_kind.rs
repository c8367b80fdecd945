//! The kind of a file, and how it is recognised.

use core::fmt;

/// A kind of file, and how to get a kernel to boot from it.
///
/// `Display` prints both, as the end of a sentence that begins with "the file is".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct FileKind {
    /// What the file is: completes "the file is …".
    pub name: &'static str,
    /// What to do with it. Commands are in double quotes: `FILE` stands for the file, `OUTPUT` for a new file and `DIR` for a
    /// new directory.
    pub advice: &'static str,
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.name, self.advice)
    }
}

/// The values of a file that are compared: all of them for a match. Offsets are in bytes from the start of the file.
pub(super) struct Signature {
    pub(super) parts: &'static [(u64, &'static [u8])],
    pub(super) kind: FileKind,
}

/// A signature with its parts, name and advice.
pub(super) const fn signature(
    parts: &'static [(u64, &'static [u8])],
    name: &'static str,
    advice: &'static str,
) -> Signature {
    Signature {
        parts,
        kind: FileKind { name, advice },
    }
}
