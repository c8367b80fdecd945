//! What digests depend on, and what cannot be measured.

use boot_core::cpu::{aarch64, x86_64};
use boot_core::{
    AdditionalLoad, Arch, BootPlan, BootRequest, Cmdline, Constraints, CpuState, Endian, EntryAbi,
    GuestRange, ImageBuilder, Load, LoadContent, Machine, MemoryMap, PageKind, PlacedKernel, PlanBuilder,
    RamAllocator, RegionKind, SourceRange, Sources,
};
use boot_measure::snp::{CpuSignature, PlanLaunch, plan_launch_digest};
use boot_measure::{Digest, HashAlgorithm, MeasureError, encode_plan, plan_digest};
use proptest::prelude::*;

const KERNEL: [u8; 16] = [7; 16];

fn range(start: u64, len: usize) -> GuestRange {
    GuestRange::new(start, u64::try_from(len).unwrap()).unwrap()
}

/// A plan with these loads, a kernel of 16 bytes at 2 MiB, and CPUs.
fn plan_with_cpus(arch: Arch, loads: Vec<Load>, cpus: Vec<CpuState>) -> BootPlan {
    let image = ImageBuilder::new("test", arch, Endian::Little, 16)
        .segment(SourceRange::whole(16), range(0x20_0000, 16))
        .entry(EntryAbi::ELF64, 0x20_0000)
        .build()
        .unwrap();
    let mut map = MemoryMap::new();
    map.insert(range(0, 4 << 20), RegionKind::Ram).unwrap();
    let machine = Machine::new(arch, map);
    let cmdline = Cmdline::new();
    let request = BootRequest::new(&image, &machine, &cmdline);
    let kernel = PlacedKernel::place(&image, &mut RamAllocator::new(&machine.memory)).unwrap();
    let builder = loads
        .into_iter()
        .fold(PlanBuilder::new("test", &request, &kernel), PlanBuilder::load);
    cpus.into_iter().fold(builder, PlanBuilder::cpu).build().unwrap()
}

fn state() -> x86_64::State {
    x86_64::State::long_mode(0x20_0000, 0x1000, 8, 16)
}

fn plan(loads: Vec<Load>) -> BootPlan {
    plan_with_cpus(Arch::X86_64, loads, vec![state().into()])
}

fn load(start: u64, content: LoadContent, len: usize) -> Load {
    Load::new(range(start, len), content, "load", Constraints::NONE)
}

fn bytes(start: u64, bytes: &[u8]) -> Load {
    load(start, LoadContent::Bytes(bytes.to_vec()), bytes.len())
}

fn digest(plan: &BootPlan) -> Digest {
    plan_digest(plan, &Sources::kernel(&KERNEL), HashAlgorithm::Sha256).unwrap()
}

fn launch_digest(plan: &BootPlan, vcpus: u32) -> Result<String, MeasureError> {
    let launch = PlanLaunch::new(vcpus, CpuSignature::new(25, 1, 1));
    plan_launch_digest(plan, &Sources::kernel(&KERNEL), &launch).map(|digest| digest.to_string())
}

/// Loads of `content` at `start`, cut at `cuts`. Zeros are a load of zeros where `as_zeros` is set.
fn cut(start: u64, content: &[u8], cuts: &[usize], as_zeros: bool) -> Vec<Load> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % content.len()).collect();
    cuts.extend([0, content.len()]);
    cuts.sort_unstable();
    cuts.dedup();
    cuts.windows(2)
        .map(|cut| {
            let part = &content[cut[0]..cut[1]];
            let at = start + u64::try_from(cut[0]).unwrap();
            if as_zeros && part.iter().all(|byte| *byte == 0) {
                load(at, LoadContent::Zeros, part.len())
            } else {
                bytes(at, part)
            }
        })
        .collect()
}

