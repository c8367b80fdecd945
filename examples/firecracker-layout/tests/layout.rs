//! Memory and registers of a boot, byte for byte, with the values of Firecracker v1.12.0: `configure_64bit_boot` and
//! `configure_pvh` of `src/vmm/src/arch/x86_64/mod.rs`, `setup_regs`, `setup_sregs` and `setup_fpu` of `regs.rs`, `gdt_entry`
//! and `kvm_segment_from_gdt` of `gdt.rs`, `create_boot_msr_entries` of `msr.rs`.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use boot_core::{
    Arch, Cmdline, Endian, EntryAbi, GuestRange, ImageBuilder, KernelImage, LoadContent, SourceRange, Sources,
};
use firecracker_layout::boot::{Boot, Protocol};
use firecracker_layout::memory::Ram;
use hv_kvm_regs::x86_64;
use kvm_bindings::{kvm_dtable, kvm_regs, kvm_segment, kvm_sregs};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

const ENTRY: u64 = 0x100_0040;
const KERNEL: [u8; 0x1000] = [0x90; 0x1000];
static INITRD: [u8; 0x1_2345] = [0x17; 0x1_2345];
const CMDLINE: &str = "console=ttyS0 reboot=k panic=1";

/// A kernel of one page at 16 MiB.
fn image(entry: EntryAbi) -> KernelImage {
    ImageBuilder::new("elf", Arch::X86_64, Endian::Little, 0x1000)
        .segment(
            SourceRange::whole(0x1000),
            GuestRange::new(16 * MIB, 0x1000).unwrap(),
        )
        .entry(entry, ENTRY)
        .build()
        .unwrap()
}

/// A boot that was loaded.
struct Loaded {
    boot: Boot,
    ram: Ram,
}

impl Loaded {
    fn new(protocol: Protocol, memory: u64, initrd: &[u8]) -> Self {
        let entry = match protocol {
            Protocol::Linux => EntryAbi::ELF64,
            Protocol::Pvh => EntryAbi::PVH,
        };
        let image = image(entry);
        assert_eq!(Protocol::of(&image), protocol);
        let cmdline = Cmdline::parse(CMDLINE).unwrap();
        let initrd_len = initrd.len().try_into().unwrap();
        let boot = Boot::plan(&image, protocol, memory, &cmdline, initrd_len).unwrap();
        let mut ram = Ram::new(memory).unwrap();
        let sources = Sources::kernel(&KERNEL).with_initrd(&initrd);
        boot.load(&sources, ram.memory()).unwrap();
        Self { boot, ram }
    }

    fn bytes(&mut self, addr: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.ram.memory().read(addr, &mut bytes).unwrap();
        bytes
    }

    fn words(&mut self, addr: u64, count: usize) -> Vec<u64> {
        let bytes = self.bytes(addr, 8 * count);
        let words = bytes.chunks_exact(8);
        words
            .map(|word| u64::from_le_bytes(word.try_into().unwrap()))
            .collect()
    }

    fn regs(&self) -> kvm_regs {
        x86_64::regs(&self.boot.state)
    }

    fn sregs(&self) -> kvm_sregs {
        let mut sregs = kvm_sregs::default();
        x86_64::write_sregs(&self.boot.state, &mut sregs);
        sregs
    }
}

/// Writes little-endian values at offsets.
fn put<const N: usize>(bytes: &mut [u8], offset: usize, value: [u8; N]) {
    bytes[offset..offset + N].copy_from_slice(&value);
}

fn table(entries: &[(u64, u64, u32)], entry_len: usize) -> Vec<u8> {
    let mut bytes = vec![0; entry_len * entries.len()];
    for (entry, &(addr, size, kind)) in bytes.chunks_mut(entry_len).zip(entries) {
        put(entry, 0, addr.to_le_bytes());
        put(entry, 8, size.to_le_bytes());
        put(entry, 16, kind.to_le_bytes());
    }
    bytes
}

