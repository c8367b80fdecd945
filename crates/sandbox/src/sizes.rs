//! Lengths of the areas of a sandbox.

/// Lengths of the areas of a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// Heap in bytes.
    pub(crate) heap: u64,
    /// Stack in bytes.
    pub(crate) stack: u64,
    /// Inbox and outbox, each, in bytes.
    pub(crate) window: u32,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            heap: 4 << 20,
            stack: 256 << 10,
            window: 64 << 10,
        }
    }
}
