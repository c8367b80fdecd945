//! Errors of command lines.

use core::fmt;
use core::str::Utf8Error;

/// Why a command line or a part of one is refused.
///
/// Offsets are in bytes from the start of the text that [`CmdlinePart`] names; without a `part`, the message names it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CmdlineError {
    /// The bytes are not UTF-8.
    #[error("the command line is not UTF-8 at byte {offset}")]
    NotUtf8 {
        /// Offset of the first invalid sequence.
        offset: usize,
        /// The error of the UTF-8 decoder.
        source: Utf8Error,
    },
    /// A NUL in a line for guest memory, where it would end the line.
    #[error("NUL at byte {offset} of the command line: the guest would not get what follows it")]
    Nul {
        /// Offset of the NUL.
        offset: usize,
    },
    /// A control character (Unicode category Cc, NUL included) other than white space between words.
    #[error("control character {:#04x} at byte {offset} of the {part}", u32::from(*.character))]
    ControlCharacter {
        /// The text with the character.
        part: CmdlinePart,
        /// Offset of the character.
        offset: usize,
        /// The character.
        character: char,
    },
    /// A character outside quotes whose UTF-8 encoding has the byte 0xA0, which the kernel treats as a space.
    #[error(
        "character {character:?} at byte {offset} of the {part} is encoded with the byte 0xa0, which the kernel \
         treats as a space; use it in a quoted value only"
    )]
    SpaceByte {
        /// The text with the character.
        part: CmdlinePart,
        /// Offset of the character.
        offset: usize,
        /// The character.
        character: char,
    },
    /// A quotation in a line that is not closed.
    #[error("the double quote at byte {offset} of the command line is not closed")]
    UnbalancedQuote {
        /// Offset of the quote.
        offset: usize,
    },
    /// A `"` in a key, value or init argument to be added: the kernel has no escape for it.
    #[error("double quote at byte {offset} of the {part}: a kernel command line has no escape for it")]
    Quote {
        /// The text with the quote.
        part: CmdlinePart,
        /// Offset of the quote.
        offset: usize,
    },
    /// An empty key.
    #[error("the key is empty")]
    EmptyKey,
    /// A space or `=` in a key.
    #[error("{character:?} at byte {offset} of the key: it would end the key there")]
    KeyCharacter {
        /// Offset of the character.
        offset: usize,
        /// The character.
        character: char,
    },
    /// A word `--` in quotes, as a key or as an init argument. The kernel removes the quotes first, so that it is a separator.
    #[error(
        "the word `--` at byte {offset} of the {part}: the kernel ends its parameters there; add arguments of init separately"
    )]
    HiddenSeparator {
        /// The text with the word.
        part: CmdlinePart,
        /// Offset of the word.
        offset: usize,
    },
    /// A second `--`: the kernel ignores the words after it.
    #[error("second `--` at byte {offset} of the command line: the kernel ignores the words after it")]
    SecondSeparator {
        /// Offset of the word.
        offset: usize,
    },
    /// A line that is longer than the limit of the kernel or of the boot protocol, in either form.
    #[error("the command line has {len} bytes, but the kernel accepts at most {max}")]
    TooLong {
        /// The length of the line in bytes, without the terminating NUL.
        len: usize,
        /// The limit in bytes, without the terminating NUL.
        max: usize,
    },
}

/// Refuses a line of `len` bytes that is longer than `max`.
pub(crate) fn check_len(len: usize, max: usize) -> Result<(), CmdlineError> {
    if len > max {
        return Err(CmdlineError::TooLong { len, max });
    }
    Ok(())
}

/// The text that a [`CmdlineError`] refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CmdlinePart {
    /// A command line.
    Line,
    /// The key of a parameter.
    Key,
    /// The value of a parameter.
    Value,
    /// An argument of init.
    InitArg,
}

impl fmt::Display for CmdlinePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Line => "command line",
            Self::Key => "key",
            Self::Value => "value",
            Self::InitArg => "init argument",
        })
    }
}
