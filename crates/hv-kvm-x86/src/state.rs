//! Saved state of a vCPU as plain data, and typed ids of its registers.

use std::{collections::BTreeMap, fmt};

use boot_core::cpu::x86_64::{AccessRights, DescriptorTable, SegmentRegister, State};

use crate::{Lapic, LapicRegister, Msr};

/// Saved state of an x86_64 vCPU: all state that KVM can read and write, except nested virtualization.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VcpuState {
    /// General and system registers, with the base and mode of the local APIC.
    pub cpu: State,
    /// Task priority (`CR8`).
    pub cr8: u64,
    /// External interrupt that was accepted and not delivered yet, as the bit of its vector.
    pub interrupt_bitmap: [u64; 4],
    /// Extended control register 0: enabled state components.
    pub xcr0: u64,
    /// FPU, SSE and all further state components.
    pub xsave: Xsave,
    /// Breakpoint addresses: `DR0` to `DR3`.
    pub dr: [u64; 4],
    /// Debug status.
    pub dr6: u64,
    /// Debug control.
    pub dr7: u64,
    /// The local APIC's registers.
    pub lapic: Lapic,
    /// Run state.
    pub mp_state: MpState,
    /// Pending and injected exceptions and interrupts.
    pub events: VcpuEvents,
    /// Model-specific registers.
    pub msrs: BTreeMap<Msr, u64>,
}

/// Run state of a vCPU: a `KVM_MP_STATE_*` number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MpState(pub u32);

impl MpState {
    /// Executes instructions.
    pub const RUNNABLE: Self = Self(0);
    /// Waits for INIT: the state of a secondary vCPU after creation.
    pub const UNINITIALIZED: Self = Self(1);
    /// Received INIT, waits for SIPI.
    pub const INIT_RECEIVED: Self = Self(2);
    /// Executed `HLT`.
    pub const HALTED: Self = Self(3);
    /// Received SIPI.
    pub const SIPI_RECEIVED: Self = Self(4);
}

/// Pending and injected exceptions and interrupts of a vCPU (`struct kvm_vcpu_events`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent flags of the kernel's structure"
)]
pub struct VcpuEvents {
    /// Injected or pending exception.
    pub exception: Exception,
    /// An interrupt is injected.
    pub interrupt_injected: bool,
    /// Vector of the injected interrupt.
    pub interrupt_vector: u8,
    /// The injected interrupt is a software interrupt.
    pub interrupt_soft: bool,
    /// Interrupts are blocked for one instruction: bit 0 after `MOV SS`, bit 1 after `STI`. AMD hardware does not distinguish
    /// them: both bits are then set.
    pub interrupt_shadow: u8,
    /// An NMI is injected.
    pub nmi_injected: bool,
    /// An NMI is pending.
    pub nmi_pending: bool,
    /// NMIs are blocked until `IRET`.
    pub nmi_masked: bool,
    /// The vCPU is in system management mode.
    pub smm: bool,
    /// System management mode was entered while NMIs were blocked.
    pub smm_inside_nmi: bool,
    /// A system management interrupt is pending.
    pub smi_pending: bool,
    /// `INIT` is latched in system management mode.
    pub latched_init: bool,
    /// A triple fault is pending.
    pub triple_fault_pending: bool,
}

/// Injected or pending exception of a vCPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exception {
    /// The exception is injected.
    pub injected: bool,
    /// The exception is pending.
    pub pending: bool,
    /// Vector of the exception.
    pub number: u8,
    /// Error code of the exception, if it has one.
    pub error_code: Option<u32>,
    /// Value for `CR2` or `DR6`, if not written yet.
    pub payload: Option<u64>,
}

/// An XSAVE area in its standard format (SDM 1, 13.4): 4096 bytes or more, in words of 32 bits.
#[derive(Clone, PartialEq, Eq)]
pub struct Xsave(Vec<u32>);

impl fmt::Debug for Xsave {
    /// Lists the words that are not zero, by byte offset.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = self.0.iter().enumerate().filter(|(_, word)| **word != 0);
        f.debug_map()
            .entries(words.map(|(at, word)| (at.saturating_mul(4), word)))
            .finish()
    }
}

