//! Paths of files on the volume of an entry.

use alloc::string::String;
use core::fmt;

/// Path of a file relative to the root of the volume that the entry is on (UAPI.1, "Type #1 Boot Loader Entry Keys").
///
/// Normalised: it starts with `/`, has no empty component, no `.` and no `..`, and does not end with a space. `Display` prints it with `/`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FilePath(String);

/// A text is not the path of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// The path has no component.
    #[error("the path names no file")]
    Empty,
    /// The path is longer than [`FilePath::MAX_LEN`].
    #[error("the path has {len} bytes; at most {} are supported", FilePath::MAX_LEN)]
    TooLong {
        /// Length of the path in bytes.
        len: usize,
    },
    /// The path has a component `..`, which could leave the volume.
    #[error("the path contains \"..\"; paths must be normalised")]
    Parent,
    /// The last component ends with a space, which a key of an entry cannot express: spaces at the end of a value have no meaning.
    #[error("the name of the file ends with a space, which entries cannot express")]
    Space,
    /// The path contains a control character.
    #[error("the path contains the control character {character:?} at byte {offset}")]
    Control {
        /// Offset in bytes.
        offset: usize,
        /// The character.
        character: char,
    },
}

impl FilePath {
    /// Maximum length in bytes.
    pub const MAX_LEN: usize = 1024;

    /// Parses a path with `/` or `\` between its components; one at the start is optional.
    ///
    /// # Errors
    ///
    /// [`PathError`].
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let len = text.len();
        if len > Self::MAX_LEN {
            return Err(PathError::TooLong { len });
        }
        if let Some((offset, character)) = text.char_indices().find(|(_, c)| c.is_control()) {
            return Err(PathError::Control { offset, character });
        }
        let mut path = String::with_capacity(len.saturating_add(1));
        for component in text.split(['/', '\\']) {
            match component {
                "" | "." => {}
                ".." => return Err(PathError::Parent),
                name => {
                    path.push('/');
                    path.push_str(name);
                }
            }
        }
        if path.is_empty() {
            return Err(PathError::Empty);
        }
        if path.ends_with(' ') {
            return Err(PathError::Space);
        }
        Ok(Self(path))
    }

    /// The path with `/`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Components from the root on: directories, then the file. There is at least one.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').skip(1)
    }

    /// The path with `\`, for file paths of EFI (UEFI 2.10, 10.3.4.4 "File Path Media Device Path").
    #[must_use]
    pub fn to_efi(&self) -> String {
        self.0.replace('/', "\\")
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn paths_are_normalised() {
        let check = |text, expected: &str| {
            let path = FilePath::parse(text).unwrap();
            assert_eq!(
                (path.as_str(), &*path.to_string()),
                (expected, expected),
                "{text}"
            );
            let components: Vec<_> = path.components().collect();
            assert_eq!(["", &components.join("/")].join("/"), expected);
            assert_eq!(path.to_efi(), expected.replace('/', "\\"));
            assert_eq!(FilePath::parse(&path.to_efi()), Ok(path));
        };
        check("/vmlinuz", "/vmlinuz");
        check("vmlinuz", "/vmlinuz");
        check("\\EFI\\Linux\\a b.efi", "/EFI/Linux/a b.efi");
        check("//a/./b//c/", "/a/b/c");
        check("...", "/...");
        check("/ä", "/ä");
    }

    #[test]
    fn refused_paths() {
        let check =
            |text: &str, expected| assert_eq!(FilePath::parse(text).unwrap_err().to_string(), expected);
        check("", "the path names no file");
        check("/./\\", "the path names no file");
        check("/a/../b", "the path contains \"..\"; paths must be normalised");
        check("..\\a", "the path contains \"..\"; paths must be normalised");
        check(
            "/a \\",
            "the name of the file ends with a space, which entries cannot express",
        );
        check(
            "/a /.",
            "the name of the file ends with a space, which entries cannot express",
        );
        check("/a\tb", "the path contains the control character '\\t' at byte 2");
        assert!(FilePath::parse(&"a".repeat(1024)).is_ok());
        check(
            &"a".repeat(1025),
            "the path has 1025 bytes; at most 1024 are supported",
        );
    }
}
