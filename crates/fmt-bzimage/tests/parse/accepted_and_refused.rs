//! Accepted and refused images.

use fmt_test::Fields;

use crate::bzimage_writer::{CODE_LEN, Image, SETUP_LEN, VERSIONS};
use crate::check;

/// Summary of an unchanged image of `version`.
fn version_summary(version: u16) -> String {
    let minor = version & 0xff;
    let mut lines = vec![
        format!("bzImage 2.{minor:02}"),
        "kernel 5.10.0 (me@here) #1".to_owned(),
    ];
    let mut line = |text: &str| lines.push(text.to_owned());
    match version {
        ..=0x203 => {
            line("segment 0x100000..0x102000 from 0x600..0x2600");
            line("extent 0x100000..0x20a000"); // 5 * 0x2000 + 1 MiB
            line("fixed");
            line("entry linux-x86-32 0x100000");
            line(
                "warning: the header does not specify the length of the protected-mode code; the rest of the file is loaded",
            );
        }
        0x204 => {
            line("extent 0x100000..0x20a000");
            line("fixed");
        }
        0x205..=0x209 => {
            line("segment 0x100000..0x102000 from 0x600..0x2600");
            line("extent 0x100000..0x20a000");
            line("relocatable 0x200000 in 0x100000..0x100000000, at 0x100000");
        }
        0x20a..=0x20b => {
            line("segment 0x1000000..0x1002000 from 0x600..0x2600");
            line("extent 0x1000000..0x1800000");
            line("relocatable 0x200000 in 0x1000000..0x100000000, at 0x1000000");
            line("entry linux-x86-32 0x1000000");
        }
        0x20c.. => {
            line("relocatable 0x200000 in 0x1000000..any, at 0x1000000");
            line("entry linux-x86-64 0x1000200");
            line("entry linux-x86-32 0x1000000");
        }
    }
    if version >= 0x208 {
        line("payload gzip 0xa00..0xb00");
        line("unpacks to 0x300000");
    }
    if version >= 0x20f {
        line("kernel_info 0x1e00..0x1e10 and 0x1e10..0x1e10, types Some(9)");
    }
    lines.join("\n")
}

#[test]
fn every_version_has_its_own_fields() {
    for (version, _) in VERSIONS {
        check(&Image::new(version).build(), &version_summary(version));
    }
}

#[test]
fn accepted() {
    let new = || Image::new(0x20f);
    let check = |image: Image, expected: &str| check(&image.build(), expected);
    check(new().pe(), "bzImage 2.15 and PE");
    check(new().bytes(0, b"MZ").u32(0x3c, u32::MAX), "bzImage 2.15");
    check(new().pe().bytes(0, b"ZM"), "bzImage 2.15");
    // setup_sects 0 means 4.
    check(
        new()
            .u8(0x1f1, 0)
            .u32(0x248, 0)
            .u32(0x268, 0)
            .resize(0xa00 + CODE_LEN),
        "segment 0x1000000..0x1002000 from 0xa00..0x2a00
         warning: kernel_info_offset at 0x268 is zero: there is no kernel_info",
    );
    // What follows the code, such as a signature, is not loaded.
    check(
        new().resize(0x4000),
        "segment 0x1000000..0x1002000 from 0x600..0x2600",
    );
    // The last paragraph may be cut.
    check(
        new().resize(0x25f1),
        "segment 0x1000000..0x1002000 from 0x600..0x25f1",
    );
    // The preferred address need not be aligned.
    check(
        new().u32(0x230, 0x1000_0000),
        "relocatable 0x10000000 in 0x1000000..any, at 0x1000000",
    );
    check(
        new().u8(0x235, 0),
        "relocatable 0x200000 in 0x1000000..any, at 0x1000000",
    );
    // Above 4 GiB only with both flags.
    for flags in [1, 2] {
        check(
            new().u16(0x236, flags),
            "relocatable 0x200000 in 0x1000000..0x100000000, at 0x1000000",
        );
    }
    check(
        new().u64(0x258, 0),
        "relocatable 0x200000 in 0x100000..any, at 0x100000",
    );
    check(
        new().u64(0x258, 0x8000).u32(0x260, 0x20_0000),
        "relocatable 0x200000 in 0x100000..any, at 0x8000
         extent 0x8000..0x208000",
    );
    check(
        new().u32(0x260, 0x1fff),
        "extent 0x1000000..0x1002000
         warning: init_size at 0x260 is 0x1fff, less than the 0x2000 bytes of protected-mode code; the length of the code is used",
    );
    check(
        new().u16(0x206, 0x210),
        "bzImage 2.16
         warning: boot protocol 2.16 is newer than 2.15; newer fields are ignored",
    );
}

