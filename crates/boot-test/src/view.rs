//! The bytes of a plan, read by guest address.

use boot_core::{BootPlan, LoadContent};

/// The loads of a plan whose content is bytes.
#[derive(Debug)]
pub struct View<'a>(pub &'a BootPlan);

impl View<'_> {
    /// `len` bytes at `addr`.
    ///
    /// # Errors
    ///
    /// A message unless one load has all these bytes.
    ///
    /// # Panics
    ///
    /// If an offset in a load does not fit `usize`.
    pub fn bytes(&self, addr: u64, len: u64) -> Result<&[u8], String> {
        for load in self.0.loads() {
            let LoadContent::Bytes(bytes) = &load.content else {
                continue;
            };
            let offset = match addr.checked_sub(load.range.start()) {
                Some(offset) if offset < load.range.len() => offset,
                _ => continue,
            };
            let (start, end) = (
                usize::try_from(offset),
                usize::try_from(offset.saturating_add(len)),
            );
            return bytes.get(start.unwrap()..end.unwrap()).ok_or(format!(
                "{len:#x} bytes at {addr:#x} reach out of the {}",
                load.label
            ));
        }
        Err(format!("nothing was written at {addr:#x}"))
    }

    /// The little-endian number of `len` bytes at `addr`.
    ///
    /// # Errors
    ///
    /// As for [`bytes`](Self::bytes).
    pub fn number(&self, addr: u64, len: u64) -> Result<u64, String> {
        let bytes = self.bytes(addr, len)?;
        Ok(bytes
            .iter()
            .rev()
            .fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// The bytes from `addr` up to the first NUL.
    ///
    /// # Errors
    ///
    /// As for [`bytes`](Self::bytes).
    pub fn string(&self, addr: u64) -> Result<Vec<u8>, String> {
        let mut string = Vec::new();
        for at in addr.. {
            match self.number(at, 1)? {
                0 => break,
                _ => string.extend_from_slice(self.bytes(at, 1)?),
            }
        }
        Ok(string)
    }
}
