//! Snapshots in files, on the fake hypervisor.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use boot_core::cpu::x86_64;
use fmt_test::elf::EM_X86_64;
use fmt_test::guest::Guest;
use hv_core::{X86_STATE_LEN, decode_x86_state, encode_x86_state};
use proptest::prelude::*;
use sandbox::{
    BuildError, CallError, CallOptions, Fake, FileError, GuestProgram, LoadOptions, LoadSnapshotError,
    RestoreError, Sandbox, SandboxBuilder, SaveSnapshotError, Snapshot,
};

use crate::guest::Functions;
use crate::snapshot_file::{HEADER_LEN, answer, check_file, fix_checksum};
use crate::snapshots::functions;

const PAGE: usize = 0x1000;

/// A snapshot after a call.
fn snapshot(functions: &Functions) -> Snapshot<Fake> {
    let mut sandbox = SandboxBuilder::on(functions.fake().with_features(0b101), functions.program())
        .build()
        .unwrap();
    sandbox.call::<_, ()>("set", (3u64, 7u8)).unwrap();
    sandbox.snapshot().unwrap()
}

fn save(snapshot: &Snapshot<Fake>) -> Vec<u8> {
    let mut file = Vec::new();
    snapshot.write_to(&mut file).unwrap();
    file
}

fn file() -> Vec<u8> {
    save(&snapshot(&functions()))
}

fn load(file: &[u8]) -> Result<Snapshot<Fake>, LoadSnapshotError> {
    let fake = functions().fake().with_features(0b111);
    Snapshot::read_from(fake, &file, LoadOptions::default())
}

fn get(sandbox: &mut Sandbox<Fake>, page: u64) -> u8 {
    sandbox.call("get", (page,)).unwrap()
}

#[test]
fn a_loaded_snapshot_continues_where_it_was_taken() {
    let snapshot = snapshot(&functions());
    let file = save(&snapshot);
    let fake = functions().fake().with_features(0b101);
    let loaded = Snapshot::read_from(fake, &file, LoadOptions::default()).unwrap();
    let mut sandbox = Sandbox::clone_from(&loaded).unwrap();
    for _ in 0..2 {
        assert_eq!((get(&mut sandbox, 3), get(&mut sandbox, 4)), (7, 0));
        assert_eq!(sandbox.call::<_, u64>("count", ()).unwrap(), 1);
        let data: Vec<u8> = sandbox.call("peek", (sandbox::FakeProgram::DATA, 7u32)).unwrap();
        assert_eq!(data, b"initial");
        sandbox.call::<_, ()>("set", (4u64, 9u8)).unwrap();
        sandbox.restore(&loaded).unwrap();
    }
    // It is the same file again, from the loaded snapshot and from one of its sandboxes.
    assert!(save(&loaded) == file);
    assert!(save(&sandbox.snapshot().unwrap()) == file);
}

#[test]
fn only_changed_pages_are_saved() {
    let functions = functions();
    let mut sandbox = SandboxBuilder::on(functions.fake(), functions.program())
        .build()
        .unwrap();
    let len = |sandbox: &mut Sandbox<Fake>| save(&sandbox.snapshot().unwrap()).len();
    let start = len(&mut sandbox);
    for page in 0..5u64 {
        sandbox.call::<_, ()>("set", (page, 1u8)).unwrap();
    }
    assert_eq!(len(&mut sandbox), start + 5 * (PAGE + 8));
    // Pages that are as at the start again need no place, although they were written.
    sandbox.call::<_, ()>("set", (2u64, 0u8)).unwrap();
    assert_eq!(len(&mut sandbox), start + 4 * (PAGE + 8));
    let poke = (sandbox::FakeProgram::DATA, vec![0u8; 7]);
    sandbox.call::<_, ()>("poke", poke).unwrap();
    let all_zeros = save(&sandbox.snapshot().unwrap());
    assert_eq!(all_zeros.len(), start + 5 * (PAGE + 8));
    let loaded = Snapshot::read_from(functions.fake(), &all_zeros, LoadOptions::default()).unwrap();
    let mut of_file = Sandbox::clone_from(&loaded).unwrap();
    let data: Vec<u8> = of_file.call("peek", (sandbox::FakeProgram::DATA, 7u32)).unwrap();
    assert_eq!(data, [0; 7]);
    // A large snapshot, whose base is not that of the program.
    for page in 0..600u64 {
        sandbox.call::<_, ()>("set", (page, 5u8)).unwrap();
    }
    let large = save(&sandbox.snapshot().unwrap());
    let loaded = Snapshot::read_from(functions.fake(), &large, LoadOptions::default()).unwrap();
    let mut of_file = Sandbox::clone_from(&loaded).unwrap();
    assert_eq!(of_file.memory().resident, 0);
    assert_eq!((get(&mut of_file, 599), get(&mut of_file, 600)), (5, 0));
}

