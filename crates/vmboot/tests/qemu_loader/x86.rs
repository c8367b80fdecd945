//! x86_64: PVH and bzImages.

use std::fs;
use std::path::Path;

use boot_core::{
    Arch, BootPlan, BootProtocol, BootRequest, CpuState, EntryAbi, KernelImage, LoadContent, Machine,
    MemoryMap, detect,
};
use libtest_mimic::Failed;

use crate::input::{CMDLINE, INITRD, RAM};
use crate::qemu::Qemu;

/// Numbers of registers.
const RBX: usize = 1;
const RSI: usize = 4;

/// A kernel and its plan.
struct Boot {
    file: Vec<u8>,
    image: KernelImage,
    plan: BootPlan,
}

fn boot(kernel: &Path, protocol: &dyn BootProtocol) -> Result<Boot, Failed> {
    let file = fs::read(kernel)?;
    let image = detect(&vmboot::formats()?, &file)?;
    let machine = Machine::new(Arch::X86_64, MemoryMap::pc(RAM)?);
    let cmdline: boot_core::Cmdline = CMDLINE.parse()?;
    let request = BootRequest::new(&image, &machine, &cmdline).with_initrd(INITRD.len() as u64);
    let plan = protocol.plan(&request)?;
    Ok(Boot { file, image, plan })
}

/// Bytes of our plan.
fn ours(plan: &BootPlan, addr: u64, len: usize) -> Result<&[u8], Failed> {
    for load in plan.loads() {
        if let LoadContent::Bytes(bytes) = &load.content
            && load.range.contains_addr(addr)
        {
            let start = usize::try_from(addr - load.range.start())?;
            return bytes
                .get(start..start + len)
                .ok_or_else(|| "the load is shorter".into());
        }
    }
    Err(format!("nothing at {addr:#x}").into())
}

