//! Headers of both versions: location, content and errors.

use boot_multiboot::v2::InfoTag;
use boot_multiboot::{
    Console, Framebuffer, InfoRequest, LoadAddresses, Multiboot2Metadata, MultibootMetadata, Relocatable,
    UnknownTag, VideoMode,
};

use crate::check;
use crate::writer::{Addresses, file, tag, v1, v1_at, v2, v2_raw, v2_tags_at};

const AT: Addresses = Addresses {
    header: 0x10_0000,
    load: 0x10_0000,
    load_end: 0,
    bss_end: 0,
    entry: 0x10_0000,
};

fn at(offset: u32) -> Addresses {
    Addresses {
        header: AT.header + offset,
        ..AT
    }
}

#[test]
fn a_header_lies_in_the_first_8_kib() {
    let whole = |len: u32| {
        format!(
            "fixed, multiboot 0x100000, 0x100000..{:#x}=0x0..{len:#x}",
            0x10_0000 + len
        )
    };
    let check = |len: usize, offset: usize, expected: &str| {
        let header = v1_at(at(u32::try_from(offset).unwrap()));
        check(&file(len, offset, &header), expected);
    };
    check(0x3000, 0, &whole(0x3000));
    check(0x3000, 4, &whole(0x3000));
    check(0x3000, 2, "not a Multiboot image");
    check(32, 0, &whole(32));
    check(0x3000, 8192 - 32, &whole(0x3000));
    check(
        0x3000,
        8192 - 28,
        "Malformed: the Multiboot header of 0x20 bytes at byte 0x1fe4 ends past byte 0x2000, the end of the file or of the part \
         of the file that may contain the header",
    );
    check(0x3000, 8192, "not a Multiboot image");
}

#[test]
fn a_multiboot2_header_lies_in_the_first_32_kib() {
    let whole = |len: u32| {
        format!(
            "fixed, multiboot2 0x100000, 0x100000..{:#x}=0x0..{len:#x}",
            0x10_0000 + len
        )
    };
    let check = |len: usize, offset: usize, expected: &str| {
        let header = v2(&v2_tags_at(at(u32::try_from(offset).unwrap())));
        assert_eq!(header.len(), 64);
        check(&file(len, offset, &header), expected);
    };
    check(0x9000, 0, &whole(0x9000));
    check(0x9000, 8, &whole(0x9000));
    check(0x9000, 4, "not a Multiboot image");
    check(64, 0, &whole(64));
    check(0x9000, 32768 - 64, &whole(0x9000));
    check(
        0x9000,
        32768 - 56,
        "Malformed: the Multiboot2 header of 0x40 bytes at byte 0x7fc8 ends past byte 0x8000, the end of the file or of the part \
         of the file that may contain the header",
    );
    check(0x9000, 32768, "not a Multiboot image");
}

#[test]
fn a_header_needs_a_magic_number_and_a_checksum() {
    for byte in 0..12 {
        let mut bytes = file(0x100, 0, &v1_at(AT));
        bytes[byte] ^= 1;
        check(&bytes, "not a Multiboot image");
        let mut bytes = file(0x100, 0, &v2(&v2_tags_at(AT)));
        bytes[byte] ^= 1;
        check(&bytes, "not a Multiboot image");
    }
    // The first valid header is used.
    let mut bytes = file(0x100, 0x20, &v1_at(at(0x20)));
    bytes[..4].copy_from_slice(&0x1bad_b002u32.to_le_bytes());
    check(&bytes, "fixed, multiboot 0x100000, 0x100000..0x100100=0x0..0x100");
    check(b"", "not a Multiboot image");
}

#[test]
fn a_header_needs_an_elf_file_or_addresses() {
    for header in [v1(3, &[]), v2(&[])] {
        check(
            &file(0x100, 8, &header),
            "Unsupported: the Multiboot header at byte 0x8 has no load addresses, and the file is not an ELF file",
        );
        let mut pe = file(0x100, 8, &header);
        pe[..2].copy_from_slice(b"MZ");
        check(&pe, "not a Multiboot image");
    }
}

