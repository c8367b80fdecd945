//! A node writer that closes every node it opens.

use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use boot_core::GuestRange;
use vm_fdt::FdtWriter;

use crate::error::{CreateFdtError, FdtWriterError};

/// Writes nodes and properties. In a node the properties must come before the children, or `vm-fdt` returns an error.
pub(super) struct Writer {
    fdt: FdtWriter,
    /// The names of the children of each open node.
    names: Vec<BTreeSet<String>>,
}

/// Wraps the error of `vm-fdt`.
fn wrapped<T>(result: Result<T, vm_fdt::Error>) -> Result<T, CreateFdtError> {
    result.map_err(|error| FdtWriterError::new(error).into())
}

impl Writer {
    pub(super) fn new() -> Result<Self, CreateFdtError> {
        Ok(Self {
            fdt: wrapped(FdtWriter::new())?,
            names: Vec::new(),
        })
    }

    /// Sets `boot_cpuid_phys` of the header if the id fits 32 bits.
    pub(super) fn boot_cpu(&mut self, id: Option<u64>) {
        if let Some(id) = id.and_then(|id| u32::try_from(id).ok()) {
            self.fdt.set_boot_cpuid_phys(id);
        }
    }

    pub(super) fn root(
        &mut self,
        body: impl FnOnce(&mut Self) -> Result<(), CreateFdtError>,
    ) -> Result<(), CreateFdtError> {
        self.node("", body)
    }

    /// A node, whose name its siblings do not have.
    pub(super) fn node(
        &mut self,
        name: &str,
        body: impl FnOnce(&mut Self) -> Result<(), CreateFdtError>,
    ) -> Result<(), CreateFdtError> {
        let is_new = |siblings: &mut BTreeSet<String>| siblings.insert(name.to_string());
        if !self.names.last_mut().is_none_or(is_new) {
            let name = name.to_string();
            return Err(CreateFdtError::DuplicateNode { name });
        }
        let node = wrapped(self.fdt.begin_node(name))?;
        self.names.push(BTreeSet::new());
        body(self)?;
        self.names.pop();
        wrapped(self.fdt.end_node(node))
    }

    pub(super) fn bytes(&mut self, name: &str, value: &[u8]) -> Result<(), CreateFdtError> {
        wrapped(self.fdt.property(name, value))
    }

    /// A property without a value, present if `set`.
    pub(super) fn flag(&mut self, name: &str, set: bool) -> Result<(), CreateFdtError> {
        if set { self.bytes(name, &[]) } else { Ok(()) }
    }

    pub(super) fn string(&mut self, name: &str, value: &str) -> Result<(), CreateFdtError> {
        wrapped(self.fdt.property_string(name, value))
    }

    pub(super) fn strings<'s>(
        &mut self,
        name: &str,
        values: impl IntoIterator<Item = &'s str>,
    ) -> Result<(), CreateFdtError> {
        let values = values.into_iter().map(ToString::to_string).collect();
        wrapped(self.fdt.property_string_list(name, values))
    }

    pub(super) fn cells(&mut self, name: &str, cells: &[u32]) -> Result<(), CreateFdtError> {
        wrapped(self.fdt.property_array_u32(name, cells))
    }

    pub(super) fn phandle(&mut self, phandle: u32) -> Result<(), CreateFdtError> {
        wrapped(self.fdt.property_phandle(phandle))
    }

    /// `reg` with two cells for each address and size.
    pub(super) fn reg(&mut self, ranges: &[GuestRange]) -> Result<(), CreateFdtError> {
        let numbers: Vec<u64> = ranges
            .iter()
            .flat_map(|range| [range.start(), range.len()])
            .collect();
        wrapped(self.fdt.property_array_u64("reg", &numbers))
    }

    pub(super) fn finish(self) -> Result<Vec<u8>, CreateFdtError> {
        wrapped(self.fdt.finish())
    }
}

/// The two cells of a 64-bit number.
pub(super) fn cells_of(value: u64) -> [u32; 2] {
    [value >> 32, value & 0xffff_ffff].map(|half| u32::try_from(half).unwrap_or(u32::MAX))
}
