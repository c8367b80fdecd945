//! `EFI_UNICODE_COLLATION_PROTOCOL`, UEFI 2.10 section 21.1, for English: letters of ASCII and Latin-1 are equal in both cases.
#![expect(unsafe_code, reason = "functions called by images")]

use alloc::vec::Vec;

use uefi_raw::Boolean;
use uefi_raw::protocol::string::UnicodeCollationProtocol;

use crate::access::{bytes, read, units, write};

type This = *const UnicodeCollationProtocol;

/// The interface.
pub(crate) fn interface() -> UnicodeCollationProtocol {
    UnicodeCollationProtocol {
        stri_coll,
        metai_match,
        str_lwr,
        str_upr,
        fat_to_str,
        str_to_fat,
        supported_languages: c"en".as_ptr().cast(),
    }
}

fn map(unit: u16, change: impl Fn(char) -> Option<char>) -> u16 {
    let letter = char::from_u32(unit.into()).and_then(change);
    letter
        .and_then(|letter| u16::try_from(u32::from(letter)).ok())
        .unwrap_or(unit)
}

/// The only letter of an iterator.
fn single(mut letters: impl Iterator<Item = char>) -> Option<char> {
    let first = letters.next()?;
    letters.next().is_none().then_some(first)
}

fn upper(unit: u16) -> u16 {
    map(unit, |letter| single(letter.to_uppercase()))
}

fn lower(unit: u16) -> u16 {
    map(unit, |letter| single(letter.to_lowercase()))
}

unsafe extern "efiapi" fn stri_coll(_: This, first: *const u16, second: *const u16) -> isize {
    // SAFETY: the caller passes texts with NUL.
    let first = unsafe { units(first) }.unwrap_or_default();
    // SAFETY: as above.
    let second = unsafe { units(second) }.unwrap_or_default();
    let (first, second) = (first.into_iter().map(upper), second.into_iter().map(upper));
    first.cmp(second) as isize
}

/// True if the text matches the pattern: `*` any text, `?` any character, `[a-z]` one of a set. The number of steps is bounded
/// by the product of the lengths.
fn matches(text: &[u16], pattern: &[u16]) -> bool {
    let (star, question, open) = (u16::from(b'*'), u16::from(b'?'), u16::from(b'['));
    let (mut at, mut next) = (0, 0);
    // Where to go on after the last star: pattern and text.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let step = match (pattern.get(next), text.get(at)) {
            (None, None) => return true,
            (Some(unit), _) if *unit == star => {
                retry = Some((next + 1, at));
                Some((next + 1, at))
            }
            (Some(unit), Some(_)) if *unit == question => Some((next + 1, at + 1)),
            (Some(unit), Some(letter)) if *unit == open => {
                set(pattern.get(next + 1..).unwrap_or(&[]), *letter).map(|len| (next + 1 + len, at + 1))
            }
            (Some(unit), Some(letter)) if upper(*unit) == upper(*letter) => Some((next + 1, at + 1)),
            _ => None,
        };
        match (step, retry) {
            (Some(step), _) => (next, at) = step,
            (None, Some((after, from))) if from < text.len() => {
                retry = Some((after, from + 1));
                (next, at) = (after, from + 1);
            }
            (None, _) => return false,
        }
    }
}

/// Length of the set with its bracket if the letter is in it.
fn set(pattern: &[u16], letter: u16) -> Option<usize> {
    let end = pattern.iter().position(|unit| *unit == u16::from(b']'))?;
    let letter = upper(letter);
    let mut items = pattern.get(..end)?;
    loop {
        items = match items {
            [] => return None,
            [low, dash, high, rest @ ..] if *dash == u16::from(b'-') => {
                if (upper(*low)..=upper(*high)).contains(&letter) {
                    return Some(end + 1);
                }
                rest
            }
            [unit, ..] if upper(*unit) == letter => return Some(end + 1),
            [_, rest @ ..] => rest,
        };
    }
}

