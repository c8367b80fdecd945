//! Ids of registers for `KVM_GET_ONE_REG` and `KVM_SET_ONE_REG`.
//!
//! An id is composed of the architecture, the size of the register, a group, a subgroup and an index (the kernel's
//! Documentation/virt/kvm/api.rst, section 4.68, and `arch/riscv/include/uapi/asm/kvm.h`):
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
pub use value::RegisterValue;

/// Id of a register. An open set: every number is a `Register`. `Display` prints the name of known registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Register(pub u64);

/// The group of a register: bits 24 to 31 of its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegisterGroup(pub u8);

impl RegisterGroup {
    /// Configuration of the vCPU: `struct kvm_riscv_config`.
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
    /// Enables of ISA extensions.
    pub const ISA_EXTENSION: Self = Self(7);
    /// Enables of SBI extensions.
    pub const SBI_EXTENSION: Self = Self(8);
    /// Registers of the V extension.
    pub const VECTOR: Self = Self(9);
    /// The state of SBI extensions.
    pub const SBI_STATE: Self = Self(10);
}

/// `KVM_REG_RISCV`.
const RISCV: u64 = 0x8000_0000_0000_0000;
/// Position (`KVM_REG_SIZE_SHIFT`) and mask of the binary logarithm of the size.
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
/// `KVM_REG_RISCV_SBI_MULTI_DIS`.
const SBI_MULTI_DIS: u8 = 2;
/// Index of the first of the 32 vector registers: `struct __riscv_v_ext_state` is six words long.
const VECTOR_BASE: u16 = 6;

#[expect(
    clippy::as_conversions,
    reason = "`From` is not const; every conversion here widens"
)]
const fn compose(size: u64, group: RegisterGroup, subgroup: u8, index: u16) -> Register {
    Register(
        RISCV | size | (group.0 as u64) << GROUP_SHIFT | (subgroup as u64) << SUBGROUP_SHIFT | index as u64,
    )
}

const fn word(group: RegisterGroup, index: u16) -> Register {
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
    RegisterGroup::CONFIG, 0, 0 =>
        /// The single-letter extensions, `a` in bit 0 to `z` in bit 25; written before the first run only.
        ISA
        /// Block size of Zicbom in bytes, on hosts with the extension.
        ZICBOM_BLOCK_SIZE
        /// `mvendorid` of SBI; written before the first run only.
        MVENDORID
        /// `marchid` of SBI; written before the first run only.
        MARCHID
        /// `mimpid` of SBI; written before the first run only.
        MIMPID
        /// Block size of Zicboz in bytes, on hosts with the extension.
        ZICBOZ_BLOCK_SIZE
        /// Largest mode of `satp`: 8 for Sv39, 9 for Sv48, 10 for Sv57. Read-only.
        SATP_MODE
        /// Block size of Zicbop in bytes, on hosts with the extension.
        ZICBOP_BLOCK_SIZE;
    RegisterGroup::CORE, 0, 0 =>
        /// Program counter.
        PC;
    RegisterGroup::CORE, 0, 32 =>
        /// Privilege mode: [`MODE_S`](Self::MODE_S) or [`MODE_U`](Self::MODE_U).
        MODE;
    RegisterGroup::CSR, 0, 0 =>
        /// Supervisor status.
        SSTATUS
        /// Interrupt enables.
        SIE
        /// Trap vector.
        STVEC
        /// Scratch register of the trap handler.
        SSCRATCH
        /// Exception program counter.
        SEPC
        /// Trap cause.
        SCAUSE
        /// Trap value: an address or instruction.
        STVAL
        /// Pending interrupts.
        SIP
        /// Address translation.
        SATP
        /// Counter enables of user mode.
        SCOUNTEREN
        /// Environment configuration of user mode.
        SENVCFG;
    RegisterGroup::CSR, AIA, 0 =>
        /// Register select of the alias CSRs.
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
    RegisterGroup::CSR, SMSTATEEN, 0 =>
        /// State enables of user mode.
        SSTATEEN0;
    RegisterGroup::TIMER, 0, 0 =>
        /// Frequency of the `time` counter in Hz. Read-only.
        TIMER_FREQUENCY
        /// The `time` counter, common to the whole machine.
        TIMER_TIME
        /// Time of the timer interrupt.
        TIMER_COMPARE
        /// 1 while the timer is armed, 0 otherwise.
        TIMER_STATE;
    RegisterGroup::VECTOR, 0, 0 =>
        /// First element of the next instruction.
        VSTART
        /// Number of elements.
        VL
        /// Type of the elements.
        VTYPE
        /// Rounding and saturation.
        VCSR
        /// Length of a vector register in bytes. Read-only.
        VLENB;
    RegisterGroup::SBI_STATE, 0, 0 =>
        /// Low half of the address of the steal time structure; all ones if disabled.
        STEAL_TIME_LO
        /// High half of that address.
        STEAL_TIME_HI;
}

impl Register {
    /// A value of [`MODE`](Self::MODE): virtual user mode.
    pub const MODE_U: u64 = 0;
    /// A value of [`MODE`](Self::MODE): virtual supervisor mode.
    pub const MODE_S: u64 = 1;

    /// `fcsr` in the group of the F extension, 32 bits. See [`f32`](Self::f32).
    pub const FCSR_F: Self = compose(SIZE_U32, RegisterGroup::FP_F, 0, 32);
    /// `fcsr` in the group of the D extension, 32 bits.
    pub const FCSR_D: Self = compose(SIZE_U32, RegisterGroup::FP_D, 0, 32);

