//! `Image` files of arm64 and riscv64, which get a device tree.

use std::fs;
use std::num::NonZeroU32;
use std::path::Path;

use boot_core::machine::Isa;
use boot_core::{BootPlan, BootProtocol, BootRequest, Cmdline, CpuState, LoadContent, Machine, detect};
use hv_core::virt::{self, Gic, RiscvIrqchip};
use libtest_mimic::Failed;
use proto_fdt::device_tree::{DeviceTree, Node};

use crate::input::{CMDLINE, INITRD, RAM};
use crate::qemu::Qemu;

/// What a kernel reads of its device tree at the start.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    bootargs: Vec<u8>,
    initrd_len: u64,
    ram: u64,
    device_type: Option<Vec<u8>>,
}

/// The big-endian number of a property.
fn number(value: &[u8]) -> u64 {
    value
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn find(tree: &DeviceTree<'_>) -> Result<(Found, u64), Failed> {
    let property = |node: &Node<'_>, name: &str| {
        Ok::<_, Failed>(node.property(name).ok_or(format!("no {name}"))?.to_vec())
    };
    let chosen = tree.root.child("chosen").ok_or("no chosen")?;
    let memory = tree
        .root
        .children
        .iter()
        .find(|node| node.base_name() == "memory")
        .ok_or("no memory")?;
    let start = number(&property(chosen, "linux,initrd-start")?);
    // Address and length have two cells each.
    let reg = property(memory, "reg")?;
    assert_eq!(reg.len(), 16);
    let found = Found {
        bootargs: property(chosen, "bootargs")?,
        initrd_len: number(&property(chosen, "linux,initrd-end")?) - start,
        ram: number(&reg[8..]),
        device_type: memory.property("device_type").map(<[u8]>::to_vec),
    };
    Ok((found, start))
}

/// Loads of a kernel and its initrd by QEMU: the kernel is at an address, and a register has that of the device tree.
fn compare(qemu: &mut Qemu, boot: &Boot, kernel: u64, register: usize) -> Result<(), Failed> {
    let Boot { file, plan, tree } = boot;
    qemu.run_to(kernel)?;
    qemu.compare_kernel(plan, file, kernel.wrapping_sub(plan.kernel().start()))?;
    let at = qemu.register(register)?;
    assert!(at.is_multiple_of(8) && tree.is_multiple_of(8));

    let header = qemu.memory(at, 8)?;
    let bytes = qemu.memory(at, number(&header[4..]))?;
    let (theirs, initrd) = find(&DeviceTree::parse(&bytes)?)?;
    assert!(qemu.memory(initrd, INITRD.len() as u64)? == INITRD);
    let ours = plan
        .loads()
        .iter()
        .find(|load| load.range.start() == *tree)
        .ok_or("no device tree")?;
    let LoadContent::Bytes(bytes) = &ours.content else {
        return Err("the device tree is made of bytes".into());
    };
    let (ours, _) = find(&DeviceTree::parse(bytes)?)?;
    assert_eq!(ours, theirs);
    assert_eq!(ours.ram, RAM);
    assert_eq!(ours.bootargs, [CMDLINE.as_bytes(), &[0]].concat());
    Ok(())
}

/// A kernel, its plan, and the address of its device tree.
struct Boot {
    file: Vec<u8>,
    plan: BootPlan,
    tree: u64,
}

fn boot(
    kernel: &Path,
    machine: &Machine,
    protocol: &dyn BootProtocol,
    tree: fn(&CpuState) -> Option<u64>,
) -> Result<Boot, Failed> {
    let file = fs::read(kernel)?;
    let image = detect(&vmboot::formats()?, &file)?;
    let cmdline: Cmdline = CMDLINE.parse()?;
    let request = BootRequest::new(&image, machine, &cmdline).with_initrd(INITRD.len() as u64);
    let plan = protocol.plan(&request)?;
    let tree = plan.cpus().first().and_then(tree).ok_or("no state")?;
    Ok(Boot { file, plan, tree })
}

/// An arm64 `Image` (Linux `Documentation/arch/arm64/booting.rst`): X0 has the address of the tree, X1 to X3 are zero.
pub(crate) fn arm64(kernel: &Path) -> Result<(), Failed> {
    // 2 MiB above the start of RAM, behind QEMU's own first instructions.
    const KERNEL: u64 = 0x4020_0000;
    let machine = virt::arm64_machine(RAM, NonZeroU32::MIN, Gic::V3)?;
    let boot = boot(
        kernel,
        &machine,
        &proto_fdt::PROTOCOL_ARM64,
        |state| match state {
            CpuState::Aarch64(state) if state.x[1..4] == [0; 3] => Some(state.x[0]),
            _ => None,
        },
    )?;
    let machine = ["-M", "virt,gic-version=3", "-cpu", "cortex-a57"];
    let mut qemu = Qemu::start("qemu-system-aarch64", &machine, kernel)?;
    compare(&mut qemu, &boot, KERNEL, 0)?;
    for index in 1..4 {
        assert_eq!(qemu.register(index)?, 0, "X{index}");
    }
    Ok(())
}

/// A riscv64 `Image` (Linux `Documentation/arch/riscv/boot.rst`), started by OpenSBI: a0 has the hart, a1 the address of the tree.
pub(crate) fn riscv64(kernel: &Path) -> Result<(), Failed> {
    const KERNEL: u64 = 0x8020_0000;
    /// Numbers of registers.
    const A0: usize = 10;
    const A1: usize = 11;
    let machine = virt::riscv64_machine(
        RAM,
        NonZeroU32::MIN,
        &Isa::rv64gc(),
        10_000_000,
        RiscvIrqchip::Plic,
    )?;
    let boot = boot(
        kernel,
        &machine,
        &proto_fdt::PROTOCOL_RISCV64,
        |state| match state {
            CpuState::Riscv64(state) if state.x[A0] == 0 => Some(state.x[A1]),
            _ => None,
        },
    )?;
    let mut qemu = Qemu::start("qemu-system-riscv64", &["-M", "virt"], kernel)?;
    compare(&mut qemu, &boot, KERNEL, A1)?;
    assert_eq!(qemu.register(A0)?, 0);
    Ok(())
}
