//! Boots that are prepared once and loaded into several machines.
#![cfg(all(feature = "vm-memory", target_os = "linux", not(miri)))]

#[cfg(feature = "prepared-files")]
#[path = "prepared/files.rs"]
mod files;

use boot_core::{
    Arch, BootPlan, BootProtocol as _, BootRequest, Cmdline, Endian, EntryAbi, GuestMemory as _, GuestRange,
    ImageBuilder, KernelImage, LoadError, Machine, MemoryMap, SourceRange, Sources,
};
use guest_ram::{GuestRam, PrepareError, PreparedBoot};
use proptest::prelude::*;

const RAM: u64 = 64 << 20;

/// A kernel at 16 MiB: a segment that is at another place of its page in the file, and zeros behind it.
fn image(file_len: u64, in_file: u64, zeros: u64) -> KernelImage {
    let source = SourceRange::new(0x123, in_file).unwrap();
    ImageBuilder::new("elf", Arch::X86_64, Endian::Little, file_len)
        .segment(source, GuestRange::new(0x100_0000, in_file + zeros).unwrap())
        .entry(EntryAbi::ELF64, 0x100_0000)
        .build()
        .unwrap()
}

fn file(len: u64) -> Vec<u8> {
    (0..len)
        .map(|at| (at % 251 + at / 4096 + 1).to_le_bytes()[0])
        .collect()
}

fn plan(image: &KernelImage) -> BootPlan {
    let machine = Machine::new(Arch::X86_64, MemoryMap::pc(RAM).unwrap());
    let cmdline: Cmdline = "console=ttyS0".parse().unwrap();
    let request = BootRequest::new(image, &machine, &cmdline);
    proto_linux_x86::PROTOCOL.plan(&request).unwrap()
}

fn ram() -> GuestRam {
    GuestRam::new(&MemoryMap::pc(RAM).unwrap()).unwrap()
}

/// All of the memory that the plan is about.
fn bytes(ram: &GuestRam) -> Vec<u8> {
    let mut bytes = vec![0; 0xa_0000];
    ram.read(0, &mut bytes).unwrap();
    let mut high = vec![0; usize::try_from(RAM - (1 << 20)).unwrap()];
    ram.read(1 << 20, &mut high).unwrap();
    bytes.extend(high);
    bytes
}

#[test]
fn machines_do_not_see_what_others_write() {
    let kernel = file(0x9000);
    let plan = plan(&image(0x9000, 0x8001, 0x5000));
    let sources = Sources::kernel(&kernel);
    let mut expected = ram();
    plan.load(&sources, &mut expected).unwrap();
    let prepared = PreparedBoot::new(&plan, &sources).unwrap();
    let total: u64 = prepared.pages().iter().map(|pages| pages.range.len()).sum();
    assert_eq!(total, prepared.file().metadata().unwrap().len());

    let mut first = ram();
    prepared.load(&mut first).unwrap();
    first.write(0x100_0000, b"written by the first").unwrap();
    let mut second = ram();
    prepared.load(&mut second).unwrap();
    assert!(bytes(&second) == bytes(&expected));
    // And again into memory that was used: page by page, it is as before.
    first.write(0x100_8001, &vec![0xff; 0x5000]).unwrap();
    prepared.load(&mut first).unwrap();
    assert!(bytes(&first) == bytes(&expected));
    drop(prepared);
    assert!(bytes(&second) == bytes(&expected));
}

/// A huge page of the file can then back one of the guest, since both are at the same offset in it.
#[test]
fn large_parts_of_a_kernel_can_be_mapped_with_huge_pages() {
    const HUGE_PAGE: u64 = 2 << 20;
    let len = 3 * HUGE_PAGE;
    let kernel = file(0x123 + len);
    let plan = plan(&image(0x123 + len, len, 0));
    let sources = Sources::kernel(&kernel);
    let prepared = PreparedBoot::new(&plan, &sources).unwrap();
    let pages = prepared.pages().iter();
    let large: Vec<_> = pages.filter(|pages| pages.range.len() >= HUGE_PAGE).collect();
    let [large] = large.as_slice() else {
        panic!("{:?}", prepared.pages());
    };
    assert_eq!(large.range.start() % HUGE_PAGE, large.offset % HUGE_PAGE);
    let mut expected = ram();
    plan.load(&sources, &mut expected).unwrap();
    let mut found = ram();
    prepared.load(&mut found).unwrap();
    assert!(bytes(&found) == bytes(&expected));
}

#[test]
fn memory_that_lacks_a_page_stays_as_it_is() {
    let kernel = file(0x9000);
    let prepared = PreparedBoot::new(&plan(&image(0x9000, 0x8000, 0)), &Sources::kernel(&kernel)).unwrap();
    let mut small = GuestRam::new(&MemoryMap::pc(8 << 20).unwrap()).unwrap();
    let error = prepared.load(&mut small).unwrap_err();
    assert!(matches!(error, LoadError::NoMemory { .. }), "{error}");
    let mut low = vec![0; 0xa_0000];
    small.read(0, &mut low).unwrap();
    assert!(low.iter().all(|&byte| byte == 0));
}

#[test]
fn a_plan_that_cannot_be_loaded_cannot_be_prepared() {
    let shorter = file(0x8fff);
    let error = PreparedBoot::new(&plan(&image(0x9000, 0x8000, 0)), &Sources::kernel(&shorter)).unwrap_err();
    assert!(
        matches!(&error, PrepareError::Load(LoadError::Changed { .. })),
        "{error:?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_prepared_boot_is_the_plan(in_file in 1_u64..0x6000, zeros in 0_u64..0x10_0000) {
        let kernel = file(0x123 + in_file);
        let plan = plan(&image(0x123 + in_file, in_file, zeros));
        let sources = Sources::kernel(&kernel);
        let mut expected = ram();
        plan.load(&sources, &mut expected).unwrap();
        let mut found = ram();
        PreparedBoot::new(&plan, &sources).unwrap().load(&mut found).unwrap();
        prop_assert!(bytes(&found) == bytes(&expected));
    }
}
