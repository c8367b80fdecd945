//! What a guest's page tables map.

use alloc::vec::Vec;

use boot_core::{Arch, GuestRange, arith};
use boot_paging::{Access, Attributes, Mapping};
use boot_sandbox::{GuestImage, GuestSegment};
use sandbox_abi::layout::{
    BOOT_INFO, GDT, IDT, MMIO_DOORBELL, PAGE, REWIND_CODE, REWIND_IMAGE, REWIND_IMAGE_LEN,
};

use crate::layout::GuestLayout;

const READ: Attributes = Attributes::normal(Access::empty());
const WRITE: Attributes = Attributes::normal(Access::WRITE);
/// Writes take copies.
const COPY: Attributes = Attributes::normal(Access::COPY_ON_WRITE);
const EXECUTE: Attributes = Attributes::normal(Access::EXECUTE);

/// All mappings of a guest. Each maps addresses to themselves, but for the stack of exception handlers in a scratch area, and no page is writable and executable. What is not listed is not mapped:
/// null pointers, the page tables without a scratch area, and the guards around stacks.
pub(crate) fn mappings(layout: &GuestLayout, guest: &GuestImage, has_doorbell_page: bool) -> Vec<Mapping> {
    let copies = !layout.scratch.is_empty();
    let write = if copies { COPY } else { WRITE };
    let mut mappings = Vec::new();
    if copies {
        // Exception handlers write tables and copies.
        let start = layout.tables.start();
        let len = layout.scratch.end().saturating_sub(start);
        mappings.push(Mapping::identity(start, len, WRITE));
    }
    mappings.push(Mapping {
        virt: layout.fault_stack.start(),
        phys: layout.fault_stack_memory(),
        len: layout.fault_stack.len(),
        attributes: WRITE,
    });
    let mut add = |addr, len, attributes| {
        if len != 0 {
            mappings.push(Mapping::identity(addr, len, attributes));
        }
    };
    let of = |range: GuestRange| (range.start(), range.len());
    let page = |addr| (addr, PAGE);

    let mut host = alloc::vec![
        (page(REWIND_CODE), EXECUTE),
        ((REWIND_IMAGE, REWIND_IMAGE_LEN), READ),
    ];
    if layout.arch == Arch::X86_64 {
        host.extend([(page(GDT), READ), (page(IDT), READ)]);
    }
    if layout.arch == Arch::Aarch64 && has_doorbell_page {
        host.push((page(MMIO_DOORBELL), Attributes::DEVICE));
    }
    host.extend([
        (of(layout.outbox), WRITE),
        (page(BOOT_INFO), READ),
        (of(layout.inbox), READ),
        (of(layout.stack), write),
        (of(layout.heap), write),
    ]);
    for ((addr, len), attributes) in host {
        add(addr, len, attributes);
    }
    for (range, attributes) in image(guest, write) {
        add(range.start(), range.len(), attributes);
    }
    mappings
}

/// The pages of the image, in order; `write` are the attributes of those that are writable. Segments that share a page have the same access.
fn image(guest: &GuestImage, write: Attributes) -> Vec<(GuestRange, Attributes)> {
    let relro = guest.link().relro.and_then(whole_pages);
    let mut pages: Vec<(GuestRange, Attributes)> = Vec::new();
    for segment in guest.segments() {
        let Some(range) = segment.range().aligned_out(PAGE) else {
            continue;
        };
        let done = pages.last().map_or(0, |(last, _)| last.end());
        let Some(range) = GuestRange::from_bounds(range.start().max(done), range.end()) else {
            continue;
        };
        match relro.and_then(|relro| relro.intersection(range)) {
            Some(relro) if segment.access.write => {
                let before = GuestRange::from_bounds(range.start(), relro.start());
                let after = GuestRange::from_bounds(relro.end(), range.end());
                pages.extend(before.map(|range| (range, write)));
                pages.push((relro, READ));
                pages.extend(after.map(|range| (range, write)));
            }
            _ => pages.push((range, attributes(segment, write))),
        }
    }
    pages
}

fn attributes(segment: &GuestSegment, write: Attributes) -> Attributes {
    match (segment.access.write, segment.access.execute) {
        (true, _) => write,
        (false, true) => EXECUTE,
        (false, false) => READ,
    }
}

/// The whole pages in a range.
fn whole_pages(range: GuestRange) -> Option<GuestRange> {
    let start = arith::align_up(range.start(), PAGE)?;
    GuestRange::from_bounds(start, arith::align_down(range.end(), PAGE))
}
