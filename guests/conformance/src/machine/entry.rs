//! Entry points and the CPU state that they record.
#![expect(unsafe_code, reason = "the entry code is assembly, which writes the record")]

use core::arch::global_asm;
use core::mem::offset_of;

use contract::Entry;

/// CPU state at entry. After a 32-bit entry, the upper halves of registers and 64-bit-only registers are zero. The 32-bit Linux
/// entry overwrites `eax`, `ecx` and `edx` to find its address; no protocol specifies their values.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct EntryRecord {
    abi: u64,
    /// Physical address of the image's first byte.
    pub(crate) base: u64,
    pub(crate) rax: u64,
    pub(crate) rcx: u64,
    pub(crate) rdx: u64,
    pub(crate) rbx: u64,
    pub(crate) rsp: u64,
    pub(crate) rbp: u64,
    pub(crate) rsi: u64,
    pub(crate) rdi: u64,
    pub(crate) r8: u64,
    pub(crate) rflags: u64,
    pub(crate) cr0: u64,
    pub(crate) cr3: u64,
    pub(crate) cr4: u64,
    pub(crate) efer: u64,
    /// Offset in the image of the first nonzero bytes without file content, a multiple of four or eight; all ones if there
    /// are none.
    pub(crate) dirty: u64,
    pub(crate) cs: u16,
    pub(crate) ds: u16,
    pub(crate) es: u16,
    pub(crate) fs: u16,
    pub(crate) gs: u16,
    pub(crate) ss: u16,
    pub(crate) tr: u16,
    pub(crate) ldtr: u16,
    gdtr: [u8; 16],
    idtr: [u8; 16],
    /// Results of accesses through the segments of the loader; 32-bit entries only.
    pub(crate) probe_cs: Probe,
    pub(crate) probe_es: Probe,
    pub(crate) probe_es_write: Probe,
    pub(crate) probe_ss: Probe,
    pub(crate) probe_fs: Probe,
    pub(crate) probe_gs: Probe,
    pub(crate) probe_cs_limit: Probe,
    pub(crate) probe_ds_limit: Probe,
    pub(crate) probe_es_limit: Probe,
}

/// Result of an access through a segment of the loader.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Probe(pub(crate) u32);

impl Probe {
    /// Not tested at this entry point or on this CPU.
    pub(crate) const UNTRIED: Self = Self(0);
    /// The access reached the expected memory; `PATTERN` in the assembly.
    pub(crate) const GOOD: Self = Self(0x5ea1_b007);
    /// The access raised an exception.
    pub(crate) const FAULTED: Self = Self(0xfa01_7ed0);
}

impl core::fmt::Display for Probe {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match *self {
            Self::GOOD => f.write_str("the bytes of the image"),
            Self::FAULTED => f.write_str("an exception"),
            Self(other) => write!(f, "other bytes ({other:#010x})"),
        }
    }
}

impl EntryRecord {
    /// The boot ABI of the entry point.
    pub(crate) const fn entry(&self) -> Entry {
        match self.abi {
            ABI_PVH => Entry::Pvh,
            ABI_LINUX32 => Entry::Linux32,
            ABI_MULTIBOOT => Entry::Multiboot,
            ABI_MULTIBOOT2 => Entry::Multiboot2,
            _ => Entry::Linux64,
        }
    }

    /// Base and limit of the loader's GDT.
    pub(crate) fn gdt(&self) -> (u64, u16) {
        // A 32-bit sgdt stores six bytes; the others stay zero.
        table_register(&self.gdtr)
    }

    /// Base and limit of the loader's IDT.
    pub(crate) fn idt(&self) -> (u64, u16) {
        table_register(&self.idtr)
    }
}

fn table_register(stored: &[u8; 16]) -> (u64, u16) {
    let [l0, l1, b0, b1, b2, b3, b4, b5, b6, b7, ..] = *stored;
    (
        u64::from_le_bytes([b0, b1, b2, b3, b4, b5, b6, b7]),
        u16::from_le_bytes([l0, l1]),
    )
}

