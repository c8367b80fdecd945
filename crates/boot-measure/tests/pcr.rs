//! Which sections of an image are measured, what configures it, and images that cannot be measured.

use boot_core::{ByteSource, SizedSource};
use boot_measure::pcr::{ArchiveKind, LinuxStub, Pcr, Stub, StubArchive, UkiSections, UkiSectionsError};
use boot_measure::{AuthenticodeError, Content, HashAlgorithm, authenticode_digest};
use fmt_pe::pe::PeFile;
use fmt_test::pe::{AMD64, Pe, SECTION_HEADER_LEN, SECTION_TABLE};
use proptest::prelude::*;

const BANK: HashAlgorithm = HashAlgorithm::Sha256;

fn pe(file: &dyn ByteSource) -> PeFile<'_> {
    PeFile::parse(SizedSource::new(file).unwrap()).unwrap().unwrap()
}

/// The register after these measurements.
fn chain(events: &[&[u8]]) -> Pcr {
    let mut pcr = Pcr::new(BANK);
    for event in events {
        pcr.measure(event);
    }
    pcr
}

#[track_caller]
fn check(file: &dyn ByteSource, profile: u32, device_tree: Option<usize>, expected: &[&[u8]]) {
    let sections = UkiSections::of_image(&pe(file), file, profile, device_tree).unwrap();
    assert_eq!(sections.pcr11(BANK, &[]).unwrap(), chain(expected));
}

#[track_caller]
fn check_error(file: &dyn ByteSource, profile: u32, device_tree: Option<usize>, expected: &UkiSectionsError) {
    let found = UkiSections::of_image(&pe(file), file, profile, device_tree).unwrap_err();
    assert_eq!(&found, expected);
}

#[test]
fn a_profile_replaces_sections_of_the_base() {
    let plain = Pe::new(AMD64)
        .section(".other", "not measured")
        .section(".cmdline", "first")
        .section(".cmdline", "second")
        .section(".pcrsig", "not measured")
        .section(".linux", "kernel")
        .build();
    let base: [&[u8]; 4] = [b".linux\0", b"kernel", b".cmdline\0", b"first"];
    check(&plain, 0, None, &base);
    check_error(
        &plain,
        1,
        None,
        &UkiSectionsError::NoProfile { wanted: 1, found: 0 },
    );
    check_error(
        &plain,
        0,
        Some(0),
        &UkiSectionsError::NoDeviceTree { wanted: 0, found: 0 },
    );

    let profiles = Pe::new(AMD64)
        .section(".linux", "kernel")
        .section(".cmdline", "base")
        .section(".dtbauto", "tree of the base")
        .section(".profile", "zero")
        .section(".profile", "one")
        .section(".cmdline", "of one")
        .section(".dtbauto", "tree 0")
        .section(".dtbauto", "tree 1")
        .build();
    let own: [&[u8]; 6] = [
        b".linux\0",
        b"kernel",
        b".cmdline\0",
        b"base",
        b".profile\0",
        b"zero",
    ];
    check(&profiles, 0, None, &own);
    let tree: [&[u8]; 2] = [b".dtbauto\0", b"tree of the base"];
    check(&profiles, 0, Some(0), &[&own[..], &tree].concat());
    let own: [&[u8]; 8] = [
        b".linux\0",
        b"kernel",
        b".cmdline\0",
        b"of one",
        b".profile\0",
        b"one",
        b".dtbauto\0",
        b"tree 1",
    ];
    check(&profiles, 1, Some(1), &own);
    check_error(
        &profiles,
        1,
        Some(2),
        &UkiSectionsError::NoDeviceTree { wanted: 2, found: 2 },
    );
    check_error(
        &profiles,
        2,
        None,
        &UkiSectionsError::NoProfile { wanted: 2, found: 2 },
    );

    let addon = Pe::new(AMD64).section(".cmdline", "quiet").build();
    check_error(&addon, 0, None, &UkiSectionsError::NoKernel);
    let error = UkiSections::new().set(".text", Content::bytes(b"x")).unwrap_err();
    assert_eq!(error.to_string(), "sections of this name are not measured: .text");
}

#[test]
fn sections_are_measured_as_they_are_in_memory() {
    let file = Pe::new(AMD64).section_with_size(".linux", "kernel", 5000).build();
    let mut content = b"kernel".to_vec();
    content.resize(5000, 0);
    check(&file, 0, None, &[b".linux\0", &content]);
    let mut empty = UkiSections::new();
    empty.set(".cmdline", Content::bytes(b"")).unwrap();
    assert_eq!(
        empty.pcr11(BANK, &["enter-initrd"]).unwrap(),
        chain(&[b"enter-initrd"])
    );
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16()
        .chain([0])
        .flat_map(u16::to_le_bytes)
        .collect()
}

