//! Loads of plans: every byte of the plan, and no other.

use boot_core::{BootFile, BootPlan, ByteSource, GuestMemory, GuestRange, LoadContent, MemoryError, Sources};
use fmt_test::CountingSource;
use guest_ram::HostRam;

use crate::memory::{Guarded, PAGE, file};

/// What memory has before a load.
const OLD: u8 = 0xee;

/// Length of what is written at both ends of a range before the load.
const END: u64 = 0x1_0000;

/// Guest memory that counts written bytes.
struct Metered {
    ram: HostRam,
    written: u64,
}

impl GuestMemory for Metered {
    fn check(&self, range: GuestRange) -> Result<(), MemoryError> {
        self.ram.check(range)
    }

    fn write(&mut self, addr: u64, bytes: &[u8]) -> Result<(), MemoryError> {
        self.written += bytes.len() as u64;
        self.ram.write(addr, bytes)
    }

    fn zero(&mut self, range: GuestRange) -> Result<(), MemoryError> {
        self.written += range.len();
        self.ram.zero(range)
    }

    fn read(&self, addr: u64, buf: &mut [u8]) -> Result<(), MemoryError> {
        self.ram.read(addr, buf)
    }

    fn copy_from(
        &mut self,
        range: GuestRange,
        source: &dyn ByteSource,
        offset: u64,
    ) -> Result<(), MemoryError> {
        self.written += range.len();
        self.ram.copy_from(range, source, offset)
    }
}

fn range(start: u64, end: u64) -> GuestRange {
    GuestRange::from_bounds(start, end).unwrap()
}

/// Pages of a range: all of their bytes.
fn pages_of(part: GuestRange) -> GuestRange {
    range(
        part.start() - part.start() % PAGE,
        part.end().next_multiple_of(PAGE),
    )
}

/// Loads a plan from kernel and initrd, and compares memory with them.
///
/// `number` is that of the load: one of two finds old bytes in all memory of the plan, the other one only around it, and each of three has another kind of
/// source.
pub(super) fn check_load(plan: &BootPlan, [kernel, initrd]: [&[u8]; 2], memory: &mut Guarded, number: usize) {
    let parts: Vec<_> = plan.loads().iter().map(|load| load.range).collect();
    memory.clear();
    for part in &parts {
        let pages = pages_of(*part);
        if number.is_multiple_of(2) {
            memory.fill(range(pages.start(), pages.end().min(pages.start() + END)), OLD);
            memory.fill(
                range(pages.start().max(pages.end().saturating_sub(END)), pages.end()),
                OLD,
            );
        } else {
            // Bytes around the range: its first and last page.
            memory.fill(range(pages.start(), pages.start() + PAGE), OLD);
            memory.fill(range(pages.end() - PAGE, pages.end()), OLD);
        }
    }
    load(plan, [kernel, initrd], memory, number);

    let written: u64 = parts.iter().map(|part| part.len()).sum();
    for load in plan.loads() {
        let found = memory.bytes(load.range);
        let is_right = match &load.content {
            LoadContent::File { id, range } => {
                let file = if *id == BootFile::Kernel { kernel } else { initrd };
                let [start, end] = [range.offset(), range.end()].map(|at| usize::try_from(at).unwrap());
                found == &file[start..end]
            }
            LoadContent::Bytes(bytes) => found == &**bytes,
            LoadContent::Zeros => is_all(found, 0),
            content => panic!("{content:?}"),
        };
        assert!(
            is_right,
            "{} at {} is not what the plan has",
            load.label, load.range
        );
    }
    check_outside(parts, memory);
    assert!(written > 0);
}

/// Loads from the kind of source with this number.
fn load(plan: &BootPlan, [kernel, initrd]: [&[u8]; 2], memory: &Guarded, number: usize) {
    let (counting, open);
    let source: &dyn ByteSource = match number % 3 {
        0 => {
            counting = CountingSource::new(kernel);
            &counting
        }
        1 => {
            open = file(kernel);
            &open
        }
        _ => &kernel,
    };
    let mut metered = Metered {
        ram: memory.ram(),
        written: 0,
    };
    plan.load(&Sources::kernel(source).with_initrd(&initrd), &mut metered)
        .unwrap();
    let planned: u64 = plan.loads().iter().map(|load| load.range.len()).sum();
    assert_eq!(
        metered.written, planned,
        "bytes are written more than once, or not at all"
    );
}

/// Bytes in pages of the plan that are in no load are old; pages without a load do not exist.
fn check_outside(mut parts: Vec<GuestRange>, memory: &Guarded) {
    parts.sort_unstable_by_key(|part| part.start());
    let mut next = 0;
    for page in memory.pages() {
        let mut at = page;
        let end = page + PAGE;
        while next < parts.len() && parts[next].end() <= page {
            next += 1;
        }
        let touching: Vec<_> = parts[next..]
            .iter()
            .take_while(|part| part.start() < end)
            .collect();
        assert!(
            !touching.is_empty(),
            "the page at {page:#x} was touched, and has no load"
        );
        for part in touching {
            check_old(memory, at, part.start().max(page));
            at = part.end().min(end);
        }
        check_old(memory, at, end);
    }
}

fn check_old(memory: &Guarded, start: u64, end: u64) {
    if start < end {
        assert!(
            is_all(memory.bytes(range(start, end)), OLD),
            "a byte of {start:#x}..{end:#x} was written, and has no load"
        );
    }
}

/// Whether all bytes are this one. It compares blocks, since tests are not optimised.
fn is_all(bytes: &[u8], byte: u8) -> bool {
    const BLOCK: usize = 0x1000;
    let block = [byte; BLOCK];
    bytes.chunks(BLOCK).all(|chunk| *chunk == block[..chunk.len()])
}
