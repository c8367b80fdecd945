//! File names of entries, with boot counters (UAPI.1, "Type #1 Boot Loader Specification Entries", "Boot counting").

use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt;

/// Name of the file that defines an entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EntryName {
    file_name: String,
    id: String,
    suffix: Suffix,
    tries: Option<Tries>,
}

/// Suffix of the file of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Suffix {
    /// `.conf`: type 1.
    Conf,
    /// `.efi`: type 2.
    Efi,
}

/// Boot counters in the name of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Tries {
    /// Number of attempts that are left.
    pub left: u32,
    /// Number of failed attempts.
    pub done: u32,
}

/// State of an entry by its boot counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum BootState {
    /// Without counters: the entry has booted, or is not subject to boot counting.
    Good,
    /// Attempts are left.
    Indeterminate,
    /// No attempt is left.
    Bad,
}

/// A file name cannot be that of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// The name is longer than [`EntryName::MAX_LEN`].
    #[error(
        "the file name has {len} bytes; the specification permits {}",
        EntryName::MAX_LEN
    )]
    TooLong {
        /// Length of the name in bytes.
        len: usize,
    },
    /// The name has neither suffix, or nothing before it.
    #[error("the file name is not a name with the suffix .conf or .efi")]
    Suffix,
    /// The name contains a path separator or a control character.
    #[error("the file name contains {character:?} at byte {offset}")]
    Character {
        /// Offset in bytes.
        offset: usize,
        /// The character.
        character: char,
    },
}

impl EntryName {
    /// Maximum length in bytes.
    pub const MAX_LEN: usize = 255;

    /// Parses a file name. The specification restricts the characters to ASCII letters, digits, `+`, `-`, `_` and `.`; others
    /// are accepted, except path separators and control characters. Suffixes may be in upper case, as on FAT.
    ///
    /// A name whose numbers exceed 32 bits has no counters.
    ///
    /// # Errors
    ///
    /// [`NameError`].
    pub fn parse(file_name: &str) -> Result<Self, NameError> {
        let len = file_name.len();
        if len > Self::MAX_LEN {
            return Err(NameError::TooLong { len });
        }
        let is_refused = |(_, c): &(usize, char)| c.is_control() || matches!(c, '/' | '\\');
        if let Some((offset, character)) = file_name.char_indices().find(is_refused) {
            return Err(NameError::Character { offset, character });
        }
        let (stem, extension) = file_name.rsplit_once('.').ok_or(NameError::Suffix)?;
        let suffix = match extension {
            conf if conf.eq_ignore_ascii_case("conf") => Suffix::Conf,
            efi if efi.eq_ignore_ascii_case("efi") => Suffix::Efi,
            _ => return Err(NameError::Suffix),
        };
        if stem.is_empty() {
            return Err(NameError::Suffix);
        }
        let counted = parse_counters(stem);
        let id = match counted {
            Some((base, _)) => [base, ".", extension].concat(),
            None => file_name.to_owned(),
        };
        Ok(Self {
            file_name: file_name.to_owned(),
            id,
            suffix,
            tries: counted.map(|(_, tries)| tries),
        })
    }

    /// The file name, with counters and suffix.
    #[must_use]
    pub fn file_name(&self) -> &str {
        &self.file_name
    }

    /// The file name without its suffix, with counters: the last sorting key.
    #[must_use]
    pub fn stem(&self) -> &str {
        self.file_name.rsplit_once('.').map_or("", |(stem, _)| stem)
    }

    /// Identification of the entry: the file name with its suffix, without counters. It stays the same when a boot loader or
    /// the operating system renames the file.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Suffix.
    #[must_use]
    pub fn suffix(&self) -> Suffix {
        self.suffix
    }

    /// Counters; `None` if the entry is not subject to boot counting.
    #[must_use]
    pub fn tries(&self) -> Option<Tries> {
        self.tries
    }

    /// State by the counters.
    #[must_use]
    pub fn state(&self) -> BootState {
        match self.tries {
            None => BootState::Good,
            Some(Tries { left: 0, .. }) => BootState::Bad,
            Some(_) => BootState::Indeterminate,
        }
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.file_name)
    }
}

