//! Expected boot parameters, for the guest to check.

pub(super) mod device_tree;
pub(super) mod pc;
