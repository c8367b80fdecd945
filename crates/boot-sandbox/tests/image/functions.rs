//! Tables of functions.

use boot_core::{Arch, Endian, GuestRange, ImageBuilder, SourceRange};
use boot_sandbox::{Function, SANDBOX, read_functions};
use fmt_test::elf::EM_X86_64;
use fmt_test::guest::{BASE, CODE, CONSTANTS_PHDR, DATA, Guest, function};

use crate::{File, guests, text};

fn parts(function: &Function) -> (&str, u64, u32, u64) {
    (
        &function.name,
        function.signature,
        function.flags.bits(),
        function.address,
    )
}

#[test]
fn functions_have_the_fields_of_their_records() {
    for (arch, guest) in guests() {
        let file = File::new(arch, &guest);
        let table = read_functions(&file.bytes, &file.image()).unwrap();
        let exports: Vec<_> = table.exports.iter().map(parts).collect();
        assert_eq!(exports, [("add", 0x1234, 0, CODE), ("echo", 0, 1, CODE + 4)]);
        let imports: Vec<_> = table.imports.iter().map(parts).collect();
        assert_eq!(imports, [("now", 0x5678, 0, 0)]);
    }
}

#[test]
fn tables_may_be_empty() {
    let mut guest = Guest::new(EM_X86_64);
    guest.exports.clear();
    guest.imports.clear();
    let mut file = File::new(Arch::X86_64, &guest);
    // Addresses of an empty table do not matter.
    file.descriptor[24..56].fill(0);
    file.segments[CONSTANTS_PHDR].segment.range = GuestRange::new(BASE, 1).unwrap();
    let table = read_functions(&file.bytes, &file.image()).unwrap();
    assert_eq!((table.exports.len(), table.imports.len()), (0, 0));
}

/// Reads functions after a change, and compares the error.
#[track_caller]
fn check(change: impl FnOnce(&mut Guest), patch: (usize, &[u8]), expected: &str) {
    let mut guest = Guest::new(EM_X86_64);
    change(&mut guest);
    let mut file = File::new(Arch::X86_64, &guest);
    file.patch(patch.0, patch.1);
    let found = read_functions(&file.bytes, &file.image()).err();
    assert_eq!(found.map(|error| text(&error)).unwrap_or_default(), expected);
}

#[test]
fn records_are_checked() {
    let nothing = |_: &mut Guest| {};
    let export = |what: &str| format!("record 1 of the exports, at 0x40000028, is malformed: {what}");
    let import = |what: &str| format!("record 0 of the imports, at 0x40000050, is malformed: {what}");
    let record = |field: usize| 40 + field;
    let imported = |field: usize| 80 + field;
    // 3 records of 40 bytes, then "add", "echo" and "now".
    let end = BASE + 120 + 10;
    let outside = |addr: u64, len| {
        format!(
            "its name at {addr:#x} ({len} bytes) is not in the file's part of a segment that is not writable"
        )
    };
    check(
        nothing,
        (record(8), &[0]),
        &export("its name has 0 bytes, expected 1 to 255"),
    );
    check(
        nothing,
        (record(9), &[1]),
        &export("its name has 260 bytes, expected 1 to 255"),
    );
    check(nothing, (record(0), &(end - 4).to_le_bytes()), "");
    check(
        nothing,
        (record(0), &(end - 3).to_le_bytes()),
        &export(&outside(end - 3, 4)),
    );
    check(
        nothing,
        (record(0), &DATA.to_le_bytes()),
        &export(&outside(DATA, 4)),
    );
    check(
        nothing,
        (record(0), &u64::MAX.to_le_bytes()),
        &export(&outside(u64::MAX, 4)),
    );
    let not_utf8 = "its name at 0x4000007b is not UTF-8: invalid utf-8 sequence of 1 bytes from index 1";
    check(nothing, (124, &[0xff]), &export(not_utf8));
    check(
        nothing,
        (record(12), &[2]),
        &export("it has the unknown flags 0x2"),
    );
    check(
        nothing,
        (record(15), &[0x80]),
        &export("it has the unknown flags 0x80000000"),
    );
    let signature = "its parameters are bytes, but its signature is 0x1, expected 0";
    check(nothing, (record(16), &[1]), &export(signature));
    // A typed function may have any signature.
    check(nothing, (16, &[0; 8]), "");
    let function = |addr: u64| {
        format!("its function at {addr:#x} is not in the file's part of a segment that is not writable")
    };
    check(nothing, (record(24), &[0; 8]), &export(&function(0)));
    check(
        nothing,
        (record(24), &DATA.to_le_bytes()),
        &export(&function(DATA)),
    );
    check(nothing, (record(24), &(CODE + 0xfff).to_le_bytes()), "");
    check(
        nothing,
        (record(24), &(CODE + 0x1000).to_le_bytes()),
        &export(&function(CODE + 0x1000)),
    );
    check(nothing, (record(24), &BASE.to_le_bytes()), "");
    let reserved = "its reserved bytes are not zero";
    check(nothing, (record(32), &[1]), &export(reserved));
    check(nothing, (imported(39), &[1]), &import(reserved));
    let not_zero = "it is an import, but its function is 0x1, expected 0";
    check(nothing, (imported(24), &[1]), &import(not_zero));
}

