//! The serial port of the console.

use boot_core::GuestRange;
use boot_core::machine::SerialKind;

use super::bus::{Bus, visit};
use super::error::ReadFdtError;
use super::property::{cell, is_compatible, is_okay, string};
use crate::device_tree::{DeviceTree, Node};

/// A serial port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SerialPort {
    /// Register layout.
    pub kind: SerialKind,
    /// Its registers: `reg` without the bytes below `reg-offset`.
    pub range: GuestRange,
}

/// Register shifts beyond it are invalid: eight registers would exceed 2 KiB.
const MAX_SHIFT: u32 = 8;

/// The serial port that `stdout-path` of `/chosen` names, or else the first one that is an NS16550A or a PL011 and that the CPU reaches.
///
/// # Errors
///
/// [`ReadFdtError::Invalid`] if the node of the port, or the `ranges` of a bus above it are malformed.
pub fn serial_port(tree: &DeviceTree<'_>) -> Result<Option<SerialPort>, ReadFdtError> {
    if let Some(path) = stdout_path(tree) {
        let mut components = path.split('/').filter(|component| !component.is_empty());
        let port = match components.next() {
            Some(first) => at_path(&Bus::root(&tree.root), first, &mut components)?,
            None => None,
        };
        if port.is_some() {
            return Ok(port);
        }
    }
    let mut first = None;
    visit(&tree.root, &mut |node, bus| {
        if first.is_none() {
            first = port(node, bus)?;
        }
        Ok(())
    })?;
    Ok(first)
}

/// The path of the console. Options behind a colon are left out, an alias is replaced.
fn stdout_path<'t>(tree: &'t DeviceTree<'_>) -> Option<&'t str> {
    let path = string(tree.root.child("chosen")?, "stdout-path")?;
    let path = path.split(':').next()?;
    if path.starts_with('/') {
        return Some(path);
    }
    string(tree.root.child("aliases")?, path)
}

/// The port at the path of `name` and `components` from `bus` on. They may leave out the unit address.
fn at_path(
    bus: &Bus<'_>,
    name: &str,
    components: &mut dyn Iterator<Item = &str>,
) -> Result<Option<SerialPort>, ReadFdtError> {
    let Some(node) = bus.node_named(name).filter(|node| is_okay(node)) else {
        return Ok(None);
    };
    match components.next() {
        Some(next) => at_path(&bus.child(node), next, components),
        None => port(node, bus),
    }
}

/// `node` as a serial port; `None` if it is none of a known kind, or the CPU does not reach it.
fn port(node: &Node<'_>, bus: &Bus<'_>) -> Result<Option<SerialPort>, ReadFdtError> {
    let kind = if is_compatible(node, "arm,pl011") {
        SerialKind::Pl011
    } else if is_compatible(node, "ns16550a") || is_compatible(node, "ns16550") {
        SerialKind::Ns16550a {
            reg_shift: cell(node, "reg-shift")?.unwrap_or(0),
            reg_io_width: cell(node, "reg-io-width")?.unwrap_or(1),
        }
    } else {
        return Ok(None);
    };
    if let SerialKind::Ns16550a {
        reg_shift,
        reg_io_width,
    } = kind
    {
        if reg_shift > MAX_SHIFT {
            return Err(ReadFdtError::invalid(node, "reg-shift"));
        }
        // Accesses are aligned.
        if !matches!(reg_io_width, 1 | 2 | 4) || reg_io_width > 1 << reg_shift {
            return Err(ReadFdtError::invalid(node, "reg-io-width"));
        }
    }
    let offset = cell(node, "reg-offset")?.unwrap_or(0);
    let Some(reg) = bus.range(node)? else {
        return Ok(None);
    };
    let start = reg.start().checked_add(offset.into());
    let range = start.and_then(|start| GuestRange::from_bounds(start, reg.end()));
    let range = range.filter(|range| !range.is_empty() && range.start() % 4 == 0);
    let range = range.ok_or_else(|| ReadFdtError::invalid(node, "reg"))?;
    Ok(Some(SerialPort { kind, range }))
}
