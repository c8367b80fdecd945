//! Names of system registers (Arm ARM, "AArch64 System register encodings").

use super::Register;

macro_rules! system_registers {
    ($($(#[$doc:meta])* $name:ident = $op0:literal $op1:literal $crn:literal $crm:literal $op2:literal,)*) => {
        impl Register {
            $($(#[$doc])* pub const $name: Self = Self::system($op0, $op1, $crn, $crm, $op2);)*
        }

        const NAMED: &[(Register, &str)] = &[
            $((Register::$name, stringify!($name)),)*
            // Names in the Arm ARM; the constants have the names of KVM.
            (Register::TIMER_CTL, "CNTV_CTL_EL0"),
            (Register::TIMER_CNT, "CNTVCT_EL0"),
            (Register::TIMER_CVAL, "CNTV_CVAL_EL0"),
            (Register::PTIMER_CTL, "CNTP_CTL_EL0"),
            (Register::PTIMER_CNT, "CNTPCT_EL0"),
            (Register::PTIMER_CVAL, "CNTP_CVAL_EL0"),
        ];
    };
}

system_registers! {
    /// Main id of the CPU.
    MIDR_EL1 = 3 0 0 0 0,
    /// Affinity: the address of the CPU in the machine.
    MPIDR_EL1 = 3 0 0 0 5,
    /// Revision id.
    REVIDR_EL1 = 3 0 0 0 6,
    /// Processor features 0: exception levels, floating point, GIC.
    ID_AA64PFR0_EL1 = 3 0 0 4 0,
    /// Processor features 1.
    ID_AA64PFR1_EL1 = 3 0 0 4 1,
    /// Processor features 2: FP8.
    ID_AA64PFR2_EL1 = 3 0 0 4 2,
    /// SVE features.
    ID_AA64ZFR0_EL1 = 3 0 0 4 4,
    /// Debug features 0: numbers of breakpoints and watchpoints, version of the PMU.
    ID_AA64DFR0_EL1 = 3 0 0 5 0,
    /// Debug features 1.
    ID_AA64DFR1_EL1 = 3 0 0 5 1,
    /// Instruction set 0.
    ID_AA64ISAR0_EL1 = 3 0 0 6 0,
    /// Instruction set 1: pointer authentication among others.
    ID_AA64ISAR1_EL1 = 3 0 0 6 1,
    /// Instruction set 2.
    ID_AA64ISAR2_EL1 = 3 0 0 6 2,
    /// Memory model 0: physical address size, granules, mixed endianness.
    ID_AA64MMFR0_EL1 = 3 0 0 7 0,
    /// Memory model 1.
    ID_AA64MMFR1_EL1 = 3 0 0 7 1,
    /// Memory model 2.
    ID_AA64MMFR2_EL1 = 3 0 0 7 2,
    /// Memory model 3: extended control registers, permission indirection and overlays.
    ID_AA64MMFR3_EL1 = 3 0 0 7 3,
    /// System control: MMU, caches, endianness.
    SCTLR_EL1 = 3 0 1 0 0,
    /// Auxiliary control.
    ACTLR_EL1 = 3 0 1 0 1,
    /// Access to floating point, SVE and others.
    CPACR_EL1 = 3 0 1 0 2,
    /// SVE vector length at EL1.
    ZCR_EL1 = 3 0 1 2 0,
    /// Translation table base 0.
    TTBR0_EL1 = 3 0 2 0 0,
    /// Translation table base 1.
    TTBR1_EL1 = 3 0 2 0 1,
    /// Translation control.
    TCR_EL1 = 3 0 2 0 2,
    /// Extended translation control.
    TCR2_EL1 = 3 0 2 0 3,
    /// Pointer authentication key A for instructions, low half.
    APIAKEYLO_EL1 = 3 0 2 1 0,
    /// Pointer authentication key A for instructions, high half.
    APIAKEYHI_EL1 = 3 0 2 1 1,
    /// Pointer authentication key B for instructions, low half.
    APIBKEYLO_EL1 = 3 0 2 1 2,
    /// Pointer authentication key B for instructions, high half.
    APIBKEYHI_EL1 = 3 0 2 1 3,
    /// Pointer authentication key A for data, low half.
    APDAKEYLO_EL1 = 3 0 2 2 0,
    /// Pointer authentication key A for data, high half.
    APDAKEYHI_EL1 = 3 0 2 2 1,
    /// Pointer authentication key B for data, low half.
    APDBKEYLO_EL1 = 3 0 2 2 2,
    /// Pointer authentication key B for data, high half.
    APDBKEYHI_EL1 = 3 0 2 2 3,
    /// Generic pointer authentication key, low half.
    APGAKEYLO_EL1 = 3 0 2 3 0,
    /// Generic pointer authentication key, high half.
    APGAKEYHI_EL1 = 3 0 2 3 1,
    /// Auxiliary fault status 0.
    AFSR0_EL1 = 3 0 5 1 0,
    /// Auxiliary fault status 1.
    AFSR1_EL1 = 3 0 5 1 1,
    /// Exception syndrome.
    ESR_EL1 = 3 0 5 2 0,
    /// Fault address.
    FAR_EL1 = 3 0 6 0 0,
    /// Physical address: the result of `AT` instructions.
    PAR_EL1 = 3 0 7 4 0,
    /// Performance monitors: enabled overflow interrupts.
    PMINTENSET_EL1 = 3 0 9 14 1,
    /// Memory attributes by index.
    MAIR_EL1 = 3 0 10 2 0,
    /// Permission indirection of EL0.
    PIRE0_EL1 = 3 0 10 2 2,
    /// Permission indirection of EL1.
    PIR_EL1 = 3 0 10 2 3,
    /// Permission overlay of EL1.
    POR_EL1 = 3 0 10 2 4,
    /// Auxiliary memory attributes.
    AMAIR_EL1 = 3 0 10 3 0,
    /// Vector base address.
    VBAR_EL1 = 3 0 12 0 0,
    /// Deferred interrupt status.
    DISR_EL1 = 3 0 12 1 1,
    /// Context id.
    CONTEXTIDR_EL1 = 3 0 13 0 1,
    /// Thread pointer of EL1.
    TPIDR_EL1 = 3 0 13 0 4,
    /// Timer access from EL0.
    CNTKCTL_EL1 = 3 0 14 1 0,
    /// Cache levels.
    CLIDR_EL1 = 3 1 0 0 1,
    /// Auxiliary id.
    AIDR_EL1 = 3 1 0 0 7,
    /// Selection of the cache that `CCSIDR_EL1` describes.
    CSSELR_EL1 = 3 2 0 0 0,
    /// Cache type: line sizes.
    CTR_EL0 = 3 3 0 0 1,
    /// Mode of 8-bit floating point.
    FPMR = 3 3 4 4 2,
    /// Permission overlay of EL0.
    POR_EL0 = 3 3 10 2 4,
    /// Performance monitors: control.
    PMCR_EL0 = 3 3 9 12 0,
    /// Performance monitors: enabled counters.
    PMCNTENSET_EL0 = 3 3 9 12 1,
    /// Performance monitors: overflowed counters.
    PMOVSSET_EL0 = 3 3 9 14 3,
    /// Performance monitors: software increment, which reads as zero.
    PMSWINC_EL0 = 3 3 9 12 4,
    /// Performance monitors: selected counter.
    PMSELR_EL0 = 3 3 9 12 5,
    /// Performance monitors: cycle counter.
    PMCCNTR_EL0 = 3 3 9 13 0,
    /// Performance monitors: access from EL0.
    PMUSERENR_EL0 = 3 3 9 14 0,
    /// Performance monitors: filter of the cycle counter.
    PMCCFILTR_EL0 = 3 3 14 15 7,
    /// Thread pointer of EL0.
    TPIDR_EL0 = 3 3 13 0 2,
    /// Thread pointer of EL0 that EL0 can only read.
    TPIDRRO_EL0 = 3 3 13 0 3,
    /// Debug: interrupt enable for the debug communications channel.
    MDCCINT_EL1 = 2 0 0 2 0,
    /// Debug: system control.
    MDSCR_EL1 = 2 0 0 2 2,
    /// Debug: OS lock status.
    OSLSR_EL1 = 2 0 1 1 4,
    /// 32-bit guests: vector catch.
    DBGVCR32_EL2 = 2 4 0 7 0,
    /// 32-bit guests: domain access control.
    DACR32_EL2 = 3 4 3 0 0,
    /// 32-bit guests: instruction fault status.
    IFSR32_EL2 = 3 4 5 0 1,
    /// 32-bit guests: floating-point exception control.
    FPEXC32_EL2 = 3 4 5 3 0,
}

impl Register {
    /// Breakpoint value `DBGBVR0_EL1` to `DBGBVR15_EL1`; `None` for other numbers. KVM has all 16;
    /// [`ID_AA64DFR0_EL1`](Self::ID_AA64DFR0_EL1) contains the number that the CPU implements.
    #[must_use]
    pub const fn dbgbvr(n: u8) -> Option<Self> {
        debug(n, 4)
    }

    /// Breakpoint control `DBGBCR0_EL1` to `DBGBCR15_EL1`; `None` for other numbers.
    #[must_use]
    pub const fn dbgbcr(n: u8) -> Option<Self> {
        debug(n, 5)
    }

    /// Watchpoint value `DBGWVR0_EL1` to `DBGWVR15_EL1`; `None` for other numbers.
    #[must_use]
    pub const fn dbgwvr(n: u8) -> Option<Self> {
        debug(n, 6)
    }

    /// Watchpoint control `DBGWCR0_EL1` to `DBGWCR15_EL1`; `None` for other numbers.
    #[must_use]
    pub const fn dbgwcr(n: u8) -> Option<Self> {
        debug(n, 7)
    }

    /// Performance counter `PMEVCNTR0_EL0` to `PMEVCNTR30_EL0`; `None` for other numbers.
    #[must_use]
    pub const fn pmevcntr(n: u8) -> Option<Self> {
        pmu(n, 8)
    }

    /// Performance counter's event `PMEVTYPER0_EL0` to `PMEVTYPER30_EL0`; `None` for other numbers.
    #[must_use]
    pub const fn pmevtyper(n: u8) -> Option<Self> {
        pmu(n, 12)
    }
}

/// op0 2, op1 0, CRn 0; CRm is the number, op2 selects one of the four kinds.
const fn debug(n: u8, op2: u8) -> Option<Register> {
    if n <= 15 {
        Some(Register::system(2, 0, 0, n, op2))
    } else {
        None
    }
}

/// op0 3, op1 3, CRn 14; the number is split between the lower bits of CRm and op2.
const fn pmu(n: u8, crm: u8) -> Option<Register> {
    if n <= 30 {
        Some(Register::system(3, 3, 14, crm | n >> 3, n & 7))
    } else {
        None
    }
}

/// Name of a system register, and its number among the registers of its kind, if there are several.
pub(super) fn name(id: Register) -> Option<(&'static str, Option<u16>)> {
    if let Some(&(_, name)) = NAMED.iter().find(|(named, _)| *named == id) {
        return Some((name, None));
    }
    let numbered = |prefix, number: u8| Some((prefix, Some(number.into())));
    match id.encoding()? {
        [2, 0, 0, n, 4] => numbered("DBGBVR_EL1 ", n),
        [2, 0, 0, n, 5] => numbered("DBGBCR_EL1 ", n),
        [2, 0, 0, n, 6] => numbered("DBGWVR_EL1 ", n),
        [2, 0, 0, n, 7] => numbered("DBGWCR_EL1 ", n),
        [3, 3, 14, crm @ 8..=11, op2] => numbered("PMEVCNTR_EL0 ", (crm & 3) << 3 | op2),
        // Number 31 is PMCCFILTR_EL0, which is in the table.
        [3, 3, 14, crm @ 12..=15, op2] => numbered("PMEVTYPER_EL0 ", (crm & 3) << 3 | op2),
        _ => None,
    }
}

/// `SCTLR_EL1.M`: the MMU is on.
pub const SCTLR_M: u64 = 1 << 0;
/// `SCTLR_EL1.EE`: data accesses at EL1, and the walks of its translation tables, are big-endian.
pub const SCTLR_EE: u64 = 1 << 25;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_encoding_and_every_name_is_used_once() {
        let ids: BTreeSet<_> = NAMED.iter().map(|(id, _)| id).collect();
        let names: BTreeSet<_> = NAMED.iter().map(|(_, name)| name).collect();
        assert_eq!((ids.len(), names.len()), (NAMED.len(), NAMED.len()));
    }

    /// The id composed by hand from the rule in the kernel's document:
    /// `0x6030 0000 0013 <op0:2> <op1:3> <crn:4> <crm:4> <op2:3>`.
    #[test]
    #[expect(clippy::unusual_byte_groupings, reason = "op0, op1, CRn, CRm, op2")]
    fn golden_ids() {
        let check = |id: Register, bits: u64, name: &str| {
            assert_eq!(id.0, 0x6030_0000_0013_0000 | bits, "{id}");
            assert_eq!(id.name().map(|name| name.to_string()).as_deref(), Some(name));
        };
        check(Register::MIDR_EL1, 0b11_000_0000_0000_000, "MIDR_EL1");
        check(Register::MPIDR_EL1, 0b11_000_0000_0000_101, "MPIDR_EL1");
        check(Register::SCTLR_EL1, 0b11_000_0001_0000_000, "SCTLR_EL1");
        check(Register::CPACR_EL1, 0b11_000_0001_0000_010, "CPACR_EL1");
        check(Register::TTBR0_EL1, 0b11_000_0010_0000_000, "TTBR0_EL1");
        check(Register::TTBR1_EL1, 0b11_000_0010_0000_001, "TTBR1_EL1");
        check(Register::TCR_EL1, 0b11_000_0010_0000_010, "TCR_EL1");
        check(Register::ESR_EL1, 0b11_000_0101_0010_000, "ESR_EL1");
        check(Register::FAR_EL1, 0b11_000_0110_0000_000, "FAR_EL1");
        check(Register::PAR_EL1, 0b11_000_0111_0100_000, "PAR_EL1");
        check(Register::MAIR_EL1, 0b11_000_1010_0010_000, "MAIR_EL1");
        check(Register::VBAR_EL1, 0b11_000_1100_0000_000, "VBAR_EL1");
        check(Register::CONTEXTIDR_EL1, 0b11_000_1101_0000_001, "CONTEXTIDR_EL1");
        check(Register::TPIDR_EL1, 0b11_000_1101_0000_100, "TPIDR_EL1");
        check(Register::CNTKCTL_EL1, 0b11_000_1110_0001_000, "CNTKCTL_EL1");
        check(Register::CSSELR_EL1, 0b11_010_0000_0000_000, "CSSELR_EL1");
        check(Register::TPIDR_EL0, 0b11_011_1101_0000_010, "TPIDR_EL0");
        check(Register::TPIDRRO_EL0, 0b11_011_1101_0000_011, "TPIDRRO_EL0");
        check(Register::MDSCR_EL1, 0b10_000_0000_0010_010, "MDSCR_EL1");
        check(Register::TIMER_CTL, 0xdf19, "CNTV_CTL_EL0");
        check(Register::TIMER_CNT, 0xdf1a, "CNTVCT_EL0");
        check(Register::TIMER_CVAL, 0xdf02, "CNTV_CVAL_EL0");
        check(Register::dbgbvr(0).unwrap(), 0x8004, "DBGBVR_EL1 0");
        check(Register::dbgbcr(15).unwrap(), 0x807d, "DBGBCR_EL1 15");
        check(Register::dbgwvr(1).unwrap(), 0x800e, "DBGWVR_EL1 1");
        check(Register::dbgwcr(2).unwrap(), 0x8017, "DBGWCR_EL1 2");
        check(Register::PMCR_EL0, 0b11_011_1001_1100_000, "PMCR_EL0");
        check(
            Register::pmevcntr(0).unwrap(),
            0b11_011_1110_1000_000,
            "PMEVCNTR_EL0 0",
        );
        check(
            Register::pmevcntr(30).unwrap(),
            0b11_011_1110_1011_110,
            "PMEVCNTR_EL0 30",
        );
        check(
            Register::pmevtyper(9).unwrap(),
            0b11_011_1110_1101_001,
            "PMEVTYPER_EL0 9",
        );
        check(Register::PMCCFILTR_EL0, 0b11_011_1110_1111_111, "PMCCFILTR_EL0");
    }

    #[test]
    fn numbered_registers_are_limited_and_distinct() {
        let all: Vec<_> = (0..=u8::MAX)
            .flat_map(|n| {
                [
                    Register::dbgbvr(n),
                    Register::dbgbcr(n),
                    Register::dbgwvr(n),
                    Register::dbgwcr(n),
                    Register::pmevcntr(n),
                    Register::pmevtyper(n),
                ]
            })
            .flatten()
            .chain(NAMED.iter().map(|(id, _)| *id))
            .collect();
        assert_eq!(all.len(), 4 * 16 + 2 * 31 + NAMED.len());
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
        assert!(all.iter().all(|id| id.name().is_some()));
    }
}
