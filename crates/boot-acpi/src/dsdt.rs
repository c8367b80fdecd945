//! The DSDT.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use acpi_tables::Aml;
use acpi_tables::aml::{Device, EISAName, IO, Interrupt, Name, Package, Path, Uuid};
use boot_core::machine::{InterruptController, Serial, SerialKind, VirtioMmio};
use boot_core::{Arch, Machine};

use crate::error::AcpiError;
use crate::gsi::{Gsi, RISCV_GSI_BASE};
use crate::oem::{bytes, table};
use crate::pc::{Pc, SERIAL_PORTS, SerialPort};
use crate::pci;
use crate::resources::{Registers, Resources};

/// Revision of the DSDT: integers have 64 bits.
const REVISION: u8 = 2;

/// Names have three hexadecimal digits.
pub(crate) const MAX_NAMES: usize = 0x1000;

/// The sleep type that turns the machine off.
const POWER_OFF: u8 = 5;

/// Device properties in a `_DSD` (UEFI Forum, "Device Properties UUID For _DSD").
const DEVICE_PROPERTIES: &str = "daffd814-6eba-4d8c-8a91-bc9bbf4aa301";

/// The DSDT of `machine` (ACPI 6.5, section 5.2.11.1): that of `pc`, or that of an arm64 or riscv64 machine without it.
pub(crate) fn dsdt(machine: &Machine, pc: Option<&Pc>) -> Result<Vec<u8>, AcpiError> {
    let slots = &machine.platform.virtio_mmio;
    if slots.len() > MAX_NAMES {
        return Err(AcpiError::TooManySlots {
            found: slots.len(),
            max: MAX_NAMES,
        });
    }
    let mut code = Vec::new();
    if let Some(pc) = pc {
        if pc.sleep_control.is_some() {
            // The second value is that of a second register, which hardware-reduced ACPI does not have.
            let s5 = Package::new(vec![&POWER_OFF, &0_u8, &0_u8, &0_u8]);
            code.extend(bytes(&Name::new("_S5_".into(), &s5)));
        }
        if let Some(port) = pc.serial {
            code.extend(serial_of_pc(port));
        }
    } else {
        code.extend(controller(&machine.platform.interrupt_controller)?);
        for (number, port) in (0_u16..).zip(&machine.platform.serial) {
            code.extend(serial(machine, number, port)?);
        }
        if let Some(host) = &machine.platform.pci {
            code.extend(pci::devices(machine, host)?);
        }
    }
    for (number, slot) in (0_u16..).zip(slots) {
        code.extend(virtio(machine, number, slot)?);
    }
    if pc.is_none() {
        for uid in 0..machine.vcpus.get() {
            code.extend(cpu(uid));
        }
    }
    Ok(table(*b"DSDT", REVISION, &code))
}

/// A serial port of a PC.
fn serial_of_pc(port: SerialPort) -> Vec<u8> {
    let registers = IO::new(port.port, port.port, 1, SERIAL_PORTS);
    let interrupt = Interrupt::new(true, true, false, false, port.gsi);
    device(
        "_SB_.COM1",
        &EISAName::new("PNP0501"),
        1,
        &[&registers, &interrupt],
        &[],
    )
}

/// A serial port in memory.
fn serial(machine: &Machine, number: u16, port: &Serial) -> Result<Vec<u8>, AcpiError> {
    let pnp = EISAName::new("PNP0501");
    // Linux has an identifier of riscv64 for ports whose driver waits for that of the interrupt controller.
    let (hid, layout): (&dyn Aml, _) = match (port.kind, machine.arch) {
        (SerialKind::Pl011, _) => (&"ARMH0011", None),
        (
            SerialKind::Ns16550a {
                reg_shift,
                reg_io_width,
            },
            Arch::Riscv64,
        ) => (&"RSCV0003", Some([reg_shift, reg_io_width])),
        (
            SerialKind::Ns16550a {
                reg_shift,
                reg_io_width,
            },
            _,
        ) => (&pnp, Some([reg_shift, reg_io_width])),
        _ => return Err(AcpiError::SerialKind { range: port.range }),
    };
    let mut properties = Vec::new();
    if let Some([reg_shift, reg_io_width]) = layout {
        properties.push(("clock-frequency", port.clock_hz));
        properties.push(("reg-shift", reg_shift));
        properties.push(("reg-io-width", reg_io_width));
    }
    let registers = Registers::new("serial port", port.range)?;
    let interrupt = match port.interrupt {
        Some(interrupt) => Some(resource(Gsi::of(machine, "serial port", port.range, interrupt)?)),
        None => None,
    };
    let mut resources: Vec<&dyn Aml> = vec![&registers];
    if let Some(interrupt) = &interrupt {
        resources.push(interrupt);
    }
    let properties = device_properties(&properties);
    let path = format!("_SB_.S{number:03X}");
    Ok(device(&path, hid, number, &resources, &properties))
}

