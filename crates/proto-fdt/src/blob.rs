//! Flattened device trees that somebody else made: reading, checking and writing them.
//!
//! [`Blob::parse`] expects hostile bytes. It takes time and memory in proportion to the input, at most
//! [`MAX_LEN`] bytes, and accepts nothing that a reader in the guest could understand in another way. What is written again is
//! in proportion, too: a blob whose names of properties share their ends, which this crate does not do, can grow by as
//! much as [`MAX_NAME`] bytes for each property.

mod emit;
mod error;
mod parse;

use alloc::borrow::Cow;
use alloc::vec::Vec;

pub use error::{BlobError, BlobErrorKind};

use boot_core::GuestRange;

/// The longest tree in bytes: no kernel of either protocol takes a longer one.
pub const MAX_LEN: usize = 0x20_0000;
/// How deep nodes may be nested, the root included: as deep as Linux reads them (`unflatten_dt_nodes` in drivers/of/fdt.c
/// leaves out what is deeper).
pub const MAX_DEPTH: usize = 63;
/// The longest name of a node or a property in bytes. The Devicetree Specification has 31; trees in use have longer ones.
pub const MAX_NAME: usize = 255;

/// A device tree, read and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob<'a> {
    /// The id of the boot CPU, as the header has it.
    pub boot_cpu: u32,
    /// The memory reservation block: memory that the guest must leave alone. Never empty ranges.
    pub reservations: Vec<GuestRange>,
    /// The root node. Its name is empty.
    pub root: Node<'a>,
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node<'a> {
    /// Its name, with the unit address.
    pub name: Cow<'a, str>,
    /// Its properties, in order.
    pub properties: Vec<Property<'a>>,
    /// Its children, in order.
    pub children: Vec<Node<'a>>,
}

/// A property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property<'a> {
    /// Its name.
    pub name: Cow<'a, str>,
    /// Its value.
    pub value: Cow<'a, [u8]>,
}

impl<'a> Node<'a> {
    /// A node without properties and children.
    pub fn new(name: impl Into<Cow<'a, str>>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }

    /// The name without the unit address.
    #[must_use]
    pub fn base_name(&self) -> &str {
        self.name.split_once('@').map_or(&*self.name, |(base, _)| base)
    }

    /// The value of the property with this name, the first if there are several.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<&[u8]> {
        let found = self.properties.iter().find(|property| property.name == name);
        found.map(|property| &*property.value)
    }

    /// Adds a property after the others.
    pub fn push(&mut self, name: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, [u8]>>) {
        self.properties.push(Property {
            name: name.into(),
            value: value.into(),
        });
    }
}
