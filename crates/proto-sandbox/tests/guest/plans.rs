//! Plans of guests: contents of memory and registers.

use boot_core::{Arch, GuestMemory, GuestRange};
use boot_paging::{Access, MemoryType};
use fmt_test::elf::{EM_AARCH64, EM_RISCV, EM_X86_64};
use fmt_test::guest::{BASE, CODE, DATA, DATA_PHDR, Guest, RELRO, RELRO_PHDR, VECTORS};
use proto_sandbox::{Entry, GuestLayout, SandboxPlan, Sizes, label, plan};
use sandbox_abi::DoorbellKind;

use crate::checks::{self, Memory, access};
use crate::image;

const MACHINES: [u16; 3] = [EM_X86_64, EM_AARCH64, EM_RISCV];
const BOOT_INFO: u64 = 0x3fe0_9000;

/// A guest that is loaded.
struct Loaded {
    layout: GuestLayout,
    plan: SandboxPlan,
    memory: Memory,
}

impl Loaded {
    fn new(machine: u16, entry: impl FnOnce(Arch) -> Entry<'static>) -> Self {
        let elf = Guest::new(machine).elf();
        let image = image(&elf);
        let layout = GuestLayout::new(&image, &Sizes::default()).unwrap();
        let plan = plan(&image, &layout, &entry(image.arch())).unwrap();
        checks::check(&image, &layout, &plan);
        let memory = checks::load(layout.memory_map(), &plan.plan, &elf.bytes());
        Self { layout, plan, memory }
    }

    fn bytes<const N: usize>(&self, addr: u64) -> [u8; N] {
        let mut bytes = [0; N];
        self.memory.read(addr, &mut bytes).unwrap();
        bytes
    }

    fn word(&self, addr: u64) -> u64 {
        u64::from_le_bytes(self.bytes(addr))
    }

    /// Words of the boot information.
    fn info<const N: usize>(&self, offset: u64) -> [u64; N] {
        std::array::from_fn(|at| self.word(BOOT_INFO + offset + 8 * at as u64))
    }
}

fn range(start: u64, end: u64) -> GuestRange {
    GuestRange::from_bounds(start, end).unwrap()
}

#[test]
fn parts_are_where_the_interface_has_them() {
    for machine in MACHINES {
        let Loaded { layout, .. } = Loaded::new(machine, Entry::new);
        let (image_end, tables_end) = match layout.arch {
            Arch::X86_64 => (0x4001_1000, 0x4061_7000),
            // Slots are multiples of 64 KiB.
            Arch::Aarch64 => (0x4002_0000, 0x4062_0000),
            _ => (0x4001_1000, 0x4061_6000),
        };
        assert_eq!(layout.outbox, range(0x4060_0000, 0x4061_0000));
        assert_eq!(layout.tables, range(0x4061_0000, tables_end));
        assert_eq!(layout.exchange, range(0x4060_0000, tables_end));
        assert_eq!(layout.host, range(0x3fe0_0000, 0x4000_0000));
        assert_eq!(layout.inbox, range(0x3fe1_0000, 0x3fe2_0000));
        assert_eq!(layout.image, range(0x4000_0000, image_end));
        assert_eq!(layout.memory, range(image_end, 0x4060_0000));
        assert_eq!(layout.data, range(image_end, 0x4002_4000));
        assert_eq!(layout.fault_stack, range(0x4003_4000, 0x4003_8000));
        assert_eq!(layout.stack, range(0x4004_8000, 0x4008_8000));
        assert_eq!(layout.heap, range(0x4020_0000, 0x4060_0000));
        let ram: Vec<_> = layout.memory_map().ram().collect();
        assert_eq!(ram, [range(0x3fe0_0000, tables_end)]);
    }
}