/// Bytes with long runs of zeros.
fn content() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec((any::<bool>(), 1_usize..5000, any::<u8>()), 1..5).prop_map(|parts| {
        parts
            .into_iter()
            .flat_map(|(is_zero, len, byte)| vec![if is_zero { 0 } else { byte }; len])
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn the_digest_does_not_depend_on_cuts(
        start in 0x3000_u64..0x6000,
        content in content(),
        cuts in prop::collection::vec(any::<usize>(), 0..6),
    ) {
        let whole = plan(vec![bytes(start, &content)]);
        for as_zeros in [false, true] {
            let parts = plan(cut(start, &content, &cuts, as_zeros));
            prop_assert_eq!(digest(&parts), digest(&whole));
        }
        prop_assert_eq!(
            launch_digest(&plan(cut(start, &content, &cuts, false)), 1).unwrap(),
            launch_digest(&whole, 1).unwrap()
        );
    }

    #[test]
    fn every_byte_and_address_counts(
        start in 0x3000_u64..0x6000,
        content in content(),
        at in any::<prop::sample::Index>(),
        bit in 0_u32..8,
    ) {
        let before = plan(vec![bytes(start, &content)]);
        let mut other = content.clone();
        other[at.index(content.len())] ^= 1 << bit;
        let changed = plan(vec![bytes(start, &other)]);
        prop_assert_ne!(digest(&changed), digest(&before));
        prop_assert_ne!(launch_digest(&changed, 1).unwrap(), launch_digest(&before, 1).unwrap());
        prop_assert_ne!(digest(&plan(vec![bytes(start + 1, &content)])), digest(&before));
        let kind = plan(vec![bytes(start, &content).in_pages(PageKind::SHARED)]);
        prop_assert_ne!(digest(&kind), digest(&before));
        let mut longer = content.clone();
        longer.push(0);
        prop_assert_ne!(digest(&plan(vec![bytes(start, &longer)])), digest(&before));
    }
}

#[test]
fn every_register_counts() {
    type Change = fn(&mut x86_64::State);
    let changes: [Change; 34] = [
        |s| s.rax ^= 1,
        |s| s.rbx ^= 1,
        |s| s.rcx ^= 1,
        |s| s.rdx ^= 1,
        |s| s.rsi ^= 1,
        |s| s.rdi ^= 1,
        |s| s.rsp ^= 1,
        |s| s.rbp ^= 1,
        |s| s.r8 ^= 1,
        |s| s.r9 ^= 1,
        |s| s.r10 ^= 1,
        |s| s.r11 ^= 1,
        |s| s.r12 ^= 1,
        |s| s.r13 ^= 1,
        |s| s.r14 ^= 1,
        |s| s.r15 ^= 1,
        |s| s.rip ^= 1,
        |s| s.rflags ^= 1,
        |s| s.cs.selector ^= 1,
        |s| s.ds.selector ^= 1,
        |s| s.es.base ^= 1,
        |s| s.fs.base ^= 1,
        |s| s.gs.limit ^= 1,
        |s| s.ss.limit ^= 1,
        |s| s.tr.rights = x86_64::AccessRights::LDT,
        |s| s.ldtr.rights = x86_64::AccessRights::CODE64,
        |s| s.gdtr.base ^= 1,
        |s| s.idtr.limit ^= 1,
        |s| s.cr0 ^= 1,
        |s| s.cr2 ^= 1,
        |s| s.cr3 ^= 1,
        |s| s.cr4 ^= 1,
        |s| s.efer ^= 1 << 11,
        |s| s.apic_base ^= 1,
    ];
    let mut digests = vec![digest(&plan(vec![]))];
    let mut launches = vec![launch_digest(&plan(vec![]), 1).unwrap()];
    for change in changes {
        let mut state = state();
        change(&mut state);
        let plan = plan_with_cpus(Arch::X86_64, vec![], vec![state.into()]);
        digests.push(digest(&plan));
        launches.push(launch_digest(&plan, 1).unwrap());
    }
    // The save area of a vCPU has no APIC base, which is the last change.
    assert_eq!(launches.pop().as_ref(), launches.first());
    let count = digests.len();
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), count);
    launches.sort_unstable();
    launches.dedup();
    assert_eq!(launches.len(), count - 1);
}

