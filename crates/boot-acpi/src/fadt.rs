//! The FADT.

use acpi_tables::fadt::{FADT, FADTBuilder, Flags, PmProfile};
use acpi_tables::gas::{AccessSize, AddressSpace, GAS};
use boot_core::Machine;
use boot_core::machine::PsciMethod;

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

/// Bits of `ARM_BOOT_ARCH` (ACPI 6.5, section 5.2.9.4).
mod arm_boot_arch {
    /// There is PSCI.
    pub(super) const PSCI_COMPLIANT: u16 = 1 << 0;
    /// PSCI is called by `hvc` rather than `smc`.
    pub(super) const PSCI_USE_HVC: u16 = 1 << 1;
}

/// The FADT with the DSDT at `dsdt` (ACPI 6.5, section 5.2.9): that of `pc`, or that of an arm64 or riscv64 machine without it.
pub(crate) fn fadt(machine: &Machine, pc: Option<&Pc>, dsdt: u64) -> FADT {
    let fadt = FADTBuilder::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION)
        .dsdt_64(dsdt)
        .preferred_pm_profile(PmProfile::EnterpriseServer)
        .flag(Flags::HwReducedAcpi);
    match pc {
        Some(pc) => of_pc(fadt, pc),
        None => of_platform(fadt, machine),
    }
    .finalize()
}

fn of_pc(mut fadt: FADTBuilder, pc: &Pc) -> FADTBuilder {
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
    fadt
}

/// PSCI turns an arm64 machine off and resets it, SBI a riscv64 one; so there are no registers.
fn of_platform(mut fadt: FADTBuilder, machine: &Machine) -> FADTBuilder {
    if let Some(psci) = machine.platform.psci {
        let conduit = match psci.method {
            PsciMethod::Hvc => arm_boot_arch::PSCI_USE_HVC,
            _ => 0,
        };
        fadt.arm_boot_arch = (arm_boot_arch::PSCI_COMPLIANT | conduit).into();
    }
    fadt
}

/// An I/O port of one byte.
fn byte_port(port: u16) -> GAS {
    GAS::new(AddressSpace::SystemIo, 8, 0, AccessSize::ByteAccess, port.into())
}