/// The zero page of Firecracker; offsets are those of Linux `Documentation/arch/x86/zero-page.rst` and `boot.rst`.
fn zero_page(e820: &[(u64, u64, u32)], initrd: (u32, u32)) -> Vec<u8> {
    let mut page = vec![0; 0x1000];
    put(&mut page, 0x070, 0xe_0000_u64.to_le_bytes()); // acpi_rsdp_addr
    put(&mut page, 0x1e8, [e820.len().try_into().unwrap()]); // e820_entries
    put(&mut page, 0x1fe, 0xaa55_u16.to_le_bytes()); // boot_flag
    put(&mut page, 0x202, 0x5372_6448_u32.to_le_bytes()); // header
    put(&mut page, 0x210, [0xff]); // type_of_loader
    put(&mut page, 0x218, initrd.0.to_le_bytes()); // ramdisk_image
    put(&mut page, 0x21c, initrd.1.to_le_bytes()); // ramdisk_size
    put(&mut page, 0x228, 0x2_0000_u32.to_le_bytes()); // cmd_line_ptr
    put(&mut page, 0x230, 0x100_0000_u32.to_le_bytes()); // kernel_alignment
    put(&mut page, 0x238, 31_u32.to_le_bytes()); // cmdline_size, with the NUL
    page[0x2d0..0x2d0 + 20 * e820.len()].copy_from_slice(&table(e820, 20)); // e820_table
    page
}

const RAM: u32 = 1;
const RESERVED: u32 = 2;

/// The memory map of a machine with 128 MiB.
const MAP_128_MIB: [(u64, u64, u32); 3] = [
    (0, 0x9_fc00, RAM),
    (0x9_fc00, 0x4_0400, RESERVED),
    (0x10_0000, 0x7f0_0000, RAM),
];

/// Address and size of an initrd at the end of 128 MiB.
const INITRD_128_MIB: (u32, u32) = (0x7fe_d000, 0x1_2345);

fn segment(selector: u16, limit: u32, type_: u8, [db, s, l, g]: [u8; 4]) -> kvm_segment {
    kvm_segment {
        selector,
        limit,
        type_,
        present: 1,
        db,
        s,
        l,
        g,
        ..kvm_segment::default()
    }
}

fn descriptor_table(base: u64, limit: u16) -> kvm_dtable {
    kvm_dtable {
        base,
        limit,
        ..kvm_dtable::default()
    }
}

/// System registers with the values that do not depend on the protocol. Those that Firecracker does not set are the values of
/// KVM after reset.
fn sregs(code: kvm_segment, task: kvm_segment) -> kvm_sregs {
    let data = segment(0x10, 0xffff_ffff, 0x3, [1, 1, 0, 1]);
    kvm_sregs {
        cs: code,
        ds: data,
        es: data,
        fs: data,
        gs: data,
        ss: data,
        tr: task,
        ldt: segment(0, 0xffff, 0x2, [0, 0, 0, 0]),
        gdt: descriptor_table(0x500, 31),
        idt: descriptor_table(0x520, 7),
        apic_base: 0xfee0_0900,
        ..kvm_sregs::default()
    }
}

#[test]
fn memory_of_a_linux_boot() {
    let mut loaded = Loaded::new(Protocol::Linux, 128 * MIB, &INITRD);
    assert_eq!(
        loaded.bytes(0x7000, 0x1000),
        zero_page(&MAP_128_MIB, INITRD_128_MIB)
    );
    let gdt_and_idt = [
        0,
        0x00af_9b00_0000_ffff,
        0x00cf_9300_0000_ffff,
        0x008f_8b00_0000_ffff,
        0,
    ];
    assert_eq!(loaded.words(0x500, 5), gdt_and_idt);
    let cmdline = loaded.bytes(0x2_0000, CMDLINE.len() + 1);
    assert_eq!(cmdline, [CMDLINE.as_bytes(), b"\0"].concat());
    assert_eq!(loaded.bytes(16 * MIB, 0x1000), KERNEL);
    assert_eq!(loaded.bytes(INITRD_128_MIB.0.into(), INITRD.len()), INITRD);
    assert!(loaded.bytes(0xe_0000, 8).starts_with(b"RSD PTR "));
}

