//! Loads by the crate `linux-loader`, compared byte by byte.

use std::io::Cursor;
use std::panic::{self, AssertUnwindSafe};

use boot_core::{
    Arch, BootPlan, BootProtocol as _, BootRequest, Cmdline, GuestMemory as _, GuestRange, KernelFormat,
    Load, Machine, MemoryMap, Sources,
};
use guest_ram::{GuestRam, HugePages, RamOptions};
use libtest_mimic::Failed;
use linux_loader::loader::{BzImage, Elf, KernelLoader as _};
use vm_memory::GuestAddress;

use crate::family::FAMILIES;
use crate::matrix::{ACCEPTED, Matrix, REFUSED, class};

/// RAM of generated and of real kernels in bytes.
pub(crate) const SMALL: u64 = 64 << 20;

/// Bytes before and after each load that are compared, too.
const MARGIN: u64 = 0x1000;

/// A file format of both loaders.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Elf,
    BzImage,
}

/// A PC with this RAM.
fn machine(ram: u64) -> Machine {
    Machine::new(Arch::X86_64, MemoryMap::pc(ram).unwrap())
}

fn memory(machine: &Machine) -> GuestRam {
    RamOptions::new()
        .huge_pages(HugePages::Avoid)
        .build(&machine.memory)
        .unwrap()
}

/// A plan, and how far it moves the kernel up.
struct Planned {
    plan: BootPlan,
    offset: u64,
}

/// The plan of a kernel, or the class of the error.
fn plan(file: &[u8], kind: Kind, machine: &Machine) -> Result<Planned, String> {
    let format: &dyn KernelFormat = match kind {
        Kind::Elf => &fmt_elf::FORMAT,
        Kind::BzImage => &fmt_bzimage::FORMAT,
    };
    let image = match format.parse(&file) {
        Ok(Some(image)) => image,
        Ok(None) => return Err("no magic number".into()),
        Err(error) => return Err(class(&error.get_ref())),
    };
    let cmdline = Cmdline::new();
    let request = BootRequest::new(&image, machine, &cmdline);
    let plan = proto_linux_x86::PROTOCOL.plan(&request);
    let plan = plan.map_err(|error| format!("plan: {}", class(&error)))?;
    let offset = plan.kernel().start().saturating_sub(image.extent().start());
    Ok(Planned { plan, offset })
}

/// Loads a kernel by `linux-loader` to where the plan has it, if there is one. An error is the class of its error, or that it panicked.
fn load_by_peer(file: &[u8], kind: Kind, plan: Option<&Planned>, ram: &GuestRam) -> Result<(), String> {
    let memory = &**ram.memory();
    let mut file = Cursor::new(file);
    let offset = plan
        .map(|planned| planned.offset)
        .filter(|offset| *offset > 0)
        .map(GuestAddress);
    let start = plan.map(|planned| GuestAddress(planned.plan.kernel().start()));
    let load = AssertUnwindSafe(|| match kind {
        Kind::Elf => Elf::load(memory, offset, &mut file, None),
        Kind::BzImage => BzImage::load(memory, start, &mut file, None),
    });
    match panic::catch_unwind(load) {
        Err(_) => Err("panic".into()),
        Ok(Err(error)) => Err(class(&error)),
        Ok(Ok(_)) => Ok(()),
    }
}

/// The class of the peer's memory: equal in the loads of the kernel and around them, or only in the loads.
fn compare_memory(plan: &BootPlan, ours: &GuestRam, theirs: &GuestRam) -> &'static str {
    let are_equal = |range: GuestRange| {
        let bytes = |ram: &GuestRam| {
            let mut bytes = vec![0; usize::try_from(range.len()).unwrap()];
            ram.read(range.start(), &mut bytes).unwrap();
            bytes
        };
        bytes(ours) == bytes(theirs)
    };
    let mut class = ACCEPTED;
    for load in plan.loads().iter().filter(|load| load.is_kernel()) {
        if !are_equal(load.range) {
            return "other bytes";
        }
        let (start, end) = (load.range.start(), load.range.end());
        let around = GuestRange::from_bounds(start.saturating_sub(MARGIN), end + MARGIN).unwrap();
        if ours.check(around).is_ok() && !are_equal(around) {
            class = "more bytes";
        }
    }
    class
}

/// Loads a kernel by both loaders, and returns the classes of both.
pub(crate) fn classes(file: &[u8], kind: Kind, ram: u64) -> (String, String) {
    let machine = machine(ram);
    let planned = plan(file, kind, &machine);
    let theirs = memory(&machine);
    let result = load_by_peer(file, kind, planned.as_ref().ok(), &theirs);
    let their_class = match (&planned, result) {
        (Ok(_), Err(error)) => format!("{REFUSED}: {error}"),
        (Err(_), Err(_)) => REFUSED.into(),
        (Ok(Planned { plan, .. }), Ok(())) => {
            let mut ours = memory(&machine);
            plan.load_if(&Sources::kernel(&file), &mut ours, Load::is_kernel)
                .unwrap();
            compare_memory(plan, &ours, &theirs).into()
        }
        (Err(_), Ok(())) => ACCEPTED.into(),
    };
    (
        planned.map_or_else(|class| class, |_| ACCEPTED.into()),
        their_class,
    )
}

fn compare(section: &str, family: &str, kind: Kind) -> Result<(), Failed> {
    let mut matrix = Matrix::default();
    let family = FAMILIES
        .iter()
        .find(|known| known.name == family)
        .ok_or("no such family")?;
    family.for_each(&mut |name, file| {
        let (ours, theirs) = classes(&file, kind, SMALL);
        matrix.add(name, &ours, &theirs);
    });
    matrix.check(section)
}

/// All ELF files of the corpus.
pub(crate) fn compare_elf() -> Result<(), Failed> {
    compare("loading: linux-loader, ELF", "elf", Kind::Elf)
}

/// All bzImages of the corpus.
pub(crate) fn compare_bzimage() -> Result<(), Failed> {
    compare("loading: linux-loader, bzImage", "bzimage", Kind::BzImage)
}

/// Memory behind `p_filesz` that is not zero before the load: we zero it, as the gABI demands of a loader, and `linux-loader` does not.
pub(crate) fn dirty_bss() -> Result<(), Failed> {
    use fmt_test::elf::{EM_X86_64, Elf as Writer, load};
    let file = Writer::new(EM_X86_64, 0x10_0000, vec![load(0x10_0000, &[1; 0x100], 0x200)]).bytes();
    let machine = machine(SMALL);
    let Planned { plan, .. } = plan(&file, Kind::Elf, &machine)?;
    let [mut ours, mut theirs] = [memory(&machine), memory(&machine)];
    for ram in [&mut ours, &mut theirs] {
        ram.write(0x10_0000, &[0xee; 0x200])?;
    }
    plan.load_if(&Sources::kernel(&file), &mut ours, Load::is_kernel)?;
    assert_eq!(load_by_peer(&file, Kind::Elf, None, &theirs), Ok(()));
    let byte = |ram: &GuestRam| {
        let mut byte = [1];
        ram.read(0x10_0100, &mut byte).unwrap();
        byte[0]
    };
    assert_eq!((byte(&ours), byte(&theirs)), (0, 0xee));
    Ok(())
}
