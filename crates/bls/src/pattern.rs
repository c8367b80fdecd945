//! Patterns of `default` in loader.conf (glob, POSIX 2.13 "Pattern Matching Notation").

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// Pattern for names of entries: `*` any characters, `?` one character, `[a-z]` one of a set, `[!a-z]` or `[^a-z]` one that is
/// not in a set, `\` before a character without its meaning. A `[` without `]` stands for itself. ASCII letters match in either
/// case, as names on FAT do.
///
/// A comparison takes at most the length of the pattern times the length of the name in steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    tokens: Vec<Token>,
}

/// A pattern is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the pattern has {len} bytes; at most {} are supported, the length of a file name",
    Pattern::MAX_LEN
)]
#[non_exhaustive]
pub struct PatternError {
    /// Length of the pattern in bytes.
    pub len: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// `*`
    AnyText,
    /// `?`
    AnyChar,
    Char(char),
    Set {
        is_negated: bool,
        /// First and last character.
        ranges: Vec<(char, char)>,
    },
}

impl Pattern {
    /// Maximum length in bytes.
    pub const MAX_LEN: usize = 255;

    /// Parses a pattern. Every text is one.
    ///
    /// # Errors
    ///
    /// [`PatternError`] for more than [`MAX_LEN`](Self::MAX_LEN) bytes.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.len() > Self::MAX_LEN {
            return Err(PatternError { len: text.len() });
        }
        let (mut tokens, mut rest) = (Vec::new(), text.chars());
        while let Some(c) = rest.next() {
            let token = match c {
                '*' => Token::AnyText,
                '?' => Token::AnyChar,
                '\\' => Token::Char(rest.next().unwrap_or('\\')),
                '[' => match parse_set(rest.as_str()) {
                    Some((set, after)) => {
                        rest = after.chars();
                        set
                    }
                    None => Token::Char('['),
                },
                c => Token::Char(c),
            };
            // Two stars are like one.
            if token != Token::AnyText || tokens.last() != Some(&Token::AnyText) {
                tokens.push(token);
            }
        }
        let text = text.to_owned();
        Ok(Self { text, tokens })
    }

    /// The text of the pattern.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// True if the pattern matches the whole of `name`.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let mut at = 0_usize;
        let mut rest = name.chars();
        // The last `*`: the token after it, and where that was tried first. Only the last one has to be tried again, because
        // what is before it has matched as early as possible.
        let mut retry: Option<(usize, core::str::Chars<'_>)> = None;
        loop {
            let token = self.tokens.get(at);
            let before = rest.clone();
            match (token, rest.next()) {
                (None, None) => return true,
                (Some(Token::AnyText), _) => {
                    rest = before;
                    at = at.saturating_add(1);
                    retry = Some((at, rest.clone()));
                    continue;
                }
                (Some(token), Some(c)) if token.matches(c) => {
                    at = at.saturating_add(1);
                    continue;
                }
                (Some(_), None) => return false,
                _ => {}
            }
            let Some((after_star, mut tried)) = retry else {
                return false;
            };
            if tried.next().is_none() {
                return false;
            }
            (at, rest) = (after_star, tried.clone());
            retry = Some((after_star, tried));
        }
    }
}

impl Token {
    fn matches(&self, c: char) -> bool {
        match self {
            Self::AnyText | Self::AnyChar => true,
            Self::Char(expected) => expected.eq_ignore_ascii_case(&c),
            Self::Set { is_negated, ranges } => {
                let variants = [c, c.to_ascii_lowercase(), c.to_ascii_uppercase()];
                let is_in_set = ranges
                    .iter()
                    .any(|(first, last)| variants.iter().any(|c| (first..=last).contains(&c)));
                is_in_set != *is_negated
            }
        }
    }
}

/// Parses a set after its `[`. Returns it and what follows its `]`, or `None` without a `]`.
fn parse_set(text: &str) -> Option<(Token, &str)> {
    let negated = text.strip_prefix(['!', '^']);
    let mut rest = negated.unwrap_or(text).chars();
    let mut ranges = Vec::new();
    loop {
        let first = match rest.next()? {
            // A `]` at the start is a member.
            ']' if !ranges.is_empty() => break,
            '\\' => rest.next()?,
            c => c,
        };
        let mut after = rest.clone();
        let last = match (after.next(), after.next()) {
            (Some('-'), Some('\\')) => after.next()?,
            // A `-` at the end is a member.
            (Some('-'), Some(last)) if last != ']' => last,
            _ => {
                ranges.push((first, first));
                continue;
            }
        };
        rest = after;
        ranges.push((first, last));
    }
    let is_negated = negated.is_some();
    Some((Token::Set { is_negated, ranges }, rest.as_str()))
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    fn check(pattern: &str, matching: &[&str], others: &[&str]) {
        let compiled = Pattern::parse(pattern).unwrap();
        for name in matching {
            assert!(compiled.matches(name), "{pattern} matches {name}");
        }
        for name in others {
            assert!(!compiled.matches(name), "{pattern} does not match {name}");
        }
        assert_eq!(
            (compiled.as_str(), compiled.to_string().as_str()),
            (pattern, pattern)
        );
    }

    #[test]
    fn patterns() {
        check("", &[""], &["a"]);
        check("*", &["", "a", "a.conf"], &[]);
        check("**", &["", "a"], &[]);
        check(
            "debian-*.conf",
            &["debian-6.conf", "DEBIAN-.CONF"],
            &["debian.conf", "debian-6.conf~"],
        );
        check("a*b*c", &["abc", "aXbYc", "abcbc"], &["abcb", "ac", ""]);
        check("?", &["a", "ä"], &["", "ab"]);
        check("a?c", &["abc"], &["ac", "abbc"]);
        check("*?", &["a", "ab"], &[""]);
        check("*a?", &["xab", "aab", "aa"], &["a", "xa"]);
    }

    #[test]
    fn sets() {
        // This pattern crashes a known firmware.
        check("[a]", &["a", "A"], &["b", "", "[a]", "aa"]);
        check("[a-cX]", &["b", "c", "x", "X", "B"], &["d", "-"]);
        check("[!a-c]", &["d", "-", "]"], &["a", "B", ""]);
        check("[^a]b", &["bb"], &["ab", "b"]);
        check("[]a]", &["]", "a"], &["[", ""]);
        check("[!]]", &["a"], &["]"]);
        check("[a-]", &["a", "-"], &["b"]);
        check("[\\]]x", &["]x"], &["\\x"]);
        check("[a-\\]]", &[], &["a", "b"]);
        check("[Y-\\[]", &["Y", "z", "["], &["x", "\\"]);
        check("[z-a]", &[], &["a", "m", "z"]);
        check("*[0-9].conf", &["a1.conf"], &["a.conf", "1conf"]);
    }

    #[test]
    fn literals() {
        check("[", &["["], &["a", ""]);
        check("[a", &["[a", "[A"], &["a"]);
        check("a[!", &["a[!"], &["a"]);
        check("[\\", &["[\\"], &[]);
        check("[a-\\", &["[a-\\"], &[]);
        check("\\*", &["*"], &["a", "\\*"]);
        check("a\\", &["a\\"], &["a"]);
        check("]", &["]"], &[]);
    }

    #[test]
    fn long_patterns_are_refused() {
        assert!(Pattern::parse(&"*".repeat(255)).is_ok());
        let error = Pattern::parse(&"*".repeat(256)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the pattern has 256 bytes; at most 255 are supported, the length of a file name"
        );
    }
}