#[test]
fn values_at_a_limit_give_no_warning() {
    let warnings = |image: Image| {
        let kernel = fmt_bzimage::BzImage::parse(&image.build()).unwrap().unwrap();
        let warnings = kernel.image().warnings().iter();
        warnings.map(ToString::to_string).collect::<Vec<_>>()
    };
    let none: [&str; 0] = [];
    for (version, _) in VERSIONS.into_iter().filter(|(version, _)| *version >= 0x204) {
        assert_eq!(warnings(Image::new(version)), none, "{version:#x}");
    }
    assert_eq!(warnings(Image::new(0x20f).u32(0x260, 0x2000)), none);
    let setup = |sects: u8| {
        let image = Image::new(0x20f).u8(0x1f1, sects).u32(0x248, 0).u32(0x268, 0);
        warnings(
            image
                .u16(0x206, 0x20e)
                .resize((usize::from(sects) + 1) * 512 + CODE_LEN),
        )
    };
    assert_eq!(setup(63), none);
    assert_eq!(
        setup(64),
        ["the boot sector and setup code take 0x8200 bytes, more than the maximum of 0x8000"]
    );
}

#[test]
fn images_that_are_not_relocatable() {
    let new = || Image::new(0x20f).u8(0x234, 0);
    let check = |image: Image, expected: &str| check(&image.build(), expected);
    // The kernel moves itself to pref_address.
    check(
        new(),
        "segment 0x100000..0x102000 from 0x600..0x2600
         extent 0x100000..0x1800000
         fixed
         entry linux-x86-64 0x100200
         entry linux-x86-32 0x100000",
    );
    check(new().u64(0x258, 0), "extent 0x100000..0x900000");
    check(
        new().u32(0x214, 0x200_0000),
        "segment 0x2000000..0x2002000 from 0x600..0x2600
         extent 0x1000000..0x2002000
         entry linux-x86-64 0x2000200",
    );
    // Without a 32-bit entry point there is still the 64-bit one.
    check(new().u32(0x214, 0), "entry linux-x86-64 0x100200");
    // kernel_alignment is for relocatable kernels.
    check(new().u32(0x230, 0).u8(0x235, 99), "fixed");
}

#[test]
fn programs_that_start_in_real_mode_only() {
    const WARNING: &str = "warning: the image starts in real mode only and needs a PC BIOS: it has the header of a Linux kernel but is another program";
    let check = |image: Image, expected: &str| {
        check(&image.build(), &format!("{WARNING}\n{expected}"));
    };
    // As iPXE.
    check(
        Image::new(0x207).u8(0x234, 0).u32(0x214, 0),
        "segment 0x10000..0x10600 from 0x0..0x600
         segment 0x100000..0x102000 from 0x600..0x2600
         extent 0x10000..0x102000
         fixed
         entry linux-x86-16 0x10200",
    );
    // As memdisk. The upper half of syssize is ignored.
    check(
        Image::new(0x203).u16(0x1f4, 0),
        "segment 0x10000..0x10600 from 0x0..0x600
         entry linux-x86-16 0x10200",
    );
    // From 2.02 on, setup code has a place below 0x90000.
    check(
        Image::new(0x202).u16(0x1f4, 0),
        "segment 0x10000..0x10600 from 0x0..0x600
         entry linux-x86-16 0x10200",
    );
    // Before 2.02, setup code has one place only.
    check(
        Image::new(0x201).u16(0x1f4, 0),
        "segment 0x90000..0x90600 from 0x0..0x600
         entry linux-x86-16 0x90200",
    );
}

