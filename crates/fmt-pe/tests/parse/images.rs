//! `Image` and zboot files, field by field.

use std::ops::Range;

use boot_core::{Codec, Payload, SourceRange};
use fmt_pe::pe::Machine;
use fmt_pe::{Arm64Image, RiscvImage, Warning, ZbootImage};
use fmt_test::Fields;

use crate::file_writer::{File, IMAGE_LEN, PE_LEN, offset};
use crate::{check, summary};

#[test]
fn arm64_images() {
    let check = |file: File, expected: &str| check(&file.build(), expected);
    let new = File::arm64;
    check(
        new(),
        "arm64-image aarch64 little
         segment 0x0..0x1000 from 0x0..0x1000
         extent 0x0..0x200000
         relocatable 0x200000 + 0x0 in 0x0..0x1000000000000
         entry arm64-image 0x0
         page size 0x1000
         anywhere true
         EFI stub false",
    );
    check(new().efi_stub(0xaa64), "EFI stub true");
    check(
        new().u64(0x08, 0x8_0000).u64(0x18, 0b0111),
        "arm64-image aarch64 big
         segment 0x80000..0x81000 from 0x0..0x1000
         extent 0x80000..0x280000
         relocatable 0x200000 + 0x80000 in 0x80000..0x1000000000000
         entry arm64-image 0x80000
         page size 0x10000
         anywhere false",
    );
    check(new().u64(0x18, 0b0100), "page size 0x4000");
    check(new().u64(0x18, 0), "page size unknown");
    // An offset beyond one boundary still counts from a base in RAM.
    check(
        new().u64(0x08, 0x50_0004),
        "extent 0x500004..0x700004
         relocatable 0x200000 + 0x100004 in 0x500004..0x1000000000000
         warning: text_offset at 0x8 is 0x500004; the Linux build does not allow 0x200000 or more; the image goes to that offset from a 2 MiB boundary in RAM",
    );
    check(
        new().u64(0x08, 0x20_0000),
        "relocatable 0x200000 + 0x0 in 0x200000..0x1000000000000
         warning: text_offset at 0x8 is 0x200000; the Linux build does not allow 0x200000 or more; the image goes to that offset from a 2 MiB boundary in RAM",
    );
    // Exactly up to the end of what can be addressed.
    check(new().u64(0x10, 1 << 48), "extent 0x0..0x1000000000000");
    check(new().u64(0x10, 0x1000), "extent 0x0..0x1000");
    check(
        new().u64(0x10, 0xfff),
        "extent 0x0..0x1000
         warning: image_size at 0x10 is 0xfff, less than the 0x1000 bytes of the file; the length of the file is used",
    );
    check(
        new().u64(0x18, 0x8000_0000_0000_001a),
        "warning: flags at 0x18 has unknown bits, 0x8000000000000010; they are ignored",
    );
}

/// Before 3.17, only the byte order of `text_offset` tells the byte order of the kernel.
#[test]
fn arm64_images_without_a_size() {
    const WARNING: &str = "warning: image_size at 0x10 is zero, as in kernels before 3.17; 0x1001000 bytes are reserved, which is an estimate";
    let check = |file: File, expected: &str| check(&file.build(), &format!("{WARNING}\n{expected}"));
    let new = File::arm64_old;
    check(
        new(),
        "arm64-image aarch64 little
         segment 0x80000..0x81000 from 0x0..0x1000
         extent 0x80000..0x1081000
         relocatable 0x200000 + 0x80000 in 0x80000..0x1000000000000
         entry arm64-image 0x80000
         page size unknown
         anywhere false",
    );
    check(
        new().u64(0x08, 0x8_0000_u64.swap_bytes()),
        "arm64-image aarch64 big
         extent 0x80000..0x1081000",
    );
    // Any other value counts as 0x80000.
    check(
        new().u64(0x08, 0x1003),
        "arm64-image aarch64 little\nextent 0x80000..0x1081000",
    );
    check(new().u64(0x18, 1), "arm64-image aarch64 big");
    // With a size, text_offset is little-endian.
    let sized = new().u64(0x08, 0x8_0000_u64.swap_bytes()).u64(0x10, 0x1000);
    crate::check(
        &sized.build(),
        "arm64-image aarch64 little
         extent 0x80000000000..0x80000001000",
    );
}

