//! Guest memory as a plan will leave it, read by address, without writing it.

use boot_core::{BootPlan, LoadContent};

/// The bytes that the plan itself brings.
pub(crate) struct View<'a>(pub(crate) &'a BootPlan);

impl View<'_> {
    /// `len` bytes at `addr`, which one load of bytes must hold.
    pub(crate) fn bytes(&self, addr: u64, len: u64) -> Result<&[u8], String> {
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

    /// A little-endian number of `len` bytes.
    pub(crate) fn number(&self, addr: u64, len: u64) -> Result<u64, String> {
        let bytes = self.bytes(addr, len)?;
        Ok(bytes
            .iter()
            .rev()
            .fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// The bytes at `addr` up to a zero.
    pub(crate) fn string(&self, addr: u64) -> Result<Vec<u8>, String> {
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
