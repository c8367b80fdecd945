//! Properties of nodes.

use super::error::ReadFdtError;
use crate::device_tree::Node;

/// Whether the list of strings `compatible` contains `wanted`.
pub(super) fn is_compatible(node: &Node<'_>, wanted: &str) -> bool {
    let list = node.property("compatible").unwrap_or_default();
    list.split(|byte| *byte == 0)
        .any(|string| string == wanted.as_bytes())
}

/// Whether a device is operational ("status").
pub(super) fn is_okay(node: &Node<'_>) -> bool {
    node.property("status")
        .is_none_or(|status| matches!(status, b"okay\0" | b"ok\0"))
}

/// The value of a property that is one string.
pub(super) fn string<'n>(node: &'n Node<'_>, name: &str) -> Option<&'n str> {
    let (nul, text) = node.property(name)?.split_last()?;
    let is_one = *nul == 0 && !text.contains(&0);
    core::str::from_utf8(text).ok().filter(|_| is_one)
}

/// The value of a property that is one cell; `None` without it.
pub(super) fn cell(node: &Node<'_>, name: &'static str) -> Result<Option<u32>, ReadFdtError> {
    let value = node.property(name);
    let number = |value: &[u8]| Some(u32::from_be_bytes(value.try_into().ok()?));
    value
        .map(|value| number(value).ok_or_else(|| ReadFdtError::invalid(node, name)))
        .transpose()
}
