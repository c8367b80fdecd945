use super::super::{
    FileError, LoadOption, LoadOptionAttributes, LoadOptionError, OsIndications, option_name,
};
use super::*;
use crate::crc::crc32;
use crate::device_path::DevicePathBuf;
use crate::guids::GLOBAL_VARIABLE;
use proptest::prelude::*;
use std::boxed::Box;
use std::collections::BTreeMap;
use std::string::{String, ToString};
use std::vec;
use uguid::guid;

const VENDOR: Guid = guid!("605dab50-e046-4300-abb6-3dd810dd8b23");
const BS: u32 = 2;
const BS_RT: u32 = 6;
const NV_BS_RT: u32 = 7;
const APPEND: u32 = 0x40;
const INVALID: Status = Status::INVALID_PARAMETER;

type Store = Variables<0x4_0000>;

fn store() -> Box<Store> {
    Box::new(Store::new())
}

#[test]
fn variables_are_created_replaced_appended_and_deleted() {
    let mut store = store();
    let a = name("A");
    let mut check = |attributes, data: &[u8], expected: Result<&[u8]>| {
        let done = store.set(&a, VENDOR, attributes, data);
        let found = done.and_then(|()| store.get(&a, VENDOR).map(|entry| entry.data));
        assert_eq!(found, expected, "{attributes:#x} {data:?}");
    };
    check(BS, &[], Err(Status::NOT_FOUND));
    check(0, &[1], Err(Status::NOT_FOUND));
    check(BS, &[1, 2], Ok(&[1, 2]));
    check(BS_RT, &[3], Err(INVALID));
    check(BS, &[3, 4, 5], Ok(&[3, 4, 5]));
    check(BS | APPEND, &[6], Ok(&[3, 4, 5, 6]));
    check(BS | APPEND, &[], Ok(&[3, 4, 5, 6]));
    check(BS_RT | APPEND, &[1], Err(INVALID));
    check(0x1_0000, &[1], Err(INVALID));
    check(4, &[1], Err(INVALID));
    check(0xf, &[1], Err(INVALID));
    for authenticated in [0x10, 0x20, 0x80] {
        check(BS | authenticated, &[1], Err(Status::UNSUPPORTED));
    }
    check(0, &[], Err(Status::NOT_FOUND));
    assert_eq!(store.get(&a, VENDOR), Err(Status::NOT_FOUND));
    assert_eq!(store.set(&[], VENDOR, BS, &[1]), Err(INVALID));
    assert_eq!(store.set(&[0x41; MAX_NAME + 1], VENDOR, BS, &[1]), Err(INVALID));
    assert_eq!(store.get(&[], VENDOR), Err(INVALID));
}

#[test]
fn sizes_are_limited_and_reported() {
    let mut store = store();
    let info = store.query(NV_BS_RT).unwrap();
    assert_eq!(
        (info.maximum_storage, info.remaining_storage),
        (0x4_0000, 0x4_0000)
    );
    let largest = vec![7; usize::try_from(info.maximum_variable).unwrap()];
    assert_eq!(store.set(&name("M"), VENDOR, BS_RT, &largest), Ok(()));
    let remaining = store.query(BS).unwrap().remaining_storage;
    assert_eq!(remaining, 0x4_0000 - 0x1_0000);
    assert_eq!(
        store.set(&name("M"), VENDOR, BS_RT | APPEND, &[1]),
        Err(Status::OUT_OF_RESOURCES)
    );
    for text in ["N", "O", "P"] {
        assert_eq!(store.set(&name(text), VENDOR, BS_RT, &largest), Ok(()));
    }
    assert_eq!(
        store.set(&name("Q"), VENDOR, BS_RT, &[1]),
        Err(Status::OUT_OF_RESOURCES)
    );
    assert_eq!(store.query(BS).unwrap().remaining_storage, 0);
    assert_eq!(store.set(&name("N"), VENDOR, 0, &[]), Ok(()));
    assert_eq!(store.set(&name("MokListXRT"), VENDOR, BS_RT, &[1; 5500]), Ok(()));
    assert_eq!(store.get(&name("P"), VENDOR).unwrap().data, largest);
    for (attributes, status) in [
        (0, INVALID),
        (4, INVALID),
        (1, INVALID),
        (0xf, INVALID),
        (0x22, Status::UNSUPPORTED),
    ] {
        assert_eq!(store.query(attributes), Err(status), "{attributes:#x}");
    }
}

