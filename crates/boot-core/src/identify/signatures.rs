//! The table of magic numbers. A file that matches two signatures is of the first kind.

use super::file_kind::{FileKind, Signature, signature};

/// A FIT image: a device tree with a node `images`.
pub(super) const FIT: FileKind = FileKind {
    name: "a FIT image of U-Boot",
    advice: "list its parts with \"dumpimage -l FILE\", extract the kernel with \"dumpimage -T flat_dt -p 0 -o OUTPUT FILE\" and \
             boot OUTPUT",
};

/// A firmware ROM of a PC without another magic number.
pub(super) const FIRMWARE: FileKind = FileKind {
    name: "a firmware ROM",
    advice: NOT_FIRMWARE,
};

/// Advice for firmware.
const NOT_FIRMWARE: &str =
    "firmware is not loaded as a kernel; boot the kernel that the firmware would start";

/// Advice for a disk.
const DISK: &str = "copy the kernel out of it with \"virt-get-kernel -a FILE\" and boot that";

/// Advice for a boot sector, which may be that of a disk.
const BOOT_SECTOR: &str = "copy the kernel out of a disk with \"virt-get-kernel -a FILE\"; a boot sector needs a BIOS, which this \
                           program does not have";

/// Advice for a file system without a partition table.
const FILE_SYSTEM: &str = "mount it with \"mount -o loop,ro FILE DIR\" and boot the kernel in DIR/boot; without one there, get the \
                           kernel separately";

/// Advice for a kernel of a format that this program does not have.
const NO_FORMAT: &str = "this program was built without that format";

/// Advice for a program of another operating system.
const NOT_A_KERNEL: &str =
    "it is not a kernel that a boot protocol can start; link the kernel as an ELF file";