#[test]
fn riscv_images() {
    let check = |file: File, expected: &str| check(&file.build(), expected);
    let new = File::riscv;
    check(
        new(),
        "riscv-image riscv64 little
         segment 0x200000..0x201000 from 0x0..0x1000
         extent 0x200000..0x500000
         relocatable 0x200000 + 0x0 in 0x0..0xffffffffffffffff
         entry riscv-image 0x200000
         version 0.2
         EFI stub false",
    );
    check(new().efi_stub(0x5064), "version 0.2\nEFI stub true");
    check(File::riscv_old(), "riscv-image riscv64 little\nversion 0.1");
    check(
        new().u64(0x08, 0),
        "extent 0x0..0x300000
         relocatable 0x200000 + 0x0 in 0x0..0xffffffffffffffff",
    );
    check(new().u64(0x18, 1), "riscv-image riscv64 big");
    check(
        new().u64(0x18, 2),
        "warning: flags at 0x18 has unknown bits, 0x2; they are ignored",
    );
    // The deprecated magic number may go.
    check(new().bytes(0x30, &[0; 8]), "riscv-image riscv64 little");
    check(
        new().u32(0x20, 0xffff).bytes(0x30, &[0; 8]),
        "riscv-image riscv64 little
         warning: the riscv header version at 0x20 is 0.65535, newer than 0.2; newer fields are ignored",
    );
    check(
        new().u64(0x10, 1),
        "extent 0x200000..0x201000
         warning: image_size at 0x10 is 0x1, less than the 0x1000 bytes of the file; the length of the file is used",
    );
}

#[test]
fn a_regular_image_gives_no_warning() {
    let none: [Warning; 0] = [];
    let arm64 = |file: File| {
        let kernel = Arm64Image::parse(&file.build()).unwrap().unwrap();
        (kernel.has_pe_header(), kernel.warnings().to_vec())
    };
    let riscv = |file: File| {
        let kernel = RiscvImage::parse(&file.build()).unwrap().unwrap();
        (kernel.has_pe_header(), kernel.warnings().to_vec())
    };
    assert_eq!(arm64(File::arm64()), (false, none.to_vec()));
    assert_eq!(arm64(File::arm64().u64(0x18, 0xf)), (false, none.to_vec()));
    assert_eq!(arm64(File::arm64().u64(0x08, 0x1f_fffc)), (false, none.to_vec()));
    assert_eq!(
        arm64(File::arm64().u64(0x08, 0x20_0000)),
        (false, vec![Warning::LargeTextOffset { found: 0x20_0000 }])
    );
    assert_eq!(
        arm64(File::arm64().u64(0x10, IMAGE_LEN as u64)),
        (false, none.to_vec())
    );
    assert_eq!(arm64(File::arm64().efi_stub(0xaa64)), (true, none.to_vec()));
    assert_eq!(riscv(File::riscv()), (false, none.to_vec()));
    assert_eq!(riscv(File::riscv_old()), (false, none.to_vec()));
    assert_eq!(riscv(File::riscv().efi_stub(0x5064)), (true, none.to_vec()));
}

