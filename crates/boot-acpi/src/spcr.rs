//! The SPCR, which names the console (Microsoft, "Serial Port Console Redirection Table", which ACPI 6.5, table 5.6, refers to).

use alloc::vec::Vec;

use acpi_tables::sdt::Sdt;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{Immutable, IntoBytes};

use crate::oem::{HEADER_LEN, OEM_ID, OEM_REVISION, OEM_TABLE_ID};
use crate::pc::SerialPort;

/// Revision of the table: interface types are those of the DBG2 table.
const REVISION: u8 = 2;

/// The SPCR of a serial port: 115200 baud, 8 data bits, no parity, one stop bit, no flow control, a VT100. `acpi_tables` has that of the SBI
/// console only.
pub(crate) fn spcr(port: SerialPort) -> Vec<u8> {
    let mut spcr = Sdt::new(*b"SPCR", HEADER_LEN, REVISION, OEM_ID, OEM_TABLE_ID, OEM_REVISION);
    spcr.append_slice(Body::new(port).as_bytes());
    spcr.as_slice().to_vec()
}

/// The table behind its header.
#[derive(Clone, Copy, Debug, Immutable, IntoBytes)]
#[repr(C)]
struct Body {
    interface_type: u8,
    reserved0: [u8; 3],
    /// A generic address structure (ACPI 6.5, section 5.2.3.2): address space, width and offset in bits, size of accesses.
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
    fn new(port: SerialPort) -> Self {
        Self {
            // Compatible with the 16550.
            interface_type: 0,
            reserved0: [0; 3],
            // I/O ports of 8 bits, byte accesses.
            address_kind: [1, 8, 0, 1],
            address: u64::from(port.port).into(),
            // Bit 1: a global system interrupt of an I/O APIC.
            interrupt_type: 1 << 1,
            irq: 0,
            gsi: port.gsi.into(),
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