unsafe extern "efiapi" fn metai_match(_: This, text: *const u16, pattern: *const u16) -> Boolean {
    // SAFETY: the caller passes texts with NUL.
    let text = unsafe { units(text) };
    // SAFETY: as above.
    let pattern = unsafe { units(pattern) };
    match (text, pattern) {
        (Ok(text), Ok(pattern)) => matches(&text, &pattern).into(),
        _ => Boolean::FALSE,
    }
}

unsafe fn change(text: *mut u16, change: fn(u16) -> u16) {
    let mut next = text;
    // SAFETY: the caller passes a text with NUL.
    while let Ok(unit) = unsafe { read(next) } {
        if unit == 0 {
            break;
        }
        // SAFETY: the text is writable. It was read here, so it is not null.
        let _ = unsafe { write(next, change(unit)) };
        next = next.wrapping_add(1);
    }
}

unsafe extern "efiapi" fn str_lwr(_: This, text: *mut u16) {
    // SAFETY: the contract is the same.
    unsafe { change(text, lower) };
}

unsafe extern "efiapi" fn str_upr(_: This, text: *mut u16) {
    // SAFETY: the contract is the same.
    unsafe { change(text, upper) };
}

unsafe extern "efiapi" fn fat_to_str(_: This, len: usize, source: *const u8, target: *mut u16) {
    // SAFETY: the caller passes a buffer of this size.
    let name = unsafe { bytes(source, len) }.unwrap_or(&[]);
    let name: Vec<u16> = name
        .iter()
        .take_while(|byte| **byte != 0)
        .map(|byte| u16::from(*byte))
        .collect();
    // SAFETY: the caller's buffer has room for the name and its NUL.
    let _ = unsafe { crate::access::copy_units(target, name.into_iter()) };
}

/// Characters that a short name may contain beside letters and digits.
const FAT_SYMBOLS: &[u8] = b"$%'-_@~`!(){}^#&";

unsafe extern "efiapi" fn str_to_fat(_: This, text: *const u16, len: usize, target: *mut u8) -> Boolean {
    // SAFETY: the caller passes a text with NUL.
    let text = unsafe { units(text) }.unwrap_or_default();
    let mut is_changed = false;
    let mut name = Vec::new();
    for unit in text {
        let byte = u8::try_from(upper(unit)).unwrap_or(b'_');
        let is_allowed = byte.is_ascii_alphanumeric() || FAT_SYMBOLS.contains(&byte);
        match unit {
            // Dots and spaces are left out.
            0x20 | 0x2e => continue,
            _ if !is_allowed => {
                is_changed = true;
                name.push(b'_');
            }
            _ => name.push(byte),
        }
        if name.len() == len {
            break;
        }
    }
    for (index, byte) in name.iter().enumerate() {
        // SAFETY: the caller's buffer has room for `len` bytes.
        let _ = unsafe { write(target.wrapping_add(index), *byte) };
    }
    if name.len() < len {
        // SAFETY: as above.
        let _ = unsafe { write(target.wrapping_add(name.len()), 0) };
    }
    is_changed.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_without_regard_to_case() {
        let check = |text: &str, pattern: &str, expected: bool| {
            let [text, pattern] = [text, pattern].map(|text| text.encode_utf16().collect::<Vec<_>>());
            assert_eq!(matches(&text, &pattern), expected, "{text:?} {pattern:?}");
        };
        check("", "", true);
        check("", "*", true);
        check("a", "", false);
        check("Grub.EFI", "grub.efi", true);
        check("grubx64.efi", "*.efi", true);
        check("grubx64.efi", "g*x?4*", true);
        check("grubx64.efi", "g*z*", false);
        check("f3.c", "f[0-9].[ch]", true);
        check("fa.c", "f[0-9].c", false);
        check("fB", "f[a-c]", true);
        check("f", "f[a-", false);
        check(&"a".repeat(2000), &"*a".repeat(200), true);
        check(&"a".repeat(2000), &"a*".repeat(200).replace('a', "b"), false);
    }
}
