//! The SPCR, which names the console (Microsoft, "Serial Port Console Redirection Table", which ACPI 6.5, table 5.6, refers to).

use alloc::vec::Vec;

use boot_core::machine::{Serial, SerialKind};
use boot_core::{Arch, Machine};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{Immutable, IntoBytes};

use crate::error::AcpiError;
use crate::gsi::Gsi;
use crate::oem::table;
use crate::pc::SerialPort;

/// Revision of the table: interface types are those of the DBG2 table.
const REVISION: u8 = 2;

/// Interface types (Microsoft, "Debug Port Table 2", table 3).
mod interface {
    /// Compatible with the 16550.
    pub(super) const NS16550: u8 = 0;
    pub(super) const PL011: u8 = 3;
    /// Compatible with the 16550, with registers as the address structure tells.
    pub(super) const NS16550_BY_ADDRESS: u8 = 0x12;
}

/// Bits of the interrupt type.
mod interrupt {
    /// A global system interrupt of an I/O APIC.
    pub(super) const IO_APIC: u8 = 1 << 1;
    /// One of a GIC.
    pub(super) const GIC: u8 = 1 << 3;
    /// One of a PLIC or APLIC.
    pub(super) const RISCV: u8 = 1 << 4;
}

/// The SPCR of a serial port of a PC: 115200 baud, 8 data bits, no parity, one stop bit, no flow control, a VT100. `acpi_tables` has that of the SBI
/// console only.
pub(crate) fn spcr(port: SerialPort) -> Vec<u8> {
    let console = Console {
        interface_type: interface::NS16550,
        // I/O ports of 8 bits, byte accesses.
        address_kind: [1, 8, 0, 1],
        address: port.port.into(),
        interrupt_type: interrupt::IO_APIC,
        gsi: port.gsi,
    };
    table(*b"SPCR", REVISION, Body::new(&console).as_bytes())
}

/// The SPCR of the serial port of an arm64 or riscv64 machine, with the same parameters.
pub(crate) fn spcr_of_platform(machine: &Machine, port: &Serial) -> Result<Vec<u8>, AcpiError> {
    // In memory: width in bits, offset, and size of accesses (1: a byte, 2: two bytes, 3: four bytes).
    let (interface_type, [width, access]) = match port.kind {
        SerialKind::Pl011 => (interface::PL011, [32, 3]),
        SerialKind::Ns16550a {
            reg_shift: 0,
            reg_io_width: 1,
        } => (interface::NS16550, [8, 1]),
        SerialKind::Ns16550a { reg_io_width, .. } => {
            let access = match reg_io_width {
                1 => [8, 1],
                2 => [16, 2],
                _ => [32, 3],
            };
            (interface::NS16550_BY_ADDRESS, access)
        }
        _ => return Err(AcpiError::SerialKind { range: port.range }),
    };
    let interrupt = match port.interrupt {
        Some(interrupt) => Some(Gsi::of(machine, "serial port", port.range, interrupt)?),
        None => None,
    };
    let interrupt_type = match (interrupt, machine.arch) {
        (None, _) => 0,
        (Some(_), Arch::Aarch64) => interrupt::GIC,
        (Some(_), _) => interrupt::RISCV,
    };
    let console = Console {
        interface_type,
        address_kind: [0, width, 0, access],
        address: port.range.start(),
        interrupt_type,
        gsi: interrupt.map_or(0, |gsi| gsi.number),
    };
    Ok(table(*b"SPCR", REVISION, Body::new(&console).as_bytes()))
}

/// What differs between serial ports.
struct Console {
    interface_type: u8,
    /// The front of a generic address structure (ACPI 6.5, section 5.2.3.2): address space, width and offset in bits, size of accesses.
    address_kind: [u8; 4],
    address: u64,
    interrupt_type: u8,
    gsi: u32,
}

/// The table behind its header.
#[derive(Clone, Copy, Debug, Immutable, IntoBytes)]
#[repr(C)]
struct Body {
    interface_type: u8,
    reserved0: [u8; 3],
    address_kind: [u8; 4],
    address: U64,
    interrupt_type: u8,
    irq: u8,
    gsi: U32,
    baud_rate: u8,
    parity: u8,
    stop_bits: u8,
    flow_control: u8,
    terminal_type: u8,
    language: u8,
    pci_device_id: U16,
    pci_vendor_id: U16,
    pci_bus: u8,
    pci_device: u8,
    pci_function: u8,
    pci_flags: U32,
    pci_segment: u8,
    reserved1: U32,
}

const _: () = assert!(size_of::<Body>() == 44);

impl Body {
    fn new(console: &Console) -> Self {
        Self {
            interface_type: console.interface_type,
            reserved0: [0; 3],
            address_kind: console.address_kind,
            address: console.address.into(),
            interrupt_type: console.interrupt_type,
            irq: 0,
            gsi: console.gsi.into(),
            // 115200.
            baud_rate: 7,
            parity: 0,
            stop_bits: 1,
            flow_control: 0,
            terminal_type: 0,
            language: 0,
            // Not a PCI device.
            pci_device_id: 0xffff.into(),
            pci_vendor_id: 0xffff.into(),
            pci_bus: 0,
            pci_device: 0,
            pci_function: 0,
            pci_flags: U32::ZERO,
            pci_segment: 0,
            reserved1: U32::ZERO,
        }
    }
}
