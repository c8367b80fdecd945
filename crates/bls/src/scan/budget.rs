//! Limits of a scan as a whole.

use alloc::boxed::Box;
use alloc::rc::Rc;
use core::cell::Cell;
use core::ops::ControlFlow;

use boot_core::{ByteSource, ReadError, ReadErrorKind, arith};
use disk::{DirEntry, DirPosition, FileSystem, Node};

use super::config::ScanConfig;
use super::warning::WarningKind;

/// A read of fewer bytes counts as so many: that is what a disk transfers.
const MIN_READ: u64 = 512;

/// What a scan may still read and keep.
pub(super) struct Budget {
    names: usize,
    max_names: usize,
    text: usize,
    max_text: usize,
    /// Shared with the open files.
    bytes: Rc<Cell<u64>>,
    max_bytes: u64,
}

impl Budget {
    pub(super) fn new(config: &ScanConfig) -> Self {
        Self {
            names: config.max_names,
            max_names: config.max_names,
            text: config.max_text,
            max_text: config.max_text,
            bytes: Rc::new(Cell::new(config.max_bytes)),
            max_bytes: config.max_bytes,
        }
    }

    /// Reads a directory until it ends or no names are left.
    pub(super) fn read_dir(
        &mut self,
        file_system: &dyn FileSystem,
        directory: &Node,
        mut visit: impl FnMut(DirEntry<'_>),
    ) -> Result<(), WarningKind> {
        let mut is_exhausted = false;
        file_system.read_dir(directory, DirPosition::START, &mut |entry| {
            let Some(left) = self.names.checked_sub(1) else {
                is_exhausted = true;
                return ControlFlow::Break(());
            };
            self.names = left;
            visit(entry);
            ControlFlow::Continue(())
        })?;
        if is_exhausted {
            return Err(WarningKind::TooManyNames { max: self.max_names });
        }
        Ok(())
    }

    /// Accounts for `len` bytes of text.
    pub(super) fn take_text(&mut self, len: usize) -> Result<(), WarningKind> {
        let left = self.text.checked_sub(len);
        self.text = left.ok_or(WarningKind::TooMuchText { max: self.max_text })?;
        Ok(())
    }

    /// Opens a file whose reads are counted.
    pub(super) fn open<'a>(
        &self,
        file_system: &'a dyn FileSystem,
        node: &Node,
    ) -> Result<CountedFile<'a>, WarningKind> {
        Ok(CountedFile {
            source: file_system.open(node)?,
            left: Rc::clone(&self.bytes),
            max: self.max_bytes,
        })
    }
}

/// File whose reads fail when the limit of the scan is reached.
pub(super) struct CountedFile<'a> {
    source: Box<dyn ByteSource + 'a>,
    left: Rc<Cell<u64>>,
    max: u64,
}

/// The limit of bytes is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the scan has read {max} bytes, which is its limit")]
struct TooManyBytes {
    max: u64,
}

impl ByteSource for CountedFile<'_> {
    fn len(&self) -> Result<u64, ReadError> {
        self.source.len()
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        let cost = arith::to_u64(buf.len()).max(MIN_READ);
        let Some(left) = self.left.get().checked_sub(cost) else {
            let error = Box::new(TooManyBytes { max: self.max });
            return Err(ReadError::new(offset, buf.len(), ReadErrorKind::Source(error)));
        };
        self.left.set(left);
        self.source.read_exact_at(offset, buf)
    }
}
