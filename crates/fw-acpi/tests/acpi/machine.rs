//! The tables of machines, as QEMU has them. The seeds of the fuzz target include this file.

use acpi_tables::Aml;
use acpi_tables::aml::{
    AddressSpace, AddressSpaceCacheable, Arg, Device, EISAName, Field, FieldAccessType, FieldEntry,
    FieldLockRule, FieldUpdateRule, IO, If, Interrupt, Memory32Fixed, Method, Mutex, Name, ONE, OpRegion,
    OpRegionSpace, Package, ResourceTemplate, Return, Scope, ZERO,
};
use acpi_tables::fadt::{FADTBuilder, Flags};
use acpi_tables::gas::{AccessSize, AddressSpace as Space, GAS};
use acpi_tables::rsdp::Rsdp;
use acpi_tables::sdt::Sdt;
use acpi_tables::xsdt::XSDT;

/// Where the tables begin.
pub(crate) const BASE: u64 = 0xe_0000;
const XSDT_AT: usize = 0x100;
const FADT_AT: usize = 0x200;
const DSDT_AT: usize = 0x400;
/// Length of the memory.
pub(crate) const LEN: usize = 0x2_0000;

const OEM: [u8; 6] = *b"BOCHS ";
const TABLE: [u8; 8] = *b"BXPC    ";

fn bytes(aml: &dyn Aml) -> Vec<u8> {
    let mut bytes = Vec::new();
    aml.to_aml_bytes(&mut bytes);
    bytes
}

/// The definitions of QEMU's microvm with `disks` virtio-mmio devices: COM1 and the devices below `\_SB`, and `\_S5`.
pub(crate) fn microvm(disks: u32) -> Vec<u8> {
    let port = IO::new(0x3f8, 0x3f8, 0, 8);
    let serial = ResourceTemplate::new(vec![&port]);
    let hid = Name::new("_HID".into(), &EISAName::new("PNP0501"));
    let crs = Name::new("_CRS".into(), &serial);
    let mut aml = bytes(&Scope::new(
        "_SB_".into(),
        vec![&Device::new("COM1".into(), vec![&hid, &crs])],
    ));
    for number in 0..disks {
        aml.extend(virtio(number));
    }
    aml.extend(bytes(&s5(5, 0)));
    aml
}

/// A virtio-mmio device.
fn virtio(number: u32) -> Vec<u8> {
    let memory = Memory32Fixed::new(true, 0xfeb0_0000 + 512 * number, 512);
    let interrupt = Interrupt::new(true, true, false, false, 8 + number);
    let template = ResourceTemplate::new(vec![&memory, &interrupt]);
    let hid = Name::new("_HID".into(), &"LNRO0005");
    let uid = Name::new("_UID".into(), &number);
    let cca = Name::new("_CCA".into(), &ONE);
    let crs = Name::new("_CRS".into(), &template);
    let name = format!("VR{number:02}");
    let device = Device::new(name.as_str().into(), vec![&hid, &uid, &cca, &crs]);
    bytes(&Scope::new("_SB_".into(), vec![&device]))
}

/// `\_S5` with these sleep types.
fn s5(a: u8, b: u8) -> impl Aml {
    struct S5(u8, u8);
    impl Aml for S5 {
        fn to_aml_bytes(&self, sink: &mut dyn acpi_tables::AmlSink) {
            let package = Package::new(vec![&self.0, &self.1, &ZERO, &ZERO]);
            Name::new("\\_S5_".into(), &package).to_aml_bytes(sink);
        }
    }
    S5(a, b)
}

