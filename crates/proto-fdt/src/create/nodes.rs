//! The caller's own nodes (Devicetree Specification v0.4, section 2.2).

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;

use boot_core::machine::{DtNode, DtProperty, DtReference, DtValue, Line};

use super::interrupts::Wiring;
use super::phandle;
use super::writer::{Writer, cells_of};
use crate::device_tree::{MAX_DEPTH, MAX_LEN, MAX_NAME};
use crate::error::{CreateFdtError, NodeError};

/// Largest size of all nodes in bytes: half of a tree. The other half is left for the other nodes.
const MAX_SIZE: usize = MAX_LEN >> 1;

/// Longest name of a node without its unit address, and of a property (sections 2.2.1 and 2.2.4.1).
const MAX_SPECIFIED_NAME: usize = 31;

/// Checks the nodes, except for equal names of siblings, which [`Writer::node`] refuses.
pub(super) fn check(nodes: &[DtNode], wiring: &Wiring<'_>) -> Result<(), CreateFdtError> {
    let mut check = Check {
        wiring,
        path: String::new(),
        depth: 1,
        size: 0,
        phandles: BTreeSet::new(),
    };
    nodes.iter().try_for_each(|node| check.node(node))
}

/// Writes the nodes, which have been checked.
pub(super) fn write(tree: &mut Writer, nodes: &[DtNode], wiring: &Wiring<'_>) -> Result<(), CreateFdtError> {
    nodes.iter().try_for_each(|node| {
        tree.node(&node.name, |tree| {
            for property in &node.properties {
                let mut value = Vec::new();
                for part in &property.value {
                    append(&mut value, part, wiring);
                }
                tree.bytes(&property.name, &value)?;
            }
            write(tree, &node.children, wiring)
        })
    })
}

/// Appends the bytes of a part of a value.
fn append(value: &mut Vec<u8>, part: &DtValue, wiring: &Wiring<'_>) {
    let mut cells = |cells: &[u32]| value.extend(cells.iter().flat_map(|cell| cell.to_be_bytes()));
    match part {
        DtValue::Bytes(bytes) => value.extend_from_slice(bytes),
        DtValue::String(string) => {
            value.extend_from_slice(string.as_bytes());
            value.push(0);
        }
        DtValue::U32(number) => cells(&[*number]),
        DtValue::U64(number) => cells(&cells_of(*number)),
        DtValue::Interrupt(interrupt) => cells(&wiring.specifier(*interrupt)),
        DtValue::Phandle(reference) => cells(phandle_of(*reference).as_slice()),
        // Validation refuses unknown kinds.
        _ => {}
    }
}

const fn phandle_of(reference: DtReference) -> Option<u32> {
    match reference {
        DtReference::InterruptController => Some(phandle::INTERRUPT_CONTROLLER),
        DtReference::MsiController => Some(phandle::MSI_CONTROLLER),
        _ => None,
    }
}

/// The state of a check: nodes are visited in the order of the tree.
struct Check<'a> {
    wiring: &'a Wiring<'a>,
    /// Path of the node that is visited.
    path: String,
    /// Its depth; that of the root node is 1.
    depth: usize,
    /// Bytes of all nodes up to here, more than they have in the tree: names of properties are counted each time.
    size: usize,
    phandles: BTreeSet<u32>,
}