#[test]
fn names_are_unique_in_their_table() {
    let add = |name: &str, is_import: bool| {
        let name = name.to_owned();
        move |guest: &mut Guest| {
            if is_import {
                guest.imports.push(function(&name, 1, 0));
            } else {
                guest.exports.push(function(&name, 1, CODE));
            }
        }
    };
    let nothing = (0, &[][..]);
    check(add("now", false), nothing, "");
    check(add("add", true), nothing, "");
    check(add("Add", false), nothing, "");
    check(
        add("add", false),
        nothing,
        "records 0 and 2 of the exports have the same name, \"add\"",
    );
    check(
        add("now", true),
        nothing,
        "records 0 and 1 of the imports have the same name, \"now\"",
    );
}

#[test]
fn names_have_up_to_255_bytes() {
    let name = "n".repeat(256);
    let with = |len: usize| {
        let function = function(&name[..len], 1, CODE);
        move |guest: &mut Guest| guest.exports = vec![function]
    };
    check(with(255), (0, &[]), "");
    let expected =
        "record 0 of the exports, at 0x40000000, is malformed: its name has 256 bytes, expected 1 to 255";
    check(with(256), (0, &[]), expected);
}

#[test]
fn a_long_table_is_read() {
    let mut guest = Guest::new(EM_X86_64);
    // Records and names are in the 64 KiB before the code.
    guest.exports = (0..1024)
        .map(|index| function(&format!("f{index}"), 1, CODE))
        .collect();
    let file = File::new(Arch::X86_64, &guest);
    let table = read_functions(&file.bytes, &file.image()).unwrap();
    assert_eq!(table.exports.len(), 1024);
    assert_eq!(table.exports[1023].name, "f1023");
}

#[test]
fn tables_are_constants_of_the_file() {
    let check = |start: u64, records: u64, expected: &str| {
        let mut file = File::new(Arch::X86_64, &Guest::new(EM_X86_64));
        file.descriptor[24..32].copy_from_slice(&start.to_le_bytes());
        file.descriptor[32..40].copy_from_slice(&(start + 40 * records).to_le_bytes());
        let error = read_functions(&file.bytes, &file.image()).unwrap_err();
        assert_eq!(error.to_string(), expected);
    };
    let outside = |range: &str| {
        format!("the table of exports at {range} is not in the file's part of a segment that is not writable")
    };
    check(BASE, 4, &outside("0x40000000..0x400000a0"));
    check(DATA, 1, &outside("0x40021000..0x40021028"));
    check(0, 1, &outside("0x0..0x28"));
}

#[test]
fn a_file_without_note_and_a_short_source_are_errors() {
    let file = File::new(Arch::X86_64, &Guest::new(EM_X86_64));
    let image = ImageBuilder::new("test", Arch::X86_64, Endian::Little, 16)
        .segment(SourceRange::whole(16), GuestRange::new(BASE, 16).unwrap())
        .entry(SANDBOX, BASE)
        .build()
        .unwrap();
    let error = read_functions(&file.bytes, &image).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("the file has no note of a sandbox's guest"),
        "{error}"
    );
    let short = &file.bytes[..0x400];
    let error = read_functions(&short, &file.image()).unwrap_err();
    assert!(
        text(&error).starts_with("the functions of the guest cannot be read: "),
        "{error}"
    );
}
