//! Main function, called by the entry code.
#![expect(unsafe_code, reason = "the entry code calls a function by its symbol")]

use core::cell::UnsafeCell;

use clauses::memory::MemoryMap;
use clauses::{fail, note, report};
use contract::Request;

use crate::clauses::{chosen, cpus, devices, image, memory, tree};
use crate::exit;
use crate::fdt::{self, Fdt};
use crate::machine::phys::{self, Phys};
use crate::machine::{arch, console};
use crate::modes;

/// Buffers that are too large for the stack.
struct Buffers {
    /// Copy of the device tree: the clauses about RAM write to the memory of the original.
    tree: [u8; tree::MAX_LEN],
    map: MemoryMap,
}

struct Once(UnsafeCell<Buffers>);

// SAFETY: one CPU runs Rust code, and only `kernel_main` accesses the content, once.
unsafe impl Sync for Once {}

static BUFFERS: Once = Once(UnsafeCell::new(Buffers {
    tree: [0; tree::MAX_LEN],
    map: MemoryMap::EMPTY,
}));

#[unsafe(no_mangle)]
extern "C" fn kernel_main() -> ! {
    report::set_output(console::send);
    // SAFETY: the entry code calls this function once and there is no other caller, so the reference is unique.
    let buffers = unsafe { &mut *BUFFERS.0.get() };
    let record = arch::record();
    let mut phys = Phys::new();
    let blob = copy_tree(record.tree(), &mut buffers.tree);
    let tree = match Fdt::parse(blob) {
        Ok(tree) => tree,
        Err(error) => {
            // Without a tree there is no serial port. If firmware has no console either, the reset is the only sign of failure.
            fail!("tree", "{error}"; "a device tree at {:#x}", record.tree());
            exit::finish()
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
            fail!("cmdline.tokens", "{error}"; "valid tokens");
            exit::finish()
        }
    };
    modes::run(request.mode, &tree);

    match request.cmdline {
        Some(digest) => report::check_expected("cmdline.bytes", &digest.found, Some(&digest.expected)),
        None => note!("cmdline.bytes", "{}", contract::Digest::of(cmdline)),
    }
    let expectation = &request.expectation;
    report::check_expected("entry", &record.entry(), expectation.entry.as_ref());
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
        &mut buffers.map,
        &mut phys,
    );
    cpus::check(&record, &tree, expectation);
    exit::finish()
}

/// Copies the device tree, at most as much as fits into `buffer`.
fn copy_tree(address: u64, buffer: &mut [u8]) -> &[u8] {
    let (head, _) = buffer.split_at_mut(fdt::HEADER_LEN);
    phys::read(address, head);
    let total_size = fdt::total_size(head).and_then(|size| usize::try_from(size).ok());
    let len = total_size.unwrap_or(0).clamp(fdt::HEADER_LEN, buffer.len());
    let (blob, _) = buffer.split_at_mut(len);
    phys::read(address, blob);
    blob
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    fail!("panic", "{info}"; "none");
    exit::finish()
}
