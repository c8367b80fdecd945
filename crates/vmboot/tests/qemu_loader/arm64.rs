//! arm64 `Image` files (Linux `Documentation/arch/arm64/booting.rst`).

use std::fs;
use std::num::NonZeroU32;
use std::path::Path;

use boot_core::{BootProtocol as _, BootRequest, CpuState, LoadContent, detect};
use hv_core::virt::{self, Gic};
use libtest_mimic::Failed;
use proto_fdt::device_tree::{DeviceTree, Node};

use crate::input::{CMDLINE, INITRD, RAM};
use crate::qemu::Qemu;

/// Where QEMU has the kernel: 2 MiB above the start of RAM, behind its own first instructions.
const KERNEL: u64 = 0x4020_0000;

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

/// An `Image` by QEMU's loader of the machine `virt`.
pub(crate) fn image(kernel: &Path) -> Result<(), Failed> {
    let file = fs::read(kernel)?;
    let image = detect(&vmboot::formats()?, &file)?;
    let machine = virt::arm64_machine(RAM, NonZeroU32::MIN, Gic::V3)?;
    let cmdline: boot_core::Cmdline = CMDLINE.parse()?;
    let request = BootRequest::new(&image, &machine, &cmdline).with_initrd(INITRD.len() as u64);
    let plan = proto_fdt::PROTOCOL_ARM64.plan(&request)?;

    let mut qemu = Qemu::start(
        "qemu-system-aarch64",
        &["-M", "virt,gic-version=3", "-cpu", "cortex-a57"],
        kernel,
    )?;
    qemu.run_to(KERNEL)?;
    qemu.compare_kernel(&plan, &file, KERNEL.wrapping_sub(plan.kernel().start()))?;
    let [CpuState::Aarch64(state)] = plan.cpus() else {
        return Err(format!("{:?}", plan.cpus()).into());
    };
    let x: Vec<_> = (0..4)
        .map(|index| qemu.register(index))
        .collect::<Result<_, _>>()?;
    assert_eq!(
        (&x[1..], state.x[1], state.x[2], state.x[3]),
        (&[0, 0, 0][..], 0, 0, 0)
    );
    assert!(x[0].is_multiple_of(8) && state.x[0].is_multiple_of(8));

    let header = qemu.memory(x[0], 8)?;
    let bytes = qemu.memory(x[0], number(&header[4..]))?;
    let (theirs, initrd) = find(&DeviceTree::parse(&bytes)?)?;
    assert!(qemu.memory(initrd, INITRD.len() as u64)? == INITRD);
    let ours = plan
        .loads()
        .iter()
        .find(|load| load.range.start() == state.x[0])
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
