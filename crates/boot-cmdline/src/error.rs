//! What can be wrong with a command line.

use core::fmt;
use core::str::Utf8Error;

/// A command line, or a part that should go into one, that was refused.
///
/// Every offset counts bytes from the start of the text that was passed in, whose role [`CmdlinePart`] names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CmdlineError {
    /// The bytes are not UTF-8.
    #[error("the command line is not UTF-8 from byte {offset} on")]
    NotUtf8 {
        /// Where the first invalid sequence starts.
        offset: usize,
        /// How it is invalid.
        source: Utf8Error,
    },
    /// A control character (Unicode category Cc, which includes NUL) where it would reach the kernel.
    #[error("control character {character:?} at byte {offset} of the {part}")]
    ControlCharacter {
        /// The text that has it.
        part: CmdlinePart,
        /// Where it stands.
        offset: usize,
        /// The character.
        character: char,
    },
    /// A character outside quotes whose UTF-8 encoding has the byte 0xA0, which the kernel takes for a space.
    #[error(
        "character {character:?} at byte {offset} of the {part} is encoded with the byte 0xa0, which the kernel \
         takes for a space: it may stand in a quoted value only"
    )]
    SpaceByte {
        /// The text that has it.
        part: CmdlinePart,
        /// Where it stands.
        offset: usize,
        /// The character.
        character: char,
    },
    /// A quote that is never closed.
    #[error("the double quote at byte {offset} of the command line is never closed")]
    UnbalancedQuote {
        /// Where the quote stands.
        offset: usize,
    },
    /// A `"` in a key, value or init argument: the kernel has no way to escape it.
    #[error("double quote at byte {offset} of the {part}: the kernel's command line cannot carry one there")]
    Quote {
        /// The text that has it.
        part: CmdlinePart,
        /// Where it stands.
        offset: usize,
    },
    /// A key without characters.
    #[error("the key is empty")]
    EmptyKey,
    /// A space or `=` in a key.
    #[error("{character:?} at byte {offset} of the key: it would end the key there")]
    KeyCharacter {
        /// Where it stands.
        offset: usize,
        /// The character.
        character: char,
    },
    /// A word `--` inside quotes, inside a value or used as a key or init argument.
    ///
    /// It would end the kernel's parameters, for all readers in the kernel or for some.
    #[error(
        "the word `--` at byte {offset} of the {part}: the kernel can take it for the end of its parameters; \
         give arguments for init as such"
    )]
    HiddenSeparator {
        /// The text that has it.
        part: CmdlinePart,
        /// Where it stands.
        offset: usize,
    },
    /// A second `--`: the kernel drops everything after it.
    #[error("second `--` at byte {offset} of the command line: the kernel ignores all that follows it")]
    SecondSeparator {
        /// Where it stands.
        offset: usize,
    },
    /// The line is longer than the kernel or the boot protocol can take.
    #[error("the command line has {len} bytes, but the kernel takes at most {max}: shorten it")]
    TooLong {
        /// The encoded length in bytes, without the terminating NUL.
        len: usize,
        /// The limit in bytes, without the terminating NUL.
        max: usize,
    },
}

/// Which text a [`CmdlineError`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CmdlinePart {
    /// A whole command line that was parsed.
    Line,
    /// The key of a parameter.
    Key,
    /// The value of a parameter.
    Value,
    /// An argument for init.
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