/// What a PC has besides: fields, methods, conditions, a PCI root with address spaces.
pub(crate) fn pc() -> Vec<u8> {
    let region = OpRegion::new("DBG_".into(), OpRegionSpace::SystemIO, &0x402_u16, &ONE);
    let field = Field::new(
        "DBG_".into(),
        FieldAccessType::Byte,
        FieldLockRule::NoLock,
        FieldUpdateRule::Preserve,
        vec![FieldEntry::Named(*b"DBGB", 8)],
    );
    let mutex = Mutex::new("BLCK".into(), 0);
    let back = Return::new(&Arg(0));
    let method = Method::new("DBUG".into(), 1, false, vec![&back]);
    let hidden = Name::new("HIDE".into(), &ONE);
    let condition = If::new(&ONE, vec![&hidden]);
    let low = AddressSpace::new_memory(
        AddressSpaceCacheable::NotCacheable,
        true,
        0xe000_0000_u32,
        0xfebf_ffff,
        None,
    );
    let high = AddressSpace::new_memory(
        AddressSpaceCacheable::NotCacheable,
        true,
        0x80_0000_0000_u64,
        0x87_ffff_ffff,
        None,
    );
    let io = AddressSpace::new_io(0xd00_u16, 0xffff, None);
    let template = ResourceTemplate::new(vec![&io, &low, &high]);
    let hid = Name::new("_HID".into(), &EISAName::new("PNP0A08"));
    let crs = Name::new("_CRS".into(), &template);
    let absent = Name::new("_STA".into(), &ZERO);
    let virtio = Name::new("_HID".into(), &"LNRO0005");
    let lost = Device::new("LOST".into(), vec![&virtio, &absent]);
    let root = Device::new("PCI0".into(), vec![&hid, &method, &crs, &lost]);
    let scope = Scope::new("\\_SB_".into(), vec![&root]);
    let parts: [&dyn Aml; 7] = [&region, &field, &mutex, &method, &condition, &scope, &s5(1, 2)];
    parts.into_iter().flat_map(bytes).collect()
}

/// How a machine resets and switches off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hardware {
    /// Sleep registers in memory.
    Reduced,
    /// PM1a control registers at I/O ports.
    Fixed,
}

fn fadt(hardware: Hardware) -> FADTBuilder {
    let mut fadt = FADTBuilder::new(OEM, TABLE, 1)
        .dsdt_32((BASE as usize + DSDT_AT) as u32)
        .flag(Flags::ResetRegSup);
    let byte = |space, addr| GAS::new(space, 8, 0, AccessSize::ByteAccess, addr);
    match hardware {
        Hardware::Reduced => {
            fadt = fadt.flag(Flags::HwReducedAcpi);
            fadt.reset_reg = byte(Space::SystemMemory, 0xfea0_0202);
            fadt.reset_value = 0x42;
            fadt.sleep_control_reg = byte(Space::SystemMemory, 0xfea0_0200);
            fadt.sleep_status_reg = byte(Space::SystemMemory, 0xfea0_0201);
        }
        Hardware::Fixed => {
            fadt.reset_reg = byte(Space::SystemIo, 0xcf9);
            fadt.reset_value = 0x0f;
            fadt.pm1a_cnt_blk = 0x604.into();
            fadt.pm1_cnt_len = 2;
            fadt = fadt.flag(Flags::TmrValExt);
            fadt.pm_tmr_blk = 0x608.into();
            fadt.smi_cmd = 0xb2.into();
            (fadt.acpi_enable, fadt.acpi_disable) = (2, 3);
            fadt.century = 0x32;
        }
    }
    fadt
}

/// Memory at [`BASE`] with the tables of a machine.
pub(crate) fn memory(hardware: Hardware, aml: &[u8]) -> Vec<u8> {
    let mut memory = vec![0; LEN];
    let mut put = |at: usize, bytes: &[u8]| memory[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &bytes(&Rsdp::new(OEM, BASE + XSDT_AT as u64)));
    let mut list = XSDT::new(OEM, TABLE, 1);
    list.add_entry(BASE + FADT_AT as u64);
    put(XSDT_AT, &bytes(&list));
    put(FADT_AT, &bytes(&fadt(hardware).finalize()));
    let mut dsdt = Sdt::new(*b"DSDT", 36, 2, OEM, TABLE, 1);
    dsdt.append_slice(aml);
    put(DSDT_AT, dsdt.as_slice());
    memory
}
