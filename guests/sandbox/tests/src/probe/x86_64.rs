//! x86_64: control, debug and segment registers, `XCR0`, and what `FXSAVE64` and `VEXTRACTF128` store.
#![expect(unsafe_code, reason = "assembly")]

use alloc::vec::Vec;
use core::arch::{asm, global_asm};

use super::values::{Area, Registers};

/// An area of `FXSAVE64`, and the upper halves of YMM0 to YMM15.
pub(super) const WORDS: usize = UPPER + 32;

/// First word of the upper halves.
const UPPER: usize = 64;

unsafe extern "C" {
    /// Saves the registers. Returns 1 with upper halves, else 0.
    #[link_name = "vmsandbox_probe_save"]
    pub(super) fn save(area: *mut u64) -> u64;

    /// Loads the registers, with upper halves if there are some. No register of them is one that functions preserve.
    #[link_name = "vmsandbox_probe_load"]
    pub(super) fn load(area: *const u64, all: u64);
}

global_asm!(
    ".pushsection .text.vmsandbox_probe, \"ax\", @progbits",
    "vmsandbox_probe_avx:",
    "mov rax, cr4",
    "bt eax, 18",
    "jnc 2f",
    "xor ecx, ecx",
    "xgetbv",
    "shr eax, 2",
    "and eax, 1",
    "ret",
    "2:",
    "xor eax, eax",
    "ret",
    ".globl vmsandbox_probe_save",
    "vmsandbox_probe_save:",
    "fxsave64 [rdi]",
    "call vmsandbox_probe_avx",
    "test eax, eax",
    "jz 2f",
    ".irp number, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
    "vextractf128 [rdi + 512 + 16 * \\number], ymm\\number, 1",
    ".endr",
    "2:",
    "ret",
    ".globl vmsandbox_probe_load",
    "vmsandbox_probe_load:",
    "fxrstor64 [rdi]",
    "call vmsandbox_probe_avx",
    "test eax, eax",
    "jz 2f",
    ".irp number, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
    "vinsertf128 ymm\\number, ymm\\number, [rdi + 512 + 16 * \\number], 1",
    ".endr",
    "2:",
    "ret",
    ".popsection",
);

/// Names of the saved registers, with their first words and numbers of words.
const SAVED: [(&str, usize, usize); 28] = [
    ("FCW, FSW, FTW, FOP", 0, 1),
    ("FIP", 1, 1),
    ("FDP", 2, 1),
    ("MXCSR", 3, 1),
    ("ST0", 4, 2),
    ("ST1", 6, 2),
    ("ST2", 8, 2),
    ("ST3", 10, 2),
    ("ST4", 12, 2),
    ("ST5", 14, 2),
    ("ST6", 16, 2),
    ("ST7", 18, 2),
    ("XMM0", 20, 2),
    ("XMM1", 22, 2),
    ("XMM2", 24, 2),
    ("XMM3", 26, 2),
    ("XMM4", 28, 2),
    ("XMM5", 30, 2),
    ("XMM6", 32, 2),
    ("XMM7", 34, 2),
    ("XMM8", 36, 2),
    ("XMM9", 38, 2),
    ("XMM10", 40, 2),
    ("XMM11", 42, 2),
    ("XMM12", 44, 2),
    ("XMM13", 46, 2),
    ("XMM14", 48, 2),
    ("XMM15", 50, 2),
];

pub(super) fn saved(registers: &mut Registers, area: &Area<WORDS>, has_upper: u64) {
    for (name, first, words) in SAVED {
        registers.push_words(name, area, first, words);
    }
    if has_upper != 0 {
        registers.push_words("upper halves of YMM0 to YMM15", area, UPPER, 32);
    }
}

/// Makes an area valid for `FXRSTOR64`.
pub(super) fn prepare(area: &Area<WORDS>, pattern: u64) {
    // Another rounding and precision; the only value of the stack is in register 7.
    area.set(0, 0x0b7f | 0x3800 << 16 | 0x80 << 32);
    // Addresses are canonical.
    area.set(1, pattern >> 20);
    area.set(2, pattern >> 24);
    // Rounds up, with flags and masks.
    area.set(3, 0x5fbf);
    // A finite number.
    area.set(4, pattern | 1 << 63);
    area.set(5, 0x4000);
    for at in 6..20 {
        area.set(at, 0);
    }
}