/// Splits `NAME+LEFT` or `NAME+LEFT-DONE` into the name and the counters.
fn parse_counters(stem: &str) -> Option<(&str, Tries)> {
    let (base, counters) = stem.rsplit_once('+')?;
    let (left, done) = match counters.split_once('-') {
        Some((left, done)) => (parse_number(left)?, parse_number(done)?),
        None => (parse_number(counters)?, 0),
    };
    (!base.is_empty()).then_some((base, Tries { left, done }))
}

/// Parses a decimal number without a sign.
pub(crate) fn parse_number(text: &str) -> Option<u32> {
    let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit());
    if is_decimal { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::ToString;

    use super::*;

    #[track_caller]
    fn check(file_name: &str, id: &str, tries: Option<(u32, u32)>, state: BootState) {
        let name = EntryName::parse(file_name).unwrap();
        assert_eq!(name.id(), id);
        assert_eq!(
            name.tries().map(|tries| (tries.left, tries.done)),
            tries,
            "{file_name}"
        );
        assert_eq!(name.state(), state, "{file_name}");
        assert_eq!(
            (name.file_name(), name.to_string().as_str()),
            (file_name, file_name)
        );
        let dot = file_name.rfind('.').unwrap();
        assert_eq!(name.stem(), &file_name[..dot]);
    }

    #[test]
    fn counters() {
        use BootState::{Bad, Good, Indeterminate};
        check("a.conf", "a.conf", None, Good);
        check("a+3.conf", "a.conf", Some((3, 0)), Indeterminate);
        check("a+2-1.efi", "a.efi", Some((2, 1)), Indeterminate);
        check("a+0-3.conf", "a.conf", Some((0, 3)), Bad);
        check("a+0.conf", "a.conf", Some((0, 0)), Bad);
        check("a+003-001.CONF", "a.CONF", Some((3, 1)), Indeterminate);
        check("6.1+b1+5-2.conf", "6.1+b1.conf", Some((5, 2)), Indeterminate);
        check(
            "a+4294967295-4294967295.conf",
            "a.conf",
            Some((u32::MAX, u32::MAX)),
            Indeterminate,
        );
        for name in [
            "a+.conf",
            "a+-1.conf",
            "a+1-.conf",
            "a+1-2-3.conf",
            "a+x.conf",
            "a+1x.conf",
            "a-1.conf",
            "a+1.2.conf",
            "+3.conf",
            "a+4294967296.conf",
            "a+1-4294967296.conf",
            "a++1-.conf",
            "a+\u{661}.conf",
            "a+ 1.conf",
        ] {
            check(name, name, None, Good);
        }
    }

    #[test]
    fn suffixes() {
        let suffix = |name| EntryName::parse(name).map(|name| name.suffix());
        assert_eq!(suffix("a.conf"), Ok(Suffix::Conf));
        assert_eq!(suffix("a.CoNf"), Ok(Suffix::Conf));
        assert_eq!(suffix("a.b.EFI"), Ok(Suffix::Efi));
        for name in ["", "a", ".conf", "conf", "a.conf~", "a.conf ", "a.efi.bak", "a."] {
            assert_eq!(suffix(name), Err(NameError::Suffix), "{name}");
        }
    }

    #[test]
    fn refused_names() {
        let check = |name: &str, expected: &str| {
            assert_eq!(EntryName::parse(name).unwrap_err().to_string(), expected);
        };
        check("a/b.conf", "the file name contains '/' at byte 1");
        check("\\b.efi", "the file name contains '\\\\' at byte 0");
        check("a\n.conf", "the file name contains '\\n' at byte 1");
        check("a\0.conf", "the file name contains '\\0' at byte 1");
        assert!(EntryName::parse(&format!("{}.conf", "a".repeat(250))).is_ok());
        check(
            &format!("{}.conf", "a".repeat(251)),
            "the file name has 256 bytes; the specification permits 255",
        );
        check("", "the file name is not a name with the suffix .conf or .efi");
    }
}