fn our_number(plan: &BootPlan, addr: u64, len: usize) -> Result<u64, Failed> {
    let bytes = ours(plan, addr, len)?.iter().rev();
    Ok(bytes.fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

fn state(plan: &BootPlan) -> Result<&boot_core::cpu::x86_64::State, Failed> {
    match plan.cpus() {
        [CpuState::X86_64(state)] => Ok(state),
        other => Err(format!("{other:?}").into()),
    }
}

/// The ranges of RAM in a table whose entries begin with address, length and type, in `step` bytes each.
fn ram(table: &[u8], step: usize) -> Vec<(u64, u64)> {
    let number = |bytes: &[u8]| {
        bytes
            .iter()
            .rev()
            .fold(0, |number, byte| number << 8 | u64::from(*byte))
    };
    let entries = table.chunks_exact(step);
    let ram = entries.filter(|entry| number(&entry[16..20]) == 1);
    ram.map(|entry| (number(&entry[..8]), number(&entry[..8]) + number(&entry[8..16])))
        .collect()
}

/// Both machines have RAM up to 640 KiB and from 1 MiB on. QEMU's firmware takes up to 1 KiB below 640 KiB, and some of the end of RAM for ACPI tables.
fn compare_ram(ours: &[(u64, u64)], theirs: &[(u64, u64)]) {
    let [our_low, our_high] = ours else {
        panic!("{ours:x?}")
    };
    let [their_low, their_high] = theirs else {
        panic!("{theirs:x?}")
    };
    assert_eq!((our_low.0, our_high.0), (their_low.0, their_high.0));
    assert!(
        our_low.1 >= their_low.1 && our_low.1 - their_low.1 <= 0x400,
        "{our_low:x?} {their_low:x?}"
    );
    assert!(
        our_high.1 >= their_high.1 && our_high.1 - their_high.1 <= 1 << 20,
        "{our_high:x?} {their_high:x?}"
    );
}

/// PVH: `hvm_start_info` (Xen `hvm/start_info.h`).
pub(crate) fn pvh(kernel: &Path) -> Result<(), Failed> {
    let Boot { file, image, plan } = boot(kernel, &proto_pvh::PROTOCOL)?;
    let entry = image.entry(EntryAbi::PVH).ok_or("no PVH entry point")?.addr;
    assert_eq!(state(&plan)?.rip, entry, "the kernel was moved");
    let mut qemu = Qemu::start("qemu-system-x86_64", &["-M", "pc"], kernel)?;
    qemu.run_to(entry)?;
    qemu.compare_kernel(&plan, &file, 0)?;

    let (theirs, ours_at) = (qemu.register(RBX)?, state(&plan)?.rbx);
    // Magic number, flags, number of modules.
    for (offset, len) in [(0, 4), (8, 4), (12, 4)] {
        let size = usize::try_from(len)?;
        assert_eq!(
            qemu.number(theirs + offset, len)?,
            our_number(&plan, ours_at + offset, size)?,
            "{offset}"
        );
    }
    assert_eq!(qemu.number(theirs, 4)?, 0x336e_c578);
    // Both have a version with a memory map.
    assert!(qemu.number(theirs + 4, 4)? >= 1 && our_number(&plan, ours_at + 4, 4)? >= 1);
    let (line, our_line) = (qemu.number(theirs + 24, 8)?, our_number(&plan, ours_at + 24, 8)?);
    assert_eq!(qemu.text(line)?, CMDLINE);
    assert_eq!(
        ours(&plan, our_line, CMDLINE.len() + 1)?,
        [CMDLINE.as_bytes(), &[0]].concat()
    );
    let (list, our_list) = (qemu.number(theirs + 16, 8)?, our_number(&plan, ours_at + 16, 8)?);
    let (start, len) = (qemu.number(list, 8)?, qemu.number(list + 8, 8)?);
    assert_eq!(
        (len, our_number(&plan, our_list + 8, 8)?),
        (INITRD.len() as u64, INITRD.len() as u64)
    );
    assert!(qemu.memory(start, len)? == INITRD);

    let (map, count) = (qemu.number(theirs + 40, 8)?, qemu.number(theirs + 48, 4)?);
    let their_map = qemu.memory(map, count * 24)?;
    let (map, count) = (
        our_number(&plan, ours_at + 40, 8)?,
        our_number(&plan, ours_at + 48, 4)?,
    );
    let our_map = ours(&plan, map, usize::try_from(count)? * 24)?;
    compare_ram(&ram(our_map, 24), &ram(&their_map, 24));
    Ok(())
}

/// A bzImage by the 32-bit boot protocol (Linux `Documentation/arch/x86/boot.rst`): the kernel's real-mode code wrote QEMU's zero page.
pub(crate) fn bzimage(kernel: &Path) -> Result<(), Failed> {
    // `code32_start`, where QEMU loads the code; our plan has it at `pref_address`.
    const START: u64 = 0x10_0000;
    let Boot { file, plan, .. } = boot(kernel, &proto_linux_x86::PROTOCOL)?;
    let mut qemu = Qemu::start("qemu-system-x86_64", &["-M", "pc"], kernel)?;
    qemu.run_to(START)?;
    let code = plan
        .loads()
        .iter()
        .find(|load| load.is_kernel())
        .ok_or("no kernel")?;
    let LoadContent::File { range, .. } = &code.content else {
        return Err("the code is no part of the file".into());
    };
    let [start, end] = [range.offset(), range.end()].map(usize::try_from);
    assert!(
        qemu.memory(START, range.len())? == file[start?..end?],
        "the code differs"
    );

    let (theirs, page) = (qemu.register(RSI)? & 0xffff_ffff, state(&plan)?.rsi);
    // Fields of the setup header that no loader and no real-mode code changes: `setup_sects`, `syssize`, `boot_flag`, and from `header` to `start_sys_seg`.
    for (offset, len) in [
        (0x1f1, 1),
        (0x1f4, 4),
        (0x1fe, 2),
        (0x202, 4),
        (0x206, 2),
        (0x230, 4),
        (0x234, 1),
        (0x236, 2),
        (0x238, 4),
        (0x258, 8),
        (0x260, 4),
    ] {
        let size = usize::try_from(len)?;
        assert_eq!(
            qemu.number(theirs + offset, len)?,
            our_number(&plan, page + offset, size)?,
            "{offset:#x}"
        );
    }
    // A type of loader is set by both: QEMU has one of its own.
    assert_eq!(
        (
            qemu.number(theirs + 0x210, 1)?,
            our_number(&plan, page + 0x210, 1)?
        ),
        (0xb0, 0xff)
    );
    let line = qemu.number(theirs + 0x228, 4)?;
    assert_eq!(qemu.text(line)?, CMDLINE);
    let our_line = our_number(&plan, page + 0x228, 4)?;
    assert_eq!(
        ours(&plan, our_line, CMDLINE.len() + 1)?,
        [CMDLINE.as_bytes(), &[0]].concat()
    );
    let (initrd, len) = (qemu.number(theirs + 0x218, 4)?, qemu.number(theirs + 0x21c, 4)?);
    assert_eq!(
        (len, our_number(&plan, page + 0x21c, 4)?),
        (INITRD.len() as u64, INITRD.len() as u64)
    );
    assert!(qemu.memory(initrd, len)? == INITRD);

    let count = qemu.number(theirs + 0x1e8, 1)?;
    let their_map = qemu.memory(theirs + 0x2d0, count * 20)?;
    let count = our_number(&plan, page + 0x1e8, 1)?;
    let our_map = ours(&plan, page + 0x2d0, usize::try_from(count)? * 20)?;
    compare_ram(&ram(our_map, 20), &ram(&their_map, 20));
    Ok(())
}
