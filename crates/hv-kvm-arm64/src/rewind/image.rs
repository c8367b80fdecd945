//! Layout of the registers in memory.

use std::mem::{offset_of, size_of};

use boot_core::arith;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned, little_endian::U64};

use crate::{Register, register};

/// Registers that the rewind code loads.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Image {
    /// `X0` to `X30`.
    pub x: [U64; 31],
    /// Address of the next instruction.
    pub pc: U64,
    /// Process state in the layout of `SPSR_EL1`.
    pub pstate: U64,
    /// `SCTLR_EL1`.
    pub sctlr: U64,
    /// `SP_EL1`.
    pub sp_el1: U64,
    /// `FPCR`.
    pub fpcr: U64,
    /// `FPSR`.
    pub fpsr: U64,
    /// Length of the code that loads breakpoints which the CPU does not have, in bytes.
    pub breakpoint_skip: U64,
    /// Length of the code that loads watchpoints which the CPU does not have, in bytes.
    pub watchpoint_skip: U64,
    /// `SYSTEM`, in order.
    pub system: [U64; SYSTEM.len()],
    /// Bit *n*: the CPU has register *n* of [`Optional::ALL`].
    pub present: U64,
    /// Values of [`Optional::ALL`], in order; zero for registers that the CPU does not have.
    pub optional: [U64; Optional::ALL.len()],
    /// Value and control register of each breakpoint; zero for those that the CPU does not have.
    pub breakpoints: [[U64; 2]; DEBUG],
    /// Value and control register of each watchpoint; zero for those that the CPU does not have.
    pub watchpoints: [[U64; 2]; DEBUG],
    /// Zero.
    pub reserved: U64,
    /// `V0` to `V31`, at a multiple of 16.
    pub v: [[u8; 16]; 32],
}

/// Largest number of breakpoints, and of watchpoints.
pub(super) const DEBUG: usize = 16;

/// Length of the code that loads one breakpoint or watchpoint, in bytes.
const DEBUG_LEN: usize = 12;

const _: () = assert!(size_of::<Image>() == 0x640);
const _: () = assert!(offset_of!(Image, pc) == 0xf8 && offset_of!(Image, system) == 0x138);
const _: () = assert!(offset_of!(Image, present) == 0x1f8 && offset_of!(Image, optional) == 0x200);
const _: () = assert!(offset_of!(Image, breakpoints) == 0x238 && offset_of!(Image, watchpoints) == 0x338);
const _: () = assert!(offset_of!(Image, v) == 0x440);

/// A system register of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SystemRegister {
    pub(super) register: Register,
    /// Encoding of the register in `MSR`.
    pub(super) encoding: u16,
}

const fn system(register: Register) -> SystemRegister {
    let encoding = match register {
        // In the KVM API, it has the encoding of another register.
        Register::TIMER_CVAL => register::encode(3, 3, 14, 3, 2),
        // In the KVM API, it is a core register.
        Register::SP_EL0 => register::encode(3, 0, 4, 1, 0),
        register => register.number_in_group(),
    };
    SystemRegister { register, encoding }
}

/// Registers of every CPU, in the order in which the code loads them. The access to a register of the debugger traps, and KVM then gives all of
/// those to the guest until the next exit.
pub(super) const SYSTEM: [SystemRegister; 24] = [
    system(Register::MDCCINT_EL1),
    system(Register::MDSCR_EL1),
    system(Register::CPACR_EL1),
    system(Register::SP_EL0),
    system(Register::TTBR0_EL1),
    system(Register::TTBR1_EL1),
    system(Register::TCR_EL1),
    system(Register::MAIR_EL1),
    system(Register::AMAIR_EL1),
    system(Register::CONTEXTIDR_EL1),
    system(Register::VBAR_EL1),
    system(Register::ESR_EL1),
    system(Register::FAR_EL1),
    system(Register::AFSR0_EL1),
    system(Register::AFSR1_EL1),
    system(Register::PAR_EL1),
    system(Register::TPIDR_EL1),
    system(Register::TPIDR_EL0),
    system(Register::TPIDRRO_EL0),
    system(Register::CNTKCTL_EL1),
    system(Register::TIMER_CVAL),
    system(Register::TIMER_CTL),
    system(Register::PTIMER_CVAL),
    system(Register::PTIMER_CTL),
];

