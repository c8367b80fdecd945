//! Lines of configuration files: a key, white space, a value.

use core::str::Utf8Error;

/// Maximum length of a text file or text section in bytes.
pub const MAX_TEXT_LEN: usize = 64 << 10;

/// Maximum length of a line in bytes.
pub const MAX_LINE_LEN: usize = 16 << 10;

/// Error in a text file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// The file is too long.
    #[error("the text has {len} bytes; at most {MAX_TEXT_LEN} are supported")]
    TooLong {
        /// Length of the file in bytes.
        len: u64,
    },
    /// A line is too long.
    #[error("line {line} has {len} bytes; at most {MAX_LINE_LEN} are supported")]
    LineTooLong {
        /// Number of the line, from 1.
        line: usize,
        /// Its length in bytes.
        len: usize,
    },
    /// The file is not UTF-8, which the specification requires.
    #[error("line {line} is not UTF-8 text from byte {column} on")]
    NotUtf8 {
        /// Number of the line, from 1.
        line: usize,
        /// Position of the first wrong byte in the line, from 1.
        column: usize,
        /// Cause.
        source: Utf8Error,
    },
    /// The file contains a NUL character.
    #[error("line {line} has a NUL character at byte {column}; the file is not text")]
    Nul {
        /// Number of the line, from 1.
        line: usize,
        /// Position of the character in the line in bytes, from 1.
        column: usize,
    },
}

/// A line with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// Number of the line, from 1.
    pub(crate) number: usize,
    /// First word.
    pub(crate) key: &'a str,
    /// The rest without white space at its ends; may be empty.
    pub(crate) value: &'a str,
}

/// Checks the encoding and the lengths of a text, and returns it without a byte order mark.
pub(crate) fn decode(bytes: &[u8]) -> Result<&str, TextError> {
    if bytes.len() > MAX_TEXT_LEN {
        let len = boot_core::arith::to_u64(bytes.len());
        return Err(TextError::TooLong { len });
    }
    let text = match core::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(source) => {
            let (line, column) = position(bytes, source.valid_up_to());
            return Err(TextError::NotUtf8 { line, column, source });
        }
    };
    if let Some(offset) = bytes.iter().position(|byte| *byte == 0) {
        let (line, column) = position(bytes, offset);
        return Err(TextError::Nul { line, column });
    }
    for (number, line) in (1..).zip(text.split('\n')) {
        if line.len() > MAX_LINE_LEN {
            let len = line.len();
            return Err(TextError::LineTooLong { line: number, len });
        }
    }
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// Lines of a text, without empty lines and comments.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    (1..).zip(text.split('\n')).filter_map(|(number, line)| {
        let line = line.trim_matches(is_space);
        if line.is_empty() || line.starts_with('#') {
            return None;
        }
        let (key, value) = line.split_once(is_space).unwrap_or((line, ""));
        let value = value.trim_start_matches(is_space);
        Some(Line { number, key, value })
    })
}

/// White space: separates key and value, and ends lines of DOS files.
pub(crate) fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r')
}

/// Line and byte in the line of an offset, both from 1.
fn position(bytes: &[u8], offset: usize) -> (usize, usize) {
    let before = bytes.get(..offset).unwrap_or_default();
    let lines = before.split(|byte| *byte == b'\n').count();
    let start = before.iter().rposition(|byte| *byte == b'\n');
    let start = start.map_or(0, |newline| newline.saturating_add(1));
    (lines, offset.saturating_sub(start).saturating_add(1))
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;

    fn check(text: &str, expected: &[(usize, &str, &str)]) {
        let text = decode(text.as_bytes()).unwrap();
        let found: Vec<_> = lines(text).map(|l| (l.number, l.key, l.value)).collect();
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn lines_have_a_key_and_a_value() {
        check("", &[]);
        check("\n \t\r\n#a b\n  # c\n", &[]);
        check("a b", &[(1, "a", "b")]);
        check("a\n\nb  \t c d \t\r\n", &[(1, "a", ""), (3, "b", "c d")]);
        check("\ta\tb#c\r\n", &[(1, "a", "b#c")]);
        check("\u{feff}title x\n", &[(1, "title", "x")]);
        // Only these characters are white space: others may be part of a title.
        check("a\u{a0}b c\u{a0}", &[(1, "a\u{a0}b", "c\u{a0}")]);
    }

    fn check_error(bytes: &[u8], expected: &str) {
        assert_eq!(decode(bytes).unwrap_err().to_string(), expected);
    }

    #[test]
    fn errors_have_a_position() {
        check_error(b"\xff", "line 1 is not UTF-8 text from byte 1 on");
        check_error(b"a\n\nbc\xc3(\n", "line 3 is not UTF-8 text from byte 3 on");
        check_error(b"a\nb\xe2\x82", "line 2 is not UTF-8 text from byte 2 on");
        check_error(
            b"a b\n\0",
            "line 2 has a NUL character at byte 1; the file is not text",
        );
        let mut long = vec![b'\n'; 2];
        long.resize(2 + MAX_LINE_LEN, b'a');
        assert!(decode(&long).is_ok());
        long.push(b'a');
        check_error(&long, "line 3 has 16385 bytes; at most 16384 are supported");
        let mut file = vec![b'\n'; MAX_TEXT_LEN];
        assert!(decode(&file).is_ok());
        file.push(b'\n');
        check_error(&file, "the text has 65537 bytes; at most 65536 are supported");
    }
}
