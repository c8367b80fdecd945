//! `EFI_FILE_INFO`, `EFI_FILE_SYSTEM_INFO` and the volume label, UEFI 2.10 sections 13.5.16 to 13.5.18, as bytes.

use alloc::vec::Vec;

use disk::{FileSystem, Node, Timestamp};

/// Bytes of a name with NUL.
fn name_bytes(name: &str) -> Vec<u8> {
    name.encode_utf16()
        .chain([0])
        .flat_map(u16::to_le_bytes)
        .collect()
}

/// `EFI_TIME` of 16 bytes; zeros if the time is unknown.
fn time_bytes(time: Option<Timestamp>) -> [u8; 16] {
    let Some(time) = time else { return [0; 16] };
    let [year, year_high] = time.year().to_le_bytes();
    let [n0, n1, n2, n3] = time.nanosecond().to_le_bytes();
    // The zone is not specified: file systems store local time.
    let [zone, zone_high] = efi_core::time::UNSPECIFIED_TIMEZONE.to_le_bytes();
    let (hour, minute, second) = (time.hour(), time.minute(), time.second());
    [
        year,
        year_high,
        time.month(),
        time.day(),
        hour,
        minute,
        second,
        0,
        n0,
        n1,
        n2,
        n3,
        zone,
        zone_high,
        0,
        0,
    ]
}

/// Prepends the length of the whole.
fn with_len(body: &[u8]) -> Vec<u8> {
    let len = body.len() as u64 + 8;
    [&len.to_le_bytes()[..], body].concat()
}

/// `EFI_FILE_INFO` of a node.
pub(super) fn file_info(name: &str, node: &Node, file_system: &dyn FileSystem) -> Vec<u8> {
    let metadata = &node.metadata;
    let unit = u64::from(file_system.info().unit.max(1));
    let physical = metadata
        .len
        .checked_next_multiple_of(unit)
        .unwrap_or(metadata.len);
    let directory = if node.is_directory() { 0x10 } else { 0 };
    let attributes = u64::from(metadata.attributes.bits()) | directory;
    let parts: [&[u8]; 7] = [
        &metadata.len.to_le_bytes(),
        &physical.to_le_bytes(),
        &time_bytes(metadata.created),
        &time_bytes(metadata.accessed),
        &time_bytes(metadata.modified),
        &attributes.to_le_bytes(),
        &name_bytes(name),
    ];
    with_len(&parts.concat())
}

/// `EFI_FILE_SYSTEM_INFO`.
pub(super) fn file_system_info(file_system: &dyn FileSystem) -> Vec<u8> {
    let info = file_system.info();
    let label = name_bytes(info.label.as_deref().unwrap_or(""));
    // Read-only, without free space. The label follows the 32-bit block size at once.
    let parts: [&[u8]; 5] = [
        &[1, 0, 0, 0, 0, 0, 0, 0],
        &info.capacity.to_le_bytes(),
        &0_u64.to_le_bytes(),
        &info.unit.to_le_bytes(),
        &label,
    ];
    with_len(&parts.concat())
}

/// `EFI_FILE_SYSTEM_VOLUME_LABEL`.
pub(super) fn volume_label(file_system: &dyn FileSystem) -> Vec<u8> {
    name_bytes(file_system.info().label.as_deref().unwrap_or(""))
}
