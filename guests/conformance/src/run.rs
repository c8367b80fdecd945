//! Main function, called by the entry code.
#![expect(unsafe_code, reason = "the entry code calls a function by its symbol")]

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};

use clauses::memory::{MemoryMap, NamedRange};
use clauses::{fail, image, memory, note, report};
use contract::{Entry, Request};

use crate::clauses::{cpu, linux, multiboot, pvh};
use crate::exit;
use crate::machine::entry::{self, EntryRecord};
use crate::machine::phys::Phys;
use crate::machine::serial::Serial;
use crate::machine::trap;
use crate::modes;

/// Maximum length of the command line.
const MAX_CMDLINE: usize = 64 << 10;

/// Buffers that are too large for the stack.
struct Buffers {
    cmdline: [u8; MAX_CMDLINE],
    map: MemoryMap,
}

struct Once(UnsafeCell<Buffers>);

// SAFETY: there is one CPU, and only `kernel_main` accesses the content, once.
unsafe impl Sync for Once {}

static BUFFERS: Once = Once(UnsafeCell::new(Buffers {
    cmdline: [0; MAX_CMDLINE],
    map: MemoryMap::EMPTY,
}));
/// Whether [`kernel_main`] was called.
static RUNNING: AtomicBool = AtomicBool::new(false);

#[unsafe(no_mangle)]
extern "sysv64" fn kernel_main() -> ! {
    Serial::init();
    report::set_output(Serial::send);
    trap::init();
    assert!(
        !RUNNING.swap(true, Ordering::Relaxed),
        "kernel_main must be called once"
    );
    // SAFETY: by the check of `RUNNING` this is executed once, so the reference is unique.
    let buffers = unsafe { &mut *BUFFERS.0.get() };
    let record = entry::record();
    let mut phys = Phys::new();
    report::line(format_args!(
        "conformance: entered as {} at {:#x}",
        record.entry(),
        record.base
    ));

    let Some(len) = copy_cmdline(&record, &mut phys, &mut buffers.cmdline) else {
        fail!("cmdline.end", "no terminating zero within {MAX_CMDLINE} bytes"; "a terminating zero");
        exit::finish()
    };
    let cmdline = buffers.cmdline.get(..len).unwrap_or_default();
    let request = match Request::parse(cmdline) {
        Ok(request) => request,
        Err(error) => {
            fail!("cmdline.tokens", "{error}"; "valid tokens");
            exit::finish()
        }
    };
    modes::run(request.mode, &mut phys);

    match request.cmdline {
        Some(digest) => report::check_expected("cmdline.bytes", &digest.found, Some(&digest.expected)),
        None => note!("cmdline.bytes", "{}", contract::Digest::of(cmdline)),
    }
    let expectation = &request.expectation;
    report::check_expected("entry", &record.entry(), expectation.entry.as_ref());
    report::check_expected_address("image.base", record.base, expectation.base);
    image::patterns();
    image::bss(record.dirty);
    report::check_equal("image.aligned", record.base % 4096, 0);
    cpu::check(&record, &mut phys, expectation.gdt);
    let own = [(record.base, record.base + entry::image_length())];
    let image: NamedRange = ("image", record.base, record.base + entry::image_length());
    let expected = expectation.memory;
    match record.entry() {
        Entry::Pvh => {
            pvh::read_map(&record, &mut phys, &mut buffers.map);
            let occupied = pvh::check(&record, &mut phys, expectation, cmdline);
            let occupied = [image].into_iter().chain(occupied);
            memory::check(&buffers.map, expected, occupied, &own, &mut phys);
        }
        Entry::Multiboot | Entry::Multiboot2 => {
            multiboot::read_map(&record, &mut phys, &mut buffers.map);
            let occupied = multiboot::check_all(&record, &mut phys, expectation, cmdline, &buffers.map);
            let occupied = [image].into_iter().chain(occupied.iter());
            memory::check(&buffers.map, expected, occupied, &own, &mut phys);
        }
        _ => {
            linux::read_map(&record, &mut phys, &mut buffers.map);
            let occupied = linux::check(&record, &mut phys, expectation, cmdline);
            memory::check(&buffers.map, expected, occupied.into_iter(), &own, &mut phys);
        }
    }
    exit::finish()
}

/// Copies the command line without its terminating zero and returns its length; `None` if there is no terminating zero.
fn copy_cmdline(record: &EntryRecord, phys: &mut Phys, buffer: &mut [u8]) -> Option<usize> {
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

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    fail!("panic", "{info}"; "none");
    exit::finish()
}
