//! Why a placement fails.

use core::fmt;

use crate::{ByteCount, Constraints, GuestRange, MemoryMap, MemoryRegion, RegionKind};

/// Why something cannot be placed in guest memory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlacementError {
    /// Not all of a fixed range is RAM.
    NotRam {
        /// Label of what is placed.
        label: &'static str,
        /// The fixed range.
        range: GuestRange,
        /// The first part that is not RAM.
        obstacle: Obstacle,
    },
    /// A fixed range overlaps one that is taken.
    Taken {
        /// Label of what is placed.
        label: &'static str,
        /// The fixed range.
        range: GuestRange,
        /// Label of the taken range.
        by: &'static str,
        /// The taken range.
        at: GuestRange,
    },
    /// A fixed range ends above the limit of its protocol.
    TooHigh {
        /// Label of what is placed.
        label: &'static str,
        /// The fixed range.
        range: GuestRange,
        /// The limit: exclusive.
        max: u64,
    },
    /// A range that the request fixes does not meet the constraints of its protocol.
    NotAllowed {
        /// Label of what is placed.
        label: &'static str,
        /// The fixed range.
        range: GuestRange,
        /// The constraints.
        constraints: Constraints,
    },
    /// The request fixes the address of an image that cannot be moved.
    NotRelocatable {
        /// Label of what is placed.
        label: &'static str,
        /// The fixed address.
        addr: u64,
        /// The only address where it runs.
        link: u64,
    },
    /// An additional load is in a region of another kind.
    WrongRegion {
        /// Label of the load.
        label: &'static str,
        /// Its range.
        range: GuestRange,
        /// The kind of region that it needs.
        kind: RegionKind,
    },
    /// No free range meets the constraints.
    NoRoom {
        /// Label of what is placed.
        label: &'static str,
        /// Its length in bytes.
        len: u64,
        /// The constraints.
        constraints: Constraints,
        /// Length in bytes of the largest free range of RAM between the limits of the constraints.
        largest_free: u64,
    },
    /// An allocation of no bytes, or with [invalid](Constraints::is_valid) constraints.
    InvalidRequest {
        /// Label of what is placed.
        label: &'static str,
        /// Its length in bytes.
        len: u64,
        /// The constraints.
        constraints: Constraints,
    },
}

impl PlacementError {
    /// Label of what cannot be placed.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::NotRam { label, .. }
            | Self::Taken { label, .. }
            | Self::TooHigh { label, .. }
            | Self::NotAllowed { label, .. }
            | Self::NotRelocatable { label, .. }
            | Self::WrongRegion { label, .. }
            | Self::NoRoom { label, .. }
            | Self::InvalidRequest { label, .. } => label,
        }
    }
}

impl fmt::Display for PlacementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRam {
                label,
                range,
                obstacle,
            } => write!(f, "the {label} must be at {range}, but {obstacle}"),
            Self::Taken { label, range, by, at } => {
                write!(f, "the {label} must be at {range}, but the {by} is at {at}")
            }
            Self::TooHigh { label, range, max } => {
                write!(
                    f,
                    "the {label} must be at {range}, but it can only be started below {max:#x}"
                )
            }
            Self::NotAllowed {
                label,
                range,
                constraints,
            } => write!(f, "the {label} cannot be at {range}: it must be {constraints}"),
            Self::NotRelocatable { label, addr, link } => write!(
                f,
                "the {label} cannot be at {addr:#x}: it is not relocatable and runs at {link:#x} only"
            ),
            Self::WrongRegion { label, range, kind } => write!(
                f,
                "the {label} at {range} is neither in RAM nor in a region of kind {kind} of the machine's memory map"
            ),
            Self::NoRoom {
                label,
                len,
                constraints,
                largest_free,
            } => {
                write!(
                    f,
                    "no free RAM for the {label}: it needs {} {constraints}; ",
                    ByteCount(*len)
                )?;
                match largest_free {
                    0 => f.write_str("no RAM is free there"),
                    free if free >= len => f.write_str("no free range there has the alignment"),
                    free => write!(f, "the largest free range there has {}", ByteCount(*free)),
                }
            }
            Self::InvalidRequest {
                label,
                len,
                constraints,
            } => write!(
                f,
                "invalid request of {len:#x} bytes for the {label}: alignment {:#x}, remainder {:#x}; the length must \
                 not be zero and the alignment a power of two above the remainder",
                constraints.align, constraints.align_offset
            ),
        }
    }
}

impl core::error::Error for PlacementError {}

/// Part of a range that is not RAM. `Display` is a clause: "the range … is reserved".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Obstacle {
    /// A region of the memory map of another kind. More RAM elsewhere does not help.
    Region(MemoryRegion),
    /// The memory map has no region at these addresses.
    NoMemory(GuestRange),
}

impl Obstacle {
    /// The first part of `range` that is not RAM in `map`.
    pub(super) fn first(map: &MemoryMap, range: GuestRange) -> Self {
        let mut start = range.start();
        for region in map.regions() {
            if region.range.end() <= start {
                continue;
            }
            if region.range.start() > start {
                let end = region.range.start().min(range.end());
                return Self::NoMemory(GuestRange::from_bounds(start, end).unwrap_or(range));
            }
            if region.kind != RegionKind::Ram {
                return Self::Region(*region);
            }
            start = region.range.end();
        }
        Self::NoMemory(GuestRange::from_bounds(start, range.end()).unwrap_or(range))
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Region(MemoryRegion { range, kind }) => {
                write!(f, "the range {range} of the memory map is {kind}")
            }
            Self::NoMemory(range) => write!(f, "the machine has no memory at {range}"),
        }
    }
}
