//! The list of `setup_data` nodes (boot.rst, "setup_data").

use alloc::vec::Vec;

use boot_core::{PlanError, arith};
use boot_linux::x86::{SETUP_RNG_SEED, SetupData};
use zerocopy::IntoBytes;

use crate::error::NAME;

/// Distance between two nodes in bytes. A node fits one page: early kernel code maps nodes through a small window.
const NODE_STRIDE: u64 = 0x1000;

/// Largest data of one node in bytes.
pub(crate) const MAX_DATA: usize = 0x1000 - size_of::<SetupData>();

/// A linked list of nodes, each in a page of its own.
#[derive(Debug, Default)]
pub(crate) struct SetupDataList<'a> {
    /// Type and data of each node; the data has at most [`MAX_DATA`] bytes.
    nodes: Vec<(u32, &'a [u8])>,
}

impl<'a> SetupDataList<'a> {
    /// Appends a node of type `kind`; `data` has at most [`MAX_DATA`] bytes.
    pub(crate) fn push(&mut self, kind: u32, data: &'a [u8]) {
        self.nodes.push((kind, data));
    }

    /// Appends a node with random bytes for the kernel's entropy pool.
    pub(crate) fn push_rng_seed(&mut self, seed: &'a [u8]) -> Result<(), PlanError> {
        if seed.len() > MAX_DATA {
            return Err(PlanError::TooLarge {
                protocol: NAME,
                what: "the length of the random seed",
                found: arith::to_u64(seed.len()),
                max: arith::to_u64(MAX_DATA),
            });
        }
        self.push(SETUP_RNG_SEED, seed);
        Ok(())
    }

    /// Size of all nodes in bytes; zero without nodes.
    pub(crate) fn len(&self) -> u64 {
        arith::to_u64(self.nodes.len()).saturating_mul(NODE_STRIDE)
    }

    /// The nodes at `addr`.
    pub(crate) fn build(&self, addr: u64) -> Vec<u8> {
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