/// A register that a guest has only if an identification register states so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Optional {
    /// The register.
    pub register: Register,
    /// The identification register.
    pub feature: Register,
    /// Position of the field in it; four bits, zero if the guest does not have the register.
    pub shift: u32,
}

impl Optional {
    /// Optional registers, in the order in which the code loads them.
    pub const ALL: [Self; 7] = [
        Self::new(Register::FPMR, Register::ID_AA64PFR2_EL1, 32),
        Self::new(Register::TCR2_EL1, Register::ID_AA64MMFR3_EL1, 0),
        Self::new(Register::PIRE0_EL1, Register::ID_AA64MMFR3_EL1, 8),
        Self::new(Register::PIR_EL1, Register::ID_AA64MMFR3_EL1, 8),
        Self::new(Register::POR_EL0, Register::ID_AA64MMFR3_EL1, 16),
        Self::new(Register::POR_EL1, Register::ID_AA64MMFR3_EL1, 16),
        Self::new(Register::DISR_EL1, Register::ID_AA64PFR0_EL1, 28),
    ];

    const fn new(register: Register, feature: Register, shift: u32) -> Self {
        Self {
            register,
            feature,
            shift,
        }
    }

    /// Whether a guest with this value of [`feature`](Self::feature) has the register.
    #[must_use]
    pub const fn is_present(self, feature: u64) -> bool {
        feature >> self.shift & 0xf != 0
    }
}

/// A register and its offset in the [`Image`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImageRegister {
    /// The register.
    pub register: Register,
    /// Offset in bytes. The value has the size of the register.
    pub offset: usize,
    /// Bits that are part of the state, for values of up to 64 bits.
    pub mask: u64,
}

impl ImageRegister {
    const fn new(register: Register, offset: usize) -> Self {
        let mask = match register {
            // Interrupts of the debugger's channel, which no bare machine has: a rewind turns them off. QEMU 7.2 reads the register as anything.
            Register::MDCCINT_EL1 => 0,
            // `ISTATUS` depends on the time.
            Register::TIMER_CTL | Register::PTIMER_CTL => 0b11,
            _ => u64::MAX,
        };
        Self {
            register,
            offset,
            mask,
        }
    }
}

/// Numbers of breakpoints and watchpoints of a CPU with this `ID_AA64DFR0_EL1`.
#[must_use]
pub fn debug_registers(id_aa64dfr0: u64) -> [usize; 2] {
    [12, 20].map(|shift| usize::try_from(id_aa64dfr0 >> shift & 0xf).unwrap_or(0) + 1)
}

impl Image {
    /// Sets which registers the CPU has. Arguments as of [`registers`](Self::registers).
    pub fn set_layout(&mut self, present: u64, breakpoints: usize, watchpoints: usize) {
        let skip = |count| arith::to_u64(DEBUG.saturating_sub(count) * DEBUG_LEN);
        self.present = present.into();
        self.breakpoint_skip = skip(breakpoints).into();
        self.watchpoint_skip = skip(watchpoints).into();
    }

