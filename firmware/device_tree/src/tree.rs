//! The device tree in memory.
#![expect(unsafe_code, reason = "memory by its physical address")]

use core::fmt;

use proto_fdt::device_tree::MAX_LEN;
use proto_fdt::raw::MAGIC;

/// No device tree is at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TreeError {
    /// The address is 0 or not a multiple of 8.
    Address(u64),
    /// The magic number is wrong.
    Magic {
        /// The address.
        addr: u64,
        /// The number found.
        found: u32,
    },
    /// The tree is longer than the boot protocols allow.
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
}

impl fmt::Display for TreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(addr) => write!(f, "no device tree can be at {addr:#x}: expected a multiple of 8"),
            Self::Magic { addr, found } => {
                write!(
                    f,
                    "no device tree at {addr:#x}: its first word is {found:#010x}, not {MAGIC:#010x}"
                )
            }
            Self::TooLong { len } => write!(
                f,
                "the device tree has {len:#x} bytes; at most {MAX_LEN:#x} are supported"
            ),
        }
    }
}

impl core::error::Error for TreeError {}

/// The bytes of the device tree at `addr`, as long as its header says.
///
/// # Errors
///
/// [`TreeError`] if there is none.
///
/// # Safety
///
/// `addr` is what the boot protocol names as the address of the device tree: it is mapped, with all bytes of a tree if there is one, and they
/// do not change for the life of the result.
pub(crate) unsafe fn tree_bytes<'t>(addr: u64) -> Result<&'t [u8], TreeError> {
    let start = usize::try_from(addr)
        .ok()
        .filter(|start| *start != 0 && start % 8 == 0);
    let start = start.ok_or(TreeError::Address(addr))?;
    let header = core::ptr::with_exposed_provenance::<[u8; 8]>(start);
    // SAFETY: the caller guarantees that the address is mapped; arrays of bytes have no alignment and no invalid values.
    let [a, b, c, d, len @ ..] = unsafe { header.read() };
    let found = u32::from_be_bytes([a, b, c, d]);
    if found != MAGIC {
        return Err(TreeError::Magic { addr, found });
    }
    let len = usize::try_from(u32::from_be_bytes(len)).unwrap_or(usize::MAX);
    if len > MAX_LEN {
        return Err(TreeError::TooLong { len });
    }
    // SAFETY: the caller guarantees that all of the tree is mapped and does not change.
    Ok(unsafe { core::slice::from_raw_parts(header.cast(), len) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(align(8))]
    struct Aligned([u8; 64]);

    #[test]
    fn only_trees_are_read() {
        let mut memory = Aligned([7; 64]);
        let addr = (&raw const memory).expose_provenance() as u64;
        // SAFETY: the memory outlives the result.
        let read = |addr| unsafe { tree_bytes(addr) }.map(<[u8]>::len);
        assert_eq!(read(0), Err(TreeError::Address(0)));
        assert_eq!(read(addr + 4), Err(TreeError::Address(addr + 4)));
        let found = 0x0707_0707;
        assert_eq!(read(addr), Err(TreeError::Magic { addr, found }));
        memory.0[..4].copy_from_slice(&MAGIC.to_be_bytes());
        assert_eq!(read(addr), Err(TreeError::TooLong { len: 0x0707_0707 }));
        memory.0[4..8].copy_from_slice(&64_u32.to_be_bytes());
        assert_eq!(read(addr), Ok(64));
    }
}
