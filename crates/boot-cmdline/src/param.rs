//! Parameters of the kernel and arguments of init.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use core::fmt;

use crate::error::{CmdlineError, CmdlinePart};
use crate::scan::{self, Token};

/// A kernel parameter: a flag such as `quiet`, or a key with a value such as `root=/dev/vda`.
///
/// [`Display`](fmt::Display) and equality use its exact spelling; [`key`](Self::key) and [`value`](Self::value) are those
/// that the kernel reads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Param {
    raw: String,
}

impl Param {
    /// A parameter without a value.
    ///
    /// # Errors
    ///
    /// [`CmdlineError`] where `key` is empty, is `--`, or has a space, `=`, `"`, a control character or a character
    /// that is encoded with the byte 0xA0.
    pub fn flag(key: &str) -> Result<Self, CmdlineError> {
        check_key(key)?;
        Ok(Self { raw: key.to_owned() })
    }

    /// A parameter with a value, which may be empty. A value with spaces is quoted.
    ///
    /// The kernel's main parser handles quotes. Some early parsers do not: `arch/x86/lib/cmdline.c` ends a word at
    /// every space, and so finds the flag `nokaslr` in `a="b nokaslr x"`. Refuse spaces in values from untrusted users.
    ///
    /// # Errors
    ///
    /// [`CmdlineError`] where [`flag`](Self::flag) refuses `key`, or where `value` has a `"` (the kernel has no escape for
    /// it) or a control character.
    pub fn with_value(key: &str, value: &str) -> Result<Self, CmdlineError> {
        check_key(key)?;
        scan::check_text(CmdlinePart::Value, value)?;
        let raw = if scan::needs_quotes(value) {
            format!("{key}=\"{value}\"")
        } else {
            format!("{key}={value}")
        };
        Ok(Self { raw })
    }

    pub(crate) fn from_token(token: Token) -> Result<Self, CmdlineError> {
        Ok(Self { raw: checked(token)? })
    }

    /// The key as the kernel reads it, without quotes around the whole parameter.
    ///
    /// The key of a parsed parameter may contain quotes and spaces, and may be empty (`""`).
    #[must_use]
    pub fn key(&self) -> &str {
        scan::split(&self.raw).0
    }

    /// The value as the kernel reads it, without quotes around it; `None` for a flag.
    #[must_use]
    pub fn value(&self) -> Option<&str> {
        scan::split(&self.raw).1
    }

    /// Whether this parameter has the key `key`. As in the kernel, `-` and `_` are equal, and case matters.
    #[must_use]
    pub fn has_key(&self, key: &str) -> bool {
        scan::is_same_key(self.key().as_bytes(), key.as_bytes())
    }

    /// The exact spelling, with quotes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.raw
    }
}

impl fmt::Display for Param {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.raw)
    }
}

/// An argument of init: a word after `--`.
///
/// [`Display`](fmt::Display) and equality use its exact spelling; [`text`](Self::text) is the argument that init gets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InitArg {
    raw: String,
}

impl InitArg {
    /// An argument with this text, which may be empty. Text with spaces and empty text is quoted.
    ///
    /// Old kernels, those with `next_arg` in `kernel/params.c`, keep the closing quote of an argument without `=`.
    ///
    /// # Errors
    ///
    /// [`CmdlineError`] where `text` is `--`, or has a `"` or a control character.
    pub fn new(text: &str) -> Result<Self, CmdlineError> {
        let part = CmdlinePart::InitArg;
        scan::check_text(part, text)?;
        if text == scan::SEPARATOR {
            return Err(CmdlineError::HiddenSeparator { part, offset: 0 });
        }
        // The whole word is quoted, because text without a key cannot be quoted as `key="value"`.
        let raw = if text.is_empty() || scan::needs_quotes(text) {
            format!("\"{text}\"")
        } else {
            text.to_owned()
        };
        Ok(Self { raw })
    }

    pub(crate) fn from_token(token: Token) -> Result<Self, CmdlineError> {
        Ok(Self { raw: checked(token)? })
    }

    /// The text that init gets as one element of its `argv`.
    ///
    /// The kernel splits the word into key and value like a parameter, removes the quotes, and joins them again.
    #[must_use]
    pub fn text(&self) -> String {
        match scan::split(&self.raw) {
            (key, Some(value)) => format!("{key}={value}"),
            (key, None) => key.to_owned(),
        }
    }

    /// The exact spelling, with quotes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.raw
    }
}

impl fmt::Display for InitArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.raw)
    }
}

fn check_key(key: &str) -> Result<(), CmdlineError> {
    let part = CmdlinePart::Key;
    if key.is_empty() {
        return Err(CmdlineError::EmptyKey);
    }
    scan::check_text(part, key)?;
    for (offset, character) in key.char_indices() {
        if matches!(character, ' ' | '=') {
            return Err(CmdlineError::KeyCharacter { offset, character });
        }
        if scan::has_space_byte(character) {
            return Err(CmdlineError::SpaceByte {
                part,
                offset,
                character,
            });
        }
    }
    if key == scan::SEPARATOR {
        return Err(CmdlineError::HiddenSeparator { part, offset: 0 });
    }
    Ok(())
}

/// The text of a parsed word, which must not be a quoted `--`.
fn checked(token: Token) -> Result<String, CmdlineError> {
    if scan::is_separator(&token.text) {
        return Err(CmdlineError::HiddenSeparator {
            part: CmdlinePart::Line,
            offset: token.offset,
        });
    }
    Ok(token.text)
}
