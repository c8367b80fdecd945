//! ACPI tables of a PC without ACPI hardware: its CPUs, its interrupt controllers, its serial port and its virtio-mmio devices.

use std::num::NonZeroU32;

use acpi_tables::Aml;
use acpi_tables::aml::{Device, EISAName, IO, Interrupt, Memory32Fixed, Name, Path, ResourceTemplate};
use acpi_tables::fadt::{FADTBuilder, Flags};
use acpi_tables::madt::{EnabledStatus, IoApic, LocalInterruptController, MADT, ProcessorLocalApic};
use acpi_tables::rsdp::Rsdp;
use acpi_tables::sdt::Sdt;
use acpi_tables::xsdt::XSDT;
use boot_core::machine::{Line, VirtioMmio};

/// Address of the tables, which begin with the root pointer: in RAM, which the memory map of the guest lists as ACPI tables.
pub(crate) const RSDP: u64 = 0x700_0000;

const OEM: [u8; 6] = *b"VMBOOT";
const TABLE: [u8; 8] = *b"KVM BOOT";
/// Addresses of the interrupt controllers of KVM.
const LOCAL_APIC: u32 = 0xfee0_0000;
const IO_APIC: u32 = 0xfec0_0000;
/// The CPUs have the identifiers 0 and up; this one is the I/O APIC's.
const IO_APIC_ID: u8 = 0xff;

/// The root pointer and the tables, for [`RSDP`].
pub(crate) fn tables(vcpus: NonZeroU32, virtio: &[VirtioMmio]) -> Vec<u8> {
    let mut tables = Tables {
        bytes: vec![0; Rsdp::len()],
    };
    let dsdt = tables.push(&dsdt(virtio));
    // Without it, Linux tries the power management timer and the like. (ACPI 6.5, 5.2.9)
    let fadt = FADTBuilder::new(OEM, TABLE, 1)
        .dsdt_64(dsdt)
        .flag(Flags::HwReducedAcpi)
        .finalize();
    let fadt = tables.push(&fadt);
    let madt = tables.push(&madt(vcpus));
    let mut xsdt = XSDT::new(OEM, TABLE, 1);
    for table in [fadt, madt] {
        xsdt.add_entry(table);
    }
    let xsdt = tables.push(&xsdt);
    let rsdp = bytes(&Rsdp::new(OEM, xsdt));
    tables.bytes[..rsdp.len()].copy_from_slice(&rsdp);
    tables.bytes
}

/// Tables one after the other.
struct Tables {
    bytes: Vec<u8>,
}

impl Tables {
    /// Adds a table and returns its address.
    fn push(&mut self, table: &dyn Aml) -> u64 {
        self.bytes.resize(self.bytes.len().next_multiple_of(16), 0);
        let addr = RSDP + self.bytes.len() as u64;
        self.bytes.extend(bytes(table));
        addr
    }
}

fn bytes(table: &dyn Aml) -> Vec<u8> {
    let mut bytes = Vec::new();
    table.to_aml_bytes(&mut bytes);
    bytes
}

fn madt(vcpus: NonZeroU32) -> MADT {
    let mut madt = MADT::new(OEM, TABLE, 1, LocalInterruptController::Address(LOCAL_APIC));
    for cpu in (0..IO_APIC_ID).take(vcpus.get() as usize) {
        madt.add_structure(ProcessorLocalApic::new(cpu, cpu, EnabledStatus::Enabled));
    }
    madt.add_structure(IoApic::new(IO_APIC_ID, IO_APIC, 0));
    madt
}

/// Describes COM1, because without legacy interrupts, Linux gets its interrupt from here, and the virtio-mmio devices.
fn dsdt(virtio: &[VirtioMmio]) -> Sdt {
    let mut dsdt = Sdt::new(*b"DSDT", 36, 2, OEM, TABLE, 1);
    let hid = Name::new("_HID".into(), &EISAName::new("PNP0501"));
    let uid = Name::new("_UID".into(), &1_u8);
    let ports = IO::new(0x3f8, 0x3f8, 1, 8);
    let interrupt = Interrupt::new(true, true, false, false, 4);
    let crs = Name::new("_CRS".into(), &ResourceTemplate::new(vec![&ports, &interrupt]));
    let com1 = Device::new("_SB_.COM1".into(), vec![&hid, &uid, &crs]);
    dsdt.append_slice(&bytes(&com1));
    for (number, slot) in (0_u8..).zip(virtio) {
        dsdt.append_slice(&virtio_mmio(number, slot));
    }
    dsdt
}

/// A virtio-mmio device, by the identifier that Linux knows (`drivers/virtio/virtio_mmio.c`).
fn virtio_mmio(number: u8, slot: &VirtioMmio) -> Vec<u8> {
    let line = match slot.interrupt.line {
        Line::Gsi(line) => line,
        other => panic!("{other} on a PC"),
    };
    let hid = Name::new("_HID".into(), &"LNRO0005");
    let uid = Name::new("_UID".into(), &number);
    let word = |value: u64| u32::try_from(value).unwrap();
    let registers = Memory32Fixed::new(true, word(slot.range.start()), word(slot.range.len()));
    let interrupt = Interrupt::new(true, false, false, false, line);
    let crs = Name::new(
        "_CRS".into(),
        &ResourceTemplate::new(vec![&registers, &interrupt]),
    );
    let path = Path::new(&format!("_SB_.VIO{number:X}"));
    bytes(&Device::new(path, vec![&hid, &uid, &crs]))
}
