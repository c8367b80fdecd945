//! Reading a blob.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::str;

use boot_core::GuestRange;
use zerocopy::big_endian::U32;
use zerocopy::{FromBytes, Immutable, KnownLayout};

use super::{Blob, BlobError, BlobErrorKind, MAX_DEPTH, MAX_LEN, MAX_NAME, Node};
use crate::raw::{self, token};

/// Bytes of the blob from some offset on.
#[derive(Clone, Copy)]
struct Block<'a> {
    bytes: &'a [u8],
    /// The offset of the first of them in the blob.
    start: usize,
}

impl<'a> Block<'a> {
    const fn error(&self, at: usize, kind: BlobErrorKind) -> BlobError {
        BlobError {
            offset: self.start.saturating_add(at),
            kind,
        }
    }

    /// `len` bytes from `at` on.
    fn get(&self, what: &'static str, at: usize, len: usize) -> Result<&'a [u8], BlobError> {
        let tail = self.bytes.get(at..).unwrap_or_default();
        tail.get(..len).ok_or(self.error(
            at,
            BlobErrorKind::Truncated {
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
    ) -> Result<T, BlobError> {
        let bytes = self.get(what, at, size_of::<T>())?;
        let truncated = BlobErrorKind::Truncated {
            what,
            needed: size_of::<T>(),
            left: bytes.len(),
        };
        T::read_from_bytes(bytes).ok().ok_or(self.error(at, truncated))
    }

    /// The name that begins at `at`.
    fn name(&self, at: usize) -> Result<&'a str, BlobError> {
        let tail = self.bytes.get(at..).unwrap_or_default();
        // Properties may share a name, so that a long one would be looked at as often as there are properties.
        let end = tail
            .iter()
            .take(MAX_NAME.saturating_add(1))
            .position(|byte| *byte == 0);
        end.and_then(|end| tail.get(..end))
            .filter(|name| name.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'/'))
            .and_then(|name| str::from_utf8(name).ok())
            .ok_or(self.error(at, BlobErrorKind::Name))
    }
}

impl<'a> Blob<'a> {
    /// Reads a flattened device tree. Bytes behind the length that its header gives do not count.
    ///
    /// # Errors
    ///
    /// [`BlobError`] says which byte breaks which rule of the format.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BlobError> {
        let (header, whole) = header(bytes)?;
        let reservations = reservations(&header, whole)?;
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
            boot_cpu: header.boot_cpuid_phys.get(),
            reservations,
            root: tree(structure, strings)?,
        })
    }
}

/// An offset or length of the format. One that does not fit lies outside of every blob.
fn to_usize(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Reads and checks the header; returns it and the bytes that belong to the tree.
fn header(bytes: &[u8]) -> Result<(raw::Header, Block<'_>), BlobError> {
    let all = Block { bytes, start: 0 };
    let header: raw::Header = all.read("header", 0)?;
    if header.magic.get() != raw::MAGIC {
        let found = header.magic.get();
        return Err(all.error(0, BlobErrorKind::Magic { found }));
    }
    let (version, last_comp_version) = (header.version.get(), header.last_comp_version.get());
    if version < raw::VERSION || last_comp_version > raw::VERSION {
        return Err(all.error(
            20,
            BlobErrorKind::Version {
                version,
                last_comp_version,
            },
        ));
    }
    let total = to_usize(header.totalsize.get());
    if total > MAX_LEN {
        return Err(all.error(
            4,
            BlobErrorKind::TooLong {
                found: total,
                max: MAX_LEN,
            },
        ));
    }
    let bytes = all.get("whole of it", 0, total)?;
    Ok((header, Block { bytes, start: 0 }))
}

/// A block of the blob: `len` bytes from `offset` on, or all that follow.
fn block<'a>(
    whole: Block<'a>,
    name: &'static str,
    offset: u32,
    len: Option<u32>,
    align: usize,
) -> Result<Block<'a>, BlobError> {
    let start = to_usize(offset);
    let len = match len {
        Some(len) => to_usize(len),
        None => whole.bytes.len().saturating_sub(start),
    };
    if start < size_of::<raw::Header>() || !start.is_multiple_of(align) {
        return Err(whole.error(start, BlobErrorKind::Misaligned { block: name, align }));
    }
    let bytes = whole.get(name, start, len)?;
    Ok(Block { bytes, start })
}

fn reservations(header: &raw::Header, whole: Block<'_>) -> Result<Vec<GuestRange>, BlobError> {
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
            _ => return Err(block.error(at, BlobErrorKind::Reservation { address, size })),
        }
    }
    Ok(all)
}

/// A node that has not ended yet, and the names that its parts have.
struct Open<'a> {
    node: Node<'a>,
    properties: BTreeSet<&'a str>,
    children: BTreeSet<&'a str>,
}

/// A tree in the making.
#[derive(Default)]
struct Growing<'a> {
    /// From the root to the node that is being read.
    open: Vec<Open<'a>>,
    /// The root once it has ended.
    root: Option<Node<'a>>,
}

impl<'a> Growing<'a> {
    fn begin(&mut self, name: &'a str) -> Result<(), BlobErrorKind> {
        if self.root.is_some() {
            return Err(BlobErrorKind::Trailing);
        }
        // The root alone has no name.
        if name.is_empty() != self.open.is_empty() {
            return Err(BlobErrorKind::Name);
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(BlobErrorKind::Depth { max: MAX_DEPTH });
        }
        if let Some(parent) = self.open.last_mut()
            && !parent.children.insert(name)
        {
            return Err(BlobErrorKind::NodeTwice);
        }
        self.open.push(Open {
            node: Node::new(name),
            properties: BTreeSet::new(),
            children: BTreeSet::new(),
        });
        Ok(())
    }

    fn property(&mut self, name: &'a str, value: &'a [u8]) -> Result<(), BlobErrorKind> {
        let owner = self.open.last_mut().ok_or(BlobErrorKind::PropertyOutside)?;
        if name.is_empty() {
            Err(BlobErrorKind::Name)
        } else if !owner.children.is_empty() {
            Err(BlobErrorKind::PropertyAfterChild)
        } else if owner.properties.insert(name) {
            owner.node.push(name, value);
            Ok(())
        } else {
            Err(BlobErrorKind::PropertyTwice)
        }
    }

    fn end(&mut self) -> Result<(), BlobErrorKind> {
        let Open { node, .. } = self.open.pop().ok_or(BlobErrorKind::StrayEnd)?;
        match self.open.last_mut() {
            Some(parent) => parent.node.children.push(node),
            None => self.root = Some(node),
        }
        Ok(())
    }
}

/// Reads the structure block.
fn tree<'a>(structure: Block<'a>, strings: Block<'a>) -> Result<Node<'a>, BlobError> {
    let mut tree = Growing::default();
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
                let root = tree.root.ok_or(located(BlobErrorKind::Unfinished))?;
                return if at == structure.bytes.len() {
                    Ok(root)
                } else {
                    Err(structure.error(at, BlobErrorKind::Trailing))
                };
            }
            found => return Err(located(BlobErrorKind::Token { found })),
        }
    }
}

/// Where the token after `len` bytes at `at` is: at the next multiple of four.
fn next_token(at: usize, len: usize) -> usize {
    at.saturating_add(len)
        .checked_next_multiple_of(4)
        .unwrap_or(usize::MAX)
}