/// A virtio-mmio slot, by the identifier that Linux (`drivers/virtio/virtio_mmio.c`), the BSDs and other guests look for.
fn virtio(machine: &Machine, number: u16, slot: &VirtioMmio) -> Result<Vec<u8>, AcpiError> {
    let registers = Registers::new("virtio-mmio slot", slot.range)?;
    let interrupt = resource(Gsi::of(machine, "virtio-mmio slot", slot.range, slot.interrupt)?);
    // A PC's devices are coherent with its caches; others must tell (ACPI 6.5, section 6.2.17).
    let coherent = match machine.arch {
        Arch::X86_64 => Vec::new(),
        _ => bytes(&Name::new("_CCA".into(), &1_u8)),
    };
    let path = format!("_SB_.V{number:03X}");
    let resources: [&dyn Aml; 2] = [&registers, &interrupt];
    Ok(device(&path, &"LNRO0005", number, &resources, &coherent))
}

/// A PLIC or APLIC, which interrupts of devices are found by.
fn controller(controller: &InterruptController) -> Result<Vec<u8>, AcpiError> {
    let (name, hid, range) = match controller {
        InterruptController::Plic(plic) => ("PLIC", "RSCV0001", plic.range),
        InterruptController::Aplic(aplic) => ("APLC", "RSCV0002", aplic.range),
        _ => return Ok(Vec::new()),
    };
    let registers = Registers::new("interrupt controller", range)?;
    let base = bytes(&Name::new("_GSB".into(), &RISCV_GSI_BASE));
    Ok(device(&format!("_SB_.{name}"), &hid, 0, &[&registers], &base))
}

/// A CPU, by the UID of its structure in the MADT (ACPI 6.5, section 8.4).
fn cpu(uid: u32) -> Vec<u8> {
    let hid = Name::new("_HID".into(), &"ACPI0007");
    let path = format!("_SB_.C{uid:03X}");
    let uid = Name::new("_UID".into(), &uid);
    bytes(&Device::new(Path::new(&path), vec![&hid, &uid]))
}

/// An interrupt of one device, active when high.
fn resource(gsi: Gsi) -> Interrupt {
    Interrupt::new(true, gsi.is_edge, false, false, gsi.number)
}

/// A `_DSD` with these properties (ACPI 6.5, section 6.2.5); nothing without any.
fn device_properties(properties: &[(&'static str, u32)]) -> Vec<u8> {
    if properties.is_empty() {
        return Vec::new();
    }
    let pairs: Vec<Package<'_>> = properties
        .iter()
        .map(|(name, value)| Package::new(vec![name, value]))
        .collect();
    let mut objects: Vec<&dyn Aml> = Vec::new();
    for pair in &pairs {
        objects.push(pair);
    }
    let uuid = Uuid::new(DEVICE_PROPERTIES);
    let pairs = Package::new(objects);
    bytes(&Name::new("_DSD".into(), &Package::new(vec![&uuid, &pairs])))
}

/// Code that is there already.
struct Code<'a>(&'a [u8]);

impl Aml for Code<'_> {
    fn to_aml_bytes(&self, sink: &mut dyn acpi_tables::AmlSink) {
        sink.vec(self.0);
    }
}

/// A device with these resources and further objects.
fn device(path: &str, hid: &dyn Aml, uid: u16, resources: &[&dyn Aml], objects: &[u8]) -> Vec<u8> {
    let hid = Name::new("_HID".into(), hid);
    let uid = Name::new("_UID".into(), &uid);
    let crs = Name::new("_CRS".into(), &Resources(resources.to_vec()));
    bytes(&Device::new(
        Path::new(path),
        vec![&hid, &uid, &crs, &Code(objects)],
    ))
}
