//! The protocol as a plugin.

use boot_core::{
    Arch, BootProtocol, BootRequest, Cmdline, EntryAbi, GuestRange, Machine, MemoryMap, Priority, RegionKind,
};
use fmt_test::elf::{EM_X86_64, Elf, load};
use fmt_test::guest::{CODE, Guest};
use proto_sandbox::{GuestLayout, PROTOCOL, Sizes};

use crate::image;

fn machine() -> Machine {
    Machine::new(Arch::X86_64, MemoryMap::pc(2 << 30).unwrap())
}

#[test]
fn the_protocol_starts_guests_only() {
    let guest = image(&Guest::new(EM_X86_64).elf());
    let support = PROTOCOL.supports(&guest).unwrap();
    assert_eq!(
        support.to_string(),
        "declared: it has the note of a sandbox's guest"
    );
    let kernel = image(&Elf::new(
        EM_X86_64,
        0x10_0000,
        vec![load(0x10_0000, &[0x90; 32], 0x1000)],
    ));
    assert!(kernel.entry(EntryAbi::ELF64).is_some());
    let refused = PROTOCOL.supports(&kernel).unwrap_err();
    assert_eq!(refused.to_string(), "it has no sandbox entry point");
    assert_eq!((PROTOCOL.name(), PROTOCOL.accepts().len()), ("sandbox", 0));
    assert_eq!(PROTOCOL.priority(), Priority::SPECIFIC);
}

#[test]
fn a_machine_with_enough_memory_starts_a_guest() {
    let mut guest = Guest::new(EM_X86_64);
    // More than the default.
    guest.min_heap = 16 << 20;
    let image = image(&guest.elf());
    let (machine, cmdline) = (machine(), Cmdline::new());
    let plan = PROTOCOL
        .plan(&BootRequest::new(&image, &machine, &cmdline))
        .unwrap();
    assert_eq!((plan.protocol(), plan.boot_cpu().entry()), ("sandbox", CODE));
    let sizes = Sizes {
        heap: 16 << 20,
        ..Sizes::default()
    };
    let layout = GuestLayout::new(&image, &sizes).unwrap();
    let entry = proto_sandbox::Entry::new(Arch::X86_64);
    let expected = proto_sandbox::plan(&image, &layout, &entry).unwrap().plan;
    assert_eq!((plan.loads(), plan.cpus()), (expected.loads(), expected.cpus()));
    assert_eq!(plan.memory(), &machine.memory);
}

#[test]
fn what_a_guest_cannot_get_is_refused() {
    let image = image(&Guest::new(EM_X86_64).elf());
    let machine = machine();
    let check = |machine: &Machine, cmdline: &str, expected: &str| {
        let cmdline = Cmdline::parse(cmdline).unwrap();
        let error = PROTOCOL
            .plan(&BootRequest::new(&image, machine, &cmdline))
            .unwrap_err();
        assert_eq!(error.to_string(), expected);
    };
    check(
        &machine,
        "quiet",
        "the command line has 5 bytes, but the kernel accepts at most 0",
    );
    let mut high = MemoryMap::new();
    high.insert(
        GuestRange::from_bounds(0x4000_0000, 0x4800_0000).unwrap(),
        RegionKind::Ram,
    )
    .unwrap();
    let without = Machine::new(Arch::X86_64, high);
    check(&without, "", "the plan is not valid");
    let other = Machine::new(Arch::Riscv64, machine.memory.clone());
    check(&other, "", "the image is for x86_64, the machine is riscv64");
}

#[test]
#[cfg(feature = "registry")]
fn the_protocol_is_registered_under_its_name() {
    let protocols = boot_core::registry::protocols().unwrap();
    let names: Vec<_> = protocols.iter().map(|protocol| protocol.name()).collect();
    assert_eq!(names, ["sandbox"]);
}