impl Xsave {
    /// Size of the smallest area, in words.
    pub const MIN_WORDS: usize = 1024;

    /// Index of `XSTATE_BV`: the components that are not in their initial state.
    const XSTATE_BV: usize = 128;
    /// Bits of `XSTATE_BV`: the x87 FPU and SSE.
    const X87: u32 = 1 << 0;
    const SSE: u32 = 1 << 1;

    /// An area from its words, padded with zeros to at least [`MIN_WORDS`](Self::MIN_WORDS).
    #[must_use]
    pub fn from_words(mut words: Vec<u32>) -> Self {
        words.resize(words.len().max(Self::MIN_WORDS), 0);
        Self(words)
    }

    /// The words.
    #[must_use]
    pub fn words(&self) -> &[u32] {
        &self.0
    }

    fn word(&self, at: usize) -> u32 {
        self.0.get(at).copied().unwrap_or(0)
    }

    fn set_word(&mut self, at: usize, value: u32, component: u32) {
        if let Some(word) = self.0.get_mut(at) {
            *word = value;
        }
        // For a component that is marked as initial, the contents of the area are ignored.
        if let Some(present) = self.0.get_mut(Self::XSTATE_BV) {
            *present |= component;
        }
    }
}

/// A general-purpose register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "registers, named as in the SDM")]
pub enum Gpr {
    Rax,
    Rbx,
    Rcx,
    Rdx,
    Rsi,
    Rdi,
    Rsp,
    Rbp,
    R8,
    R9,
    R10,
    R11,
    R12,
    R13,
    R14,
    R15,
}

impl Gpr {
    /// All general-purpose registers.
    pub const ALL: [Self; 16] = [
        Self::Rax,
        Self::Rbx,
        Self::Rcx,
        Self::Rdx,
        Self::Rsi,
        Self::Rdi,
        Self::Rsp,
        Self::Rbp,
        Self::R8,
        Self::R9,
        Self::R10,
        Self::R11,
        Self::R12,
        Self::R13,
        Self::R14,
        Self::R15,
    ];
}

/// A segment register, the task register or the local descriptor table register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "registers, named as in the SDM")]
pub enum SegmentName {
    Cs,
    Ds,
    Es,
    Fs,
    Gs,
    Ss,
    Tr,
    Ldtr,
}

impl SegmentName {
    /// All registers of this kind.
    pub const ALL: [Self; 8] = [
        Self::Cs,
        Self::Ds,
        Self::Es,
        Self::Fs,
        Self::Gs,
        Self::Ss,
        Self::Tr,
        Self::Ldtr,
    ];
}

/// A part of a segment register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SegmentField {
    /// The selector, 16 bits.
    Selector,
    /// The base address.
    Base,
    /// The limit in bytes, 32 bits.
    Limit,
    /// The access rights, in the layout of [`AccessRights`].
    Rights,
}

/// A descriptor table register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "registers, named as in the SDM")]
pub enum DescriptorTableRegister {
    Gdtr,
    Idtr,
}

/// A register of a vCPU, of at most 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Register {
    /// A general-purpose register.
    Gpr(Gpr),
    /// The instruction pointer.
    Rip,
    /// The flags.
    Rflags,
    /// A part of a segment register.
    Segment(SegmentName, SegmentField),
    /// The base of a descriptor table.
    TableBase(DescriptorTableRegister),
    /// The limit of a descriptor table, 16 bits.
    TableLimit(DescriptorTableRegister),
    /// Control register 0.
    Cr0,
    /// Control register 2: the address of the last page fault.
    Cr2,
    /// Control register 3: base of the page tables.
    Cr3,
    /// Control register 4.
    Cr4,
    /// Control register 8: the task priority.
    Cr8,
    /// Extended features.
    Efer,
    /// Base and mode of the local APIC.
    ApicBase,
    /// A breakpoint address, 0 to 3.
    Dr(u8),
    /// Debug status.
    Dr6,
    /// Debug control.
    Dr7,
    /// Extended control register 0: enabled state components.
    Xcr0,
    /// x87 control word, 16 bits.
    FpuControl,
    /// x87 status word, 16 bits.
    FpuStatus,
    /// SSE control and status, 32 bits.
    Mxcsr,
    /// The significand of the x87 register `ST(n)`, 0 to 7: its bits 0 to 63.
    Fpr(u8),
    /// Bits 0 to 63 of an SSE register, 0 to 15.
    XmmLow(u8),
    /// Bits 64 to 127 of an SSE register, 0 to 15.
    XmmHigh(u8),
    /// A register of the local APIC, 32 bits.
    Lapic(LapicRegister),
    /// A model-specific register.
    Msr(Msr),
}