#[test]
fn truncated_and_unterminated_tags_are_refused() {
    let check = |body: &[u8], expected: &str| check(&file(0x200, 0, &v2_raw(0, body)), expected);
    check(
        &[0; 4],
        "Malformed: the Multiboot2 header ends at byte 0x14, inside a tag",
    );
    check(
        &[6, 0, 0, 0, 7, 0, 0, 0],
        "Malformed: `size` at byte 0x14 is 0x7, expected 0x8 or more",
    );
    check(
        &[6, 0, 0, 0, 9, 0, 0, 0],
        "Malformed: `size` at byte 0x14 is 0x9, expected 0x8 or less",
    );
    check(
        &[6, 0, 0, 0, 0xff, 0xff, 0xff, 0xff],
        "Malformed: `size` at byte 0x14 is 0xffffffff, expected 0x8 or less",
    );
    for (kind, len) in [(2, 16), (3, 4), (4, 4), (5, 12), (8, 4), (9, 4), (10, 16)] {
        let short = tag(kind, 0, &vec![1; len / 4 - 1]);
        let mut body = short.clone();
        body.resize(body.len().next_multiple_of(8), 0);
        body.extend(tag(0, 0, &[]));
        check(
            &body,
            &format!(
                "Malformed: `size` at byte 0x14 is {:#x}, expected {:#x} or more",
                short.len(),
                8 + len
            ),
        );
    }
}

#[test]
fn invalid_tags_and_fields_are_refused() {
    let check_tags = |tags: &[Vec<u8>], expected: &str| check(&file(0x200, 0, &v2(tags)), expected);
    for kind in [2, 3] {
        let [first, second] = [0x10_0000, 0x10_0008].map(|addr| tag(kind, 1, &[addr; 4]));
        check_tags(
            &[first, second],
            &format!(
                "Malformed: there is a second Multiboot2 header tag of type {kind}, with other addresses, at byte 0x28"
            ),
        );
    }
    check_tags(
        &[tag(2, 0, &[0x10_0000; 4])],
        "Malformed: the Multiboot2 header at byte 0x0 has an address tag but no entry address tag",
    );
    check(
        &file(0x100, 0, &v2_raw(4, &tag(0, 0, &[]))),
        "Unsupported: `architecture` at byte 0x4 is 4; the only architecture supported is i386 (0)",
    );
    let mut short = file(0x100, 0, &v2(&[]));
    short[8..12].copy_from_slice(&15u32.to_le_bytes());
    let checksum = 0u32.wrapping_sub(0xe852_50d6 + 15);
    short[12..16].copy_from_slice(&checksum.to_le_bytes());
    check(
        &short,
        "Malformed: `header_length` at byte 0x8 is 0xf, expected 0x10 or more",
    );
}

#[test]
fn tags_that_violate_the_specification_but_can_be_used_give_a_warning() {
    const ACCEPTED: &str = "fixed, multiboot2 0x100000, 0x100000..0x100200=0x0..0x200";
    let check = |body: &[u8], warning: &str| {
        check(
            &file(0x200, 0, &v2_raw(0, body)),
            &format!("{ACCEPTED}; {warning}"),
        );
    };
    let padded = |tags: &[Vec<u8>]| {
        let mut body = Vec::new();
        for tag in tags {
            body.extend(tag);
            body.resize(body.len().next_multiple_of(8), 0);
        }
        body
    };
    let (addresses, end) = (v2_tags_at(AT), tag(0, 0, &[]));
    let with = |more: &[Vec<u8>]| padded(&[&addresses[..], more].concat());
    check(
        &with(&[]),
        "the Multiboot2 header ends at byte 0x38 without an end tag",
    );
    check(
        &with(&[vec![0; 8]]),
        "`size` at byte 0x3c of the end tag is 0x0, expected 0x8; it is ignored",
    );
    // The same tag twice; different tags without addresses for loading. The first warning of a kind is enough.
    for kind in [2, 3, 4, 5, 8, 9, 10] {
        let one = match kind {
            2 => addresses[0].clone(),
            3 => addresses[1].clone(),
            _ => tag(kind, 1, &[1; 4]),
        };
        let other = match kind {
            2 | 3 => one.clone(),
            _ => tag(kind, 1, &[2; 4]),
        };
        let second = 0x38 + 24 * u32::from(kind > 3);
        check(
            &padded(
                &[
                    &addresses[..],
                    if kind > 3 { std::slice::from_ref(&one) } else { &[] },
                    &[other.clone(), other, end.clone()],
                ]
                .concat(),
            ),
            &format!(
                "there is a second Multiboot2 header tag of type {kind} at byte {second:#x}; the first one is used"
            ),
        );
    }
    // The first console counts, and a kernel with invalid constraints stays at its link address.
    let twice = with(&[tag(4, 0, &[1]), tag(4, 0, &[2]), end.clone()]);
    let image = fmt_multiboot::parse(&file(0x200, 0, &v2_raw(0, &twice)))
        .unwrap()
        .unwrap();
    let metadata: &Multiboot2Metadata = image.metadata().unwrap();
    assert_eq!(metadata.console, Some(Console::new(1, false)));
    for relocatable in [[0, 1, 3, 0], [0, 1, 0, 0], [2, 1, 1, 0]] {
        let body = with(&[tag(10, 0, &relocatable), end.clone()]);
        check(
            &body,
            "the relocatable tag of the Multiboot2 header at byte 0x38 is ignored: its alignment is not a power of two, or its \
             addresses are not in order",
        );
        let image = fmt_multiboot::parse(&file(0x200, 0, &v2_raw(0, &body)))
            .unwrap()
            .unwrap();
        assert_eq!(image.metadata::<Multiboot2Metadata>().unwrap().relocatable, None);
    }
}

