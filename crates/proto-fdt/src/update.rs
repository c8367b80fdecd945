//! Updating a caller's device tree for one boot.
//!
//! The caller's tree describes the machine and stays as it is, except for:
//!
//! - the properties of `/chosen` that [`Chosen`] has: they are replaced, or removed where this boot has no value for
//!   them. Properties that a running kernel or its firmware added about its own boot (EFI tables, crash dump, usable
//!   memory) are removed. Other properties, such as `stdout-path`, stay;
//! - the memory nodes: they are replaced by one node for each bank of RAM. A bank inside the memory of an old node
//!   inherits the other properties of that node, such as `numa-node-id`.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use boot_core::machine::ReservedMemory;
use boot_core::{GuestRange, MemoryMap};

use crate::chosen::Chosen;
use crate::device_tree::{DeviceTree, FdtError, Node};

/// A caller's device tree cannot be used for a boot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UpdateFdtError {
    /// The bytes are not a valid FDT.
    #[error(transparent)]
    Parse(#[from] FdtError),
    /// Not supported: addresses or sizes of other than one or two cells.
    #[error("{property} of the {node} is missing or not supported; expected 1 or 2")]
    UnsupportedCells {
        /// The node.
        node: &'static str,
        /// The property.
        property: &'static str,
    },
    /// An address or size of RAM does not fit the number of cells in the tree.
    #[error("{number:#x} does not fit one cell: the root node needs #address-cells and #size-cells of 2")]
    NumberTooLarge {
        /// The number.
        number: u64,
    },
    /// The `reg` of a reserved memory node is malformed.
    #[error(
        "the reg of /reserved-memory/{name} is not a list of addresses and sizes, or a range wraps around the address space"
    )]
    InvalidReg {
        /// Name of the node.
        name: String,
    },
    /// The tree lacks a reservation of the machine.
    #[error(
        "the machine reserves the memory `{name}` at {range}, but the device tree has no such reservation{}: add one to \
         /reserved-memory",
        if *.no_map { " with no-map" } else { "" }
    )]
    MissingReservation {
        /// Name of the reserved memory.
        name: Cow<'static, str>,
        /// Its addresses.
        range: GuestRange,
        /// Whether the reservation needs `no-map`.
        no_map: bool,
    },
    /// The updated tree exceeds the 4 GiB of its format.
    #[error("the updated device tree exceeds 4 GiB")]
    TooLarge,
}

/// A memory range that a device tree reserves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReservedRange {
    /// The addresses.
    pub range: GuestRange,
    /// Whether the guest must not map the range (`no-map`).
    pub no_map: bool,
}

impl ReservedRange {
    /// A reservation; `no_map` if the guest must not map it.
    #[must_use]
    pub const fn new(range: GuestRange, no_map: bool) -> Self {
        Self { range, no_map }
    }
}

impl From<&ReservedMemory> for ReservedRange {
    fn from(memory: &ReservedMemory) -> Self {
        Self::new(memory.range, memory.no_map)
    }
}

/// Number of cells of addresses and sizes.
#[derive(Clone, Copy)]
struct Cells {
    address: usize,
    size: usize,
}

impl Cells {
    /// The cells of a node's children. Both properties are required in the root (Devicetree Specification, "Root
    /// node") and in `/reserved-memory`, which Linux ignores without them. For other nodes the defaults of the
    /// specification and of Linux differ.
    fn of(node: &Node<'_>, name: &'static str) -> Result<Self, UpdateFdtError> {
        let read = |property| match node.property(property) {
            Some([0, 0, 0, 1]) => Ok(1),
            Some([0, 0, 0, 2]) => Ok(2),
            _ => Err(UpdateFdtError::UnsupportedCells { node: name, property }),
        };
        Ok(Self {
            address: read("#address-cells")?,
            size: read("#size-cells")?,
        })
    }
}

/// All memory that the tree reserves at fixed addresses: the memory reservation block and the children of
/// `/reserved-memory` with a `reg`. A boot must not load anything there.
///
/// # Errors
///
/// [`UpdateFdtError::UnsupportedCells`] and [`UpdateFdtError::InvalidReg`].
pub fn reserved_ranges(tree: &DeviceTree<'_>) -> Result<Vec<ReservedRange>, UpdateFdtError> {
    let mut all: Vec<_> = tree
        .memory_reservations
        .iter()
        .map(|range| ReservedRange::new(*range, false))
        .collect();
    let Some(parent) = tree.root.child("reserved-memory") else {
        return Ok(all);
    };
    let cells = Cells::of(parent, "node /reserved-memory")?;
    for child in &parent.children {
        let Some(reg) = child.property("reg") else {
            continue;
        };
        let no_map = child.property("no-map").is_some();
        let ranges = parse_reg(reg, cells).ok_or_else(|| UpdateFdtError::InvalidReg {
            name: child.name.clone().into_owned(),
        })?;
        all.extend(ranges.into_iter().map(|range| ReservedRange::new(range, no_map)));
    }
    Ok(all)
}

