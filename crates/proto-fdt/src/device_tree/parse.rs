//! Parsing.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::str;

use boot_core::GuestRange;
use zerocopy::big_endian::U32;
use zerocopy::{FromBytes, Immutable, KnownLayout};

use super::error::{FdtError, FdtErrorKind};
use super::{DeviceTree, MAX_DEPTH, MAX_LEN, MAX_NAME, Node};
use crate::raw::{self, token};

/// A part of the FDT.
#[derive(Clone, Copy)]
struct Block<'a> {
    bytes: &'a [u8],
    /// Offset of the part in the FDT.
    start: usize,
}

impl<'a> Block<'a> {
    const fn error(&self, at: usize, kind: FdtErrorKind) -> FdtError {
        FdtError {
            offset: self.start.saturating_add(at),
            kind,
        }
    }

    /// `len` bytes at the offset `at` in the block.
    fn get(&self, what: &'static str, at: usize, len: usize) -> Result<&'a [u8], FdtError> {
        let tail = self.bytes.get(at..).unwrap_or_default();
        tail.get(..len).ok_or(self.error(
            at,
            FdtErrorKind::Truncated {
                what,
                needed: len,
                left: tail.len(),
            },
        ))
    }

    fn read<T: FromBytes + KnownLayout + Immutable + Copy>(
        &self,
        what: &'static str,
        at: usize,
    ) -> Result<T, FdtError> {
        let bytes = self.get(what, at, size_of::<T>())?;
        let truncated = FdtErrorKind::Truncated {
            what,
            needed: size_of::<T>(),
            left: bytes.len(),
        };
        T::read_from_bytes(bytes).ok().ok_or(self.error(at, truncated))
    }

    /// The name at the offset `at`.
    fn name(&self, at: usize) -> Result<&'a str, FdtError> {
        let tail = self.bytes.get(at..).unwrap_or_default();
        // The limit bounds the time: many properties may refer to one long name.
        let end = tail
            .iter()
            .take(MAX_NAME.saturating_add(1))
            .position(|byte| *byte == 0);
        end.and_then(|end| tail.get(..end))
            .filter(|name| name.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'/'))
            .and_then(|name| str::from_utf8(name).ok())
            .ok_or(self.error(at, FdtErrorKind::InvalidName))
    }
}

impl<'a> DeviceTree<'a> {
    /// Parses an FDT (Devicetree Specification v0.4, "Flattened Devicetree (DTB) Format"). Bytes after the `totalsize` of
    /// its header are ignored.
    ///
    /// # Errors
    ///
    /// [`FdtError`]: the first violation of the format or of the limits of this module, with its offset.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FdtError> {
        let (header, whole) = header(bytes)?;
        let memory_reservations = memory_reservations(&header, whole)?;
        let structure = block(
            whole,
            "structure block",
            header.off_dt_struct.get(),
            Some(header.size_dt_struct.get()),
            4,
        )?;
        let strings = block(
            whole,
            "strings block",
            header.off_dt_strings.get(),
            Some(header.size_dt_strings.get()),
            1,
        )?;
        Ok(Self {
            boot_cpuid_phys: header.boot_cpuid_phys.get(),
            memory_reservations,
            root: tree(structure, strings)?,
        })
    }
}

/// An offset or length of the format. A value that does not fit is past the end of every FDT.
fn to_usize(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Reads and checks the header. Returns it and the `totalsize` bytes of the tree.
fn header(bytes: &[u8]) -> Result<(raw::Header, Block<'_>), FdtError> {
    let all = Block { bytes, start: 0 };
    let header: raw::Header = all.read("header", 0)?;
    if header.magic.get() != raw::MAGIC {
        let found = header.magic.get();
        return Err(all.error(0, FdtErrorKind::BadMagic { found }));
    }
    let (version, last_comp_version) = (header.version.get(), header.last_comp_version.get());
    if version < raw::VERSION || last_comp_version > raw::VERSION {
        return Err(all.error(
            20,
            FdtErrorKind::UnsupportedVersion {
                version,
                last_comp_version,
            },
        ));
    }
    let total = to_usize(header.totalsize.get());
    if total > MAX_LEN {
        return Err(all.error(
            4,
            FdtErrorKind::TooLarge {
                found: total,
                max: MAX_LEN,
            },
        ));
    }
    let bytes = all.get("device tree", 0, total)?;
    Ok((header, Block { bytes, start: 0 }))
}

/// A block of the FDT: `len` bytes at `offset`, or everything from `offset` to the end.
fn block<'a>(
    whole: Block<'a>,
    name: &'static str,
    offset: u32,
    len: Option<u32>,
    align: usize,
) -> Result<Block<'a>, FdtError> {
    let start = to_usize(offset);
    let len = match len {
        Some(len) => to_usize(len),
        None => whole.bytes.len().saturating_sub(start),
    };
    if start < size_of::<raw::Header>() || start.checked_rem(align) != Some(0) {
        return Err(whole.error(start, FdtErrorKind::Misaligned { block: name, align }));
    }
    let bytes = whole.get(name, start, len)?;
    Ok(Block { bytes, start })
}

