//! EFI tables for kernels that get ACPI tables in place of a device tree: a system table without services, configuration tables, and a memory map.
//!
//! Linux takes them from `/chosen`, where its EFI stub leaves those of a firmware (`Documentation/arch/arm/uefi.rst`,
//! `drivers/firmware/efi/fdtparams.c`).

mod memory_map;
mod raw;

use alloc::vec::Vec;

use boot_core::{GuestRange, Machine, MemoryMap, arith};
use zerocopy::IntoBytes as _;

use crate::reserved::ReservedRange;
pub(crate) use memory_map::PAGE;
use raw::{ConfigurationTable, Guid, MemoryDescriptor, RuntimeProperties, SystemTable};

/// Where a kernel finds the EFI tables: the `linux,uefi-*` properties of `/chosen`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct EfiHandover {
    /// `linux,uefi-system-table`: the guest physical address of the EFI system table (UEFI 2.10, section 4.3).
    pub system_table: u64,
    /// `linux,uefi-mmap-start` and `-size`: the addresses of the EFI memory map.
    pub memory_map: GuestRange,
    /// `linux,uefi-mmap-desc-size`: bytes from one descriptor of the map to the next.
    pub descriptor_size: u32,
    /// `linux,uefi-mmap-desc-ver`: the version of the descriptors.
    pub descriptor_version: u32,
}

impl EfiHandover {
    /// A system table and a memory map with the descriptors of UEFI 2.10, section 7.2.3: version 1, 40 bytes.
    #[must_use]
    pub const fn new(system_table: u64, memory_map: GuestRange) -> Self {
        Self {
            system_table,
            memory_map,
            descriptor_size: 40,
            descriptor_version: 1,
        }
    }

    /// The same with descriptors of another size in bytes.
    #[must_use]
    pub const fn with_descriptor_size(self, descriptor_size: u32) -> Self {
        Self {
            descriptor_size,
            ..self
        }
    }
}

const _: () = assert!(size_of::<MemoryDescriptor>() == 40);

/// What the tables tell, apart from their own address.
pub(crate) struct EfiTables<'a> {
    /// The address of the ACPI root pointer.
    pub(crate) acpi_rsdp: Option<u64>,
    /// The address of the SMBIOS entry point.
    pub(crate) smbios: Option<u64>,
    /// The memory map that is described to the guest, without the tables themselves.
    pub(crate) memory: &'a MemoryMap,
    /// RAM that the kernel must not use.
    pub(crate) reserved: &'a [ReservedRange],
}

/// The tables, and where a kernel finds them.
pub(crate) struct Block {
    pub(crate) bytes: Vec<u8>,
    pub(crate) handover: EfiHandover,
}

impl<'a> EfiTables<'a> {
    /// The tables for `machine` with the memory map that is described to the guest; `None` without tables to hand over.
    pub(crate) fn of(machine: &'a Machine, reserved: &'a [ReservedRange]) -> Option<Self> {
        let tables = Self {
            acpi_rsdp: machine.acpi_rsdp,
            smbios: machine.smbios,
            memory: &machine.memory,
            reserved,
        };
        (tables.acpi_rsdp.is_some() || tables.smbios.is_some()).then_some(tables)
    }

    /// Number of bytes, whole pages: as many as are needed wherever the tables are.
    pub(crate) fn len(&self) -> u64 {
        let head = self.head(0, 0).bytes.len();
        // The tables divide one descriptor into three.
        let descriptors = self.descriptors(GuestRange::EMPTY).len().saturating_add(2);
        let map = descriptors.saturating_mul(size_of::<MemoryDescriptor>());
        let len = arith::to_u64(head.saturating_add(map));
        arith::align_up(len, PAGE).unwrap_or(u64::MAX)
    }

    /// The tables for `range`, which has their [length](Self::len).
    pub(crate) fn build(&self, range: GuestRange) -> Block {
        let map = self.descriptors(range);
        let map_len = arith::to_u64(map.as_bytes().len());
        let mut block = self.head(range.start(), map_len);
        block.bytes.extend_from_slice(map.as_bytes());
        block
    }

    fn descriptors(&self, own: GuestRange) -> Vec<MemoryDescriptor> {
        memory_map::descriptors(self.memory, self.reserved, own)
    }

    /// All tables but the memory map, which is behind them.
    fn head(&self, addr: u64, map_len: u64) -> Block {
        const TABLES: u64 = raw::SYSTEM_TABLE_LEN;
        let known = [(Guid::ACPI_20, self.acpi_rsdp), (Guid::SMBIOS_3, self.smbios)];
        let known = known.iter().filter_map(|(guid, addr)| Some((*guid, (*addr)?)));
        let mut tables: Vec<_> = known
            .map(|(guid, addr)| ConfigurationTable::new(guid, addr))
            .collect();
        // With that of the properties, which follow.
        let count = arith::to_u64(tables.len().saturating_add(1));
        let of_array = arith::to_u64(size_of::<ConfigurationTable>()).saturating_mul(count);
        let properties = addr.saturating_add(TABLES).saturating_add(of_array);
        tables.push(ConfigurationTable::new(Guid::RT_PROPERTIES, properties));
        let vendor = properties.saturating_add(arith::to_u64(size_of::<RuntimeProperties>()));
        let system_table = SystemTable::new(vendor, addr.saturating_add(TABLES), count);
        let mut bytes = system_table.as_bytes().to_vec();
        bytes.extend_from_slice(tables.as_bytes());
        bytes.extend_from_slice(RuntimeProperties::NONE.as_bytes());
        bytes.extend(raw::VENDOR.encode_utf16().flat_map(u16::to_le_bytes));
        // A multiple of eight, at which the memory map is aligned.
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        let map = addr.saturating_add(arith::to_u64(bytes.len()));
        let map = GuestRange::new(map, map_len).unwrap_or(GuestRange::EMPTY);
        Block {
            bytes,
            handover: EfiHandover::new(addr, map),
        }
    }
}
