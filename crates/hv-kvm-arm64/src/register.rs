//! Ids of registers for `KVM_GET_ONE_REG` and `KVM_SET_ONE_REG`.
//!
//! An id is composed of four fields (the kernel's Documentation/virt/kvm/api.rst, section 4.68, and
//! `arch/arm64/include/uapi/asm/kvm.h`):
//!
//! ```text
//!  63    56 55  52 51          32 31      28 27        16 15              0
//! ┌────────┬──────┬──────────────┬──────────┬────────────┬─────────────────┐
//! │  0x60  │ size │      0       │    0     │   group    │  in the group   │
//! └────────┴──────┴──────────────┴──────────┴────────────┴─────────────────┘
//!   arm64    2^n                                 0x10 core: index into struct kvm_regs, in 32-bit words
//!            bytes                               0x11 demultiplexed: CCSIDR by the value of CSSELR
//!                                                0x13 system register: op0, op1, CRn, CRm, op2
//!                                                0x14 firmware, 0x16 firmware feature bitmaps
//!                                                0x15 SVE
//! ```

mod name;
mod sys;
mod value;

pub use name::RegisterName;
pub use sys::{SCTLR_EE, SCTLR_M};
pub use value::{RegisterValue, WidthError};

/// The id of a register.
///
/// An open set: every number is a `Register`. `Display` prints the name of those that have one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Register(pub u64);

/// Group of registers (KVM's term is coprocessor): bits 16 to 27 of the id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegisterGroup(pub u16);

impl RegisterGroup {
    /// `struct kvm_regs`: general-purpose and vector registers.
    pub const CORE: Self = Self(0x10);
    /// Demultiplexed registers: the cache size ids.
    pub const DEMUX: Self = Self(0x11);
    /// System registers.
    pub const SYSTEM: Self = Self(0x13);
    /// Pseudo-registers of the firmware that KVM implements.
    pub const FIRMWARE: Self = Self(0x14);
    /// SVE.
    pub const SVE: Self = Self(0x15);
    /// Feature bitmaps of the firmware.
    pub const FIRMWARE_FEATURES: Self = Self(0x16);
}

/// `KVM_REG_ARM64`.
const ARM64: u64 = 0x60 << 56;

/// `KVM_REG_SIZE_SHIFT`: four bits with the binary logarithm of the size in bytes.
const SIZE_SHIFT: u32 = 52;

/// `KVM_REG_ARM_COPROC_SHIFT`: twelve bits with the group.
const GROUP_SHIFT: u32 = 16;

/// Binary logarithms of the sizes that arm64 registers have.
const BYTES_4: u64 = 2;
const BYTES_8: u64 = 3;
const BYTES_16: u64 = 4;
const BYTES_32: u64 = 5;
const BYTES_64: u64 = 6;
const BYTES_256: u64 = 8;

/// Composes an id. The fields do not overlap: the group has 12 bits, the number in the group 16.
const fn compose(size: u64, group: RegisterGroup, rest: u16) -> Register {
    #[expect(clippy::as_conversions, reason = "widening, and From is not const")]
    Register(ARM64 | size << SIZE_SHIFT | (group.0 as u64) << GROUP_SHIFT | rest as u64)
}

/// Index of a member of `struct kvm_regs`, in words of 32 bits.
mod index {
    pub(super) const X0: u16 = 0;
    pub(super) const SP: u16 = 0x3e;
    pub(super) const PC: u16 = 0x40;
    pub(super) const PSTATE: u16 = 0x42;
    pub(super) const SP_EL1: u16 = 0x44;
    pub(super) const ELR_EL1: u16 = 0x46;
    pub(super) const SPSR: u16 = 0x48;
    // 0x52 is padding: vector registers are aligned to 16 bytes.
    pub(super) const V0: u16 = 0x54;
    pub(super) const FPSR: u16 = 0xd4;
    pub(super) const FPCR: u16 = 0xd5;
}

const fn core64(index: u16) -> Register {
    compose(BYTES_8, RegisterGroup::CORE, index)
}

