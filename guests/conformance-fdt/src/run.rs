//! From the entry code to the last line.
#![expect(unsafe_code, reason = "the entry code calls in by name")]

use core::cell::UnsafeCell;

use clauses::memory::Map;
use clauses::{fail, note, report};
use contract::Request;

use crate::clauses::{chosen, cpus, devices, image, memory, tree};
use crate::fdt::{self, Fdt};
use crate::machine::phys::{self, Phys};
use crate::machine::{arch, console};
use crate::modes;

/// Memory too large for the stack.
struct Room {
    /// The device tree: a copy, as the memory that the loader put it into is written to by the clauses about RAM.
    tree: [u8; tree::MAX_LEN],
    map: Map,
}

struct Once(UnsafeCell<Room>);

// SAFETY: there is one CPU that runs Rust code, and `kernel_main` alone takes the content, once.
unsafe impl Sync for Once {}

static ROOM: Once = Once(UnsafeCell::new(Room {
    tree: [0; tree::MAX_LEN],
    map: Map::EMPTY,
}));

#[unsafe(no_mangle)]
extern "C" fn kernel_main() -> ! {
    report::to(console::send);
    // SAFETY: the entry code calls this function once and nothing else does, so this is the only reference.
    let room = unsafe { &mut *ROOM.0.get() };
    let record = arch::record();
    let mut phys = Phys::new();
    let blob = fetch_tree(record.tree(), &mut room.tree);
    let tree = match Fdt::parse(blob) {
        Ok(tree) => tree,
        Err(error) => {
            // Without a tree there is no serial port: where firmware has no console either, the reset says it all.
            fail!("tree", "{error}"; "a device tree at {:#x}", record.tree());
            finish()
        }
    };
    arch::find_firmware(&tree);
    console::init(&tree);
    report::line(format_args!(
        "conformance: entered as {} at {:#x}",
        record.entry(),
        record.base
    ));

    let cmdline = chosen::cmdline(&tree);
    let request = match Request::parse(cmdline) {
        Ok(request) => request,
        Err(error) => {
            fail!("cmdline.tokens", "{error}"; "tokens this program knows");
            finish()
        }
    };
    modes::run(request.mode, &tree);

    match request.seal {
        Some(seal) => report::against("cmdline.bytes", &seal.found, Some(&seal.expected)),
        None => note!("cmdline.bytes", "{}", contract::Digest::of(cmdline)),
    }
    let expectation = &request.expectation;
    report::against("entry", &record.entry(), expectation.entry.as_ref());
    let kernel = image::check(&record, expectation);
    arch::check_cpu(&record, &tree);
    tree::check(&record, &tree);
    let initrd = chosen::check(&tree, expectation, &kernel);
    devices::check(&tree, expectation);
    arch::check_firmware(&tree);
    memory::check(
        &tree,
        expectation,
        &kernel,
        initrd,
        record.tree(),
        &mut room.map,
        &mut phys,
    );
    cpus::check(&record, &tree, expectation);
    finish()
}

/// Copies the device tree, as much of it as there is room for.
fn fetch_tree(address: u64, room: &mut [u8]) -> &[u8] {
    let (head, _) = room.split_at_mut(fdt::HEADER_LEN);
    phys::read(address, head);
    let claimed = fdt::claimed_size(head).and_then(|size| usize::try_from(size).ok());
    let len = claimed.unwrap_or(0).clamp(fdt::HEADER_LEN, room.len());
    let (blob, _) = room.split_at_mut(len);
    phys::read(address, blob);
    blob
}

/// Prints the total and leaves.
pub(crate) fn finish() -> ! {
    modes::leave(report::total())
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    fail!("panic", "{info}"; "none");
    finish()
}
