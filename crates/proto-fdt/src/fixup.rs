//! Fitting a caller's device tree to one boot.
//!
//! The tree describes a machine that the caller knows better than this crate does, so almost all of it stays as it is.
//! Two things depend on the boot and are replaced:
//!
//! - in `/chosen`, every property that [`Chosen`] can write. What this boot has none of is removed: the command line,
//!   the initrd and the seeds of another boot have no meaning in this one. So is what a tree has that was taken from a
//!   running system and speaks of its boot: the tables of its firmware, its crash dump, the memory that it was kept to.
//!   Other properties, such as `stdout-path`, stay;
//! - the nodes of memory, with one for every bank of RAM that the machine has. A bank inside the memory of an old node
//!   keeps what that node says beside its address, such as its NUMA node.

use alloc::borrow::Cow;
use alloc::format;
use alloc::vec::Vec;

use boot_core::machine::ReservedMemory;
use boot_core::{GuestRange, MemoryMap};

use crate::Chosen;
use crate::blob::{Blob, BlobError, Node};

/// Why a device tree cannot be fitted to a boot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FixupError {
    /// It is no proper device tree.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// Not supported: addresses or sizes of other than one or two cells.
    #[error("{property} in the {node} is not supported: it must be one number, 1 or 2")]
    Cells {
        /// The node.
        node: &'static str,
        /// The property.
        property: &'static str,
    },
    /// A number that the tree has too few cells for.
    #[error(
        "the tree's root has only one cell for {number:#x}: give it two, by #address-cells and #size-cells"
    )]
    Number {
        /// The number.
        number: u64,
    },
    /// Reserved memory that is not where numbers are.
    #[error(
        "the reg of /reserved-memory/{name} is no list of addresses and sizes, or reaches past their end"
    )]
    Reg {
        /// The name of its node.
        name: alloc::string::String,
    },
    /// The machine reserves memory that the tree does not.
    #[error(
        "the machine reserves the memory `{name}` at {range}, and the device tree does not{}: add it below /reserved-memory",
        if *.no_map { " with no-map" } else { "" }
    )]
    NotReserved {
        /// Its name.
        name: Cow<'static, str>,
        /// Where it is.
        range: GuestRange,
        /// Whether the guest must not even map it.
        no_map: bool,
    },
    /// The tree would become longer than its format allows.
    #[error("the device tree would have more than 4 GiB")]
    TooLong,
}

/// Memory that a tree tells the guest to leave alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// Where.
    pub range: GuestRange,
    /// Whether the guest must not even map it.
    pub no_map: bool,
}

/// How many cells addresses and sizes have.
#[derive(Clone, Copy)]
struct Cells {
    address: usize,
    size: usize,
}

impl Cells {
    /// Those of a node's children. The root has to say them (Devicetree Specification, "Root node"), and so has
    /// `/reserved-memory`, or Linux ignores it. The specification has defaults for other nodes, and Linux has others.
    fn of(node: &Node<'_>, name: &'static str) -> Result<Self, FixupError> {
        let read = |property| match node.property(property) {
            Some([0, 0, 0, 1]) => Ok(1),
            Some([0, 0, 0, 2]) => Ok(2),
            _ => Err(FixupError::Cells { node: name, property }),
        };
        Ok(Self {
            address: read("#address-cells")?,
            size: read("#size-cells")?,
        })
    }
}

/// All memory that the tree reserves at fixed addresses: its memory reservation block and the children of
/// `/reserved-memory` that have a `reg`. Nothing of a boot may be placed there.
///
/// # Errors
///
/// [`FixupError::Cells`] and [`FixupError::Reg`].
pub fn reservations(tree: &Blob<'_>) -> Result<Vec<Reservation>, FixupError> {
    let mut all: Vec<_> = tree
        .reservations
        .iter()
        .map(|range| Reservation {
            range: *range,
            no_map: false,
        })
        .collect();
    let Some(parent) = tree
        .root
        .children
        .iter()
        .find(|node| node.name == "reserved-memory")
    else {
        return Ok(all);
    };
    let cells = Cells::of(parent, "node /reserved-memory")?;
    for child in &parent.children {
        let Some(reg) = child.property("reg") else {
            continue;
        };
        let no_map = child.property("no-map").is_some();
        let ranges = ranges(reg, cells).ok_or_else(|| FixupError::Reg {
            name: child.name.clone().into_owned(),
        })?;
        all.extend(ranges.into_iter().map(|range| Reservation { range, no_map }));
    }
    Ok(all)
}

