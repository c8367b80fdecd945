//! ACPI tables of the machine: a hardware-reduced platform with one CPU, an I/O APIC and a serial port.

use acpi_tables::fadt::{FADTBuilder, Flags};
use acpi_tables::madt::{EnabledStatus, IoApic, LocalInterruptController, MADT, ProcessorLocalApic};
use acpi_tables::rsdp::Rsdp;
use acpi_tables::sdt::Sdt;
use acpi_tables::xsdt::XSDT;
use acpi_tables::{Aml, aml};

use crate::layout;

const OEM: [u8; 6] = *b"VMBOOT";
const TABLE: [u8; 8] = *b"EXAMPLE ";

/// Boot architecture flags of the FADT (ACPI 6.5, table 5.11): there is no VGA adapter, and no real-time clock.
const NO_VGA: u16 = 1 << 2;
const NO_RTC: u16 = 1 << 5;

/// The first serial port of a PC.
const SERIAL_PORT: u16 = 0x3f8;

/// Length of the header of a table.
const HEADER: u32 = 36;

/// The tables at the address `base`, and the RSDP that refers to them.
#[must_use]
pub fn tables(base: u64) -> (Vec<u8>, Vec<u8>) {
    let mut tables = Vec::new();
    // A table's address is only known when those before it are complete.
    let mut add = |table: &dyn Aml| {
        let at = base + u64::try_from(tables.len()).unwrap_or_default();
        table.to_aml_bytes(&mut tables);
        tables.resize(tables.len().next_multiple_of(8), 0);
        at
    };
    let dsdt = add(&Bytes(dsdt()));
    let mut fadt = FADTBuilder::new(OEM, TABLE, 1)
        .dsdt_64(dsdt)
        .flag(Flags::HwReducedAcpi)
        .flag(Flags::PwrButton)
        .flag(Flags::SlpButton);
    fadt.iapc_boot_arch = (NO_VGA | NO_RTC).into();
    let fadt = add(&fadt.finalize());
    let mut madt = MADT::new(
        OEM,
        TABLE,
        1,
        LocalInterruptController::Address(layout::LOCAL_APIC),
    );
    madt.add_structure(ProcessorLocalApic::new(0, 0, EnabledStatus::Enabled));
    madt.add_structure(IoApic::new(0, layout::IO_APIC, 0));
    let madt = add(&madt);
    let mut xsdt = XSDT::new(OEM, TABLE, 1);
    xsdt.add_entry(fadt);
    xsdt.add_entry(madt);
    let xsdt = add(&xsdt);
    let mut rsdp = Vec::new();
    Rsdp::new(OEM, xsdt).to_aml_bytes(&mut rsdp);
    (tables, rsdp)
}

/// A table that exists as bytes.
struct Bytes(Sdt);

impl Aml for Bytes {
    fn to_aml_bytes(&self, sink: &mut dyn acpi_tables::AmlSink) {
        sink.vec(self.0.as_slice());
    }
}

/// The DSDT: on a hardware-reduced platform, Linux uses the interrupts of described devices only.
fn dsdt() -> Sdt {
    let mut code = Vec::new();
    let ports = aml::IO::new(SERIAL_PORT, SERIAL_PORT, 0, 8);
    let interrupt = aml::Interrupt::new(true, true, false, false, 4);
    let resources = aml::ResourceTemplate::new(vec![&ports, &interrupt]);
    let hardware_id = aml::Name::new("_HID".into(), &aml::EISAName::new("PNP0501"));
    let unique_id = aml::Name::new("_UID".into(), &aml::ZERO);
    let resources = aml::Name::new("_CRS".into(), &resources);
    aml::Device::new("_SB_.COM1".into(), vec![&hardware_id, &unique_id, &resources]).to_aml_bytes(&mut code);
    let mut dsdt = Sdt::new(*b"DSDT", HEADER, 6, OEM, TABLE, 1);
    dsdt.append_slice(&code);
    dsdt
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_has_a_checksum_and_is_found_from_the_rsdp() {
        let base = 0x9_fc00;
        let (tables, rsdp) = tables(base);
        let sum = |bytes: &[u8]| bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        let address = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
        let at = |address: u64| {
            let table = &tables[usize::try_from(address - base).unwrap()..];
            let len = u32::from_le_bytes(table[4..8].try_into().unwrap());
            let table = &table[..usize::try_from(len).unwrap()];
            assert_eq!(sum(table), 0, "checksum of the table at {address:#x}");
            table
        };
        assert_eq!((&rsdp[..8], rsdp.len()), (&b"RSD PTR "[..], 36));
        assert_eq!((sum(&rsdp[..20]), sum(&rsdp)), (0, 0));
        let xsdt = at(address(&rsdp[24..32]));
        assert_eq!((&xsdt[..4], xsdt.len()), (&b"XSDT"[..], 36 + 2 * 8));
        let fadt = at(address(&xsdt[36..44]));
        let madt = at(address(&xsdt[44..52]));
        let dsdt = at(address(&fadt[140..148]));
        for (table, signature) in [(fadt, b"FACP"), (madt, b"APIC"), (dsdt, b"DSDT")] {
            assert_eq!(table[..4], *signature);
        }
        // The flag HW_REDUCED_ACPI (ACPI 6.5, table 5.10).
        assert_ne!(
            u32::from_le_bytes(fadt[112..116].try_into().unwrap()) & 1 << 20,
            0
        );
    }
}