#[test]
fn the_boot_information_has_the_layout_and_the_doorbell() {
    for (machine, kind, doorbell) in [
        (EM_X86_64, 1, 0x6c),
        (EM_AARCH64, 2, 0xc600_5342),
        (EM_RISCV, 4, 0x0900_0000),
    ] {
        let loaded = Loaded::new(machine, Entry::new);
        assert_eq!(&loaded.bytes(BOOT_INFO), b"VMSB\x01\0\0\0");
        let [inbox, outbox, window] = loaded.info(8);
        assert_eq!([inbox, outbox], [0x3fe1_0000, 0x4060_0000]);
        assert_eq!(window, kind << 32 | 0x1_0000);
        let expected = [
            doorbell,
            0x4004_8000,
            0x4008_8000,
            0x4003_8000,
            0x4020_0000,
            0x40_0000,
            0x400_0000,
        ];
        assert_eq!(loaded.info(32), expected);
        assert_eq!(loaded.info(120), [0; 8]);
        let mmu = match loaded.layout.arch {
            Arch::X86_64 => [0; 4],
            // 48 bits, 4 KiB, write-back inner shareable tables, 40 bits of physical addresses, no TTBR1.
            Arch::Aarch64 => [0x04ff, 0x2_8090_3510, 0x4061_0000, 0x30d8_180d],
            _ => [8 << 60 | 0x4_0610, 0, 0, 0],
        };
        assert_eq!(loaded.info(88), mmu);
    }
}

#[test]
fn x86_64_starts_in_64_bit_mode_with_paging() {
    let loaded = Loaded::new(EM_X86_64, Entry::new);
    let state = loaded.plan.plan.boot_cpu().x86_64().unwrap();
    assert_eq!((state.rip, state.rsp, state.rdi), (CODE, 0x4008_8000 - 8, 0));
    assert_eq!(
        (state.cr0, state.cr3, state.cr4),
        (0x8005_0033, 0x4061_0000, 0x620)
    );
    assert_eq!((state.efer, state.rflags), (0xd00, 2));
    assert_eq!((state.gdtr.base, state.gdtr.limit), (0x3fe0_a000, 39));
    assert_eq!((state.idtr.base, state.idtr.limit), (0x3fe0_b000, 511));
    assert_eq!(
        [state.cs.selector, state.ss.selector, state.tr.selector],
        [8, 0x10, 0x18]
    );
    assert_eq!(
        (state.tr.base, state.tr.limit, state.tr.rights.bits()),
        (0x3fe0_a400, 103, 0x8b)
    );
}

