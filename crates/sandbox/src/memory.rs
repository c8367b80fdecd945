//! The memory of one sandbox: three slots.

#[cfg(feature = "debug")]
mod debug;

use std::sync::Arc;

use boot_core::{GuestRange, arith};
use guest_ram::{ExclusiveBytes, HostMapping, MappingError, MemfdSharing, RamRegion};
use hv_core::{BareVm, Operation, SlotAttributes};
use sandbox_abi::layout;

use crate::base::Base;
use crate::error::BackendError;
use crate::image::{Image, len};
use crate::window::Window;

#[cfg(feature = "debug")]
pub(crate) use self::debug::PrivateText;

/// Numbers of the slots.
pub(crate) mod slot {
    /// Host pages, and the image behind them: the guest cannot write them.
    pub(crate) const FIXED: u32 = 0;
    /// Outbox and page tables.
    pub(crate) const EXCHANGE: u32 = 1;
    /// Data, stacks and heap, with a dirty log.
    pub(crate) const MEMORY: u32 = 2;
    /// The image under a debugger; the first slot is then without it.
    #[cfg(feature = "debug")]
    pub(crate) const TEXT: u32 = 3;
}

/// The memory of one sandbox.
#[derive(Debug)]
pub(crate) struct Memory {
    fixed: Arc<HostMapping>,
    exchange: Arc<HostMapping>,
    /// Data, stacks and heap: a private mapping of a [`Base`].
    pub(crate) data: Arc<HostMapping>,
    /// The guest's page tables.
    tables: ExclusiveBytes,
}

/// Offset of a guest physical address in an area that starts at `start`.
fn offset(start: u64, addr: u64) -> usize {
    usize::try_from(addr.saturating_sub(start)).unwrap_or(usize::MAX)
}

/// The `len` bytes from `start` on.
fn bytes(start: usize, len: usize) -> std::ops::Range<usize> {
    start..start.saturating_add(len)
}

impl Memory {
    /// Maps memory for a sandbox of `image` with the contents of `base`. Nothing is copied: pages are those of the files until they are
    /// written.
    pub(crate) fn new(image: &Image, base: &Base) -> Result<(Self, Window), MappingError> {
        let window = usize::try_from(image.window).unwrap_or(usize::MAX);
        let private = MemfdSharing::Private;
        let inbox_at = offset(layout::HOST, layout::INBOX);
        let host_len = offset(layout::HOST, layout::IMAGE);
        let image_len = len(image.areas.image);
        let mut fixed = HostMapping::reserve(host_len.saturating_add(image_len))?;
        fixed.place_memfd(0..inbox_at, &image.host, 0, private)?;
        fixed.place_anonymous(inbox_at..host_len)?;
        fixed.place_memfd(
            bytes(host_len, image_len),
            &image.text,
            0,
            MemfdSharing::SharedReadOnly,
        )?;
        let tables_at = offset(layout::EXCHANGE, image.areas.tables.start());
        let tables_len = len(image.areas.tables);
        // A restore brings all of it back: the outbox up to the tables, and the tables.
        let outbox_at = offset(layout::EXCHANGE, layout::OUTBOX);
        debug_assert_eq!(
            outbox_at.saturating_add(window),
            tables_at,
            "no memory between them"
        );
        let mut exchange = HostMapping::reserve(tables_at.saturating_add(tables_len))?;
        exchange.place_anonymous(0..tables_at)?;
        exchange.place_memfd(bytes(tables_at, tables_len), &image.tables_file, 0, private)?;
        let data = HostMapping::private(base.file())?;
        let [fixed, exchange, data] = [fixed, exchange, data].map(Arc::new);
        let claim = |mapping: &Arc<HostMapping>, start, len| {
            ExclusiveBytes::new(Arc::clone(mapping), bytes(start, len))
        };
        let inbox = claim(&fixed, inbox_at, window)?;
        let outbox = claim(&exchange, outbox_at, tables_at.saturating_sub(outbox_at))?;
        let tables = claim(&exchange, tables_at, tables_len)?;
        let memory = Self {
            fixed,
            exchange,
            data,
            tables,
        };
        Ok((memory, Window::new(inbox, outbox)))
    }

    /// Maps the three slots.
    pub(crate) fn map<V>(&self, vm: &V, image: &Image) -> Result<(), BackendError>
    where
        V: BareVm<Ram: From<RamRegion>>,
    {
        let attributes = SlotAttributes::default();
        let slots = [
            (
                slot::FIXED,
                layout::HOST,
                &self.fixed,
                attributes.with_read_only(true),
            ),
            (slot::EXCHANGE, layout::EXCHANGE, &self.exchange, attributes),
            (
                slot::MEMORY,
                image.areas.memory.start(),
                &self.data,
                attributes.with_log_dirty(true),
            ),
        ];
        for (slot, start, mapping, attributes) in slots {
            let range = GuestRange::new(start, arith::to_u64(mapping.len()));
            let region = range.and_then(|range| RamRegion::from_mapping(range, Arc::clone(mapping), 0));
            let Some(region) = region else {
                // The layout has no area that ends past the last address.
                continue;
            };
            vm.map_slot(slot, region.into(), attributes)
                .map_err(BackendError::at(Operation::MapRam))?;
        }
        Ok(())
    }

    /// Makes the page tables those of the entry.
    pub(crate) fn restore_tables(&mut self, image: &Image) {
        if !self.tables.equals(0, &image.tables) {
            let written = self.tables.write(0, &image.tables);
            debug_assert!(written, "the area is as long as the tables");
        }
    }

    /// Writes the registers that the guest loads on a rewind.
    pub(crate) fn write_registers(&self, registers: &[u8]) -> Result<(), MappingError> {
        self.fixed
            .write(offset(layout::HOST, layout::REWIND_IMAGE), registers)
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