/// Page tables for the first GiB are those of Firecracker. The plan maps the first 4 GiB, with three page directories behind them.
#[test]
fn page_tables_of_a_linux_boot() {
    let mut loaded = Loaded::new(Protocol::Linux, 128 * MIB, &[]);
    let pml4 = loaded.words(0x9000, 512);
    assert_eq!((pml4[0], &pml4[1..]), (0xa003, &[0; 511][..]));
    let pdpt = loaded.words(0xa000, 512);
    assert_eq!((pdpt[0], &pdpt[4..]), (0xb003, &[0; 508][..]));
    let directory: Vec<u64> = (0..512).map(|page| (page << 21) + 0x83).collect();
    assert_eq!(loaded.words(0xb000, 512), directory);
    // Beyond Firecracker.
    assert_eq!(pdpt[1..4], [0xc003, 0xd003, 0xe003]);
    let rest: Vec<u64> = (512..2048).map(|page| (page << 21) + 0x83).collect();
    assert_eq!(loaded.words(0xc000, 3 * 512), rest);
}

#[test]
fn registers_of_a_linux_boot() {
    let loaded = Loaded::new(Protocol::Linux, 128 * MIB, &[]);
    let expected = kvm_regs {
        rip: ENTRY,
        rsp: 0x8ff0,
        rbp: 0x8ff0,
        rsi: 0x7000,
        rflags: 0x2,
        ..kvm_regs::default()
    };
    assert_eq!(loaded.regs(), expected);
    let code = segment(0x8, 0xffff_ffff, 0xb, [0, 1, 1, 1]);
    let task = segment(0x18, 0xffff_ffff, 0xb, [0, 0, 0, 1]);
    let expected = kvm_sregs {
        // PG and PE, in addition to CD, NW and ET after reset.
        cr0: 0xe000_0011,
        cr3: 0x9000,
        cr4: 0x20,
        efer: 0x500,
        ..sregs(code, task)
    };
    assert_eq!(loaded.sregs(), expected);
}

#[test]
fn memory_of_a_pvh_boot() {
    let mut loaded = Loaded::new(Protocol::Pvh, 128 * MIB, &INITRD);
    let mut start_info = [0; 56];
    put(&mut start_info, 0, 0x336e_c578_u32.to_le_bytes()); // magic
    put(&mut start_info, 4, 1_u32.to_le_bytes()); // version
    put(&mut start_info, 12, 1_u32.to_le_bytes()); // nr_modules
    put(&mut start_info, 16, 0x6040_u64.to_le_bytes()); // modlist_paddr
    put(&mut start_info, 24, 0x2_0000_u64.to_le_bytes()); // cmdline_paddr
    put(&mut start_info, 40, 0x7000_u64.to_le_bytes()); // memmap_paddr
    put(&mut start_info, 48, 3_u32.to_le_bytes()); // memmap_entries
    // Beyond Firecracker, which lets the guest search for the RSDP.
    put(&mut start_info, 32, 0xe_0000_u64.to_le_bytes()); // rsdp_paddr
    assert_eq!(loaded.bytes(0x6000, 56), start_info);
    let (addr, size) = INITRD_128_MIB;
    assert_eq!(loaded.words(0x6040, 4), [addr.into(), size.into(), 0, 0]);
    assert_eq!(loaded.bytes(0x7000, 3 * 24), table(&MAP_128_MIB, 24));
    let gdt_and_idt = [
        0,
        0x00cf_9b00_0000_ffff,
        0x00cf_9300_0000_ffff,
        0x0000_8b00_0000_0067,
        0,
    ];
    assert_eq!(loaded.words(0x500, 5), gdt_and_idt);
    assert!(
        loaded
            .bytes(0x2_0000, CMDLINE.len())
            .starts_with(CMDLINE.as_bytes())
    );
}

