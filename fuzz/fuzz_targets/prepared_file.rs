//! An arbitrary file as a prepared boot: it is refused with an error, or it is loaded into the memory of a machine as its description says, or
//! not at all, and a file that it is saved to is the same boot.
//!
//! The first byte chooses what the rest is: a whole file, or the description of one with a right header and pages of zeros.

#![no_main]

use std::os::unix::fs::FileExt as _;

use boot_core::{GuestMemory as _, GuestRange, LoadError, MemoryMap};
use guest_ram::{FileMapping, GuestRam, Memfd, PreparedBoot};
use libfuzzer_sys::fuzz_target;

/// RAM of the machine in bytes.
const RAM: u64 = 4 << 20;

/// Length of files with pages of zeros.
const PADDED: usize = 2 << 20;

/// The same bytes as a file.
fn file(bytes: &[u8], len: usize) -> Option<Memfd> {
    let file = Memfd::create(c"prepared", len.max(1)).ok()?;
    file.file().write_all_at(bytes, 0).ok()?;
    Some(file)
}

/// A file with this description.
fn described(description: &[u8]) -> Vec<u8> {
    let mut bytes = b"vmboot-prepared\0\x01\0\0\0\0\0\0\0".to_vec();
    bytes.extend((description.len() as u64).to_le_bytes());
    bytes.extend(description);
    bytes
}

/// Checks that memory has the pages of the file, and zeros elsewhere in what is zeroed.
fn check_loaded(boot: &PreparedBoot, ram: &GuestRam) {
    let mut found = vec![0; 0x1000];
    let mut expected = vec![0; 0x1000];
    for pages in boot.pages() {
        // The first and the last bytes.
        let len = usize::try_from(pages.range.len())
            .expect("pages in memory")
            .min(0x1000);
        let last = pages.range.len() - len as u64;
        for at in [0, last] {
            ram.read(pages.range.start() + at, &mut found[..len])
                .expect("loaded pages are memory");
            boot.file()
                .read_exact_at(&mut expected[..len], pages.offset + at)
                .expect("the pages are in the file");
            assert_eq!(found[..len], expected[..len]);
        }
    }
    for zeros in boot.zeros() {
        let has = |range: GuestRange, addr| (range.start()..range.end()).contains(&addr);
        let is_page = |addr| boot.pages().iter().any(|pages| has(pages.range, addr));
        for addr in [zeros.start(), zeros.end().saturating_sub(1)] {
            if has(*zeros, addr) && !is_page(addr) {
                ram.read(addr, &mut found[..1]).expect("zeros are memory");
                assert_eq!(found[0], 0);
            }
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((choice, rest)) = data.split_first() else {
        return;
    };
    let bytes = if choice % 2 == 0 {
        file(rest, rest.len())
    } else {
        file(&described(rest), PADDED.max(rest.len() + 0x1000))
    };
    let bytes = bytes.expect("a memory file");
    let Ok(boot) = PreparedBoot::open(bytes.into_file(), FileMapping::Trusted) else {
        return;
    };
    assert!(boot.cpus().iter().all(|cpu| cpu.arch() == boot.arch()));
    assert_eq!(boot.boot_cpu(), &boot.cpus()[0]);
    let map = MemoryMap::pc(RAM).expect("a small machine");
    let mut ram = GuestRam::new(&map).expect("4 MiB of memory");
    // What is written first would show if a load that is refused wrote something.
    ram.write(0x10_0000, b"before").expect("RAM");
    match boot.load(&mut ram) {
        Ok(()) => check_loaded(&boot, &ram),
        Err(LoadError::NoMemory { .. }) => {
            let mut found = [0; 6];
            ram.read(0x10_0000, &mut found).expect("RAM");
            assert_eq!(&found, b"before");
        }
        // The file was shorter than its description, or a page could not be mapped.
        Err(error) => drop(error),
    }
    let total: u64 = boot.pages().iter().map(|pages| pages.range.len()).sum();
    if total > 4 * RAM {
        return;
    }
    let mut saved = Vec::new();
    boot.save(&mut saved).expect("the pages are in the file");
    let again = file(&saved, saved.len()).expect("a memory file");
    let again = PreparedBoot::open(again.into_file(), FileMapping::Sealed).expect("a saved boot");
    assert_eq!((again.cpus(), again.zeros()), (boot.cpus(), boot.zeros()));
    assert_eq!((again.memory(), again.notes()), (boot.memory(), boot.notes()));
    let ranges = |boot: &PreparedBoot| -> Vec<_> { boot.pages().iter().map(|pages| pages.range).collect() };
    assert_eq!(ranges(&again), ranges(&boot));
});
