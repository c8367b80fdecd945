//! Serialization of values of other crates (feature `serde`).

use core::fmt::Display;

use serde::Serializer;

/// Serializes a value as its text.
pub(crate) fn display<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}
