//! Rules for images, and limits of sizes.

use boot_core::{Arch, Endian, EntryAbi, GuestRange, ImageBuilder, SourceRange};
use fmt_test::elf::*;
use fmt_test::guest::{BASE, CODE, CODE_PHDR, DATA, DATA_PHDR, Guest, PT_GNU_RELRO, RELRO, RELRO_PHDR};
use proto_sandbox::{GuestLayout, LayoutError, Sizes};

use crate::image;

fn layout(elf: &Elf, sizes: &Sizes) -> Result<GuestLayout, LayoutError> {
    GuestLayout::new(&image(elf), sizes)
}

/// Checks the error for a changed guest; none if `expected` is empty.
#[track_caller]
fn check(machine: u16, change: impl FnOnce(&mut Elf), expected: &str) {
    let mut elf = Guest::new(machine).elf();
    change(&mut elf);
    let found = layout(&elf, &Sizes::default()).err();
    assert_eq!(found.map(|error| error.to_string()).unwrap_or_default(), expected);
}

fn move_to(elf: &mut Elf, phdr: usize, addr: u64) {
    (elf.phdrs[phdr].vaddr, elf.phdrs[phdr].paddr) = (addr, addr);
}

#[test]
fn programs_that_need_a_dynamic_linker_or_threads_are_refused() {
    check(
        EM_X86_64,
        |elf| elf.e_type = ET_DYN,
        "the image is position-independent, but there is no dynamic linker; compile with `-C relocation-model=static` and \
         link with `--no-pie`",
    );
    let header = |p_type| {
        move |elf: &mut Elf| {
            elf.phdrs.push(Phdr {
                p_type,
                ..notes(&[], 4)
            });
        }
    };
    check(
        EM_X86_64,
        header(2),
        "the image has a dynamic section (PT_DYNAMIC), but there is no dynamic linker; link with `-static --no-pie`",
    );
    check(
        EM_X86_64,
        header(7),
        "the image has thread-local variables (PT_TLS), but a guest has no threads; make them static variables",
    );
}

#[test]
fn segments_are_at_the_addresses_of_images() {
    check(
        EM_X86_64,
        |elf| elf.phdrs[DATA_PHDR].paddr += 0x1000,
        "segment 3 (RW, 0x40021000..0x40023345) has the physical address 0x40022000, expected its virtual address; link \
         without `AT` in a linker script",
    );
    let outside = |segment: &str| {
        format!("{segment} is not within 0x40000000..0x50000000; link with `--image-base=0x40000000`")
    };
    check(
        EM_X86_64,
        |elf| elf.phdrs[DATA_PHDR].memsz = 0x5000_0000 - DATA,
        "",
    );
    check(
        EM_X86_64,
        |elf| elf.phdrs[DATA_PHDR].memsz = 0x5000_0001 - DATA,
        &outside("segment 3 (RW, 0x40021000..0x50000001)"),
    );
    let low = |elf: &mut Elf| {
        let segment = Phdr {
            flags: PF_R,
            ..load(BASE - 0x1000, &[1], 0x10)
        };
        elf.phdrs.push(segment);
    };
    check(EM_X86_64, low, &outside("segment 6 (R, 0x3ffff000..0x3ffff010)"));
}

#[test]
fn no_memory_is_writable_and_executable() {
    check(
        EM_X86_64,
        |elf| elf.phdrs[DATA_PHDR].flags |= PF_X,
        "segment 3 (RWE, 0x40021000..0x40023345) is writable and executable; link without `--omagic` (`-N`)",
    );
}

#[test]
fn writable_segments_come_last() {
    let constants = |elf: &mut Elf| {
        let segment = Phdr {
            flags: PF_R,
            ..load(0x4004_0000, &[1], 0x10)
        };
        elf.phdrs.push(segment);
    };
    check(
        EM_X86_64,
        constants,
        "segment 3 (RW, 0x40021000..0x40023345) is below segment 6 (R, 0x40040000..0x40040010), which is not writable; link \
         without a linker script, or place data after code and constants",
    );
}