#[test]
fn an_invalid_pe_header_of_a_kernel_gives_a_warning() {
    let check = |file: File, expected: &str| check(&file.build(), expected);
    let arm64 = || File::arm64().efi_stub(0xaa64);
    check(
        File::arm64().efi_stub(0x8664),
        "arm64-image aarch64 little
         EFI stub false
         warning: the PE header is for x86_64, but the image is for arm64, so UEFI firmware cannot start the image",
    );
    check(
        File::riscv().efi_stub(0xaa64),
        "riscv-image riscv64 little
         EFI stub false
         warning: the PE header is for arm64, but the image is for riscv64, so UEFI firmware cannot start the image",
    );
    check(
        arm64().u16(offset::MAGIC, 0x30b),
        "arm64-image aarch64 little
         EFI stub false
         warning: UEFI firmware cannot start the image: the magic number of the PE optional header at 0x98 is 0x030b, expected 0x10b or 0x20b",
    );
    check(
        arm64().u16(offset::SECTIONS, 513),
        "warning: UEFI firmware may not start the image: the file has 513 PE sections; at most 512 are supported",
    );
    // A DOS header alone, and a signature without one, are no PE header.
    assert!(!summary(&arm64().u32(0x80, 0).build()).contains("warning"));
    assert!(!summary(&arm64().bytes(0, b"ZM").u16(offset::MAGIC, 0).build()).contains("warning"));
    check(
        File::riscv().efi_stub(0x5032),
        "unsupported riscv-image: the machine type in the PE header is riscv32; only 64-bit riscv is supported",
    );
}

/// The PE headers contain the length of the file.
#[test]
fn a_truncated_kernel() {
    for (name, file) in [
        ("arm64-image", File::arm64().efi_stub(0xaa64).build()),
        ("riscv-image", File::riscv().efi_stub(0x5064).build()),
    ] {
        let check_up_to = |lens: Range<usize>, what: &str| {
            for len in lens {
                let sentence = format!("{what} but the file has {len:#x} bytes; is the file truncated?");
                check(&file[..len], &format!("malformed {name}: {sentence}"));
            }
        };
        check_up_to(0x84..0x98, "the PE headers end at 0x98,");
        check_up_to(0x98..0x9a, "the PE headers end at 0x9a,");
        check_up_to(0x9a..0x108, "the PE headers end at 0x108,");
        for end in (0x110..=0x188).step_by(8) {
            check_up_to(end - 8..end, &format!("the PE headers end at {end:#x},"));
        }
        check_up_to(0x188..0x200, "the PE headers end at 0x200,");
        for (lens, name, data) in [
            (0x200..0x380, ".text", "0x200..0x380"),
            (0x380..0x600, ".data", "0x400..0x600"),
            (0x600..0x614, ".reloc", "0x600..0x614"),
        ] {
            check_up_to(
                lens,
                &format!("the content of the PE section \"{name}\" is at bytes {data},"),
            );
        }
        for len in 0x614..PE_LEN {
            assert!(summary(&file[..len]).starts_with(name), "{len:#x}");
        }
    }
}

/// Truncates a file of every format after every byte of its header.
#[test]
fn a_file_may_end_in_its_header() {
    for (name, file, magic) in [
        ("arm64-image", File::arm64(), 0x3c),
        ("riscv-image", File::riscv(), 0x38),
        ("efi-zboot", File::zboot(), 0x08),
    ] {
        let file = file.build();
        for len in 0..64 {
            if len < magic {
                check(&file[..len], "something else");
            } else {
                let sentence =
                    "the file has LEN bytes, but the header of its format has 0x40; is the file truncated?";
                let sentence = sentence.replace("LEN", &format!("{len:#x}"));
                check(&file[..len], &format!("malformed {name}: {sentence}"));
            }
        }
    }
    check(
        &File::arm64().resize(64).build(),
        "segment 0x0..0x40 from 0x0..0x40\nextent 0x0..0x200000",
    );
    check(
        &File::riscv().resize(64).build(),
        "segment 0x200000..0x200040 from 0x0..0x40",
    );
}

#[test]
fn something_else() {
    let check = |file: &[u8]| check(file, "something else");
    check(b"");
    check(b"MZ");
    check(b"\x7fELF");
    check(&[0; 0x40]);
    check(&vec![0; 0x10000]);
    check(
        &File::arm64()
            .bytes(0x38, b"ARMd".map(|byte| byte ^ 0x20).as_slice())
            .build(),
    );
    check(&File::riscv().bytes(0x30, &[0; 12]).build());
    // A DOS program.
    check(&File::pe().u32(0x3c, 0).build());
    check(&File::pe().u32(0x3c, u32::MAX).build());
    check(&File::pe().bytes(0x80, b"NE\0\0").build());
}

