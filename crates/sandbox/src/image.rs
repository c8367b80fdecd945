//! Images of guests: what all sandboxes of one program share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use boot_core::{CpuState, GuestMemory, GuestRange, LoadError, MemoryError, arith};
use guest_ram::{HostMapping, MappingError, Memfd, MemfdSharing};
use hv_core::DirtyPages;
use proto_sandbox::Sizes;
use sandbox_abi::{DoorbellKind, layout};
use zerocopy::{FromZeros, IntoBytes};

use crate::base::{Base, Exchange, PAGE};
use crate::copy_on_write::Tracking;
use crate::function::{Exports, FunctionInfo};
use crate::memory_error::MemoryFileError;
use crate::program_bytes::ProgramBytes;

/// Guest physical ranges of a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Areas {
    /// Headers, constants and code: whole pages from [`layout::IMAGE`] on.
    pub(crate) image: GuestRange,
    /// Data, stacks and heap: whole pages, directly after the image.
    pub(crate) memory: GuestRange,
    /// Messages of the guest: whole pages, directly after the memory.
    pub(crate) outbox: GuestRange,
    /// Page tables at the entry, directly after the outbox.
    pub(crate) tables: GuestRange,
    /// The scratch area, directly after the page tables; empty if the host tracks writes.
    pub(crate) scratch: GuestRange,
    /// Pages for copies, with the reserve: the end of the scratch area.
    pub(crate) copies: GuestRange,
    /// The stack of exception handlers, in the memory.
    pub(crate) fault_stack: GuestRange,
    /// The stack, in the memory.
    pub(crate) stack: GuestRange,
}

impl Areas {
    /// Whether `addr` is in the guard below a stack.
    pub(crate) fn is_guard(&self, addr: u64) -> bool {
        [self.stack, self.fault_stack].iter().any(|stack| {
            let guard = stack.start().saturating_sub(layout::GUARD)..stack.start();
            guard.contains(&addr)
        })
    }
}

/// What an image was planned from.
#[derive(Clone, Debug)]
pub(crate) struct ImageOrigin {
    pub(crate) program: ProgramBytes,
    pub(crate) sizes: Sizes,
    /// Largest length of payloads that the guest was told.
    pub(crate) max_payload: u64,
    pub(crate) tracking: Tracking,
}

/// The doorbell that the guest was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BootDoorbell {
    pub(crate) kind: DoorbellKind,
    pub(crate) value: u64,
}

/// A program that was planned, but not loaded.
pub(crate) struct Program<'a> {
    pub(crate) areas: Areas,
    pub(crate) exports: Vec<FunctionInfo>,
    pub(crate) imports: Vec<FunctionInfo>,
    pub(crate) entry: CpuState,
    /// Virtual address of the exception handlers.
    pub(crate) vectors: u64,
    pub(crate) doorbell: BootDoorbell,
    pub(crate) origin: ImageOrigin,
    /// Writes host pages, image, page tables and data.
    pub(crate) load: &'a dyn Fn(&mut dyn GuestMemory) -> Result<(), LoadError>,
}

/// What all sandboxes of one program share.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) areas: Areas,
    pub(crate) exports: Exports,
    pub(crate) imports: Vec<FunctionInfo>,
    pub(crate) entry: CpuState,
    /// Registers with which the guest turns its MMU on: `BootInfo::mmu`.
    pub(crate) mmu: [u64; 4],
    /// Virtual address of the exception handlers.
    pub(crate) vectors: u64,
    pub(crate) doorbell: BootDoorbell,
    pub(crate) origin: ImageOrigin,
    /// Headers, constants and code; sealed.
    pub(crate) text: Memfd,
    /// Bytes from [`layout::HOST`] to the image, of which only [`HOST_PAGES`] are not zeros; sealed.
    pub(crate) host: Memfd,
    /// What follows the memory at the entry.
    pub(crate) exchange: Arc<Exchange>,
}

/// Length of the host pages before the inbox in bytes.
pub(crate) const HOST_PAGES: usize = host_len(layout::INBOX);

/// Length of the host pages in bytes.
const HOST_LEN: usize = host_len(layout::IMAGE);

