//! Prepared boots in files.

use std::error::Error as _;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;

use boot_core::{LoadError, Sources};
use guest_ram::{FileMapping, PreparedBoot, PreparedFileError};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{bytes, file, image, plan, ram};

/// Offset of the description in a file.
const DESCRIPTION: usize = 32;

/// A prepared boot with zeros behind the kernel, and its file.
fn saved() -> (PreparedBoot, Vec<u8>) {
    let kernel = file(0x9000);
    let plan = plan(&image(0x9000, 0x8001, 0x5000));
    let prepared = PreparedBoot::new(&plan, &Sources::kernel(&kernel)).unwrap();
    let prepared = prepared.with_notes("64 MiB, one CPU".into());
    let mut bytes = Vec::new();
    prepared.save(&mut bytes).unwrap();
    (prepared, bytes)
}

fn on_disk(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn description(bytes: &[u8]) -> Value {
    let len = u64::from_le_bytes(bytes[24..DESCRIPTION].try_into().unwrap());
    serde_json::from_slice(&bytes[DESCRIPTION..][..usize::try_from(len).unwrap()]).unwrap()
}

/// The file with another description. The pages stay where they are.
fn with_description(bytes: &[u8], description: &Value) -> Vec<u8> {
    let text = serde_json::to_vec(description).unwrap();
    assert!(DESCRIPTION + text.len() < 0x1_0000);
    let mut bytes = bytes.to_vec();
    bytes[24..DESCRIPTION].copy_from_slice(&u64::try_from(text.len()).unwrap().to_le_bytes());
    bytes[DESCRIPTION..][..text.len()].copy_from_slice(&text);
    bytes
}

#[test]
fn a_saved_boot_is_the_same_boot() {
    let (prepared, saved) = saved();
    let mut expected = ram();
    prepared.load(&mut expected).unwrap();
    for files in [FileMapping::Sealed, FileMapping::Trusted] {
        let opened = PreparedBoot::open(on_disk(&saved), files).unwrap();
        assert_eq!(opened.notes(), "64 MiB, one CPU");
        assert_eq!(
            (opened.arch(), opened.kernel(), opened.memory()),
            (prepared.arch(), prepared.kernel(), prepared.memory())
        );
        assert_eq!(
            (opened.cpus(), opened.zeros()),
            (prepared.cpus(), prepared.zeros())
        );
        // Whole pages, where every host can map them.
        let places = opened
            .pages()
            .iter()
            .map(|pages| pages.offset)
            .collect::<Vec<_>>();
        assert_eq!(places[0], 0x1_0000);
        let mut found = ram();
        opened.load(&mut found).unwrap();
        assert!(bytes(&found) == bytes(&expected));
        // What the guest writes does not reach the file.
        boot_core::GuestMemory::write(&mut found, 0x100_0000, b"written").unwrap();
        let mut again = Vec::new();
        opened.save(&mut again).unwrap();
        assert!(again == saved);
    }
}

#[test]
fn files_that_are_no_prepared_boots_are_refused() {
    type Edit = fn(&mut Vec<u8>);
    let saved = saved().1;
    let check = |edit: Edit, expected: &str| {
        let mut bytes = saved.clone();
        edit(&mut bytes);
        let error = PreparedBoot::open(on_disk(&bytes), FileMapping::Trusted).unwrap_err();
        let cause = error.source().map(ToString::to_string).unwrap_or_default();
        let text = format!("{error}: {cause}");
        assert!(text.contains(expected), "{text}");
    };
    check(|bytes| bytes.truncate(31), "0x0..0x20 are past the end");
    check(Vec::clear, "does not begin with");
    check(|bytes| bytes[0] ^= 1, "does not begin with \"vmboot-prepared\"");
    check(|bytes| bytes[15] = 1, "does not begin with");
    check(|bytes| bytes[16] = 2, "version 2");
    check(
        |bytes| bytes[31] = 1,
        "description of the prepared boot has 0x1000000000005",
    );
    check(|bytes| bytes[26] = 0x11, "more than 0x100000");
    check(|bytes| bytes[24] ^= 1, "malformed");
    check(|bytes| bytes.truncate(100), "past the end");
    check(|bytes| bytes.truncate(0x1_2000), "which has 0x12000 bytes");
}

#[test]
fn descriptions_that_contradict_themselves_are_refused() {
    type Edit = fn(&mut Value);
    let saved = saved().1;
    let check = |edit: Edit, expected: &str| {
        let mut description = description(&saved);
        edit(&mut description);
        let bytes = with_description(&saved, &description);
        let error = PreparedBoot::open(on_disk(&bytes), FileMapping::Trusted).unwrap_err();
        let cause = error.source().map(ToString::to_string).unwrap_or_default();
        let text = format!("{error}: {cause}");
        assert!(text.contains(expected), "{text}");
    };
    check(|it| it["cpus"] = json!([]), "starts no CPU");
    check(
        |it| it["arch"] = json!("aarch64"),
        "is for aarch64, but has the entry state of a CPU for x86_64",
    );
    check(|it| it["arch"] = json!("sparc"), "unknown variant `sparc`");
    check(
        |it| it["pages"][0]["range"] = json!({"start": 0x2000, "end": 0x1000}),
        "0x2000..0x1000 ends before",
    );
    check(
        |it| it["pages"][0]["range"]["end"] = it["pages"][0]["range"]["start"].clone(),
        "are empty, or not behind",
    );
    check(
        |it| it["pages"][1] = it["pages"][0].clone(),
        "or not behind those before",
    );
    check(
        |it| it["pages"][0]["offset"] = json!(u64::MAX),
        "at 0xffffffffffffffff of the file",
    );
    check(
        |it| it["memory"]["regions"][1] = it["memory"]["regions"][0].clone(),
        "overlaps the ram region",
    );
    check(
        |it| it["memory"]["regions"][0]["range"]["end"] = json!(0),
        "is empty",
    );
    check(|it| it["kernel"] = json!(null), "malformed");
}

#[test]
fn pages_outside_the_memory_are_not_written() {
    let saved = saved().1;
    let mut description = description(&saved);
    let pages = description["pages"].as_array().unwrap().len();
    description["pages"][pages - 1]["range"] = json!({"start": 1_u64 << 40, "end": (1_u64 << 40) + 0x1000});
    let bytes = with_description(&saved, &description);
    let opened = PreparedBoot::open(on_disk(&bytes), FileMapping::Trusted).unwrap();
    let mut ram = ram();
    let error = opened.load(&mut ram).unwrap_err();
    assert!(matches!(error, LoadError::NoMemory { .. }), "{error}");
    assert!(super::bytes(&ram).iter().all(|byte| *byte == 0));
}

#[test]
fn a_file_that_became_shorter_is_an_error() {
    let saved = saved().1;
    for files in [FileMapping::Sealed, FileMapping::Trusted] {
        let file = on_disk(&saved);
        let opened = PreparedBoot::open(file.try_clone().unwrap(), files).unwrap();
        file.set_len(0x1_1000).unwrap();
        let error = opened.load(&mut ram()).unwrap_err();
        assert!(matches!(error, LoadError::Incomplete { .. }), "{error}");
        let error = opened.save(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    }
    assert!(matches!(
        PreparedBoot::open(File::open("/").unwrap(), FileMapping::Sealed),
        Err(PreparedFileError::Read(_))
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn arbitrary_changes_of_the_header_never_panic(at in 0_usize..0x800, value: u8) {
        let (_, saved) = saved();
        let file = on_disk(&saved);
        file.write_all_at(&[value], u64::try_from(at).unwrap()).unwrap();
        if let Ok(opened) = PreparedBoot::open(file, FileMapping::Trusted) {
            // It may be too large for the memory.
            let _in_memory_or_not = opened.load(&mut ram());
        }
    }
}