impl Check<'_> {
    fn node(&mut self, node: &DtNode) -> Result<(), CreateFdtError> {
        let parent = self.path.len();
        self.path.push('/');
        self.path.push_str(&node.name);
        self.depth = self.depth.saturating_add(1);
        if let Err(error) = self.single(node) {
            return Err(CreateFdtError::Node {
                path: core::mem::take(&mut self.path),
                error,
            });
        }
        node.children.iter().try_for_each(|child| self.node(child))?;
        self.path.truncate(parent);
        self.depth = self.depth.saturating_sub(1);
        Ok(())
    }

    /// The node without its children.
    fn single(&mut self, node: &DtNode) -> Result<(), NodeError> {
        if self.depth > MAX_DEPTH {
            return Err(NodeError::TooDeep { max: MAX_DEPTH });
        }
        if !is_node_name(&node.name) {
            return Err(NodeError::Name);
        }
        // Two tokens, and the name with its NUL and padding.
        self.grow(node.name.len().saturating_add(12))?;
        let mut names = BTreeSet::new();
        node.properties.iter().try_for_each(|property| {
            if !names.insert(&property.name) {
                return Err(NodeError::DuplicateProperty {
                    property: property.name.clone(),
                });
            }
            self.property(property)
        })
    }

    fn property(&mut self, described: &DtProperty) -> Result<(), NodeError> {
        let DtProperty { name, value, .. } = described;
        let property = || name.clone();
        if !is_name(name, MAX_SPECIFIED_NAME, b",._+?#-") {
            return Err(NodeError::PropertyName { property: property() });
        }
        match &**name {
            "phandle" => self.phandle(value)?,
            "linux,phandle" | "ibm,phandle" => return Err(NodeError::OldPhandle { property: property() }),
            _ => {}
        }
        // The token, length, offset of the name, padding, and the name with its NUL.
        self.grow(name.len().saturating_add(16))?;
        for part in value {
            let len = match part {
                DtValue::Bytes(bytes) => bytes.len(),
                DtValue::String(string) if string.contains('\0') => {
                    return Err(NodeError::Nul { property: property() });
                }
                DtValue::String(string) => string.len().saturating_add(1),
                DtValue::U32(_) => 4,
                DtValue::U64(_) => 8,
                DtValue::Interrupt(interrupt) => {
                    self.line(described, interrupt.line)?;
                    // The largest specifier has three cells.
                    12
                }
                DtValue::Phandle(reference) => {
                    self.reference(described, *reference)?;
                    4
                }
                _ => return Err(NodeError::UnknownValue { property: property() }),
            };
            self.grow(len)?;
        }
        Ok(())
    }

    fn grow(&mut self, bytes: usize) -> Result<(), NodeError> {
        self.size = self.size.saturating_add(bytes);
        if self.size > MAX_SIZE {
            return Err(NodeError::TooLarge { max: MAX_SIZE });
        }
        Ok(())
    }

    fn phandle(&mut self, value: &[DtValue]) -> Result<(), NodeError> {
        match value {
            [DtValue::U32(phandle)] if phandle::OWN.contains(phandle) => {
                if self.phandles.insert(*phandle) {
                    Ok(())
                } else {
                    Err(NodeError::DuplicatePhandle { phandle: *phandle })
                }
            }
            _ => Err(NodeError::Phandle {
                min: *phandle::OWN.start(),
                max: *phandle::OWN.end(),
            }),
        }
    }

    fn line(&self, property: &DtProperty, line: Line) -> Result<(), NodeError> {
        let property = || property.name.clone();
        if !self.wiring.has_line(line) {
            return Err(NodeError::NoSuchLine {
                property: property(),
                line,
            });
        }
        if self.wiring.is_msi_line(line) {
            return Err(NodeError::MsiLine {
                property: property(),
                line,
            });
        }
        Ok(())
    }

    fn reference(&self, property: &DtProperty, reference: DtReference) -> Result<(), NodeError> {
        let exists = match reference {
            DtReference::InterruptController => self.wiring.is_described(),
            DtReference::MsiController => self.wiring.msi().is_some(),
            _ => false,
        };
        if exists {
            Ok(())
        } else {
            Err(NodeError::NoReference {
                property: property.name.clone(),
                reference,
            })
        }
    }
}

/// Whether a name has 1 to `max` characters: letters, digits and these.
fn is_name(name: &str, max: usize, others: &[u8]) -> bool {
    let mut bytes = name.bytes();
    (1..=max).contains(&name.len())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || others.contains(&byte))
}

fn is_node_name(name: &str) -> bool {
    const OTHERS: &[u8] = b",._+-";
    let (base, unit_address) = match name.split_once('@') {
        Some((base, address)) => (base, Some(address)),
        None => (name, None),
    };
    name.len() <= MAX_NAME
        && base.starts_with(|first: char| first.is_ascii_alphabetic())
        && is_name(base, MAX_SPECIFIED_NAME, OTHERS)
        && unit_address.is_none_or(|address| is_name(address, MAX_NAME, OTHERS))
}
