//! Which fields of the setup header exist, and files that end anywhere.

use fmt_bzimage::BzImage;
use fmt_test::Fields;

use crate::bzimage_writer::{CODE_LEN, Image, SETUP_LEN, VERSIONS};
use crate::{check, summary};

#[test]
fn a_field_exists_by_version_and_by_the_length_byte() {
    for (version, _) in VERSIONS {
        for end in 0x224..=0x281 {
            let file = Image::new(version)
                .bytes(0x224, &[0x11; 0x281 - 0x224])
                .bytes(0x230, &0x1000_u32.to_le_bytes()) // kernel_alignment
                .u8(0x235, 1) // min_alignment
                .u16(0x236, 0x1010) // xloadflags
                .u32(0x248, 0) // payload_offset
                .u64(0x258, 0x1111_1111) // pref_address
                .u32(0x268, 0) // kernel_info_offset
                .header_end(end)
                .build();
            let kernel = match BzImage::parse(&file) {
                Ok(Some(kernel)) => kernel,
                other => panic!("{version:#x} with a header up to {end:#x}: {other:?}"),
            };
            let header = kernel.setup_header();
            let has = |since, field_end| version >= since && end >= field_end;
            let field = |since, field_end, value: u64| has(since, field_end).then_some(value);
            let found = (
                header.initrd_addr_max(),
                header.kernel_alignment(),
                header.is_relocatable(),
                header.min_alignment(),
                header.xloadflags(),
                header.cmdline_size(),
                header.payload(),
                header.has_setup_data(),
                (header.pref_address(), header.init_size()),
                header.handover_offset(),
                header.kernel_info_offset(),
            );
            let expected = (
                field(0x203, 0x230, 0x1111_1111).unwrap_or(0x37ff_ffff),
                field(0x205, 0x234, 0x1000),
                has(0x205, 0x235),
                field(0x20a, 0x236, 2),
                if has(0x20c, 0x238) { 0x1010 } else { 0 },
                field(0x206, 0x23c, 0x1111_1111).unwrap_or(255),
                has(0x208, 0x250).then_some((0, 0x1111_1111)),
                has(0x209, 0x258),
                (field(0x20a, 0x260, 0x1111_1111), field(0x20a, 0x264, 0x1111_1111)),
                field(0x20b, 0x268, 0x1111_1111),
                field(0x20f, 0x26c, 0),
            );
            assert_eq!(found, expected, "{version:#x} with a header up to {end:#x}");
        }
    }
}

#[test]
fn a_header_shorter_than_its_version_gives_a_warning() {
    for (version, end) in VERSIONS {
        let has_warning = |end: usize| {
            let image = Image::new(version).u32(0x1f4, 0x200).header_end(end);
            summary(&image.build()).contains("warning: the setup header ends at")
        };
        assert!(!has_warning(end) && !has_warning(0x281), "{version:#x}");
        assert!(end == 0x224 || has_warning(end - 1), "{version:#x}");
    }
}

/// Truncates an image of every version after every byte.
#[test]
fn a_file_may_end_anywhere() {
    for (version, _) in VERSIONS {
        let file = Image::new(version).build();
        for len in 0..file.len() {
            let cut = file.get(..len).unwrap_or_default();
            if len < 0x206 {
                check(cut, "something else");
            } else if len < SETUP_LEN {
                check(
                    cut,
                    &format!(
                        "malformed: the file has {len:#x} bytes, but setup_sects at 0x1f1 specifies 0x600 bytes of boot sector and setup code; is the file truncated?"
                    ),
                );
            } else if file.len() - len >= 16 {
                let found = len - SETUP_LEN;
                check(
                    cut,
                    &format!(
                        "malformed: syssize at 0x1f4 specifies {CODE_LEN:#x} bytes of code after the setup code, but the file has {found:#x}; is the file truncated?"
                    ),
                );
            } else {
                assert!(
                    summary(cut).starts_with("bzImage 2."),
                    "{version:#x} cut to {len:#x}"
                );
            }
        }
    }
}

/// Before 2.04, `syssize` has only the low 16 bits of the size, so the code is the rest of the file.
#[test]
fn an_old_kernel_is_as_long_as_its_file() {
    let paragraphs = 0x1_0200_u32;
    let len = SETUP_LEN + 16 * paragraphs as usize;
    let image = Image::new(0x203).u16(0x1f4, paragraphs as u16).resize(len);
    check(
        &image.build(),
        "segment 0x100000..0x202000 from 0x600..0x102600
         extent 0x100000..0x70a000",
    );
}
