//! Addresses of nodes on buses.

use boot_core::GuestRange;

use super::error::ReadFdtError;
use super::property::is_okay;
use crate::device_tree::Node;

/// Bytes of a cell.
const CELL: usize = 4;

/// A node as the bus of its children.
#[derive(Clone, Copy)]
pub(super) struct Bus<'a> {
    node: &'a Node<'a>,
    /// The bus that the node itself is on; `None` for the root.
    parent: Option<&'a Bus<'a>>,
}

/// What is called with a node and its bus.
pub(super) type Visitor<'f> = &'f mut dyn FnMut(&Node<'_>, &Bus<'_>) -> Result<(), ReadFdtError>;

/// Calls `f` with all nodes below `root` that are operational, each with its bus.
pub(super) fn visit(root: &Node<'_>, f: Visitor<'_>) -> Result<(), ReadFdtError> {
    Bus::root(root).visit(f)
}

impl<'a> Bus<'a> {
    /// The root as a bus: its children have addresses of the CPU.
    pub(super) const fn root(root: &'a Node<'a>) -> Self {
        Self {
            node: root,
            parent: None,
        }
    }

    /// `node`, which is on this bus, as a bus.
    pub(super) const fn child(&'a self, node: &'a Node<'a>) -> Self {
        Self {
            node,
            parent: Some(self),
        }
    }

    /// The child `name`, which may leave out the unit address.
    pub(super) fn node_named(&self, name: &str) -> Option<&'a Node<'a>> {
        let children = &self.node.children;
        let exact = children.iter().find(|node| node.name == name);
        exact.or_else(|| children.iter().find(|node| node.base_name() == name))
    }

    /// Recursive; the parser limits the depth of a tree.
    fn visit(&self, f: Visitor<'_>) -> Result<(), ReadFdtError> {
        for node in self.node.children.iter().filter(|node| is_okay(node)) {
            f(node, self)?;
            self.child(node).visit(f)?;
        }
        Ok(())
    }

    /// The first range of the `reg` of `node`, which is on this bus, in addresses of the CPU. `None` if the node has no `reg`, or the CPU
    /// does not reach it.
    pub(super) fn range(&self, node: &Node<'_>) -> Result<Option<GuestRange>, ReadFdtError> {
        let Some(reg) = node.property("reg") else {
            return Ok(None);
        };
        let Some([address, size]) = self.cells() else {
            return Ok(None);
        };
        let mut reg = Cells(reg);
        let range = reg
            .number(address)
            .zip(reg.number(size))
            .and_then(|(start, len)| GuestRange::new(start, len))
            .filter(|range| !range.is_empty());
        self.cpu_range(range.ok_or_else(|| ReadFdtError::invalid(node, "reg"))?)
    }

    /// Numbers of cells of an address and of a size; `None` if one of them is more than 2.
    pub(super) fn cells(&self) -> Option<[usize; 2]> {
        let read = |property, default| match self.node.property(property) {
            None => Some(default),
            Some([0, 0, 0, cells @ 0..=2]) => Some(usize::from(*cells)),
            Some(_) => None,
        };
        Some([read("#address-cells", 2)?, read("#size-cells", 1)?])
    }

    /// A range of addresses on this bus in addresses of the CPU. `None` if the CPU does not reach it.
    pub(super) fn cpu_range(&self, range: GuestRange) -> Result<Option<GuestRange>, ReadFdtError> {
        let Some(parent) = self.parent else {
            return Ok(Some(range));
        };
        let ranges = match self.node.property("ranges") {
            None => return Ok(None),
            Some([]) => return parent.cpu_range(range),
            Some(ranges) => ranges,
        };
        let invalid = || ReadFdtError::invalid(self.node, "ranges");
        let (Some([address, size]), Some([parent_address, _])) = (self.cells(), parent.cells()) else {
            return Ok(None);
        };
        if address.max(parent_address).max(size) == 0 {
            // Entries without a length never end.
            return Err(invalid());
        }
        let mut ranges = Cells(ranges);
        while !ranges.is_empty() {
            let entry = [address, parent_address, size].map(|cells| ranges.number(cells));
            let [Some(start), Some(to), Some(len)] = entry else {
                return Err(invalid());
            };
            let window = GuestRange::new(start, len).ok_or_else(invalid)?;
            if window.contains(range) {
                let offset = range.start().saturating_sub(start);
                let moved = to.checked_add(offset).and_then(|start| range.moved_to(start));
                return parent.cpu_range(moved.ok_or_else(invalid)?);
            }
        }
        Ok(None)
    }
}

/// The rest of a value of cells.
pub(super) struct Cells<'a>(pub(super) &'a [u8]);

impl Cells<'_> {
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next number, of `cells` cells, at most two. `None` at the end.
    pub(super) fn number(&mut self, cells: usize) -> Option<u64> {
        let (number, rest) = self.0.split_at_checked(cells.checked_mul(CELL)?)?;
        self.0 = rest;
        let append = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        (cells <= 2).then(|| number.iter().fold(0, append))
    }
}