const ABI_PVH: u64 = 1;
const ABI_LINUX32: u64 = 2;
const ABI_LINUX64: u64 = 3;
const ABI_MULTIBOOT: u64 = 4;
const ABI_MULTIBOOT2: u64 = 5;

global_asm!(
    include_str!("../entry.s"),
    ABI_PVH = const ABI_PVH,
    ABI_LINUX32 = const ABI_LINUX32,
    ABI_LINUX64 = const ABI_LINUX64,
    ABI_MULTIBOOT = const ABI_MULTIBOOT,
    ABI_MULTIBOOT2 = const ABI_MULTIBOOT2,
    RECORD_LEN = const size_of::<EntryRecord>(),
    ABI = const offset_of!(EntryRecord, abi),
    BASE = const offset_of!(EntryRecord, base),
    RAX = const offset_of!(EntryRecord, rax),
    RCX = const offset_of!(EntryRecord, rcx),
    RDX = const offset_of!(EntryRecord, rdx),
    RBX = const offset_of!(EntryRecord, rbx),
    RSP = const offset_of!(EntryRecord, rsp),
    RBP = const offset_of!(EntryRecord, rbp),
    RSI = const offset_of!(EntryRecord, rsi),
    RDI = const offset_of!(EntryRecord, rdi),
    R8 = const offset_of!(EntryRecord, r8),
    RFLAGS = const offset_of!(EntryRecord, rflags),
    CR0 = const offset_of!(EntryRecord, cr0),
    CR3 = const offset_of!(EntryRecord, cr3),
    CR4 = const offset_of!(EntryRecord, cr4),
    EFER = const offset_of!(EntryRecord, efer),
    DIRTY = const offset_of!(EntryRecord, dirty),
    CS = const offset_of!(EntryRecord, cs),
    DS = const offset_of!(EntryRecord, ds),
    ES = const offset_of!(EntryRecord, es),
    FS = const offset_of!(EntryRecord, fs),
    GS = const offset_of!(EntryRecord, gs),
    SS = const offset_of!(EntryRecord, ss),
    TR = const offset_of!(EntryRecord, tr),
    LDTR = const offset_of!(EntryRecord, ldtr),
    GDTR = const offset_of!(EntryRecord, gdtr),
    IDTR = const offset_of!(EntryRecord, idtr),
    PROBE_CS = const offset_of!(EntryRecord, probe_cs),
    PROBE_ES = const offset_of!(EntryRecord, probe_es),
    PROBE_ES_WRITE = const offset_of!(EntryRecord, probe_es_write),
    PROBE_SS = const offset_of!(EntryRecord, probe_ss),
    PROBE_FS = const offset_of!(EntryRecord, probe_fs),
    PROBE_GS = const offset_of!(EntryRecord, probe_gs),
    PROBE_CS_LIMIT = const offset_of!(EntryRecord, probe_cs_limit),
    PROBE_DS_LIMIT = const offset_of!(EntryRecord, probe_ds_limit),
    PROBE_ES_LIMIT = const offset_of!(EntryRecord, probe_es_limit),
    options(att_syntax)
);

unsafe extern "C" {
    #[link_name = "record"]
    static RECORD: EntryRecord;
    #[link_name = "__image_end"]
    static IMAGE_END: [u8; 0];
    #[link_name = "image_start"]
    static IMAGE_START: [u8; 0];
}

/// The record of the entry code.
pub(crate) fn record() -> EntryRecord {
    // SAFETY: the entry code wrote every field before it called `kernel_main`, nothing writes them any more, and any bit
    // pattern is a value of each field.
    unsafe { (&raw const RECORD).read_volatile() }
}

/// Length of the image in memory.
pub(crate) fn image_length() -> u64 {
    let (start, end) = ((&raw const IMAGE_START).addr(), (&raw const IMAGE_END).addr());
    u64::try_from(end - start).unwrap_or(u64::MAX)
}
