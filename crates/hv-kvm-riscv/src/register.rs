//! The register ids of a riscv64 vCPU, as KVM's one-register interface numbers them.
//!
//! An id is composed of the architecture, the register's size, a group and an index within it; the numbers come from
//! the kernel's Documentation/virt/kvm/api.rst, "4.68 KVM_SET_ONE_REG", and `arch/riscv/include/uapi/asm/kvm.h`:
//!
//! ```text
//! 63    56 55 52 51                32 31    24 23       16 15        0
//! ┌───────┬─────┬────────────────────┬────────┬───────────┬──────────┐
//! │ 0x80  │ size│ 0                  │ group  │ subgroup  │ index    │
//! └───────┴─────┴────────────────────┴────────┴───────────┴──────────┘
//! ```

mod extension;
mod name;
mod value;

pub use extension::{IsaExtension, SbiExtension};
pub use value::Value;

/// The id of one register. A number that no KVM known here has is a valid value: it prints as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Register(pub u64);

/// The group of a register: bits 24 to 31 of its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group(pub u8);

impl Group {
    /// What the vCPU is: `struct kvm_riscv_config`.
    pub const CONFIG: Self = Self(1);
    /// `pc`, the integer registers and the privilege mode: `struct kvm_riscv_core`.
    pub const CORE: Self = Self(2);
    /// Supervisor CSRs, in the subgroups general, AIA and Smstateen.
    pub const CSR: Self = Self(3);
    /// The timer: `struct kvm_riscv_timer`.
    pub const TIMER: Self = Self(4);
    /// The floating-point registers of the F extension, 32 bits each.
    pub const FP_F: Self = Self(5);
    /// The floating-point registers of the D extension, 64 bits each.
    pub const FP_D: Self = Self(6);
    /// Which extensions of the instruction set the vCPU has.
    pub const ISA_EXTENSION: Self = Self(7);
    /// Which SBI extensions the vCPU's firmware interface has.
    pub const SBI_EXTENSION: Self = Self(8);
    /// Registers of the V extension.
    pub const VECTOR: Self = Self(9);
    /// The state of SBI extensions.
    pub const SBI_STATE: Self = Self(10);
}

/// `KVM_REG_RISCV`.
const RISCV: u64 = 0x8000_0000_0000_0000;
/// Where the size's power of two stands (`KVM_REG_SIZE_SHIFT`), and its mask.
const SIZE_SHIFT: u32 = 52;
const SIZE_MASK: u64 = 0xf << SIZE_SHIFT;
/// `KVM_REG_SIZE_U32` and `KVM_REG_SIZE_U64`: four and eight bytes as powers of two.
const SIZE_U32: u64 = 2 << SIZE_SHIFT;
const SIZE_U64: u64 = 3 << SIZE_SHIFT;
/// `KVM_REG_RISCV_TYPE_SHIFT` and `KVM_REG_RISCV_SUBTYPE_SHIFT`.
const GROUP_SHIFT: u32 = 24;
const SUBGROUP_SHIFT: u32 = 16;
/// `KVM_REG_RISCV_CSR_AIA`, `KVM_REG_RISCV_CSR_SMSTATEEN`.
const AIA: u8 = 1;
const SMSTATEEN: u8 = 2;
/// Index of the first of the 32 vector registers: `struct __riscv_v_ext_state` is six words long.
const VECTOR_BASE: u16 = 6;

#[expect(
    clippy::as_conversions,
    reason = "`From` is not const; every conversion here widens"
)]
const fn compose(size: u64, group: Group, subgroup: u8, index: u16) -> Register {
    Register(
        RISCV | size | (group.0 as u64) << GROUP_SHIFT | (subgroup as u64) << SUBGROUP_SHIFT | index as u64,
    )
}

const fn word(group: Group, index: u16) -> Register {
    compose(SIZE_U64, group, 0, index)
}

