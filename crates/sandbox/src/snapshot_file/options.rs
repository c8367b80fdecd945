//! Options of a load.

use crate::copy_on_write::CopyOnWrite;
use crate::limits::Limits;

/// What a snapshot of a file may ask of the host. A file is not trusted, so its own limits never count where they are higher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct LoadOptions {
    /// Largest length of the guest's data, stacks and heap in bytes. The default is 1 GiB.
    pub max_memory: u64,
    /// Largest length of parameters and of results in bytes. The default is 64 MiB.
    pub max_payload: u64,
    /// Who keeps the pages apart that the guest writes: a file can be loaded with each. The default is [`CopyOnWrite::Auto`].
    pub copy_on_write: CopyOnWrite,
    /// Bytes for the copies of a guest: [`SandboxBuilder::scratch`](crate::SandboxBuilder::scratch).
    pub scratch: Option<u64>,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            max_memory: 1 << 30,
            max_payload: Limits::default().max_payload,
            copy_on_write: CopyOnWrite::Auto,
            scratch: None,
        }
    }
}

impl LoadOptions {
    /// Sets the largest length of the guest's data, stacks and heap in bytes.
    #[must_use]
    pub const fn with_max_memory(mut self, bytes: u64) -> Self {
        self.max_memory = bytes;
        self
    }

    /// Sets who keeps the pages apart that the guest writes.
    #[must_use]
    pub const fn with_copy_on_write(mut self, copy_on_write: CopyOnWrite) -> Self {
        self.copy_on_write = copy_on_write;
        self
    }

    /// Sets the bytes for the copies of a guest.
    #[must_use]
    pub const fn with_scratch(mut self, bytes: u64) -> Self {
        self.scratch = Some(bytes);
        self
    }

    /// Sets the largest length of parameters and of results in bytes.
    #[must_use]
    pub const fn with_max_payload(mut self, bytes: u64) -> Self {
        self.max_payload = bytes;
        self
    }
}