#[test]
fn a_loaded_snapshot_is_of_an_image_of_its_own() {
    let snapshot = snapshot(&functions());
    let mut original = Sandbox::clone_from(&snapshot).unwrap();
    let [first, second] = [load(&save(&snapshot)).unwrap(), load(&save(&snapshot)).unwrap()];
    let mut of_first = Sandbox::clone_from(&first).unwrap();
    for result in [
        original.restore(&first),
        of_first.restore(&second),
        of_first.restore(&snapshot),
    ] {
        assert!(matches!(result, Err(RestoreError::OtherImage)), "{result:?}");
    }
    let count = original.function::<(), u64>("count").unwrap();
    let error = of_first.invoke(&count, &(), CallOptions::default());
    assert!(matches!(error, Err(CallError::Resolve(_))), "{error:?}");
    // Clones of it share one image.
    let mut clone = Sandbox::clone_from(&first).unwrap();
    assert_eq!(clone.call::<_, u64>("count", ()).unwrap(), 1);
    of_first.restore(&clone.snapshot().unwrap()).unwrap();
    assert_eq!(of_first.call::<_, u64>("count", ()).unwrap(), 2);
}

#[test]
fn host_functions_are_registered_and_compared_again() {
    let functions = functions().import::<(u64,), u64>("increment");
    let sandbox = SandboxBuilder::on(functions.fake(), functions.program())
        .register("increment", |value: u64| value + 1)
        .build();
    let file = save(&sandbox.unwrap().snapshot().unwrap());
    let loaded = Snapshot::read_from(functions.fake(), &file, LoadOptions::default()).unwrap();
    let error = Sandbox::clone_from(&loaded).unwrap_err();
    assert!(
        matches!(&error, BuildError::MissingImport { name } if name == "increment"),
        "{error}"
    );
    let other = SandboxBuilder::from_snapshot(&loaded).register("increment", |value: u32| value);
    let error = other.build().unwrap_err();
    assert!(
        matches!(&error, BuildError::ImportSignature { name, .. } if name == "increment"),
        "{error}"
    );
    let right = SandboxBuilder::from_snapshot(&loaded).register("increment", |value: u64| value);
    right.build().unwrap();
}

/// A new directory for a test.
fn directory(test: &str) -> PathBuf {
    let path = env::temp_dir().join(format!("vmboot-sandbox-{}-{test}", std::process::id()));
    fs::create_dir_all(&path).unwrap();
    path
}

#[test]
fn a_file_has_the_program_that_was_loaded() {
    let mut guest = Guest::new(EM_X86_64);
    guest.imports.clear();
    let directory = directory("program");
    let [program, saved] = ["guest.elf", "snapshot"].map(|name| directory.join(name));
    fs::write(&program, guest.elf().bytes()).unwrap();
    let fake = || Fake::new(|| answer);
    let snapshot = || {
        let builder = SandboxBuilder::on(fake(), GuestProgram::file(&program));
        builder.build().unwrap().snapshot().unwrap()
    };
    let first = snapshot();
    first.save(&saved).unwrap();
    let mode = fs::metadata(&saved).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "others can read what the guest knows");
    // The file of the program is not needed any more.
    fs::remove_file(&program).unwrap();
    let loaded = Snapshot::load_on(fake(), &saved, LoadOptions::default()).unwrap();
    let mut clone = Sandbox::clone_from(&loaded).unwrap();
    clone.call_bytes("echo", &[], &mut Vec::new()).unwrap();
    first.save(&saved).unwrap();

    // A program that is changed in place is not the one that runs.
    fs::write(&program, guest.elf().bytes()).unwrap();
    let second = snapshot();
    guest.exports.truncate(1);
    fs::write(&program, guest.elf().bytes()).unwrap();
    let error = second.save(&saved).unwrap_err();
    assert!(matches!(error, SaveSnapshotError::ProgramChanged), "{error}");

    let error = first.save(directory.join("missing/snapshot")).unwrap_err();
    assert!(matches!(error, SaveSnapshotError::Create { .. }), "{error}");
    let missing = Snapshot::load_on(fake(), directory.join("missing"), LoadOptions::default());
    assert!(matches!(missing, Err(LoadSnapshotError::Open { .. })));
    fs::remove_dir_all(directory).unwrap();
}