#[test]
fn segments_of_different_access_share_no_page() {
    let shared = |first: &str, second: &str, page| {
        format!(
            "{first} and {second} share a page of {page} bytes; link with `-z separate-loadable-segments -z max-page-size={page}`"
        )
    };
    let code_len = |elf: &mut Elf, len: u64| {
        let code = &mut elf.phdrs[CODE_PHDR];
        code.memsz = len;
        code.data.resize(usize::try_from(len).unwrap(), 0x90);
    };
    // Constants after code, in one page.
    let constants = |at: u64| {
        move |elf: &mut Elf| {
            code_len(elf, 0x1010);
            let segment = load(at, &[1], 1);
            elf.phdrs.push(Phdr {
                flags: PF_R,
                ..segment
            });
        }
    };
    let expected = shared(
        "segment 1 (R E, 0x40010000..0x40011010)",
        "segment 6 (R, 0x40011fff..0x40012000)",
        "0x1000",
    );
    for machine in [EM_X86_64, EM_AARCH64, EM_RISCV] {
        check(machine, constants(CODE + 0x1fff), &expected);
        check(machine, constants(CODE + 0x2000), "");
    }
    // Writable memory begins with a page of the host.
    for (addr, [x86_64, arm64, riscv64]) in [
        (0x4001_1ff8, [true, true, true]),
        (0x4001_2000, [false, true, false]),
        (0x4001_f000, [false, true, false]),
        (0x4002_0000, [false, false, false]),
    ] {
        for (machine, page, is_refused) in [
            (EM_X86_64, "0x1000", x86_64),
            (EM_AARCH64, "0x10000", arm64),
            (EM_RISCV, "0x1000", riscv64),
        ] {
            let change = |elf: &mut Elf| {
                code_len(elf, 0x1ff0);
                elf.phdrs.retain(|phdr| phdr.p_type != PT_GNU_RELRO);
                elf.phdrs[RELRO_PHDR].memsz = 0x800;
                move_to(elf, RELRO_PHDR, addr);
            };
            let data = format!("segment 2 (RW, {addr:#x}..{:#x})", addr + 0x800);
            let expected = shared("segment 1 (R E, 0x40010000..0x40011ff0)", &data, page);
            check(machine, change, if is_refused { &expected } else { "" });
        }
    }
    // Segments of the same access may share a page.
    let data = |elf: &mut Elf| {
        elf.phdrs[RELRO_PHDR].memsz = 0x800;
        elf.phdrs.retain(|phdr| phdr.p_type != PT_GNU_RELRO);
        move_to(elf, DATA_PHDR, RELRO + 0x800);
    };
    check(EM_X86_64, data, "");
}

#[test]
fn constants_after_relocation_are_in_one_writable_segment() {
    let relro = |start: u64, end: u64| {
        move |elf: &mut Elf| {
            let phdr = elf
                .phdrs
                .iter_mut()
                .find(|phdr| phdr.p_type == PT_GNU_RELRO)
                .unwrap();
            (phdr.vaddr, phdr.paddr, phdr.memsz) = (start, start, end - start);
        }
    };
    let error = |range: &str| {
        format!(
            "the constants after relocation at {range} (PT_GNU_RELRO) are not in one writable segment; link with `-z norelro`"
        )
    };
    check(EM_X86_64, relro(RELRO, RELRO + 0x1000), "");
    check(EM_X86_64, relro(RELRO + 0x10, RELRO + 0x20), "");
    check(
        EM_X86_64,
        relro(RELRO, RELRO + 0x1001),
        &error("0x40020000..0x40021001"),
    );
    check(
        EM_X86_64,
        relro(CODE, CODE + 0x1000),
        &error("0x40010000..0x40011000"),
    );
    check(EM_X86_64, relro(0, 0x1000), &error("0x0..0x1000"));
}