/// Reads registers by an instruction each.
macro_rules! read {
    ($registers:ident: $($name:literal $template:literal)*) => {
        $({
            let value: u64;
            // SAFETY: it reads a register.
            unsafe { asm!($template, out(reg) value, options(nomem, preserves_flags)) };
            $registers.push($name, value);
        })*
    };
}

/// Changes registers by an instruction each.
macro_rules! assign {
    ($($template:literal $value:expr;)*) => {
        $({
            // SAFETY: nothing of the program depends on the register or on the bits that change.
            unsafe { asm!($template, inout(reg) $value => _) };
        })*
    };
}

/// Bits of CR4.
const FSGSBASE: u64 = 1 << 16;
const OSXSAVE: u64 = 1 << 18;

fn cr4() -> u64 {
    let value;
    // SAFETY: it reads a register.
    unsafe { asm!("mov {}, cr4", out(reg) value, options(nomem, preserves_flags)) };
    value
}

pub(super) fn system(registers: &mut Registers) {
    read! { registers:
        "RFLAGS" "pushfq\npop {}"
        "CR0" "mov {}, cr0"
        "CR2" "mov {}, cr2"
        "CR3" "mov {}, cr3"
        "CR4" "mov {}, cr4"
        "CR8" "mov {}, cr8"
        "DR0" "mov {}, dr0"
        "DR1" "mov {}, dr1"
        "DR2" "mov {}, dr2"
        "DR3" "mov {}, dr3"
        "DR6" "mov {}, dr6"
        "DR7" "mov {}, dr7"
        "CS" "mov {0:e}, cs"
        "SS" "mov {0:e}, ss"
        "DS" "mov {0:e}, ds"
        "ES" "mov {0:e}, es"
        "FS" "mov {0:e}, fs"
        "GS" "mov {0:e}, gs"
        "TR" "str {0:e}"
        "LDTR" "sldt {0:e}"
        "GDTR base" "lea rsp, [rsp - 16]\nsgdt [rsp]\nmov {}, [rsp + 2]\nlea rsp, [rsp + 16]"
        "GDTR limit" "lea rsp, [rsp - 16]\nsgdt [rsp]\nmovzx {0:e}, word ptr [rsp]\nlea rsp, [rsp + 16]"
        "IDTR base" "lea rsp, [rsp - 16]\nsidt [rsp]\nmov {}, [rsp + 2]\nlea rsp, [rsp + 16]"
        "IDTR limit" "lea rsp, [rsp - 16]\nsidt [rsp]\nmovzx {0:e}, word ptr [rsp]\nlea rsp, [rsp + 16]"
    }
    if cr4() & FSGSBASE != 0 {
        read! { registers:
            "base of FS" "rdfsbase {}"
            "base of GS" "rdgsbase {}"
            "IA32_KERNEL_GS_BASE" "swapgs\nrdgsbase {}\nswapgs"
        }
    }
    if cr4() & OSXSAVE != 0 {
        registers.push("XCR0", xcr0());
    }
}

/// `XCR0`. The program has checked `CR4.OSXSAVE`.
fn xcr0() -> u64 {
    let (high, low): (u64, u64);
    // SAFETY: it reads a register.
    unsafe {
        asm!("xgetbv", in("ecx") 0, out("rdx") high, out("rax") low, options(nomem, nostack, preserves_flags));
    }
    high << 32 | low
}

/// Bits that have no effect at privilege level 0, or none on code that accesses ordinary memory.
mod harmless {
    /// Of CR0: alignment checks.
    pub(super) const AM: u64 = 1 << 18;
    /// Of CR3: the root of the page tables is written through.
    pub(super) const PWT: u64 = 1 << 3;
    /// Of CR4: `RDTSC` at privilege level 0 only.
    pub(super) const TSD: u64 = 1 << 2;
    /// Of DR7: exact breakpoints, and the lengths and kinds of breakpoints that are disabled.
    pub(super) const GE_AND_KINDS: u64 = 1 << 9 | 0x0fff << 16;
    /// Of RFLAGS: nested task, alignment check, identification.
    pub(super) const NT_AC_ID: u64 = 1 << 14 | 1 << 18 | 1 << 21;
}

