//! The code of a guest while a debugger may change it.

use std::sync::Arc;

use boot_core::{GuestRange, arith};
use guest_ram::{HostMapping, MappingError, RamRegion};
use hv_core::{BareVm, Operation, SlotAttributes};
use sandbox_abi::layout;

use super::{Memory, offset, slot};
use crate::base::PAGE;
use crate::error::BackendError;
use crate::image::Image;

/// A copy of the code of one sandbox, in a slot of its own: pages that are not written are those of the file that all sandboxes share.
#[derive(Debug)]
pub(crate) struct PrivateText {
    mapping: Arc<HostMapping>,
    range: GuestRange,
}

impl PrivateText {
    /// A copy of the code of `image`.
    pub(crate) fn new(image: &Image) -> Result<Self, MappingError> {
        Ok(Self {
            mapping: Arc::new(HostMapping::private(&image.text)?),
            range: image.areas.image,
        })
    }

    /// Where the code is.
    pub(crate) fn range(&self) -> GuestRange {
        self.range
    }

    /// Reads code; false if a byte is elsewhere.
    pub(crate) fn read(&self, addr: u64, bytes: &mut [u8]) -> bool {
        addr >= self.range.start() && self.mapping.read(offset(self.range.start(), addr), bytes).is_ok()
    }

    /// Writes code.
    ///
    /// Each page is dropped before: so the hypervisor maps it anew, and the guest's CPU executes no instructions that it cached before.
    pub(crate) fn write(&self, addr: u64, bytes: &[u8]) -> Result<(), MappingError> {
        let mut at = offset(self.range.start(), addr);
        let mut rest = bytes;
        while !rest.is_empty() {
            let within = at % PAGE;
            let (now, later) = rest.split_at(rest.len().min(PAGE.saturating_sub(within)));
            let start = at.saturating_sub(within);
            let mut page = [0; PAGE];
            self.mapping.read(start, &mut page)?;
            for (to, from) in page.iter_mut().skip(within).zip(now) {
                *to = *from;
            }
            self.mapping.dont_need(start..start.saturating_add(PAGE))?;
            self.mapping.write(start, &page)?;
            at = at.saturating_add(now.len());
            rest = later;
        }
        Ok(())
    }
}

impl Memory {
    /// Puts `text` in the place of the shared code. No CPU runs. After an error, a slot may be missing.
    pub(crate) fn split<V>(&self, vm: &V, text: &PrivateText) -> Result<(), BackendError>
    where
        V: BareVm<Ram: From<RamRegion>>,
    {
        unmap(vm, slot::FIXED)?;
        let host = GuestRange::from_bounds(layout::HOST, layout::IMAGE);
        map(vm, slot::FIXED, host, &self.fixed)?;
        map(vm, slot::TEXT, Some(text.range), &text.mapping)
    }

    /// Puts the shared code back. No CPU runs. After an error, a slot may be missing.
    pub(crate) fn join<V>(&self, vm: &V) -> Result<(), BackendError>
    where
        V: BareVm<Ram: From<RamRegion>>,
    {
        unmap(vm, slot::TEXT)?;
        unmap(vm, slot::FIXED)?;
        let all = GuestRange::new(layout::HOST, arith::to_u64(self.fixed.len()));
        map(vm, slot::FIXED, all, &self.fixed)
    }

    /// Reads the page tables; false if a byte is elsewhere.
    pub(crate) fn read_tables(&self, image: &Image, addr: u64, bytes: &mut [u8]) -> bool {
        let start = image.areas.tables.start();
        let mut found = Vec::with_capacity(bytes.len());
        let is_read = addr >= start && self.tables.read_to(offset(start, addr), bytes.len(), &mut found);
        bytes.iter_mut().zip(found).for_each(|(to, from)| *to = from);
        is_read
    }

    /// Writes guest memory in the area of data, stacks and heap, which starts at `start`. The caller takes note of the pages.
    pub(crate) fn write_data(&self, start: u64, addr: u64, bytes: &[u8]) -> Result<(), MappingError> {
        self.data.write(offset(start, addr), bytes)
    }
}

/// Maps the start of `mapping` as memory that the guest cannot write.
fn map<V>(
    vm: &V,
    number: u32,
    range: Option<GuestRange>,
    mapping: &Arc<HostMapping>,
) -> Result<(), BackendError>
where
    V: BareVm<Ram: From<RamRegion>>,
{
    let region = range.and_then(|range| RamRegion::from_mapping(range, Arc::clone(mapping), 0));
    let Some(region) = region else {
        // The layout has no area that ends past the last address, and each area is as long as its memory.
        return Ok(());
    };
    let attributes = SlotAttributes::default().with_read_only(true);
    vm.map_slot(number, region.into(), attributes)
        .map_err(BackendError::at(Operation::MapRam))
}

fn unmap<V: BareVm>(vm: &V, number: u32) -> Result<(), BackendError> {
    vm.unmap_ram(number)
        .map(drop)
        .map_err(BackendError::at(Operation::UnmapRam))
}
