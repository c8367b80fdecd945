//! Attributes of variables and their rules.

use bitflags::bitflags;

use crate::{Result, Status};

bitflags! {
    /// `EFI_VARIABLE_*`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct VariableAttributes: u32 {
        /// Kept over resets, as far as the platform stores the file of variables.
        const NON_VOLATILE = 0x1;
        /// Accessible before `ExitBootServices`; every variable is.
        const BOOT_SERVICE_ACCESS = 0x2;
        /// Accessible after `ExitBootServices`.
        const RUNTIME_ACCESS = 0x4;
        /// Hardware error record.
        const HARDWARE_ERROR_RECORD = 0x8;
        /// Deprecated kind of authentication.
        const AUTHENTICATED_WRITE_ACCESS = 0x10;
        /// Authentication by time.
        const TIME_BASED_AUTHENTICATED_WRITE_ACCESS = 0x20;
        /// The data is appended.
        const APPEND_WRITE = 0x40;
        /// Enhanced authentication.
        const ENHANCED_AUTHENTICATED_ACCESS = 0x80;
    }
}

impl VariableAttributes {
    /// Volatile, not at runtime.
    pub const BOOT: Self = Self::BOOT_SERVICE_ACCESS;
    /// Volatile, readable at runtime.
    pub const BOOT_RUNTIME: Self = Self::BOOT_SERVICE_ACCESS.union(Self::RUNTIME_ACCESS);
    /// Non-volatile, writable at runtime.
    pub const NV_BOOT_RUNTIME: Self = Self::BOOT_RUNTIME.union(Self::NON_VOLATILE);
    /// Attributes that are stored with a variable.
    pub const STORED: Self = Self::NV_BOOT_RUNTIME;

    /// Checks a combination of attributes, as `SetVariable` and `QueryVariableInfo` do.
    ///
    /// # Errors
    ///
    /// `UNSUPPORTED` for authenticated variables: there are no keys to check them with; `INVALID_PARAMETER` for unknown bits,
    /// hardware error records, and access at runtime only.
    pub fn from_number(number: u32) -> Result<Self> {
        let attributes = Self::from_bits(number).ok_or(Status::INVALID_PARAMETER)?;
        let authenticated = Self::AUTHENTICATED_WRITE_ACCESS
            | Self::TIME_BASED_AUTHENTICATED_WRITE_ACCESS
            | Self::ENHANCED_AUTHENTICATED_ACCESS;
        if attributes.intersects(authenticated) {
            return Err(Status::UNSUPPORTED);
        }
        let only_runtime =
            attributes.contains(Self::RUNTIME_ACCESS) && !attributes.contains(Self::BOOT_SERVICE_ACCESS);
        if only_runtime || attributes.contains(Self::HARDWARE_ERROR_RECORD) {
            return Err(Status::INVALID_PARAMETER);
        }
        Ok(attributes)
    }
}