#[test]
fn names_are_listed_in_one_order() {
    let mut store = store();
    assert_eq!(store.next(&[], VENDOR), Err(Status::NOT_FOUND));
    for text in ["B", "A", "C"] {
        store.set(&name(text), VENDOR, BS, text.as_bytes()).unwrap();
    }
    store.set(&name("B"), VENDOR, BS, b"longer").unwrap();
    let mut found = String::new();
    let mut last = vec![];
    while let Ok(entry) = store.next(&last, VENDOR) {
        last = entry.units().collect();
        found.push_str(&String::from_utf16(&last).unwrap());
    }
    assert_eq!(found, "BAC");
    assert_eq!(store.next(&name("X"), VENDOR), Err(INVALID));
    assert_eq!(store.next(&name("A"), GLOBAL_VARIABLE), Err(INVALID));
}

#[test]
fn runtime_has_rules_of_its_own() {
    let mut store = store();
    for (text, attributes) in [("boot", BS), ("volatile", BS_RT), ("stored", NV_BS_RT)] {
        store.set(&name(text), VENDOR, attributes, &[1]).unwrap();
    }
    store.exit_boot_services();
    assert_eq!(store.get(&name("boot"), VENDOR), Err(Status::NOT_FOUND));
    assert_eq!(store.get(&name("volatile"), VENDOR).unwrap().data, [1]);
    let protected = Err(Status::WRITE_PROTECTED);
    assert_eq!(store.set(&name("volatile"), VENDOR, BS_RT, &[2]), protected);
    assert_eq!(store.set(&name("volatile"), VENDOR, 0, &[]), protected);
    assert_eq!(store.set(&name("stored"), VENDOR, NV_BS_RT, &[2]), Ok(()));
    assert_eq!(store.set(&name("new"), VENDOR, BS_RT, &[2]), Err(INVALID));
    assert_eq!(store.set(&name("new"), VENDOR, 3, &[2]), Err(INVALID));
    assert_eq!(store.set(&name("new"), VENDOR, NV_BS_RT, &[2]), Ok(()));
    assert_eq!(store.query(BS), Err(INVALID));
    assert!(store.query(NV_BS_RT).is_ok());
    assert_eq!(store.entries().count(), 3);
}

#[test]
fn files_keep_what_is_not_volatile() {
    let mut old = store();
    old.set(&name("volatile"), VENDOR, BS_RT, &[1]).unwrap();
    old.set(&name("stored"), VENDOR, NV_BS_RT, &[1, 2, 3]).unwrap();
    old.set(&name("boot"), VENDOR, 3, &[4]).unwrap();
    let file = old.to_file();
    let mut new = store();
    assert_eq!(new.load_file(&file), Ok(()));
    let names: Vec<_> = new
        .entries()
        .map(|entry| String::from_utf16(&entry.units().collect::<Vec<_>>()).unwrap())
        .collect();
    assert_eq!(names, ["stored", "boot"]);
    assert_eq!(new.to_file(), file);
    // Loading replaces what is not volatile, and refuses what is.
    new.set(&name("other"), VENDOR, NV_BS_RT, &[5]).unwrap();
    assert_eq!(new.load_file(&file), Ok(()));
    assert_eq!(new.to_file(), file);
    let mut new = store();
    new.set(&name("stored"), VENDOR, BS_RT, &[1]).unwrap();
    new.set(&name("other"), VENDOR, NV_BS_RT, &[5]).unwrap();
    let before = new.to_file();
    assert_eq!(new.load_file(&file), Err(FileError::Duplicate { offset: 20 }));
    assert_eq!(new.to_file(), before);
}

