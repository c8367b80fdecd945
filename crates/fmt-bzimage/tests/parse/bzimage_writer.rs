//! Writer of small bzImages of every boot protocol version, independent of the parser.

use fmt_test::Fields;

/// The end of boot sector and setup code in the file: `setup_sects` is 2.
pub(crate) const SETUP_LEN: usize = 0x600;

/// The length of the protected-mode code.
pub(crate) const CODE_LEN: usize = 0x2000;

/// Every boot protocol version, with the end of its setup header.
pub(crate) const VERSIONS: [(u16, usize); 16] = [
    (0x200, 0x224),
    (0x201, 0x226),
    (0x202, 0x22c),
    (0x203, 0x230),
    (0x204, 0x230),
    (0x205, 0x235),
    (0x206, 0x23c),
    (0x207, 0x248),
    (0x208, 0x250),
    (0x209, 0x258),
    (0x20a, 0x264),
    (0x20b, 0x268),
    (0x20c, 0x268),
    (0x20d, 0x268),
    (0x20e, 0x268),
    (0x20f, 0x26c),
];

/// An image under construction. Offsets are those of the file.
#[derive(Clone)]
pub(crate) struct Image(Vec<u8>);

impl Image {
    /// An image of this protocol version, as the Linux build makes it. Bytes outside fields are 0xcc.
    pub(crate) fn new(version: u16) -> Self {
        let header_end = VERSIONS
            .iter()
            .find(|(known, _)| *known == version)
            .map_or(0x26c, |(_, end)| *end);
        let mut image = Self(vec![0xcc; SETUP_LEN + CODE_LEN])
            .bytes(0, &[0; 0x224])
            .u8(0x1f1, 2) // setup_sects
            .u32(0x1f4, (CODE_LEN / 16) as u32) // syssize
            .u16(0x1fe, 0xaa55) // boot_flag
            .u8(0x200, 0xeb) // jump
            .header_end(header_end)
            .bytes(0x202, b"HdrS")
            .u16(0x206, version)
            .u16(0x20e, 0x300) // kernel_version
            .u8(0x211, 1) // loadflags: LOADED_HIGH
            .u32(0x214, 0x10_0000) // code32_start
            .bytes(0x500, b"5.10.0 (me@here) #1\0");
        if version < 0x204 {
            image = image.u16(0x1f6, 0xabcd); // "unusable"
        }
        let since =
            |first, write: fn(Self) -> Self, image| if version >= first { write(image) } else { image };
        image = since(0x201, |i| i.u16(0x224, 0x7000), image); // heap_end_ptr
        image = since(0x202, |i| i.bytes(0x226, &[0; 6]), image); // ext_loader_*, cmd_line_ptr
        image = since(0x203, |i| i.u32(0x22c, 0x7fff_ffff), image); // initrd_addr_max
        image = since(0x205, |i| i.u32(0x230, 0x20_0000).u8(0x234, 1), image); // kernel_alignment, relocatable
        image = since(0x206, |i| i.bytes(0x235, &[0; 3]).u32(0x238, 2047), image); // padding, cmdline_size
        image = since(0x207, |i| i.bytes(0x23c, &[0; 12]), image); // hardware_subarch and its data
        image = since(0x208, |i| i.u32(0x248, 0x400).u32(0x24c, 0x100), image); // payload
        image = since(
            0x208,
            |i| i.code(0x400, &[0x1f, 0x8b]).code(0x4fc, &[0, 0, 0x30, 0]),
            image,
        );
        image = since(0x209, |i| i.u64(0x250, 0), image); // setup_data
        image = since(
            0x20a,
            |i| i.u8(0x235, 21).u64(0x258, 0x100_0000).u32(0x260, 0x80_0000),
            image,
        );
        image = since(0x20b, |i| i.u32(0x264, 0x190), image); // handover_offset
        image = since(0x20c, |i| i.u16(0x236, 3), image); // xloadflags: KERNEL_64, CAN_BE_LOADED_ABOVE_4G
        since(0x20f, |i| i.u32(0x268, 0x1800).kernel_info(0x1800, 16, 16), image)
    }

    /// Writes bytes at an offset in the protected-mode code.
    pub(crate) fn code(self, offset: usize, bytes: &[u8]) -> Self {
        self.bytes(SETUP_LEN + offset, bytes)
    }

    /// Sets the length byte of the header so that it ends at `end`.
    pub(crate) fn header_end(self, end: usize) -> Self {
        self.u8(0x201, (end - 0x202) as u8)
    }

    /// A `kernel_info` at an offset in the protected-mode code.
    pub(crate) fn kernel_info(self, offset: usize, size: u32, size_total: u32) -> Self {
        self.code(offset, b"LToP")
            .code(offset + 4, &size.to_le_bytes())
            .code(offset + 8, &size_total.to_le_bytes())
            .code(offset + 12, &9_u32.to_le_bytes())
    }

    /// Adds the signatures of a PE file, as an EFI stub does.
    pub(crate) fn pe(self) -> Self {
        self.bytes(0, b"MZ").u32(0x3c, 0x40).bytes(0x40, b"PE\0\0")
    }
}

impl Fields for Image {
    fn file(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

/// One image of every version and of every kind that the parser handles differently, with a name.
pub(crate) fn samples() -> Vec<(&'static str, Vec<u8>)> {
    let names = [
        "2.00", "2.01", "2.02", "2.03", "2.04", "2.05", "2.06", "2.07", "2.08", "2.09", "2.10", "2.11",
        "2.12", "2.13", "2.14", "2.15",
    ];
    let mut samples: Vec<_> = names
        .into_iter()
        .zip(VERSIONS)
        .map(|(name, (version, _))| (name, Image::new(version).build()))
        .collect();
    let new = || Image::new(0x20f);
    let kinds = [
        ("efi", new().pe()),
        ("fixed", new().u8(0x234, 0)),
        ("fixed-32", new().u8(0x234, 0).u16(0x236, 0).u64(0x258, 0)),
        ("low", new().u16(0x236, 1)),
        ("zstd", new().code(0x400, &[0x28, 0xb5, 0x2f, 0xfd])),
        ("stored", new().code(0x400, b"\x7fELF")),
        ("info-variable", new().kernel_info(0x1800, 16, 0x40)),
        ("info-short", new().kernel_info(0x1ff0, 12, 12).u32(0x268, 0x1ff0)),
        (
            "default-setup",
            new().u8(0x1f1, 0).u32(0x268, 0).resize(0xa00 + CODE_LEN),
        ),
        ("signed", new().resize(SETUP_LEN + CODE_LEN + 100)),
        ("cut-paragraph", new().resize(SETUP_LEN + CODE_LEN - 15)),
        ("ipxe", Image::new(0x207).u8(0x234, 0).u32(0x214, 0)),
        ("memdisk", Image::new(0x203).u32(0x1f4, 0)),
        ("zimage", new().u8(0x211, 0)),
    ];
    samples.extend(kinds.map(|(name, image)| (name, image.build())));
    samples
}
