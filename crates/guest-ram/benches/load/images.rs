//! The kernels to load: real kernels if they have been fetched, and always generated kernels of the same shape.

use std::env;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use crate::random::Random;

/// The loader of linux-loader for the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Elf,
    BzImage,
}

/// A kernel file.
pub(crate) struct Input {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) file: File,
}

/// All available kernels. Each has been read once, so its bytes are in the page cache.
pub(crate) fn all() -> Vec<Input> {
    let mut inputs = Vec::new();
    for (kind, name, variable, fixture) in [
        (
            Kind::Elf,
            "vmlinux",
            "VMBOOT_BENCH_VMLINUX",
            "kernels/x86_64/debian-13.vmlinux",
        ),
        (
            Kind::BzImage,
            "bzImage",
            "VMBOOT_BENCH_BZIMAGE",
            "kernels/x86_64/debian-13.bzImage",
        ),
    ] {
        let named = env::var_os(variable).map(PathBuf::from);
        let fetched = env::var_os("VMBOOT_FIXTURES").map(|fixtures| PathBuf::from(fixtures).join(fixture));
        match named.or_else(|| fetched.filter(|path| path.exists())) {
            Some(path) => {
                let file = File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                inputs.push(Input { name, kind, file });
            }
            None => eprintln!("no real {name}: neither {variable} nor VMBOOT_FIXTURES names one"),
        }
    }
    for (kind, name, bytes) in [
        (Kind::Elf, "vmlinux generated", elf()),
        (Kind::BzImage, "bzImage generated", bz_image()),
    ] {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        // The write-back of dirty pages would disturb the measurement.
        file.sync_all().unwrap();
        inputs.push(Input { name, kind, file });
    }
    for input in &mut inputs {
        let mut bytes = Vec::new();
        input.file.seek(SeekFrom::Start(0)).unwrap();
        input.file.read_to_end(&mut bytes).unwrap();
    }
    inputs
}

/// Bytes without long runs, as code and compressed data have.
fn noise(bytes: &mut [u8]) {
    let mut random = Random::new();
    for chunk in bytes.chunks_mut(8) {
        chunk.copy_from_slice(&random.next().to_le_bytes()[..chunk.len()]);
    }
}

fn put(bytes: &mut [u8], offset: usize, value: &[u8]) {
    bytes[offset..offset + value.len()].copy_from_slice(value);
}

/// Segments of an x86_64 vmlinux at multiples of 2 MiB, 57 MB in the file, with a BSS of 6 MiB: (offset in the file
/// and in memory from 16 MiB on, bytes in the file, bytes in memory).
const SEGMENTS: [(u64, u64, u64); 5] = [
    (0x0, 0x170_0000, 0x170_0000),
    (0x180_0000, 0x87_f048, 0x87_f048),
    (0x220_0000, 0x6f_4000, 0x6f_4000),
    (0x2a0_0000, 0x3_9000, 0x3_9000),
    (0x2c0_0000, 0xad_3000, 0x10d_3000),
];

/// An ELF of this shape (ELF-64 Object File Format, figures 2 and 6).
fn elf() -> Vec<u8> {
    const ALIGN: u64 = 0x20_0000;
    const LOAD: u64 = 0x100_0000;
    let (last, in_file, _) = SEGMENTS[SEGMENTS.len() - 1];
    let mut bytes = vec![0; usize::try_from(ALIGN + last + in_file).unwrap()];
    noise(&mut bytes[0x1000..]);
    put(&mut bytes, 0, b"\x7fELF\x02\x01\x01");
    put(&mut bytes, 0x10, &2u16.to_le_bytes()); // e_type: ET_EXEC
    put(&mut bytes, 0x12, &62u16.to_le_bytes()); // e_machine: EM_X86_64
    put(&mut bytes, 0x14, &1u32.to_le_bytes()); // e_version
    put(&mut bytes, 0x18, &LOAD.to_le_bytes()); // e_entry
    put(&mut bytes, 0x20, &0x40u64.to_le_bytes()); // e_phoff
    put(&mut bytes, 0x34, &0x40u16.to_le_bytes()); // e_ehsize
    put(&mut bytes, 0x36, &0x38u16.to_le_bytes()); // e_phentsize
    put(
        &mut bytes,
        0x38,
        &u16::try_from(SEGMENTS.len()).unwrap().to_le_bytes(),
    ); // e_phnum
    for (index, (offset, in_file, in_memory)) in SEGMENTS.into_iter().enumerate() {
        let header = 0x40 + index * 0x38;
        put(&mut bytes, header, &1u32.to_le_bytes()); // p_type: PT_LOAD
        put(&mut bytes, header + 4, &7u32.to_le_bytes()); // p_flags: RWX
        let fields = [
            ALIGN + offset, // p_offset
            LOAD + offset,  // p_vaddr
            LOAD + offset,  // p_paddr
            in_file,        // p_filesz
            in_memory,      // p_memsz
            ALIGN,          // p_align
        ];
        for (field, value) in fields.into_iter().enumerate() {
            put(&mut bytes, header + 8 + field * 8, &value.to_le_bytes());
        }
    }
    bytes
}

/// A bzImage of 12 MB, boot protocol 2.15 (Linux `Documentation/arch/x86/boot.rst`, "The Real-Mode Kernel Header").
fn bz_image() -> Vec<u8> {
    const SETUP: usize = 0x8000;
    const LEN: usize = 12 << 20;
    let mut bytes = vec![0; LEN];
    noise(&mut bytes[SETUP..]);
    put(&mut bytes, 0x1f1, &[u8::try_from(SETUP / 512 - 1).unwrap()]); // setup_sects
    put(
        &mut bytes,
        0x1f4,
        &u32::try_from((LEN - SETUP) / 16).unwrap().to_le_bytes(),
    ); // syssize
    put(&mut bytes, 0x1fe, &0xaa55u16.to_le_bytes()); // boot_flag
    put(&mut bytes, 0x200, &[0xeb, 0x6a]); // jump: the header ends at 0x26c
    put(&mut bytes, 0x202, b"HdrS"); // header
    put(&mut bytes, 0x206, &0x20fu16.to_le_bytes()); // version
    put(&mut bytes, 0x211, &[1]); // loadflags: LOADED_HIGH
    put(&mut bytes, 0x214, &0x10_0000u32.to_le_bytes()); // code32_start
    put(&mut bytes, 0x22c, &0x7fff_ffffu32.to_le_bytes()); // initrd_addr_max
    put(&mut bytes, 0x230, &0x20_0000u32.to_le_bytes()); // kernel_alignment
    put(&mut bytes, 0x234, &[1, 21]); // relocatable_kernel, min_alignment
    put(&mut bytes, 0x236, &3u16.to_le_bytes()); // xloadflags: XLF_KERNEL_64, XLF_CAN_BE_LOADED_ABOVE_4G
    put(&mut bytes, 0x238, &2047u32.to_le_bytes()); // cmdline_size
    put(&mut bytes, 0x258, &0x100_0000u64.to_le_bytes()); // pref_address
    put(&mut bytes, 0x260, &0x380_0000u32.to_le_bytes()); // init_size
    bytes
}
