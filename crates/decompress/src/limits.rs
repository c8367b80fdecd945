//! Limits of decoders.

/// Largest window or dictionary in bytes that a decoder keeps beside the output: that of `zstd --ultra -22`.
pub const MAX_WINDOW: u64 = 128 << 20;
