//! Fitting a caller's device tree to one boot.
//!
//! The tree describes a machine that the caller knows better than this crate does, so almost all of it stays as it is.
//! Two things depend on the boot and are replaced:
//!
//! - in `/chosen`, every property that [`Chosen`] can write. What this boot has none of is removed: the command line,
//!   the initrd and the seeds of another boot have no meaning in this one. Other properties, such as `stdout-path`,
//!   stay;
//! - the nodes of memory, with one for every bank of RAM that the machine has.

use alloc::borrow::Cow;
use alloc::format;
use alloc::vec::Vec;

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
    /// Those of a node's children (Devicetree Specification, "#address-cells and #size-cells": 2 and 1 where the node
    /// does not say).
    fn of(node: &Node<'_>, name: &'static str) -> Result<Self, FixupError> {
        let read = |property, default| match node.property(property) {
            None => Ok(default),
            Some([0, 0, 0, 1]) => Ok(1),
            Some([0, 0, 0, 2]) => Ok(2),
            Some(_) => Err(FixupError::Cells { node: name, property }),
        };
        Ok(Self {
            address: read("#address-cells", 2)?,
            size: read("#size-cells", 1)?,
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
    root.children.retain(|node| !is_memory(node));
    let mut banks = Vec::new();
    for bank in memory.ram() {
        let mut reg = Vec::new();
        push_number(&mut reg, bank.start(), cells.address)?;
        push_number(&mut reg, bank.len(), cells.size)?;
        let mut node = Node::new(format!("memory@{:x}", bank.start()));
        node.push("device_type", b"memory\0".as_slice());
        node.push("reg", reg);
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
    node.properties
        .retain(|property| !Chosen::NAMES.contains(&&*property.name));
    for (name, value) in chosen.properties() {
        node.push(name, Cow::Owned(value));
    }
    root.children.insert(place.unwrap_or(root.children.len()), node);
}
