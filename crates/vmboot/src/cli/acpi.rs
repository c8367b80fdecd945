//! ACPI tables of machines.

use boot_acpi::{AcpiError, AcpiTables, Pc};
use boot_core::{Arch, BootProtocol, KernelImage, Machine, RequestPart};

use super::machine::MachineArgs;

/// The ACPI tables of `machine`, whose RSDP address is set: for a PC whose protocol hands them over, if the user neither has tables nor wants none; for
/// another machine if the user wants them.
pub(crate) fn describe(
    options: &MachineArgs,
    machine: &mut Machine,
    protocol: &dyn BootProtocol,
    image: &KernelImage,
) -> Result<Option<AcpiTables>, AcpiError> {
    let is_wanted = match machine.arch {
        Arch::X86_64 => !options.no_acpi,
        _ => options.acpi,
    };
    if !is_wanted || machine.acpi_rsdp.is_some() || !protocol.hands_over(RequestPart::AcpiRsdp, image) {
        return Ok(None);
    }
    // The devices are those of `hv_core::DeviceLayout::pc`.
    let tables = AcpiTables::at_end_of_ram(machine, &Pc::default())?;
    machine.acpi_rsdp = Some(tables.rsdp());
    Ok(Some(tables))
}

#[cfg(test)]
mod tests {
    use boot_acpi::{ResetPort, SerialPort};
    use hv_core::{DeviceLayout, I8042, Serial, SleepControl};

    use super::*;

    #[test]
    fn the_tables_describe_the_devices_of_the_harness() {
        let (pc, layout) = (Pc::default(), DeviceLayout::pc());
        assert_eq!(pc.sleep_control, layout.sleep_control);
        assert_eq!(pc.reset.map(|reset: ResetPort| reset.port), Some(I8042::PORT));
        let port = layout.serial.unwrap();
        let serial = SerialPort::new(port.base.try_into().unwrap(), port.line.unwrap());
        assert_eq!((pc.serial, serial.gsi), (Some(serial), Serial::COM1_IRQ));
        assert_eq!(pc.has_cmos_rtc, layout.rtc.is_some());
        assert_eq!(SleepControl::POWER_OFF, 5);
        assert_eq!(u64::from(pc.io_apic), hv_kvm_x86::layout::IO_APIC);
        assert_eq!(u64::from(pc.local_apic), hv_kvm_x86::layout::LOCAL_APIC);
    }
}
