//! Variables of the boot manager, UEFI 2.10 chapter 3.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use bitflags::bitflags;

use super::attributes::VariableAttributes;
use super::store::{Variables, name};
use crate::Result as ServiceResult;
use crate::device_path::{DevicePath, Malformed};
use crate::guids::GLOBAL_VARIABLE;

bitflags! {
    /// Attributes of a load option, `LOAD_OPTION_*`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct LoadOptionAttributes: u32 {
        /// The boot manager tries the option.
        const ACTIVE = 0x1;
        /// Drivers are connected again after the driver of the option.
        const FORCE_RECONNECT = 0x2;
        /// The option is not shown in menus.
        const HIDDEN = 0x8;
        /// Mask of the category; 0 is boot, 0x100 is application.
        const CATEGORY = 0x1f00;
        const _ = !0;
    }
}

bitflags! {
    /// Bits of `OsIndications` and `OsIndicationsSupported`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct OsIndications: u64 {
        /// Stop in the firmware's user interface at the next boot.
        const BOOT_TO_FW_UI = 0x1;
        const _ = !0;
    }
}

/// Bytes that are no load option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoadOptionError {
    /// The option ends before this part.
    Truncated(&'static str),
    /// The device paths are malformed; the offset is in the list of device paths.
    DevicePath(Malformed),
}

impl fmt::Display for LoadOptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated(part) => write!(f, "the load option ends before its {part}"),
            Self::DevicePath(_) => write!(f, "the device path of the load option is malformed"),
        }
    }
}

impl core::error::Error for LoadOptionError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::DevicePath(error) => Some(error),
            Self::Truncated(_) => None,
        }
    }
}

/// A load option, `EFI_LOAD_OPTION`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadOption<'a> {
    /// Attributes.
    pub attributes: LoadOptionAttributes,
    /// Text for users.
    pub description: String,
    /// The first device path: what to start.
    pub path: DevicePath<'a>,
    /// Data for the started image.
    pub optional_data: &'a [u8],
}

impl<'a> LoadOption<'a> {
    /// Reads a load option. Device paths after the first one are skipped.
    ///
    /// # Errors
    ///
    /// [`LoadOptionError`] if the bytes are no load option.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, LoadOptionError> {
        let truncated = LoadOptionError::Truncated;
        let (attributes, rest) = bytes.split_first_chunk().ok_or(truncated("attributes"))?;
        let (len, rest) = rest
            .split_first_chunk()
            .ok_or(truncated("length of device paths"))?;
        let units = rest.chunks_exact(2).map(|unit| match unit {
            [low, high] => u16::from_le_bytes([*low, *high]),
            _ => 0,
        });
        let text: Vec<u16> = units.clone().take_while(|unit| *unit != 0).collect();
        let end = text.len().saturating_add(1).saturating_mul(2);
        let rest = rest.get(end..).ok_or(truncated("end of the description"))?;
        let len = usize::from(u16::from_le_bytes(*len));
        let (paths, optional_data) = rest
            .split_at_checked(len)
            .ok_or(truncated("end of device paths"))?;
        Ok(Self {
            attributes: LoadOptionAttributes::from_bits_retain(u32::from_le_bytes(*attributes)),
            description: String::from_utf16_lossy(&text),
            path: DevicePath::parse(paths).map_err(LoadOptionError::DevicePath)?,
            optional_data,
        })
    }

    /// The bytes of the option.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let path = self.path.as_bytes();
        // A device path is at most 16 KiB long.
        let len = u16::try_from(path.len()).unwrap_or(u16::MAX);
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&self.attributes.bits().to_le_bytes());
        bytes.extend_from_slice(&len.to_le_bytes());
        let units = self
            .description
            .encode_utf16()
            .filter(|unit| *unit != 0)
            .chain([0]);
        bytes.extend(units.flat_map(u16::to_le_bytes));
        bytes.extend_from_slice(path);
        bytes.extend_from_slice(self.optional_data);
        bytes
    }
}

