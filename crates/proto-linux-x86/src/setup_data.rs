//! The list of `setup_data` nodes (boot.rst, "setup_data").

use alloc::vec::Vec;

use boot_core::{PlanError, arith};
use boot_linux::x86::{SETUP_RNG_SEED, SetupData};
use zerocopy::IntoBytes;

use crate::error::{LinuxX86Error, NAME};

/// Distance between two nodes in bytes. A node fits one page: early kernel code maps nodes through a small window.
const NODE_STRIDE: u64 = 0x1000;

/// Largest data of one node in bytes.
pub const MAX_DATA: usize = 0x1000 - size_of::<SetupData>();

/// A linked list of nodes, each in a page of its own.
#[derive(Clone, Debug, Default)]
pub struct SetupDataList<'a> {
    /// Type and data of each node; the data has at most [`MAX_DATA`] bytes.
    nodes: Vec<(u32, &'a [u8])>,
}

impl<'a> SetupDataList<'a> {
    /// A list without nodes.
    #[must_use]
    pub const fn new() -> Self {
        Self { nodes: Vec::new() }
    }

    /// Appends a node of type `kind` (`SETUP_*`).
    ///
    /// # Errors
    ///
    /// [`LinuxX86Error::SetupDataTooLong`] for more than [`MAX_DATA`] bytes.
    pub fn push(&mut self, kind: u32, data: &'a [u8]) -> Result<(), LinuxX86Error> {
        if data.len() > MAX_DATA {
            return Err(LinuxX86Error::SetupDataTooLong {
                kind,
                len: data.len(),
                max: MAX_DATA,
            });
        }
        self.push_short(kind, data);
        Ok(())
    }

    /// [`push`](Self::push) for data of at most [`MAX_DATA`] bytes.
    pub(crate) fn push_short(&mut self, kind: u32, data: &'a [u8]) {
        self.nodes.push((kind, data));
    }

    /// Appends a node with random bytes for the kernel's entropy pool.
    ///
    /// # Errors
    ///
    /// [`PlanError::TooLarge`] for more than [`MAX_DATA`] bytes.
    pub fn push_rng_seed(&mut self, seed: &'a [u8]) -> Result<(), PlanError> {
        if seed.len() > MAX_DATA {
            return Err(PlanError::TooLarge {
                protocol: NAME,
                what: "the length of the random seed",
                found: arith::to_u64(seed.len()),
                max: arith::to_u64(MAX_DATA),
            });
        }
        self.push_short(SETUP_RNG_SEED, seed);
        Ok(())
    }

    /// Size of all nodes in bytes; zero without nodes.
    #[must_use]
    pub fn size(&self) -> u64 {
        arith::to_u64(self.nodes.len()).saturating_mul(NODE_STRIDE)
    }

    /// The nodes, to be loaded at `addr`, a multiple of 4 KiB. The field `setup_data` of the setup header is `addr` then.
    #[must_use]
    pub fn build(&self, addr: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (i, (kind, data)) in self.nodes.iter().enumerate() {
            let number = i.saturating_add(1);
            let end = arith::to_u64(number).saturating_mul(NODE_STRIDE);
            let next = if number < self.nodes.len() {
                addr.saturating_add(end)
            } else {
                0
            };
            let head = SetupData {
                next: next.into(),
                kind: (*kind).into(),
                // The data has at most one page.
                len: u32::try_from(data.len()).unwrap_or_default().into(),
            };
            bytes.extend_from_slice(head.as_bytes());
            bytes.extend_from_slice(data);
            bytes.resize(usize::try_from(end).unwrap_or_default(), 0);
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn nodes_are_chained_and_fit_one_page_each() {
        let mut list = SetupDataList::new();
        assert_eq!((list.size(), list.build(0x5000)), (0, Vec::new()));
        list.push(7, b"data").unwrap();
        list.push(8, &[1; MAX_DATA]).unwrap();
        assert_eq!(list.size(), 0x2000);
        let bytes = list.build(0x5000);
        assert_eq!(bytes.len(), 0x2000);
        assert_eq!(bytes[..16], [0, 0x60, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 4, 0, 0, 0]);
        assert_eq!(bytes[16..20], *b"data");
        assert_eq!(
            bytes[0x1000..0x1010],
            [0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0xf0, 0x0f, 0, 0]
        );
        assert_eq!(bytes[0x1fff], 1);
        assert_eq!(
            list.push(9, &[0; MAX_DATA + 1]).unwrap_err().to_string(),
            "a setup_data node of type 9 with 4081 bytes, but a node has at most 4080"
        );
        assert_eq!(list.size(), 0x2000);
    }
}
