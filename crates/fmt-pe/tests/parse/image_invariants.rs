//! Invariants of every accepted `Image` and zboot file.

use boot_core::{Arch, Endian, EntryAbi, KernelImage, Placement, SizedSource, SourceRange};
use boot_linux::{arm64, riscv};
use fmt_pe::pe::{Machine, PeFile};
use fmt_pe::{Arm64Image, RiscvImage, Warning, ZbootImage};
use zerocopy::IntoBytes;

const MIB: u64 = 1 << 20;

/// Parses `file` as each of the formats and checks the invariants of accepted images. True if one was accepted.
pub(crate) fn check_all(file: &[u8]) -> bool {
    let arm64 = Arm64Image::parse(&file).ok().flatten();
    let riscv = RiscvImage::parse(&file).ok().flatten();
    let zboot = ZbootImage::parse(&file).ok().flatten();
    if let Some(image) = &arm64 {
        check_arm64(file, image);
    }
    if let Some(image) = &riscv {
        check_riscv(file, image);
    }
    if let Some(image) = &zboot {
        check_zboot(file, image);
    }
    arm64.is_some() || riscv.is_some() || zboot.is_some()
}

/// Checks the invariants of `kernel`, which was parsed from `file`.
pub(crate) fn check_arm64(file: &[u8], kernel: &Arm64Image) {
    let (flags, image) = (u64_at(file, 0x18), kernel.image());
    assert_eq!(kernel.header().as_bytes(), &file[..64]);
    assert_eq!(&file[0x38..0x3c], b"ARM\x64");
    assert_eq!((image.format(), image.arch()), ("arm64-image", Arch::Aarch64));
    let page_size = match (flags >> 1) & 3 {
        0 => None,
        n => Some(1 << (10 + 2 * n)),
    };
    let metadata = arm64::ImageMetadata::new(page_size, flags & 8 != 0);
    assert_eq!(image.metadata(), Some(&metadata));
    assert_eq!(image.metadata::<riscv::ImageMetadata>(), None);
    assert_eq!(
        (kernel.page_size(), kernel.is_placed_anywhere()),
        (page_size, flags & 8 != 0)
    );

    let text_offset = kernel.text_offset();
    match u64_at(file, 0x10) {
        0 => {
            assert_eq!((text_offset, kernel.image_size()), (0x8_0000, None));
            assert!(image.extent().len() > file.len() as u64);
            let is_big = flags & 1 != 0 || file[0x08..0x10] == 0x8_0000_u64.to_be_bytes();
            assert_eq!(kernel.endian() == Endian::Big, is_big);
        }
        size => {
            assert_eq!(
                (text_offset, kernel.image_size()),
                (u64_at(file, 0x08), Some(size))
            );
            assert_eq!(image.extent().len(), size.max(file.len() as u64));
            assert_eq!(kernel.endian() == Endian::Big, flags & 1 != 0);
        }
    }
    let is_large = Warning::LargeTextOffset { found: text_offset };
    assert_eq!(kernel.warnings().contains(&is_large), text_offset >= 2 * MIB);
    assert_eq!(kernel.warnings().len(), image.warnings().len());
    check_image(
        file,
        image,
        EntryAbi::ARM64_IMAGE,
        text_offset,
        kernel.has_pe_header(),
    );
    let Placement::Relocatable(rule) = image.placement() else {
        panic!("it is relocatable");
    };
    assert_eq!(
        (rule.align, rule.align_offset, rule.base_offset),
        (2 * MIB, text_offset % (2 * MIB), text_offset)
    );
    assert_eq!((rule.min, rule.max), (text_offset, 1 << 48));
}

/// Checks the invariants of `kernel`, which was parsed from `file`.
pub(crate) fn check_riscv(file: &[u8], kernel: &RiscvImage) {
    let image = kernel.image();
    assert_eq!(kernel.header().as_bytes(), &file[..64]);
    let has_magic2 = &file[0x38..0x3c] == b"RSC\x05";
    assert!(has_magic2 || &file[0x30..0x38] == b"RISCV\0\0\0");
    let (major, minor) = kernel.version();
    assert!(major == 0 && (has_magic2 || minor < 2));
    let metadata = riscv::ImageMetadata::new((major, minor));
    assert_eq!(image.metadata(), Some(&metadata));
    assert_eq!(image.metadata::<arm64::ImageMetadata>(), None);
    assert_eq!((image.format(), image.arch()), ("riscv-image", Arch::Riscv64));
    assert_eq!(image.endian() == Endian::Big, file[0x18] & 1 != 0);
    assert_eq!(
        (kernel.text_offset(), kernel.image_size()),
        (u64_at(file, 0x08), u64_at(file, 0x10))
    );
    assert_eq!(image.extent().len(), kernel.image_size().max(file.len() as u64));
    assert_eq!(kernel.warnings().len(), image.warnings().len());
    check_image(
        file,
        image,
        EntryAbi::RISCV_IMAGE,
        kernel.text_offset(),
        kernel.has_pe_header(),
    );
    let Placement::Relocatable(rule) = image.placement() else {
        panic!("it is relocatable");
    };
    assert_eq!((rule.align, rule.align_offset), (2 * MIB, 0));
    assert_eq!((rule.base_offset, rule.min), (0, 0));
}

/// Checks the common invariants: the whole file is at the start of the extent, which begins at `text_offset`.
fn check_image(file: &[u8], image: &KernelImage, abi: EntryAbi, text_offset: u64, has_pe_header: bool) {
    fmt_test::assert_valid_image(image, file.len());
    let [segment] = image.segments() else {
        panic!("it has one segment");
    };
    assert_eq!(segment.source, SourceRange::whole(file.len() as u64));
    assert_eq!(segment.file_part(), segment.range);
    assert_eq!(
        (segment.range.start(), image.extent().start()),
        (text_offset, text_offset)
    );
    assert!(image.extent().contains(segment.range));
    let [entry] = image.entries() else {
        panic!("it has one entry point");
    };
    assert_eq!((entry.abi, entry.addr), (abi, text_offset));
    let Placement::Relocatable(rule) = image.placement() else {
        panic!("it is relocatable");
    };
    assert!(rule.allows_at(text_offset, image.extent().len()));

    let source = SizedSource::new(&file).expect("a slice has a length");
    let machine = match PeFile::parse(source) {
        Ok(pe) => pe.map(|pe| pe.machine()),
        Err(_) => None,
    };
    assert_eq!(has_pe_header, machine.is_some());
    let own = match image.arch() {
        Arch::Aarch64 => Machine::ARM64,
        _ => Machine::RISCV64,
    };
    assert_eq!(image.has_efi_stub(), machine == Some(own));
}

/// Checks the invariants of `zboot`, which was parsed from `file`.
pub(crate) fn check_zboot(file: &[u8], zboot: &ZbootImage) {
    assert_eq!(zboot.header().as_bytes(), &file[..64]);
    assert_eq!((&file[..2], &file[4..8]), (&b"MZ"[..], &b"zimg"[..]));
    let payload = zboot.payload();
    assert!(!payload.source.is_empty() && payload.source.end() <= file.len() as u64);
    assert_eq!(payload.source.offset(), u64_at(file, 0x08) & 0xffff_ffff);
    assert_eq!(payload.source.len(), u64_at(file, 0x08) >> 32);
    assert!(zboot.compression().len() <= 32 && !zboot.compression().contains(&0));
}

fn u64_at(file: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(*file[offset..].first_chunk().expect("inside the file"))
}
