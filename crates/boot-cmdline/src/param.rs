//! The words of a command line: parameters of the kernel, and arguments for init.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use core::fmt;

use crate::error::{CmdlineError, CmdlinePart};
use crate::scan::{self, Token};

/// One kernel parameter: a flag such as `quiet`, or a key with a value such as `root=/dev/vda`.
///
/// It keeps its exact spelling, which [`Display`](fmt::Display) prints and equality compares; [`key`](Self::key)
/// and [`value`](Self::value) are what the kernel makes of it.
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

    /// A parameter with a value, which may be empty. A value with spaces is put into quotes.
    ///
    /// The kernel's parser honours the quotes. A few early readers do not: `arch/x86/lib/cmdline.c`, for one, takes
    /// every space for the end of a word, so to it `a="b nokaslr"` is also a `nokaslr`. Refuse spaces in values
    /// that come from someone who must not choose kernel parameters.
    ///
    /// # Errors
    ///
    /// [`CmdlineError`] where [`flag`](Self::flag) refuses `key`, or where `value` has a `"` (there is no way to
    /// escape one), a control character, or the word `--` among others.
    pub fn with_value(key: &str, value: &str) -> Result<Self, CmdlineError> {
        check_key(key)?;
        let part = CmdlinePart::Value;
        scan::check_text(part, value)?;
        if value.contains(' ')
            && let Some(offset) = scan::find_separator(value)
        {
            return Err(CmdlineError::HiddenSeparator { part, offset });
        }
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

    /// The key as the kernel sees it, without quotes around the whole parameter.
    ///
    /// A parsed parameter can have an unusual key, with quotes and spaces in it or none at all (`""`).
    #[must_use]
    pub fn key(&self) -> &str {
        scan::split(&self.raw).0
    }

    /// The value as the kernel sees it, without the quotes around it; `None` where the parameter is a flag.
    #[must_use]
    pub fn value(&self) -> Option<&str> {
        scan::split(&self.raw).1
    }

    /// Whether `key` names this parameter. As in the kernel, `-` and `_` are the same in keys; case matters.
    #[must_use]
    pub fn has_key(&self, key: &str) -> bool {
        let fold = |byte| if byte == b'-' { b'_' } else { byte };
        self.key().bytes().map(fold).eq(key.bytes().map(fold))
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

/// One argument that the kernel hands to init: a word after `--`.
///
/// It keeps its exact spelling, which [`Display`](fmt::Display) prints and equality compares; [`text`](Self::text)
/// is what init gets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InitArg {
    raw: String,
}

impl InitArg {
    /// An argument with this text, which may have spaces and may be empty; it is then put into quotes.
    ///
    /// Old kernels, whose `next_arg` was still in `kernel/params.c`, leave the closing quote on an argument that
    /// has no `=`.
    ///
    /// # Errors
    ///
    /// [`CmdlineError`] where `text` has a `"`, a control character or the word `--` (at which the kernel stops
    /// for good).
    pub fn new(text: &str) -> Result<Self, CmdlineError> {
        let part = CmdlinePart::InitArg;
        scan::check_text(part, text)?;
        if let Some(offset) = scan::find_separator(text) {
            return Err(CmdlineError::HiddenSeparator { part, offset });
        }
        // Quotes stand around the whole word: with `key="value"` the text would have to have a key.
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
    /// The kernel cuts the word into key and value like a parameter, takes the quotes off, and joins it again.
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

/// The spelling of a word that was read from a line, where no `--` hides in it.
fn checked(token: Token) -> Result<String, CmdlineError> {
    match scan::find_separator(&token.text) {
        Some(offset) => Err(CmdlineError::HiddenSeparator {
            part: CmdlinePart::Line,
            offset: token.offset.saturating_add(offset),
        }),
        None => Ok(token.text),
    }
}