#[test]
fn malformed_images() {
    let check = |file: File, expected: &str| check(&file.build(), &format!("malformed {expected}"));
    for offset in [1, 2, 0x8_0003] {
        check(
            File::arm64().u64(0x08, offset),
            &format!("arm64-image: text_offset at 0x8 is {offset:#x}, expected a multiple of 0x4"),
        );
    }
    for offset in [1, 0x8_0000, 0x10_0000, 0x20_1000] {
        check(
            File::riscv().u64(0x08, offset),
            &format!("riscv-image: text_offset at 0x8 is {offset:#x}, expected a multiple of 0x200000"),
        );
    }
    let memory = |format: &str, need: u64, offset: u64| {
        format!(
            "{format}: the kernel needs {need:#x} bytes (image_size at 0x10, or computed from the length of the file) from {offset:#x} (text_offset at 0x8), more than it can address"
        )
    };
    for (offset, need) in [
        (0, (1 << 48) + 1),
        (0, u64::MAX),
        (4, 1 << 48),
        (1 << 48, 0x1000),
        (u64::MAX - 3, 0x1000),
    ] {
        check(
            File::arm64().u64(0x08, offset).u64(0x10, need),
            &memory("arm64-image", need, offset),
        );
    }
    let last = u64::MAX - 0x1f_ffff;
    for (offset, need) in [(0x20_0000, u64::MAX), (last, 0x20_0000)] {
        check(
            File::riscv().u64(0x08, offset).u64(0x10, need),
            &memory("riscv-image", need, offset),
        );
    }
    check(
        File::riscv().u64(0x10, 0),
        "riscv-image: image_size at 0x10 is zero, but it is mandatory in a riscv Image",
    );
    for minor in [2, 3] {
        check(
            File::riscv_old().u32(0x20, minor),
            &format!(
                "riscv-image: magic2 at 0x38 is [00, 00, 00, 00], expected \"RSC\\x05\" in a header of version 0.{minor}"
            ),
        );
    }
}

#[test]
fn unsupported_images() {
    let check = |file: File, expected: &str| check(&file.build(), &format!("unsupported {expected}"));
    for (version, name) in [(0x1_0000, "1.0"), (0x1_0002, "1.2"), (u32::MAX, "65535.65535")] {
        check(
            File::riscv().u32(0x20, version),
            &format!(
                "riscv-image: the riscv header version at 0x20 is {name}; supported are 0.1, 0.2 and later versions compatible with them"
            ),
        );
    }
    check(
        File::zboot(),
        "efi-zboot: it is an EFI zboot image for arm64, which only UEFI firmware can run; extract the kernel with \"tail -c +1057 FILE | head -c 256 | gzip -dc > OUTPUT\" and boot OUTPUT",
    );
    check(
        File::zboot()
            .bytes(0x18, b"new\0")
            .bytes(0x420, b"new")
            .u32(0x80, 0),
        "efi-zboot: it is an EFI zboot image for any machine, which only UEFI firmware can run; extract the kernel with \"tail -c +1057 FILE | head -c 256 > OUTPUT\" and boot OUTPUT, decompressed: its compression is unknown",
    );
}

