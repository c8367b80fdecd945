//! Updating an existing device tree for one boot.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use boot_core::machine::ReservedMemory;
use boot_core::{GuestRange, MemoryMap};

use crate::chosen::Chosen;
use crate::device_tree::{DeviceTree, Node, Property};
use crate::reserved::ReservedRange;

/// An existing device tree cannot be used for a boot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UpdateFdtError {
    /// Not supported: `#address-cells` or `#size-cells` is missing or neither 1 nor 2.
    #[error("{property} of the {node} is missing or has an unsupported value; expected 1 or 2")]
    UnsupportedCells {
        /// The node: the root or `/reserved-memory`.
        node: &'static str,
        /// Name of the property.
        property: &'static str,
    },
    /// The address or size of a bank of RAM does not fit one cell, which is the size of numbers in the tree.
    #[error(
        "the address or size {number:#x} of RAM does not fit one cell: #address-cells and #size-cells of the root node must be 2"
    )]
    NumberTooLarge {
        /// The address or size.
        number: u64,
    },
    /// The `reg` of a child of `/reserved-memory` is malformed.
    #[error(
        "the reg of /reserved-memory/{name} is not a list of addresses and sizes, or a range exceeds 64-bit addresses"
    )]
    InvalidReg {
        /// Name of the child.
        name: String,
    },
    /// The tree does not reserve memory that the platform of the machine reserves.
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
        /// Whether the reservation must have `no-map`.
        no_map: bool,
    },
    /// Not supported: a tree with NUMA node ids has too many ranges of memory.
    #[error(
        "the memory nodes of the device tree have {found} ranges; at most {max} are supported with numa-node-id"
    )]
    TooManyRanges {
        /// Number of ranges.
        found: usize,
        /// Largest number.
        max: usize,
    },
    /// The updated tree exceeds 4 GiB, the limit of the format.
    #[error("the updated device tree exceeds 4 GiB")]
    TooLarge,
}

/// Numbers of cells (32-bit words) of addresses and sizes.
#[derive(Clone, Copy)]
pub(crate) struct Cells {
    address: usize,
    size: usize,
}

