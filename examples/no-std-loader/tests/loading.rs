//! Generated kernels are loaded, and start with the registers and the bytes that their protocol requires.

use boot_core::machine::{Arm64Cpu, Cpus};
use boot_core::{Arch, GuestMemory as _, GuestRange, Machine, MemoryMap, RegionKind};
use fmt_test::elf::{EM_X86_64, Elf, load as load_segment};
use no_std_loader::{FlatMemory, LoaderError, load};

const LEN: usize = 16 << 20;
const INITRD: &[u8] = b"not really a cpio archive";

fn word<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().unwrap()
}

fn x86_64_kernel() -> Vec<u8> {
    let code: Vec<u8> = (0..=255).collect();
    Elf::new(EM_X86_64, 0x20_0010, vec![load_segment(0x20_0000, &code, 0x1000)]).bytes()
}

fn pc() -> Machine {
    Machine::new(Arch::X86_64, MemoryMap::pc(16 << 20).unwrap())
}

#[test]
fn an_elf_kernel_for_x86_64() {
    let mut ram = vec![0xaa; LEN];
    let mut memory = FlatMemory::new(0, &mut ram);
    let state = load(&x86_64_kernel(), INITRD, "quiet", &pc(), &mut memory).unwrap();
    let state = state.x86_64().unwrap();
    assert_eq!(state.rip, 0x20_0010);
    let code: Vec<u8> = (0..=255).collect();
    assert_eq!(ram[0x20_0000..0x20_0100], code);
    assert!(
        ram[0x20_0100..0x20_1000].iter().all(|byte| *byte == 0),
        "p_memsz is zeroed"
    );
    assert_eq!(ram[0x20_1000], 0xaa, "the rest is untouched");
    // boot.rst: the zero page is at RSI; `header` has offset 0x202, `ramdisk_image` 0x218 and `cmd_line_ptr` 0x228.
    let zero_page = &ram[usize::try_from(state.rsi).unwrap()..];
    assert_eq!(zero_page[0x202..0x206], *b"HdrS");
    let pointer = |offset| usize::try_from(u32::from_le_bytes(word(zero_page, offset))).unwrap();
    assert!(ram[pointer(0x228)..].starts_with(b"quiet\0"));
    assert!(ram[pointer(0x218)..].starts_with(INITRD));
}

#[test]
fn an_image_for_arm64() {
    const BASE: u64 = 0x4000_0000;
    // booting.rst, "Call the kernel image": code, text_offset, image_size, flags, and the magic number at 56.
    let mut kernel = vec![0x1f; 0x1000];
    kernel[8..16].fill(0);
    kernel[16..24].copy_from_slice(&0x1_0000_u64.to_le_bytes());
    kernel[24..32].copy_from_slice(&0b1010_u64.to_le_bytes());
    kernel[56..60].copy_from_slice(b"ARM\x64");
    let mut map = MemoryMap::new();
    map.insert(GuestRange::new(BASE, 16 << 20).unwrap(), RegionKind::Ram)
        .unwrap();
    let mut ram = vec![0xaa; LEN];
    let mut memory = FlatMemory::new(BASE, &mut ram);
    let mut machine = Machine::new(Arch::Aarch64, map);
    machine.platform.cpus = Cpus::Arm64(vec![Arm64Cpu::new(0)]);
    let state = load(&kernel, INITRD, "quiet", &machine, &mut memory).unwrap();
    let state = state.aarch64().unwrap();
    assert_eq!(state.pc, BASE);
    assert_eq!(ram[..0x1000], kernel);
    // The device tree is at X0; its length is the second word.
    let tree = &ram[usize::try_from(state.x[0] - BASE).unwrap()..];
    assert_eq!(tree[..4], [0xd0, 0x0d, 0xfe, 0xed]);
    let len = usize::try_from(u32::from_be_bytes(word(tree, 4))).unwrap();
    let has = |text: &[u8]| tree[..len].windows(text.len()).any(|window| window == text);
    assert!(has(b"quiet\0") && has(b"linux,initrd-start\0"));
}

#[test]
fn a_kernel_that_is_not_loaded_leaves_the_memory_unchanged() {
    let check = |kernel: &[u8], len: usize, cmdline: &str, expected: fn(&LoaderError) -> bool| {
        let mut ram = vec![0xaa; len];
        let mut memory = FlatMemory::new(0, &mut ram);
        let error = load(kernel, &[], cmdline, &pc(), &mut memory).unwrap_err();
        assert!(expected(&error), "{error:?}");
        assert!(ram.iter().all(|byte| *byte == 0xaa), "{error:?}");
    };
    let kernel = x86_64_kernel();
    check(b"no kernel", LEN, "", |error| {
        matches!(error, LoaderError::Detect(_))
    });
    check(&kernel, LEN, "a=\"b", |error| {
        matches!(error, LoaderError::Cmdline(_))
    });
    // The kernel does not fit the memory, which is smaller than the machine's map.
    check(&kernel, 0x20_0800, "", |error| {
        matches!(error, LoaderError::Load(_))
    });
}

#[test]
fn accesses_outside_the_slice_fail() {
    let mut ram = [0; 16];
    let mut memory = FlatMemory::new(0x1000, &mut ram);
    memory.write(0x100c, b"boot").unwrap();
    let mut word = [0; 4];
    memory.read(0x100c, &mut word).unwrap();
    assert_eq!(word, *b"boot");
    for addr in [0xfff, 0x100d, u64::MAX - 1] {
        assert!(memory.write(addr, b"boot").is_err(), "{addr:#x}");
        assert!(memory.read(addr, &mut word).is_err(), "{addr:#x}");
    }
    let range = |start| GuestRange::new(start, 8).unwrap();
    memory.check(range(0x1008)).unwrap();
    assert!(memory.check(range(0x1009)).is_err());
    assert!(memory.zero(range(0xff9)).is_err());
    memory.zero(range(0x1000)).unwrap();
    assert_eq!(ram, *b"\0\0\0\0\0\0\0\0\0\0\0\0boot");
}
