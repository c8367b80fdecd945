//! Parser of flattened device trees (Devicetree Specification v0.4, chapter 5), without an allocator.
//!
//! [`Fdt::parse`] checks every token, so that later accesses do not fail.

use core::fmt;

/// First word of the header.
pub const MAGIC: u32 = 0xd00d_feed;
/// Length of the header in bytes (version 17).
pub const HEADER_LEN: usize = 40;
/// Maximum nesting depth.
const MAX_DEPTH: usize = 32;

const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROP: u32 = 3;
const NOP: u32 = 4;
const END: u32 = 9;

/// Error of [`Fdt::parse`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FdtError {
    /// The first word is not [`MAGIC`].
    Magic(u32),
    /// `totalsize` is larger than the buffer, or smaller than the header.
    TotalSize(u32),
    /// The tree is not compatible with version 17: `version` and `last_comp_version`.
    Version(u32, u32),
    /// A block is outside the tree or misaligned: its name and offset.
    Block(&'static str, u32),
    /// The memory reservation block has no terminating entry.
    Reservations,
    /// An unexpected or truncated token at this offset in the structure block.
    Structure(usize),
}

impl fmt::Display for FdtError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Magic(found) => write!(f, "magic {found:#x} instead of {MAGIC:#x}"),
            Self::TotalSize(found) => write!(f, "invalid totalsize {found:#x}"),
            Self::Version(found, oldest) => {
                write!(f, "version {found}, compatible with {oldest}, instead of 17")
            }
            Self::Block(name, offset) => write!(f, "invalid {name} block at offset {offset:#x}"),
            Self::Reservations => f.write_str("no terminating entry in the memory reservation block"),
            Self::Structure(offset) => {
                write!(f, "malformed token at offset {offset:#x} in the structure block")
            }
        }
    }
}

/// A validated device tree.
#[derive(Clone, Copy, Debug)]
pub struct Fdt<'a> {
    structure: &'a [u8],
    strings: &'a [u8],
    reservations: &'a [u8],
    /// Size in bytes.
    pub total: u32,
    /// `boot_cpuid_phys`.
    pub boot_cpu: u32,
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    bytes.try_into().ok().map(u32::from_be_bytes)
}

/// The zero-terminated string at `at`.
fn string(bytes: &[u8], at: usize) -> Option<&str> {
    let rest = bytes.get(at..)?;
    let end = rest.iter().position(|byte| *byte == 0)?;
    str::from_utf8(rest.get(..end)?).ok()
}

/// `totalsize` of the header, if its magic is valid.
#[must_use]
pub fn total_size(header: &[u8]) -> Option<u32> {
    (word(header, 0)? == MAGIC).then(|| word(header, 4))?
}

enum Token<'a> {
    Begin(&'a str),
    End,
    Prop(&'a str, &'a [u8]),
    Finish,
}

