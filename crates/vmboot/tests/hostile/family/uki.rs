//! Unified kernel images (UAPI.5): PE files with the kernel in a section.

use fmt_test::elf::{EM_X86_64, Elf, load};
use fmt_test::pe::{self, AMD64, Pe, SECTION_HEADER_LEN, SECTION_TABLE};

use crate::change::{Base, Field, Sink, moved};

/// The fields of a section header that unified kernel images use.
const SECTION: [Field; 6] = [
    ("name", 0, 8),
    ("virtual_size", 8, 4),
    ("virtual_address", 12, 4),
    ("size_of_raw_data", 16, 4),
    ("pointer_to_raw_data", 20, 4),
    ("characteristics", 36, 4),
];

/// An image with a bootable kernel, microcode, a device tree, a second profile and hardware IDs.
fn image() -> Vec<u8> {
    let kernel = Elf::new(
        EM_X86_64,
        0x10_0000,
        vec![load(0x10_0000, &[0x90; 0x100], 0x1000)],
    )
    .bytes();
    Pe::new(AMD64)
        .section(".osrel", "ID=debian\nVERSION_ID=13\n")
        .section(".cmdline", "root=/dev/vda1 quiet\n\0")
        .section(".initrd", "initrd one")
        .section(".linux", kernel)
        .section(".dtbauto", pe::device_tree(&[("compatible", b"acme,one\0")]))
        .section(".profile", "ID=second\nTITLE=Second\n")
        .section(".cmdline", "single")
        .build()
}

/// All files.
pub(crate) fn make(sink: &mut Sink<'_>) {
    let file = image();
    sink("image", file.clone());
    let base = Base::new("image", &file);
    base.edges_of(
        &[
            ("e_lfanew", 0x3c, 4),
            ("machine", 0x84, 2),
            ("number_of_sections", 0x86, 2),
            ("size_of_optional_header", 0x94, 2),
            ("magic", 0x98, 2),
            ("size_of_image", 0xd0, 4),
            ("size_of_headers", 0xd4, 4),
            ("number_of_rva_and_sizes", 0x104, 4),
        ],
        sink,
    );
    for section in 0..8 {
        let fields = moved(&SECTION, SECTION_TABLE + section * SECTION_HEADER_LEN);
        base.edges_of(&fields, sink);
        base.pairs_of(&[[fields[1], fields[3]], [fields[3], fields[4]]], sink);
        // Names of other sections, so that there are two of a kind, or none.
        for name in [
            ".linux", ".osrel", ".profile", ".hwids", ".dtb", ".ucode", ".sbat",
        ] {
            let mut bytes = [0; 8];
            bytes[..name.len()].copy_from_slice(name.as_bytes());
            let (_, renamed) = base.with(&[(fields[0], u64::from_le_bytes(bytes))]);
            sink(&format!("section {section} renamed {name}"), renamed);
        }
    }
    base.truncations(SECTION_TABLE + 8 * SECTION_HEADER_LEN + 1, sink);
}
