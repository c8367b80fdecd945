//! Boots with ACPI tables: the EFI tables by which a kernel finds them, read by offsets of the UEFI specification.

use std::num::NonZeroU32;

use boot_core::machine::ReservedMemory;
use boot_core::{
    AdditionalLoad, Arch, BootPlan, BootProtocol, BootRequest, Cmdline, Constraints, Endian, EntryAbi,
    FixedAddress, GuestRange, ImageBuilder, KernelImage, LoadContent, Machine, Placement, PlanError,
    RegionKind, SourceRange,
};
use hv_core::virt::{self, Gic, RAM_BASE};
use proto_fdt::device_tree::DeviceTree;
use proto_fdt::{Chosen, PROTOCOL_ARM64, create_fdt, label};

const MIB: u64 = 1 << 20;
const RSDP: u64 = RAM_BASE + 63 * MIB;
/// Length of the ACPI tables: not a whole page.
const ACPI_LEN: usize = 0x1234;

fn range(start: u64, len: u64) -> GuestRange {
    GuestRange::new(start, len).unwrap()
}

fn machine() -> Machine {
    let mut machine = virt::arm64_machine(64 * MIB, NonZeroU32::MIN, Gic::V3).unwrap();
    machine.acpi_rsdp = Some(RSDP);
    machine
}

fn image() -> KernelImage {
    ImageBuilder::new("test", Arch::Aarch64, Endian::Little, MIB)
        .segment(SourceRange::whole(MIB), range(0, MIB))
        .placement(Placement::Relocatable(Constraints::aligned(2 * MIB)))
        .entry(EntryAbi::ARM64_IMAGE, 0)
        .build()
        .unwrap()
}

/// The plan with an initrd, and ACPI tables as a load.
fn plan(machine: &Machine, tree: Option<&[u8]>, fixed: &[FixedAddress<'_>]) -> BootPlan {
    let tables = [0x5a; ACPI_LEN];
    let loads = [AdditionalLoad::bytes("ACPI tables", &tables)
        .at(RSDP)
        .in_region(RegionKind::AcpiReclaimable)];
    let image = image();
    let cmdline = Cmdline::parse("quiet").unwrap();
    let mut request = BootRequest::new(&image, machine, &cmdline)
        .with_initrd(0x1234)
        .with_additional_loads(&loads);
    request.device_tree = tree;
    request.fixed_addresses = fixed;
    PROTOCOL_ARM64.plan(&request).unwrap()
}

fn load<'a>(plan: &'a BootPlan, label: &str) -> (GuestRange, &'a [u8]) {
    let load = plan.loads().iter().find(|load| load.label == label).unwrap();
    match &load.content {
        LoadContent::Bytes(bytes) => (load.range, bytes),
        _ => (load.range, &[]),
    }
}

/// Numbers in memory at guest physical addresses.
struct Block<'a> {
    start: u64,
    bytes: &'a [u8],
}

impl<'a> Block<'a> {
    fn at(&self, addr: u64, len: u64) -> &'a [u8] {
        let start = usize::try_from(addr - self.start).unwrap();
        &self.bytes[start..][..usize::try_from(len).unwrap()]
    }

    fn u32(&self, addr: u64) -> u32 {
        u32::from_le_bytes(self.at(addr, 4).try_into().unwrap())
    }

    fn u64(&self, addr: u64) -> u64 {
        u64::from_le_bytes(self.at(addr, 8).try_into().unwrap())
    }
}

