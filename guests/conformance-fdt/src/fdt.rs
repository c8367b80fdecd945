//! A reader of flattened device trees (Devicetree Specification v0.4, chapter 5), without an allocator.
//!
//! [`Fdt::parse`] walks the whole tree once, so what comes after meets no malformed token.

use core::fmt;

/// First word of a tree.
pub const MAGIC: u32 = 0xd00d_feed;
/// Length of the header in bytes (version 17).
pub const HEADER_LEN: usize = 40;
/// The deepest nesting read.
const MAX_DEPTH: usize = 32;

const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROP: u32 = 3;
const NOP: u32 = 4;
const END: u32 = 9;

/// Why bytes are no device tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FdtError {
    /// The first word is another.
    Magic(u32),
    /// `totalsize` is larger than what there is, or smaller than the header.
    TotalSize(u32),
    /// The tree cannot be read by a reader of version 17: its version and the oldest one it is compatible with.
    Version(u32, u32),
    /// A block lies outside the tree, or not at its alignment: which one, and its offset.
    Block(&'static str, u32),
    /// The memory reservation block has no end.
    Reservations,
    /// A token that must not stand there, or is cut off, at this offset of the structure block.
    Structure(usize),
}

impl fmt::Display for FdtError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Magic(found) => write!(f, "the magic {found:#x} instead of {MAGIC:#x}"),
            Self::TotalSize(found) => write!(f, "a totalsize of {found:#x}"),
            Self::Version(found, oldest) => write!(f, "version {found}, compatible with {oldest}"),
            Self::Block(name, offset) => write!(f, "the {name} block at {offset:#x}"),
            Self::Reservations => f.write_str("no end of the memory reservation block"),
            Self::Structure(offset) => write!(f, "a malformed token at {offset:#x} of the structure block"),
        }
    }
}

/// A device tree, read and checked.
#[derive(Clone, Copy, Debug)]
pub struct Fdt<'a> {
    structure: &'a [u8],
    strings: &'a [u8],
    reservations: &'a [u8],
    /// Its length in bytes.
    pub total: u32,
    /// `boot_cpuid_phys`.
    pub boot_cpu: u32,
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    bytes.try_into().ok().map(u32::from_be_bytes)
}

/// The text from `at` up to its zero.
fn text(bytes: &[u8], at: usize) -> Option<&str> {
    let rest = bytes.get(at..)?;
    let end = rest.iter().position(|byte| *byte == 0)?;
    str::from_utf8(rest.get(..end)?).ok()
}

/// The total size that the header of `bytes` claims, if its magic is right.
#[must_use]
pub fn claimed_size(header: &[u8]) -> Option<u32> {
    (word(header, 0)? == MAGIC).then(|| word(header, 4))?
}

enum Token<'a> {
    Begin(&'a str),
    End,
    Prop(&'a str, &'a [u8]),
    Finish,
}

impl<'a> Fdt<'a> {
    /// Reads the tree at the start of `bytes`, and all of it.
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

    /// Reads every token: nodes nest and end, properties stand before child nodes, one root node without a name.
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

    /// The token at `at`, and where the next one stands.
    fn token(&self, mut at: usize) -> Option<(Token<'a>, usize)> {
        while word(self.structure, at)? == NOP {
            at += 4;
        }
        let behind = at + 4;
        match word(self.structure, at)? {
            BEGIN_NODE => {
                let name = text(self.structure, behind)?;
                Some((Token::Begin(name), (behind + name.len() + 1).next_multiple_of(4)))
            }
            END_NODE => Some((Token::End, behind)),
            PROP => {
                let len = usize::try_from(word(self.structure, behind)?).ok()?;
                let name = usize::try_from(word(self.structure, behind + 4)?).ok()?;
                let start = behind + 8;
                let end = start.checked_add(len)?;
                let value = self.structure.get(start..end)?;
                Some((
                    Token::Prop(text(self.strings, name)?, value),
                    end.checked_next_multiple_of(4)?,
                ))
            }
            END => Some((Token::Finish, behind)),
            _ => None,
        }
    }

    /// The memory reservation block: start and length of each entry.
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

    /// The node at `path`, which starts with `/`; a component may leave a unit address out.
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
            if matched + 1 == node.depth && components().nth(matched).is_some_and(|it| node.is_called(it)) {
                matched += 1;
            }
            matched == wanted && node.depth == wanted
        })
    }

    /// The node of this `phandle`.
    #[must_use]
    pub fn by_phandle(&self, phandle: u32) -> Option<Node<'a>> {
        self.nodes().find(|node| node.u32("phandle") == Some(phandle))
    }
}