    /// The registers of a CPU with the optional registers in `present` (bit *n* is register *n* of [`Optional::ALL`]), `breakpoints` and
    /// `watchpoints`.
    pub fn registers(
        present: u64,
        breakpoints: usize,
        watchpoints: usize,
    ) -> impl Iterator<Item = ImageRegister> {
        let register = |register, offset| ImageRegister::new(register, offset);
        let words = |first: usize| (first..).step_by(size_of::<U64>());
        let single = [
            (Register::PC, offset_of!(Image, pc)),
            (Register::PSTATE, offset_of!(Image, pstate)),
            (Register::SCTLR_EL1, offset_of!(Image, sctlr)),
            (Register::SP_EL1, offset_of!(Image, sp_el1)),
            (Register::FPCR, offset_of!(Image, fpcr)),
            (Register::FPSR, offset_of!(Image, fpsr)),
        ];
        let general = (0..=30).filter_map(Register::x).zip(words(offset_of!(Image, x)));
        let system = SYSTEM
            .into_iter()
            .map(|system| system.register)
            .zip(words(offset_of!(Image, system)));
        let optional = Optional::ALL
            .into_iter()
            .map(|optional| optional.register)
            .zip(words(offset_of!(Image, optional)))
            .enumerate()
            .filter_map(move |(n, optional)| (present >> n & 1 != 0).then_some(optional));
        let pairs = |first, count, value: fn(u8) -> Option<Register>, control: fn(u8) -> Option<Register>| {
            (0..)
                .map_while(move |n| Some([value(n)?, control(n)?]))
                .take(count)
                .flatten()
                .zip(words(first))
        };
        let breakpoints = pairs(
            offset_of!(Image, breakpoints),
            breakpoints,
            Register::dbgbvr,
            Register::dbgbcr,
        );
        let watchpoints = pairs(
            offset_of!(Image, watchpoints),
            watchpoints,
            Register::dbgwvr,
            Register::dbgwcr,
        );
        let vectors = (0..=31)
            .filter_map(Register::v)
            .zip((offset_of!(Image, v)..).step_by(16));
        single
            .into_iter()
            .chain(general)
            .chain(system)
            .chain(optional)
            .chain(breakpoints)
            .chain(watchpoints)
            .chain(vectors)
            .map(move |(id, offset)| register(id, offset))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn registers_do_not_overlap() {
        let mut bytes = BTreeSet::new();
        let mut ids = BTreeSet::new();
        for ImageRegister { register, offset, .. } in Image::registers(u64::MAX, DEBUG, DEBUG) {
            assert!(ids.insert(register), "{register}");
            for at in offset..offset + register.size() {
                assert!(
                    at < size_of::<Image>() && bytes.insert(at),
                    "{register} at {offset:#x}"
                );
            }
        }
        assert_eq!(
            ids.len(),
            6 + 31 + SYSTEM.len() + Optional::ALL.len() + 4 * DEBUG + 32
        );
    }

    #[test]
    fn missing_registers_have_no_place() {
        let has = |present, breakpoints, watchpoints, wanted| {
            Image::registers(present, breakpoints, watchpoints).any(|found| found.register == wanted)
        };
        let breakpoint = |n| Register::dbgbcr(n).unwrap();
        assert!(has(0, 6, 4, breakpoint(5)) && !has(0, 6, 4, breakpoint(6)));
        assert!(has(0, 6, 4, Register::dbgwvr(3).unwrap()) && !has(0, 6, 4, Register::dbgwvr(4).unwrap()));
        assert!(has(2, 0, 0, Register::TCR2_EL1) && !has(1, 0, 0, Register::TCR2_EL1));
        assert!(Optional::ALL[6].is_present(0x1000_0000) && !Optional::ALL[6].is_present(0x0fff_ffff));
    }

    #[test]
    fn layout_of_a_cpu() {
        use zerocopy::FromZeros as _;

        let mut image = Image::new_zeroed();
        // Six breakpoints and four watchpoints, as many CPUs have.
        let [breakpoints, watchpoints] = debug_registers(0x30_5006);
        image.set_layout(5, breakpoints, watchpoints);
        assert_eq!([breakpoints, watchpoints], [6, 4]);
        assert_eq!(
            [image.breakpoint_skip, image.watchpoint_skip],
            [120, 144].map(U64::new)
        );
        assert_eq!(image.present, 5);
        assert_eq!(debug_registers(u64::MAX), [16, 16]);
    }

    #[test]
    fn encodings_of_swapped_and_core_registers() {
        assert_eq!(
            system(Register::TIMER_CVAL).encoding,
            register::encode(3, 3, 14, 3, 2)
        );
        assert_eq!(
            system(Register::PTIMER_CVAL).encoding,
            register::encode(3, 3, 14, 2, 2)
        );
        assert_eq!(system(Register::SP_EL0).encoding, register::encode(3, 0, 4, 1, 0));
        assert_eq!(system(Register::TTBR0_EL1).encoding, 0xc100);
    }
}
