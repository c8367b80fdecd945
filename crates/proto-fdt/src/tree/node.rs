//! A writer of nodes that closes what it opens.

use alloc::string::ToString;
use alloc::vec::Vec;

use boot_core::GuestRange;
use vm_fdt::FdtWriter;

use crate::TreeError;

/// A writer of nodes. A node's properties come before its children, as the format wants it; `vm-fdt` proves that.
pub(super) struct Writer {
    fdt: FdtWriter,
}

impl Writer {
    pub(super) fn new() -> Result<Self, TreeError> {
        Ok(Self {
            fdt: FdtWriter::new()?,
        })
    }

    /// Names the boot CPU in the header, where its id fits there.
    pub(super) fn boot_cpu(&mut self, id: Option<u64>) {
        if let Some(id) = id.and_then(|id| u32::try_from(id).ok()) {
            self.fdt.set_boot_cpuid_phys(id);
        }
    }

    pub(super) fn root(
        &mut self,
        body: impl FnOnce(&mut Self) -> Result<(), TreeError>,
    ) -> Result<(), TreeError> {
        self.node("", body)
    }

    pub(super) fn node(
        &mut self,
        name: &str,
        body: impl FnOnce(&mut Self) -> Result<(), TreeError>,
    ) -> Result<(), TreeError> {
        let node = self.fdt.begin_node(name)?;
        body(self)?;
        Ok(self.fdt.end_node(node)?)
    }

    pub(super) fn bytes(&mut self, name: &str, value: &[u8]) -> Result<(), TreeError> {
        Ok(self.fdt.property(name, value)?)
    }

    /// A property without a value, or none.
    pub(super) fn flag(&mut self, name: &str, set: bool) -> Result<(), TreeError> {
        if set { self.bytes(name, &[]) } else { Ok(()) }
    }

    pub(super) fn string(&mut self, name: &str, value: &str) -> Result<(), TreeError> {
        Ok(self.fdt.property_string(name, value)?)
    }

    pub(super) fn strings<'s>(
        &mut self,
        name: &str,
        values: impl IntoIterator<Item = &'s str>,
    ) -> Result<(), TreeError> {
        let values = values.into_iter().map(ToString::to_string).collect();
        Ok(self.fdt.property_string_list(name, values)?)
    }

    pub(super) fn cells(&mut self, name: &str, cells: &[u32]) -> Result<(), TreeError> {
        Ok(self.fdt.property_array_u32(name, cells)?)
    }

    pub(super) fn phandle(&mut self, phandle: u32) -> Result<(), TreeError> {
        Ok(self.fdt.property_phandle(phandle)?)
    }

    /// `reg` where addresses and sizes have two cells each.
    pub(super) fn reg(&mut self, ranges: &[GuestRange]) -> Result<(), TreeError> {
        let numbers: Vec<u64> = ranges
            .iter()
            .flat_map(|range| [range.start(), range.len()])
            .collect();
        Ok(self.fdt.property_array_u64("reg", &numbers)?)
    }

    pub(super) fn finish(self) -> Result<Vec<u8>, TreeError> {
        Ok(self.fdt.finish()?)
    }
}

/// The two cells of a 64-bit number.
pub(super) fn cells_of(value: u64) -> [u32; 2] {
    [value >> 32, value & 0xffff_ffff].map(|half| u32::try_from(half).unwrap_or(u32::MAX))
}
