//! Limits of a scan as a whole.

use core::ops::ControlFlow;

use disk::{DirEntry, DirPosition, FileSystem, Node};

use super::config::ScanConfig;
use super::warning::WarningKind;

/// What a scan may still read.
pub(super) struct Budget {
    names: usize,
    max_names: usize,
    text: usize,
    max_text: usize,
}

impl Budget {
    pub(super) fn new(config: &ScanConfig) -> Self {
        Self {
            names: config.max_names,
            max_names: config.max_names,
            text: config.max_text,
            max_text: config.max_text,
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

    /// Accounts for a text of `len` bytes.
    pub(super) fn take_text(&mut self, len: usize) -> Result<(), WarningKind> {
        let left = self.text.checked_sub(len);
        self.text = left.ok_or(WarningKind::TooMuchText { max: self.max_text })?;
        Ok(())
    }
}
