//! Order of versions (UAPI.10 Version Format Specification 1.0).

use core::cmp::Ordering;

/// Compares two version strings ("Version Comparison" of the Version Format Specification).
///
/// After two equal separators, the comparison continues at the first point of the specification. Thus this is a total
/// preorder: strings that differ in ignored characters only, such as `1_` and `1`, are equal.
///
/// ```
/// use std::cmp::Ordering;
///
/// assert_eq!(bls::compare_versions("6.12.9", "6.12.10"), Ordering::Less);
/// assert_eq!(bls::compare_versions("6.13~rc1", "6.13"), Ordering::Less);
/// assert_eq!(bls::compare_versions("6.13-1^fix", "6.13-1"), Ordering::Greater);
/// ```
#[must_use]
pub fn compare_versions(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        a = skip_ignored(a);
        b = skip_ignored(b);
        let (class_a, class_b) = (class(a), class(b));
        let order = class_a.cmp(&class_b);
        if order != Ordering::Equal || class_a == Class::End {
            return order;
        }
        let order = if class_a != Class::Component {
            (a, b) = (skip(a, 1), skip(b, 1));
            Ordering::Equal
        } else if starts_with_digit(a) || starts_with_digit(b) {
            compare_prefixes(&mut a, &mut b, u8::is_ascii_digit, compare_numbers)
        } else {
            compare_prefixes(&mut a, &mut b, u8::is_ascii_alphabetic, Ord::cmp)
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// What the rest of a version starts with, in ascending order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    /// A suffix that sorts lower than its absence.
    Tilde,
    End,
    Minus,
    /// A suffix that sorts higher than its absence.
    Caret,
    Dot,
    /// A number or letters.
    Component,
}

fn class(rest: &[u8]) -> Class {
    match rest.first() {
        None => Class::End,
        Some(b'~') => Class::Tilde,
        Some(b'-') => Class::Minus,
        Some(b'^') => Class::Caret,
        Some(b'.') => Class::Dot,
        Some(_) => Class::Component,
    }
}

fn skip_ignored(rest: &[u8]) -> &[u8] {
    let is_used = |byte: &u8| byte.is_ascii_alphanumeric() || b"-.~^".contains(byte);
    let at = rest.iter().position(is_used).unwrap_or(rest.len());
    skip(rest, at)
}

fn skip(rest: &[u8], len: usize) -> &[u8] {
    rest.get(len..).unwrap_or_default()
}

fn starts_with_digit(rest: &[u8]) -> bool {
    rest.first().is_some_and(u8::is_ascii_digit)
}

/// Removes the leading bytes of a kind from both strings and compares them.
fn compare_prefixes(
    a: &mut &[u8],
    b: &mut &[u8],
    is_kind: impl Fn(&u8) -> bool,
    compare: impl Fn(&[u8], &[u8]) -> Ordering,
) -> Ordering {
    let split = |rest: &mut &[u8]| -> usize {
        let len = rest.iter().position(|byte| !is_kind(byte)).unwrap_or(rest.len());
        *rest = skip(rest, len);
        len
    };
    let (whole_a, whole_b) = (*a, *b);
    let prefix_a = whole_a.get(..split(a)).unwrap_or_default();
    let prefix_b = whole_b.get(..split(b)).unwrap_or_default();
    compare(prefix_a, prefix_b)
}

/// Compares decimal numbers of any length; an empty one is zero.
fn compare_numbers(a: &[u8], b: &[u8]) -> Ordering {
    let significant = |digits| -> &[u8] {
        let digits: &[u8] = digits;
        let at = digits.iter().position(|digit| *digit != b'0');
        skip(digits, at.unwrap_or(digits.len()))
    };
    let (a, b) = (significant(a), significant(b));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(a: &str, expected: &str, b: &str) {
        let (forward, backward) = match expected {
            "<" => (Ordering::Less, Ordering::Greater),
            ">" => (Ordering::Greater, Ordering::Less),
            _ => (Ordering::Equal, Ordering::Equal),
        };
        assert_eq!(compare_versions(a, b), forward, "{a:?} {expected} {b:?}");
        assert_eq!(
            compare_versions(b, a),
            backward,
            "{a:?} {expected} {b:?}, reversed"
        );
    }

    /// "Examples" of the specification, in its order.
    #[test]
    fn examples_of_the_specification() {
        check("11", "==", "11");
        check("systemd-123", "==", "systemd-123");
        check("bar-123", "<", "foo-123");
        check("123a", ">", "123");
        check("123.a", ">", "123");
        check("123.a", "<", "123.b");
        check("123a", ">", "123.a");
        check("11α", "==", "11β");
        check("B", "<", "a");
        check("", "<", "0");
        check("0.", ">", "0");
        check("0.0", ">", "0");
        check("0", ">", "~");
        check("", ">", "~");
        check("1_", "==", "1");
        check("_1", "==", "1");
        check("1_", "<", "1.2");
        check("1_2_3", ">", "1.3.3");
        check("1+", "==", "1");
        check("+1", "==", "1");
        check("1+", "<", "1.2");
        check("1+2+3", ">", "1.3.3");
        let ascending = [
            "122.1",
            "123~rc1-1",
            "123",
            "123-a",
            "123-a.1",
            "123-1",
            "123-1.1",
            "123^post1",
            "123.a-1",
            "123.1-1",
            "123a-1",
            "124-1",
        ];
        for (at, a) in ascending.iter().enumerate() {
            for (other, b) in ascending.iter().enumerate() {
                assert_eq!(compare_versions(a, b), at.cmp(&other), "{a} and {b}");
            }
        }
    }

    #[test]
    fn kernels_and_odd_strings() {
        check("6.12.9-amd64", "<", "6.12.10-amd64");
        check("6.1.0-13-amd64", ">", "6.1.0-9-amd64");
        check("5.14.0-427.el9", "<", "5.14.0-427.13.1.el9_4");
        check("debian-6.12+0-3", ">", "debian-6.12");
        check("007", "==", "7");
        check("0", "==", "00");
        check("a", "==", "0a");
        check("18446744073709551616", ">", "18446744073709551615");
        check("99999999999999999999999", "<", "100000000000000000000000");
        check("1~~", "<", "1~");
        check("1~_~", "<", "1~");
        check("1-_-", ">", "1-");
        check("1^^", ">", "1^");
        check("ab", "<", "abc");
        check("ab1", "<", "abc");
        check("ä", "==", "");
    }
}