/// Failure to access a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// The register does not exist: its number is out of range, or the vCPU does not have the MSR.
    #[error("this vCPU has no register {register:?}")]
    Missing {
        /// The register.
        register: Register,
    },
    /// The value is wider than the register.
    #[error("value {value:#x} does not fit into register {register:?}")]
    TooWide {
        /// The register.
        register: Register,
        /// The value.
        value: u64,
    },
}

impl Register {
    /// The registers of every vCPU, without MSRs.
    pub fn all() -> impl Iterator<Item = Self> {
        use SegmentField::{Base, Limit, Rights, Selector};
        let segments = SegmentName::ALL
            .into_iter()
            .flat_map(|name| [Selector, Base, Limit, Rights].map(|part| Self::Segment(name, part)));
        let tables = [DescriptorTableRegister::Gdtr, DescriptorTableRegister::Idtr]
            .into_iter()
            .flat_map(|name| [Self::TableBase(name), Self::TableLimit(name)]);
        let single = [
            Self::Rip,
            Self::Rflags,
            Self::Cr0,
            Self::Cr2,
            Self::Cr3,
            Self::Cr4,
            Self::Cr8,
            Self::Efer,
            Self::ApicBase,
            Self::Dr6,
            Self::Dr7,
            Self::Xcr0,
            Self::FpuControl,
            Self::FpuStatus,
            Self::Mxcsr,
        ];
        Gpr::ALL
            .into_iter()
            .map(Self::Gpr)
            .chain(segments)
            .chain(tables)
            .chain(single)
            .chain((0..4).map(Self::Dr))
            .chain((0..8).map(Self::Fpr))
            .chain((0..16).flat_map(|n| [Self::XmmLow(n), Self::XmmHigh(n)]))
            .chain(
                (0..0x400)
                    .step_by(16)
                    .filter_map(LapicRegister::at)
                    .map(Self::Lapic),
            )
    }
}

/// Indices of words in the legacy area (SDM 1, table 13-1).
const FCW_FSW: usize = 0;
const MXCSR: usize = 6;
const ST0: usize = 8;
const XMM0: usize = 40;

/// Index of the first word of entry `n` in a table of `count` 16-byte entries.
fn entry(first: usize, n: u8, count: u8) -> Option<usize> {
    (n < count).then(|| first.saturating_add(usize::from(n).saturating_mul(4)))
}

impl VcpuState {
    /// A state of zeros, without MSRs.
    #[cfg(any(test, all(target_os = "linux", target_arch = "x86_64")))]
    pub(crate) fn zeroed() -> Self {
        Self {
            cpu: State::protected_mode(0, 0, 0),
            cr8: 0,
            interrupt_bitmap: [0; 4],
            xcr0: 0,
            xsave: Xsave::from_words(Vec::new()),
            dr: [0; 4],
            dr6: 0,
            dr7: 0,
            lapic: Lapic::default(),
            mp_state: MpState::RUNNABLE,
            events: VcpuEvents::default(),
            msrs: BTreeMap::new(),
        }
    }