/// A change of the format needs another version. `UPDATE_GOLDEN=1 cargo test -p vmboot-sandbox --test fake golden` writes the file of the
/// new version.
#[test]
fn the_format_is_that_of_the_golden_file() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fake/golden/version-1.snapshot");
    let file = file();
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &file).unwrap();
    }
    let golden = fs::read(&path).unwrap();
    let first = file
        .iter()
        .zip(&golden)
        .position(|(found, golden)| found != golden);
    assert_eq!(
        (first, file.len()),
        (None, golden.len()),
        "first byte that differs"
    );
    let mut sandbox = Sandbox::clone_from(&load(&golden).unwrap()).unwrap();
    assert_eq!((get(&mut sandbox, 3), get(&mut sandbox, 4)), (7, 0));
}

/// Files have addresses of the plan, so a program that plans guests otherwise cannot load them: another plan needs another version of the format.
#[test]
fn the_plan_of_a_program_is_that_of_this_version() {
    let mut guest = Guest::new(EM_X86_64);
    guest.imports.clear();
    let program = GuestProgram::bytes(guest.elf().bytes());
    let builder = SandboxBuilder::on(Fake::new(|| answer), program);
    let file = save(&builder.build().unwrap().snapshot().unwrap());
    let state = register(&places(&file), 64) + 16;
    let state = decode_x86_state(&file[state..state + X86_STATE_LEN], 0).unwrap();
    let version = u32::from_le_bytes(file[8..12].try_into().unwrap());
    assert_eq!(version, 1, "write the values of the new version here");
    assert_eq!([number(&file, 56), number(&file, 64)], [0x4001_1000, 0x5e_f000]);
    let control = [state.cr0, state.cr3, state.cr4, state.efer];
    assert_eq!(control, [0x8005_0033, 0x4061_0000, 0x620, 0xd00]);
    assert_eq!([state.gdtr.base, state.idtr.base], [0x3fe0_a000, 0x3fe0_b000]);
}

#[test]
fn limits_of_a_file_are_not_above_those_of_the_host() {
    let functions = functions();
    let mut sandbox = SandboxBuilder::on(functions.fake(), functions.program())
        .max_payload(100)
        .max_messages(7)
        .no_deadline()
        .build()
        .unwrap();
    let file = save(&sandbox.snapshot().unwrap());
    let read = |options| Snapshot::read_from(functions.fake(), &file, options);
    let loaded = read(LoadOptions::default()).unwrap();
    let limits = format!("{:?}", SandboxBuilder::from_snapshot(&loaded));
    for limit in ["max_payload: 100", "max_messages: 7", "deadline: Some(10s)"] {
        assert!(limits.contains(limit), "{limit}: {limits}");
    }
    let error = read(LoadOptions::default().with_max_payload(99)).unwrap_err();
    assert!(
        matches!(error, LoadSnapshotError::TooLargePayloads { found: 100, max: 99 }),
        "{error}"
    );
    let memory = sandbox.memory().limit;
    let error = read(LoadOptions::default().with_max_memory(memory - 1)).unwrap_err();
    assert!(matches!(error, LoadSnapshotError::TooMuchMemory { found, .. } if found == memory));
    read(LoadOptions::default().with_max_memory(memory)).unwrap();
}

/// Offsets in the file of [`file`].
struct Places {
    registers: usize,
    numbers: usize,
    pages: usize,
}

fn number(file: &[u8], at: usize) -> usize {
    usize::try_from(u64::from_le_bytes(file[at..at + 8].try_into().unwrap())).unwrap()
}

fn places(file: &[u8]) -> Places {
    // One word of features.
    let registers = HEADER_LEN + number(file, 32) + 16;
    let numbers = registers + number(file, 96);
    let pages = numbers + 8 * number(file, 104);
    Places {
        registers,
        numbers,
        pages,
    }
}