#[test]
fn registers_of_a_pvh_boot() {
    let loaded = Loaded::new(Protocol::Pvh, 128 * MIB, &[]);
    let expected = kvm_regs {
        rip: ENTRY,
        rbx: 0x6000,
        rflags: 0x2,
        ..kvm_regs::default()
    };
    assert_eq!(loaded.regs(), expected);
    let code = segment(0x8, 0xffff_ffff, 0xb, [1, 1, 0, 1]);
    let task = segment(0x18, 0x67, 0xb, [0, 0, 0, 0]);
    let expected = kvm_sregs {
        cr0: 0x11,
        ..sregs(code, task)
    };
    assert_eq!(loaded.sregs(), expected);
}

#[test]
fn the_fpu_and_an_msr() {
    let fpu = x86_64::fpu();
    assert_eq!((fpu.fcw, fpu.mxcsr), (0x37f, 0x1f80));
    let loaded = Loaded::new(Protocol::Linux, 128 * MIB, &[]);
    let msrs = x86_64::msrs(&loaded.boot.state);
    // IA32_MISC_ENABLE: fast strings.
    assert!(msrs.iter().any(|msr| (msr.index, msr.data) == (0x1a0, 1)));
}

/// The maps of larger machines: RAM ends at the hole for devices and continues above 4 GiB.
#[test]
fn memory_maps() {
    let low = [(0, 0x9_fc00, RAM), (0x9_fc00, 0x4_0400, RESERVED)];
    let check = |memory, high: &[(u64, u64, u32)]| {
        let map = [&low[..], high].concat();
        let mut linux = Loaded::new(Protocol::Linux, memory, &[]);
        assert_eq!(
            linux.bytes(0x7000, 0x1000),
            zero_page(&map, (0, 0)),
            "{memory:#x}"
        );
        let mut pvh = Loaded::new(Protocol::Pvh, memory, &[]);
        assert_eq!(pvh.bytes(0x7000, 24 * map.len()), table(&map, 24), "{memory:#x}");
    };
    let up_to_hole = (0x10_0000, 0xcff0_0000, RAM);
    check(512 * MIB, &[(0x10_0000, 0x1ff0_0000, RAM)]);
    check(3328 * MIB, &[up_to_hole]);
    check(4 * GIB, &[up_to_hole, (0x1_0000_0000, 0x3000_0000, RAM)]);
}

/// The zero page of the plan has everything that is in the one of Firecracker, and these fields in addition or with other values.
#[test]
fn fields_of_the_zero_page_that_the_plan_has_in_another_way() {
    let loaded = Loaded::new(Protocol::Linux, 128 * MIB, &INITRD);
    let loads = loaded.boot.plan.loads();
    let page = loads
        .iter()
        .find(|load| load.label == proto_linux_x86::label::ZERO_PAGE);
    let Some(LoadContent::Bytes(planned)) = page.map(|load| &load.content) else {
        panic!("{page:?}");
    };
    let firecracker = zero_page(&MAP_128_MIB, INITRD_128_MIB);
    let fields = [
        (0x1e0, 4), // alt_mem_k
        (0x1fa, 2), // vid_mode: normal
        (0x200, 2), // jump, whose second byte is the length of the header
        (0x206, 2), // version: 2.12
        (0x211, 1), // loadflags: LOADED_HIGH
        (0x214, 4), // code32_start
        (0x22c, 4), // initrd_addr_max
        (0x230, 4), // kernel_alignment
        (0x236, 2), // xloadflags: KERNEL_64
        (0x238, 4), // cmdline_size: the maximum
        (0x258, 8), // pref_address
        (0x260, 4), // init_size
    ];
    let mut rest = planned.clone();
    for (offset, len) in fields {
        let field = offset..offset + len;
        assert_ne!(planned[field.clone()], firecracker[field.clone()], "{offset:#x}");
        rest[field.clone()].copy_from_slice(&firecracker[field]);
    }
    assert_eq!(rest, firecracker);
}
