//! Splitting a command line into words, and a word into key and value, as the kernel does.
//!
//! The rules are those of `next_arg` and `isspace` in the kernel's `lib/cmdline.c` and `lib/ctype.c`.

use alloc::string::String;
use core::mem;
use core::str::CharIndices;

use crate::error::{CmdlineError, CmdlinePart};

/// The word that ends the kernel's parameters and starts init's arguments.
pub(crate) const SEPARATOR: &str = "--";

/// One word of a command line in its exact spelling.
pub(crate) struct Token {
    /// Its offset in the line, in bytes.
    pub(crate) offset: usize,
    /// Its characters, with all quotes.
    pub(crate) text: String,
}

/// The words of a line. Ends after an error.
pub(crate) struct Tokens<'a> {
    chars: CharIndices<'a>,
}

impl<'a> Tokens<'a> {
    pub(crate) fn new(line: &'a str) -> Self {
        Self {
            chars: line.char_indices(),
        }
    }

    fn next_token(&mut self) -> Result<Option<Token>, CmdlineError> {
        let part = CmdlinePart::Line;
        let mut token = Token {
            offset: 0,
            text: String::new(),
        };
        let mut open_quote = None;
        for (offset, character) in self.chars.by_ref() {
            if open_quote.is_none() && is_separating(character) {
                if token.text.is_empty() {
                    continue;
                }
                return Ok(Some(token));
            }
            if character.is_control() {
                return Err(CmdlineError::ControlCharacter {
                    part,
                    offset,
                    character,
                });
            }
            if open_quote.is_none() && has_space_byte(character) {
                return Err(CmdlineError::SpaceByte {
                    part,
                    offset,
                    character,
                });
            }
            if character == '"' {
                // A quote in the middle of a word counts, too.
                open_quote = if open_quote.is_none() { Some(offset) } else { None };
            }
            if token.text.is_empty() {
                token.offset = offset;
            }
            token.text.push(character);
        }
        match open_quote {
            Some(offset) => Err(CmdlineError::UnbalancedQuote { offset }),
            None if token.text.is_empty() => Ok(None),
            None => Ok(Some(token)),
        }
    }
}

impl Iterator for Tokens<'_> {
    type Item = Result<Token, CmdlineError>;

    fn next(&mut self) -> Option<Self::Item> {
        let token = self.next_token();
        if token.is_err() {
            self.chars = "".char_indices();
        }
        token.transpose()
    }
}

/// Whether `character` separates words: the kernel's `isspace` below 0x80.
fn is_separating(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\n' | '\x0b' | '\x0c' | '\r')
}

/// Whether the UTF-8 encoding of `character` has the byte 0xA0.
///
/// The kernel's `isspace` works on bytes and includes the no-break space of Latin-1, so it splits `à` (0xC3 0xA0).
pub(crate) fn has_space_byte(character: char) -> bool {
    character
        .encode_utf8(&mut [0; 4])
        .bytes()
        .any(|byte| byte == 0xa0)
}

/// The keys of the kernel's parameters in a line that may not follow the rules: those of the words before the first `--`. A quote that
/// is not closed reaches to the end.
pub(crate) fn raw_keys(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut is_quoted = false;
    let words = line.split(move |byte| {
        is_quoted ^= *byte == b'"';
        !is_quoted && matches!(byte, b' ' | b'\t'..=b'\r' | 0xa0)
    });
    words
        .take_while(|word| raw_key(word) != SEPARATOR.as_bytes() || word.contains(&b'='))
        .map(raw_key)
}

/// The key of a word, without quotes around the word.
fn raw_key(word: &[u8]) -> &[u8] {
    let (body, is_quoted) = match word.strip_prefix(b"\"") {
        Some(body) => (body, true),
        None => (word, false),
    };
    match body.iter().skip(1).position(|byte| *byte == b'=') {
        // The first byte was skipped.
        Some(at) => body.get(..=at).unwrap_or(body),
        None if is_quoted => body.strip_suffix(b"\"").unwrap_or(body),
        None => body,
    }
}