/// The ranges of a `reg`.
fn parse_reg(reg: &[u8], cells: Cells) -> Option<Vec<GuestRange>> {
    const CELL: usize = 4;
    let number = |bytes: &[u8]| match *bytes {
        [a, b, c, d] => Some(u32::from_be_bytes([a, b, c, d]).into()),
        _ => bytes.try_into().ok().map(u64::from_be_bytes),
    };
    let address_len = cells.address.checked_mul(CELL)?;
    let entry_len = cells.size.checked_mul(CELL)?.checked_add(address_len)?;
    let entries = reg.chunks_exact(entry_len);
    if !entries.remainder().is_empty() {
        return None;
    }
    entries
        .map(|entry| {
            let (address, size) = entry.split_at_checked(address_len)?;
            GuestRange::new(number(address)?, number(size)?)
        })
        .collect()
}

/// Checks that a caller's tree has every reservation of the machine. The tree may reserve more.
///
/// # Errors
///
/// [`UpdateFdtError::MissingReservation`].
pub fn check_reserved_memory(
    machine: &[ReservedMemory],
    tree: &[ReservedRange],
) -> Result<(), UpdateFdtError> {
    let is_reserved = |memory: &ReservedMemory| {
        tree.iter()
            .any(|reserved| reserved.range.contains(memory.range) && (reserved.no_map || !memory.no_map))
    };
    match machine.iter().find(|memory| !is_reserved(memory)) {
        None => Ok(()),
        Some(memory) => Err(UpdateFdtError::MissingReservation {
            name: memory.name.clone(),
            range: memory.range,
            no_map: memory.no_map,
        }),
    }
}

/// Properties of `/chosen` that a running system adds about its own boot (Linux `drivers/firmware/efi/libstub/fdt.c`,
/// `drivers/of/kexec.c`).
const PREVIOUS_BOOT: [&str; 9] = [
    "linux,uefi-system-table",
    "linux,uefi-mmap-start",
    "linux,uefi-mmap-size",
    "linux,uefi-mmap-desc-size",
    "linux,uefi-mmap-desc-ver",
    "linux,uefi-secure-boot",
    "linux,usable-memory-range",
    "linux,elfcorehdr",
    "linux,booted-from-kexec",
];

/// Replaces the memory nodes and the boot parameters in `/chosen`.
///
/// # Errors
///
/// [`UpdateFdtError::UnsupportedCells`] and [`UpdateFdtError::NumberTooLarge`]. After an error the tree may be partly
/// updated.
pub fn update_fdt(
    tree: &mut DeviceTree<'_>,
    memory: &MemoryMap,
    chosen: &Chosen<'_>,
) -> Result<(), UpdateFdtError> {
    update_memory(&mut tree.root, memory)?;
    update_chosen(&mut tree.root, chosen);
    Ok(())
}

fn update_memory(root: &mut Node<'_>, memory: &MemoryMap) -> Result<(), UpdateFdtError> {
    let cells = Cells::of(root, "root node")?;
    let is_memory =
        |node: &Node<'_>| node.base_name() == "memory" || node.property("device_type") == Some(b"memory\0");
    let first = root.children.iter().position(is_memory);
    let (old, others): (Vec<_>, Vec<_>) = core::mem::take(&mut root.children)
        .into_iter()
        .partition(is_memory);
    root.children = others;
    let mut old: Vec<_> = old
        .into_iter()
        .map(|node| {
            let reg = node.property("reg").and_then(|reg| parse_reg(reg, cells));
            (reg.unwrap_or_default(), node.properties)
        })
        .collect();
    let mut banks = Vec::new();
    for bank in memory.ram() {
        let mut reg = Vec::new();
        push_number(&mut reg, bank.start(), cells.address)?;
        push_number(&mut reg, bank.len(), cells.size)?;
        let mut node = Node::new(format!("memory@{:x}", bank.start()));
        node.push_property("device_type", b"memory\0".as_slice());
        node.push_property("reg", reg);
        let contains_bank =
            |(ranges, _): &&mut (Vec<GuestRange>, _)| ranges.iter().any(|range| range.contains(bank));
        if let Some((_, properties)) = old.iter_mut().find(contains_bank) {
            properties.retain(|property| !["device_type", "reg"].contains(&&*property.name));
            node.properties.extend(properties.iter().cloned());
            // A phandle must stay unique: only the first bank inherits it.
            properties.retain(|property| !["phandle", "linux,phandle"].contains(&&*property.name));
        }
        banks.push(node);
    }
    // The new nodes take the position of the first old one; the nodes before that position are all still there.
    let position = first.unwrap_or(root.children.len());
    root.children.splice(position..position, banks);
    Ok(())
}

fn push_number(reg: &mut Vec<u8>, number: u64, cells: usize) -> Result<(), UpdateFdtError> {
    if cells == 2 {
        reg.extend_from_slice(&number.to_be_bytes());
    } else {
        let number = u32::try_from(number)
            .ok()
            .ok_or(UpdateFdtError::NumberTooLarge { number })?;
        reg.extend_from_slice(&number.to_be_bytes());
    }
    Ok(())
}

fn update_chosen(root: &mut Node<'_>, chosen: &Chosen<'_>) {
    let position = root.children.iter().position(|node| node.name == "chosen");
    let mut node = match position {
        Some(position) => root.children.remove(position),
        None => Node::new("chosen"),
    };
    node.properties.retain(|property| {
        let name = &*property.name;
        !Chosen::NAMES.contains(&name) && !PREVIOUS_BOOT.contains(&name)
    });
    for (name, value) in chosen.properties() {
        node.push_property(name, Cow::Owned(value));
    }
    root.children
        .insert(position.unwrap_or(root.children.len()), node);
}
