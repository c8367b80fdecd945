//! Remarks on configuration files.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

/// Maximum number of notes on a file; later ones are dropped.
pub(crate) const MAX_NOTES: usize = 32;

/// Maximum length of a text in a note, in bytes; the rest is cut off.
const MAX_TEXT: usize = 64;

/// Part of a configuration file that has no effect, or another one than its author may expect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {kind}")]
#[non_exhaustive]
pub struct Note {
    /// Number of the line, from 1.
    pub line: usize,
    /// Kind.
    pub kind: NoteKind,
}

/// Kind of a [`Note`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoteKind {
    /// The key is unknown; the line is ignored.
    #[error("the key \"{key}\" is unknown; the line is ignored")]
    UnknownKey {
        /// The key, possibly cut.
        key: String,
    },
    /// The key has no value; the line is ignored.
    #[error("\"{key}\" has no value; the line is ignored")]
    NoValue {
        /// The key.
        key: &'static str,
    },
    /// The key occurs again, and may occur once. The last line applies, as with systemd-boot; the specification has no rule.
    #[error("\"{key}\" occurs again and replaces the earlier line")]
    Repeated {
        /// The key.
        key: &'static str,
    },
    /// The value is invalid; the line is ignored.
    #[error("\"{value}\" is no value for \"{key}\", expected {expected}; the line is ignored")]
    InvalidValue {
        /// The key.
        key: &'static str,
        /// The value, possibly cut.
        value: String,
        /// Description of valid values.
        expected: &'static str,
    },
    /// The line is valid, but this crate does not support it.
    #[error("\"{key}\" is ignored: {reason}")]
    Unsupported {
        /// The key, with its value if only this value is unsupported.
        key: &'static str,
        /// Reason.
        reason: &'static str,
    },
    /// The machine ID does not have the specified form.
    #[error("the machine-id is not 32 lower-case hexadecimal digits; it is used for sorting as it is")]
    OddMachineId,
    /// A word that begins with `$` in `initrd` or `options`: a variable of GRUB's configuration, which is left out.
    #[error("the GRUB variable \"{word}\" is left out")]
    GrubVariable {
        /// The word, possibly cut.
        word: String,
    },
}

/// Collected notes.
#[derive(Debug, Default)]
pub(crate) struct Notes(pub(crate) Vec<Note>);

impl Notes {
    pub(crate) fn add(&mut self, line: usize, kind: NoteKind) {
        if self.0.len() < MAX_NOTES {
            self.0.push(Note { line, kind });
        }
    }

    /// Stores a value, with a note if it replaces another one.
    pub(crate) fn replace<T>(&mut self, line: usize, key: &'static str, slot: &mut Option<T>, value: T) {
        if slot.replace(value).is_some() {
            self.add(line, NoteKind::Repeated { key });
        }
    }

    pub(crate) fn unknown_key(&mut self, line: usize, key: &str) {
        self.add(line, NoteKind::UnknownKey { key: cut(key) });
    }

    pub(crate) fn invalid(&mut self, line: usize, key: &'static str, value: &str, expected: &'static str) {
        let value = cut(value);
        self.add(line, NoteKind::InvalidValue { key, value, expected });
    }
}

/// The start of a text.
pub(crate) fn cut(text: &str) -> String {
    let end = text.char_indices().map(|(at, c)| at.saturating_add(c.len_utf8()));
    let end = end.take_while(|end| *end <= MAX_TEXT).last().unwrap_or(0);
    text.get(..end).unwrap_or_default().to_owned()
}
