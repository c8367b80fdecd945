//! Carrying a plan out.

use alloc::borrow::Cow;

use super::{BootPlan, Content, SourceId};
use crate::{ByteSource, GuestMemory, GuestRange, MemoryError, ReadError};

/// The files that a plan takes bytes from.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// The kernel image.
    pub kernel: &'a dyn ByteSource,
    /// The initrd.
    pub initrd: Option<&'a dyn ByteSource>,
    /// The modules, in the order of the request.
    pub modules: &'a [&'a dyn ByteSource],
}

impl<'a> Sources<'a> {
    /// Only a kernel.
    #[must_use]
    pub const fn kernel(kernel: &'a dyn ByteSource) -> Self {
        Self {
            kernel,
            initrd: None,
            modules: &[],
        }
    }

    /// The same with an initrd.
    #[must_use]
    pub const fn with_initrd(self, initrd: &'a dyn ByteSource) -> Self {
        Self {
            initrd: Some(initrd),
            ..self
        }
    }

    /// The same with modules.
    #[must_use]
    pub const fn with_modules(self, modules: &'a [&'a dyn ByteSource]) -> Self {
        Self { modules, ..self }
    }

    fn get(&self, id: SourceId) -> Option<&'a dyn ByteSource> {
        match id {
            SourceId::Kernel => Some(self.kernel),
            SourceId::Initrd => self.initrd,
            SourceId::Module(index) => self.modules.get(index).copied(),
        }
    }
}

/// Why a plan could not be carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// A file of the plan was not given.
    #[error("the plan needs the {0}, which was not given; nothing was written")]
    Missing(SourceId),
    /// A file cannot tell its length.
    #[error("the {id} cannot be read; nothing was written")]
    Unreadable {
        /// The file.
        id: SourceId,
        /// Why.
        source: ReadError,
    },
    /// A file is not the one the plan was made for.
    #[error("the {id} has {found:#x} bytes, but the plan was made for {expected:#x}; nothing was written")]
    Changed {
        /// The file.
        id: SourceId,
        /// Its length when the plan was made.
        expected: u64,
        /// Its length now.
        found: u64,
    },
    /// Guest memory is not what the machine of the plan said.
    #[error("the {label} has no place at {range}; nothing was written")]
    NoMemory {
        /// What it is.
        label: Cow<'static, str>,
        /// Where it should go.
        range: GuestRange,
        /// What the memory says.
        source: MemoryError,
    },
    /// Writing failed midway: the guest must not be started.
    #[error(
        "the {label} could not be written to {range}; guest memory is incomplete and must not be started"
    )]
    Incomplete {
        /// What it is.
        label: Cow<'static, str>,
        /// Where it should go.
        range: GuestRange,
        /// What went wrong.
        source: MemoryError,
    },
}

impl BootPlan {
    /// Writes everything to guest memory.
    ///
    /// First every file's length and every load's place are checked, so that what can be known to fail fails before
    /// the first write.
    ///
    /// # Errors
    ///
    /// [`LoadError`]. After [`LoadError::Incomplete`] guest memory is undefined; after every other error it is
    /// untouched.
    pub fn load(&self, sources: &Sources<'_>, memory: &mut dyn GuestMemory) -> Result<(), LoadError> {
        for &(id, expected) in self.source_lens() {
            let used = |content: &Content| matches!(content, Content::Source { id: used, .. } if *used == id);
            if !self.loads().iter().any(|load| used(&load.content)) {
                continue;
            }
            let source = sources.get(id).ok_or(LoadError::Missing(id))?;
            let found = source
                .len()
                .map_err(|source| LoadError::Unreadable { id, source })?;
            if found != expected {
                return Err(LoadError::Changed { id, expected, found });
            }
        }
        for load in self.loads() {
            memory.check(load.range).map_err(|source| LoadError::NoMemory {
                label: load.label.clone(),
                range: load.range,
                source,
            })?;
        }
        for load in self.loads() {
            let written = match &load.content {
                Content::Source { id, range } => {
                    let source = sources.get(*id).ok_or(LoadError::Missing(*id))?;
                    memory.copy_from(load.range, source, range.offset())
                }
                Content::Bytes(bytes) => memory.write(load.range.start(), bytes),
                Content::Zeros => memory.zero(load.range),
            };
            written.map_err(|source| LoadError::Incomplete {
                label: load.label.clone(),
                range: load.range,
                source,
            })?;
        }
        Ok(())
    }
}
