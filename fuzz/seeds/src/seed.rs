//! What a seed is.

/// A seed: its name, which becomes part of its file name, and its bytes.
pub(crate) type Seed = (&'static str, Vec<u8>);
