//! An image with the largest number of segments that a format crate accepts is planned in a short time.
//!
//! No step of planning may compare each segment with all others: with a file of a few MiB, a tenant could keep a host busy
//! for minutes.

use boot_core::{
    Arch, BootProtocol, BootRequest, Cmdline, Endian, EntryAbi, GuestRange, ImageBuilder, Machine, MemoryMap,
    SourceRange,
};

/// The most program headers that an ELF kernel may have.
const SEGMENTS: u64 = 1 << 17;
const START: u64 = 0x100_0000;
const STRIDE: u64 = 0x20;

#[test]
fn planning_takes_linear_time() {
    let mut builder = ImageBuilder::new("elf", Arch::X86_64, Endian::Little, 8).entry(EntryAbi::ELF64, START);
    for i in 0..SEGMENTS {
        // A file part, a zeroed part and a gap.
        let range = GuestRange::new(START + i * STRIDE, 16).unwrap();
        builder = builder.segment(SourceRange::whole(8), range);
    }
    let image = builder.build().unwrap();
    let machine = Machine::new(Arch::X86_64, MemoryMap::pc(64 << 20).unwrap());
    let cmdline = Cmdline::new();
    let request = BootRequest::new(&image, &machine, &cmdline).with_initrd(0x1000);
    let plan = proto_linux_x86::PROTOCOL.plan(&request).unwrap();

    let segments = usize::try_from(SEGMENTS).unwrap();
    let kernel = plan.loads().iter().filter(|load| load.is_kernel()).count();
    assert_eq!(kernel, 2 * segments);
    let others = || plan.loads().iter().filter(|load| !load.is_kernel());
    assert_eq!(
        others().count(),
        5,
        "zero page, GDT, command line, page tables, initrd"
    );
    assert!(others().all(|load| !load.range.overlaps(plan.kernel())));
}
