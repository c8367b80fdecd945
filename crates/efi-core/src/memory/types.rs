//! Memory types, attributes and descriptors.

use bitflags::bitflags;

/// Size of a page of the specification in bytes, whatever the page size of the CPU.
pub const PAGE_SIZE: u64 = 4096;

/// `EFI_MEMORY_TYPE`: an open set of numbers. From 0x7000_0000 on they belong to OEMs, from 0x8000_0000 on to OS loaders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemoryType(pub u32);

impl MemoryType {
    /// Not usable.
    pub const RESERVED: Self = Self(0);
    /// Code of a loaded application.
    pub const LOADER_CODE: Self = Self(1);
    /// Data of a loaded application, and the default of its allocations.
    pub const LOADER_DATA: Self = Self(2);
    /// Code of boot services; free after `ExitBootServices`.
    pub const BOOT_SERVICES_CODE: Self = Self(3);
    /// Data of boot services; free after `ExitBootServices`.
    pub const BOOT_SERVICES_DATA: Self = Self(4);
    /// Code of runtime services.
    pub const RUNTIME_SERVICES_CODE: Self = Self(5);
    /// Data of runtime services.
    pub const RUNTIME_SERVICES_DATA: Self = Self(6);
    /// Free memory.
    pub const CONVENTIONAL: Self = Self(7);
    /// Memory with errors.
    pub const UNUSABLE: Self = Self(8);
    /// ACPI tables; free after they were read.
    pub const ACPI_RECLAIM: Self = Self(9);
    /// Memory of ACPI firmware.
    pub const ACPI_NVS: Self = Self(10);
    /// Registers of devices, mapped for runtime services.
    pub const MMIO: Self = Self(11);
    /// Translated port I/O.
    pub const MMIO_PORT_SPACE: Self = Self(12);
    /// Code of the processor's firmware.
    pub const PAL_CODE: Self = Self(13);
    /// Non-volatile memory.
    pub const PERSISTENT: Self = Self(14);
    /// Memory that has to be accepted before use.
    pub const UNACCEPTED: Self = Self(15);

    /// True for code and data of runtime services, which are mapped after `ExitBootServices`.
    #[must_use]
    pub const fn is_runtime(self) -> bool {
        matches!(self, Self::RUNTIME_SERVICES_CODE | Self::RUNTIME_SERVICES_DATA)
    }

    /// True if `AllocatePages` and `AllocatePool` accept the type.
    #[must_use]
    pub const fn is_allocatable(self) -> bool {
        match self {
            Self::CONVENTIONAL | Self::PERSISTENT | Self::UNACCEPTED => false,
            Self(number) => number < 16 || number >= 0x7000_0000,
        }
    }

    /// True for the types that an operating system with larger pages must be able to map apart, UEFI 2.10 section 2.3.6.
    #[must_use]
    pub const fn survives_boot(self) -> bool {
        matches!(
            self,
            Self::RESERVED | Self::RUNTIME_SERVICES_CODE | Self::RUNTIME_SERVICES_DATA | Self::ACPI_NVS
        )
    }
}

bitflags! {
    /// Attributes of memory, `EFI_MEMORY_*`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Attributes: u64 {
        /// Supports uncached mappings.
        const UC = 0x1;
        /// Supports write-combining mappings.
        const WC = 0x2;
        /// Supports write-through mappings.
        const WT = 0x4;
        /// Supports write-back mappings.
        const WB = 0x8;
        /// Supports uncached, exported mappings.
        const UCE = 0x10;
        /// Supports write protection by the memory controller.
        const WP = 0x1000;
        /// Not readable.
        const RP = 0x2000;
        /// Not executable.
        const XP = 0x4000;
        /// Persistent memory.
        const NV = 0x8000;
        /// More reliable than other memory.
        const MORE_RELIABLE = 0x1_0000;
        /// Not writable.
        const RO = 0x2_0000;
        /// For specific purposes.
        const SP = 0x4_0000;
        /// Can be encrypted by the CPU.
        const CPU_CRYPTO = 0x8_0000;
        /// Mapped at runtime.
        const RUNTIME = 1 << 63;
    }
}

impl Attributes {
    /// Attributes that page tables enforce and `EFI_MEMORY_ATTRIBUTE_PROTOCOL` changes.
    pub const ACCESS: Self = Self::RP.union(Self::XP).union(Self::RO);
    /// Attributes of ordinary RAM.
    pub const RAM: Self = Self::UC.union(Self::WC).union(Self::WT).union(Self::WB);
}

/// A range of pages of one type, as in `EFI_MEMORY_DESCRIPTOR`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Descriptor {
    /// The type.
    pub kind: MemoryType,
    /// Physical address of the first byte, a multiple of [`PAGE_SIZE`].
    pub start: u64,
    /// Number of pages of [`PAGE_SIZE`] bytes, at least 1.
    pub pages: u64,
    /// Attributes of the range.
    pub attributes: Attributes,
}

impl Descriptor {
    /// A range of RAM.
    #[must_use]
    pub const fn ram(kind: MemoryType, start: u64, pages: u64) -> Self {
        Self {
            kind,
            start,
            pages,
            attributes: Attributes::RAM,
        }
    }

    /// Length in bytes.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.pages.saturating_mul(PAGE_SIZE)
    }

    /// True for a range without pages, which no map contains.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.pages == 0
    }

    /// Address of the last byte.
    #[must_use]
    pub const fn last(&self) -> u64 {
        self.start.saturating_add(self.len().saturating_sub(1))
    }
}