impl<'a> Fdt<'a> {
    /// Parses the tree at the start of `bytes` and checks all of it.
    ///
    /// # Errors
    ///
    /// See [`FdtError`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FdtError> {
        let field = |index: usize| word(bytes, index * 4).unwrap_or(0);
        if field(0) != MAGIC {
            return Err(FdtError::Magic(field(0)));
        }
        let total = field(1);
        let all = usize::try_from(total)
            .ok()
            .filter(|total| *total >= HEADER_LEN)
            .and_then(|total| bytes.get(..total))
            .ok_or(FdtError::TotalSize(total))?;
        let (version, oldest) = (field(5), field(6));
        if version < 17 || oldest > 17 {
            return Err(FdtError::Version(version, oldest));
        }
        let block = |name, offset: u32, len: Option<u32>, align: u32| {
            let start = usize::try_from(offset).ok();
            let end = match len {
                None => Some(all.len()),
                Some(len) => offset.checked_add(len).and_then(|end| usize::try_from(end).ok()),
            };
            start
                .zip(end)
                .filter(|_| offset.is_multiple_of(align))
                .and_then(|(start, end)| all.get(start..end))
                .ok_or(FdtError::Block(name, offset))
        };
        let this = Self {
            structure: block("structure", field(2), Some(field(9)), 4)?,
            strings: block("strings", field(3), Some(field(8)), 1)?,
            reservations: block("memory reservation", field(4), None, 8)?,
            total,
            boot_cpu: field(7),
        };
        this.check_structure()?;
        let mut entries = this.reservations.chunks_exact(16);
        if !entries.any(|entry| entry.iter().all(|byte| *byte == 0)) {
            return Err(FdtError::Reservations);
        }
        Ok(this)
    }

    /// Checks every token: nodes are nested and ended, properties precede child nodes, and there is one root node, without a name.
    fn check_structure(&self) -> Result<(), FdtError> {
        let (mut at, mut depth, mut roots) = (0, 0_usize, 0);
        let mut may_have_properties = false;
        loop {
            let malformed = FdtError::Structure(at);
            let (token, next) = self.token(at).ok_or(malformed)?;
            match token {
                Token::Begin(name) => {
                    roots += usize::from(depth == 0);
                    if depth >= MAX_DEPTH || roots > 1 || name.is_empty() != (depth == 0) {
                        return Err(malformed);
                    }
                    depth += 1;
                    may_have_properties = true;
                }
                Token::End => {
                    depth = depth.checked_sub(1).ok_or(malformed)?;
                    may_have_properties = false;
                }
                Token::Prop(..) if !may_have_properties => return Err(malformed),
                Token::Prop(..) => {}
                Token::Finish if depth == 0 && roots == 1 && next == self.structure.len() => return Ok(()),
                Token::Finish => return Err(malformed),
            }
            at = next;
        }
    }

    /// The token at `at`, and the offset of the next one.
    fn token(&self, mut at: usize) -> Option<(Token<'a>, usize)> {
        while word(self.structure, at)? == NOP {
            at += 4;
        }
        let body = at + 4;
        match word(self.structure, at)? {
            BEGIN_NODE => {
                let name = string(self.structure, body)?;
                Some((Token::Begin(name), (body + name.len() + 1).next_multiple_of(4)))
            }
            END_NODE => Some((Token::End, body)),
            PROP => {
                let len = usize::try_from(word(self.structure, body)?).ok()?;
                let name = usize::try_from(word(self.structure, body + 4)?).ok()?;
                let start = body + 8;
                let end = start.checked_add(len)?;
                let value = self.structure.get(start..end)?;
                Some((
                    Token::Prop(string(self.strings, name)?, value),
                    end.checked_next_multiple_of(4)?,
                ))
            }
            END => Some((Token::Finish, body)),
            _ => None,
        }
    }

    /// Start and length of each entry of the memory reservation block.
    pub fn reservations(&self) -> impl Iterator<Item = (u64, u64)> + use<'a> {
        let entries = self.reservations.chunks_exact(16);
        let entries = entries.filter_map(|entry| Some((cells(entry, 2)?, cells(entry.get(8..)?, 2)?)));
        entries.take_while(|entry| *entry != (0, 0))
    }

    /// All nodes, each before its children.
    #[must_use]
    pub fn nodes(&self) -> Nodes<'a> {
        Nodes {
            fdt: *self,
            at: 0,
            depth: 0,
            buses: [Bus::ABOVE_ROOT; MAX_DEPTH + 1],
        }
    }

    /// The node at `path`, which starts with `/`. Components may omit the unit address.
    #[must_use]
    pub fn node(&self, path: &str) -> Option<Node<'a>> {
        let components = || path.split('/').filter(|component| !component.is_empty());
        let wanted = components().count();
        let mut matched = 0;
        self.nodes().find(|node| {
            if node.depth == 0 {
                return wanted == 0;
            }
            matched = matched.min(node.depth - 1);
            if matched + 1 == node.depth && components().nth(matched).is_some_and(|it| node.has_name(it)) {
                matched += 1;
            }
            matched == wanted && node.depth == wanted
        })
    }

    /// The node with this `phandle`.
    #[must_use]
    pub fn by_phandle(&self, phandle: u32) -> Option<Node<'a>> {
        self.nodes().find(|node| node.u32("phandle") == Some(phandle))
    }
}

/// The big-endian number of `count` cells, at most two, at the start of `bytes`.
fn cells(bytes: &[u8], count: u32) -> Option<u64> {
    match count {
        0 => Some(0),
        1 => word(bytes, 0).map(u64::from),
        2 => Some(u64::from(word(bytes, 0)?) << 32 | u64::from(word(bytes, 4)?)),
        _ => None,
    }
}

/// Address format of the children of a node.
#[derive(Clone, Copy, Debug)]
struct Bus {
    address_cells: u32,
    size_cells: u32,
    /// Whether addresses equal those of the CPU.
    identity: bool,
}

impl Bus {
    const ABOVE_ROOT: Self = Self {
        address_cells: 2,
        size_cells: 1,
        identity: true,
    };
}

/// A node.
#[derive(Clone, Copy, Debug)]
pub struct Node<'a> {
    fdt: Fdt<'a>,
    at: usize,
    depth: usize,
    bus: Bus,
    /// Name, with the unit address.
    pub name: &'a str,
}

impl<'a> Node<'a> {
    /// Whether this is the same node as `other`.
    #[must_use]
    pub const fn is_same_node(&self, other: &Self) -> bool {
        self.at == other.at
    }

    /// Whether the name is `name`, with or without the unit address.
    #[must_use]
    pub fn has_name(&self, name: &str) -> bool {
        self.name == name || self.name.split_once('@').is_some_and(|(plain, _)| plain == name)
    }