/// A property of `/chosen` with this number of cells.
fn chosen(tree: &DeviceTree<'_>, name: &str, cells: usize) -> u64 {
    let value = tree.root.child("chosen").unwrap().property(name);
    let value = value.unwrap_or_else(|| panic!("no {name}"));
    assert_eq!(value.len(), cells * 4, "{name}");
    value
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The memory map: type, range and attributes.
fn memory_map(plan: &BootPlan) -> Vec<(u32, GuestRange, u64)> {
    let (at, bytes) = load(plan, label::EFI_TABLES);
    let block = Block {
        start: at.start(),
        bytes,
    };
    let tree = DeviceTree::parse(load(plan, label::DEVICE_TREE).1).unwrap();
    let start = chosen(&tree, "linux,uefi-mmap-start", 2);
    let size = chosen(&tree, "linux,uefi-mmap-size", 1);
    assert_eq!(chosen(&tree, "linux,uefi-mmap-desc-size", 1), 40);
    assert_eq!(chosen(&tree, "linux,uefi-mmap-desc-ver", 1), 1);
    assert_eq!((start % 8, size % 40), (0, 0));
    (0..size / 40)
        .map(|index| start + index * 40)
        .map(|at| {
            let range = range(block.u64(at + 8), block.u64(at + 24) << 12);
            // Nothing is mapped for runtime services.
            assert_eq!(block.u64(at + 16), 0);
            (block.u32(at), range, block.u64(at + 32))
        })
        .collect()
}

/// The cyclic redundancy check of UEFI 2.10, section 4.2.1, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 }
        })
    })
}

#[test]
fn a_kernel_finds_the_root_pointer_by_the_system_table() {
    let plan = plan(&machine(), None, &[]);
    let (at, bytes) = load(&plan, label::EFI_TABLES);
    let block = Block {
        start: at.start(),
        bytes,
    };
    let tree = DeviceTree::parse(load(&plan, label::DEVICE_TREE).1).unwrap();
    // Linux on arm64 prefers ACPI if there is no other node.
    assert_eq!(tree.root.children.len(), 1);
    let table = chosen(&tree, "linux,uefi-system-table", 2);
    assert_eq!(chosen(&tree, "linux,uefi-secure-boot", 1), 2);
    // Signature, revision, size and checksum (UEFI 2.10, section 4.2.1).
    assert_eq!(block.at(table, 8), b"IBI SYST");
    assert_eq!((block.u32(table + 8), block.u32(table + 12)), (0x0002_0064, 120));
    let mut header = block.at(table, 120).to_vec();
    header[16..20].fill(0);
    assert_eq!(block.u32(table + 16), crc32(&header));
    // Neither runtime nor boot services.
    assert_eq!((block.u64(table + 88), block.u64(table + 96)), (0, 0));
    let vendor = block.at(block.u64(table + 24), 14);
    assert_eq!(vendor, b"v\0m\0b\0o\0o\0t\0\0\0");
    let tables: Vec<_> = (0..block.u64(table + 104))
        .map(|index| block.u64(table + 112) + index * 24)
        .map(|at| (block.at(at, 16), block.u64(at + 16)))
        .collect();
    let guid = |first: u32, second: u16, third: u16, rest: [u8; 8]| {
        let mut guid = first.to_le_bytes().to_vec();
        guid.extend(second.to_le_bytes());
        guid.extend(third.to_le_bytes());
        guid.extend(rest);
        guid
    };
    let acpi_20 = guid(
        0x8868_e871,
        0xe4f1,
        0x11d3,
        [0xbc, 0x22, 0x00, 0x80, 0xc7, 0x3c, 0x88, 0x81],
    );
    let rt_properties = guid(
        0xeb66_918a,
        0x7eef,
        0x402a,
        [0x84, 0x2e, 0x93, 0x1d, 0x21, 0xc3, 0x8a, 0xe9],
    );
    let [(first, rsdp), (second, properties)] = tables[..] else {
        panic!("{tables:?}");
    };
    assert_eq!((first, rsdp), (&acpi_20[..], RSDP));
    assert_eq!(second, rt_properties);
    // Version 1, 8 bytes, no services.
    assert_eq!(block.at(properties, 8), [1, 0, 8, 0, 0, 0, 0, 0]);
}

