//! Devices.

use alloc::string::String;
use alloc::vec::Vec;

/// A device with the values that it has without running its methods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Device {
    /// Path, such as `\_SB_.VR00`.
    pub path: String,
    /// Hardware identification (`_HID`), such as `LNRO0005` or `PNP0501`.
    pub hardware_id: Option<String>,
    /// Identification among devices of the same kind (`_UID`).
    pub unique_id: Option<u64>,
    /// Status (`_STA`, section 6.3.7); bit 0: present.
    pub status: Option<u64>,
    /// Memory of `_CRS`.
    pub memory: Vec<MemoryRange>,
    /// Interrupts of `_CRS`: global numbers.
    pub interrupts: Vec<u32>,
    /// I/O ports of `_CRS`: first port and number.
    pub ports: Vec<(u16, u8)>,
}

/// Physical addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemoryRange {
    /// First address.
    pub addr: u64,
    /// Length in bytes.
    pub len: u64,
}

impl Device {
    /// Whether the device is present: it is, unless it has a status that tells otherwise.
    #[must_use]
    pub fn is_present(&self) -> bool {
        self.status.is_none_or(|status| status & 1 != 0)
    }
}