#[test]
fn configuration_is_measured_in_the_order_of_the_stub() {
    let [tree, ucode, ucode_2, initrd] =
        [b"tree", b"uco1", b"uco2", b"init"].map(|bytes| [Content::bytes(bytes)]);
    let archive = |kind| {
        StubArchive::of_files(kind, &[("a", b"content")])
            .unwrap()
            .unwrap()
    };
    let archives = [
        ArchiveKind::Credentials,
        ArchiveKind::SystemExtensions,
        ArchiveKind::ConfigurationExtensions,
        ArchiveKind::Profile,
    ];
    let archives = archives.map(archive);
    let mut stub = Stub::new()
        .with_cmdline("quiet")
        .with_addon_cmdlines(&["a \n", "\0", "b\tc"]);
    stub.profile = 12;
    stub.smbios_cmdline = Some(" d ");
    stub.addon_device_trees = &tree;
    stub.archives = &archives;
    stub.boot_loader_options = Some("@12");
    let both = [ucode[0], ucode_2[0]];
    stub.addon_ucode = &both;
    stub.addon_initrds = &initrd;
    let texts = ["@12", "12", "quiet", "a  b c", "d"].map(utf16);
    let mut events: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
    let [credentials, sysext, confext, profile] = archives.each_ref().map(|archive| &*archive.bytes);
    events.extend([b"tree", credentials, confext, b"uco2", b"uco1", b"init"]);
    assert_eq!(stub.pcr12(BANK).unwrap(), chain(&events));
    assert_eq!(stub.pcr13(BANK).unwrap(), chain(&[sysext]));
    let mut sections = UkiSections::new();
    sections.set(".initrd", Content::bytes(b"base")).unwrap();
    sections.set(".ucode", Content::bytes(b"uco0")).unwrap();
    let parts = stub.initrds(&sections);
    let found = LinuxStub::new().with_initrds(&parts).pcr9(BANK).unwrap();
    let archives = [credentials, sysext, confext, profile];
    let expected = [&b"uco2uco1uco0base"[..], &archives.concat(), b"init"].concat();
    assert_eq!(found, chain(&[&expected]));
    assert_eq!(stub.kernel_cmdline("from the image"), "quiet a  b c d");
    let without = Stub::new().with_addon_cmdlines(&["a"]);
    assert_eq!(without.kernel_cmdline(" from the image\n"), "from the image a");
    assert_eq!(Stub::new().kernel_cmdline(""), "");
    assert_eq!(Stub::new().pcr12(BANK).unwrap(), Pcr::new(BANK));
}

#[test]
fn joined_initrds_are_padded() {
    let check = |parts: &[&[u8]], expected: &[&[u8]]| {
        let parts: Vec<Content<'_>> = parts.iter().map(|part| Content::bytes(part)).collect();
        let found = LinuxStub::new().with_initrds(&parts).pcr9(BANK).unwrap();
        assert_eq!(found, chain(expected));
    };
    check(&[], &[]);
    check(&[b"12345"], &[b"12345"]);
    check(&[b"12345", b"1234", b"1"], &[b"12345\0\0\x001234\x31\0\0\0"]);
}

fn digest(file: &dyn ByteSource) -> Result<String, AuthenticodeError> {
    let source = SizedSource::new(file).unwrap();
    authenticode_digest(&pe(file), &source, BANK).map(|digest| digest.to_string())
}

#[test]
fn the_hash_of_a_file_covers_all_but_checksum_and_certificates() {
    let file = Pe::new(AMD64).section(".data", [7; 700]).build();
    let expected = digest(&file).unwrap();
    let entry = SECTION_TABLE - 16 * 8 + 4 * 8;
    let uncovered = [0xd8..0xdc, entry..entry + 8]
        .map(Iterator::collect::<Vec<usize>>)
        .concat();
    for at in (0..file.len()).filter(|at| !uncovered.contains(at)) {
        // These fields place sections, headers and the signature itself.
        let mut changed = file.clone();
        changed[at] ^= 1;
        let source = SizedSource::new(&changed).unwrap();
        if let Ok(Some(pe)) = PeFile::parse(source) {
            let found = authenticode_digest(&pe, &source, BANK);
            assert!(
                found.is_err() || found.unwrap().to_string() != expected,
                "{at:#x}"
            );
        }
    }
    for at in 0xd8..0xdc {
        let mut changed = file.clone();
        changed[at] ^= 1;
        assert_eq!(digest(&changed).unwrap(), expected);
    }
    let mut longer = file.clone();
    longer.extend([0; 8]);
    assert_ne!(digest(&longer).unwrap(), expected);
    longer[entry..entry + 8].copy_from_slice(&[0, 0, 0, 0, 8, 0, 0, 0]);
    assert_eq!(digest(&longer).unwrap(), expected);
    longer[entry + 4] = 9;
    assert_eq!(
        digest(&longer).unwrap_err().to_string(),
        "the certificate table has 0x9 bytes, but 0x8 follow the sections"
    );
    // `SizeOfRawData` of the last section.
    let size = SECTION_TABLE + SECTION_HEADER_LEN + 16;
    let mut truncated = file;
    truncated[size..size + 4].copy_from_slice(&0x800_u32.to_le_bytes());
    let len = truncated.len();
    assert_eq!(
        digest(&truncated).unwrap_err().to_string(),
        format!("bytes 0x400..0xc00 of a section are past the end of the file, which has {len:#x} bytes")
    );
}

proptest! {
    #[test]
    fn damaged_images_never_panic(
        changes in prop::collection::vec((0_usize..0x400, any::<u8>()), 1..8),
        profile in 0_u32..3,
        tree in prop::option::of(0_usize..2),
    ) {
        let mut file = Pe::new(AMD64)
            .section(".linux", [1; 600])
            .section(".profile", "p")
            .section(".dtbauto", "t")
            .build();
        for (at, byte) in changes {
            file[at] = byte;
        }
        let source = SizedSource::new(&file).unwrap();
        if let Ok(Some(pe)) = PeFile::parse(source) {
            let _digest = authenticode_digest(&pe, &source, BANK);
            if let Ok(sections) = UkiSections::of_image(&pe, &file, profile, tree) {
                prop_assert!(sections.get(".linux").is_some());
            }
        }
    }
}
