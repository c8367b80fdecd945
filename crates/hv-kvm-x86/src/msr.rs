//! Model-specific registers by number.

use std::fmt;

/// A model-specific register.
///
/// An open set: every number is an `Msr`. `Display` prints the name of those that have a constant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Msr(pub u32);

macro_rules! msrs {
    ($($(#[$doc:meta])* $name:ident = $value:literal,)*) => {
        impl Msr {
            $($(#[$doc])* pub const $name: Self = Self($value);)*

            /// Name of the register's constant, such as `EFER`; `None` for registers without a constant.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }

        #[cfg(test)]
        const NAMED: &[Msr] = &[$(Msr::$name,)*];
    };
}

// Numbers: Intel SDM volume 4, chapter 2; AMD APM volume 2, appendix A; the kernel's Documentation/virt/kvm/x86/msr.rst.
msrs! {
    /// Time stamp counter.
    TSC = 0x10,
    /// KVM wall clock, old number.
    KVM_WALL_CLOCK = 0x11,
    /// KVM system time, old number.
    KVM_SYSTEM_TIME = 0x12,
    /// Local APIC base and mode.
    APIC_BASE = 0x1b,
    /// Feature control.
    FEATURE_CONTROL = 0x3a,
    /// Offset of the time stamp counter, set by software.
    TSC_ADJUST = 0x3b,
    /// Speculation control.
    SPEC_CTRL = 0x48,
    /// Microcode revision.
    BIOS_SIGN_ID = 0x8b,
    /// Cycles at the maximum frequency.
    MPERF = 0xe7,
    /// Cycles at the actual frequency.
    APERF = 0xe8,
    /// Memory type range register capabilities.
    MTRR_CAP = 0xfe,
    /// Architectural capabilities.
    ARCH_CAPABILITIES = 0x10a,
    /// `SYSENTER` code segment.
    SYSENTER_CS = 0x174,
    /// `SYSENTER` stack pointer.
    SYSENTER_ESP = 0x175,
    /// `SYSENTER` instruction pointer.
    SYSENTER_EIP = 0x176,
    /// Machine check capabilities.
    MCG_CAP = 0x179,
    /// Miscellaneous enables.
    MISC_ENABLE = 0x1a0,
    /// Page attribute table.
    PAT = 0x277,
    /// Default memory type, and enable of the ranges.
    MTRR_DEF_TYPE = 0x2ff,
    /// Deadline of the local APIC's timer.
    TSC_DEADLINE = 0x6e0,
    /// Supervisor state components that `XSAVES` handles.
    XSS = 0xda0,
    /// Extended features.
    EFER = 0xc000_0080,
    /// `SYSCALL` segments.
    STAR = 0xc000_0081,
    /// `SYSCALL` target in 64-bit mode.
    LSTAR = 0xc000_0082,
    /// `SYSCALL` target in compatibility mode.
    CSTAR = 0xc000_0083,
    /// `RFLAGS` bits that `SYSCALL` clears (`IA32_FMASK`).
    SYSCALL_MASK = 0xc000_0084,
    /// Base of `FS`.
    FS_BASE = 0xc000_0100,
    /// Base of `GS`.
    GS_BASE = 0xc000_0101,
    /// Value that `SWAPGS` exchanges with the base of `GS`.
    KERNEL_GS_BASE = 0xc000_0102,
    /// Auxiliary value of `RDTSCP`.
    TSC_AUX = 0xc000_0103,
    /// Ratio of the guest's time stamp counter to that of the host.
    AMD64_TSC_RATIO = 0xc000_0104,
    /// Virtual machine control on AMD.
    VM_CR = 0xc001_0114,
    /// KVM wall clock.
    KVM_WALL_CLOCK_NEW = 0x4b56_4d00,
    /// KVM system time.
    KVM_SYSTEM_TIME_NEW = 0x4b56_4d01,
    /// Asynchronous page faults.
    KVM_ASYNC_PF_EN = 0x4b56_4d02,
    /// Steal time.
    KVM_STEAL_TIME = 0x4b56_4d03,
    /// Paravirtual end of interrupt.
    KVM_PV_EOI_EN = 0x4b56_4d04,
    /// Control of host polling when the guest halts.
    KVM_POLL_CONTROL = 0x4b56_4d05,
    /// Interrupt of asynchronous page faults.
    KVM_ASYNC_PF_INT = 0x4b56_4d06,
    /// Acknowledgement of asynchronous page faults.
    KVM_ASYNC_PF_ACK = 0x4b56_4d07,
    /// Control of migration.
    KVM_MIGRATION_CONTROL = 0x4b56_4d08,
}

impl Msr {
    /// The paravirtual registers of Hyper-V.
    const HYPER_V: std::ops::RangeInclusive<u32> = 0x4000_0000..=0x4000_01ff;

    /// Registers of a vCPU's state that `KVM_GET_MSR_INDEX_LIST` does not contain: the memory type range registers (Intel SDM
    /// 3A, "Memory Type Range Registers (MTRRs)") and the machine check banks (SDM 3B, "Error-Reporting Register Banks"), up
    /// to the largest numbers that KVM supports.
    pub fn not_in_index_list() -> impl Iterator<Item = Self> {
        const VARIABLE_RANGES: u32 = 8;
        const BANKS: u32 = 32;
        let variable = (0..2 * VARIABLE_RANGES).map(|n| 0x200 + n);
        let fixed = [0x250, 0x258, 0x259].into_iter().chain(0x268..=0x26f);
        let banks = (0..4 * BANKS).map(|n| 0x400 + n);
        variable
            .chain(fixed)
            .chain([Self::MTRR_DEF_TYPE.0])
            .chain(banks)
            .map(Self)
    }

    /// Whether the register counts time, so that its value changes between two reads.
    #[must_use]
    pub fn is_time_counter(self) -> bool {
        const HV_VP_RUNTIME: u32 = 0x4000_0010;
        const HV_TIME_REF_COUNT: u32 = 0x4000_0020;
        matches!(self, Self::TSC | Self::MPERF | Self::APERF)
            || matches!(self.0, HV_VP_RUNTIME | HV_TIME_REF_COUNT)
    }

    /// Whether the register belongs to the Hyper-V interface, which this harness does not offer to guests.
    #[must_use]
    pub fn is_hyper_v(self) -> bool {
        Self::HYPER_V.contains(&self.0)
    }
}

impl fmt::Debug for Msr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Msr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name} ({:#x})", self.0),
            None => write!(f, "MSR {:#x}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use boot_core::cpu::x86_64::BOOT_MSRS;

    use super::*;

    #[test]
    fn every_number_and_every_name_is_used_once() {
        let numbers: BTreeSet<_> = NAMED.iter().map(|msr| msr.0).collect();
        assert_eq!(numbers.len(), NAMED.len());
        let names: BTreeSet<_> = NAMED.iter().map(|msr| msr.name().unwrap()).collect();
        assert_eq!(names.len(), NAMED.len());
    }

    #[test]
    fn values_of_the_manuals() {
        let named = [Msr::MISC_ENABLE, Msr::MTRR_DEF_TYPE].map(|msr| msr.0);
        assert_eq!(BOOT_MSRS.map(|(number, _)| number), named);
        assert_eq!(Msr::LSTAR.0, 0xc000_0082);
        assert_eq!(Msr::TSC_DEADLINE.to_string(), "TSC_DEADLINE (0x6e0)");
        assert_eq!(Msr(0x1234).to_string(), "MSR 0x1234");
    }

    #[test]
    fn registers_outside_the_list_are_the_ranges_and_the_banks() {
        let registers: BTreeSet<_> = Msr::not_in_index_list().map(|msr| msr.0).collect();
        assert_eq!(registers.len(), 16 + 11 + 1 + 128);
        for number in [
            0x200, 0x20f, 0x250, 0x258, 0x259, 0x268, 0x26f, 0x2ff, 0x400, 0x47f,
        ] {
            assert!(registers.contains(&number), "{number:#x}");
        }
    }

    #[test]
    fn time_counters_and_hyper_v_registers_are_recognized() {
        assert!(Msr::TSC.is_time_counter() && Msr(0x4000_0020).is_time_counter());
        assert!(!Msr::TSC_AUX.is_time_counter() && !Msr::TSC_ADJUST.is_time_counter());
        assert!(Msr(0x4000_0000).is_hyper_v() && !Msr::KVM_STEAL_TIME.is_hyper_v());
    }
}
