//! A structure with its strings.

use alloc::borrow::{Cow, ToOwned as _};
use alloc::vec::Vec;

use zerocopy::little_endian::U16;
use zerocopy::{Immutable, IntoBytes};

use crate::error::SmbiosError;
use crate::raw::Header;

/// The strings of one structure (SMBIOS 3.7, section 6.1.3).
#[derive(Default)]
pub(crate) struct Strings {
    bytes: Vec<u8>,
    count: u8,
}

impl Strings {
    /// Adds a string and returns its number; 0 for none. A structure has at most five.
    pub(crate) fn add(
        &mut self,
        field: &'static str,
        text: Option<&Cow<'static, str>>,
    ) -> Result<u8, SmbiosError> {
        let Some(text) = text else {
            return Ok(0);
        };
        if text.is_empty() || text.contains(char::is_control) {
            return Err(SmbiosError::String {
                field,
                text: text.as_ref().to_owned(),
            });
        }
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
        self.count = self.count.saturating_add(1);
        Ok(self.count)
    }
}

/// Structures one after the other.
#[derive(Default)]
pub(crate) struct Structures {
    pub(crate) bytes: Vec<u8>,
    count: u16,
}

impl Structures {
    /// Adds a structure of this type; handles are consecutive.
    pub(crate) fn push(&mut self, kind: u8, body: &(impl IntoBytes + Immutable), strings: Strings) {
        let body = body.as_bytes();
        let header = Header {
            kind,
            // At most 0x1b.
            length: u8::try_from(body.len().saturating_add(size_of::<Header>())).unwrap_or(u8::MAX),
            handle: U16::new(self.count),
        };
        self.count = self.count.saturating_add(1);
        self.bytes.extend_from_slice(header.as_bytes());
        self.bytes.extend_from_slice(body);
        if strings.count == 0 {
            self.bytes.push(0);
        }
        self.bytes.extend(strings.bytes);
        self.bytes.push(0);
    }
}
