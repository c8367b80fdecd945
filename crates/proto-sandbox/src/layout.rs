//! The layout of a guest's memory.

use boot_core::{Arch, GuestRange, MemoryMap, MemoryMapError, RegionKind, arith};
use boot_sandbox::GuestImage;
use sandbox_abi::ScratchState;
use sandbox_abi::layout::{FAULT_STACK, GUARD, HEAP_ALIGN, HOST, HOST_LEN, IMAGE, INBOX, PAGE};

use crate::rules::host_page;
use crate::sizes::Sizes;

/// Pages before those for copies: the state, and the stack of exception handlers.
pub(crate) const SCRATCH_HEAD: u64 = PAGE + FAULT_STACK;

/// Where everything is in the memory of a guest: guest physical addresses, which are also the virtual ones; but with a [scratch area](Self::scratch),
/// the stack of exception handlers has its memory there.
///
/// It depends on the image and the sizes only. [`sandbox_abi::layout`] draws it. Memory slots are [`host`](Self::host) with
/// [`image`](Self::image), and [`memory`](Self::memory) with [`exchange`](Self::exchange); they begin and end at multiples of 4 KiB, and of
/// 64 KiB on arm64, the largest page size of hosts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct GuestLayout {
    /// The architecture.
    pub arch: Arch,
    /// Pages that the host writes. The image follows.
    pub host: GuestRange,
    /// Messages of the host, in [`host`](Self::host).
    pub inbox: GuestRange,
    /// Constants and code of the image.
    pub image: GuestRange,
    /// Data, stacks and heap; directly after the image.
    pub memory: GuestRange,
    /// The segments of data, at the start of [`memory`](Self::memory); may be empty.
    pub data: GuestRange,
    /// Stack of exception handlers.
    pub fault_stack: GuestRange,
    /// Stack.
    pub stack: GuestRange,
    /// Heap, aligned to 2 MiB; may be empty.
    pub heap: GuestRange,
    /// Outbox and page tables; directly after the [`memory`](Self::memory).
    pub exchange: GuestRange,
    /// Messages of the guest, at the start of [`exchange`](Self::exchange).
    pub outbox: GuestRange,
    /// The page tables, after the outbox, and on arm64 free space up to a multiple of 64 KiB. The guest's page tables map it only if there is a
    /// scratch area.
    pub tables: GuestRange,
    /// The scratch area, the rest of [`exchange`](Self::exchange); empty if the guest does not copy the pages that it writes. It has a page
    /// with [`ScratchState`](sandbox_abi::ScratchState), the memory of the stack of exception handlers, the pages for copies, and
    /// [a reserve](sandbox_abi::ScratchState::RESERVE).
    pub scratch: GuestRange,
}

impl GuestLayout {
    /// The memory of the machine: [`host`](Self::host), [`image`](Self::image), [`memory`](Self::memory) and
    /// [`exchange`](Self::exchange).
    #[must_use]
    pub fn memory_map(&self) -> MemoryMap {
        self.try_memory_map().unwrap_or_default()
    }

    /// Never fails: the parts do not overlap and are not empty.
    fn try_memory_map(&self) -> Result<MemoryMap, MemoryMapError> {
        let mut map = MemoryMap::new();
        for range in [self.host, self.image, self.memory, self.exchange] {
            map.insert(range, RegionKind::Ram)?;
        }
        Ok(map)
    }

    /// First page for copies, and their number without the reserve; zeros without a scratch area.
    #[must_use]
    pub fn copies(&self) -> (u64, u64) {
        if self.scratch.is_empty() {
            return (0, 0);
        }
        let start = self.scratch.start().saturating_add(SCRATCH_HEAD);
        let pages = self.scratch.end().saturating_sub(start) / PAGE;
        (start, pages.saturating_sub(ScratchState::RESERVE))
    }

    /// Physical address of the stack of exception handlers.
    pub(crate) fn fault_stack_memory(&self) -> u64 {
        if self.scratch.is_empty() {
            self.fault_stack.start()
        } else {
            self.scratch.start().saturating_add(PAGE)
        }
    }

    /// Number of page tables for which there is space.
    pub(crate) fn max_tables(&self) -> usize {
        usize::try_from(self.tables.len() / PAGE).unwrap_or(usize::MAX)
    }

    /// Everything but the end of the page tables.
    pub(crate) fn place(arch: Arch, guest: &GuestImage, sizes: &Sizes) -> Self {
        let segments = || guest.segments().iter();
        let end_of = |write| {
            let ends = segments().filter(|segment| segment.access.write == write);
            ends.map(|segment| segment.range().end()).max()
        };
        let up = |addr, align| arith::align_up(addr, align).unwrap_or(u64::MAX);
        let from = |start: u64, len: u64| GuestRange::new(start, len).unwrap_or(GuestRange::EMPTY);
        let between = |start, end| GuestRange::from_bounds(start, end).unwrap_or(GuestRange::EMPTY);

        let image_end = up(end_of(false).unwrap_or(IMAGE), host_page(arch));
        let data_end = up(end_of(true).unwrap_or(image_end), PAGE);
        let fault_stack = from(data_end.saturating_add(GUARD), FAULT_STACK);
        let stack = from(fault_stack.end().saturating_add(GUARD), sizes.stack);
        let heap = from(up(stack.end().saturating_add(GUARD), HEAP_ALIGN), sizes.heap);
        let outbox = from(heap.end(), sizes.window.into());
        Self {
            arch,
            host: from(HOST, HOST_LEN),
            inbox: from(INBOX, sizes.window.into()),
            image: between(IMAGE, image_end),
            memory: between(image_end, heap.end()),
            data: between(image_end, data_end),
            fault_stack,
            stack,
            heap,
            exchange: outbox,
            outbox,
            tables: between(outbox.end(), outbox.end()),
            scratch: GuestRange::EMPTY,
        }
    }

    /// The same layout with space for `count` page tables.
    pub(crate) fn with_tables(self, count: usize) -> Self {
        let start = self.outbox.end();
        let len = arith::to_u64(count).saturating_mul(PAGE);
        let end = arith::align_up(start.saturating_add(len), host_page(self.arch)).unwrap_or(u64::MAX);
        let between = |start, end| GuestRange::from_bounds(start, end).unwrap_or(GuestRange::EMPTY);
        let scratch = match self.scratch.len() {
            0 => GuestRange::EMPTY,
            len => between(end, end.saturating_add(len)),
        };
        Self {
            tables: between(start, end),
            scratch,
            exchange: between(self.outbox.start(), end.max(scratch.end())),
            ..self
        }
    }
}
