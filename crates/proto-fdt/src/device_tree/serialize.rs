//! Serialization.
//!
//! `vm-fdt`, which writes the trees of [`create_fdt`](crate::create_fdt), rejects names that are common in trees of
//! other tools, such as `__symbols__` and names of more than 31 characters.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use zerocopy::IntoBytes;

use super::{DeviceTree, MAX_DEPTH, Node};
use crate::raw::{self, token};

/// The structure block and the strings block while they are written.
#[derive(Default)]
struct Blocks<'a> {
    structure: Vec<u8>,
    strings: Vec<u8>,
    offsets: BTreeMap<&'a str, u32>,
}

impl DeviceTree<'_> {
    /// Serializes the tree as an FDT of version 17. `None` if it would exceed 4 GiB or its nodes are nested deeper than
    /// [`MAX_DEPTH`]. The result may be longer than [`MAX_LEN`](super::MAX_LEN).
    ///
    /// The blocks are in the order of the specification, without gaps. Names and values are not checked:
    /// [`parse`](Self::parse) rejects the result if a node has duplicate or invalid names.
    #[must_use]
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        let mut reservations = Vec::new();
        for range in &self.memory_reservations {
            let entry = raw::ReserveEntry {
                address: range.start().into(),
                size: range.len().into(),
            };
            reservations.extend_from_slice(entry.as_bytes());
        }
        // An entry of zeros ends the list.
        reservations.extend_from_slice(&[0; size_of::<raw::ReserveEntry>()]);
        let mut blocks = Blocks::default();
        blocks.node(&self.root, MAX_DEPTH)?;
        blocks.token(token::END);
        let Blocks {
            structure, strings, ..
        } = blocks;

        let off_mem_rsvmap = size_of::<raw::Header>();
        let off_dt_struct = off_mem_rsvmap.checked_add(reservations.len())?;
        let off_dt_strings = off_dt_struct.checked_add(structure.len())?;
        let totalsize = off_dt_strings.checked_add(strings.len())?;
        let number = |n: usize| u32::try_from(n).ok().map(Into::into);
        let header = raw::Header {
            magic: raw::MAGIC.into(),
            totalsize: number(totalsize)?,
            off_dt_struct: number(off_dt_struct)?,
            off_dt_strings: number(off_dt_strings)?,
            off_mem_rsvmap: number(off_mem_rsvmap)?,
            version: raw::VERSION.into(),
            last_comp_version: raw::LAST_COMP_VERSION.into(),
            boot_cpuid_phys: self.boot_cpuid_phys.into(),
            size_dt_strings: number(strings.len())?,
            size_dt_struct: number(structure.len())?,
        };
        Some([header.as_bytes(), &reservations, &structure, &strings].concat())
    }
}

impl<'a> Blocks<'a> {
    fn token(&mut self, token: u32) {
        self.structure.extend_from_slice(&token.to_be_bytes());
    }

    /// Pads to the next token.
    fn pad(&mut self) {
        let len = self.structure.len().next_multiple_of(4);
        self.structure.resize(len, 0);
    }

    /// The offset of a name in the strings block; adds the name if it is new.
    fn name(&mut self, name: &'a str) -> Option<u32> {
        if let Some(offset) = self.offsets.get(name) {
            return Some(*offset);
        }
        let offset = u32::try_from(self.strings.len()).ok()?;
        self.strings.extend_from_slice(name.as_bytes());
        self.strings.push(0);
        self.offsets.insert(name, offset);
        Some(offset)
    }

    /// Writes a node and its descendants, at most `depth` levels.
    fn node(&mut self, node: &'a Node<'_>, depth: usize) -> Option<()> {
        let below = depth.checked_sub(1)?;
        self.token(token::BEGIN_NODE);
        self.structure.extend_from_slice(node.name.as_bytes());
        self.structure.push(0);
        self.pad();
        for property in &node.properties {
            let head = raw::Property {
                len: u32::try_from(property.value.len()).ok()?.into(),
                nameoff: self.name(&property.name)?.into(),
            };
            self.token(token::PROP);
            self.structure.extend_from_slice(head.as_bytes());
            self.structure.extend_from_slice(&property.value);
            self.pad();
        }
        for child in &node.children {
            self.node(child, below)?;
        }
        self.token(token::END_NODE);
        Some(())
    }
}
