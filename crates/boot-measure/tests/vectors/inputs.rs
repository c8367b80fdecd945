//! Generated inputs: the same as in `inputs.py`.

use boot_core::cpu::{aarch64, riscv64, x86_64};
use boot_core::{
    AdditionalLoad, Arch, BootFile, BootPlan, BootRequest, Cmdline, Constraints, CpuState, Endian, EntryAbi,
    GuestRange, ImageBuilder, Load, LoadContent, Machine, MemoryMap, PageKind, PlacedAdditional,
    PlacedKernel, PlanBuilder, RamAllocator, RegionKind, SourceRange, Sources,
};

/// `len` bytes without a period of a page.
pub(crate) fn bytes(len: usize, seed: usize) -> Vec<u8> {
    (0..len)
        .map(|i| u8::try_from((i * 7 + (i >> 8) + seed) & 0xff).unwrap())
        .collect()
}

/// A plan with its files.
pub(crate) struct Boot {
    pub(crate) plan: BootPlan,
    pub(crate) kernel: Vec<u8>,
    pub(crate) initrd: Vec<u8>,
}

impl Boot {
    pub(crate) fn sources(&self) -> Sources<'_> {
        Sources::kernel(&self.kernel).with_initrd(&self.initrd)
    }
}

fn range(start: u64, len: u64) -> GuestRange {
    GuestRange::new(start, len).unwrap()
}

/// A kernel of 0x2345 bytes at 1 MiB whose segment has 0x5000, an initrd of 5,000 bytes at 8 MiB, and three small tables.
pub(crate) fn boot(arch: Arch, cpus: Vec<CpuState>, additional: &[AdditionalLoad<'_>]) -> Boot {
    let kernel = bytes(0x2345, 1);
    let initrd = bytes(5000, 2);
    let image = ImageBuilder::new("test", arch, Endian::Little, 0x2345)
        .segment(SourceRange::whole(0x2345), range(0x10_0000, 0x5000))
        .entry(EntryAbi::ELF64, 0x10_0000)
        .build()
        .unwrap();
    let mut map = MemoryMap::new();
    map.insert(range(0, 16 << 20), RegionKind::Ram).unwrap();
    let machine = Machine::new(arch, map);
    let cmdline = Cmdline::new();
    let request = BootRequest::new(&image, &machine, &cmdline)
        .with_initrd(5000)
        .with_additional_loads(additional);
    let mut allocator = RamAllocator::for_request(&request).unwrap();
    let placed = PlacedKernel::place(&image, &mut allocator).unwrap();
    let additional = PlacedAdditional::place(&mut allocator, additional).unwrap();
    let table = |at, len, seed| {
        let content = LoadContent::Bytes(bytes(len, seed));
        let len = u64::try_from(len).unwrap();
        Load::new(range(at, len), content, "table", Constraints::NONE)
    };
    let builder = PlanBuilder::new("test", &request, &placed)
        .additional(&request, &additional)
        .load(table(0x500, 32, 3))
        .load(table(0x520, 100, 4))
        .load(table(0x7000, 0x1000, 5))
        .load(Load::new(
            range(0x8800, 0x3000),
            LoadContent::Zeros,
            "zeros",
            Constraints::NONE,
        ))
        .file(
            "initrd",
            range(0x80_0000, 5000),
            BootFile::Initrd,
            Constraints::NONE,
        );
    let plan = cpus.into_iter().fold(builder, PlanBuilder::cpu).build().unwrap();
    Boot { plan, kernel, initrd }
}

pub(crate) fn x86_state() -> x86_64::State {
    let mut state = x86_64::State::long_mode(0x10_0200, 0x9000, 0x10, 0x18);
    state.rsi = 0x7000;
    state.rsp = 0x8000;
    state.r15 = 0x1234_5678_9abc_def0;
    state.gdtr = x86_64::DescriptorTable::new(0x500, 31);
    state.idtr = x86_64::DescriptorTable::new(0x520, 0);
    state
}

pub(crate) fn arm64_state() -> aarch64::State {
    let mut state = aarch64::State::new(0x10_0000);
    state.x[0] = 0x80_0000;
    state.sp_el1 = 0x7000;
    state
}

pub(crate) fn riscv64_state() -> riscv64::State {
    let mut state = riscv64::State::new(0x10_0000);
    state.x[11] = 0x80_0000;
    state
}

/// Loads of every kind of page.
pub(crate) fn kinds(content: &[u8; 0x1000]) -> [AdditionalLoad<'_>; 4] {
    [
        AdditionalLoad::bytes("secrets", content)
            .at(0x30_0000)
            .in_pages(PageKind::SECRETS),
        AdditionalLoad::bytes("cpuid", content)
            .at(0x30_1000)
            .in_pages(PageKind::CPUID),
        AdditionalLoad::present("unmeasured", 0x30_2000, 0x2000).in_pages(PageKind::UNMEASURED),
        AdditionalLoad::bytes("shared", content)
            .at(0x30_4000)
            .in_pages(PageKind::SHARED),
    ]
}
