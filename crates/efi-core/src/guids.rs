//! GUIDs of protocols, tables, event groups and variables that the services use.

use uguid::{Guid, guid};

macro_rules! guids {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub const $name: Guid = guid!($text);)*
    };
}

guids! {
    /// Variables of the specification, `EFI_GLOBAL_VARIABLE`.
    GLOBAL_VARIABLE = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
    /// Signature databases `db`, `dbx`, `dbt` and `dbr`.
    IMAGE_SECURITY_DATABASE = "d719b2cb-3d3a-4596-a3bc-dad00e67656f";
    /// Vendor of hardware error records.
    HARDWARE_ERROR_VARIABLE = "414e6bdd-e47b-47cc-b244-bb61020cf516";

    /// `EFI_LOADED_IMAGE_PROTOCOL`.
    LOADED_IMAGE = "5b1b31a1-9562-11d2-8e3f-00a0c969723b";
    /// `EFI_LOADED_IMAGE_DEVICE_PATH_PROTOCOL`.
    LOADED_IMAGE_DEVICE_PATH = "bc62157e-3e33-4fec-9920-2d3b36d750df";
    /// `EFI_DEVICE_PATH_PROTOCOL`.
    DEVICE_PATH = "09576e91-6d3f-11d2-8e39-00a0c969723b";
    /// `EFI_DEVICE_PATH_TO_TEXT_PROTOCOL`.
    DEVICE_PATH_TO_TEXT = "8b843e20-8132-4852-90cc-551a4e4a7f1c";
    /// `EFI_BLOCK_IO_PROTOCOL`.
    BLOCK_IO = "964e5b21-6459-11d2-8e39-00a0c969723b";
    /// `EFI_DISK_IO_PROTOCOL`.
    DISK_IO = "ce345171-ba0b-11d2-8e4f-00a0c969723b";
    /// `EFI_SIMPLE_FILE_SYSTEM_PROTOCOL`.
    SIMPLE_FILE_SYSTEM = "964e5b22-6459-11d2-8e39-00a0c969723b";
    /// `EFI_SIMPLE_TEXT_INPUT_PROTOCOL`.
    SIMPLE_TEXT_INPUT = "387477c1-69c7-11d2-8e39-00a0c969723b";
    /// `EFI_SIMPLE_TEXT_INPUT_EX_PROTOCOL`.
    SIMPLE_TEXT_INPUT_EX = "dd9e7534-7762-4698-8c14-f58517a625aa";
    /// `EFI_SIMPLE_TEXT_OUTPUT_PROTOCOL`.
    SIMPLE_TEXT_OUTPUT = "387477c2-69c7-11d2-8e39-00a0c969723b";
    /// `EFI_DRIVER_BINDING_PROTOCOL`.
    DRIVER_BINDING = "18a031ab-b443-4d1a-a5c0-0c09261e9f71";
    /// `EFI_LOAD_FILE_PROTOCOL`.
    LOAD_FILE = "56ec3091-954c-11d2-8e3f-00a0c969723b";
    /// `EFI_LOAD_FILE2_PROTOCOL`.
    LOAD_FILE2 = "4006c0c1-fcb3-403e-996d-4a6c8724e06d";
    /// `EFI_RNG_PROTOCOL`.
    RNG = "3152bca5-eade-433d-862e-c01cdc291f44";
    /// `EFI_UNICODE_COLLATION_PROTOCOL2`.
    UNICODE_COLLATION2 = "a4c751fc-23ae-4c3e-92e9-4964cf63f349";
    /// `EFI_MEMORY_ATTRIBUTE_PROTOCOL`.
    MEMORY_ATTRIBUTE = "f4560cf6-40ec-4b4a-a192-bf1d57d0b189";
    /// `RISCV_EFI_BOOT_PROTOCOL`.
    RISCV_BOOT = "ccd15fec-6f73-4eec-8395-3e69e4b940bf";

    /// `EFI_FILE_INFO_ID`.
    FILE_INFO = "09576e92-6d3f-11d2-8e39-00a0c969723b";
    /// `EFI_FILE_SYSTEM_INFO_ID`.
    FILE_SYSTEM_INFO = "09576e93-6d3f-11d2-8e39-00a0c969723b";
    /// `EFI_FILE_SYSTEM_VOLUME_LABEL_ID`.
    FILE_SYSTEM_VOLUME_LABEL = "db47d7d3-fe81-11d3-9a35-0090273fc14d";

    /// ACPI 1.0 RSDP.
    ACPI_10_TABLE = "eb9d2d30-2d88-11d3-9a16-0090273fc14d";
    /// ACPI 2.0 or later RSDP.
    ACPI_20_TABLE = "8868e871-e4f1-11d3-bc22-0080c73c8881";
    /// SMBIOS 2.x entry point.
    SMBIOS_TABLE = "eb9d2d31-2d88-11d3-9a16-0090273fc14d";
    /// SMBIOS 3.x entry point.
    SMBIOS3_TABLE = "f2fd1544-9794-4a2c-992e-e5bbcf20e394";
    /// Device tree in the flattened form.
    DEVICE_TREE = "b1b621d5-f19c-41a5-830b-d9152c69aae0";
    /// `EFI_MEMORY_ATTRIBUTES_TABLE`.
    MEMORY_ATTRIBUTES_TABLE = "dcfa911d-26eb-469f-a220-38b7dc461220";
    /// `EFI_RT_PROPERTIES_TABLE`.
    RT_PROPERTIES_TABLE = "eb66918a-7eef-402a-842e-931d21c38ae9";

    /// Event group of `ExitBootServices`.
    EVENT_EXIT_BOOT_SERVICES = "27abf055-b1b8-4c26-8048-748f37baa2df";
    /// Event group that is signalled before `ExitBootServices` does anything.
    EVENT_BEFORE_EXIT_BOOT_SERVICES = "8be0e274-3970-4b44-80c5-1ab9502f3bfc";
    /// Event group of `SetVirtualAddressMap`.
    EVENT_VIRTUAL_ADDRESS_CHANGE = "13fa7698-c831-49c7-87ea-8f43fcc25196";
    /// Event group of changes of the memory map.
    EVENT_MEMORY_MAP_CHANGE = "78bee926-692f-48fd-9edb-01422ef0d7ab";
    /// Event group that is signalled before a boot option is started.
    EVENT_READY_TO_BOOT = "7ce88fb3-4bd7-4679-87a8-a8d8dee50d2b";
    /// Event group that is signalled after `EVENT_READY_TO_BOOT`.
    EVENT_AFTER_READY_TO_BOOT = "3a2a00ad-98b9-4cdf-a478-702777f1c10b";
}
