//! The checksum of a PE file.
//!
//! Microsoft's specification leaves the algorithm to IMAGHELP.DLL. It is the Internet checksum (RFC 1071) over the file as
//! 16-bit little-endian words, without the complement, plus the length of the file; the field itself counts as zero.

use boot_core::{ReadError, SizedSource, arith};

/// How much is read at a time; even, so that no word is cut.
const CHUNK: usize = 4096;

/// The checksum of a file whose field is at `field`.
pub(super) fn compute(source: &SizedSource<'_>, field: u64) -> Result<u32, ReadError> {
    let field_end = field.saturating_add(4);
    let mut chunk = [0; CHUNK];
    let (mut sum, mut offset) = (0_u64, 0);
    while offset < source.len() {
        // Beyond the end of the file, words are zero.
        chunk.fill(0);
        let read = arith::to_u64(source.read_prefix_at(offset, &mut chunk)?);
        let end = offset.saturating_add(read);
        for at in field.max(offset)..field_end.min(end) {
            let index = usize::try_from(at.saturating_sub(offset)).ok();
            if let Some(byte) = index.and_then(|index| chunk.get_mut(index)) {
                *byte = 0;
            }
        }
        let (words, _) = chunk.as_chunks();
        let words = words.iter().map(|word| u64::from(u16::from_le_bytes(*word)));
        sum = fold(sum.saturating_add(words.sum()));
        offset = end;
    }
    let [a, b, c, d, ..] = sum.saturating_add(source.len() & 0xffff_ffff).to_le_bytes();
    Ok(u32::from_le_bytes([a, b, c, d]))
}

/// Adds the carries of 16-bit words to the sum that they are carries of, until there are none.
fn fold(mut sum: u64) -> u64 {
    while sum > 0xffff {
        sum = (sum & 0xffff).saturating_add(sum >> 16);
    }
    sum
}
