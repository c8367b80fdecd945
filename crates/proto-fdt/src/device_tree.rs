//! Flattened device trees (FDT) of the caller: parsing, validation and serialization.
//!
//! [`DeviceTree::parse`] treats its input as hostile. Time and memory are proportional to the input, which has at most
//! [`MAX_LEN`] bytes. Every tree that it accepts has one meaning only, whichever reader the guest uses. Serialized
//! again, a tree can grow by up to [`MAX_NAME`] bytes for each property: property names that share a suffix in the input
//! get a string each.

mod error;
mod parse;
mod serialize;

use alloc::borrow::Cow;
use alloc::vec::Vec;

pub use error::{FdtError, FdtErrorKind};

use boot_core::GuestRange;

/// The largest FDT in bytes. arm64 and riscv64 kernels map no more (see `booting.rst`, "Setup the device tree").
pub const MAX_LEN: usize = 0x20_0000;
/// The deepest nesting of nodes, the root included. Linux ignores deeper nodes (`unflatten_dt_nodes` in
/// `drivers/of/fdt.c`).
pub const MAX_DEPTH: usize = 63;
/// The longest name of a node or a property in bytes. The Devicetree Specification allows 31; existing trees have longer
/// names.
pub const MAX_NAME: usize = 255;

/// A device tree, parsed and validated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceTree<'a> {
    /// Physical id of the boot CPU: `boot_cpuid_phys` of the header.
    pub boot_cpuid_phys: u32,
    /// The memory reservation block: ranges that the guest must not use. No range is empty.
    pub memory_reservations: Vec<GuestRange>,
    /// The root node. Its name is empty.
    pub root: Node<'a>,
}

impl<'a> DeviceTree<'a> {
    /// A tree with this root node, boot CPU 0 and an empty memory reservation block.
    #[must_use]
    pub const fn new(root: Node<'a>) -> Self {
        Self {
            boot_cpuid_phys: 0,
            memory_reservations: Vec::new(),
            root,
        }
    }
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Node<'a> {
    /// Name, with the unit address.
    pub name: Cow<'a, str>,
    /// Properties, in the order of the tree.
    pub properties: Vec<Property<'a>>,
    /// Child nodes, in the order of the tree.
    pub children: Vec<Node<'a>>,
}

/// A property.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Property<'a> {
    /// Name.
    pub name: Cow<'a, str>,
    /// Value.
    pub value: Cow<'a, [u8]>,
}

impl<'a> Property<'a> {
    /// A property with this name and value.
    pub fn new(name: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, [u8]>>) -> Self {
        Self {
            name: name.into(),
            value: value.into(),
        }
    }
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

    /// The value of the first property with this name.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<&[u8]> {
        let found = self.properties.iter().find(|property| property.name == name);
        found.map(|property| &*property.value)
    }

    /// Appends a property. It does not replace an existing one of the same name.
    pub fn push_property(&mut self, name: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, [u8]>>) {
        self.properties.push(Property::new(name, value));
    }

    /// The first child with this full name, unit address included.
    #[must_use]
    pub fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }
}
