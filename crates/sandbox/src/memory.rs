//! The memory of one sandbox: its slots.

#[cfg(feature = "debug")]
mod debug;
mod mappings;
mod scratch;

use std::sync::Arc;

use boot_core::{GuestRange, arith};
use guest_ram::{ExclusiveBytes, HostMapping, MappingError, Memfd, MemfdSharing, RamRegion};
use hv_core::{BareVm, Operation, SlotAttributes};
use sandbox_abi::layout;

use crate::base::{Base, PAGE};
use crate::error::BackendError;
use crate::image::{HOST_PAGES, Image, len};
use crate::mappings::Mappings;
use crate::window::Window;

#[cfg(feature = "debug")]
pub(crate) use self::debug::PrivateText;

/// Numbers of the slots. Those behind them are [`crate::mappings`]'.
pub(crate) mod slot {
    /// Host pages, and the image behind them: the guest cannot write them.
    pub(crate) const FIXED: u32 = 0;
    /// Data, stacks and heap, and behind them outbox and page tables, with a dirty log. Only data, stacks and heap, which the guest cannot
    /// write, if it copies the pages that it writes.
    pub(crate) const MEMORY: u32 = 1;
    /// The image under a debugger; the first slot is then without it.
    #[cfg(feature = "debug")]
    pub(crate) const TEXT: u32 = 2;
    /// Outbox, page tables and scratch area, if the guest copies pages that it writes: then it cannot write [`MEMORY`].
    pub(crate) const SCRATCH: u32 = 0x4000;
}

/// Offset of the registers that the guest loads on a rewind, in the host pages.
#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    reason = "less than 2 MiB"
)]
pub(crate) const REGISTERS: usize = (layout::REWIND_IMAGE - layout::HOST) as usize;

/// The memory of one sandbox.
#[derive(Debug)]
pub(crate) struct Memory {
    fixed: Arc<HostMapping>,
    /// Data, stacks and heap: a private mapping of a [`Base`]. Behind them outbox and page tables.
    pub(crate) data: Arc<HostMapping>,
    /// The guest's page tables.
    tables: ExclusiveBytes,
    /// Files and regions that are mapped beside it.
    pub(crate) mappings: Mappings,
}

/// Offset of a guest physical address in an area that starts at `start`.
pub(crate) fn offset(start: u64, addr: u64) -> usize {
    usize::try_from(addr.saturating_sub(start)).unwrap_or(usize::MAX)
}

/// The `len` bytes from `start` on.
fn bytes(start: usize, len: usize) -> std::ops::Range<usize> {
    start..start.saturating_add(len)
}

impl Memory {
    /// Maps memory for a sandbox of `image` with the contents of `base` and the pages `host` up to the inbox. Nothing is copied: pages are
    /// those of the files until they are written.
    pub(crate) fn new(image: &Image, base: &Base, host: &Memfd) -> Result<(Self, Window), MappingError> {
        let areas = &image.areas;
        let private = MemfdSharing::Private;
        let outbox = bytes(len(areas.memory), len(areas.outbox));
        let tables = bytes(outbox.end, len(areas.tables));
        let scratch = bytes(tables.end, len(areas.scratch));
        let data = if scratch.is_empty() {
            HostMapping::private(base.file())?
        } else {
            let mut data = HostMapping::reserve(scratch.end)?;
            data.place_memfd(0..scratch.start, base.file(), 0, private)?;
            data.place_anonymous(scratch)?;
            data
        };
        let text = (&image.text, MemfdSharing::SharedReadOnly);
        let fixed = HostMapping::pair((host, private), text, &data)?;
        let [fixed, data] = [fixed, data].map(Arc::new);
        let inbox = bytes(HOST_PAGES, outbox.len());
        let window = Window::new(
            ExclusiveBytes::new(Arc::clone(&fixed), inbox)?,
            ExclusiveBytes::new(Arc::clone(&data), outbox)?,
        );
        let tables = ExclusiveBytes::new(Arc::clone(&data), tables)?;
        let memory = Self {
            fixed,
            data,
            tables,
            mappings: Mappings::default(),
        };
        Ok((memory, window))
    }

    /// Maps the slots.
    pub(crate) fn map<V>(&self, vm: &V, image: &Image) -> Result<(), BackendError>
    where
        V: BareVm<Ram: From<RamRegion>>,
    {
        let areas = &image.areas;
        let attributes = SlotAttributes::default();
        let read_only = attributes.with_read_only(true);
        let (start, data_len) = (areas.memory.start(), arith::to_u64(self.data.len()));
        let data = GuestRange::new(start, data_len);
        let exchange = GuestRange::from_bounds(areas.outbox.start(), start.saturating_add(data_len));
        let fixed = GuestRange::new(layout::HOST, arith::to_u64(self.fixed.len()));
        let fixed = (slot::FIXED, fixed, &self.fixed, 0, read_only);
        let log = attributes.with_log_dirty(true);
        let slots = if areas.scratch.is_empty() {
            vec![fixed, (slot::MEMORY, data, &self.data, 0, log)]
        } else {
            let memory = Some(areas.memory);
            vec![
                fixed,
                (slot::MEMORY, memory, &self.data, 0, read_only),
                (slot::SCRATCH, exchange, &self.data, len(areas.memory), attributes),
            ]
        };
        for (slot, range, mapping, offset, attributes) in slots {
            let region = range.and_then(|range| RamRegion::from_mapping(range, Arc::clone(mapping), offset));
            let Some(region) = region else {
                // The layout has no area that ends past the last address.
                continue;
            };
            vm.map_slot(slot, region.into(), attributes)
                .map_err(BackendError::at(Operation::MapRam))?;
        }
        Ok(())
    }

    /// Makes page `page` of the page tables that of the entry, with the entries of mappings.
    pub(crate) fn restore_table(&mut self, page: usize, image: &Image) {
        let start = page.saturating_mul(PAGE);
        let of_entry = || image.exchange.tables.get(bytes(start, PAGE));
        let of_mappings = self.mappings.tables.as_ref();
        let of_mappings = of_mappings.and_then(|tables| tables.guest_table(page));
        let entries = of_mappings.or_else(of_entry).unwrap_or_default();
        if !self.tables.equals(start, entries) {
            let written = self.tables.write(start, entries);
            debug_assert!(written, "the area is as long as the tables");
        }
    }

    /// Writes the registers that the guest loads on a rewind.
    pub(crate) fn write_registers(&self, registers: &[u8]) -> Result<(), MappingError> {
        self.fixed.write(REGISTERS, registers)
    }

    /// Reads host pages and the image. False if a byte is elsewhere, or in the inbox.
    #[cfg(any(feature = "core-dump", feature = "debug"))]
    pub(crate) fn read_fixed(&self, addr: u64, bytes: &mut [u8]) -> bool {
        let offset = addr
            .checked_sub(layout::HOST)
            .and_then(|offset| usize::try_from(offset).ok());
        offset.is_some_and(|offset| self.fixed.read(offset, bytes).is_ok())
    }

    /// Reads guest memory in the area of data, stacks and heap, which starts at `start`. False if a byte is elsewhere.
    pub(crate) fn read_data(&self, start: u64, addr: u64, bytes: &mut [u8]) -> bool {
        let offset = addr
            .checked_sub(start)
            .and_then(|offset| usize::try_from(offset).ok());
        offset.is_some_and(|offset| self.data.read(offset, bytes).is_ok())
    }
}