#[test]
fn version_strings() {
    let check = |image: Image, expected: &str| check(&image.build(), expected);
    let new = || Image::new(0x20f);
    let found = |file: &[u8]| {
        let kernel = fmt_bzimage::BzImage::parse(&file).unwrap().unwrap();
        kernel.kernel_version().map(str::to_owned)
    };
    check(new().bytes(0x500, b"a\x1b[31m\tb\xff\0"), "kernel a?[31m?b?");
    assert_eq!(found(&new().u16(0x20e, 0).build()), None);
    assert_eq!(found(&new().u8(0x500, 0).build()), None);
    check(new().u16(0x20e, 0x3fe).bytes(0x5fe, b"x\0"), "kernel x");
    // At most 511 characters.
    let long = |len: usize| {
        let image = new()
            .u8(0x1f1, 7)
            .u32(0x268, 0)
            .u32(0x248, 0)
            .resize(0x1000 + CODE_LEN);
        let image = image
            .u16(0x20e, 0x400)
            .bytes(0x600, &vec![b'x'; len])
            .u8(0x600 + len, 0);
        found(&image.build()).map(|text| text.len())
    };
    assert_eq!((long(511), long(512)), (Some(511), None));
    // No end within the setup code, and a start behind it.
    for (pointer, offset) in [(0x3ff, "0x5ff"), (0x400, "0x600"), (0xffff, "0x101ff")] {
        let image = new().u16(0x20e, pointer).u8(0x5ff, b'x');
        let warning = "warning: the kernel version string at OFFSET does not end inside the setup code";
        check(image.clone(), &warning.replace("OFFSET", offset));
        assert_eq!(found(&image.build()), None);
    }
}

#[test]
fn payloads() {
    let check = |image: Image, expected: &str| check(&image.build(), expected);
    let new = || Image::new(0x20f);
    let magic = |magic: &[u8]| new().code(0x400, magic);
    check(magic(b"BZh"), "payload bzip2 0xa00..0xb00\nunpacks to 0x300000");
    check(magic(&[0x5d, 0, 0]), "payload lzma 0xa00..0xb00");
    check(magic(b"\xfd7zXZ\0"), "payload xz 0xa00..0xb00");
    check(magic(b"\x89LZO"), "payload lzo 0xa00..0xb00");
    check(
        magic(&[0x02, 0x21, 0x4c, 0x18]),
        "payload lz4-legacy 0xa00..0xb00",
    );
    check(magic(&[0x28, 0xb5, 0x2f, 0xfd]), "payload zstd 0xa00..0xb00");
    // The length of the payload, not its last bytes.
    check(magic(b"\x7fELF"), "payload stored 0xa00..0xb00\nunpacks to 0x100");
    check(magic(b"????"), "payload unknown 0xa00..0xb00");
    // Too short for a magic number and for a length.
    check(new().u32(0x24c, 1), "payload unknown 0xa00..0xa01");
    check(new().u32(0x24c, 2), "payload gzip 0xa00..0xa02");
    // To the last byte of the code.
    check(new().u32(0x24c, 0x1c00), "payload gzip 0xa00..0x2600");
    check(
        new().u32(0x24c, 0),
        "warning: payload_offset at 0x248 is set, but payload_length at 0x24c is zero",
    );
    let none = |image: Image| assert!(!crate::summary(&image.build()).contains("payload "));
    none(new().u32(0x248, 0));
    none(new().u32(0x24c, 0));
    none(Image::new(0x207));
}

#[test]
fn kernel_infos() {
    let check = |image: Image, expected: &str| check(&image.build(), expected);
    let new = || Image::new(0x20f);
    check(
        new().kernel_info(0x1800, 16, 0x40),
        "kernel_info 0x1e00..0x1e10 and 0x1e10..0x1e40, types Some(9)",
    );
    check(
        new().kernel_info(0x1800, 12, 16),
        "kernel_info 0x1e00..0x1e0c and 0x1e0c..0x1e10, types None",
    );
    // The shortest one, at the very end of the file.
    check(
        new().u32(0x268, 0x1ff4).code(0x1ff4, b"LToP\x0c\0\0\0\x0c\0\0\0"),
        "kernel_info 0x25f4..0x2600 and 0x2600..0x2600, types None",
    );
    // 2.14 does not have kernel_info_offset.
    assert!(!crate::summary(&Image::new(0x20e).header_end(0x26c).build()).contains("kernel_info"));
}

