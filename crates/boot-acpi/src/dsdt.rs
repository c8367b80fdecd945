//! The DSDT.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use acpi_tables::Aml;
use acpi_tables::aml::{
    Device, EISAName, IO, Interrupt, Memory32Fixed, Name, Package, Path, ResourceTemplate,
};
use acpi_tables::sdt::Sdt;
use boot_core::machine::{Line, Trigger, VirtioMmio};

use crate::error::AcpiError;
use crate::oem::{HEADER_LEN, OEM_ID, OEM_REVISION, OEM_TABLE_ID, bytes};
use crate::pc::{Pc, SERIAL_PORTS, SerialPort};

/// Revision of the DSDT: integers have 64 bits.
const REVISION: u8 = 2;

/// Names have three hexadecimal digits.
const MAX_SLOTS: usize = 0x1000;

/// The sleep type that turns the machine off.
const POWER_OFF: u8 = 5;

/// The DSDT of `pc` with these virtio-mmio slots (ACPI 6.5, section 5.2.11.1).
pub(crate) fn dsdt(pc: &Pc, virtio_mmio: &[VirtioMmio]) -> Result<Vec<u8>, AcpiError> {
    if virtio_mmio.len() > MAX_SLOTS {
        return Err(AcpiError::TooManySlots {
            found: virtio_mmio.len(),
            max: MAX_SLOTS,
        });
    }
    let mut code = Vec::new();
    if pc.sleep_control.is_some() {
        // The second value is that of a second register, which hardware-reduced ACPI does not have.
        let s5 = Package::new(vec![&POWER_OFF, &0_u8, &0_u8, &0_u8]);
        code.extend(bytes(&Name::new("_S5_".into(), &s5)));
    }
    if let Some(port) = pc.serial {
        code.extend(serial(port));
    }
    for (number, slot) in (0_u16..).zip(virtio_mmio) {
        code.extend(virtio(number, slot)?);
    }
    let mut dsdt = Sdt::new(*b"DSDT", HEADER_LEN, REVISION, OEM_ID, OEM_TABLE_ID, OEM_REVISION);
    dsdt.append_slice(&code);
    Ok(dsdt.as_slice().to_vec())
}

/// A serial port of a PC.
fn serial(port: SerialPort) -> Vec<u8> {
    let registers = IO::new(port.port, port.port, 1, SERIAL_PORTS);
    let interrupt = Interrupt::new(true, true, false, false, port.gsi);
    device(
        "_SB_.COM1",
        &EISAName::new("PNP0501"),
        1,
        &[&registers, &interrupt],
    )
}

/// A virtio-mmio slot, by the identifier that Linux (`drivers/virtio/virtio_mmio.c`), the BSDs and other guests look for.
fn virtio(number: u16, slot: &VirtioMmio) -> Result<Vec<u8>, AcpiError> {
    let gsi = match slot.interrupt.line {
        Line::Gsi(gsi) => gsi,
        line => {
            return Err(AcpiError::Interrupt {
                slot: slot.range,
                line,
            });
        }
    };
    let (Ok(start), Ok(len), Ok(_)) = (
        u32::try_from(slot.range.start()),
        u32::try_from(slot.range.len()),
        u32::try_from(slot.range.end().saturating_sub(1)),
    ) else {
        return Err(AcpiError::SlotAddress { slot: slot.range });
    };
    let registers = Memory32Fixed::new(true, start, len);
    let is_edge = slot.interrupt.trigger == Trigger::EdgeRising;
    let interrupt = Interrupt::new(true, is_edge, false, false, gsi);
    let path = format!("_SB_.V{number:03X}");
    Ok(device(&path, &"LNRO0005", number, &[&registers, &interrupt]))
}

/// A device with these resources.
fn device(path: &str, hid: &dyn Aml, uid: u16, resources: &[&dyn Aml]) -> Vec<u8> {
    let hid = Name::new("_HID".into(), hid);
    let uid = Name::new("_UID".into(), &uid);
    let crs = Name::new("_CRS".into(), &ResourceTemplate::new(resources.to_vec()));
    bytes(&Device::new(Path::new(path), vec![&hid, &uid, &crs]))
}
