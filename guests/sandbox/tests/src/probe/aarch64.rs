//! arm64: the system registers of EL1 and EL0 that KVM gives every guest, and V0 to V31.
#![expect(unsafe_code, reason = "assembly")]

use alloc::vec::Vec;
use core::arch::{asm, global_asm};

use super::values::{Area, Registers};

/// V0 to V31.
pub(super) const WORDS: usize = 64;

unsafe extern "C" {
    /// Saves the registers.
    #[link_name = "vmsandbox_probe_save"]
    pub(super) fn save(area: *mut u64) -> u64;

    /// Loads the registers; the lower halves of V8 to V15, which functions preserve, only with `all`.
    #[link_name = "vmsandbox_probe_load"]
    pub(super) fn load(area: *const u64, all: u64);
}

global_asm!(
    ".pushsection .text.vmsandbox_probe, \"ax\", @progbits",
    ".globl vmsandbox_probe_save",
    "vmsandbox_probe_save:",
    ".irp number, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31",
    "str q\\number, [x0, 16 * \\number]",
    ".endr",
    "mov x0, 0",
    "ret",
    ".globl vmsandbox_probe_load",
    "vmsandbox_probe_load:",
    ".irp number, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31",
    "ldr q\\number, [x0, 16 * \\number]",
    ".endr",
    ".irp number, 8, 9, 10, 11, 12, 13, 14, 15",
    "ldr x2, [x0, 16 * \\number + 8]",
    "mov v\\number\\().d[1], x2",
    ".endr",
    "cbz x1, 2f",
    ".irp number, 8, 9, 10, 11, 12, 13, 14, 15",
    "ldr q\\number, [x0, 16 * \\number]",
    ".endr",
    "2:",
    "ret",
    ".popsection",
);

/// Names of the saved registers.
const SAVED: [&str; 32] = [
    "V0", "V1", "V2", "V3", "V4", "V5", "V6", "V7", "V8", "V9", "V10", "V11", "V12", "V13", "V14", "V15",
    "V16", "V17", "V18", "V19", "V20", "V21", "V22", "V23", "V24", "V25", "V26", "V27", "V28", "V29", "V30",
    "V31",
];

pub(super) fn saved(registers: &mut Registers, area: &Area<WORDS>, _: u64) {
    for (at, name) in SAVED.into_iter().enumerate() {
        registers.push_words(name, area, 2 * at, 2);
    }
}

/// All values are valid.
pub(super) fn prepare(_: &Area<WORDS>, _: u64) {}

/// Reads registers.
macro_rules! read {
    ($registers:ident: $($name:literal)*) => {
        $({
            let value: u64;
            // SAFETY: it reads a register.
            unsafe { asm!(concat!("mrs {}, ", $name), out(reg) value, options(nomem, nostack, preserves_flags)) };
            $registers.push($name, value);
        })*
    };
}

/// Changes the bits of a mask, with the bits of a value.
macro_rules! change {
    ($($name:literal $bits:expr;)*) => {
        $({
            let bits: u64 = $bits;
            // SAFETY: nothing of the program depends on these bits.
            unsafe {
                asm!(
                    concat!("mrs {1}, ", $name),
                    "eor {1}, {1}, {0}",
                    concat!("msr ", $name, ", {1}"),
                    "isb",
                    in(reg) bits,
                    out(reg) _,
                    options(nostack, preserves_flags),
                );
            }
        })*
    };
}

pub(super) fn system(registers: &mut Registers) {
    read! { registers:
        "SCTLR_EL1" "ACTLR_EL1" "CPACR_EL1" "TTBR0_EL1" "TTBR1_EL1" "TCR_EL1" "MAIR_EL1" "AMAIR_EL1" "VBAR_EL1"
        "TPIDR_EL0" "TPIDR_EL1" "TPIDRRO_EL0" "CONTEXTIDR_EL1" "SP_EL0" "PAR_EL1" "ESR_EL1" "FAR_EL1" "AFSR0_EL1"
        "AFSR1_EL1" "ELR_EL1" "SPSR_EL1" "MDSCR_EL1" "DBGBVR0_EL1" "DBGBCR0_EL1" "DBGWVR0_EL1" "DBGWCR0_EL1"
        "CNTKCTL_EL1" "CNTV_CTL_EL0" "CNTV_CVAL_EL0" "CNTP_CTL_EL0" "CNTP_CVAL_EL0" "CSSELR_EL1" "FPCR" "FPSR"
        "NZCV" "DAIF" "SPSel"
    }
}

