//! PCI hosts.

use alloc::vec::Vec;

use boot_core::GuestRange;
use boot_core::machine::{PciSpace, PciWindow};

use super::bus::{Bus, Cells, visit};
use super::error::ReadFdtError;
use super::property::is_compatible;
use crate::device_tree::{DeviceTree, Node};

/// A generic PCI host with an ECAM configuration space (Linux binding `pci/host-generic-pci.yaml`).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PciHostBridge {
    /// Configuration space: 1 MiB for each bus, from bus 0; at most 256 MiB.
    pub ecam: GuestRange,
    /// The windows.
    pub windows: Vec<PciWindow>,
}

/// Bytes of the configuration space of one bus.
const BUS_LEN: u64 = 1 << 20;
/// Largest number of a bus.
const LAST_BUS: u64 = 255;

/// The generic PCI hosts, in the order of the tree.
///
/// # Errors
///
/// [`ReadFdtError::Invalid`] if `reg`, `ranges` or `bus-range` of a host, or the `ranges` of a bus above are malformed, and
/// [`ReadFdtError::FirstBus`].
pub fn pci_hosts(tree: &DeviceTree<'_>) -> Result<Vec<PciHostBridge>, ReadFdtError> {
    let mut found = Vec::new();
    visit(&tree.root, &mut |node, bus| {
        if is_compatible(node, "pci-host-ecam-generic") {
            found.extend(host(node, bus)?);
        }
        Ok(())
    })?;
    Ok(found)
}

fn host(node: &Node<'_>, bus: &Bus<'_>) -> Result<Option<PciHostBridge>, ReadFdtError> {
    let Some(ecam) = bus.range(node)? else {
        return Ok(None);
    };
    let last_bus = last_bus(node)?;
    let len = last_bus.saturating_add(1).saturating_mul(BUS_LEN).min(ecam.len());
    let invalid = |property| move || ReadFdtError::invalid(node, property);
    // Accesses are of 32 bits.
    let ecam =
        GuestRange::new(ecam.start(), len).filter(|ecam| ecam.start() % BUS_LEN == 0 && len >= BUS_LEN);
    let ecam = ecam.ok_or_else(invalid("reg"))?;
    let mut windows = Vec::new();
    let mut ranges = Cells(node.property("ranges").unwrap_or_default());
    let Some([address, _]) = bus.cells() else {
        return Ok(None);
    };
    while !ranges.is_empty() {
        let entry = [1, 2, address, 2].map(|cells| ranges.number(cells));
        let [Some(hi), Some(pci_addr), Some(start), Some(len)] = entry else {
            return Err(invalid("ranges")());
        };
        let range = GuestRange::new(start, len).ok_or_else(invalid("ranges"))?;
        // PCI Bus Binding to IEEE 1275, "Physical Address Formats".
        let space = match hi >> 24 & 3 {
            1 => PciSpace::Io,
            2 => PciSpace::Memory32,
            3 => PciSpace::Memory64,
            _ => continue,
        };
        if let Some(range) = bus.cpu_range(range)?.filter(|range| !range.is_empty()) {
            windows.push(PciWindow::new(space, range, pci_addr));
        }
    }
    Ok(Some(PciHostBridge { ecam, windows }))
}

fn last_bus(node: &Node<'_>) -> Result<u64, ReadFdtError> {
    let Some(value) = node.property("bus-range") else {
        return Ok(LAST_BUS);
    };
    let mut cells = Cells(value);
    let (first, last) = (cells.number(1), cells.number(1));
    match (first, last) {
        (Some(0), Some(last)) if last <= LAST_BUS && cells.is_empty() => Ok(last),
        (Some(first), Some(_)) if first != 0 => Err(ReadFdtError::FirstBus {
            node: node.name.clone().into_owned(),
            first: u32::try_from(first).unwrap_or(u32::MAX),
        }),
        _ => Err(ReadFdtError::invalid(node, "bus-range")),
    }
}