#[test]
fn smbios_tables_are_handed_over_with_or_without_acpi() {
    const ENTRY: u64 = RSDP + 0x1000;
    // SMBIOS3_TABLE_GUID (UEFI 2.10, section 4.6), whose first field is in front.
    let guid = 0xf2fd_1544_u32.to_le_bytes();
    for has_acpi in [true, false] {
        let mut machine = machine();
        machine.smbios = Some(ENTRY);
        if !has_acpi {
            machine.acpi_rsdp = None;
        }
        let plan = plan(&machine, None, &[]);
        let (at, bytes) = load(&plan, label::EFI_TABLES);
        let block = Block {
            start: at.start(),
            bytes,
        };
        let count = block.u64(at.start() + 104);
        assert_eq!(count, 2 + u64::from(has_acpi));
        let entry = block.u64(at.start() + 112) + 24 * (count - 2);
        assert_eq!((block.at(entry, 4), block.u64(entry + 16)), (&guid[..], ENTRY));
        let tree = DeviceTree::parse(load(&plan, label::DEVICE_TREE).1).unwrap();
        assert_eq!(tree.root.children.len() > 1, !has_acpi);
    }
}

#[test]
fn an_smbios_entry_point_in_ram_is_an_additional_load() {
    let mut machine = machine();
    machine.acpi_rsdp = None;
    machine.smbios = Some(RSDP);
    let image = image();
    let cmdline = Cmdline::new();
    let request = BootRequest::new(&image, &machine, &cmdline);
    let error = PROTOCOL_ARM64.plan(&request).unwrap_err();
    assert!(matches!(error, PlanError::SmbiosInRam { addr: RSDP }), "{error}");
}

#[test]
fn the_memory_map_is_that_of_the_plan_in_whole_pages() {
    let mut machine = machine();
    let firmware = range(RAM_BASE + 32 * MIB, 0x10_0000);
    machine.platform.reserved_memory = vec![ReservedMemory::new("firmware", firmware)];
    let bad = range(RAM_BASE + 48 * MIB, 0x1000);
    machine.memory.reserve(bad, RegionKind::Unusable).unwrap();
    let plan = plan(&machine, None, &[]);
    let (efi, _) = load(&plan, label::EFI_TABLES);
    assert!(plan.memory().is_kind(efi, RegionKind::AcpiReclaimable));
    let acpi = range(RSDP, 0x2000);
    let found = memory_map(&plan);
    let of_type = |number: u32| {
        let found = found.iter().filter(move |(kind, ..)| *kind == number);
        found
            .map(|(_, range, attribute)| (*range, *attribute))
            .collect::<Vec<_>>()
    };
    assert_eq!(of_type(0), [(firmware, 0xf)]);
    assert_eq!(of_type(8), [(bad, 0)]);
    let mut reclaim = vec![(acpi, 0xf), (efi, 0xf)];
    reclaim.sort_unstable();
    assert_eq!(of_type(9), reclaim);
    let free = of_type(7);
    assert!(free.iter().all(|(_, attribute)| *attribute == 0xf));
    // All RAM is in the map, once and in order.
    let mut end = RAM_BASE;
    for (_, range, _) in &found {
        assert_eq!(range.start(), end);
        end = range.end();
    }
    assert_eq!(end, RAM_BASE + 64 * MIB);
    for label in [label::INITRD, label::DEVICE_TREE] {
        let (piece, _) = load(&plan, label);
        let is_free = free.iter().any(|(range, _)| range.contains(piece));
        assert!(is_free || acpi.contains(piece), "{label} {piece}");
    }
}

#[test]
fn pieces_keep_clear_of_efi_tables_at_a_fixed_address() {
    // The last page of RAM, where the initrd would be.
    let addr = RAM_BASE + 64 * MIB - 0x1000;
    let fixed = [FixedAddress::new(label::EFI_TABLES, addr)];
    let plan = plan(&machine(), None, &fixed);
    assert_eq!(load(&plan, label::EFI_TABLES).0.start(), addr);
    assert!(!memory_map(&plan).is_empty());
}

#[test]
fn a_tree_of_the_caller_gets_the_properties() {
    let mut plain = machine();
    plain.acpi_rsdp = None;
    let tree = create_fdt(&plain, &Chosen::new()).unwrap();
    let plan = plan(&machine(), Some(&tree), &[]);
    let tree = DeviceTree::parse(load(&plan, label::DEVICE_TREE).1).unwrap();
    assert!(tree.root.children.len() > 5);
    let (efi, _) = load(&plan, label::EFI_TABLES);
    assert_eq!(chosen(&tree, "linux,uefi-system-table", 2), efi.start());
}
