//! Arbitrary and changed inputs.

use std::ops::Range;

use bls::Arch;
use bls::scan::{ScanConfig, Volume, VolumeKind, scan};
use fmt_test::pe::{AMD64, Pe, SECTION_HEADER_LEN, SECTION_TABLE, device_tree, uki};
use fmt_test::{apply, change};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::invariants;
use crate::memory_fs::MemoryFs;

/// Keys, values, and what is between them.
const PARTS: [&str; 40] = [
    "title ",
    "version ",
    "machine-id ",
    "sort-key ",
    "linux ",
    "uki ",
    "uki-url ",
    "profile ",
    "efi ",
    "initrd ",
    "options ",
    "devicetree ",
    "devicetree-overlay ",
    "architecture ",
    "default ",
    "timeout ",
    "@saved",
    "x64",
    "/a",
    "\\b",
    "/../c",
    "$x",
    "1",
    "menu-force",
    "\n",
    "\n",
    "\n",
    "\r\n",
    "\t",
    " ",
    "#",
    "\"",
    "'",
    "=",
    "ID=",
    "NAME=",
    "\u{feff}",
    "ä",
    "\0",
    "[a-z]*",
];

fn texts() -> impl Strategy<Value = String> {
    vec(select(PARTS.to_vec()), 0..40).prop_map(|parts| parts.concat())
}

fn versions() -> impl Strategy<Value = String> {
    proptest::string::string_regex("[0-2ab.~^_+-]{0,6}").expect("a valid expression")
}

fn patterns() -> impl Strategy<Value = String> {
    proptest::string::string_regex(r"([ab*?\-\[\]!^\\A]|\*a){0,12}").expect("a valid expression")
}

fn images() -> Vec<Vec<u8>> {
    let pes = [
        uki(AMD64),
        uki(AMD64)
            .section(".profile", "ID=a")
            .section(".cmdline", "x")
            .section(".profile", "ID=b\nTITLE=c"),
        uki(AMD64).section(".dtbauto", device_tree(&[("compatible", b"a\0")])),
        Pe::new(AMD64).section(".cmdline", "x").section(".ucode", "y"),
    ];
    pes.iter().map(Pe::build).collect()
}

/// Fields of the section table and of the headers.
fn fields() -> Vec<usize> {
    let table = (0..7).flat_map(|index| {
        (0..28)
            .step_by(4)
            .map(move |field| index * SECTION_HEADER_LEN + field)
    });
    let headers = [0x3c, 0x84, 0x86, 0x94, 0x98, 0xa8, 0xb8, 0xbc, 0xd0, 0xd4, 0x104];
    headers
        .into_iter()
        .chain(table.map(|field| SECTION_TABLE + field))
        .collect()
}

const HEADERS: Range<usize> = 0x80..0x300;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn arbitrary_texts_never_panic(text in texts(), bytes in vec(any::<u8>(), 0..64)) {
        invariants::check_text(text.as_bytes());
        invariants::check_text(&bytes);
        invariants::check_text(&[b"linux /a\n", bytes.as_slice()].concat());
    }

    #[test]
    fn versions_are_in_a_total_order(versions in vec(versions(), 3..8)) {
        let versions: Vec<&str> = versions.iter().map(String::as_str).collect();
        invariants::check_versions(&versions);
    }

    #[test]
    fn patterns_match_like_the_model(pattern in patterns(), name in "[abA*\\[-]{0,10}") {
        invariants::check_pattern(&pattern, &name);
    }

    #[test]
    fn arbitrary_names_never_panic(name in r"[a+0-9\-.]{0,8}(\+[0-9]{0,11}(-[0-9]{0,11})?)?\.(conf|efi|EFI|x)") {
        invariants::check_name(&name);
    }

    #[test]
    fn arbitrary_device_trees_never_panic(words in vec(0..0x80_u32, 0..40)) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        invariants::check_device_tree(&bytes);
        invariants::check_device_tree(&[&0xd00d_feed_u32.to_be_bytes(), bytes.as_slice()].concat());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn changed_images_never_panic(
        mut file in select(images()),
        changes in vec(change(&fields(), &[0, 0x40, 0x200, 0x400, 0x1000, 0x5000, 1 << 31]), 1..5),
    ) {
        apply(&mut file, &HEADERS, &changes);
        invariants::check_image(&file);
        let fs = MemoryFs::new().file("EFI/Linux/a.efi", &file).file("loader/addons/b.addon.efi", &file);
        let config = ScanConfig::new(Arch::X86_64);
        let volume = Volume { kind: VolumeKind::Esp, file_system: &fs };
        invariants::check_scan(&scan(&[volume], &config), &config);
    }

    #[test]
    fn scans_of_arbitrary_entries(
        files in vec((versions(), 0..4_u32, versions(), 0..3_u32, 0..3_u32), 0..8),
        conf in texts(),
        has_efi in any::<bool>(),
    ) {
        let mut fs = MemoryFs::new().file("loader/loader.conf", conf);
        for (name, counter, version, key, machine) in files {
            let counter = ["", "+0-2", "+1", "+2-1"][counter as usize];
            let key = ["", "sort-key a\n", "sort-key b\n"][key as usize];
            let machine = ["", "machine-id 1\n", "machine-id 2\n"][machine as usize];
            let text = format!("linux /a\nversion {version}\n{key}{machine}");
            fs = fs.file(&format!("loader/entries/{name}{counter}.conf"), text);
        }
        let mut config = ScanConfig::new(Arch::X86_64);
        config.has_efi = has_efi;
        let volume = Volume { kind: VolumeKind::Esp, file_system: &fs };
        invariants::check_scan(&scan(&[volume], &config), &config);
    }
}

/// A matcher that tries all ways would need years for this.
#[test]
fn patterns_with_many_stars_are_fast() {
    let pattern = "*a".repeat(127);
    invariants::check_pattern(&pattern, &"a".repeat(255));
    invariants::check_pattern(&pattern, &("a".repeat(254) + "b"));
    invariants::check_pattern(&"[a-b]*".repeat(42), &"ab".repeat(120));
}
