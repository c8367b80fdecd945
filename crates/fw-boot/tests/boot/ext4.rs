//! Boots from ext4 file systems.

use disk::{BlockSize, SourceBlocks};

use super::{Booted, boot_devices, disk, kernel};

#[expect(
    dead_code,
    clippy::cast_possible_truncation,
    reason = "the writer of another crate's tests"
)]
#[path = "../../../fs-ext4/tests/ext4/image_writer.rs"]
mod image_writer;

use image_writer::Image;

/// First sector of the first partition.
const START: usize = 2048;

/// A disk with an MBR and partitions of these types.
fn mbr(partitions: &[(u8, &[u8])]) -> Vec<u8> {
    let mut disk = vec![0; START * 512];
    for (index, (os_type, bytes)) in partitions.iter().enumerate() {
        let (start, count) = (disk.len() / 512, bytes.len() / 512);
        let record = &mut disk[446 + 16 * index..][..16];
        record[4] = *os_type;
        record[8..12].copy_from_slice(&u32::try_from(start).unwrap().to_le_bytes());
        record[12..16].copy_from_slice(&u32::try_from(count).unwrap().to_le_bytes());
        disk.extend(*bytes);
    }
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    disk
}

/// The inodes of a volume with an entry in `DIRECTORY/loader/entries`, whose kernel is called `linux` there and is in the same directory.
fn volume(is_below_boot: bool, linux: &str) -> Vec<u8> {
    let mut image = Image::new(0);
    let entry = format!("title Ext4\nlinux {linux}\noptions quiet\n");
    let boot = if is_below_boot {
        image.dir(2, &[&[(2, 2, "."), (2, 2, ".."), (20, 2, "boot")]]);
        20
    } else {
        2
    };
    image.dir(
        boot,
        &[&[
            (boot, 2, "."),
            (2, 2, ".."),
            (21, 2, "loader"),
            (23, 1, "vmlinux"),
        ]],
    );
    image.dir(21, &[&[(21, 2, "."), (boot, 2, ".."), (22, 2, "entries")]]);
    image.dir(22, &[&[(22, 2, "."), (21, 2, ".."), (24, 1, "test.conf")]]);
    image.file(23, &kernel());
    image.file(24, entry.as_bytes());
    image.bytes
}

fn boot_image(image: &[u8]) -> Booted {
    let device = SourceBlocks::new(image, BlockSize::B512).unwrap();
    boot_devices(&[&device], &[], &[])
}

fn check_boots(image: &[u8]) {
    let booted = boot_image(image);
    assert_eq!(booted.log, ["loading Ext4 (test.conf)"]);
    assert!(booted.pointed(0x228).starts_with(b"quiet\0"));
}

#[test]
fn xbootldr_may_have_ext4() {
    let esp = disk(&[("EFI/README", b"")]);
    check_boots(&mbr(&[(0xef, &esp), (0xea, &volume(false, "/vmlinux"))]));
    check_boots(&mbr(&[(0xea, &volume(false, "/vmlinux"))]));
    // The whole disk.
    check_boots(&volume(false, "/vmlinux"));
}

#[test]
fn a_root_file_system_has_entries_where_no_boot_partition_is() {
    check_boots(&mbr(&[(0x83, &volume(false, "/vmlinux"))]));
    check_boots(&mbr(&[(0x83, &volume(true, "/vmlinux"))]));
    check_boots(&mbr(&[(0x83, &volume(true, "/boot/vmlinux"))]));
    // A partition for swap before it, and one of another type.
    let swap = vec![0; 1 << 20];
    check_boots(&mbr(&[(0x83, &swap), (0x83, &volume(true, "/vmlinux"))]));
    let other = mbr(&[(0x07, &volume(true, "/vmlinux"))]);
    assert_eq!(boot_image(&other).log, ["disk 0 has no boot entries"]);
    // With a boot partition, only that one counts.
    let esp = disk(&[("EFI/README", b"")]);
    let booted = boot_image(&mbr(&[(0xef, &esp), (0x83, &volume(true, "/vmlinux"))]));
    assert_eq!(booted.log, ["disk 0 has no boot entries"]);
}

#[test]
fn broken_volumes_are_reported() {
    for os_type in [0xea, 0x83] {
        let mut broken = volume(false, "/vmlinux");
        broken[1024 + 0x18] = 9;
        let booted = boot_image(&mbr(&[(os_type, &broken)]));
        assert_eq!(
            booted.log,
            [
                "disk 0, partition 1: s_log_block_size at 0x418 is 0x9, expected 0 to 6",
                "disk 0 has no boot entries"
            ]
        );
    }
    // What is neither FAT nor ext4 has the error of FAT.
    let booted = boot_image(&mbr(&[(0xea, &vec![0; 1 << 20])]));
    assert_eq!(
        booted.log[0],
        "disk 0, partition 1: the partition has no FAT file system: Signature_word at 0x1fe is 0x0, expected 0xaa55"
    );
}