impl Register {
    /// Stack pointer of EL0 (`SP_EL0`).
    pub const SP_EL0: Self = core64(index::SP);
    /// Program counter.
    pub const PC: Self = core64(index::PC);
    /// Process state, in the layout of `SPSR_EL1`.
    pub const PSTATE: Self = core64(index::PSTATE);
    /// Stack pointer of EL1.
    pub const SP_EL1: Self = core64(index::SP_EL1);
    /// Exception link register of EL1.
    pub const ELR_EL1: Self = core64(index::ELR_EL1);
    /// Saved process state of EL1.
    pub const SPSR_EL1: Self = core64(index::SPSR);
    /// Saved process state of the 32-bit abort mode.
    pub const SPSR_ABT: Self = core64(index::SPSR + 2);
    /// Saved process state of the 32-bit undefined mode.
    pub const SPSR_UND: Self = core64(index::SPSR + 4);
    /// Saved process state of the 32-bit IRQ mode.
    pub const SPSR_IRQ: Self = core64(index::SPSR + 6);
    /// Saved process state of the 32-bit FIQ mode.
    pub const SPSR_FIQ: Self = core64(index::SPSR + 8);
    /// Floating-point status, 32 bits.
    pub const FPSR: Self = compose(BYTES_4, RegisterGroup::CORE, index::FPSR);
    /// Floating-point control, 32 bits.
    pub const FPCR: Self = compose(BYTES_4, RegisterGroup::CORE, index::FPCR);

    /// The virtual timer's control: `CNTV_CTL_EL0`.
    pub const TIMER_CTL: Self = Self::system(3, 3, 14, 3, 1);
    /// The virtual timer's counter, `CNTVCT_EL0`. In the KVM API its id is swapped with that of
    /// [`TIMER_CVAL`](Self::TIMER_CVAL): it has the encoding of `CNTV_CVAL_EL0`.
    pub const TIMER_CNT: Self = Self::system(3, 3, 14, 3, 2);
    /// The virtual timer's compare value, `CNTV_CVAL_EL0`, under the encoding of `CNTVCT_EL0`.
    pub const TIMER_CVAL: Self = Self::system(3, 3, 14, 0, 2);
    /// The physical timer's control: `CNTP_CTL_EL0`.
    pub const PTIMER_CTL: Self = Self::system(3, 3, 14, 2, 1);
    /// The physical timer's counter: `CNTPCT_EL0`. Its id is its encoding.
    pub const PTIMER_CNT: Self = Self::system(3, 3, 14, 0, 1);
    /// The physical timer's compare value: `CNTP_CVAL_EL0`. Its id is its encoding.
    pub const PTIMER_CVAL: Self = Self::system(3, 3, 14, 2, 2);

    /// PSCI version of KVM: major in the upper and minor in the lower 16 bits.
    pub const PSCI_VERSION: Self = Self::firmware(0);

    /// Bitmap of the standard secure service calls that KVM handles: the random numbers (`TRNG`). Writable before the first run.
    pub const STANDARD_CALLS: Self = Self::firmware_features(0);

    /// SVE's first-fault register: the lowest 256 bits.
    pub const SVE_FFR: Self = compose(BYTES_32, RegisterGroup::SVE, 0x600);
    /// Supported SVE vector lengths: bit *n* stands for *n* + 1 quadwords, 512 bits. Writable until SVE is
    /// finalized.
    pub const SVE_VLS: Self = compose(BYTES_64, RegisterGroup::SVE, 0xffff);

    /// General-purpose register `X0` to `X30`; `None` for other numbers.
    #[must_use]
    pub const fn x(n: u8) -> Option<Self> {
        #[expect(clippy::as_conversions, reason = "widening, and From is not const")]
        if n <= 30 {
            Some(core64(index::X0 + 2 * n as u16))
        } else {
            None
        }
    }

