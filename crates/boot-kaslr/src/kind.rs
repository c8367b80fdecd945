//! Kinds of relocations.

use core::fmt;

/// Kind of the places of one list of a relocation table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// 64 bits, to which the offset is added.
    Absolute64,
    /// 32 bits, from which the offset is subtracted: distances from the kernel to per-CPU variables, which are linked at address 0. Kernels since
    /// Linux 6.15 have none.
    Inverse32,
    /// 32 bits, to which the offset is added.
    Absolute32,
}

impl Kind {
    /// Its width in bytes.
    pub(crate) const fn width(self) -> usize {
        match self {
            Self::Absolute64 => 8,
            Self::Inverse32 | Self::Absolute32 => 4,
        }
    }

    /// Moves the place `bytes`, which has its width.
    pub(crate) fn relocate(self, bytes: &mut [u8], offset: u64) {
        // Below 1 GiB, so the conversion loses nothing.
        let narrow = u32::try_from(offset).unwrap_or_default();
        match (self, bytes.len()) {
            (Self::Absolute64, 8) => change(bytes, |place| {
                u64::from_le_bytes(place).wrapping_add(offset).to_le_bytes()
            }),
            (Self::Inverse32, 4) => change(bytes, |place| {
                u32::from_le_bytes(place).wrapping_sub(narrow).to_le_bytes()
            }),
            (Self::Absolute32, 4) => change(bytes, |place| {
                u32::from_le_bytes(place).wrapping_add(narrow).to_le_bytes()
            }),
            _ => {}
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Absolute64 => "64-bit",
            Self::Inverse32 => "inverse 32-bit",
            Self::Absolute32 => "32-bit",
        })
    }
}

/// Replaces `N` bytes by what `to` makes of them.
fn change<const N: usize>(bytes: &mut [u8], to: impl FnOnce([u8; N]) -> [u8; N]) {
    if let Ok(place) = <&mut [u8; N]>::try_from(bytes) {
        *place = to(*place);
    }
}