#[test]
fn an_image_without_note_is_no_guest() {
    let image = ImageBuilder::new("test", Arch::X86_64, Endian::Little, 16)
        .segment(SourceRange::whole(16), GuestRange::new(BASE, 16).unwrap())
        .entry(EntryAbi::ELF64, BASE)
        .build()
        .unwrap();
    let error = GuestLayout::new(&image, &Sizes::default()).unwrap_err();
    assert_eq!(error, LayoutError::NoNote);
}

#[test]
fn sizes_have_limits() {
    let elf = Guest::new(EM_X86_64).elf();
    let check = |change: &dyn Fn(&mut Sizes), expected: &str| {
        let mut sizes = Sizes::default();
        change(&mut sizes);
        let found = layout(&elf, &sizes).err();
        assert_eq!(found.map(|error| error.to_string()).unwrap_or_default(), expected);
    };
    let heap = |bytes| move |sizes: &mut Sizes| sizes.heap = bytes;
    let size = |size, found: u64, min: u64, max: u64| {
        format!("the {size} has {found:#x} bytes, expected {min:#x} to {max:#x}")
    };
    // The guest needs 1 MiB.
    check(&heap(0x10_0000), "");
    check(&heap(0xf_ffff), &size("heap", 0xf_ffff, 0x10_0000, 32 << 30));
    check(&heap(32 << 30), "");
    check(
        &heap((32 << 30) + 1),
        &size("heap", (32 << 30) + 1, 0x10_0000, 32 << 30),
    );
    check(&heap(u64::MAX), &size("heap", u64::MAX, 0x10_0000, 32 << 30));
    let stack = |bytes| move |sizes: &mut Sizes| sizes.stack = bytes;
    check(&stack(0x8000), "");
    check(&stack(0x7fff), &size("stack", 0x7fff, 0x8000, 1 << 30));
    check(&stack(1 << 30), "");
    check(
        &stack((1 << 30) + 1),
        &size("stack", (1 << 30) + 1, 0x8000, 1 << 30),
    );
    let window = |bytes| move |sizes: &mut Sizes| sizes.window = bytes;
    check(&window(0x1000), "");
    check(&window(0x10_0000), "");
    check(&window(0xfff), &size("window", 0xfff, 0x1000, 0x10_0000));
    check(&window(0x10_0001), &size("window", 0x10_0001, 0x1000, 0x10_0000));
    check(
        &window(0x1001),
        "the window has 0x1001 bytes, expected a multiple of 0x1000",
    );
}

#[test]
fn sizes_are_rounded_up() {
    let mut guest = Guest::new(EM_X86_64);
    (guest.min_heap, guest.min_stack) = (0, 0);
    let sizes = |heap, stack| Sizes {
        heap,
        stack,
        ..Sizes::default()
    };
    let found = |heap, stack| {
        let layout = layout(&guest.elf(), &sizes(heap, stack)).unwrap();
        (layout.heap.len(), layout.stack.len())
    };
    assert_eq!(found(0, 1), (0, 0x1000));
    assert_eq!(found(1, 0x1000), (0x20_0000, 0x1000));
    assert_eq!(found(0x20_0001, 0x1001), (0x40_0000, 0x2000));
    let error = layout(&guest.elf(), &sizes(0, 0)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the stack has 0x0 bytes, expected 0x1 to 0x40000000"
    );
}

#[test]
fn the_note_raises_sizes() {
    let note = boot_sandbox::GuestNote::parse(Arch::X86_64, &Guest::new(EM_X86_64).descriptor()).unwrap();
    let none = Sizes {
        heap: 0,
        stack: 0,
        window: 0x1000,
    };
    let raised = none.at_least(&note);
    assert_eq!(
        (raised.heap, raised.stack, raised.window),
        (0x10_0000, 0x8000, 0x1000)
    );
    assert_eq!(Sizes::default().at_least(&note), Sizes::default());
}
