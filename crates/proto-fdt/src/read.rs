//! What a device tree tells about a machine, for programs that start on it: firmware, loaders.
//!
//! Every function works on its own, so that a malformed part of the tree costs only what it describes. Nodes whose `status` is neither
//! absent nor "okay" are not there. Addresses are those of the CPU: the `ranges` of all buses above a node are applied (Devicetree
//! Specification v0.4, "ranges").
//!
//! ```
//! use proto_fdt::device_tree::DeviceTree;
//! use proto_fdt::read;
//! # use proto_fdt::device_tree::Node;
//!
//! # let mut root = Node::new("");
//! # root.push_property("#address-cells", 2u32.to_be_bytes().to_vec());
//! # root.push_property("#size-cells", 2u32.to_be_bytes().to_vec());
//! # let mut node = Node::new("memory@80000000");
//! # node.push_property("device_type", b"memory\0".as_slice());
//! # node.push_property("reg", [0, 0x8000_0000, 0, 0x1000_0000_u32].map(u32::to_be_bytes).concat());
//! # root.children.push(node);
//! # let dtb = DeviceTree::new(root).to_bytes().ok_or("too large")?;
//! let tree = DeviceTree::parse(&dtb)?;
//! let memory = read::memory(&tree)?;
//! assert_eq!(memory.ram_end(), Some(0x9000_0000));
//! assert_eq!(read::serial_port(&tree)?, None);
//! assert!(read::virtio_mmio(&tree)?.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bus;
mod clock;
mod error;
mod pci;
mod property;
mod serial;

use alloc::vec::Vec;

use boot_core::machine::PsciMethod;
use boot_core::{GuestRange, MemoryMap, RegionKind};

use self::bus::visit;
use self::property::{is_compatible, is_okay, string};
use crate::device_tree::{DeviceTree, Node};
use crate::update::{Cells, is_memory, parse_reg};

pub use self::clock::{ClockKind, RealTimeClock, real_time_clock, timebase_frequency};
pub use self::error::{MAX_BANKS, ReadFdtError};
pub use self::pci::{PciHostBridge, pci_hosts};
pub use self::serial::{SerialPort, serial_port};

/// The RAM of the memory nodes, with what the tree reserves in it: [`reserved_ranges`](crate::reserved_ranges).
///
/// # Errors
///
/// The cells of the root or the `reg` of a memory node are malformed, banks overlap, there are more than [`MAX_BANKS`], or there is no RAM.
pub fn memory(tree: &DeviceTree<'_>) -> Result<MemoryMap, ReadFdtError> {
    let cells = Cells::of(&tree.root, "root node")?;
    let mut map = MemoryMap::new();
    let nodes = tree.root.children.iter();
    for node in nodes.filter(|node| is_memory(node) && is_okay(node)) {
        let reg = node.property("reg").and_then(|reg| parse_reg(reg, cells));
        let banks = reg.ok_or_else(|| ReadFdtError::invalid(node, "reg"))?;
        for bank in banks.into_iter().filter(|bank| !bank.is_empty()) {
            if map.regions().len() == MAX_BANKS {
                return Err(ReadFdtError::TooManyBanks);
            }
            map.insert(bank, RegionKind::Ram)?;
        }
    }
    if map.regions().is_empty() {
        return Err(ReadFdtError::NoMemory);
    }
    Ok(map)
}

/// The command line: `bootargs` of `/chosen`. `None` if there is none, or it is not UTF-8.
#[must_use]
pub fn bootargs<'t>(tree: &'t DeviceTree<'_>) -> Option<&'t str> {
    string(tree.root.child("chosen")?, "bootargs")
}

/// Random bytes for the kernel: `rng-seed` of `/chosen`. `None` if there are none.
#[must_use]
pub fn rng_seed<'t>(tree: &'t DeviceTree<'_>) -> Option<&'t [u8]> {
    let seed = tree.root.child("chosen")?.property("rng-seed")?;
    (!seed.is_empty()).then_some(seed)
}

/// The random number for the kernel's address space layout: `kaslr-seed` of `/chosen`. `None` without a number of 64 bits, or if it is 0:
/// kernels overwrite it with zeros.
#[must_use]
pub fn kaslr_seed(tree: &DeviceTree<'_>) -> Option<u64> {
    let seed = tree.root.child("chosen")?.property("kaslr-seed")?;
    let seed = u64::from_be_bytes(seed.try_into().ok()?);
    (seed != 0).then_some(seed)
}

/// The registers of all virtio devices on MMIO (Linux binding `virtio/mmio.yaml`), in the order of the tree. Slots without a device are
/// among them.
///
/// # Errors
///
/// [`ReadFdtError::Invalid`] if a `reg` or the `ranges` of a bus above are malformed.
pub fn virtio_mmio(tree: &DeviceTree<'_>) -> Result<Vec<GuestRange>, ReadFdtError> {
    let mut found = Vec::new();
    visit(&tree.root, &mut |node, bus| {
        if is_compatible(node, "virtio,mmio") {
            found.extend(bus.range(node)?);
        }
        Ok(())
    })?;
    Ok(found)
}

/// How PSCI is called (Linux binding `arm/psci.yaml`); `None` without PSCI 0.2 or later.
///
/// # Errors
///
/// [`ReadFdtError::Invalid`] if the `method` is not one of the binding.
pub fn psci_method(tree: &DeviceTree<'_>) -> Result<Option<PsciMethod>, ReadFdtError> {
    let is_psci = |node: &&Node<'_>| {
        let versions = ["arm,psci-1.0", "arm,psci-0.2"];
        is_okay(node) && versions.iter().any(|version| is_compatible(node, version))
    };
    let Some(node) = tree.root.children.iter().find(is_psci) else {
        return Ok(None);
    };
    match string(node, "method") {
        Some("hvc") => Ok(Some(PsciMethod::Hvc)),
        Some("smc") => Ok(Some(PsciMethod::Smc)),
        _ => Err(ReadFdtError::invalid(node, "method")),
    }
}
