//! Paths and symbolic links.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::ControlFlow;

use boot_core::ByteSource;
use disk::{FsError, Node};

use crate::blocks::Blocks;
use crate::error::Ext4Error;
use crate::geometry::ROOT_INODE;
use crate::inode::{Inode, unusable};
use crate::limits::{MAX_SYMLINK_WORK, MAX_SYMLINKS};

/// Longest target of a symbolic link, in bytes.
const MAX_TARGET: u64 = 4096;

/// What a call may still spend on symbolic links.
pub(crate) struct Budget {
    /// Bytes of directories.
    work: u64,
    /// Symbolic links of the path that is followed.
    links: u32,
}

impl Budget {
    pub(crate) const fn new() -> Self {
        Self {
            work: MAX_SYMLINK_WORK,
            links: 0,
        }
    }
}

/// Where a walk ended.
enum End {
    Found(Inode),
    /// A name does not exist.
    Missing,
    /// The component in the middle of the path is not a directory.
    NotADirectory(Vec<u8>),
}

impl<S: ByteSource> Blocks<S> {
    /// The node at a path of these components from the root; `None` if it does not exist.
    pub(crate) fn lookup<'a>(
        &self,
        components: impl Iterator<Item = &'a str>,
    ) -> Result<Option<Node>, FsError> {
        let mut pending: Vec<Vec<u8>> = components.map(|name| name.as_bytes().to_vec()).collect();
        pending.reverse();
        let root = self.inode(ROOT_INODE)?;
        let mut link = None;
        let end = self.walk(root, pending, &mut Budget::new(), &mut link)?;
        match (end, link) {
            (End::Found(inode), _) => Ok(Some(inode.node())),
            // It exists, but leads nowhere.
            (_, Some(link)) => Ok(Some(unusable(link))),
            (End::Missing, None) => Ok(None),
            (End::NotADirectory(name), None) => Err(FsError::NotADirectory {
                component: Some(Box::from(String::from_utf8_lossy(&name))),
            }),
        }
    }

    /// The node of an entry of a directory: what it leads to, if it is a symbolic link.
    pub(crate) fn entry_node(
        &self,
        directory: &Inode,
        number: u32,
        budget: &mut Budget,
    ) -> Result<Node, Ext4Error> {
        let inode = match self.inode(number) {
            Ok(inode) => inode,
            Err(Ext4Error::Inode { .. }) => return Ok(unusable(number)),
            Err(error) => return Err(error),
        };
        if !inode.is_symlink() {
            return Ok(inode.node());
        }
        budget.links = 1;
        let mut link = Some(number);
        let mut pending = Vec::new();
        let end = match self.follow(&inode, &mut pending)? {
            Some(is_absolute) => {
                let start = if is_absolute {
                    self.inode(ROOT_INODE)
                } else {
                    Ok(*directory)
                };
                start.and_then(|start| self.walk(start, pending, budget, &mut link))
            }
            None => Ok(End::Missing),
        };
        match end {
            Ok(End::Found(inode)) => Ok(inode.node()),
            Ok(_) | Err(Ext4Error::Inode { .. }) => Ok(unusable(number)),
            Err(error) => Err(error),
        }
    }

    /// Follows `pending`, whose last component is the next one, from `current` on. `link` is set to the symbolic link that the whole path leads to:
    /// directories are then charged to the budget.
    fn walk(
        &self,
        mut current: Inode,
        mut pending: Vec<Vec<u8>>,
        budget: &mut Budget,
        link: &mut Option<u32>,
    ) -> Result<End, Ext4Error> {
        let mut is_charged = link.is_some();
        let mut name = Vec::new();
        while let Some(next) = pending.pop() {
            if !current.is_directory() {
                return Ok(End::NotADirectory(name));
            }
            if is_charged {
                match budget.work.checked_sub(current.len().max(1)) {
                    Some(left) => budget.work = left,
                    None => return Ok(End::Missing),
                }
            }
            let Some(number) = self.find(&current, &next)? else {
                return Ok(End::Missing);
            };
            name = next;
            let inode = self.inode(number)?;
            if !inode.is_symlink() {
                current = inode;
                continue;
            }
            if pending.is_empty() {
                link.get_or_insert(number);
            }
            is_charged = true;
            budget.links = budget.links.saturating_add(1);
            if budget.links > MAX_SYMLINKS {
                return Ok(End::Missing);
            }
            match self.follow(&inode, &mut pending)? {
                Some(true) => current = self.inode(ROOT_INODE)?,
                Some(false) => {}
                None => return Ok(End::Missing),
            }
        }
        Ok(End::Found(current))
    }

    /// Adds the components of the target of a symbolic link. Returns whether it begins at the root; `None` if there is no target.
    fn follow(&self, link: &Inode, pending: &mut Vec<Vec<u8>>) -> Result<Option<bool>, Ext4Error> {
        let len = link.len();
        if len == 0 || len > MAX_TARGET {
            return Ok(None);
        }
        let mut long = Vec::new();
        let target = if let Some(target) = link.short_target() {
            target
        } else {
            long.resize(usize::try_from(len).unwrap_or_default(), 0);
            self.extents(link)?.read(&self.source, 0, &mut long)?;
            &long
        };
        let components = target.split(|byte| *byte == b'/').rev();
        let named = components.filter(|name| !matches!(*name, b"" | b"."));
        pending.extend(named.map(<[u8]>::to_vec));
        Ok(Some(target.first() == Some(&b'/')))
    }

    /// The inode of the entry of a directory with this name.
    fn find(&self, directory: &Inode, name: &[u8]) -> Result<Option<u32>, Ext4Error> {
        let mut found = None;
        self.entries(directory, 0, &mut |entry| {
            if entry.name == name {
                found = Some(entry.inode);
                return Ok(ControlFlow::Break(()));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }
}