    /// The child nodes.
    pub fn children(&self) -> impl Iterator<Item = Self> + use<'a> {
        let Self { at, depth, .. } = *self;
        self.fdt
            .nodes()
            .skip_while(move |node| node.at != at)
            .skip(1)
            .take_while(move |node| node.depth > depth)
            .filter(move |node| node.depth == depth + 1)
    }

    /// The properties.
    pub fn properties(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'a> {
        let fdt = self.fdt;
        let mut at = self.at;
        core::iter::from_fn(move || match fdt.token(at)? {
            (Token::Prop(name, value), next) => {
                at = next;
                Some((name, value))
            }
            _ => None,
        })
    }

    /// The value of a property.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<&'a [u8]> {
        self.properties()
            .find(|(found, _)| *found == name)
            .map(|(_, value)| value)
    }

    /// The value of a property that is one cell.
    #[must_use]
    pub fn u32(&self, name: &str) -> Option<u32> {
        let value = self.property(name)?;
        (value.len() == 4).then(|| word(value, 0))?
    }

    /// The cells of a property; empty if there is none or its length is not a multiple of 4.
    pub fn cells(&self, name: &str) -> impl Iterator<Item = u32> + use<'a> {
        let value = self.property(name).unwrap_or_default();
        let whole = value.len().is_multiple_of(4).then_some(value);
        whole
            .unwrap_or_default()
            .chunks_exact(4)
            .filter_map(|cell| word(cell, 0))
    }

    /// The value of a property that is a number of one or two cells.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        let value = self.property(name)?;
        match value.len() {
            4 => cells(value, 1),
            8 => cells(value, 2),
            _ => None,
        }
    }

    /// The value of a property that is one zero-terminated string.
    #[must_use]
    pub fn string(&self, name: &str) -> Option<&'a str> {
        let value = self.property(name)?;
        let found = string(value, 0)?;
        (found.len() + 1 == value.len()).then_some(found)
    }

    /// Whether the string list in property `name` contains `wanted`.
    #[must_use]
    pub fn contains_string(&self, name: &str, wanted: &str) -> bool {
        let value = self.property(name).unwrap_or_default();
        value
            .split(|byte| *byte == 0)
            .any(|string| string == wanted.as_bytes())
    }

    /// Whether `compatible` contains `wanted`.
    #[must_use]
    pub fn is_compatible(&self, wanted: &str) -> bool {
        self.contains_string("compatible", wanted)
    }

    /// Whether the device is operational: no `status`, or "okay".
    #[must_use]
    pub fn is_okay(&self) -> bool {
        self.property("status").is_none() || matches!(self.string("status"), Some("okay" | "ok"))
    }

    /// Address and length of each entry of `reg`. `None` if there is no `reg` or its length is not a multiple of the entry
    /// length.
    #[must_use]
    pub fn reg(&self) -> Option<impl Iterator<Item = (u64, u64)> + use<'a>> {
        let value = self.property("reg")?;
        let Bus {
            address_cells,
            size_cells,
            ..
        } = self.bus;
        if address_cells > 2 || size_cells > 2 {
            return None;
        }
        let len = usize::try_from(4 * (address_cells + size_cells)).ok()?;
        let size_offset = usize::try_from(4 * address_cells).ok()?;
        if len == 0 || value.is_empty() || !value.len().is_multiple_of(len) {
            return None;
        }
        Some(value.chunks_exact(len).filter_map(move |entry| {
            Some((
                cells(entry, address_cells)?,
                cells(entry.get(size_offset..)?, size_cells)?,
            ))
        }))
    }

    /// The first entry of `reg`, if its address is a CPU address.
    #[must_use]
    pub fn range(&self) -> Option<(u64, u64)> {
        self.reg()?.next().filter(|_| self.bus.identity)
    }

    fn children_bus(&self) -> Bus {
        Bus {
            address_cells: self.u32("#address-cells").unwrap_or(2),
            size_cells: self.u32("#size-cells").unwrap_or(1),
            // "If the property is defined with an <empty> value, it specifies that the parent and child address space is
            // identical"; children of the root have CPU addresses.
            identity: self.depth == 0
                || self.bus.identity && self.property("ranges").is_some_and(<[u8]>::is_empty),
        }
    }
}

/// Iterator over all nodes of a tree.
#[derive(Clone, Debug)]
pub struct Nodes<'a> {
    fdt: Fdt<'a>,
    at: usize,
    depth: usize,
    /// Address format at each depth.
    buses: [Bus; MAX_DEPTH + 1],
}

impl<'a> Iterator for Nodes<'a> {
    type Item = Node<'a>;

    fn next(&mut self) -> Option<Node<'a>> {
        loop {
            let (token, next) = self.fdt.token(self.at)?;
            self.at = next;
            match token {
                Token::Begin(name) => {
                    let node = Node {
                        fdt: self.fdt,
                        at: next,
                        depth: self.depth,
                        bus: *self.buses.get(self.depth)?,
                        name,
                    };
                    self.depth += 1;
                    *self.buses.get_mut(self.depth)? = node.children_bus();
                    return Some(node);
                }
                Token::End => self.depth = self.depth.checked_sub(1)?,
                Token::Prop(..) => {}
                Token::Finish => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests;