#[test]
fn hostile_files_are_refused_whole() {
    let mut old = store();
    old.set(&name("A"), VENDOR, NV_BS_RT, &[1, 2, 3]).unwrap();
    old.set(&name("B"), VENDOR, NV_BS_RT, &[1, 2, 3]).unwrap();
    let file = old.to_file();
    let check = |change: &dyn Fn(&mut Vec<u8>), expected: FileError, message: &str| {
        let mut file = file.clone();
        change(&mut file);
        let mut new = store();
        assert_eq!(new.load_file(&file), Err(expected));
        assert_eq!(expected.to_string(), message);
        assert_eq!(new.entries().count(), 0);
    };
    let sum = |file: &mut Vec<u8>| {
        let crc = crc32(&file[20..]).to_le_bytes();
        file[16..20].copy_from_slice(&crc);
    };
    check(
        &|file| file.truncate(19),
        FileError::TooShort { len: 19 },
        "a file of variables has at least 20 bytes, this one has 19",
    );
    check(
        &|file| file[0] = 0,
        FileError::Magic,
        "not a file of variables: it does not begin with VMBTEFIV",
    );
    check(
        &|file| file[8] = 2,
        FileError::Version { found: 2 },
        "version 2 of the file of variables is not supported",
    );
    check(
        &|file| file.truncate(30),
        FileError::Length {
            expected: 66,
            found: 10,
        },
        "the header has 66 bytes of variables, the file has 10",
    );
    let expected = crc32(&file[20..]);
    let mut changed = file[20..].to_vec();
    changed[40] ^= 1;
    let found = crc32(&changed);
    let message =
        std::format!("the CRC32 of the variables is {found:#010x}, the header has {expected:#010x}");
    check(
        &|file| file[60] ^= 1,
        FileError::Checksum { expected, found },
        &message,
    );
    let second = FileError::Record { offset: 53 };
    let message = "the variable at byte 53 is malformed";
    for (offset, value) in [
        (53, 0xff),
        (53, 3),
        (53 + 20, 6),
        (53 + 20, 0x87),
        (53 + 23, 0x80),
        (53 + 24, 0),
        (53 + 24, 1),
        (53 + 28, 0),
    ] {
        let change = |file: &mut Vec<u8>| {
            file[offset] = value;
            sum(file);
        };
        check(&change, second, message);
    }
    let same = |file: &mut Vec<u8>| {
        file[53 + 28] = b'A';
        sum(file);
    };
    check(
        &same,
        FileError::Duplicate { offset: 53 },
        "the variable at byte 53 exists already",
    );
    let mut small = Variables::<40>::new();
    assert_eq!(
        small.load_file(&file),
        Err(FileError::Full(Status::OUT_OF_RESOURCES))
    );
    assert_eq!(small.entries().count(), 0);
}

#[test]
fn boot_options_are_read_from_their_variables() {
    let mut store = store();
    store.set_firmware_variables(OsIndications::empty()).unwrap();
    assert_eq!(store.global("SecureBoot"), [0]);
    assert_eq!(store.global("SetupMode"), [1]);
    assert_eq!(store.global("OsIndicationsSupported"), [0; 8]);
    let secure_boot = store.set(&name("SecureBoot"), GLOBAL_VARIABLE, BS_RT, &[1]);
    assert_eq!(secure_boot, Err(Status::WRITE_PROTECTED));
    store
        .set_firmware_variables(OsIndications::BOOT_TO_FW_UI)
        .unwrap();
    assert_eq!(store.global("OsIndicationsSupported")[0], 1);

    let mut path = DevicePathBuf::new();
    path.push_file_path(r"\EFI\debian\shimx64.efi").unwrap();
    let option = LoadOption {
        attributes: LoadOptionAttributes::ACTIVE,
        description: "debian".to_string(),
        path: path.as_path(),
        optional_data: &[1, 2],
    };
    let bytes = option.to_bytes();
    for len in 0..bytes.len() - 2 {
        assert!(LoadOption::parse(&bytes[..len]).is_err(), "{len}");
    }
    assert_eq!(
        LoadOption::parse(&bytes[..3]),
        Err(LoadOptionError::Truncated("attributes"))
    );
    store
        .set(&option_name(0xab), GLOBAL_VARIABLE, NV_BS_RT, &bytes)
        .unwrap();
    assert_eq!(store.load_option(0xab), Ok(Some(option)));
    assert_eq!(store.load_option(1), Ok(None));
    store
        .set(&name("Boot0002"), GLOBAL_VARIABLE, NV_BS_RT, &[1])
        .unwrap();
    assert_eq!(
        store.load_option(2).unwrap_err().to_string(),
        "the load option ends before its attributes"
    );

    let order = [0xab, 0, 2, 0, 0xab, 0, 9];
    store
        .set(&name("BootOrder"), GLOBAL_VARIABLE, NV_BS_RT, &order)
        .unwrap();
    assert_eq!(store.boot_order(), [0xab, 2]);
    assert_eq!(store.take_boot_next(), None);
    store
        .set(&name("BootNext"), GLOBAL_VARIABLE, NV_BS_RT, &[2, 0])
        .unwrap();
    assert_eq!((store.take_boot_next(), store.take_boot_next()), (Some(2), None));
    store.set_boot_current(2).unwrap();
    assert_eq!(store.global("BootCurrent"), [2, 0]);
    assert_eq!(store.os_indications(), OsIndications::empty());
    store
        .set(
            &name("OsIndications"),
            GLOBAL_VARIABLE,
            NV_BS_RT,
            &[1, 0, 0, 0, 0, 0, 0, 0],
        )
        .unwrap();
    assert_eq!(store.os_indications(), OsIndications::BOOT_TO_FW_UI);
}