pub(super) const SIGNATURES: [Signature; 64] = [
    // Kernel images: no format of this program recognised the file.
    signature(&[(0x38, b"ARM\x64")], "an arm64 Image", NO_FORMAT),
    signature(&[(0x38, b"RSC\x05")], "a riscv Image", NO_FORMAT),
    signature(&[(0x202, b"HdrS")], "a Linux x86 bzImage", NO_FORMAT),
    signature(&[(0, b"MZ"), (4, b"zimg")], "an EFI zboot image", NO_FORMAT),
    signature(
        &[(0x24, b"\x18\x28\x6f\x01")],
        "a zImage for 32-bit ARM",
        "32-bit ARM is not supported; boot an arm64 kernel",
    ),
    signature(&[(0, b"\x7fELF")], "an ELF file", NO_FORMAT),
    // Compressed files.
    signature(
        &[(0, b"\x1f\x8b\x08")],
        "compressed with gzip",
        "decompress it with \"gzip -dc FILE > OUTPUT\" and boot OUTPUT",
    ),
    signature(
        &[(0, b"\xfd7zXZ\0")],
        "compressed with xz",
        "decompress it with \"xz -dc FILE > OUTPUT\" and boot OUTPUT",
    ),
    signature(
        &[(0, b"\x28\xb5\x2f\xfd")],
        "compressed with zstd",
        "decompress it with \"zstd -dc FILE > OUTPUT\" and boot OUTPUT",
    ),
    signature(
        &[(0, b"\x04\x22\x4d\x18")],
        "compressed with lz4",
        "decompress it with \"lz4 -dc FILE > OUTPUT\" and boot OUTPUT",
    ),
    signature(
        &[(0, b"\x02\x21\x4c\x18")],
        "compressed with lz4 (legacy frame)",
        "decompress it with \"lz4 -dc FILE > OUTPUT\" and boot OUTPUT",
    ),
    signature(
        &[(0, b"BZh"), (4, b"\x31\x41\x59\x26\x53\x59")],
        "compressed with bzip2",
        "decompress it with \"bzip2 -dc FILE > OUTPUT\" and boot OUTPUT",
    ),
    signature(
        &[(0, b"\x89LZO\0\r\n\x1a\n")],
        "compressed with lzop",
        "decompress it with \"lzop -dc FILE > OUTPUT\" and boot OUTPUT",
    ),
    signature(
        &[(0, b"\x5d\0\0"), (12, b"\0")],
        "compressed with lzma",
        "decompress it with \"xz --format=lzma -dc FILE > OUTPUT\" and boot OUTPUT",
    ),
    signature(
        &[(0, b"\x5d\0\0"), (5, b"\xff\xff\xff\xff\xff\xff\xff\xff")],
        "compressed with lzma",
        "decompress it with \"xz --format=lzma -dc FILE > OUTPUT\" and boot OUTPUT",
    ),
    // Containers of boot loaders.
    signature(
        &[(0, b"\x27\x05\x19\x56"), (30, b"\x02")],
        "a legacy image of U-Boot (uImage) with a kernel",
        "remove its header with \"tail -c +65 FILE > OUTPUT\" and boot OUTPUT",
    ),
    signature(
        &[(0, b"\x27\x05\x19\x56")],
        "a legacy image of U-Boot (uImage) without a kernel",
        "list its contents with \"dumpimage -l FILE\"",
    ),
    signature(
        &[(0, b"\xd0\x0d\xfe\xed")],
        "a device tree",
        "pass it as the device tree of the machine, not as the kernel",
    ),
    signature(
        &[(0, b"ANDROID!")],
        "an Android boot image",
        "extract the kernel with \"unpack_bootimg --boot_img FILE --out DIR\" and boot DIR/kernel",
    ),
    signature(
        &[(0, b"VNDRBOOT")],
        "an Android vendor_boot image, which has no kernel",
        "take the kernel from the boot image beside it",
    ),
    signature(
        &[(0, b"CHROMEOS")],
        "a ChromeOS kernel partition",
        "extract the kernel with \"futility vbutil_kernel --get-vmlinuz FILE --vmlinuz-out OUTPUT\" and boot OUTPUT",
    ),
    // Archives and packages.
    signature(
        &[(0, b"070701")],
        "a cpio archive, the format of an initrd",
        INITRD,
    ),
    signature(
        &[(0, b"070702")],
        "a cpio archive with checksums, the format of an initrd",
        INITRD,
    ),
    signature(
        &[(0, b"070707")],
        "an old cpio archive",
        "convert it to the format newc, and pass it as the initrd",
    ),
    signature(
        &[(0, b"!<arch>\ndebian-binary")],
        "a Debian package",
        "unpack it with \"dpkg-deb -x FILE DIR\" and boot the kernel in DIR/boot",
    ),
    signature(
        &[(0, b"!<arch>\n")],
        "an ar archive, such as a static library",
        "link it to a kernel",
    ),
    signature(
        &[(0, b"\xed\xab\xee\xdb")],
        "an RPM package",
        "unpack it with \"rpm2cpio FILE | cpio -idD DIR\" and boot the kernel in DIR",
    ),
    signature(
        &[(257, b"ustar")],
        "a tar archive",
        "unpack it with \"mkdir DIR && tar -xf FILE -C DIR\" and boot the kernel in DIR",
    ),
    signature(
        &[(0, b"PK\x03\x04")],
        "a zip archive",
        "unpack it with \"unzip FILE -d DIR\" and boot the kernel in DIR",
    ),
    // File systems and disks.
    signature(
        &[(0, b"hsqs")],
        "a squashfs file system",
        "unpack it with \"unsquashfs -d DIR FILE\" and boot the kernel in DIR",
    ),
    signature(
        &[(0x8001, b"CD001")],
        "an ISO 9660 image of a CD",
        "unpack it with \"mkdir DIR && bsdtar -xf FILE -C DIR\" and boot the kernel in DIR",
    ),
    signature(&[(0, b"QFI\xfb")], "a qcow2 image of a disk", DISK),
    signature(&[(0, b"KDMV")], "a VMDK image of a disk", DISK),
    signature(&[(0, b"vhdxfile")], "a VHDX image of a disk", DISK),
    signature(&[(0, b"conectix")], "a VHD image of a disk", DISK),
    signature(&[(64, b"\x7f\x10\xda\xbe")], "a VDI image of a disk", DISK),
    signature(
        &[(0x438, b"\x53\xef")],
        "an ext2, ext3 or ext4 file system",
        FILE_SYSTEM,
    ),
    signature(
        &[(0x400, b"\xe2\xe1\xf5\xe0")],
        "an EROFS file system",
        FILE_SYSTEM,
    ),
    signature(&[(0, b"XFSB")], "an XFS file system", FILE_SYSTEM),
    signature(&[(0x1_0040, b"_BHRfS_M")], "a btrfs file system", FILE_SYSTEM),
    signature(&[(0x200, b"EFI PART")], "a disk with a GPT", DISK),
    // Boots that need no kernel file any more.
    signature(
        &[(0, b"vmboot-prepared\0")],
        "a boot that vmboot prepared",
        "start it with \"vmboot run --prepared FILE\"",
    ),
    // Firmware.
    signature(&[(40, b"_FVH")], "a UEFI firmware volume", NOT_FIRMWARE),
    signature(
        &[(0, b"\x5a\xa5\xf0\x0f")],
        "a flash image of Intel firmware",
        NOT_FIRMWARE,
    ),
    signature(
        &[(16, b"\x5a\xa5\xf0\x0f")],
        "a flash image of Intel firmware",
        NOT_FIRMWARE,
    ),
    signature(&[(0, b"LARCHIVE")], "a coreboot archive", NOT_FIRMWARE),
    signature(&[(0, b"\x55\xaa")], "a PC option ROM", NOT_FIRMWARE),
    // Programs.
    signature(
        &[(0, b"MZ")],
        "a DOS or EFI program",
        "pass the kernel image, not a program that starts it",
    ),
    signature(&[(0, b"VZ")], "a TE image of UEFI firmware", NOT_FIRMWARE),
    signature(&[(0, b"\xcf\xfa\xed\xfe")], "a 64-bit Mach-O file", NOT_A_KERNEL),
    signature(&[(0, b"\xce\xfa\xed\xfe")], "a 32-bit Mach-O file", NOT_A_KERNEL),
    signature(
        &[(0, b"\xca\xfe\xba\xbe")],
        "a universal Mach-O file",
        NOT_A_KERNEL,
    ),
    signature(&[(0, b"\x07\x01\x64\0")], "an a.out file (OMAGIC)", NOT_A_KERNEL),
    signature(&[(0, b"\x08\x01\x64\0")], "an a.out file (NMAGIC)", NOT_A_KERNEL),
    signature(&[(0, b"\x0b\x01\x64\0")], "an a.out file (ZMAGIC)", NOT_A_KERNEL),
    signature(&[(0, b"\xcc\0\x64\0")], "an a.out file (QMAGIC)", NOT_A_KERNEL),
    signature(&[(0, b"\0asm")], "a WebAssembly module", NOT_A_KERNEL),
    signature(
        &[(0, b"BC\xc0\xde")],
        "LLVM bitcode",
        "compile and link it to a kernel",
    ),
    signature(
        &[(0, b"#!")],
        "a script",
        "pass the kernel image, not a script that starts it",
    ),
    signature(
        &[(0, b"version https://git-lfs")],
        "a pointer of Git LFS",
        "fetch the file with \"git lfs pull\"",
    ),
    signature(&[(0, b"<!DOCTYPE html")], "an HTML page", NOT_THE_PAGE),
    signature(&[(0, b"<!doctype html")], "an HTML page", NOT_THE_PAGE),
    signature(&[(0, b"<html")], "an HTML page", NOT_THE_PAGE),
    signature(
        &[(510, b"\x55\xaa")],
        "a disk or boot sector of a PC",
        BOOT_SECTOR,
    ),
];

/// Advice for a page in place of the file to download.
const NOT_THE_PAGE: &str = "fetch the file itself, not the page about it";

/// Advice for an initrd.
const INITRD: &str = "pass it as the initrd, not as the kernel";
