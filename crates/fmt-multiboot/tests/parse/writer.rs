//! Writer of Multiboot headers and files for tests and fuzz seeds.
//!
//! Every field is written by hand, in the order of the specifications, and nothing is shared with the parser.

/// Address fields, in the order of a header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses {
    pub(crate) header: u32,
    pub(crate) load: u32,
    pub(crate) load_end: u32,
    pub(crate) bss_end: u32,
    pub(crate) entry: u32,
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// A Multiboot header with these flags and what follows the checksum.
pub(crate) fn v1(flags: u32, rest: &[u32]) -> Vec<u8> {
    let magic = 0x1bad_b002u32;
    let checksum = 0u32.wrapping_sub(magic.wrapping_add(flags));
    [words(&[magic, flags, checksum]), words(rest)].concat()
}

/// A Multiboot header with flags 0, 1 and 16 and addresses.
pub(crate) fn v1_at(at: Addresses) -> Vec<u8> {
    v1(0x1_0003, &[at.header, at.load, at.load_end, at.bss_end, at.entry])
}

/// A header tag: type, flags, and what follows the size.
pub(crate) fn tag(kind: u16, flags: u16, rest: &[u32]) -> Vec<u8> {
    let size = 8 + 4 * u32::try_from(rest.len()).unwrap();
    let mut bytes = words(&[u32::from(kind) | u32::from(flags) << 16, size]);
    bytes.extend(words(rest));
    bytes
}

/// A Multiboot2 header with these tags, an end tag behind them.
pub(crate) fn v2(tags: &[Vec<u8>]) -> Vec<u8> {
    let mut body = Vec::new();
    for tag in tags.iter().chain([&tag(0, 0, &[])]) {
        body.resize(body.len().next_multiple_of(8), 0);
        body.extend(tag);
    }
    v2_raw(0, &body)
}

/// A Multiboot2 header of this architecture with these bytes behind its four fields.
pub(crate) fn v2_raw(architecture: u32, body: &[u8]) -> Vec<u8> {
    let (magic, len) = (0xe852_50d6u32, 16 + u32::try_from(body.len()).unwrap());
    let checksum = 0u32.wrapping_sub(magic.wrapping_add(architecture).wrapping_add(len));
    [&words(&[magic, architecture, len, checksum]), body].concat()
}

/// The tags of [`Addresses`].
pub(crate) fn v2_tags_at(at: Addresses) -> [Vec<u8>; 2] {
    [
        tag(2, 0, &[at.header, at.load, at.load_end, at.bss_end]),
        tag(3, 0, &[at.entry]),
    ]
}

/// A file of `len` bytes with `header` at `offset`.
pub(crate) fn file(len: usize, offset: usize, header: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x90; len];
    bytes[offset..offset + header.len()].copy_from_slice(header);
    bytes
}
