//! Device trees in memory: parsing from the flattened format (FDT), changes, and serialization.
//!
//! ```
//! use proto_fdt::device_tree::{DeviceTree, Node};
//!
//! let mut root = Node::new("");
//! root.push_property("compatible", b"vendor,board\0".as_slice());
//! let dtb = DeviceTree::new(root).to_bytes().ok_or("too large")?;
//!
//! let mut tree = DeviceTree::parse(&dtb)?;
//! assert_eq!(tree.root.property("compatible"), Some(b"vendor,board\0".as_slice()));
//! let mut chosen = Node::new("chosen");
//! chosen.push_property("bootargs", b"quiet\0".as_slice());
//! tree.root.children.push(chosen);
//! let dtb = tree.to_bytes().ok_or("too large")?;
//! # assert_eq!(DeviceTree::parse(&dtb)?, tree);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`DeviceTree::parse`] treats its input as hostile: time and memory are proportional to the input, which has at most
//! [`MAX_LEN`] bytes, and trees that readers could interpret differently, such as those with duplicate names, are errors.
//! A parsed tree can become longer when it is serialized, by up to [`MAX_NAME`] bytes for each property: the names in the
//! input may share their suffixes, those in the output do not.

mod error;
mod parse;
mod serialize;

use alloc::borrow::Cow;
use alloc::vec::Vec;

pub use error::{FdtError, FdtErrorKind};

use boot_core::GuestRange;

/// The largest FDT in bytes. arm64 and riscv64 kernels map no more (Linux `Documentation/arch/arm64/booting.rst`, "Setup
/// the device tree").
pub const MAX_LEN: usize = 0x20_0000;
/// The deepest nesting of nodes, the root included. Linux ignores deeper nodes (`unflatten_dt_nodes` in
/// `drivers/of/fdt.c`).
pub const MAX_DEPTH: usize = 63;
/// The longest name of a property, or of a node with its unit address, in bytes without the NUL. The Devicetree
/// Specification allows 31 bytes, without the unit address; existing trees have longer names.
pub const MAX_NAME: usize = 255;

/// A device tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceTree<'a> {
    /// Physical id of the boot CPU: `boot_cpuid_phys` of the header.
    pub boot_cpuid_phys: u32,
    /// The memory reservation block: ranges that the guest must not use. None is empty: an entry of zeros ends the block.
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

/// A node of a device tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Node<'a> {
    /// Name, with the unit address if it has one: `memory@80000000`. That of the root is empty.
    pub name: Cow<'a, str>,
    /// Properties, in the order of the tree.
    pub properties: Vec<Property<'a>>,
    /// Child nodes, in the order of the tree.
    pub children: Vec<Node<'a>>,
}

/// A property of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Property<'a> {
    /// Name, not empty.
    pub name: Cow<'a, str>,
    /// Value: bytes in the format that the name implies. Numbers are big-endian, strings end with a NUL.
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

    /// Appends a property. Does not replace a property of the same name.
    pub fn push_property(&mut self, name: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, [u8]>>) {
        self.properties.push(Property::new(name, value));
    }

    /// The first child with this name, which includes the unit address.
    #[must_use]
    pub fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }
}