impl Cells {
    /// The cells of a node's children. Both properties are required in the root (Devicetree Specification, "Root
    /// node") and in `/reserved-memory`, which Linux ignores without them. For other nodes the defaults of the
    /// specification and of Linux differ.
    pub(crate) fn of(node: &Node<'_>, name: &'static str) -> Result<Self, UpdateFdtError> {
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

/// The memory that a tree reserves at fixed addresses: the memory reservation block, and the children of
/// `/reserved-memory` with a `reg`. Nothing may be loaded there. The guest itself chooses the addresses of children
/// without a `reg`, so they are not included.
///
/// # Errors
///
/// [`UpdateFdtError::UnsupportedCells`] if `#address-cells` or `#size-cells` of `/reserved-memory` is missing or neither 1
/// nor 2, and [`UpdateFdtError::InvalidReg`] if the `reg` of a child is malformed.
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
pub(crate) fn parse_reg(reg: &[u8], cells: Cells) -> Option<Vec<GuestRange>> {
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

/// Checks that each range of `expected`, from a [`Platform`](boot_core::machine::Platform), is inside one range of
/// `found`, from [`reserved_ranges`], which has `no-map` if the expected range has it. `found` may contain more.
///
/// # Errors
///
/// [`UpdateFdtError::MissingReservation`] with the first range that is not reserved.
pub fn check_reserved_memory(
    expected: &[ReservedMemory],
    found: &[ReservedRange],
) -> Result<(), UpdateFdtError> {
    let is_reserved = |memory: &ReservedMemory| {
        found
            .iter()
            .any(|reserved| reserved.range.contains(memory.range) && (reserved.no_map || !memory.no_map))
    };
    match expected.iter().find(|memory| !is_reserved(memory)) {
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
const PREVIOUS_BOOT: [&str; 3] = [
    "linux,usable-memory-range",
    "linux,elfcorehdr",
    "linux,booted-from-kexec",
];

/// Replaces the parts of a device tree that depend on the boot:
///
/// - The properties of `/chosen` that a [`Chosen`] can have are replaced, or removed if `chosen` does not have them.
///   Properties that an earlier boot left there (EFI tables, crash dump, usable memory) are removed. Others, such as
///   `stdout-path`, stay.
/// - The memory nodes are replaced by one node for each bank of RAM in `memory`. A bank inside the memory of an old node
///   inherits the other properties of that node.
/// - In a tree with `numa-node-id` in a memory node, banks are split where the memory of an old node begins or ends, so that
///   each part has the id of its old node. RAM outside all old nodes gets the id of the nearest old node below, or else above:
///   Linux does without NUMA if a memory node has no id.
///
/// Reservations of the tree are not changed: [`reserved_ranges`] returns them.
///
/// ```
/// use boot_core::MemoryMap;
/// use proto_fdt::device_tree::{DeviceTree, Node};
/// use proto_fdt::{Chosen, update_fdt};
///
/// let mut root = Node::new("");
/// root.push_property("#address-cells", 2u32.to_be_bytes().to_vec());
/// root.push_property("#size-cells", 2u32.to_be_bytes().to_vec());
/// let mut tree = DeviceTree::new(root); // or DeviceTree::parse
///
/// let memory = MemoryMap::pc(64 << 20)?;
/// update_fdt(&mut tree, &memory, &Chosen::new().with_bootargs(b"quiet\0"))?;
///
/// let chosen = tree.root.child("chosen").ok_or("no /chosen")?;
/// assert_eq!(chosen.property("bootargs"), Some(b"quiet\0".as_slice()));
/// assert!(tree.root.child("memory@100000").is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`UpdateFdtError::UnsupportedCells`] if `#address-cells` or `#size-cells` of the root node is missing or neither 1 nor 2,
/// [`UpdateFdtError::NumberTooLarge`] if an address or size of RAM does not fit, and [`UpdateFdtError::TooManyRanges`]. The tree may then be partly updated.
pub fn update_fdt(
    tree: &mut DeviceTree<'_>,
    memory: &MemoryMap,
    chosen: &Chosen<'_>,
) -> Result<(), UpdateFdtError> {
    update_memory(&mut tree.root, memory)?;
    update_chosen(&mut tree.root, chosen);
    Ok(())
}

/// Whether a child of the root is a memory node.
pub(crate) fn is_memory(node: &Node<'_>) -> bool {
    node.base_name() == "memory" || node.property("device_type") == Some(b"memory\0")
}

/// Largest number of ranges in the memory nodes of a tree with NUMA node ids: the work is proportional to its square.
const MAX_NUMA_RANGES: usize = 1024;

fn update_memory(root: &mut Node<'_>, memory: &MemoryMap) -> Result<(), UpdateFdtError> {
    let cells = Cells::of(root, "root node")?;
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
    let ranges = old.iter().map(|(ranges, _)| ranges.len()).sum();
    if ranges > MAX_NUMA_RANGES && old.iter().any(|node| numa_node_id(node).is_some()) {
        return Err(UpdateFdtError::TooManyRanges {
            found: ranges,
            max: MAX_NUMA_RANGES,
        });
    }
    let mut banks = Vec::new();
    let pieces: Vec<_> = memory.ram().flat_map(|bank| split_by_nodes(bank, &old)).collect();
    for bank in pieces {
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
        } else if let Some(id) = nearest_id(bank, &old) {
            node.properties.push(id.clone());
        }
        banks.push(node);
    }
    // The new nodes take the position of the first old one; the nodes before that position are all still there.
    let position = first.unwrap_or(root.children.len());
    root.children.splice(position..position, banks);
    Ok(())
}

/// Ranges and properties of an old memory node.
type OldNode<'a> = (Vec<GuestRange>, Vec<Property<'a>>);

/// The `numa-node-id` of a node.
fn numa_node_id<'n, 'a>((_, properties): &'n OldNode<'a>) -> Option<&'n Property<'a>> {
    properties.iter().find(|property| property.name == "numa-node-id")
}

/// The parts of `bank` between the boundaries of the ranges of `old`; all of it if no old node has a `numa-node-id`.
fn split_by_nodes(bank: GuestRange, old: &[OldNode<'_>]) -> Vec<GuestRange> {
    let mut bounds = alloc::vec![bank.start(), bank.end()];
    if old.iter().any(|node| numa_node_id(node).is_some()) {
        let ranges = old.iter().flat_map(|(ranges, _)| ranges);
        let inside = |bound: &u64| bank.start() < *bound && *bound < bank.end();
        bounds.extend(
            ranges
                .flat_map(|range| [range.start(), range.end()])
                .filter(inside),
        );
        bounds.sort_unstable();
        bounds.dedup();
    }
    bounds
        .windows(2)
        .filter_map(|pair| match pair {
            [start, end] => GuestRange::from_bounds(*start, *end),
            _ => None,
        })
        .collect()
}

/// The `numa-node-id` of the old node nearest below `bank`, or else above; `bank` overlaps no old node.
fn nearest_id<'n, 'a>(bank: GuestRange, old: &'n [OldNode<'a>]) -> Option<&'n Property<'a>> {
    let ids = || {
        old.iter().flat_map(|node| {
            let id = numa_node_id(node);
            node.0.iter().filter_map(move |range| Some((*range, id?)))
        })
    };
    let below = ids()
        .filter(|(range, _)| range.end() <= bank.start())
        .max_by_key(|(range, _)| range.end());
    let above = || {
        ids()
            .filter(|(range, _)| range.start() >= bank.end())
            .min_by_key(|(range, _)| range.start())
    };
    below.or_else(above).map(|(_, id)| id)
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