/// Declares named registers of one group and subgroup, in the order of their indices.
macro_rules! registers {
    ($($group:expr, $subgroup:expr, $first:expr => $($(#[$doc:meta])* $name:ident)+;)+) => {
        impl Register {
            $(registers!(@next $group, $subgroup, $first => $($(#[$doc])* $name)+);)+
        }
    };
    (@next $group:expr, $subgroup:expr, $index:expr => $(#[$doc:meta])* $name:ident $($rest:tt)*) => {
        $(#[$doc])*
        pub const $name: Self = compose(SIZE_U64, $group, $subgroup, $index);
        registers!(@next $group, $subgroup, $index + 1 => $($rest)*);
    };
    (@next $group:expr, $subgroup:expr, $index:expr =>) => {};
}

registers! {
    Group::CONFIG, 0, 0 =>
        /// The single-letter extensions, `a` in bit 0 to `z` in bit 25; written before the first run only.
        ISA
        /// Block size of Zicbom in bytes; there where the host has the extension.
        ZICBOM_BLOCK_SIZE
        /// What SBI tells as `mvendorid`; written before the first run only.
        MVENDORID
        /// What SBI tells as `marchid`; written before the first run only.
        MARCHID
        /// What SBI tells as `mimpid`; written before the first run only.
        MIMPID
        /// Block size of Zicboz in bytes; there where the host has the extension.
        ZICBOZ_BLOCK_SIZE
        /// The largest mode that `satp` takes: 8 for Sv39, 9 for Sv48, 10 for Sv57. Read-only.
        SATP_MODE
        /// Block size of Zicbop in bytes; there where the host has the extension.
        ZICBOP_BLOCK_SIZE;
    Group::CORE, 0, 0 =>
        /// Program counter.
        PC;
    Group::CORE, 0, 32 =>
        /// Privilege mode: [`MODE_S`](Self::MODE_S) or [`MODE_U`](Self::MODE_U).
        MODE;
    Group::CSR, 0, 0 =>
        /// Supervisor status.
        SSTATUS
        /// Which interrupts are enabled.
        SIE
        /// Where traps go.
        STVEC
        /// A word for the trap handler.
        SSCRATCH
        /// Where the last trap came from.
        SEPC
        /// Why the last trap was taken.
        SCAUSE
        /// An address or instruction that belongs to the last trap.
        STVAL
        /// Which interrupts are pending.
        SIP
        /// Address translation.
        SATP
        /// Which counters user mode may read.
        SCOUNTEREN
        /// What user mode may execute.
        SENVCFG;
    Group::CSR, AIA, 0 =>
        /// Which register the alias CSRs reach.
        SISELECT
        /// Priorities of the interrupts 0 to 7.
        IPRIO1
        /// Priorities of the interrupts 8 to 15.
        IPRIO2
        /// High half of `sie` on RV32.
        SIEH
        /// High half of `sip` on RV32.
        SIPH
        /// High half of `iprio1` on RV32.
        IPRIO1H
        /// High half of `iprio2` on RV32.
        IPRIO2H;
    Group::CSR, SMSTATEEN, 0 =>
        /// What state user mode may reach.
        SSTATEEN0;
    Group::TIMER, 0, 0 =>
        /// Frequency of the `time` counter in Hz. Read-only.
        TIMER_FREQUENCY
        /// The `time` counter. It is one for the whole machine.
        TIMER_TIME
        /// At which time the timer interrupt comes.
        TIMER_COMPARE
        /// 1 while KVM itself waits for that time, 0 otherwise.
        TIMER_STATE;
    Group::VECTOR, 0, 0 =>
        /// First element that an instruction works on.
        VSTART
        /// Number of elements.
        VL
        /// Type of the elements.
        VTYPE
        /// Rounding and saturation.
        VCSR
        /// Length of a vector register in bytes. Read-only.
        VLENB;
    Group::SBI_STATE, 0, 0 =>
        /// Low half of the address at which steal time is reported; all ones for nowhere.
        STEAL_TIME_LO
        /// High half of that address.
        STEAL_TIME_HI;
}

impl Register {
    /// A value of [`MODE`](Self::MODE): virtual user mode.
    pub const MODE_U: u64 = 0;
    /// A value of [`MODE`](Self::MODE): virtual supervisor mode.
    pub const MODE_S: u64 = 1;

    /// `fcsr` as the F extension's group has it; 32 bits. See [`f32`](Self::f32).
    pub const FCSR_F: Self = compose(SIZE_U32, Group::FP_F, 0, 32);
    /// `fcsr` as the D extension's group has it; 32 bits.
    pub const FCSR_D: Self = compose(SIZE_U32, Group::FP_D, 0, 32);

    /// Integer register `x1` to `x31`; `None` for any other number, `x0` included: KVM has no id for it.
    #[must_use]
    pub const fn x(number: u16) -> Option<Self> {
        match number {
            1..=31 => Some(word(Group::CORE, number)),
            _ => None,
        }
    }

    /// `f0` to `f31` of a vCPU that has the F extension and not D; `None` for any other number.
    ///
    /// With D, this group and that of [`f64`](Self::f64) are two views of the same memory, and this one shows halves of
    /// other registers under these ids.
    #[must_use]
    pub const fn f32(number: u16) -> Option<Self> {
        match number {
            0..=31 => Some(compose(SIZE_U32, Group::FP_F, 0, number)),
            _ => None,
        }
    }

    /// `f0` to `f31` of a vCPU that has the D extension; `None` for any other number.
    #[must_use]
    pub const fn f64(number: u16) -> Option<Self> {
        match number {
            0..=31 => Some(word(Group::FP_D, number)),
            _ => None,
        }
    }

    /// Vector register `v0` to `v31` of a vCPU whose vector registers are `vlenb` bytes long; `None` for any other
    /// number, or where `vlenb` is no power of two up to 2¹⁵.
    #[must_use]
    pub const fn v(number: u16, vlenb: u32) -> Option<Self> {
        if number > 31 || !vlenb.is_power_of_two() || vlenb.ilog2() > 15 {
            return None;
        }
        #[expect(clippy::as_conversions, reason = "`From` is not const; this widens")]
        let size = (vlenb.ilog2() as u64) << SIZE_SHIFT;
        match VECTOR_BASE.checked_add(number) {
            Some(index) => Some(compose(size, Group::VECTOR, 0, index)),
            None => None,
        }
    }

    /// The switch of one extension of the instruction set: 1 where the vCPU has it. Written before the first run only.
    #[must_use]
    pub const fn isa(extension: IsaExtension) -> Self {
        word(Group::ISA_EXTENSION, extension.0)
    }

    /// The switch of one SBI extension: 1 where the guest may call it. Written before the first run only.
    #[must_use]
    pub const fn sbi(extension: SbiExtension) -> Self {
        word(Group::SBI_EXTENSION, extension.0)
    }

    /// Its group; `None` where this is no register of a riscv64 vCPU.
    #[must_use]
    pub const fn group(self) -> Option<Group> {
        let [
            index_low,
            index_high,
            subgroup,
            group,
            zero_low,
            zero_high,
            size,
            arch,
        ] = self.0.to_le_bytes();
        let _ = (index_low, index_high, subgroup);
        if arch == 0x80 && zero_low == 0 && zero_high == 0 && size.trailing_zeros() >= 4 {
            Some(Group(group))
        } else {
            None
        }
    }

    /// Its subgroup: bits 16 to 23.
    #[must_use]
    pub const fn subgroup(self) -> u8 {
        let [_, _, subgroup, ..] = self.0.to_le_bytes();
        subgroup
    }

    /// Its index within group and subgroup: bits 0 to 15.
    #[must_use]
    pub const fn index(self) -> u16 {
        let [low, high, ..] = self.0.to_le_bytes();
        u16::from_le_bytes([low, high])
    }

    /// How many bytes its value has.
    #[must_use]
    pub const fn size(self) -> usize {
        1 << ((self.0 & SIZE_MASK) >> SIZE_SHIFT)
    }

    /// The extension it switches, if it is such a switch.
    #[must_use]
    pub fn isa_extension(self) -> Option<IsaExtension> {
        (self.group() == Some(Group::ISA_EXTENSION) && self.subgroup() == 0)
            .then_some(IsaExtension(self.index()))
    }

    /// Whether it only tells the time: it differs from one reading to the next.
    #[must_use]
    pub fn is_clock(self) -> bool {
        self == Self::TIMER_TIME
    }
}

#[cfg(test)]
mod tests;
