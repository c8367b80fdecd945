//! Serialization of values of other crates, and checks of values that are read (feature `serde`).

use alloc::vec::Vec;
use core::fmt::Display;

use serde::{Deserialize, Serializer};

use crate::{GuestRange, MemoryMap, MemoryMapError, MemoryRegion};

/// Serializes a value as its text.
pub(crate) fn display<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// A range of guest physical addresses before it is checked.
#[derive(Deserialize)]
pub(crate) struct Bounds {
    start: u64,
    end: u64,
}

/// A range that ends before its start.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the range {start:#x}..{end:#x} ends before its start")]
pub(crate) struct Reversed {
    start: u64,
    end: u64,
}

impl TryFrom<Bounds> for GuestRange {
    type Error = Reversed;

    fn try_from(Bounds { start, end }: Bounds) -> Result<Self, Reversed> {
        Self::from_bounds(start, end).ok_or(Reversed { start, end })
    }
}

/// The regions of a memory map before they are checked.
#[derive(Deserialize)]
pub(crate) struct Regions {
    regions: Vec<MemoryRegion>,
}

impl TryFrom<Regions> for MemoryMap {
    type Error = MemoryMapError;

    fn try_from(Regions { regions }: Regions) -> Result<Self, MemoryMapError> {
        let mut map = Self::new();
        for region in regions {
            map.insert(region.range, region.kind)?;
        }
        Ok(map)
    }
}
