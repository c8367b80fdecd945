//! Type GUIDs of partitions.

use uguid::{Guid, guid};

/// EFI System Partition (UEFI specification 2.10, table 5.7).
pub const ESP: Guid = guid!("c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
/// Extended Boot Loader Partition of the Boot Loader Specification.
pub const XBOOTLDR: Guid = guid!("bc13c2ff-59e6-4262-a352-b275fd6f7172");
/// Linux file system data (Discoverable Partitions Specification, as are the next ones).
pub const LINUX_DATA: Guid = guid!("0fc63daf-8483-4772-8e79-3d69d8477de4");
/// Root file system for x86_64.
pub const LINUX_ROOT_X86_64: Guid = guid!("4f68bce3-e8cd-4db1-96e7-fbcaf984b709");
/// Root file system for arm64.
pub const LINUX_ROOT_ARM64: Guid = guid!("b921b045-1df0-41c3-af44-4c6f280d3fae");
/// Root file system for riscv64.
pub const LINUX_ROOT_RISCV64: Guid = guid!("72ec70a6-cf74-40e6-bd49-4bda08e8f224");
/// Linux swap.
pub const LINUX_SWAP: Guid = guid!("0657fd6d-a4ab-43c4-84e5-0933c84b4f4f");
/// BIOS boot partition of GRUB.
pub const BIOS_BOOT: Guid = guid!("21686148-6449-6e6f-744e-656564454649");
/// Microsoft basic data, also FAT file systems of other origin.
pub const BASIC_DATA: Guid = guid!("ebd0a0a2-b9e5-4433-87c0-68b6b72699c7");

/// Name of a type of this module.
#[must_use]
pub const fn name(partition_type: Guid) -> Option<&'static str> {
    Some(match partition_type {
        ESP => "EFI System Partition",
        XBOOTLDR => "Extended Boot Loader Partition",
        LINUX_DATA => "Linux file system",
        LINUX_ROOT_X86_64 => "Linux root (x86_64)",
        LINUX_ROOT_ARM64 => "Linux root (arm64)",
        LINUX_ROOT_RISCV64 => "Linux root (riscv64)",
        LINUX_SWAP => "Linux swap",
        BIOS_BOOT => "BIOS boot partition",
        BASIC_DATA => "Microsoft basic data",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_types_have_a_name() {
        assert_eq!(name(ESP), Some("EFI System Partition"));
        assert_eq!(name(LINUX_ROOT_ARM64), Some("Linux root (arm64)"));
        assert_eq!(name(Guid::ZERO), None);
        // The bytes on a disk: the first three groups are little-endian.
        let bytes = *b"\x28\x73\x2a\xc1\x1f\xf8\xd2\x11\xba\x4b\x00\xa0\xc9\x3e\xc9\x3b";
        assert_eq!(Guid::from_bytes(bytes), ESP);
    }
}