pub(super) fn disturb_system(pattern: u64) {
    // An address that is canonical.
    let address = pattern >> 17;
    assign! {
        "mov cr2, {}" pattern;
        "mov cr8, {}" pattern % 8 + 4;
        "mov dr0, {}" address;
        "mov dr1, {}" address + 1;
        "mov dr2, {}" address + 2;
        "mov dr3, {}" address + 3;
        "mov dr6, {}" 0xffff_0ff0_u64 | 5;
        "mov dr7, {}" 0x400 | harmless::GE_AND_KINDS;
        // Null selectors, whose lowest bits have no meaning.
        "mov ds, {0:e}" 1_u64;
        "mov es, {0:e}" 2_u64;
        "mov fs, {0:e}" 3_u64;
        "mov gs, {0:e}" 1_u64;
        "push {0}\npushfq\npop {0}\nxor {0}, [rsp]\nadd rsp, 8\npush {0}\npopfq" harmless::NT_AC_ID;
        "push {0}\nmov {0}, cr0\nxor {0}, [rsp]\nadd rsp, 8\nmov cr0, {0}" harmless::AM;
        "push {0}\nmov {0}, cr3\nxor {0}, [rsp]\nadd rsp, 8\nmov cr3, {0}" harmless::PWT;
        "push {0}\nmov {0}, cr4\nxor {0}, [rsp]\nadd rsp, 8\nmov cr4, {0}" harmless::TSD;
        // The next exception would be a triple fault.
        "sub rsp, 16\nmov word ptr [rsp], 0x77\nmov [rsp + 2], {0}\nlgdt [rsp]\nadd rsp, 16" address;
        "sub rsp, 16\nmov word ptr [rsp], 0x77\nmov [rsp + 2], {0}\nlidt [rsp]\nadd rsp, 16" address;
    }
    if cr4() & FSGSBASE != 0 {
        assign! {
            "wrfsbase {}" address + 4;
            "swapgs\nwrgsbase {}\nswapgs" address + 5;
            "wrgsbase {}" address + 6;
        }
    }
    if pattern % 2 == 1 && cr4() & OSXSAVE != 0 {
        // x87 and SSE only.
        // SAFETY: the program uses AVX only after it has read XCR0.
        unsafe { asm!("xsetbv", in("ecx") 0, in("edx") 0, in("eax") 3, options(nostack, preserves_flags)) };
    }
}

/// AVX is present and enabled (Intel SDM 1, 14.3).
#[cfg(target_feature = "sse2")]
fn has_avx() -> bool {
    const AVX_AND_OSXSAVE: u32 = 1 << 28 | 1 << 27;
    const SSE_AND_AVX: u64 = 6;
    let features = core::arch::x86_64::__cpuid(1).ecx;
    features & AVX_AND_OSXSAVE == AVX_AND_OSXSAVE && xcr0() & SSE_AND_AVX == SSE_AND_AVX
}

#[cfg(target_feature = "sse2")]
pub(super) fn avx_products(left: &[f64], right: &[f64]) -> Option<Vec<f64>> {
    // SAFETY: the CPU has AVX.
    has_avx().then(|| unsafe { products(left, right) })
}

/// A program with integer registers only.
#[cfg(not(target_feature = "sse2"))]
pub(super) fn avx_products(_: &[f64], _: &[f64]) -> Option<Vec<f64>> {
    None
}

/// The products, four at a time.
#[cfg(target_feature = "sse2")]
#[target_feature(enable = "avx")]
fn products(left: &[f64], right: &[f64]) -> Vec<f64> {
    use core::arch::x86_64::{_mm256_loadu_pd, _mm256_mul_pd, _mm256_storeu_pd};

    let pairs = left.as_chunks::<4>().0.iter().zip(right.as_chunks::<4>().0);
    let products = pairs.flat_map(|(left, right)| {
        // SAFETY: there are four numbers.
        let left = unsafe { _mm256_loadu_pd(left.as_ptr()) };
        // SAFETY: as above.
        let right = unsafe { _mm256_loadu_pd(right.as_ptr()) };
        let product = _mm256_mul_pd(left, right);
        let mut products = [0.0; 4];
        // SAFETY: there is space for four numbers.
        unsafe { _mm256_storeu_pd(products.as_mut_ptr(), product) };
        products
    });
    products.collect()
}
