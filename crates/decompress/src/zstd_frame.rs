//! Frames of Zstandard.

/// `Magic_Number` of a frame (RFC 8878, section 3.1.1).
pub(crate) const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Length of a skippable frame (RFC 8878, section 3.1.2). A number that is too large for this machine is past the end of the input.
pub(crate) fn skippable(bytes: &[u8]) -> Option<usize> {
    let [kind, 0x2a, 0x4d, 0x18, len @ ..] = bytes.first_chunk::<8>()? else {
        return None;
    };
    let len = usize::try_from(u32::from_le_bytes(*len)).unwrap_or(usize::MAX);
    (kind & 0xf0 == 0x50).then_some(len.saturating_add(8))
}
