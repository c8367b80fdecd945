//! Text input: bytes of a terminal to keys.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// A key of `EFI_INPUT_KEY`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) scan_code: u16,
    pub(crate) unicode: u16,
}

impl Key {
    const fn scan(scan_code: u16) -> Self {
        Self {
            scan_code,
            unicode: 0,
        }
    }

    const fn letter(unicode: u16) -> Self {
        Self {
            scan_code: 0,
            unicode,
        }
    }
}

/// Scan code of the key Escape.
const ESCAPE: u16 = 0x17;
/// Time after which an escape byte is the key and no sequence, in units of 100 ns.
const ESCAPE_TIME: u64 = 500_000;
/// Keys and bytes that wait; later ones are dropped.
const MAX_WAITING: usize = 256;
const MAX_SEQUENCE: usize = 8;

/// Decoder of a terminal's input.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keys {
    ready: VecDeque<Key>,
    /// Keys that nobody was notified of.
    fresh: VecDeque<Key>,
    /// Bytes of a sequence that is not complete, and when its last byte came.
    partial: Vec<u8>,
    last: u64,
}

impl Keys {
    pub(crate) const fn new() -> Self {
        Self {
            ready: VecDeque::new(),
            fresh: VecDeque::new(),
            partial: Vec::new(),
            last: 0,
        }
    }

    pub(crate) fn clear(&mut self) {
        self.ready.clear();
        self.partial.clear();
    }

    /// Adds a byte that came at a time in units of 100 ns.
    pub(crate) fn push(&mut self, byte: u8, now: u64) {
        self.expire(now);
        self.last = now;
        self.partial.push(byte);
        match decode(&self.partial) {
            Decoded::Partial if self.partial.len() < MAX_SEQUENCE => (),
            Decoded::Key(key) => {
                self.partial.clear();
                self.add(key);
            }
            Decoded::Partial | Decoded::Unknown => self.partial.clear(),
        }
    }

    /// The keys that came since the last call.
    pub(crate) fn take_fresh(&mut self, now: u64) -> VecDeque<Key> {
        self.expire(now);
        core::mem::take(&mut self.fresh)
    }

    /// The next key.
    pub(crate) fn pop(&mut self, now: u64) -> Option<Key> {
        self.expire(now);
        self.ready.pop_front()
    }

    /// True if there is a key.
    pub(crate) fn is_ready(&mut self, now: u64) -> bool {
        self.expire(now);
        !self.ready.is_empty()
    }

    /// Ends a sequence that does not go on: a lone escape byte is the key Escape.
    fn expire(&mut self, now: u64) {
        if self.partial.is_empty() || now.saturating_sub(self.last) < ESCAPE_TIME {
            return;
        }
        if self.partial == [0x1b] {
            self.add(Key::scan(ESCAPE));
        }
        self.partial.clear();
    }

    fn add(&mut self, key: Key) {
        for queue in [&mut self.ready, &mut self.fresh] {
            if queue.len() < MAX_WAITING {
                queue.push_back(key);
            }
        }
    }
}

enum Decoded {
    Partial,
    Unknown,
    Key(Key),
}

fn decode(bytes: &[u8]) -> Decoded {
    match bytes {
        [0x1b] | [0x1b, b'[' | b'O'] => Decoded::Partial,
        [0x1b, b'[', digits @ .., b'~'] => match number(digits).and_then(numbered) {
            Some(scan_code) => Decoded::Key(Key::scan(scan_code)),
            None => Decoded::Unknown,
        },
        [0x1b, b'[', digits @ ..] if digits.iter().all(u8::is_ascii_digit) => Decoded::Partial,
        [0x1b, b'[' | b'O', last] => match lettered(*last) {
            Some(scan_code) => Decoded::Key(Key::scan(scan_code)),
            None => Decoded::Unknown,
        },
        // An escape byte before something else was the key.
        [0x1b, ..] => Decoded::Unknown,
        [0x7f] => Decoded::Key(Key::letter(8)),
        [0x0a] => Decoded::Key(Key::letter(0x0d)),
        [byte] if byte.is_ascii() => Decoded::Key(Key::letter(u16::from(*byte))),
        _ => match core::str::from_utf8(bytes) {
            Ok(text) => match text.encode_utf16().next() {
                Some(unit) if text.encode_utf16().count() == 1 => Decoded::Key(Key::letter(unit)),
                _ => Decoded::Unknown,
            },
            Err(error) if error.error_len().is_none() => Decoded::Partial,
            Err(_) => Decoded::Unknown,
        },
    }
}

fn number(digits: &[u8]) -> Option<u32> {
    core::str::from_utf8(digits).ok()?.parse().ok()
}

/// Scan code of `ESC [ letter` and `ESC O letter`.
const fn lettered(letter: u8) -> Option<u16> {
    Some(match letter {
        b'A' => 1,
        b'B' => 2,
        b'C' => 3,
        b'D' => 4,
        b'H' => 5,
        b'F' => 6,
        b'P' => 0x0b,
        b'Q' => 0x0c,
        b'R' => 0x0d,
        b'S' => 0x0e,
        _ => return None,
    })
}

/// Scan code of `ESC [ number ~`.
const fn numbered(number: u32) -> Option<u16> {
    Some(match number {
        1 | 7 => 5,
        2 => 7,
        3 => 8,
        4 | 8 => 6,
        5 => 9,
        6 => 0x0a,
        11 => 0x0b,
        12 => 0x0c,
        13 => 0x0d,
        14 => 0x0e,
        15 => 0x0f,
        17 => 0x10,
        18 => 0x11,
        19 => 0x12,
        20 => 0x13,
        21 => 0x14,
        23 => 0x15,
        24 => 0x16,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_keys() {
        let check = |bytes: &[u8], expected: &[(u16, u16)]| {
            let mut keys = Keys::new();
            for byte in bytes {
                keys.push(*byte, 0);
            }
            let mut found = Vec::new();
            while let Some(key) = keys.pop(ESCAPE_TIME) {
                found.push((key.scan_code, key.unicode));
            }
            assert_eq!(found, expected, "{bytes:x?}");
        };
        check(b"a\r\n\x7f", &[(0, 0x61), (0, 0x0d), (0, 0x0d), (0, 8)]);
        check(b"\x1b[A\x1b[B\x1bOP", &[(1, 0), (2, 0), (0x0b, 0)]);
        check(b"\x1b[3~\x1b[24~", &[(8, 0), (0x16, 0)]);
        check(b"\x1b", &[(ESCAPE, 0)]);
        check(b"\x1b[99~x", &[(0, 0x78)]);
        check(b"\x1b[12345678y", &[(0, 0x37), (0, 0x38), (0, 0x79)]);
        check("é€".as_bytes(), &[(0, 0xe9), (0, 0x20ac)]);
        check("\u{1f600}a".as_bytes(), &[(0, 0x61)]);
        check(b"\xff\x80a", &[(0, 0x61)]);
    }

    #[test]
    fn the_queue_is_bounded_and_escape_waits() {
        let mut keys = Keys::new();
        keys.push(0x1b, 100);
        assert!(!keys.is_ready(100 + ESCAPE_TIME - 1));
        assert!(keys.is_ready(100 + ESCAPE_TIME));
        for _ in 0..1000 {
            keys.push(b'x', 200 + ESCAPE_TIME);
        }
        assert_eq!(keys.ready.len(), MAX_WAITING);
        keys.clear();
        assert_eq!(keys.pop(0), None);
    }
}
