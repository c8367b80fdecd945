//! Handles and interfaces: opaque numbers.

use uguid::Guid;

/// Address of an interface. 0 is an interface without data, which the specification allows.
pub type Interface = u64;

/// A protocol and its interface.
pub type Pair = (Guid, Interface);

/// A handle. Numbers are never used again: a freed handle stays invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle(pub u64);