    /// Vector register `V0` to `V31`, 128 bits; `None` for other numbers. A vCPU with SVE has [`sve_z`](Self::sve_z) instead.
    #[must_use]
    pub const fn v(n: u8) -> Option<Self> {
        #[expect(clippy::as_conversions, reason = "widening, and From is not const")]
        if n <= 31 {
            Some(compose(BYTES_16, RegisterGroup::CORE, index::V0 + 4 * n as u16))
        } else {
            None
        }
    }

    /// SVE vector register `Z0` to `Z31`, the lowest 2048 bits; `None` for other numbers.
    #[must_use]
    pub const fn sve_z(n: u8) -> Option<Self> {
        #[expect(clippy::as_conversions, reason = "widening, and From is not const")]
        if n <= 31 {
            Some(compose(BYTES_256, RegisterGroup::SVE, (n as u16) << 5))
        } else {
            None
        }
    }

    /// SVE predicate register `P0` to `P15`, the lowest 256 bits; `None` for other numbers.
    #[must_use]
    pub const fn sve_p(n: u8) -> Option<Self> {
        #[expect(clippy::as_conversions, reason = "widening, and From is not const")]
        if n <= 15 {
            Some(compose(BYTES_32, RegisterGroup::SVE, 0x400 | (n as u16) << 5))
        } else {
            None
        }
    }

    /// The system register with this encoding. Bits beyond the width of a field (2, 3, 4, 4, 3) are ignored.
    #[must_use]
    pub const fn system(op0: u8, op1: u8, crn: u8, crm: u8, op2: u8) -> Self {
        compose(BYTES_8, RegisterGroup::SYSTEM, encode(op0, op1, crn, crm, op2))
    }

    /// The firmware pseudo-register with this number.
    #[must_use]
    pub const fn firmware(n: u16) -> Self {
        compose(BYTES_8, RegisterGroup::FIRMWARE, n)
    }

    /// The firmware feature bitmap with this number.
    #[must_use]
    pub const fn firmware_features(n: u16) -> Self {
        compose(BYTES_8, RegisterGroup::FIRMWARE_FEATURES, n)
    }

    /// The cache size id that this value of `CSSELR_EL1` selects, 32 bits.
    #[must_use]
    pub const fn ccsidr(csselr: u8) -> Self {
        #[expect(clippy::as_conversions, reason = "widening, and From is not const")]
        compose(BYTES_4, RegisterGroup::DEMUX, csselr as u16)
    }

    /// The size of the register's value in bytes: 1 to 32768, a power of two.
    #[must_use]
    pub const fn size(self) -> usize {
        1 << (self.0 >> SIZE_SHIFT & 0xf)
    }

    /// The group of the register.
    #[must_use]
    pub const fn group(self) -> RegisterGroup {
        let [_, _, low, high, ..] = self.0.to_le_bytes();
        RegisterGroup(u16::from_le_bytes([low, high & 0xf]))
    }

    /// Whether this is an id of arm64.
    #[must_use]
    pub const fn is_arm64(self) -> bool {
        self.0 >> 56 == ARM64 >> 56
    }

    /// The number in the group.
    pub(crate) const fn number_in_group(self) -> u16 {
        let [low, high, ..] = self.0.to_le_bytes();
        u16::from_le_bytes([low, high])
    }

    /// The encoding of a system register (op0, op1, CRn, CRm, op2); `None` for registers of other groups.
    ///
    /// The KVM API swaps the encodings of [`TIMER_CNT`](Self::TIMER_CNT) and [`TIMER_CVAL`](Self::TIMER_CVAL).
    #[must_use]
    pub fn encoding(self) -> Option<[u8; 5]> {
        (self.group() == RegisterGroup::SYSTEM).then(|| decode(self.number_in_group()))
    }

    /// Whether the register counts time, so that its value changes between two reads.
    #[must_use]
    pub fn is_time_counter(self) -> bool {
        matches!(self, Self::TIMER_CNT | Self::PTIMER_CNT)
    }