#[test]
fn zboot_images() {
    let read = |file: File| ZbootImage::parse(&file.build()).unwrap().unwrap();
    let zboot = read(File::zboot());
    assert_eq!(
        (zboot.machine(), zboot.compression()),
        (Machine::ARM64, &b"gzip"[..])
    );
    let payload = |codec, unpacked_len| {
        Payload::new(SourceRange::new(0x420, 0x100).unwrap())
            .with_codec(codec)
            .with_unpacked_len(unpacked_len)
    };
    // gzip has the length at its end, other codecs behind it.
    assert_eq!(*zboot.payload(), payload(Some(Codec::Gzip), Some(0x30_0000)));
    // A name that is known is used, whatever the payload begins with.
    let unmarked = read(File::zboot().bytes(0x420, &[0; 4]));
    assert_eq!(*unmarked.payload(), payload(Some(Codec::Gzip), Some(0x30_0000)));
    for (name, codec) in [
        (&b"lz4\0"[..], Codec::Lz4Legacy),
        (b"lzma\0", Codec::Lzma),
        (b"lzo\0", Codec::Lzo),
        (b"xzkern\0", Codec::Xz),
        (b"zstd22\0", Codec::Zstd),
    ] {
        let zboot = read(File::zboot().bytes(0x18, name));
        assert_eq!(zboot.compression(), &name[..name.len() - 1]);
        assert_eq!(*zboot.payload(), payload(Some(codec), Some(0x40_0000)));
    }
    // An unknown name and one without a NUL: the magic number of the payload is used.
    let unknown = File::zboot().bytes(0x18, b"zstd\0");
    assert_eq!(
        *read(unknown).payload(),
        payload(Some(Codec::Gzip), Some(0x30_0000))
    );
    let long = read(
        File::zboot()
            .bytes(0x18, &[b'x'; 32])
            .bytes(0x420, &[0x28, 0xb5, 0x2f, 0xfd]),
    );
    assert_eq!(
        (long.compression().len(), long.payload().codec),
        (32, Some(Codec::Zstd))
    );
    let stored = File::zboot().bytes(0x18, b"none\0").bytes(0x420, b"\x7fELF");
    assert_eq!(*read(stored).payload(), payload(Some(Codec::Stored), Some(0x100)));
    // To the last byte of the file: there is no length behind it.
    let last = read(File::zboot().u32(0x0c, 0x3e0).bytes(0x18, b"zstd22\0"));
    assert_eq!(
        (last.payload().source.end(), last.payload().unpacked_len),
        (0x800, None)
    );
    let short = read(File::zboot().u32(0x0c, 3));
    assert_eq!(
        (short.payload().codec, short.payload().unpacked_len),
        (Some(Codec::Gzip), None)
    );
    // The shortest payload with a length.
    let length = read(File::zboot().u32(0x08, 0x51c).u32(0x0c, 4));
    assert_eq!(length.payload().unpacked_len, Some(0x30_0000));
    // Malformed PE headers only hide the machine type.
    assert_eq!(
        read(File::zboot().u16(offset::MAGIC, 0)).machine(),
        Machine::UNKNOWN
    );

    for (start, size) in [(0x420, 0), (0x420, 0x3e1), (0x801, 1), (u32::MAX, u32::MAX)] {
        let sentence = format!(
            "malformed efi-zboot: the payload (payload_offset at 0x8: {start:#x}, payload_size at 0xc: {size:#x}) is empty or outside the file, which has 0x800 bytes; is the file truncated?"
        );
        check(&File::zboot().u32(0x08, start).u32(0x0c, size).build(), &sentence);
    }
}

/// A file with the magic numbers of two formats is parsed by the first.
#[test]
fn one_format_claims_a_file() {
    let both = File::arm64().bytes(0x30, b"RISCV\0\0\0");
    assert!(summary(&both.build()).starts_with("arm64-image"));
    let zboot = File::zboot().bytes(0x38, b"ARM\x64");
    assert!(summary(&zboot.u64(0x08, 0).u64(0x10, 0x1000).build()).starts_with("arm64-image"));
    let kernel = Arm64Image::parse(&File::arm64().efi_stub(0xaa64).build())
        .unwrap()
        .unwrap();
    assert!(kernel.has_pe_header() && kernel.image().format() == "arm64-image");
    assert_eq!(kernel.image().source_len(), IMAGE_LEN as u64);
}
