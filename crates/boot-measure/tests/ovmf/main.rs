//! Malformed OVMF images, and launches that an image does not permit.

mod invariants;

use boot_core::ByteSource;
use boot_measure::Content;
use boot_measure::ovmf::{Ovmf, SectionKind};
use boot_measure::snp::{CpuSignature, FirmwareLaunch, KernelHashes};
use proptest::prelude::*;

use fmt_test::ovmf::{FOOTER, Firmware, HASH_TABLE, METADATA, METADATA_OFFSET, RESET_BLOCK, guid};

fn image() -> Firmware {
    Firmware::new(vec![0x5a; 0x2000])
}

/// The error of an image.
#[track_caller]
fn check(file: &dyn ByteSource, expected: &str) {
    assert_eq!(Ovmf::parse(file).unwrap_err().to_string(), expected);
}

/// The error of a changed image.
#[track_caller]
fn check_changed(change: impl FnOnce(&mut Firmware), expected: &str) {
    let mut image = image();
    change(&mut image);
    check(&image.build(), expected);
}

#[test]
fn an_image_has_its_table_and_sections() {
    let file = image().build();
    let ovmf = Ovmf::parse(&file).unwrap();
    assert_eq!(ovmf.gpa(), 0xffff_e000);
    assert_eq!(ovmf.hash_table(), Some(0x81_0c00));
    assert_eq!(ovmf.reset_eip(), Some(0x80_b004));
    let sections: Vec<_> = ovmf
        .sections()
        .iter()
        .map(|section| (section.gpa, section.size, section.kind))
        .collect();
    assert_eq!(
        sections,
        [
            (0x80_0000, 0x9000, SectionKind::SecMem),
            (0x80_d000, 0x1000, SectionKind::Secrets),
            (0x80_e000, 0x1000, SectionKind::Cpuid),
            (0x80_f000, 0x1000, SectionKind::SvsmCaa),
            (0x81_0000, 0x1000, SectionKind::KernelHashes),
            (0x81_1000, 0xf000, SectionKind::SecMem),
        ]
    );
    let mut bare = image();
    bare.table.clear();
    let file = bare.build();
    let ovmf = Ovmf::parse(&file).unwrap();
    assert_eq!(
        (ovmf.hash_table(), ovmf.reset_eip(), ovmf.sections().len()),
        (None, None, 0)
    );
}