#[test]
fn something_else() {
    let check = |file: &[u8]| check(file, "something else");
    check(b"");
    check(b"\x7fELF");
    check(&[0; 0x206]);
    check(&vec![0; 0x10000]);
    // A boot sector, and a kernel from before 2.00.
    check(&Image::new(0x200).bytes(0x202, &[0; 4]).build());
    check(&Image::new(0x20f).pe().bytes(0x202, b"HdrT").build());
}

#[test]
fn unsupported() {
    let check = |image: Image, expected: &str| check(&image.build(), expected);
    check(
        Image::new(0x20f).u8(0x211, 0xfe),
        "unsupported: the image is a zImage: LOADED_HIGH is clear in loadflags at 0x211, which is 0xfe; build the kernel as a bzImage",
    );
    for (version, name) in [
        (0x1ff, "1.255"),
        (0x300, "3.00"),
        (0, "0.00"),
        (0xffff, "255.255"),
    ] {
        let sentence = "unsupported: the boot protocol version at 0x206 is VERSION; supported are 2.00 to 2.15 and later versions compatible with them";
        check(
            Image::new(0x20f).u16(0x206, version),
            &sentence.replace("VERSION", name),
        );
    }
}

#[test]
fn malformed() {
    let check = |image: Image, expected: &str| check(&image.build(), &format!("malformed: {expected}"));
    let new = || Image::new(0x20f);
    check(
        new().u16(0x1fe, 0x55aa),
        "boot_flag at 0x1fe is 0x55aa, expected 0xaa55",
    );
    check(
        new().u8(0x1f1, 0xff),
        "the file has 0x2600 bytes, but setup_sects at 0x1f1 specifies 0x20000 bytes of boot sector and setup code; is the file truncated?",
    );
    for jump in [[0xe9, 0x6a], [0xeb, 0x80], [0xeb, 0xff], [0, 0]] {
        let sentence = "the bytes at 0x200 are JUMP, expected a short forward jump over the setup header (eb 00 to eb 7f)";
        check(
            new().bytes(0x200, &jump),
            &sentence.replace("JUMP", &format!("{jump:02x?}")),
        );
    }
    check(
        new().header_end(0x223),
        "the setup header ends at 0x223 by its length byte at 0x201, but every protocol version has fields up to 0x224",
    );
    check(
        new().u32(0x1f4, 0),
        "syssize at 0x1f4 is zero: there is no protected-mode code",
    );
    for syssize in [0x201, u32::MAX] {
        let sentence = "syssize at 0x1f4 specifies NEED bytes of code after the setup code, but the file has 0x2000; is the file truncated?";
        let need = format!("{:#x}", u64::from(syssize) * 16);
        check(new().u32(0x1f4, syssize), &sentence.replace("NEED", &need));
    }
    check(
        Image::new(0x203).u16(0x1f4, 0).resize(SETUP_LEN),
        "there is no protected-mode code after the setup code, which ends at 0x600",
    );
    check(
        new().u8(0x234, 0).u32(0x214, 0xf_ffff),
        "code32_start at 0x214 is 0xfffff, but with LOADED_HIGH in loadflags at 0x211 it must be at least 0x100000",
    );
    check(
        new().u16(0x236, 1).u32(0x260, u32::MAX),
        "the kernel needs 0xffffffff bytes (init_size at 0x260, or computed from the length of the code) from 0x1000000 (pref_address at 0x258, or the load address), more than it can address",
    );
    for relocatable in [0, 1] {
        check(
            new().u8(0x234, relocatable).u64(0x258, u64::MAX),
            "the kernel needs 0x800000 bytes (init_size at 0x260, or computed from the length of the code) from 0xffffffffffffffff (pref_address at 0x258, or the load address), more than it can address",
        );
    }
}

