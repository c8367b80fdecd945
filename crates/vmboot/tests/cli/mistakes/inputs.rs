//! Generated files of the table.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::files::{arm64_image, bzimage, elf, kernel, put, riscv_image, uimage, uki, write, zboot};

const MIB: u64 = 1 << 20;

/// Writes all files of the table to `dir`.
pub(super) fn write_all(dir: &Path) {
    fs::create_dir(dir.join("boot")).unwrap();
    fs::create_dir(dir.join("full")).unwrap();
    write(dir, "full/file", b"");
    symlink("loop", dir.join("loop")).unwrap();
    File::create(dir.join("huge"))
        .unwrap()
        .set_len(600 * MIB)
        .unwrap();
    let file = |name: &str, bytes: &[u8]| {
        write(dir, name, bytes);
    };
    file("text", b"hello world\n");
    file("empty.img", b"");
    file("zeros", &[0; 4096]);
    file("script", b"#!/bin/sh\nexit\n");
    file("page.html", b"<!DOCTYPE html>\n<html><head><title>404</title>");
    file("lfs-pointer", b"version https://git-lfs.github.com/spec/v1\n");
    for (name, magic) in MAGIC {
        file(name, &at(magic));
    }
    kernels(&file);
    elf_files(&file);
    prepared(dir, &file);
}

/// A prepared boot, and what others make of one.
fn prepared(dir: &Path, file: &dyn Fn(&str, &[u8])) {
    let status = Command::new(env!("CARGO_BIN_EXE_vmboot"))
        .args(["prepare", "vmlinux", "--output", "prepared"])
        .current_dir(dir)
        .stderr(Stdio::null())
        .status();
    assert!(status.unwrap().success());
    let bytes = fs::read(dir.join("prepared")).unwrap();
    file("prepared-cut", &bytes[..0x100]);
    let mut later = bytes.clone();
    // The version of the format.
    put(&mut later, 16, &[9]);
    file("prepared-later", &later);
    let mut elsewhere = bytes;
    let notes = b"\"notes\":\"{\\\"vmboot\\\":";
    let at = elsewhere.windows(notes.len()).position(|bytes| bytes == notes);
    // Another key in the notes.
    put(&mut elsewhere, at.unwrap() + notes.len() - 4, b"x");
    file("prepared-elsewhere", &elsewhere);
}

/// The parts of files by their offsets, which `at` puts together.
type Parts = &'static [(usize, &'static [u8])];

/// Files of other programs that are recognised by their magic numbers.
const MAGIC: [(&str, Parts); 24] = [
    ("initrd.img", &[(0, b"070701"), (0x200, b"\0")]),
    ("disk.qcow2", &[(0, b"QFI\xfb"), (0x200, b"\0")]),
    ("disk.vmdk", &[(0, b"KDMV"), (0x200, b"\0")]),
    ("disk.img", &[(0x1fe, b"\x55\xaa"), (0x200, b"EFI PART")]),
    ("mbr.img", &[(0x1fe, b"\x55\xaa"), (0x400, b"\0")]),
    ("rootfs.ext4", &[(0x438, b"\x53\xef"), (0x800, b"\0")]),
    ("bios.bin", &[(0xfff0, b"\xea\x5b\xe0\0\xf0"), (0xffff, b"\0")]),
    ("OVMF.fd", &[(40, b"_FVH"), (0x200, b"\0")]),
    ("vmlinux.gz", &[(0, b"\x1f\x8b\x08"), (0x40, b"\0")]),
    ("vmlinux.xz", &[(0, b"\xfd7zXZ\0"), (0x40, b"\0")]),
    ("vmlinux.zst", &[(0, b"\x28\xb5\x2f\xfd"), (0x40, b"\0")]),
    ("vmlinux.lz4", &[(0, b"\x02\x21\x4c\x18"), (0x40, b"\0")]),
    ("vmlinux.bz2", &[(0, b"BZh91AY&SY"), (0x40, b"\0")]),
    (
        "vmlinux.lzma",
        &[
            (0, b"\x5d\0\0\x80\0\xff\xff\xff\xff\xff\xff\xff\xff"),
            (0x40, b"\0"),
        ],
    ),
    ("vmlinux.tar", &[(0, b"vmlinux"), (257, b"ustar"), (0x400, b"\0")]),
    ("vmlinux.zip", &[(0, b"PK\x03\x04"), (0x40, b"\0")]),
    (
        "linux-image.deb",
        &[(0, b"!<arch>\ndebian-binary"), (0x80, b"\0")],
    ),
    ("kernel.rpm", &[(0, b"\xed\xab\xee\xdb"), (0x80, b"\0")]),
    ("live.iso", &[(0x8001, b"CD001"), (0x9000, b"\0")]),
    ("rootfs.squashfs", &[(0, b"hsqs"), (0x80, b"\0")]),
    ("boot.img", &[(0, b"ANDROID!"), (0x800, b"\0")]),
    ("macos-program", &[(0, b"\xcf\xfa\xed\xfe"), (0x80, b"\0")]),
    ("app.wasm", &[(0, b"\0asm\x01\0\0\0"), (0x80, b"\0")]),
    ("board.dtb", &[(0, b"\xd0\x0d\xfe\xed"), (0x80, b"\0")]),
];