fn memory_reservations(header: &raw::Header, whole: Block<'_>) -> Result<Vec<GuestRange>, FdtError> {
    const WHAT: &str = "memory reservation block";
    let block = block(whole, WHAT, header.off_mem_rsvmap.get(), None, 8)?;
    let mut all = Vec::new();
    for at in (0usize..).step_by(size_of::<raw::ReserveEntry>()) {
        let entry: raw::ReserveEntry = block.read(WHAT, at)?;
        let (address, size) = (entry.address.get(), entry.size.get());
        if address == 0 && size == 0 {
            break;
        }
        match GuestRange::new(address, size) {
            Some(range) if size > 0 => all.push(range),
            _ => return Err(block.error(at, FdtErrorKind::InvalidReservation { address, size })),
        }
    }
    Ok(all)
}

/// A node whose end has not been read, with the names of its properties and children.
struct OpenNode<'a> {
    node: Node<'a>,
    properties: BTreeSet<&'a str>,
    children: BTreeSet<&'a str>,
}

/// A tree while it is read.
#[derive(Default)]
struct TreeBuilder<'a> {
    /// The path from the root to the node that is being read.
    open: Vec<OpenNode<'a>>,
    /// The root, once its end has been read.
    root: Option<Node<'a>>,
}

impl<'a> TreeBuilder<'a> {
    fn begin(&mut self, name: &'a str) -> Result<(), FdtErrorKind> {
        if self.root.is_some() {
            return Err(FdtErrorKind::TrailingData);
        }
        // Only the root has an empty name.
        if name.is_empty() != self.open.is_empty() {
            return Err(FdtErrorKind::InvalidName);
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(FdtErrorKind::TooDeep { max: MAX_DEPTH });
        }
        if self
            .open
            .last_mut()
            .is_some_and(|parent| !parent.children.insert(name))
        {
            return Err(FdtErrorKind::DuplicateNode);
        }
        self.open.push(OpenNode {
            node: Node::new(name),
            properties: BTreeSet::new(),
            children: BTreeSet::new(),
        });
        Ok(())
    }

    fn property(&mut self, name: &'a str, value: &'a [u8]) -> Result<(), FdtErrorKind> {
        let owner = self.open.last_mut().ok_or(FdtErrorKind::PropertyOutsideNode)?;
        if name.is_empty() {
            Err(FdtErrorKind::InvalidName)
        } else if !owner.children.is_empty() {
            Err(FdtErrorKind::PropertyAfterChild)
        } else if owner.properties.insert(name) {
            owner.node.push_property(name, value);
            Ok(())
        } else {
            Err(FdtErrorKind::DuplicateProperty)
        }
    }

    fn end(&mut self) -> Result<(), FdtErrorKind> {
        let OpenNode { node, .. } = self.open.pop().ok_or(FdtErrorKind::UnexpectedEndNode)?;
        match self.open.last_mut() {
            Some(parent) => parent.node.children.push(node),
            None => self.root = Some(node),
        }
        Ok(())
    }
}

/// Reads the structure block (section "Structure Block").
fn tree<'a>(structure: Block<'a>, strings: Block<'a>) -> Result<Node<'a>, FdtError> {
    let mut tree = TreeBuilder::default();
    let mut at = 0usize;
    loop {
        let here = at;
        let located = |kind| structure.error(here, kind);
        let token: U32 = structure.read("token", at)?;
        at = at.saturating_add(4);
        match token.get() {
            token::NOP => {}
            token::BEGIN_NODE => {
                let name = structure.name(at)?;
                tree.begin(name).map_err(located)?;
                at = next_token(at, name.len().saturating_add(1));
            }
            token::PROP => {
                let property: raw::Property = structure.read("property", at)?;
                at = at.saturating_add(size_of::<raw::Property>());
                let len = to_usize(property.len.get());
                let value = structure.get("property's value", at, len)?;
                let name = strings.name(to_usize(property.nameoff.get()))?;
                tree.property(name, value).map_err(located)?;
                at = next_token(at, len);
            }
            token::END_NODE => tree.end().map_err(located)?,
            token::END => {
                let root = tree.root.ok_or(located(FdtErrorKind::UnexpectedEnd))?;
                return if at == structure.bytes.len() {
                    Ok(root)
                } else {
                    Err(structure.error(at, FdtErrorKind::TrailingData))
                };
            }
            found => return Err(located(FdtErrorKind::UnknownToken { found })),
        }
    }
}

/// The offset of the token after `len` bytes at `at`: the next multiple of four.
fn next_token(at: usize, len: usize) -> usize {
    at.saturating_add(len)
        .checked_next_multiple_of(4)
        .unwrap_or(usize::MAX)
}
