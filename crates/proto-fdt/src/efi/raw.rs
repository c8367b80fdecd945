//! Structures of UEFI 2.10, in the order of the specification.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromZeros, Immutable, IntoBytes};

/// Name of the maker of the tables, with its NUL.
pub(super) const VENDOR: &str = "vmboot\0";

/// Length of the system table.
pub(super) const SYSTEM_TABLE_LEN: u64 = 120;

/// `EFI_TABLE_HEADER` (section 4.2.1).
#[derive(Clone, Copy, Debug, FromZeros, Immutable, IntoBytes)]
#[repr(C)]
struct TableHeader {
    signature: U64,
    revision: U32,
    header_size: U32,
    crc32: U32,
    reserved: U32,
}

/// `EFI_SYSTEM_TABLE` (section 4.3.1).
#[derive(Clone, Copy, Debug, FromZeros, Immutable, IntoBytes)]
#[repr(C)]
pub(super) struct SystemTable {
    header: TableHeader,
    firmware_vendor: U64,
    firmware_revision: U32,
    padding: U32,
    console_in_handle: U64,
    console_in: U64,
    console_out_handle: U64,
    console_out: U64,
    standard_error_handle: U64,
    standard_error: U64,
    runtime_services: U64,
    boot_services: U64,
    configuration_table_count: U64,
    configuration_tables: U64,
}

const _: () = assert!(size_of::<SystemTable>() == 120);

impl SystemTable {
    /// `EFI_SYSTEM_TABLE_SIGNATURE`.
    const SIGNATURE: [u8; 8] = *b"IBI SYST";
    /// UEFI 2.10: the major version, and a hundred, which stands for "10".
    const REVISION: u32 = 0x0002_0064;

    /// A system table after `ExitBootServices`, without runtime services.
    pub(super) fn new(vendor: u64, tables: u64, count: u64) -> Self {
        let mut table = Self::new_zeroed();
        table.header.signature = U64::from_bytes(Self::SIGNATURE);
        table.header.revision = Self::REVISION.into();
        table.header.header_size = 120.into();
        table.firmware_vendor = vendor.into();
        table.configuration_table_count = count.into();
        table.configuration_tables = tables.into();
        // Over the header with a checksum of zero: that is, over the header size.
        table.header.crc32 = crc32fast::hash(table.as_bytes()).into();
        table
    }
}

/// `EFI_GUID` in the order of its bytes in memory (appendix A).
#[derive(Clone, Copy, Debug, Immutable, IntoBytes)]
#[repr(transparent)]
pub(super) struct Guid([u8; 16]);

impl Guid {
    /// `EFI_ACPI_20_TABLE_GUID`: 8868e871-e4f1-11d3-bc22-0080c73c8881 (section 4.6).
    pub(super) const ACPI_20: Self = Self([
        0x71, 0xe8, 0x68, 0x88, 0xf1, 0xe4, 0xd3, 0x11, 0xbc, 0x22, 0x00, 0x80, 0xc7, 0x3c, 0x88, 0x81,
    ]);
    /// `SMBIOS3_TABLE_GUID`: f2fd1544-9794-4a2c-992e-e5bbcf20e394 (section 4.6).
    pub(super) const SMBIOS_3: Self = Self([
        0x44, 0x15, 0xfd, 0xf2, 0x94, 0x97, 0x2c, 0x4a, 0x99, 0x2e, 0xe5, 0xbb, 0xcf, 0x20, 0xe3, 0x94,
    ]);
    /// `EFI_RT_PROPERTIES_TABLE_GUID`: eb66918a-7eef-402a-842e-931d21c38ae9 (section 4.6.2).
    pub(super) const RT_PROPERTIES: Self = Self([
        0x8a, 0x91, 0x66, 0xeb, 0xef, 0x7e, 0x2a, 0x40, 0x84, 0x2e, 0x93, 0x1d, 0x21, 0xc3, 0x8a, 0xe9,
    ]);
}

/// `EFI_CONFIGURATION_TABLE` (section 4.6).
#[derive(Clone, Copy, Debug, Immutable, IntoBytes)]
#[repr(C)]
pub(super) struct ConfigurationTable {
    guid: Guid,
    table: U64,
}

const _: () = assert!(size_of::<ConfigurationTable>() == 24);

impl ConfigurationTable {
    pub(super) fn new(guid: Guid, table: u64) -> Self {
        Self {
            guid,
            table: table.into(),
        }
    }
}

/// `EFI_RT_PROPERTIES_TABLE` (section 4.6.2).
#[derive(Clone, Copy, Debug, Immutable, IntoBytes)]
#[repr(C)]
pub(super) struct RuntimeProperties {
    version: U16,
    length: U16,
    services: U32,
}

const _: () = assert!(size_of::<RuntimeProperties>() == 8);

impl RuntimeProperties {
    /// No runtime service can be called.
    pub(super) const NONE: Self = Self {
        version: U16::new(1),
        length: U16::new(8),
        services: U32::ZERO,
    };
}

/// `EFI_MEMORY_DESCRIPTOR` (section 7.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Immutable, IntoBytes)]
#[repr(C)]
pub(super) struct MemoryDescriptor {
    kind: U32,
    padding: U32,
    pub(super) physical_start: U64,
    virtual_start: U64,
    pub(super) pages: U64,
    attribute: U64,
}

impl MemoryDescriptor {
    pub(super) fn new(kind: MemoryType, physical_start: u64, pages: u64) -> Self {
        Self {
            kind: kind.number.into(),
            padding: U32::ZERO,
            physical_start: physical_start.into(),
            virtual_start: U64::ZERO,
            pages: pages.into(),
            attribute: kind.attribute.into(),
        }
    }
}

/// `EFI_MEMORY_TYPE` (section 7.2.1), with the attributes of such memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MemoryType {
    number: u32,
    attribute: u64,
}

impl MemoryType {
    /// `EFI_MEMORY_UC`, `WC`, `WT` and `WB`: the memory can be cached in each way.
    const CACHED: u64 = 0xf;
    /// `EFI_MEMORY_NV`.
    const NON_VOLATILE: u64 = 0x8000;

    const fn new(number: u32, attribute: u64) -> Self {
        Self { number, attribute }
    }

    /// `EfiReservedMemoryType`.
    pub(super) const RESERVED: Self = Self::new(0, Self::CACHED);
    /// `EfiConventionalMemory`.
    pub(super) const CONVENTIONAL: Self = Self::new(7, Self::CACHED);
    /// `EfiUnusableMemory`.
    pub(super) const UNUSABLE: Self = Self::new(8, 0);
    /// `EfiACPIReclaimMemory`.
    pub(super) const ACPI_RECLAIM: Self = Self::new(9, Self::CACHED);
    /// `EfiACPIMemoryNVS`.
    pub(super) const ACPI_NVS: Self = Self::new(10, Self::CACHED);
    /// `EfiPersistentMemory`.
    pub(super) const PERSISTENT: Self = Self::new(14, Self::CACHED | Self::NON_VOLATILE);
}