/// Number of bytes from [`layout::HOST`] to `end`.
#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    reason = "at most 2 MiB"
)]
const fn host_len(end: u64) -> usize {
    (end - layout::HOST) as usize
}

/// Number of bytes from `start` to `end`, as an offset in host memory.
fn distance(start: u64, end: u64) -> usize {
    usize::try_from(end.saturating_sub(start)).unwrap_or(usize::MAX)
}

/// Length of a range in host memory.
pub(crate) fn len(range: GuestRange) -> usize {
    distance(range.start(), range.end())
}

impl Image {
    /// Loads a program: the image, and its memory before the first instruction.
    pub(crate) fn load(program: Program<'_>) -> Result<(Self, Base), MemoryFileError> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let areas = program.areas;
        let text = Memfd::create(c"sandbox-image", len(areas.image))?;
        let host_range = GuestRange::from_bounds(layout::HOST, layout::INBOX).unwrap_or(GuestRange::EMPTY);
        let host = Memfd::create(c"sandbox-host", HOST_LEN)?;
        let mut exchange = Exchange {
            outbox_len: len(areas.outbox),
            tables: vec![0; len(areas.tables)],
        };
        let data = exchange.file(len(areas.memory))?;
        let mapping = Arc::new(HostMapping::shared(&data)?);
        let mut target = LoadTarget {
            host: Part::new(host_range, Arc::new(HostMapping::shared(&host)?), 0),
            tables: Part::new(
                areas.tables,
                Arc::clone(&mapping),
                distance(areas.memory.start(), areas.tables.start()),
            ),
            image: Part::new(areas.image, Arc::new(HostMapping::shared(&text)?), 0),
            memory: Part::new(areas.memory, mapping, 0),
        };
        (program.load)(&mut target)?;
        target.tables.read(areas.tables.start(), &mut exchange.tables)?;
        let exchange = Arc::new(exchange);
        let mmu = target.host.mmu()?;
        let present = target.memory.written_pages();
        // The writable mappings prevent the seals.
        drop(target);
        for file in [&text, &host] {
            file.seal()?;
        }
        let image = Self {
            areas,
            exports: Exports::new(NEXT.fetch_add(1, Ordering::Relaxed), program.exports),
            imports: program.imports,
            entry: program.entry,
            mmu,
            vectors: program.vectors,
            doorbell: program.doorbell,
            origin: program.origin,
            text,
            host,
            exchange: Arc::clone(&exchange),
        };
        Ok((image, Base::seal(data, present, exchange)?))
    }

    /// Whether the two are images of one program with the same plan. The memory before the first instruction may differ.
    pub(crate) fn is_same(&self, other: &Self) -> Result<bool, MemoryFileError> {
        let plan = |image: &Self| (image.areas, image.mmu, image.vectors, image.doorbell);
        Ok(plan(self) == plan(other)
            && self.entry == other.entry
            && self.exchange == other.exchange
            && self.imports == other.imports
            && self.exports.iter().eq(other.exports.iter())
            && self.text.len() == other.text.len()
            && starts_same(&self.text, &other.text, self.text.len())?
            && starts_same(&self.host, &other.host, HOST_PAGES)?)
    }
}

