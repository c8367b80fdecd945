//! Short names, labels and the comparison of names (sections 6.1 and 7.4).

use alloc::string::String;

use crate::raw::DirectoryEntry;

/// `DIR_NTRes`: the base is in lower case.
const LOWER_BASE: u8 = 0x08;
/// `DIR_NTRes`: the extension is in lower case.
const LOWER_EXTENSION: u8 = 0x10;

/// Whether a name may have a character. The others are separators of paths, wildcards and control characters.
pub(crate) const fn is_legal(char: char) -> bool {
    !matches!(
        char,
        '\0'..='\x1f' | '"' | '*' | '/' | ':' | '<' | '>' | '?' | '\\' | '|'
    )
}

/// Whether a name has a character other than dots and spaces: `.` and `..` are directories of their own.
pub(crate) fn is_name(name: &str) -> bool {
    !name.trim_matches(['.', ' ']).is_empty()
}

/// A byte of a short name or label. Bytes outside ASCII depend on a code page that the volume does not name.
fn decode(byte: u8) -> char {
    let char = char::from(byte);
    if byte.is_ascii() && is_legal(char) && byte != 0x7f {
        char
    } else {
        char::REPLACEMENT_CHARACTER
    }
}

/// Appends the bytes up to the padding.
fn push(name: &mut String, bytes: &[u8], is_lower: bool) {
    let len = bytes
        .iter()
        .rposition(|byte| *byte != b' ')
        .map_or(0, |last| last.saturating_add(1));
    for byte in bytes.iter().take(len) {
        let byte = if is_lower {
            byte.to_ascii_lowercase()
        } else {
            *byte
        };
        name.push(decode(byte));
    }
}

/// The short name of an entry. Empty if it has none: if it would be empty, or consist of dots and spaces.
pub(crate) fn short(entry: &DirectoryEntry) -> String {
    let mut bytes = entry.name;
    if let Some(first) = bytes.first_mut().filter(|first| **first == 0x05) {
        // 0xe5 marks unused entries.
        *first = 0xe5;
    }
    let (base, extension) = bytes.split_at(8);
    let mut name = String::new();
    push(&mut name, base, entry.nt_res & LOWER_BASE != 0);
    if extension.iter().any(|byte| *byte != b' ') {
        name.push('.');
        push(&mut name, extension, entry.nt_res & LOWER_EXTENSION != 0);
    }
    if is_name(&name) { name } else { String::new() }
}

/// A label; `None` if it is empty.
pub(crate) fn label(bytes: &[u8; 11]) -> Option<String> {
    let mut label = String::new();
    push(&mut label, bytes, false);
    (!label.is_empty()).then_some(label)
}

/// Checksum of a short name in the parts of its long name (section 7.2).
pub(crate) fn checksum(name: &[u8; 11]) -> u8 {
    name.iter()
        .fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte))
}

/// Whether two names are equal without regard to case: by ASCII, and by the lower case of other characters that is one character.
pub(crate) fn equal(left: &str, right: &str) -> bool {
    left.chars().map(lower).eq(right.chars().map(lower))
}

fn lower(char: char) -> char {
    let mut lower = char.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(lower), None) => lower,
        _ => char,
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros;

    use super::*;

    #[test]
    fn short_names_are_decoded() {
        let check = |name: &[u8; 11], nt_res, expected: &str| {
            let mut entry = DirectoryEntry::new_zeroed();
            entry.name = *name;
            entry.nt_res = nt_res;
            assert_eq!(short(&entry), expected);
        };
        check(b"BOOTX64 EFI", 0, "BOOTX64.EFI");
        check(b"BOOTX64 EFI", 0x08, "bootx64.EFI");
        check(b"BOOTX64 EFI", 0x10, "BOOTX64.efi");
        check(b"BOOTX64 EFI", 0x18, "bootx64.efi");
        check(b"A          ", 0, "A");
        check(b"A B     C  ", 0, "A B.C");
        check(b"\x05\xe4A     T\x80 ", 0, "\u{fffd}\u{fffd}A.T\u{fffd}");
        check(
            b"A/B\\C:\x1f\x7f   ",
            0,
            "A\u{fffd}B\u{fffd}C\u{fffd}\u{fffd}\u{fffd}",
        );
        check(b"           ", 0, "");
        check(b"        TXT", 0, ".TXT");
        check(b"        .  ", 0, "");
        check(b"  .     ...", 0, "");
    }

    #[test]
    fn labels_may_have_spaces() {
        assert_eq!(label(b"MY ESP     ").as_deref(), Some("MY ESP"));
        assert_eq!(label(b"           "), None);
    }

    #[test]
    fn the_checksum_rotates() {
        // The sum by hand of `FOO     TXT` in C: sum = ((sum & 1) << 7) + (sum >> 1) + byte.
        let by_hand = b"FOO     TXT".iter().fold(0_u32, |sum, byte| {
            (((sum & 1) << 7) + (sum >> 1) + u32::from(*byte)) & 0xff
        });
        assert_eq!(u32::from(checksum(b"FOO     TXT")), by_hand);
        assert_eq!(checksum(b"A\0\0\0\0\0\0\0\0\0\0"), 0x41_u8.rotate_right(10));
    }

    #[test]
    fn case_does_not_matter() {
        let check = |left, right, expected| {
            assert_eq!(equal(left, right), expected, "{left} and {right}");
            assert_eq!(equal(right, left), expected, "{right} and {left}");
        };
        check("vmlinuz.EFI", "VMLINUZ.efi", true);
        check("vmlinuz", "vmlinuz.efi", false);
        check("größe Ω", "GRÖßE ω", true);
        check("ß", "SS", false);
        check("İ", "i", false);
        check("a", "à", false);
    }
}