    /// The value of `register`; `None` if its number is out of range or the state does not contain the MSR.
    #[must_use]
    pub fn get(&self, register: Register) -> Option<u64> {
        Some(match register {
            Register::Gpr(gpr) => *self.gpr(gpr),
            Register::Rip => self.cpu.rip,
            Register::Rflags => self.cpu.rflags,
            Register::Segment(name, part) => {
                let segment = self.segment(name);
                match part {
                    SegmentField::Selector => segment.selector.into(),
                    SegmentField::Base => segment.base,
                    SegmentField::Limit => segment.limit.into(),
                    SegmentField::Rights => segment.rights.bits().into(),
                }
            }
            Register::TableBase(name) => self.table(name).base,
            Register::TableLimit(name) => self.table(name).limit.into(),
            Register::Cr0 => self.cpu.cr0,
            Register::Cr2 => self.cpu.cr2,
            Register::Cr3 => self.cpu.cr3,
            Register::Cr4 => self.cpu.cr4,
            Register::Cr8 => self.cr8,
            Register::Efer => self.cpu.efer,
            Register::ApicBase => self.cpu.apic_base,
            Register::Dr(n) => *self.dr.get(usize::from(n))?,
            Register::Dr6 => self.dr6,
            Register::Dr7 => self.dr7,
            Register::Xcr0 => self.xcr0,
            Register::FpuControl => u64::from(self.xsave.word(FCW_FSW) & 0xffff),
            Register::FpuStatus => u64::from(self.xsave.word(FCW_FSW) >> 16),
            Register::Mxcsr => self.xsave.word(MXCSR).into(),
            Register::Fpr(n) => self.pair(entry(ST0, n, 8)?),
            Register::XmmLow(n) => self.pair(entry(XMM0, n, 16)?),
            Register::XmmHigh(n) => self.pair(entry(XMM0, n, 16)?.saturating_add(2)),
            Register::Lapic(register) => self.lapic.get(register).into(),
            Register::Msr(msr) => *self.msrs.get(&msr)?,
        })
    }

    /// Sets `register`.
    ///
    /// # Errors
    ///
    /// [`RegisterError`] when the register does not exist or the value does not fit into it. KVM checks the value when the
    /// state is restored.
    pub fn set(&mut self, register: Register, value: u64) -> Result<(), RegisterError> {
        let missing = RegisterError::Missing { register };
        let too_wide = RegisterError::TooWide { register, value };
        let narrow16 = || u16::try_from(value).ok().ok_or(too_wide);
        let narrow32 = || u32::try_from(value).ok().ok_or(too_wide);
        match register {
            Register::Gpr(gpr) => *self.gpr_mut(gpr) = value,
            Register::Rip => self.cpu.rip = value,
            Register::Rflags => self.cpu.rflags = value,
            Register::Segment(name, part) => {
                let segment = self.segment_mut(name);
                match part {
                    SegmentField::Selector => segment.selector = narrow16()?,
                    SegmentField::Base => segment.base = value,
                    SegmentField::Limit => segment.limit = narrow32()?,
                    SegmentField::Rights => segment.rights = AccessRights::from_bits(narrow16()?),
                }
            }
            Register::TableBase(name) => self.table_mut(name).base = value,
            Register::TableLimit(name) => self.table_mut(name).limit = narrow16()?,
            Register::Cr0 => self.cpu.cr0 = value,
            Register::Cr2 => self.cpu.cr2 = value,
            Register::Cr3 => self.cpu.cr3 = value,
            Register::Cr4 => self.cpu.cr4 = value,
            Register::Cr8 => self.cr8 = value,
            Register::Efer => self.cpu.efer = value,
            Register::ApicBase => self.cpu.apic_base = value,
            Register::Dr(n) => *self.dr.get_mut(usize::from(n)).ok_or(missing)? = value,
            Register::Dr6 => self.dr6 = value,
            Register::Dr7 => self.dr7 = value,
            Register::Xcr0 => self.xcr0 = value,
            Register::FpuControl => {
                let status = self.xsave.word(FCW_FSW) & !0xffff;
                self.xsave
                    .set_word(FCW_FSW, status | u32::from(narrow16()?), Xsave::X87);
            }
            Register::FpuStatus => {
                let control = self.xsave.word(FCW_FSW) & 0xffff;
                self.xsave
                    .set_word(FCW_FSW, control | u32::from(narrow16()?) << 16, Xsave::X87);
            }
            Register::Mxcsr => self.xsave.set_word(MXCSR, narrow32()?, Xsave::SSE),
            Register::Fpr(n) => self.set_pair(entry(ST0, n, 8).ok_or(missing)?, value, Xsave::X87),
            Register::XmmLow(n) => self.set_pair(entry(XMM0, n, 16).ok_or(missing)?, value, Xsave::SSE),
            Register::XmmHigh(n) => {
                let at = entry(XMM0, n, 16).ok_or(missing)?.saturating_add(2);
                self.set_pair(at, value, Xsave::SSE);
            }
            Register::Lapic(register) => self.lapic.set(register, narrow32()?),
            Register::Msr(msr) => *self.msrs.get_mut(&msr).ok_or(missing)? = value,
        }
        Ok(())
    }

