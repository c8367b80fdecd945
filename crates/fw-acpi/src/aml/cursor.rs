//! Bytes of a definition block, and the names and lengths in them.

use alloc::string::String;

/// Prefix of opcodes of two bytes.
const EXTENDED: u8 = 0x5b;
/// Prefixes of names (section 20.2.2).
const ROOT: u8 = b'\\';
const PARENT: u8 = b'^';
const DUAL: u8 = 0x2e;
const MULTI: u8 = 0x2f;
/// Longest path that is built.
const MAX_PATH: usize = 1024;

/// The bytes do not have the form that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Bytes that are read from the front.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes that were not read.
    pub(super) const fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.bytes.split_at_checked(len).ok_or(Malformed)?;
        self.bytes = rest;
        Ok(taken)
    }

    pub(super) fn skip(&mut self, len: usize) -> Result<(), Malformed> {
        self.take(len).map(|_| ())
    }

    pub(super) fn byte(&mut self) -> Result<u8, Malformed> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (array, rest) = self.bytes.split_first_chunk().ok_or(Malformed)?;
        self.bytes = rest;
        Ok(*array)
    }

    /// Reads an opcode; one with the prefix 0x5b has it as its upper byte.
    pub(super) fn opcode(&mut self) -> Result<u16, Malformed> {
        match self.byte()? {
            EXTENDED => Ok(u16::from_be_bytes([EXTENDED, self.byte()?])),
            byte => Ok(byte.into()),
        }
    }

    /// Reads a `PkgLength` (section 20.2.4), and returns the bytes of the package after it.
    pub(super) fn package(&mut self) -> Result<Self, Malformed> {
        let before = self.bytes.len();
        let lead = self.byte()?;
        let further = lead >> 6;
        // With further bytes, the first has the lowest four bits, and bits 4 and 5 are zero.
        let mut len = usize::from(if further == 0 { lead & 0x3f } else { lead & 0x0f });
        for shift in [4_u32, 12, 20].into_iter().take(further.into()) {
            len |= usize::from(self.byte()?) << shift;
        }
        // The length contains its own bytes.
        let own = before.saturating_sub(self.bytes.len());
        self.take(len.checked_sub(own).ok_or(Malformed)?).map(Self::new)
    }

    /// Reads a `NameString` (section 20.2.2), and returns its path, which begins at the root. `scope` is the path that it is in.
    pub(super) fn name(&mut self, scope: &str) -> Result<String, Malformed> {
        let mut path = String::from(scope);
        loop {
            match self.bytes.first() {
                Some(&ROOT) => {
                    path.truncate(1);
                    self.skip(1)?;
                }
                Some(&PARENT) => {
                    // The parent of the root is not defined.
                    let end = path.rfind(['.', '\\']).ok_or(Malformed)?;
                    if path.len() == 1 {
                        return Err(Malformed);
                    }
                    path.truncate(end.max(1));
                    self.skip(1)?;
                }
                _ => break,
            }
        }
        let count = match self.bytes.first() {
            Some(0) => {
                self.skip(1)?;
                0
            }
            Some(&DUAL) => {
                self.skip(1)?;
                2
            }
            Some(&MULTI) => {
                self.skip(1)?;
                self.byte()?
            }
            _ => 1,
        };
        for _ in 0..count {
            let segment = self.array::<4>()?;
            let [lead, rest @ ..] = segment;
            let is_lead = |byte: u8| byte.is_ascii_uppercase() || byte == b'_';
            if !is_lead(lead) || !rest.iter().all(|byte| is_lead(*byte) || byte.is_ascii_digit()) {
                return Err(Malformed);
            }
            if path.len() > MAX_PATH {
                return Err(Malformed);
            }
            if path.len() > 1 {
                path.push('.');
            }
            path.extend(segment.map(char::from));
        }
        Ok(path)
    }
}