/// `SetVariable` of section 8.2: an append of no data has no effect and succeeds.
#[test]
fn an_append_of_nothing_succeeds_in_a_full_store() {
    let mut store = Variables::<512>::new();
    store.set(&name("A"), VENDOR, NV_BS_RT, &[7; 470]).unwrap();
    let append = |store: &mut Variables<512>, name: &[u16], data: &[u8]| {
        store.set(name, VENDOR, NV_BS_RT | APPEND, data)
    };
    assert_eq!(
        append(&mut store, &name("B"), &[1]),
        Err(Status::OUT_OF_RESOURCES)
    );
    assert_eq!(append(&mut store, &name("B"), &[]), Ok(()));
    assert_eq!(append(&mut store, &name("A"), &[]), Ok(()));
    assert_eq!(store.entries().count(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Arbitrary writes give what a map gives.
    #[test]
    fn the_store_is_a_map(
        writes in prop::collection::vec((0..4_u8, any::<bool>(), prop::collection::vec(any::<u8>(), 0..60)), 0..60),
    ) {
        let mut store = Variables::<512>::new();
        let mut model: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
        for (key, appends, data) in writes {
            let attributes = if appends { NV_BS_RT | APPEND } else { NV_BS_RT };
            let status = store.set(&[u16::from(key) + 1], VENDOR, attributes, &data);
            let mut value = if appends { model.get(&key).cloned().unwrap_or_default() } else { vec![] };
            value.extend_from_slice(&data);
            let rest: usize = model.iter().filter(|(other, _)| **other != key).map(|(_, data)| data.len() + 30).sum();
            let expected = match value.is_empty() {
                true if appends => Ok(()),
                true => model.remove(&key).map(|_| ()).ok_or(Status::NOT_FOUND),
                false if rest + value.len() + 30 > 512 && model.get(&key).is_none_or(|old| old.len() < value.len()) => {
                    Err(Status::OUT_OF_RESOURCES)
                }
                false => {
                    model.insert(key, value);
                    Ok(())
                }
            };
            prop_assert_eq!(status, expected);
            let found: BTreeMap<u8, Vec<u8>> =
                store.entries().map(|entry| (entry.name[0] - 1, entry.data.to_vec())).collect();
            prop_assert_eq!(&found, &model);
        }
        let mut loaded = Variables::<512>::new();
        prop_assert_eq!(loaded.load_file(&store.to_file()), Ok(()));
        prop_assert_eq!(loaded.to_file(), store.to_file());
    }

    #[test]
    fn arbitrary_files_never_panic(records in prop::collection::vec(any::<u8>(), 0..200)) {
        let words = [1, u32::try_from(records.len()).unwrap(), crc32(&records)].map(u32::to_le_bytes);
        let file = [b"VMBTEFIV", words.as_flattened(), &records].concat();
        let mut store = Variables::<512>::new();
        if store.load_file(&file).is_err() {
            prop_assert_eq!(store.entries().count(), 0);
        }
        let _ = LoadOption::parse(&records);
    }
}