/// The error of a load of a changed file whose checksum is right.
fn error_of(change: impl FnOnce(&mut Vec<u8>, &Places)) -> String {
    let mut file = file();
    let places = places(&file);
    change(&mut file, &places);
    fix_checksum(&mut file);
    match load(&file) {
        Ok(_) => "no error".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn fields_of_the_header_are_checked() {
    let check = |at: usize, value: u64, len: usize, expected: &str| {
        let error = error_of(|file, _| file[at..at + len].copy_from_slice(&value.to_le_bytes()[..len]));
        assert!(error.starts_with(expected), "{at}: {error}");
    };
    let length = format!(
        "the snapshot has {} bytes, but its header describes ",
        file().len()
    );
    check(0, 0, 4, "the file is no snapshot");
    check(
        8,
        2,
        4,
        "the snapshot has version 2 of the format, this program reads version 1",
    );
    check(12, 7, 4, "the snapshot is one of the unknown architecture 7");
    check(
        12,
        183,
        4,
        "the snapshot is one of aarch64, the hypervisor has machines of x86_64",
    );
    check(24, 3, 4, "the snapshot has 0x3 in the field `program_kind`");
    check(24, 1, 4, "not a kernel image of a known format");
    // Lengths and numbers of parts: 0, 1, values that wrap around, and the largest.
    for at in [16, 32, 96, 104] {
        for value in [
            0,
            9,
            1 << 32,
            u64::MAX / 4104 + 1,
            (1 << 61) + 1,
            u64::MAX - 7,
            u64::MAX,
        ] {
            check(at, value, 8, &length);
        }
    }
    for value in [0, 2, u64::from(u32::MAX)] {
        check(84, value, 4, &length);
    }
    for value in [0, 64, 66, u64::from(u32::MAX)] {
        check(88, value, 4, "register ");
    }
    for value in [0, 0x800, 0x1001, 0x20_0000] {
        check(28, value, 4, "the snapshot has 0x");
    }
    for value in [(32 << 30) + 1, u64::MAX] {
        check(40, value, 8, "the snapshot has 0x");
    }
    for value in [0, (1 << 30) + 1, u64::MAX] {
        check(48, value, 8, "the snapshot has 0x");
    }
    check(
        40,
        32 << 30,
        8,
        "the snapshot has 0x800000000 in the field `heap`",
    );
    check(40, 0, 8, "the guest's memory is at ");
    check(56, 0, 8, "the guest's memory is at 0x0");
    check(64, 0x1000, 8, "the snapshot has 0x400000 in the field `heap`");
    check(64, 0x80_0000, 8, "the guest's memory is at ");
    check(64, (1 << 30) + 1, 8, "the guest has 1073741825 bytes of memory");
    check(72, 1, 8, "the guest rings doorbell 0x1 of kind 1");
    check(80, 2, 4, "the guest rings doorbell");
    check(
        120,
        u64::MAX,
        8,
        "the guest has payloads of up to 18446744073709551615 bytes",
    );
    check(148, 1, 4, "the snapshot has 0x1 in the field `reserved`");
    // Limits of calls are reduced.
    for (at, len) in [(92, 4), (112, 8), (128, 8), (136, 8), (144, 4)] {
        check(at, u64::MAX, len, "no error");
    }
}

#[test]
fn truncated_and_longer_files_are_refused() {
    let file = file();
    for len in 0..file.len() {
        let result = load(&file[..len]);
        let is_refused = match result {
            Err(LoadSnapshotError::File(FileError::NotASnapshot)) => len < HEADER_LEN,
            Err(LoadSnapshotError::File(FileError::Length { expected, found })) => {
                (expected, found) == (file.len() as u64, len as u64)
            }
            _ => false,
        };
        assert!(is_refused, "{len}: {result:?}");
    }
    let longer = [&file[..], &[0]].concat();
    let error = load(&longer).unwrap_err();
    assert!(matches!(error, LoadSnapshotError::File(FileError::Length { .. })));
}

#[test]
fn pages_are_in_the_memory_and_in_order() {
    let pages = |file: &[u8]| number(file, 64) / PAGE;
    let page = |of: fn(usize) -> u64| {
        error_of(|file, places| {
            let number = of(pages(file));
            file[places.numbers..places.numbers + 8].copy_from_slice(&number.to_le_bytes());
        })
    };
    assert_eq!(page(|_| 0), "no error");
    assert_eq!(page(|pages| pages as u64 - 1), "no error");
    for outside in [page(|pages| pages as u64), page(|_| 1 << 52), page(|_| u64::MAX)] {
        assert!(
            outside.starts_with("page ") && outside.contains("outside of the"),
            "{outside}"
        );
    }
    // Two pages: in order, twice, and in the other order.
    let two = |first: u64, second: u64| {
        error_of(|file, places| {
            let page = file[places.pages..places.pages + PAGE].to_vec();
            file.splice(places.pages..places.pages, page);
            let numbers = [first.to_le_bytes(), second.to_le_bytes()].concat();
            file.splice(places.numbers..places.numbers + 8, numbers);
            let len = file.len() as u64;
            file[16..24].copy_from_slice(&len.to_le_bytes());
            file[104] = 2;
        })
    };
    assert_eq!(two(1, 2), "no error");
    for refused in [two(2, 2), two(2, 1)] {
        assert!(refused.contains("is not after the page before it"), "{refused}");
    }
}

/// The register at a place in the list, each of 16 and 8 bytes except the last.
fn register(places: &Places, at: usize) -> usize {
    places.registers + 24 * at
}

#[test]
fn registers_are_those_of_the_machine_with_values_of_the_plan() {
    assert_eq!(
        error_of(|file, places| file[register(places, 5) + 16] = 1),
        "no error"
    );
    for (change, expected) in [
        (
            (|file, places| file[register(places, 5)] = 6) as fn(&mut Vec<u8>, &Places),
            "the state has register 6 twice",
        ),
        (
            |file, places| file[register(places, 5) + 4] = 1,
            "the state has no register 5",
        ),
        (
            |file, places| file[register(places, 64)] = 65,
            "the state has no CPU state",
        ),
        (
            |file, places| file[register(places, 3) + 12] = 1,
            "the snapshot has 0x1 in the field `reserved`",
        ),
        (
            |file, places| file[register(places, 64) + 8] = 0,
            "register 65 of the snapshot ends behind",
        ),
        (
            |file, places| file[register(places, 64) + 11] = 0xff,
            "register 64 of the snapshot ends behind",
        ),
        // One word of features comes before the registers.
        (
            |file, places| file[places.registers - 8] = 0xf,
            "the state needs a CPU whose feature word 0 has the bits of 0xf; here it is 0x7",
        ),
    ] {
        let error = error_of(change);
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn control_registers_are_those_of_the_plan() {
    let with = |change: fn(&mut x86_64::State)| {
        error_of(|file, places| {
            let at = register(places, 64) + 16;
            let bytes = at..at + X86_STATE_LEN;
            let mut state = decode_x86_state(&file[bytes.clone()], 0).unwrap();
            change(&mut state);
            file[bytes].copy_from_slice(&encode_x86_state(&state));
        })
    };
    assert_eq!(with(|_| {}), "no error");
    assert_eq!(with(|state| (state.rip, state.cr2) = (u64::MAX, 1)), "no error");
    for (error, register) in [
        (with(|state| state.cr3 += 0x1000), "CR3"),
        (with(|state| state.cr0 ^= 1 << 16), "CR0"),
        (with(|state| state.efer ^= 1 << 11), "EFER"),
        (with(|state| state.idtr.base = 1), "the base of IDTR"),
    ] {
        assert!(
            error.starts_with(&format!("{register} of the guest is 0x")),
            "{error}"
        );
    }
}

#[test]
fn the_checksum_finds_damage() {
    let mut file = file();
    let places = places(&file);
    for at in [places.pages, places.pages + PAGE - 1, file.len() - 1] {
        file[at] ^= 1;
        let error = load(&file).unwrap_err();
        assert!(
            matches!(error, LoadSnapshotError::File(FileError::Checksum { .. })),
            "{at}: {error}"
        );
        file[at] ^= 1;
    }
    load(&file).unwrap();
}

#[test]
fn each_failing_operation_of_the_hypervisor_is_an_error() {
    let functions = functions();
    let fake = |fail_at| functions.fake().with_fail_at(fail_at);
    let file = file();
    let mut loads = 0;
    for fail_at in 0..10 {
        let backend = fake(Some(fail_at)).with_features(0b101);
        let Ok(loaded) = Snapshot::read_from(backend, &file, LoadOptions::default()) else {
            panic!("a load needs no operation that the fake counts");
        };
        match Sandbox::clone_from(&loaded) {
            Ok(_) => loads += 1,
            Err(error) => assert!(matches!(error, BuildError::Backend(_)), "{error}"),
        }
    }
    // Two slots, a vCPU, a rewind.
    assert_eq!(loads, 6);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_file_harms_the_host(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        check_file(&bytes);
    }

    /// Some bytes of a file differ, and its checksum is right.
    #[test]
    fn no_changed_file_harms_the_host(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut file = file();
        let head = places(&file).pages;
        for (at, value) in changes {
            file[at.index(head)] = value;
        }
        fix_checksum(&mut file);
        check_file(&file);
    }
}
