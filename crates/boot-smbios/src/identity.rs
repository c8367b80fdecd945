//! The identity of a machine.

use alloc::borrow::Cow;

/// A string of the caller. It must not be empty or have control characters.
type Text = Option<Cow<'static, str>>;

/// What the tables tell about a machine. `None` is a string that is not specified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Identity {
    /// Vendor of the firmware (SMBIOS 3.7, section 7.1).
    pub bios_vendor: Text,
    /// Version of the firmware.
    pub bios_version: Text,
    /// Date of the firmware, as in 12/31/2025.
    pub bios_release_date: Text,
    /// Manufacturer of the machine (SMBIOS 3.7, section 7.2).
    pub manufacturer: Text,
    /// Name of the machine.
    pub product_name: Text,
    /// Version of the machine.
    pub version: Text,
    /// Serial number of the machine.
    pub serial_number: Text,
    /// UUID of the machine, in the order of its text; `None` if it has none.
    pub uuid: Option<[u8; 16]>,
    /// Stock keeping unit of the machine.
    pub sku_number: Text,
    /// Family of the machine.
    pub family: Text,
    /// Manufacturer of the enclosure (SMBIOS 3.7, section 7.4).
    pub chassis_manufacturer: Text,
    /// Version of the enclosure.
    pub chassis_version: Text,
    /// Serial number of the enclosure.
    pub chassis_serial_number: Text,
    /// Asset tag of the enclosure.
    pub chassis_asset_tag: Text,
}