/// The ranges of a `reg`.
fn ranges(reg: &[u8], cells: Cells) -> Option<Vec<GuestRange>> {
    let (words, []) = reg.as_chunks::<4>() else {
        return None;
    };
    let join = |cells: &[[u8; 4]]| {
        cells.iter().fold(0, |number: u64, cell| {
            (number << 32) | u64::from(u32::from_be_bytes(*cell))
        })
    };
    words
        .chunks(cells.address.saturating_add(cells.size))
        .map(|entry| {
            let (address, size) = entry.split_at_checked(cells.address)?;
            (size.len() == cells.size)
                .then(|| GuestRange::new(join(address), join(size)))
                .flatten()
        })
        .collect()
}

/// Checks that the guest is told of everything that the machine reserves: whoever has a tree of his own has to say it
/// there, as the tree may say more of it than a machine does.
///
/// # Errors
///
/// [`FixupError::NotReserved`].
pub fn check_reserved(reserved: &[ReservedMemory], tree: &[Reservation]) -> Result<(), FixupError> {
    let is_told = |memory: &ReservedMemory| {
        tree.iter()
            .any(|told| told.range.contains(memory.range) && (told.no_map || !memory.no_map))
    };
    match reserved.iter().find(|memory| !is_told(memory)) {
        None => Ok(()),
        Some(memory) => Err(FixupError::NotReserved {
            name: memory.name.clone(),
            range: memory.range,
            no_map: memory.no_map,
        }),
    }
}

/// What a running system adds to `/chosen` about its own boot (Linux `drivers/firmware/efi/libstub/fdt.c`,
/// `drivers/of/kexec.c`).
const OF_ANOTHER_BOOT: [&str; 9] = [
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

/// Replaces what depends on the boot.
///
/// # Errors
///
/// [`FixupError::Cells`] and [`FixupError::Number`]; the tree may then be changed in part.
pub fn fix(tree: &mut Blob<'_>, memory: &MemoryMap, chosen: &Chosen<'_>) -> Result<(), FixupError> {
    fix_memory(&mut tree.root, memory)?;
    fix_chosen(&mut tree.root, chosen);
    Ok(())
}

fn fix_memory(root: &mut Node<'_>, memory: &MemoryMap) -> Result<(), FixupError> {
    let cells = Cells::of(root, "root")?;
    let is_memory =
        |node: &Node<'_>| node.base_name() == "memory" || node.property("device_type") == Some(b"memory\0");
    let place = root.children.iter().position(is_memory);
    let mut old: Vec<_> = root
        .children
        .extract_if(.., |node| is_memory(node))
        .map(|node| {
            let reg = node.property("reg").and_then(|reg| ranges(reg, cells));
            (reg.unwrap_or_default(), node.properties)
        })
        .collect();
    let mut banks = Vec::new();
    for bank in memory.ram() {
        let mut reg = Vec::new();
        push_number(&mut reg, bank.start(), cells.address)?;
        push_number(&mut reg, bank.len(), cells.size)?;
        let mut node = Node::new(format!("memory@{:x}", bank.start()));
        node.push("device_type", b"memory\0".as_slice());
        node.push("reg", reg);
        let inside =
            |(ranges, _): &&mut (Vec<GuestRange>, _)| ranges.iter().any(|range| range.contains(bank));
        if let Some((_, properties)) = old.iter_mut().find(inside) {
            properties.retain(|property| !["device_type", "reg"].contains(&&*property.name));
            node.properties.extend(properties.iter().cloned());
            // Who refers to the old node by this means one node.
            properties.retain(|property| !["phandle", "linux,phandle"].contains(&&*property.name));
        }
        banks.push(node);
    }
    // Every node before that place stayed, so it is there still.
    let place = place.unwrap_or(root.children.len()).min(root.children.len());
    root.children.splice(place..place, banks);
    Ok(())
}

fn push_number(reg: &mut Vec<u8>, number: u64, cells: usize) -> Result<(), FixupError> {
    if cells == 2 {
        reg.extend_from_slice(&number.to_be_bytes());
    } else {
        let number = u32::try_from(number).ok().ok_or(FixupError::Number { number })?;
        reg.extend_from_slice(&number.to_be_bytes());
    }
    Ok(())
}

fn fix_chosen(root: &mut Node<'_>, chosen: &Chosen<'_>) {
    let place = root.children.iter().position(|node| node.name == "chosen");
    let mut node = match place {
        Some(place) => root.children.remove(place),
        None => Node::new("chosen"),
    };
    node.properties.retain(|property| {
        let name = &*property.name;
        !Chosen::NAMES.contains(&name) && !OF_ANOTHER_BOOT.contains(&name)
    });
    for (name, value) in chosen.properties() {
        node.push(name, Cow::Owned(value));
    }
    root.children.insert(place.unwrap_or(root.children.len()), node);
}