#[test]
fn alignments_that_violate_the_protocol() {
    let check = |image: Image, expected: &str| check(&image.build(), expected);
    let new = || Image::new(0x20f);
    // Loaded at `code32_start`, where every kernel runs.
    for align in [0, 3, 0x20_0001, u32::MAX] {
        let sentence = "warning: kernel_alignment at 0x230 of a relocatable kernel is ALIGN, expected a power of two; the kernel is loaded at code32_start
             segment 0x100000..0x102000 from 0x600..0x2600
             extent 0x100000..0x1800000
             fixed";
        check(
            new().u32(0x230, align),
            &sentence.replace("ALIGN", &format!("{align:#x}")),
        );
    }
    for shift in [22, 63, 64, 255] {
        let sentence = "warning: min_alignment at 0x235 is 2^SHIFT, more than kernel_alignment at 0x230, which is 0x200000; it is ignored
             relocatable 0x200000 in 0x1000000..any, at 0x1000000";
        check(
            new().u8(0x235, shift),
            &sentence.replace("SHIFT", &shift.to_string()),
        );
    }
}

#[test]
fn a_64_bit_entry_point_outside_the_code_is_not_used() {
    let image = Image::new(0x20f)
        .u32(0x1f4, 0x20)
        .u32(0x248, 0)
        .u32(0x268, 0)
        .build();
    check(
        &image,
        "warning: XLF_KERNEL_64 is set in xloadflags at 0x236, but its entry point at offset 0x200 of the protected-mode code is outside the 0x200 bytes of code; only the 32-bit entry point is used
         relocatable 0x200000 in 0x1000000..0x100000000, at 0x1000000
         entry linux-x86-32 0x1000000",
    );
    assert!(!crate::summary(&image).contains("linux-x86-64"));
}

#[test]
fn malformed_optional_data_does_not_refuse_a_kernel() {
    let without = |image: Image, warning: &str, part: &str| {
        let bytes = image.build();
        check(
            &bytes,
            &format!("warning: {warning}; it is ignored\nentry linux-x86-64 0x1000200"),
        );
        let found = crate::summary(&bytes);
        assert!(!found.lines().any(|line| line.starts_with(part)), "{found}");
    };
    let new = || Image::new(0x20f);
    for (offset, len) in [(0x400, 0x1c01), (0x2001, 1), (u32::MAX, 1), (1, u32::MAX)] {
        let sentence = format!(
            "the payload (payload_offset at 0x248: {offset:#x}, payload_length at 0x24c: {len:#x}) is outside the 0x2000 bytes of code"
        );
        without(new().u32(0x248, offset).u32(0x24c, len), &sentence, "payload");
    }
    let without = |image, warning: &str| without(image, warning, "kernel_info");
    for offset in [0x1ff5, u32::MAX] {
        let sentence = format!(
            "kernel_info, 0xc bytes at kernel_info_offset {offset:#x} (at 0x268), is outside the 0x2000 bytes of code"
        );
        without(new().u32(0x268, offset), &sentence);
    }
    without(
        new().kernel_info(0x1800, 16, 0x801),
        "kernel_info, 0x801 bytes at kernel_info_offset 0x1800 (at 0x268), is outside the 0x2000 bytes of code",
    );
    without(
        new().code(0x1800, b"LToQ"),
        "kernel_info at 0x1e00 begins with [4c, 54, 6f, 51], expected \"LToP\"",
    );
    for (size, total) in [(11, 16), (17, 16), (0, 0)] {
        let sentence = format!(
            "kernel_info at 0x1e00 has a size of {size:#x} and a size_total of {total:#x}; size must be at least 0xc, size_total at least size"
        );
        without(new().kernel_info(0x1800, size, total), &sentence);
    }
}

#[test]
fn placements_that_are_not_possible() {
    let check = |image: Image, expected: &str| check(&image.build(), &format!("malformed: {expected}"));
    let new = || Image::new(0x20f);
    // The preferred address fits, but no multiple of the alignment does.
    check(
        new()
            .u16(0x236, 1)
            .u32(0x230, 0x8000_0000)
            .u32(0x260, 0x8000_0001),
        "an image of 0x80000001 bytes cannot be placed between 0x1000000 and 0x100000000",
    );
}
