//! Errors of the readers.

use alloc::string::String;

use boot_core::MemoryMapError;

use crate::device_tree::Node;
use crate::update::UpdateFdtError;

/// Largest number of ranges of RAM: the work is proportional to its square.
pub const MAX_BANKS: usize = 1024;

/// A part of a device tree cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadFdtError {
    /// The root node has no valid `#address-cells` and `#size-cells`.
    #[error("the memory nodes cannot be read")]
    Cells(#[from] UpdateFdtError),
    /// A property of a node does not follow its binding.
    #[error("the property {property} of the node {node} is missing, malformed, or exceeds 64-bit addresses")]
    Invalid {
        /// Name of the node.
        node: String,
        /// Name of the property.
        property: &'static str,
    },
    /// Not supported: the buses of a PCI host do not begin at 0.
    #[error("the buses of the PCI host {node} begin at {first}; only 0 is supported")]
    FirstBus {
        /// Name of the node.
        node: String,
        /// Number of the first bus.
        first: u32,
    },
    /// The ranges of RAM are not valid.
    #[error("the memory nodes are inconsistent")]
    Memory(#[from] MemoryMapError),
    /// Not supported: too many ranges of RAM.
    #[error("the memory nodes have more than {} separate ranges", MAX_BANKS)]
    TooManyBanks,
    /// There is no RAM.
    #[error("the device tree has no memory node with RAM")]
    NoMemory,
}

impl ReadFdtError {
    /// The property of the node is invalid.
    pub(super) fn invalid(node: &Node<'_>, property: &'static str) -> Self {
        Self::Invalid {
            node: node.name.clone().into_owned(),
            property,
        }
    }
}