/// A big-endian number of `count` cells at the start of `bytes`; none has more than two.
fn cells(bytes: &[u8], count: u32) -> Option<u64> {
    match count {
        0 => Some(0),
        1 => word(bytes, 0).map(u64::from),
        2 => Some(u64::from(word(bytes, 0)?) << 32 | u64::from(word(bytes, 4)?)),
        _ => None,
    }
}

/// How a node's children count their addresses.
#[derive(Clone, Copy, Debug)]
struct Bus {
    address_cells: u32,
    size_cells: u32,
    /// Whether an address there is the same one for the CPU.
    identity: bool,
}

impl Bus {
    const ABOVE_ROOT: Self = Self {
        address_cells: 2,
        size_cells: 1,
        identity: true,
    };
}

/// One node.
#[derive(Clone, Copy, Debug)]
pub struct Node<'a> {
    fdt: Fdt<'a>,
    at: usize,
    depth: usize,
    bus: Bus,
    /// Its name with the unit address.
    pub name: &'a str,
}

impl<'a> Node<'a> {
    /// Whether this is the same node as `other`.
    #[must_use]
    pub const fn is(&self, other: &Self) -> bool {
        self.at == other.at
    }

    /// Whether its name is `name`, with or without the unit address.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        self.name == name || self.name.split_once('@').is_some_and(|(plain, _)| plain == name)
    }

    /// The nodes right below it.
    pub fn children(&self) -> impl Iterator<Item = Self> + use<'a> {
        let Self { at, depth, .. } = *self;
        self.fdt
            .nodes()
            .skip_while(move |node| node.at != at)
            .skip(1)
            .take_while(move |node| node.depth > depth)
            .filter(move |node| node.depth == depth + 1)
    }

    /// Its properties.
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

    /// A property that is one cell.
    #[must_use]
    pub fn u32(&self, name: &str) -> Option<u32> {
        let value = self.property(name)?;
        (value.len() == 4).then(|| word(value, 0))?
    }

    /// The cells of a property; none if it has none, or no whole number of them.
    pub fn cells(&self, name: &str) -> impl Iterator<Item = u32> + use<'a> {
        let value = self.property(name).unwrap_or_default();
        let whole = value.len().is_multiple_of(4).then_some(value);
        whole
            .unwrap_or_default()
            .chunks_exact(4)
            .filter_map(|cell| word(cell, 0))
    }

    /// A property that is a number of one or two cells.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        let value = self.property(name)?;
        match value.len() {
            4 => cells(value, 1),
            8 => cells(value, 2),
            _ => None,
        }
    }

    /// A property that is a text with a zero behind it, and nothing behind that.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&'a str> {
        let value = self.property(name)?;
        let found = text(value, 0)?;
        (found.len() + 1 == value.len()).then_some(found)
    }

    /// Whether a list of texts holds `wanted`.
    #[must_use]
    pub fn lists(&self, name: &str, wanted: &str) -> bool {
        let value = self.property(name).unwrap_or_default();
        value
            .split(|byte| *byte == 0)
            .any(|text| text == wanted.as_bytes())
    }

    /// Whether `compatible` holds `wanted`.
    #[must_use]
    pub fn is_compatible(&self, wanted: &str) -> bool {
        self.lists("compatible", wanted)
    }

    /// Whether it can be used: it has no `status`, or one that says so.
    #[must_use]
    pub fn is_okay(&self) -> bool {
        self.property("status").is_none() || matches!(self.text("status"), Some("okay" | "ok"))
    }

    /// Address and length of each entry of `reg`, as its parent counts. `None` if there is none, or its length is not that
    /// of whole entries.
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
        let behind = usize::try_from(4 * address_cells).ok()?;
        if len == 0 || value.is_empty() || !value.len().is_multiple_of(len) {
            return None;
        }
        Some(value.chunks_exact(len).filter_map(move |entry| {
            Some((
                cells(entry, address_cells)?,
                cells(entry.get(behind..)?, size_cells)?,
            ))
        }))
    }

    /// The first entry of `reg`, if its address is one of the CPU.
    #[must_use]
    pub fn range(&self) -> Option<(u64, u64)> {
        self.reg()?.next().filter(|_| self.bus.identity)
    }

    fn children_bus(&self) -> Bus {
        Bus {
            address_cells: self.u32("#address-cells").unwrap_or(2),
            size_cells: self.u32("#size-cells").unwrap_or(1),
            // "If the property is defined with an <empty> value, it specifies that the parent and child address space is
            // identical"; the root's children are addressed as the CPU does.
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
    /// For each depth, how the nodes there count.
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