/// Whether two keys are equal for the kernel, where `-` and `_` are.
pub(crate) fn is_same_key(one: &[u8], other: &[u8]) -> bool {
    let fold = |byte: &u8| if *byte == b'-' { b'_' } else { *byte };
    one.iter().map(fold).eq(other.iter().map(fold))
}

/// Whether `text` must be quoted to be one word.
pub(crate) fn needs_quotes(text: &str) -> bool {
    text.chars()
        .any(|character| character == ' ' || has_space_byte(character))
}

/// Key and value of the word `raw`, as the kernel splits it.
pub(crate) fn split(raw: &str) -> (&str, Option<&str>) {
    let (body, quoted) = match raw.strip_prefix('"') {
        Some(body) => (body, true),
        None => (raw, false),
    };
    // A `=` as the first character is part of the key.
    let mut first = true;
    let Some((key, value)) = body.split_once(|c| !mem::take(&mut first) && c == '=') else {
        let key = if quoted { without_closing_quote(body) } else { body };
        return (key, None);
    };
    let value = match value.strip_prefix('"') {
        Some(value) => without_closing_quote(value),
        None if quoted => without_closing_quote(value),
        None => value,
    };
    (key, Some(value))
}

fn without_closing_quote(text: &str) -> &str {
    text.strip_suffix('"').unwrap_or(text)
}

/// Whether the kernel takes the word `raw` for the separator: `parse_args` compares the word without its quotes.
pub(crate) fn is_separator(raw: &str) -> bool {
    split(raw) == (SEPARATOR, None)
}

/// Refuses control characters and quotes.
pub(crate) fn check_text(part: CmdlinePart, text: &str) -> Result<(), CmdlineError> {
    for (offset, character) in text.char_indices() {
        if character.is_control() {
            return Err(CmdlineError::ControlCharacter {
                part,
                offset,
                character,
            });
        }
        if character == '"' {
            return Err(CmdlineError::Quote { part, offset });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_split_as_the_kernel_splits_them() {
        let cases = [
            ("quiet", "quiet", None),
            ("a=b", "a", Some("b")),
            ("a=", "a", Some("")),
            ("a=b=c", "a", Some("b=c")),
            ("=", "=", None),
            ("=a", "=a", None),
            ("=a=b", "=a", Some("b")),
            ("==", "=", Some("")),
            ("a=\"b c\"", "a", Some("b c")),
            ("a=\"\"", "a", Some("")),
            ("\"a=b c\"", "a", Some("b c")),
            ("\"a=\"", "a", Some("")),
            ("\"a b\"", "a b", None),
            ("\"\"", "", None),
            ("a=b\"c d\"", "a", Some("b\"c d\"")),
            ("a=\"b\"c", "a", Some("b\"c")),
            ("a=\"b\"\"c\"", "a", Some("b\"\"c")),
            ("\"a=\"b\"\"", "a", Some("b\"")),
            ("a\" \"b=c", "a\" \"b", Some("c")),
            ("\"a\"b", "a\"b", None),
            ("\"\"=x", "\"", Some("x")),
            ("--=x", "--", Some("x")),
            ("é=ü", "é", Some("ü")),
        ];
        for (raw, key, value) in cases {
            assert_eq!(split(raw), (key, value), "{raw}");
        }
    }

    #[test]
    fn a_word_is_the_separator_without_its_quotes() {
        let cases = [
            ("--", true),
            ("\"--\"", true),
            ("a=\"b -- c\"", false),
            ("\"a -- b\"", false),
            ("a=--", false),
            ("--=", false),
            ("--a", false),
            ("---", false),
            ("\"\"--", false),
        ];
        for (word, expected) in cases {
            assert_eq!(is_separator(word), expected, "{word}");
        }
    }
}
