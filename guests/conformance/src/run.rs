//! From the entry code to the last line.
#![expect(unsafe_code, reason = "the entry code calls in by name")]

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};

use clauses::memory::{Map, Occupant};
use clauses::{fail, image, memory, note, report};
use contract::{Entry, Request};

use crate::clauses::{cpu, linux, multiboot, pvh};
use crate::machine::entry::{self, Record};
use crate::machine::phys::Phys;
use crate::machine::serial::Serial;
use crate::machine::trap;
use crate::modes;

/// The longest command line read.
const MAX_CMDLINE: usize = 64 << 10;

/// Memory too large for the stack.
struct Room {
    cmdline: [u8; MAX_CMDLINE],
    map: Map,
}

struct Once(UnsafeCell<Room>);

// SAFETY: there is one CPU, and `kernel_main` alone takes the content, once.
unsafe impl Sync for Once {}

static ROOM: Once = Once(UnsafeCell::new(Room {
    cmdline: [0; MAX_CMDLINE],
    map: Map::EMPTY,
}));
/// That [`kernel_main`] runs; it must do so once.
static RUNNING: AtomicBool = AtomicBool::new(false);

#[unsafe(no_mangle)]
extern "sysv64" fn kernel_main() -> ! {
    Serial::init();
    report::to(Serial::send);
    trap::init();
    assert!(!RUNNING.swap(true, Ordering::Relaxed), "kernel_main runs once");
    // SAFETY: `RUNNING` proves that this is the only time that this reference is made.
    let room = unsafe { &mut *ROOM.0.get() };
    let record = entry::record();
    let mut phys = Phys::new();
    report::line(format_args!(
        "conformance: entered as {} at {:#x}",
        record.entry(),
        record.base
    ));

    let Some(len) = fetch_cmdline(&record, &mut phys, &mut room.cmdline) else {
        fail!("cmdline.end", "no zero within {MAX_CMDLINE} bytes"; "one");
        finish()
    };
    let cmdline = room.cmdline.get(..len).unwrap_or_default();
    let request = match Request::parse(cmdline) {
        Ok(request) => request,
        Err(error) => {
            fail!("cmdline.tokens", "{error}"; "tokens this program knows");
            finish()
        }
    };
    modes::run(request.mode, &mut phys);

    match request.seal {
        Some(seal) => report::against("cmdline.bytes", &seal.found, Some(&seal.expected)),
        None => note!("cmdline.bytes", "{}", contract::Digest::of(cmdline)),
    }
    let expectation = &request.expectation;
    report::against("entry", &record.entry(), expectation.entry.as_ref());
    report::address_against("image.base", record.base, expectation.base);
    image::patterns();
    image::bss(record.dirty);
    report::equal("image.aligned", record.base % 4096, 0);
    cpu::check(&record, &mut phys, expectation.gdt);
    let own = [(record.base, record.base + entry::image_length())];
    let image: Occupant = ("image", record.base, record.base + entry::image_length());
    let asked = expectation.memory;
    match record.entry() {
        Entry::Pvh => {
            pvh::read_map(&record, &mut phys, &mut room.map);
            let occupants = pvh::check(&record, &mut phys, expectation, cmdline);
            let occupants = [image].into_iter().chain(occupants);
            memory::check(&room.map, asked, occupants, &own, &mut phys);
        }
        Entry::Multiboot | Entry::Multiboot2 => {
            multiboot::read_map(&record, &mut phys, &mut room.map);
            let occupants = multiboot::check_all(&record, &mut phys, expectation, cmdline, &room.map);
            let occupants = [image].into_iter().chain(occupants.iter());
            memory::check(&room.map, asked, occupants, &own, &mut phys);
        }
        _ => {
            linux::read_map(&record, &mut phys, &mut room.map);
            let occupants = linux::check(&record, &mut phys, expectation, cmdline);
            memory::check(&room.map, asked, occupants.into_iter(), &own, &mut phys);
        }
    }
    finish()
}

/// Copies the command line without its terminating zero; answers its length, or `None` if it has no end.
fn fetch_cmdline(record: &Record, phys: &mut Phys, buffer: &mut [u8]) -> Option<usize> {
    let address = match record.entry() {
        Entry::Pvh => pvh::cmdline_address(record, phys),
        Entry::Multiboot | Entry::Multiboot2 => multiboot::cmdline_address(record, phys),
        _ => linux::cmdline_address(record, phys),
    };
    if address == 0 {
        return Some(0);
    }
    for (index, slot) in buffer.iter_mut().enumerate() {
        *slot = phys.read_byte(address.wrapping_add(index as u64));
        if *slot == 0 {
            return Some(index);
        }
    }
    None
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