    /// Integer register `x1` to `x31`; `None` for other numbers, including `x0`, which has no id.
    #[must_use]
    pub const fn x(number: u16) -> Option<Self> {
        match number {
            1..=31 => Some(word(RegisterGroup::CORE, number)),
            _ => None,
        }
    }

    /// `f0` to `f31` of a vCPU with the F extension and without D; `None` for other numbers.
    ///
    /// Do not use these ids with D: they alias the memory of [`f64`](Self::f64), and number *n* is half of `f64` number *n* / 2.
    #[must_use]
    pub const fn f32(number: u16) -> Option<Self> {
        match number {
            0..=31 => Some(compose(SIZE_U32, RegisterGroup::FP_F, 0, number)),
            _ => None,
        }
    }

    /// `f0` to `f31` of a vCPU with the D extension; `None` for other numbers.
    #[must_use]
    pub const fn f64(number: u16) -> Option<Self> {
        match number {
            0..=31 => Some(word(RegisterGroup::FP_D, number)),
            _ => None,
        }
    }

    /// Vector register `v0` to `v31` of a vCPU whose vector registers are `vlenb` bytes long; `None` for other numbers, and
    /// unless `vlenb` is a power of two up to 2¹⁵.
    #[must_use]
    pub const fn v(number: u16, vlenb: u32) -> Option<Self> {
        if number > 31 || !vlenb.is_power_of_two() || vlenb.ilog2() > 15 {
            return None;
        }
        #[expect(clippy::as_conversions, reason = "`From` is not const; this widens")]
        let size = (vlenb.ilog2() as u64) << SIZE_SHIFT;
        match VECTOR_BASE.checked_add(number) {
            Some(index) => Some(compose(size, RegisterGroup::VECTOR, 0, index)),
            None => None,
        }
    }

    /// The number of a vector register of `vlenb` bytes; `None` for other registers.
    #[must_use]
    pub fn vector_number(self, vlenb: u32) -> Option<u16> {
        let number = self.index().checked_sub(VECTOR_BASE)?;
        (Self::v(number, vlenb) == Some(self)).then_some(number)
    }

    /// Enable of an ISA extension: 1 if the vCPU has it. Written before the first run only.
    #[must_use]
    pub const fn isa(extension: IsaExtension) -> Self {
        word(RegisterGroup::ISA_EXTENSION, extension.0)
    }

    /// Enable of an SBI extension: 1 if the guest can call it. Written before the first run only.
    #[must_use]
    pub const fn sbi(extension: SbiExtension) -> Self {
        word(RegisterGroup::SBI_EXTENSION, extension.0)
    }

    /// Disables SBI extensions when written: bit *n* stands for the extension with the KVM number *n*, up to 63. Bits of extensions that KVM
    /// does not have or cannot disable are ignored. Written before the first run only.
    pub const SBI_DISABLE: Self = compose(SIZE_U64, RegisterGroup::SBI_EXTENSION, SBI_MULTI_DIS, 0);

    /// The group; `None` for ids of other architectures.
    #[must_use]
    pub const fn group(self) -> Option<RegisterGroup> {
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
            Some(RegisterGroup(group))
        } else {
            None
        }
    }

    /// The subgroup: bits 16 to 23.
    #[must_use]
    pub const fn subgroup(self) -> u8 {
        let [_, _, subgroup, ..] = self.0.to_le_bytes();
        subgroup
    }

    /// The index within the group and subgroup: bits 0 to 15.
    #[must_use]
    pub const fn index(self) -> u16 {
        let [low, high, ..] = self.0.to_le_bytes();
        u16::from_le_bytes([low, high])
    }

    /// Size of the value in bytes.
    #[must_use]
    pub const fn size(self) -> usize {
        1 << ((self.0 & SIZE_MASK) >> SIZE_SHIFT)
    }

    /// The ISA extension of an enable register; `None` for other registers.
    #[must_use]
    pub fn isa_extension(self) -> Option<IsaExtension> {
        (self.group() == Some(RegisterGroup::ISA_EXTENSION) && self.subgroup() == 0)
            .then_some(IsaExtension(self.index()))
    }

    /// Whether the register is a feature of the CPU on which a guest may depend: `misa`, an extension, or a size of cache blocks.
    #[must_use]
    pub fn is_feature(self) -> bool {
        const CONFIG: [Register; 4] = [
            Register::ISA,
            Register::ZICBOM_BLOCK_SIZE,
            Register::ZICBOZ_BLOCK_SIZE,
            Register::ZICBOP_BLOCK_SIZE,
        ];
        CONFIG.contains(&self) || self.isa_extension().is_some()
    }

    /// Whether a CPU whose value of this [feature](Self::is_feature) is `here` has what one with the value `stored` has.
    #[must_use]
    pub fn feature_fits(self, stored: u64, here: u64) -> bool {
        if self == Self::ISA || self.isa_extension().is_some() {
            stored & !here == 0
        } else {
            stored == here
        }
    }

    /// Whether the register is part of the configuration of a vCPU rather than of its state: KVM refuses to change it after the first run.
    #[must_use]
    pub const fn is_configuration(self) -> bool {
        matches!(
            self.group(),
            Some(RegisterGroup::CONFIG | RegisterGroup::ISA_EXTENSION | RegisterGroup::SBI_EXTENSION)
        )
    }

    /// Whether the register counts time, so that its value changes between two reads.
    #[must_use]
    pub fn is_time_counter(self) -> bool {
        self == Self::TIMER_TIME
    }
}

#[cfg(test)]
mod tests;