    fn pair(&self, at: usize) -> u64 {
        u64::from(self.xsave.word(at)) | u64::from(self.xsave.word(at.saturating_add(1))) << 32
    }

    fn set_pair(&mut self, at: usize, value: u64, component: u32) {
        #[expect(
            clippy::as_conversions,
            clippy::cast_possible_truncation,
            reason = "each takes its half"
        )]
        let (low, high) = (value as u32, (value >> 32) as u32);
        self.xsave.set_word(at, low, component);
        self.xsave.set_word(at.saturating_add(1), high, component);
    }

    fn gpr(&self, gpr: Gpr) -> &u64 {
        let cpu = &self.cpu;
        match gpr {
            Gpr::Rax => &cpu.rax,
            Gpr::Rbx => &cpu.rbx,
            Gpr::Rcx => &cpu.rcx,
            Gpr::Rdx => &cpu.rdx,
            Gpr::Rsi => &cpu.rsi,
            Gpr::Rdi => &cpu.rdi,
            Gpr::Rsp => &cpu.rsp,
            Gpr::Rbp => &cpu.rbp,
            Gpr::R8 => &cpu.r8,
            Gpr::R9 => &cpu.r9,
            Gpr::R10 => &cpu.r10,
            Gpr::R11 => &cpu.r11,
            Gpr::R12 => &cpu.r12,
            Gpr::R13 => &cpu.r13,
            Gpr::R14 => &cpu.r14,
            Gpr::R15 => &cpu.r15,
        }
    }

    fn gpr_mut(&mut self, gpr: Gpr) -> &mut u64 {
        let cpu = &mut self.cpu;
        match gpr {
            Gpr::Rax => &mut cpu.rax,
            Gpr::Rbx => &mut cpu.rbx,
            Gpr::Rcx => &mut cpu.rcx,
            Gpr::Rdx => &mut cpu.rdx,
            Gpr::Rsi => &mut cpu.rsi,
            Gpr::Rdi => &mut cpu.rdi,
            Gpr::Rsp => &mut cpu.rsp,
            Gpr::Rbp => &mut cpu.rbp,
            Gpr::R8 => &mut cpu.r8,
            Gpr::R9 => &mut cpu.r9,
            Gpr::R10 => &mut cpu.r10,
            Gpr::R11 => &mut cpu.r11,
            Gpr::R12 => &mut cpu.r12,
            Gpr::R13 => &mut cpu.r13,
            Gpr::R14 => &mut cpu.r14,
            Gpr::R15 => &mut cpu.r15,
        }
    }

    fn segment(&self, name: SegmentName) -> &SegmentRegister {
        let cpu = &self.cpu;
        match name {
            SegmentName::Cs => &cpu.cs,
            SegmentName::Ds => &cpu.ds,
            SegmentName::Es => &cpu.es,
            SegmentName::Fs => &cpu.fs,
            SegmentName::Gs => &cpu.gs,
            SegmentName::Ss => &cpu.ss,
            SegmentName::Tr => &cpu.tr,
            SegmentName::Ldtr => &cpu.ldtr,
        }
    }

    fn segment_mut(&mut self, name: SegmentName) -> &mut SegmentRegister {
        let cpu = &mut self.cpu;
        match name {
            SegmentName::Cs => &mut cpu.cs,
            SegmentName::Ds => &mut cpu.ds,
            SegmentName::Es => &mut cpu.es,
            SegmentName::Fs => &mut cpu.fs,
            SegmentName::Gs => &mut cpu.gs,
            SegmentName::Ss => &mut cpu.ss,
            SegmentName::Tr => &mut cpu.tr,
            SegmentName::Ldtr => &mut cpu.ldtr,
        }
    }

    fn table(&self, name: DescriptorTableRegister) -> &DescriptorTable {
        match name {
            DescriptorTableRegister::Gdtr => &self.cpu.gdtr,
            DescriptorTableRegister::Idtr => &self.cpu.idtr,
        }
    }

    fn table_mut(&mut self, name: DescriptorTableRegister) -> &mut DescriptorTable {
        match name {
            DescriptorTableRegister::Gdtr => &mut self.cpu.gdtr,
            DescriptorTableRegister::Idtr => &mut self.cpu.idtr,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn state_with_msr() -> VcpuState {
        VcpuState {
            msrs: BTreeMap::from([(Msr::LSTAR, 0)]),
            ..VcpuState::zeroed()
        }
    }

    /// Every register is stored separately: after writes of different values to all of them, reads give each value.
    #[test]
    fn registers_do_not_overlap() {
        let mut state = state_with_msr();
        let registers: Vec<_> = Register::all().chain([Register::Msr(Msr::LSTAR)]).collect();
        assert_eq!(registers.iter().collect::<HashSet<_>>().len(), registers.len());
        for (value, &register) in (0x81..).zip(&registers) {
            // Bits 8 to 11 of access rights are always zero; the values stay clear of them.
            let value = value & 0xff | value >> 8 << 12;
            state.set(register, value).unwrap();
        }
        for (value, &register) in (0x81..).zip(&registers) {
            assert_eq!(
                state.get(register),
                Some(value & 0xff | value >> 8 << 12),
                "{register:?}"
            );
        }
    }

    #[test]
    fn widths_and_numbers_are_checked() {
        let check = |register, value, expected: Result<(), RegisterError>| {
            let mut state = state_with_msr();
            let before = state.clone();
            assert_eq!(state.set(register, value), expected, "{register:?}");
            if expected.is_err() {
                assert_eq!(state, before, "a refused value changes nothing");
            }
        };
        let too_wide = |register, value| Err(RegisterError::TooWide { register, value });
        let missing = |register| Err(RegisterError::Missing { register });
        check(Register::Gpr(Gpr::R15), u64::MAX, Ok(()));
        let selector = Register::Segment(SegmentName::Gs, SegmentField::Selector);
        check(selector, 0xffff, Ok(()));
        check(selector, 0x1_0000, too_wide(selector, 0x1_0000));
        let limit = Register::Segment(SegmentName::Tr, SegmentField::Limit);
        check(limit, 0x1_0000_0000, too_wide(limit, 0x1_0000_0000));
        for register in [Register::Mxcsr, Register::Lapic(LapicRegister::TPR)] {
            check(register, u64::MAX, too_wide(register, u64::MAX));
        }
        for register in [
            Register::FpuControl,
            Register::FpuStatus,
            Register::TableLimit(DescriptorTableRegister::Idtr),
        ] {
            check(register, 0x1_0000, too_wide(register, 0x1_0000));
        }
        for register in [
            Register::Dr(4),
            Register::Fpr(8),
            Register::XmmLow(16),
            Register::XmmHigh(255),
            Register::Msr(Msr::STAR),
        ] {
            check(register, 0, missing(register));
            assert_eq!(state_with_msr().get(register), None);
        }
    }

    #[test]
    fn fpu_registers_lie_where_fxsave_puts_them() {
        let mut state = state_with_msr();
        let check = |state: &mut VcpuState, register, value: u64, byte: usize, component: u32| {
            state.set(register, value).unwrap();
            let words = state.xsave.words();
            assert_eq!(
                words[byte / 4],
                u32::try_from(value & 0xffff_ffff).unwrap(),
                "{register:?}"
            );
            assert_eq!(
                words[128] & component,
                component,
                "{register:?} is marked as present"
            );
        };
        check(&mut state, Register::Mxcsr, 0x1f80, 24, 2);
        check(&mut state, Register::Fpr(7), 7, 32 + 7 * 16, 1);
        check(&mut state, Register::XmmLow(15), 15, 160 + 15 * 16, 2);
        check(&mut state, Register::XmmHigh(1), 1, 160 + 16 + 8, 2);
        check(&mut state, Register::FpuControl, 0x37f, 0, 1);
        state.set(Register::FpuStatus, 0x4000).unwrap();
        assert_eq!(state.xsave.words()[0], 0x4000_037f);
    }
}