/// Name of the load option with this number, `Boot####`.
#[must_use]
pub fn option_name(number: u16) -> Vec<u16> {
    name(&format!("Boot{number:04X}"))
}

/// The number in the first bytes of the data.
fn number<const LEN: usize>(data: &[u8]) -> Option<[u8; LEN]> {
    data.first_chunk().copied()
}

impl<const N: usize> Variables<N> {
    /// Data of a variable of the specification; empty if it does not exist.
    #[must_use]
    pub fn global(&self, text: &str) -> &[u8] {
        self.get(&name(text), GLOBAL_VARIABLE)
            .map_or(&[], |entry| entry.data)
    }

    /// Sets the variables that describe the firmware: no Secure Boot (`SecureBoot` 0, `SetupMode` 1), the supported
    /// indications and the language.
    ///
    /// # Errors
    ///
    /// `OUT_OF_RESOURCES` if the store is full.
    pub fn set_firmware_variables(&mut self, indications: OsIndications) -> ServiceResult<()> {
        let volatile = VariableAttributes::BOOT_RUNTIME.bits();
        let indications = indications.bits().to_le_bytes();
        let read_only: [(&str, &[u8]); 4] = [
            ("SecureBoot", &[0]),
            ("SetupMode", &[1]),
            ("OsIndicationsSupported", &indications),
            ("PlatformLangCodes", b"en\0"),
        ];
        for (text, data) in read_only {
            self.set_by_firmware(&name(text), GLOBAL_VARIABLE, volatile, data)?;
        }
        if self.global("PlatformLang").is_empty() {
            let attributes = VariableAttributes::NV_BOOT_RUNTIME.bits();
            self.set(&name("PlatformLang"), GLOBAL_VARIABLE, attributes, b"en\0")?;
        }
        Ok(())
    }

    /// `BootOrder`: the numbers of load options, without repetitions.
    #[must_use]
    pub fn boot_order(&self) -> Vec<u16> {
        let mut order = Vec::new();
        for unit in self.global("BootOrder").chunks_exact(2) {
            let option = number(unit).map_or(0, u16::from_le_bytes);
            if !order.contains(&option) {
                order.push(option);
            }
        }
        order
    }

    /// The load option with this number, or `None` if the variable does not exist.
    ///
    /// # Errors
    ///
    /// [`LoadOptionError`] if the variable is no load option.
    pub fn load_option(&self, number: u16) -> Result<Option<LoadOption<'_>>, LoadOptionError> {
        match self.get(&option_name(number), GLOBAL_VARIABLE) {
            Ok(entry) => LoadOption::parse(entry.data).map(Some),
            Err(_) => Ok(None),
        }
    }

    /// `BootNext`, which is deleted: it is used once, before anything is started.
    pub fn take_boot_next(&mut self) -> Option<u16> {
        let next = number(self.global("BootNext")).map(u16::from_le_bytes);
        // An error means that there is no such variable.
        let _ = self.set_by_firmware(&name("BootNext"), GLOBAL_VARIABLE, 0, &[]);
        next
    }

    /// Sets `BootCurrent`.
    ///
    /// # Errors
    ///
    /// `OUT_OF_RESOURCES` if the store is full.
    pub fn set_boot_current(&mut self, number: u16) -> ServiceResult<()> {
        let attributes = VariableAttributes::BOOT_RUNTIME.bits();
        self.set_by_firmware(
            &name("BootCurrent"),
            GLOBAL_VARIABLE,
            attributes,
            &number.to_le_bytes(),
        )
    }

    /// `OsIndications`; empty if the variable does not exist.
    #[must_use]
    pub fn os_indications(&self) -> OsIndications {
        let bits = number(self.global("OsIndications")).map_or(0, u64::from_le_bytes);
        OsIndications::from_bits_retain(bits)
    }
}