#[test]
fn the_header_becomes_metadata() {
    let rest = [0x10_0000, 0x10_0000, 0, 0, 0x10_0000, 1, 80, 25, 0];
    let bytes = file(0x100, 0, &v1(0x1_0005, &rest));
    let image = fmt_multiboot::parse(&bytes).unwrap().unwrap();
    let mut expected = MultibootMetadata::new(0, 0x1_0005);
    expected.addresses = Some(LoadAddresses::new(0x10_0000, 0x10_0000, 0, 0));
    expected.video = Some(VideoMode::new(1, 80, 25, 0));
    assert_eq!(image.metadata(), Some(&expected));
    assert_eq!(image.metadata::<Multiboot2Metadata>(), None);
    check(
        &bytes[..44],
        "Malformed: the Multiboot header of 0x30 bytes at byte 0x0 ends past byte 0x2c, the end of the file or of the part of \
         the file that may contain the header",
    );
}

#[test]
fn every_tag_becomes_metadata() {
    let addresses = v2_tags_at(at(8));
    let tags = [
        tag(1, 0, &[4, 6]),
        addresses[0].clone(),
        addresses[1].clone(),
        tag(1, 1, &[0x1234]),
        tag(4, 0, &[3]),
        tag(5, 1, &[1024, 768, 32]),
        tag(6, 0, &[]),
        tag(7, 0, &[]),
        tag(8, 0, &[0x11]),
        tag(9, 1, &[0x22]),
        tag(10, 1, &[0x1000, 0xffff_ffff, 0x1000, 2]),
        tag(11, 1, &[5]),
        tag(0x8000, 0, &[]),
    ];
    let header = v2(&tags);
    let image = fmt_multiboot::parse(&file(0x200, 8, &header)).unwrap().unwrap();
    let mut expected = Multiboot2Metadata::new(8, u32::try_from(header.len()).unwrap());
    expected.requests = vec![
        InfoRequest::new(InfoTag::BASIC_MEMORY, false),
        InfoRequest::new(InfoTag::MEMORY_MAP, false),
        InfoRequest::new(InfoTag(0x1234), true),
    ];
    expected.addresses = Some(LoadAddresses::new(0x10_0008, 0x10_0000, 0, 0));
    expected.entry = Some(0x10_0000);
    expected.console = Some(Console::new(3, false));
    expected.framebuffer = Some(Framebuffer::new(1024, 768, 32, true));
    expected.requires_aligned_modules = true;
    expected.efi_boot_services = true;
    expected.efi32_entry = Some(0x11);
    expected.efi64_entry = Some(0x22);
    expected.relocatable = Some(Relocatable::new(0x1000, u32::MAX, 0x1000, 2, true));
    let found: &Multiboot2Metadata = image.metadata().unwrap();
    let kinds: Vec<_> = found.unknown.iter().map(|tag| (tag.kind, tag.optional)).collect();
    assert_eq!(kinds, [(11, true), (0x8000, false)]);
    let offset = found.unknown[0].offset;
    let word = &file(0x200, 8, &header)[usize::try_from(offset).unwrap()..][..4];
    assert_eq!(word, [11, 0, 1, 0]);
    expected.unknown = vec![
        UnknownTag::new(11, true, offset),
        UnknownTag::new(0x8000, false, offset + 16),
    ];
    assert_eq!(found, &expected);
}