/// Bits without an effect at EL1.
mod harmless {
    /// Of `SCTLR_EL1`: EL0 can read `CTR_EL0` and execute `DC ZVA`.
    pub(super) const UCT_DZE: u64 = 1 << 15 | 1 << 14;
    /// Of `TCR_EL1`: tags of addresses that `TTBR1_EL1` would translate.
    pub(super) const TBI1: u64 = 1 << 38;
    /// Of `MAIR_EL1`: the last attributes, which no page has.
    pub(super) const ATTR7: u64 = 0x44 << 56;
    /// Of `MDSCR_EL1`: EL0 cannot access the debug channel.
    pub(super) const TDCC: u64 = 1 << 12;
    /// Of `DBGBCR0_EL1`: address bits of a breakpoint that is disabled.
    pub(super) const BAS: u64 = 0xf << 5;
    /// Of `DBGWCR0_EL1`: byte 0 of a watchpoint that is disabled.
    pub(super) const WATCHED: u64 = 1 << 5;
    /// Of `CNTKCTL_EL1`: EL0 can read the counters.
    pub(super) const ACCESS: u64 = 3;
    /// Of the control of a timer: enabled, without an interrupt.
    pub(super) const MASKED: u64 = 3;
    /// Of the value of a timer: so far in the future that the timer does not fire.
    pub(super) const FUTURE: u64 = 1 << 61;
    /// Of `FPCR`: rounds up.
    pub(super) const ROUND_UP: u64 = 1 << 22;
    /// Of `FPSR`: saturation, and cumulative exceptions.
    pub(super) const FLAGS: u64 = 1 << 27 | 0x1f;
}

pub(super) fn disturb_system(pattern: u64) {
    let address = pattern >> 18 << 11;
    change! {
        "SCTLR_EL1" harmless::UCT_DZE;
        // No exception is expected.
        "VBAR_EL1" address;
        "TTBR1_EL1" address >> 16 << 12;
        "TCR_EL1" harmless::TBI1;
        "MAIR_EL1" harmless::ATTR7;
        "TPIDR_EL0" pattern;
        "TPIDR_EL1" pattern + 1;
        "TPIDRRO_EL0" pattern + 2;
        "CONTEXTIDR_EL1" pattern >> 33;
        "SP_EL0" pattern + 3;
        "PAR_EL1" 0xabc << 12;
        "ESR_EL1" pattern >> 40;
        "FAR_EL1" pattern + 4;
        "ELR_EL1" address + 4;
        "SPSR_EL1" 0xf << 28;
        "MDSCR_EL1" harmless::TDCC;
        "DBGBVR0_EL1" address;
        "DBGBCR0_EL1" harmless::BAS;
        "DBGWVR0_EL1" address + 8;
        "DBGWCR0_EL1" harmless::WATCHED;
        "CNTKCTL_EL1" harmless::ACCESS;
        "CNTV_CVAL_EL0" harmless::FUTURE + (pattern >> 8);
        "CNTV_CTL_EL0" harmless::MASKED;
        "CNTP_CVAL_EL0" harmless::FUTURE + (pattern >> 9);
        "CNTP_CTL_EL0" harmless::MASKED;
        "CSSELR_EL1" 2;
        "FPCR" harmless::ROUND_UP;
        "FPSR" harmless::FLAGS;
    }
}

/// There is no AVX.
pub(super) fn avx_products(_: &[f64], _: &[f64]) -> Option<Vec<f64>> {
    None
}