    /// Whether this is an identification register (op0 3, op1 0, CRn 0, and `CCSIDR_EL1`, `CLIDR_EL1`, `AIDR_EL1` and
    /// `CTR_EL0`): part of the configuration rather than of the state.
    #[must_use]
    pub fn is_identification(self) -> bool {
        matches!(
            self.encoding(),
            Some([3, 0, 0, _, _] | [3, 1, 0, 0, _] | [3, 3, 0, 0, 1])
        ) || self.group() == RegisterGroup::DEMUX
    }

    /// Whether this is an identification register of features of AArch64 (`ID_AA64*`: op0 3, op1 0, CRn 0, CRm 4 to 7). Those of names, caches
    /// and AArch32 are none.
    #[must_use]
    pub fn is_feature(self) -> bool {
        matches!(self.encoding(), Some([3, 0, 0, 4..=7, _]))
    }
}

/// Packs the encoding of a system register in the layout of `KVM_REG_ARM64_SYSREG_*_SHIFT`, which the GIC attributes also
/// use.
#[must_use]
pub(crate) const fn encode(op0: u8, op1: u8, crn: u8, crm: u8, op2: u8) -> u16 {
    #[expect(clippy::as_conversions, reason = "widening, and From is not const")]
    let (op0, op1, crn, crm, op2) = (op0 as u16, op1 as u16, crn as u16, crm as u16, op2 as u16);
    (op0 & 3) << 14 | (op1 & 7) << 11 | (crn & 0xf) << 7 | (crm & 0xf) << 3 | op2 & 7
}