fn at(parts: Parts) -> Vec<u8> {
    let mut file = Vec::new();
    for (offset, bytes) in parts {
        put(&mut file, *offset, bytes);
    }
    file
}

/// Kernels, and files that contain one.
fn kernels(file: &impl Fn(&str, &[u8])) {
    file("Image", &arm64_image(0, MIB, 2));
    file("Image.big", &arm64_image(0, 600 * MIB, 2));
    file("Image.60", &arm64_image(0, MIB, 2)[..60]);
    file("Image.riscv", &riscv_image(0, MIB));
    let bzimage = bzimage();
    file("bzImage", &bzimage);
    file("bzImage.300", &bzimage[..0x300]);
    file("bzImage.600", &bzimage[..0x600]);
    file("bzImage.half", &bzimage[..bzimage.len() / 2]);
    let changed = |offset: usize, value: &[u8]| {
        let mut file = bzimage.clone();
        put(&mut file, offset, value);
        file
    };
    file("bzImage.version", &changed(0x206, &[0, 3]));
    file("zImage", &changed(0x211, &[0]));
    let mut multiboot = kernel();
    let magic = 0x1bad_b002_u32;
    for (i, word) in [magic, 0, magic.wrapping_neg()].iter().enumerate() {
        put(&mut multiboot, 0x1000 + 4 * i, &word.to_le_bytes());
    }
    file("multiboot", &multiboot);
    file("linux.efi", &uki(&kernel()));
    let mut shell = uki(b"\xc3");
    put(&mut shell, 0x98 + 240, b".text\0\0\0");
    file("shell.efi", &shell);
    file("vmlinuz.efi", &zboot(b"gzip\0", &[0x1f, 0x8b, 8, 0], 0));
    let mut damaged = uimage(2, &kernel());
    put(&mut damaged, 0x2000, b"x");
    file("uImage", &damaged);
    file("boot.scr", &uimage(6, b"boot"));
    let mut fit = b"\xd0\x0d\xfe\xed\0\0\x01\0\0\0\0\x38".to_vec();
    put(&mut fit, 0x38, b"\0\0\0\x01\0\0\0\0\0\0\0\x01images\0\0");
    put(&mut fit, 0x100, b"\0");
    file("image.fit", &fit);
}

/// ELF files.
fn elf_files(file: &impl Fn(&str, &[u8])) {
    let kernel = kernel();
    let changed = |changes: &[(usize, &[u8])]| {
        let mut file = kernel.clone();
        for (offset, value) in changes {
            put(&mut file, *offset, value);
        }
        file
    };
    file("vmlinux", &kernel);
    file("vmlinux.20", &kernel[..20]);
    file("vmlinux.100", &kernel[..100]);
    file("vmlinux.half", &kernel[..0x1800]);
    file("vmlinux.high-load", &elf(0x3000_0000, b"Xen\0"));
    file("vmlinux.in-hole", &elf(0xe000_0000, b"Xen\0"));
    file("vmlinux.no-segments", &changed(&[(64, &[0])]));
    // No PVH note either.
    file("vmlinux.no-entry", &changed(&[(24, &[0; 8]), (64 + 56, &[0])]));
    file("vmlinux.class", &changed(&[(4, &[9])]));
    file("vmlinux.arm32", &changed(&[(18, &[40])]));
    file("vmlinux.ppc64le", &changed(&[(18, &[21])]));
    let high = 0xffff_8000_8000_0000_u64.to_le_bytes();
    let high = [(18, &[183][..]), (24, &high), (64 + 16, &high), (64 + 24, &high)];
    file("vmlinux.high", &changed(&high));
    file("module.ko", &changed(&[(16, &[1])]));
    file("core", &changed(&[(16, &[4])]));
    // The note is replaced by the path of an interpreter, and by thread-local storage beside a loaded ELF header.
    file("program", &changed(&[(64 + 56, &[3])]));
    file("static-program", &changed(&[(64 + 56, &[7]), (64 + 8, &[0; 8])]));
}
