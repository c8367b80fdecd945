//! Raw command lines with every protocol.

use boot_core::{
    Arch, BootRequest, Cmdline, CmdlineError, EntryAbi, KernelImage, LoadContent, Machine, MemoryMap,
    PlanError, RawCmdline, detect,
};
use hv_core::virt::{self, Gic, RiscvIrqchip};
use std::num::NonZeroU32;

use crate::files::{arm64_image, elf, put, riscv_image};

const MIB: u64 = 1 << 20;

fn parse(bytes: &[u8]) -> KernelImage {
    detect(&vmboot::formats().unwrap(), &bytes).unwrap()
}

/// The kernel with a Multiboot header.
fn multiboot() -> Vec<u8> {
    let mut file = elf(0x20_0000, b"Xen\0");
    let magic = 0x1bad_b002_u32;
    for (i, word) in [magic, 0, magic.wrapping_neg()].iter().enumerate() {
        put(&mut file, 0x1000 + 4 * i, &word.to_le_bytes());
    }
    file
}

/// Every protocol passes a raw line on, byte by byte, and refuses one that is too long for it.
pub(crate) fn raw_lines() {
    let pc = Machine::new(Arch::X86_64, MemoryMap::pc(64 * MIB).unwrap());
    let arm64 = virt::arm64_machine(64 * MIB, NonZeroU32::MIN, Gic::V3).unwrap();
    let isa = boot_core::machine::Isa::rv64gc();
    let riscv = virt::riscv64_machine(64 * MIB, NonZeroU32::MIN, &isa, 1000, RiscvIrqchip::Plic).unwrap();
    let x86 = parse(&elf(0x20_0000, b"Xen\0"));
    assert!(x86.entry(EntryAbi::PVH).is_some());
    let cases = [
        ("linux", &x86, &pc, Some(2047)),
        ("pvh", &x86, &pc, None),
        ("multiboot", &parse(&multiboot()), &pc, None),
        ("fdt-arm64", &parse(&arm64_image(0, MIB, 2)), &arm64, Some(2047)),
        ("fdt-riscv64", &parse(&riscv_image(0, MIB)), &riscv, Some(1023)),
    ];
    let lines: [&[u8]; 5] = [
        b"a \"unbalanced  quote",
        b"a -- b -- c",
        b"  spaces\tand \n more  ",
        b"\xff\xfe not UTF-8 \x01",
        b"a=\"b -- c\"",
    ];
    let protocols = vmboot::protocols().unwrap();
    for (name, image, machine, limit) in cases {
        let protocol = protocols.iter().find(|protocol| protocol.name() == name).unwrap();
        for line in lines {
            let raw = RawCmdline::from_bytes(line).unwrap();
            let plan = protocol.plan(&BootRequest::new(image, machine, &raw)).unwrap();
            let expected = [line, &[0]].concat();
            let is_passed = plan.loads().iter().any(|load| match &load.content {
                LoadContent::Bytes(bytes) => bytes.windows(expected.len()).any(|found| found == expected),
                _ => false,
            });
            assert!(is_passed, "{name}: {raw:?}");
        }
        let Some(max) = limit else {
            continue;
        };
        let long = "x".repeat(max + 1);
        for result in [
            protocol.plan(&BootRequest::new(
                image,
                machine,
                &RawCmdline::from_bytes(long.clone()).unwrap(),
            )),
            protocol.plan(&BootRequest::new(image, machine, &Cmdline::parse(&long).unwrap())),
        ] {
            let Err(PlanError::Cmdline(CmdlineError::TooLong { len, max: found })) = result else {
                panic!("{name}: {result:?}");
            };
            assert_eq!((len, found), (max + 1, max), "{name}");
        }
    }
}