#[test]
fn malformed_images_are_refused() {
    check(
        &vec![],
        "the firmware has 0x0 bytes, but it must be whole pages of 4096 bytes below 4 GiB",
    );
    check(
        &vec![0; 0x1001],
        "the firmware has 0x1001 bytes, but it must be whole pages of 4096 bytes below 4 GiB",
    );
    let no_table = "the firmware has no table with the GUID 96b582de-1fb2-45f7-baea-a366c55a082d at its end: it is not OVMF";
    check(&vec![0; 0x1000], no_table);
    let mut file = image().build();
    let footer = file.len() - 32 - 18;
    assert_eq!(file[footer + 2..footer + 18], guid(FOOTER));
    file[footer..footer + 2].copy_from_slice(&17_u16.to_le_bytes());
    check(&file, no_table);
    file[footer..footer + 2].copy_from_slice(&0x3000_u16.to_le_bytes());
    check(&file, no_table);
    let file = image().build();
    for (size, max) in [(17_u16, 0x60), (0x61, 0x60)] {
        let mut file = file.clone();
        // The entry before the footer.
        file[footer - 18..footer - 16].copy_from_slice(&size.to_le_bytes());
        check(
            &file,
            &format!("an entry of the table at the end has {size:#x} bytes, but must have 0x12 to {max:#x}"),
        );
    }
    for (text, what) in [
        (HASH_TABLE, "table of hashes"),
        (RESET_BLOCK, "reset block"),
        (METADATA, "SEV metadata"),
    ] {
        check_changed(
            |image| image.table.push((guid(text), vec![1; 3])),
            &format!("the entry of the table for the {what} has no four bytes of data"),
        );
    }
    for (offset, expected) in [
        (
            0x2001,
            "the SEV metadata at 0x2001 bytes before the end of the firmware are outside the file",
        ),
        (
            15,
            "the SEV metadata at 0xf bytes before the end of the firmware are outside the file",
        ),
        (
            0x800,
            "the SEV metadata begin with [5a, 5a, 5a, 5a] and have version 1515870810, but must have ASEV and 1",
        ),
    ] {
        check_changed(
            |image| image.table[2].1 = u32::to_le_bytes(offset).to_vec(),
            expected,
        );
    }
    check_changed(
        |image| image.version = 2,
        "the SEV metadata begin with [41, 53, 45, 56] and have version 2, but must have ASEV and 1",
    );
    check_changed(
        |image| image.sections.push((0, 0x1000, 7)),
        "the section of SEV metadata at 0x0 has the unknown kind 0x7",
    );
    for (gpa, size) in [(1, 0x1000), (0, 0x800), (0xffff_f000, 0x2000), (0, 0xffff_f000)] {
        check_changed(
            |image| image.sections.push((gpa, size, 1)),
            &format!(
                "the section of SEV metadata at {gpa:#x} has {size:#x} bytes; sections are whole pages, together below 4 GiB"
            ),
        );
    }
    let mut file = image().build();
    let header = file.len() - usize::try_from(METADATA_OFFSET).unwrap();
    file[header + 12] = 7;
    check(&file, "the SEV metadata have 7 sections in 0x58 bytes");
    file[header + 4..header + 8].copy_from_slice(&0x401_u32.to_le_bytes());
    check(
        &file,
        "the SEV metadata at 0x400 bytes before the end of the firmware are outside the file",
    );
}

/// The error of a launch with a kernel and two vCPUs.
#[track_caller]
fn check_launch(change: impl FnOnce(&mut Firmware), expected: Option<&str>) {
    let mut image = image();
    change(&mut image);
    let file = image.build();
    let ovmf = Ovmf::parse(&file).unwrap();
    let hashes = KernelHashes::new(&Content::bytes(b"kernel"), None, b"").unwrap();
    let launch = FirmwareLaunch::new(&ovmf, 2, CpuSignature(1)).with_hashes(hashes);
    let found = launch.snp_digest().err().map(|error| error.to_string());
    assert_eq!(found.as_deref(), expected);
}

#[test]
fn a_launch_needs_what_the_firmware_has() {
    let no_hashes = "the firmware has no place for hashes of a kernel; build OvmfPkg/AmdSev/AmdSevX64.dsc, or start the kernel \
                     from a disk";
    let keep = |image: &mut Firmware, dropped: &str| image.table.retain(|(found, _)| *found != guid(dropped));
    check_launch(|_| {}, None);
    check_launch(|image| keep(image, HASH_TABLE), Some(no_hashes));
    check_launch(
        |image| image.sections.retain(|section| section.2 != 0x10),
        Some(no_hashes),
    );
    check_launch(|image| image.table[1].1[..4].fill(0), Some(no_hashes));
    check_launch(
        |image| keep(image, RESET_BLOCK),
        Some("the firmware has no reset block, which more than one vCPU needs"),
    );
    let place = "the table of hashes at 0x810f51 is not inside one page";
    check_launch(
        |image| image.table[1].1[..2].copy_from_slice(&[0x51, 0x0f]),
        Some(place),
    );
    check_launch(|image| image.table[1].1[..2].copy_from_slice(&[0x50, 0x0f]), None);
    let place = "the table of hashes at 0x810c00 is not inside one page";
    check_launch(|image| image.sections[4].1 = 0x2000, Some(place));
}

proptest! {
    #[test]
    fn damaged_images_never_panic(
        changes in prop::collection::vec((0_usize..0x500, any::<u8>()), 0..12),
    ) {
        let mut file = image().build();
        let end = file.len();
        for (at, byte) in changes {
            file[end - 1 - at] = byte;
        }
        invariants::check(&file[0x1000..]);
    }
}