/// Unpacks an encoding: op0, op1, CRn, CRm, op2.
fn decode(encoding: u16) -> [u8; 5] {
    [(14, 3), (11, 7), (7, 0xf), (3, 0xf), (0, 7)].map(|(shift, mask)| {
        let [field, _] = (encoding >> shift & mask).to_le_bytes();
        field
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use boot_core::cpu::aarch64::State;
    use hv_kvm_regs::aarch64;

    use super::*;

    #[test]
    fn an_entry_state_sets_its_registers() {
        let mut state = State::new(0x4020_0000);
        state.x[0] = 0x4400_0000;
        let found: BTreeSet<_> = aarch64::registers(&state)
            .map(|(id, value)| (Register(id), value))
            .collect();
        let general = (0..=30).map(|n| (Register::x(n).unwrap(), state.x[usize::from(n)]));
        let expected: BTreeSet<_> = general
            .chain([
                (Register::PC, state.pc),
                (Register::PSTATE, state.pstate),
                (Register::SP_EL1, state.sp_el1),
            ])
            .collect();
        assert_eq!(found, expected);
        assert_eq!(Register(aarch64::SCTLR_EL1), Register::SCTLR_EL1);
        state.data_endian = boot_core::Endian::Big;
        assert_eq!(aarch64::sctlr_el1(&state, 0), SCTLR_EE);
    }

    /// Every id that the kernel's document quotes as an example (api.rst, section 4.68), digit by digit. The document
    /// gives SPSR_FIQ the size of 64 bytes; its other columns and the kernel's headers say 64 bits.
    #[test]
    fn ids_quoted_in_the_document() {
        let check = |id: Option<Register>, quoted: u64, name: &str| {
            let id = id.expect("the register exists");
            assert_eq!(id.0, quoted, "{id}");
            assert_eq!(id.name().map(|name| name.to_string()).as_deref(), Some(name));
        };
        check(Register::x(0), 0x6030_0000_0010_0000, "X0");
        check(Register::x(1), 0x6030_0000_0010_0002, "X1");
        check(Register::x(30), 0x6030_0000_0010_003c, "X30");
        check(Some(Register::SP_EL0), 0x6030_0000_0010_003e, "SP_EL0");
        check(Some(Register::PC), 0x6030_0000_0010_0040, "PC");
        check(Some(Register::PSTATE), 0x6030_0000_0010_0042, "PSTATE");
        check(Some(Register::SP_EL1), 0x6030_0000_0010_0044, "SP_EL1");
        check(Some(Register::ELR_EL1), 0x6030_0000_0010_0046, "ELR_EL1");
        check(Some(Register::SPSR_EL1), 0x6030_0000_0010_0048, "SPSR_EL1");
        check(Some(Register::SPSR_ABT), 0x6030_0000_0010_004a, "SPSR_abt");
        check(Some(Register::SPSR_UND), 0x6030_0000_0010_004c, "SPSR_und");
        check(Some(Register::SPSR_IRQ), 0x6030_0000_0010_004e, "SPSR_irq");
        check(Some(Register::SPSR_FIQ), 0x6030_0000_0010_0050, "SPSR_fiq");
        check(Register::v(0), 0x6040_0000_0010_0054, "V0");
        check(Register::v(1), 0x6040_0000_0010_0058, "V1");
        check(Register::v(31), 0x6040_0000_0010_00d0, "V31");
        check(Some(Register::FPSR), 0x6020_0000_0010_00d4, "FPSR");
        check(Some(Register::FPCR), 0x6020_0000_0010_00d5, "FPCR");
        check(
            Some(Register::ccsidr(3)),
            0x6020_0000_0011_0003,
            "CCSIDR_EL1 of CSSELR 3",
        );
        check(Some(Register::firmware(0)), 0x6030_0000_0014_0000, "PSCI version");
        check(
            Some(Register::firmware(1)),
            0x6030_0000_0014_0001,
            "firmware register 1",
        );
        check(
            Some(Register::firmware_features(2)),
            0x6030_0000_0016_0002,
            "firmware features 2",
        );
        check(Register::sve_z(0), 0x6080_0000_0015_0000, "Z0");
        check(Register::sve_z(31), 0x6080_0000_0015_03e0, "Z31");
        check(Register::sve_p(0), 0x6050_0000_0015_0400, "P0");
        check(Register::sve_p(15), 0x6050_0000_0015_05e0, "P15");
        check(Some(Register::SVE_FFR), 0x6050_0000_0015_0600, "FFR");
        check(
            Some(Register::SVE_VLS),
            0x6060_0000_0015_ffff,
            "SVE vector lengths",
        );
    }

    /// `struct kvm_regs` has 31 general-purpose registers of two words, then nine registers of two words and two
    /// words of padding, then 32 vector registers of four words, then two words.
    #[test]
    fn core_ids_follow_the_structure() {
        let mut word = 0_u64;
        let mut check = |id: Register, words: u64, size: u64| {
            assert_eq!(id.0, 0x60 << 56 | size << 52 | 0x10 << 16 | word, "{id}");
            assert_eq!(u64::try_from(id.size()).unwrap(), words * 4, "{id}");
            assert_eq!(id.group(), RegisterGroup::CORE);
            word += words;
        };
        (0..=30).for_each(|n| check(Register::x(n).unwrap(), 2, 3));
        for id in [
            Register::SP_EL0,
            Register::PC,
            Register::PSTATE,
            Register::SP_EL1,
            Register::ELR_EL1,
            Register::SPSR_EL1,
            Register::SPSR_ABT,
            Register::SPSR_UND,
            Register::SPSR_IRQ,
            Register::SPSR_FIQ,
        ] {
            check(id, 2, 3);
        }
        word = word.next_multiple_of(4);
        let mut check = |id: Register, words: u64, size: u64| {
            assert_eq!(id.0, 0x60 << 56 | size << 52 | 0x10 << 16 | word, "{id}");
            word += words;
        };
        (0..=31).for_each(|n| check(Register::v(n).unwrap(), 4, 4));
        check(Register::FPSR, 1, 2);
        check(Register::FPCR, 1, 2);
        // 864 bytes, after the end is padded to the alignment of vector registers.
        assert_eq!(word.next_multiple_of(4) * 4, 864);
    }

    #[test]
    fn numbers_are_checked() {
        for n in 0..=u8::MAX {
            assert_eq!(Register::x(n).is_some(), n <= 30);
            assert_eq!(Register::v(n).is_some(), n <= 31);
            assert_eq!(Register::sve_z(n).is_some(), n <= 31);
            assert_eq!(Register::sve_p(n).is_some(), n <= 15);
        }
    }

    #[test]
    fn ids_of_numbered_registers_differ() {
        let ids: BTreeSet<_> = (0..=u8::MAX)
            .flat_map(|n| {
                [
                    Register::x(n),
                    Register::v(n),
                    Register::sve_z(n),
                    Register::sve_p(n),
                ]
            })
            .flatten()
            .collect();
        assert_eq!(ids.len(), 31 + 32 + 32 + 16);
        assert!(ids.iter().all(|id| id.is_arm64()));
        assert!(!Register(0x4030_0000_0014_0000).is_arm64(), "32-bit ARM");
    }

    #[test]
    fn encodings_are_taken_apart_and_put_together() {
        for encoding in 0..=u16::MAX {
            let [op0, op1, crn, crm, op2] = decode(encoding);
            assert_eq!(encode(op0, op1, crn, crm, op2), encoding);
            let id = Register::system(op0, op1, crn, crm, op2);
            assert_eq!(id.0, 0x6030_0000_0013_0000 | u64::from(encoding));
            assert_eq!(id.encoding(), Some([op0, op1, crn, crm, op2]));
        }
        assert_eq!(Register::PC.encoding(), None);
        // Fields do not run into each other.
        assert_eq!(encode(4, 8, 16, 16, 8), 0);
    }

    /// The warning in section 4.68: `TIMER_CVAL` is derived from the encoding of CNTVCT_EL0 (op0 3, op1 3, CRn 14, CRm 0,
    /// op2 2), and `TIMER_CNT` from that of CNTV_CVAL_EL0 (CRm 3).
    #[test]
    fn the_virtual_timers_ids_are_swapped_and_the_physical_timers_are_not() {
        assert_eq!(Register::TIMER_CVAL.encoding(), Some([3, 3, 14, 0, 2]));
        assert_eq!(Register::TIMER_CNT.encoding(), Some([3, 3, 14, 3, 2]));
        assert_eq!(Register::TIMER_CTL.encoding(), Some([3, 3, 14, 3, 1]));
        assert_eq!(Register::PTIMER_CVAL.encoding(), Some([3, 3, 14, 2, 2]));
        assert_eq!(Register::PTIMER_CNT.encoding(), Some([3, 3, 14, 0, 1]));
        assert_eq!(Register::PTIMER_CTL.encoding(), Some([3, 3, 14, 2, 1]));
        assert!(Register::TIMER_CNT.is_time_counter() && Register::PTIMER_CNT.is_time_counter());
        assert!(!Register::TIMER_CVAL.is_time_counter() && !Register::PTIMER_CVAL.is_time_counter());
    }

    #[test]
    fn features_are_those_of_aarch64() {
        for (register, expected) in [
            (Register::ID_AA64PFR0_EL1, true),
            (Register::ID_AA64MMFR3_EL1, true),
            (Register::system(3, 0, 0, 7, 7), true),
            // MIDR_EL1, ID_PFR0_EL1, CTR_EL0.
            (Register::system(3, 0, 0, 0, 0), false),
            (Register::system(3, 0, 0, 1, 0), false),
            (Register::system(3, 3, 0, 0, 1), false),
            (Register::SCTLR_EL1, false),
            (Register::PC, false),
        ] {
            assert_eq!(register.is_feature(), expected, "{register}");
            assert!(!expected || register.is_identification());
        }
    }

    #[test]
    fn unnamed_registers_print_their_encoding() {
        assert_eq!(
            Register::system(3, 1, 15, 2, 7).to_string(),
            "S3_1_C15_C2_7 (0x603000000013cf97)"
        );
        assert_eq!(
            Register(0x6030_0000_0017_0000).to_string(),
            "register 0x6030000000170000"
        );
        assert_eq!(Register::FPCR.to_string(), "FPCR (0x60200000001000d5)");
    }
}
