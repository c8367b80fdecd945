//! The FADT.

use acpi_tables::fadt::{FADT, FADTBuilder, Flags, PmProfile};
use acpi_tables::gas::{AccessSize, AddressSpace, GAS};

use crate::oem::{OEM_ID, OEM_REVISION, OEM_TABLE_ID};
use crate::pc::Pc;

/// Bits of `IAPC_BOOT_ARCH` (ACPI 6.5, section 5.2.9.3).
mod boot_arch {
    /// There is a keyboard controller.
    pub(super) const KEYBOARD_CONTROLLER: u16 = 1 << 1;
    /// There is no VGA hardware.
    pub(super) const VGA_NOT_PRESENT: u16 = 1 << 2;
    /// There is no real-time clock in the CMOS RAM.
    pub(super) const CMOS_RTC_NOT_PRESENT: u16 = 1 << 5;
}

/// The FADT of `pc` with the DSDT at `dsdt` (ACPI 6.5, section 5.2.9).
pub(crate) fn fadt(pc: &Pc, dsdt: u64) -> FADT {
    let mut fadt = FADTBuilder::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION)
        .dsdt_64(dsdt)
        .preferred_pm_profile(PmProfile::EnterpriseServer)
        .flag(Flags::HwReducedAcpi);
    if let Some(port) = pc.sleep_control {
        fadt.sleep_control_reg = byte_port(port);
        fadt.sleep_status_reg = byte_port(port.saturating_add(1));
    }
    if let Some(reset) = pc.reset {
        fadt = fadt.flag(Flags::ResetRegSup);
        fadt.reset_reg = byte_port(reset.port);
        fadt.reset_value = reset.value;
    }
    let mut boot_arch = boot_arch::VGA_NOT_PRESENT;
    if pc.has_keyboard_controller {
        boot_arch |= boot_arch::KEYBOARD_CONTROLLER;
    }
    if !pc.has_cmos_rtc {
        boot_arch |= boot_arch::CMOS_RTC_NOT_PRESENT;
    }
    fadt.iapc_boot_arch = boot_arch.into();
    fadt.finalize()
}

/// An I/O port of one byte.
fn byte_port(port: u16) -> GAS {
    GAS::new(AddressSpace::SystemIo, 8, 0, AccessSize::ByteAccess, port.into())
}