#[test]
fn descriptor_tables_of_x86_64() {
    let loaded = Loaded::new(EM_X86_64, Entry::new);
    let (gdt, idt) = (0x3fe0_a000, 0x3fe0_b000);
    let descriptors: Vec<_> = (0..6).map(|at| loaded.word(gdt + 8 * at)).collect();
    let tss = 0x3f00_8be0_a400_0067;
    assert_eq!(
        descriptors,
        [0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff, tss, 0, 0]
    );
    // RSP0 to RSP2, reserved, IST1 to IST7, and the end of the segment as the base of the I/O map.
    let task: [u8; 104] = loaded.bytes(gdt + 0x400);
    let mut expected = [0; 104];
    expected[36..44].copy_from_slice(&0x4003_8000_u64.to_le_bytes());
    expected[102] = 104;
    assert_eq!(task, expected);
    for vector in 0..32 {
        let gate: [u8; 16] = loaded.bytes(idt + 16 * vector);
        let [low, high] = u16::try_from(VECTORS - 0x4001_0000 + 16 * vector)
            .unwrap()
            .to_le_bytes();
        let expected = [low, high, 8, 0, 1, 0x8e, 0x01, 0x40, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(gate, expected, "{vector}");
    }
    assert_eq!(loaded.bytes(idt + 0x200), [0; 16]);
}

#[test]
fn gates_have_all_bits_of_the_handlers_address() {
    let mut elf = Guest::new(EM_X86_64).elf();
    // The handlers of vectors 0 to 15 and 16 to 31 differ in bits 16 and above.
    let vectors = 0x4010_ff00_u64;
    let code = &mut elf.phdrs[1];
    code.data.resize(0x10_1000, 0x90);
    code.memsz = 0x10_1000;
    for phdr in &mut elf.phdrs[2..] {
        if phdr.vaddr != 0 {
            phdr.vaddr += 0x20_0000;
            phdr.paddr = phdr.vaddr;
        }
    }
    let note = &mut elf.phdrs[4].data;
    note[24 + 16..24 + 24].copy_from_slice(&vectors.to_le_bytes());
    let image = image(&elf);
    let layout = GuestLayout::new(&image, &Sizes::default()).unwrap();
    let plan = plan(&image, &layout, &Entry::new(Arch::X86_64)).unwrap();
    let memory = checks::load(layout.memory_map(), &plan.plan, &elf.bytes());
    let mut gate = [0; 8];
    for (vector, expected) in [
        (15, [0xf0, 0xff, 8, 0, 1, 0x8e, 0x10, 0x40]),
        (16, [0, 0, 8, 0, 1, 0x8e, 0x11, 0x40]),
    ] {
        memory.read(0x3fe0_b000 + 16 * vector, &mut gate).unwrap();
        assert_eq!(gate, expected);
    }
}

#[test]
fn arm64_and_riscv64_start_without_paging() {
    let loaded = Loaded::new(EM_AARCH64, Entry::new);
    let state = loaded.plan.plan.boot_cpu().aarch64().unwrap();
    assert_eq!((state.pc, state.x[0], state.pstate), (CODE, BOOT_INFO, 0x3c5));
    assert!(state.x[1..].iter().all(|value| *value == 0) && state.sp_el1 == 0);
    let loaded = Loaded::new(EM_RISCV, Entry::new);
    let state = loaded.plan.plan.boot_cpu().riscv64().unwrap();
    assert_eq!((state.pc, state.x[10], state.satp), (CODE, BOOT_INFO, 0));
    assert_eq!(state.x.iter().filter(|value| **value != 0).count(), 1);
}

#[test]
fn pages_have_the_access_of_their_part() {
    for machine in MACHINES {
        let loaded = Loaded::new(machine, Entry::new);
        let access = |addr| access(&loaded.plan, addr);
        let (read, write, execute) = (Some(Access::empty()), Some(Access::WRITE), Some(Access::EXECUTE));
        let is_x86 = loaded.layout.arch == Arch::X86_64;
        let only = |condition, access| if condition { access } else { None };
        for (addr, expected) in [
            (0, None),
            (0x1000, None),
            (0x1800_0000, None),
            (0x3fe0_0000, execute),
            (0x3fe0_1000, read),
            (0x3fe0_8000, read),
            (BOOT_INFO, read),
            (0x3fe0_a000, only(is_x86, read)),
            (0x3fe0_b000, only(is_x86, read)),
            (0x3fe0_c000, None),
            (0x3fe1_0000, read),
            (0x3fe2_0000, None),
            (BASE, read),
            (BASE + 0x1000, None),
            (CODE, execute),
            (RELRO, read),
            (DATA, write),
            (DATA + 0x2000, write),
            (DATA + 0x3000, None),
            (0x4020_0000, write),
            (0x4060_0000, write),
            (0x4061_0000, None),
            (0x10_0000_0000, None),
            (0x3f_ffff_f000, None),
        ] {
            assert_eq!(access(addr), expected, "{:?} {addr:#x}", loaded.layout.arch);
        }
        assert_eq!(loaded.word(DATA), 0x2222_2222_2222_2222);
        assert_eq!(
            (loaded.word(DATA + 8), loaded.word(DATA + 16)),
            (0x2222_2222_2222_2222, 0)
        );
    }
}

#[test]
fn only_whole_pages_are_constant_after_relocation() {
    let (read, write) = (Some(Access::empty()), Some(Access::WRITE));
    for (start, end, expected) in [
        (0, 0x5000, [read, read, read, read, read]),
        (0, 0x1000, [read, write, write, write, write]),
        (0x1000, 0x3000, [write, read, read, write, write]),
        (0x1001, 0x3000, [write, write, read, write, write]),
        (0x1000, 0x2fff, [write, read, write, write, write]),
        (0x4000, 0x5000, [write, write, write, write, read]),
        (0x1800, 0x2800, [write; 5]),
        (0x1800, 0x1900, [write; 5]),
        (0x1000, 0x1000, [write; 5]),
    ] {
        let mut elf = Guest::new(EM_X86_64).elf();
        elf.phdrs[RELRO_PHDR].memsz = 0x5000;
        elf.phdrs.remove(DATA_PHDR);
        let relro = elf.phdrs.last_mut().unwrap();
        (relro.vaddr, relro.memsz) = (RELRO + start, end - start);
        let image = image(&elf);
        let layout = GuestLayout::new(&image, &Sizes::default()).unwrap();
        let plan = plan(&image, &layout, &Entry::new(Arch::X86_64)).unwrap();
        checks::check(&image, &layout, &plan);
        let found: [_; 5] = std::array::from_fn(|at| access(&plan, RELRO + 0x1000 * at as u64));
        assert_eq!(found, expected, "{start:#x}..{end:#x}");
    }
}

#[test]
fn the_page_of_an_mmio_doorbell_is_device_memory() {
    let mmio = |arch| Entry {
        doorbell_kind: DoorbellKind::MMIO,
        doorbell: 0x3f_ffff_f010,
        ..Entry::new(arch)
    };
    let loaded = Loaded::new(EM_AARCH64, mmio);
    let page = loaded.plan.tables.translate(0x3f_ffff_f010).unwrap();
    assert_eq!(page.attributes.access, Access::WRITE);
    assert_eq!(page.attributes.memory, MemoryType::Device);
    assert_eq!(loaded.info::<2>(24), [3 << 32 | 0x1_0000, 0x3f_ffff_f010]);
}

#[test]
fn bits_of_cr4_are_added() {
    let with_cr4 = |arch| Entry {
        cr4: 0x5_0000,
        ..Entry::new(arch)
    };
    let loaded = Loaded::new(EM_X86_64, with_cr4);
    let boot_core::CpuState::X86_64(state) = loaded.plan.plan.boot_cpu() else {
        panic!("a state of another architecture")
    };
    assert_eq!(state.cr4, 0x5_0620);
}

#[test]
fn the_register_loader_is_in_its_page() {
    static CODE: [u8; 0x1000] = [0x5a; 0x1000];
    let with_code = |arch| Entry {
        rewind_code: &CODE,
        ..Entry::new(arch)
    };
    for machine in MACHINES {
        let loaded = Loaded::new(machine, with_code);
        assert_eq!(loaded.bytes(0x3fe0_0000), CODE);
        let labels: Vec<_> = loaded.plan.plan.loads().iter().map(|load| &*load.label).collect();
        assert!(labels.contains(&label::REWIND_CODE));
        assert_eq!(labels.contains(&label::GDT), machine == EM_X86_64);
    }
}

#[test]
fn an_entry_is_checked() {
    static CODE: [u8; 0x1001] = [0; 0x1001];
    let check = |machine, change: &dyn Fn(&mut Entry<'_>), expected: &str| {
        let image = image(&Guest::new(machine).elf());
        let layout = GuestLayout::new(&image, &Sizes::default()).unwrap();
        let mut entry = Entry::new(image.arch());
        change(&mut entry);
        let error = plan(&image, &layout, &entry).unwrap_err();
        let source = std::error::Error::source(&error).unwrap();
        assert_eq!(source.to_string(), expected);
    };
    let kind = |kind| move |entry: &mut Entry<'_>| entry.doorbell_kind = kind;
    check(
        EM_X86_64,
        &kind(DoorbellKind::MMIO),
        "x86_64 has no doorbell of the kind DoorbellKind(U32(3))",
    );
    check(
        EM_AARCH64,
        &kind(DoorbellKind::SBI),
        "aarch64 has no doorbell of the kind DoorbellKind(U32(4))",
    );
    check(
        EM_RISCV,
        &kind(DoorbellKind::HVC),
        "riscv64 has no doorbell of the kind DoorbellKind(U32(2))",
    );
    let mmio = |addr| {
        move |entry: &mut Entry<'_>| {
            (entry.doorbell_kind, entry.doorbell) = (DoorbellKind::MMIO, addr);
        }
    };
    for addr in [0x3f_ffff_effc, 0x3f_ffff_f001, 0x40_0000_0000] {
        let expected =
            format!("the doorbell is at {addr:#x}, expected a multiple of 4 in the page at 0x3ffffff000");
        check(EM_AARCH64, &mmio(addr), &expected);
    }
    let code = |len| move |entry: &mut Entry<'_>| entry.rewind_code = &CODE[..len];
    let expected =
        |found, max| format!("the code that loads registers has {found} bytes, expected at most {max}");
    check(EM_X86_64, &code(0x1001), &expected(0x1001, 0x1000));
    check(EM_RISCV, &code(0x1001), &expected(0x1001, 0x1000));
    let cr4 = |bits| move |entry: &mut Entry<'_>| entry.cr4 = bits;
    for (machine, bits, allowed) in [(EM_X86_64, 0x5_0001, 0x5_0000), (EM_AARCH64, 0x4_0000, 0)] {
        let expected = format!("CR4 at the entry has the bits {bits:#x}, expected only bits of {allowed:#x}");
        check(machine, &cr4(bits), &expected);
    }
}
