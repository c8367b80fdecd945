//! The checksum of a PE file.
//!
//! The specification refers to IMAGHELP.DLL for the algorithm. It is the Internet checksum (RFC 1071) without the complement
//! over the 16-bit little-endian words of the file, plus the length of the file. The field itself counts as zero.

use boot_core::{ReadError, SizedSource, arith};

/// Number of bytes per read: even, so that a word is never split.
const CHUNK: usize = 4096;

/// Checksum of a file with the field `CheckSum` at file offset `field`.
pub(super) fn compute(source: &SizedSource<'_>, field: u64) -> Result<u32, ReadError> {
    let field_end = field.saturating_add(4);
    let mut chunk = [0; CHUNK];
    let (mut sum, mut offset) = (0_u64, 0);
    while offset < source.len() {
        // A last odd byte is padded with zero.
        chunk.fill(0);
        let read = arith::to_u64(source.read_prefix_at(offset, &mut chunk)?);
        let end = offset.saturating_add(read);
        for at in field.max(offset)..field_end.min(end) {
            let index = usize::try_from(at.saturating_sub(offset)).ok();
            if let Some(byte) = index.and_then(|index| chunk.get_mut(index)) {
                *byte = 0;
            }
        }
        let words = chunk.chunks_exact(2).filter_map(|word| word.first_chunk());
        let words = words.map(|word| u64::from(u16::from_le_bytes(*word)));
        sum = fold(sum.saturating_add(words.sum()));
        offset = end;
    }
    let [a, b, c, d, ..] = sum.saturating_add(source.len() & 0xffff_ffff).to_le_bytes();
    Ok(u32::from_le_bytes([a, b, c, d]))
}

/// Adds the carries of a sum of 16-bit words to it until there are none.
fn fold(mut sum: u64) -> u64 {
    while sum > 0xffff {
        sum = (sum & 0xffff).saturating_add(sum >> 16);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::fold;

    #[test]
    fn carries_are_added_until_there_are_none() {
        for (sum, expected) in [
            (0, 0),
            (0xffff, 0xffff),
            (0x1_0000, 1),
            (0x1_ffff, 1),
            (0x1_fffe, 0xffff),
            (0xffff_ffff, 0xffff),
        ] {
            assert_eq!(fold(sum), expected, "{sum:#x}");
        }
    }
}
