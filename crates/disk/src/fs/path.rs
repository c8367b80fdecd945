//! Paths.

/// Maximum length of a path in bytes.
pub const MAX_PATH_LEN: usize = 4096;

/// The components of a path from the root. Empty components and `.` have no meaning and are left out.
///
/// # Errors
///
/// [`PathError`] if the path is longer than [`MAX_PATH_LEN`], or has a NUL, a backslash or a component `..`: callers resolve `..`
/// and replace the backslashes of EFI before.
pub fn components(path: &str) -> Result<impl Iterator<Item = &str> + Clone, PathError> {
    if path.len() > MAX_PATH_LEN {
        return Err(PathError::TooLong { len: path.len() });
    }
    let forbidden = path.char_indices().find(|(_, char)| matches!(char, '\0' | '\\'));
    if let Some((position, char)) = forbidden {
        return Err(PathError::Character { char, position });
    }
    let components = path
        .split('/')
        .filter(|component| !matches!(*component, "" | "."));
    if components.clone().any(|component| component == "..") {
        return Err(PathError::Parent);
    }
    Ok(components)
}

/// A path that violates the rules of [`components`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// The path is too long.
    #[error("the path has {len} bytes, at most {MAX_PATH_LEN} are accepted")]
    TooLong {
        /// Length of the path in bytes.
        len: usize,
    },
    /// A character that paths do not have.
    #[error("the path has {char:?} at byte {position}; components are separated by '/'")]
    Character {
        /// The character.
        char: char,
        /// Position in the path in bytes.
        position: usize,
    },
    /// A component `..`.
    #[error("the path has a component \"..\"; paths begin at the root")]
    Parent,
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    #[test]
    fn paths_are_split() {
        let check = |path: &str, expected: Result<&[&str], PathError>| {
            let found = components(path).map(Iterator::collect::<Vec<_>>);
            assert_eq!(found.as_deref(), expected.as_ref().map(|path| *path), "{path:?}");
        };
        check("", Ok(&[]));
        check("/", Ok(&[]));
        check("/loader/entries", Ok(&["loader", "entries"]));
        check("a//./b/", Ok(&["a", "b"]));
        check("...", Ok(&["..."]));
        check("a/../b", Err(PathError::Parent));
        check(
            "é\\b",
            Err(PathError::Character {
                char: '\\',
                position: 2,
            }),
        );
        check(
            "a\0",
            Err(PathError::Character {
                char: '\0',
                position: 1,
            }),
        );
        check(&(" ".repeat(4095) + "/"), Ok(&[&" ".repeat(4095)]));
        check(&"a".repeat(4097), Err(PathError::TooLong { len: 4097 }));
    }
}