/// Whether two sealed files start with the same `len` bytes.
fn starts_same(a: &Memfd, b: &Memfd, len: usize) -> Result<bool, MappingError> {
    let view = |file: &Memfd| -> Result<HostMapping, MappingError> {
        let mut view = HostMapping::reserve(len)?;
        view.place_memfd(0..len, file, 0, MemfdSharing::SharedReadOnly)?;
        Ok(view)
    };
    let (a, b) = (view(a)?, view(b)?);
    let [mut of_a, mut of_b] = [[0; PAGE]; 2];
    for offset in (0..len).step_by(PAGE) {
        // The files consist of whole pages.
        a.read(offset, &mut of_a)?;
        b.read(offset, &mut of_b)?;
        if of_a != of_b {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Memory of the areas of a program, all zeros at first.
struct LoadTarget {
    host: Part,
    tables: Part,
    image: Part,
    memory: Part,
}

/// Memory of one area.
struct Part {
    range: GuestRange,
    mapping: Arc<HostMapping>,
    /// Offset of the area in the mapping.
    at: usize,
    /// Ranges that were written; the others are zeros.
    written: Vec<GuestRange>,
}

impl Part {
    fn new(range: GuestRange, mapping: Arc<HostMapping>, at: usize) -> Self {
        Self {
            range,
            mapping,
            at,
            written: Vec::new(),
        }
    }

    /// Reads bytes of the area.
    fn read(&self, addr: u64, bytes: &mut [u8]) -> Result<(), MappingError> {
        self.mapping.read(self.offset(addr), bytes)
    }

    /// Registers of the boot information, for the area of the host pages.
    fn mmu(&self) -> Result<[u64; 4], MappingError> {
        let mut info = sandbox_abi::BootInfo::new_zeroed();
        self.read(layout::BOOT_INFO, info.as_mut_bytes())?;
        Ok(info.mmu.map(zerocopy::little_endian::U64::get))
    }

    /// Offset of an address in the mapping.
    fn offset(&self, addr: u64) -> usize {
        self.at.saturating_add(distance(self.range.start(), addr))
    }

    /// The pages that were written.
    fn written_pages(&self) -> DirtyPages {
        let mut pages = DirtyPages::new(len(self.range) / PAGE);
        for range in &self.written {
            let [first, end] = [range.start(), range.end()].map(|addr| distance(self.range.start(), addr));
            for page in first / PAGE..end.div_ceil(PAGE) {
                pages.insert(page);
            }
        }
        pages
    }
}

impl LoadTarget {
    /// The part that has all of `range`.
    fn part(&mut self, range: GuestRange) -> Result<&mut Part, MemoryError> {
        let parts = [
            &mut self.host,
            &mut self.tables,
            &mut self.image,
            &mut self.memory,
        ];
        let mut parts = parts.into_iter();
        let found = parts.find(|part| part.range.contains(range));
        found.ok_or(MemoryError::NotBacked(range))
    }
}

/// The range of `len` bytes at `addr`.
fn range(addr: u64, len: usize) -> Result<GuestRange, MemoryError> {
    let range = GuestRange::new(addr, arith::to_u64(len));
    range.ok_or(MemoryError::NotBacked(GuestRange::EMPTY))
}

/// The error of an access to memory of the host.
fn access(range: GuestRange, source: MappingError) -> MemoryError {
    let source = Box::new(source);
    MemoryError::Access { range, source }
}

impl GuestMemory for LoadTarget {
    fn check(&self, range: GuestRange) -> Result<(), MemoryError> {
        let parts = [&self.host, &self.tables, &self.image, &self.memory];
        let is_backed = parts.iter().any(|part| part.range.contains(range));
        is_backed.then_some(()).ok_or(MemoryError::NotBacked(range))
    }

    fn write(&mut self, addr: u64, bytes: &[u8]) -> Result<(), MemoryError> {
        let range = range(addr, bytes.len())?;
        let part = self.part(range)?;
        let written = part.mapping.write(part.offset(addr), bytes);
        part.written.push(range);
        written.map_err(|source| access(range, source))
    }

    /// Memory is zeros already, except where it was written.
    fn zero(&mut self, range: GuestRange) -> Result<(), MemoryError> {
        let part = self.part(range)?;
        let overlaps: Vec<_> = part
            .written
            .iter()
            .filter_map(|written| written.intersection(range))
            .collect();
        for overlap in overlaps.into_iter().filter(|overlap| !overlap.is_empty()) {
            self.write(overlap.start(), &vec![0; len(overlap)])?;
        }
        Ok(())
    }

    fn read(&self, addr: u64, buf: &mut [u8]) -> Result<(), MemoryError> {
        let range = range(addr, buf.len())?;
        let parts = [&self.host, &self.tables, &self.image, &self.memory];
        let part = parts.into_iter().find(|part| part.range.contains(range));
        let part = part.ok_or(MemoryError::NotBacked(range))?;
        let read = part.read(addr, buf);
        read.map_err(|source| access(range, source))
    }
}