#[test]
fn zeros_and_memory_that_stays_are_not_read_byte_by_byte() {
    let mut len = 0;
    let loads = vec![
        load(0x3000, LoadContent::Zeros, 1 << 20),
        load(0x21_0000, LoadContent::Present, 1 << 20),
    ];
    let plan = plan(loads);
    encode_plan(&plan, &Sources::kernel(&KERNEL), &mut |bytes| len += bytes.len()).unwrap();
    assert!(len < 600, "{len}");
}

#[track_caller]
fn check_launch(loads: Vec<Load>, vcpus: u32, expected: &str) {
    let error = launch_digest(&plan(loads), vcpus).unwrap_err();
    assert_eq!(error.to_string(), expected);
}

#[test]
fn what_a_launch_does_not_have_is_an_error() {
    let page = [1; 0x1000];
    check_launch(
        vec![
            bytes(0x3000, &page[..8]),
            bytes(0x3008, &page[..8]).in_pages(PageKind::SECRETS),
        ],
        1,
        "the page at 0x3000 has bytes of the load (measured) and of the load (secrets): the pages of a load of another \
         kind must be its own",
    );
    check_launch(
        vec![load(0x3000, LoadContent::Present, 0x1000)],
        1,
        "the load at 0x3000..0x4000 keeps what the memory contains, so its content cannot be measured",
    );
    check_launch(
        vec![load(0x3000, LoadContent::Present, 8), bytes(0x3008, &page[..8])],
        1,
        "the load at 0x3000..0x4000 keeps what the memory contains, so its content cannot be measured",
    );
    check_launch(
        vec![bytes(0x3000, &page).in_pages(PageKind::new("paravisor"))],
        1,
        "the load at 0x3000..0x4000 has pages of the kind paravisor, which this launch does not have",
    );
    check_launch(vec![], 0, "the plan starts 1 CPUs, but the launch has 0");
    let arm64 = plan_with_cpus(Arch::Aarch64, vec![], vec![aarch64::State::new(0x20_0000).into()]);
    let error = launch_digest(&arm64, 1).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the plan is for aarch64, but the launch is for x86_64"
    );
}

#[test]
fn files_must_be_those_of_the_plan() {
    let check = |kernel: &[u8], expected: &str| {
        let found = plan_digest(&plan(vec![]), &Sources::kernel(&kernel), HashAlgorithm::Sha256);
        assert_eq!(found.unwrap_err().to_string(), expected);
    };
    check(
        &[7; 17],
        "the kernel has 0x11 bytes, but the plan is for 0x10: plan again",
    );
    let additional = [AdditionalLoad::file("file", 8)];
    let image = ImageBuilder::new("test", Arch::X86_64, Endian::Little, 16)
        .segment(SourceRange::whole(16), range(0x20_0000, 16))
        .entry(EntryAbi::ELF64, 0x20_0000)
        .build()
        .unwrap();
    let machine = Machine::new(Arch::X86_64, MemoryMap::pc(4 << 20).unwrap());
    let cmdline = Cmdline::new();
    let request = BootRequest::new(&image, &machine, &cmdline).with_additional_loads(&additional);
    let mut allocator = RamAllocator::for_request(&request).unwrap();
    let kernel = PlacedKernel::place(&image, &mut allocator).unwrap();
    let placed = boot_core::PlacedAdditional::place(&mut allocator, &additional).unwrap();
    let plan = PlanBuilder::new("test", &request, &kernel)
        .additional(&request, &placed)
        .cpu(state())
        .build()
        .unwrap();
    let found = plan_digest(&plan, &Sources::kernel(&KERNEL), HashAlgorithm::Sha256);
    assert_eq!(
        found.unwrap_err().to_string(),
        "the plan loads the file of additional load 0, but it is not among the sources"
    );
}
