//! Entry state of an x86 CPU in protected mode or long mode.
//!
//! Section numbers are those of the Intel SDM, volume 3A, unless another volume is given.

/// Bits of `CR0` (SDM 2.5).
pub mod cr0 {
    /// Protection enable.
    pub const PE: u64 = 1 << 0;
    /// Monitor coprocessor.
    pub const MP: u64 = 1 << 1;
    /// Task switched: floating-point and vector instructions are exceptions.
    pub const TS: u64 = 1 << 3;
    /// Extension type: hard-wired to one since the P6 family.
    pub const ET: u64 = 1 << 4;
    /// Numeric error.
    pub const NE: u64 = 1 << 5;
    /// Write protect.
    pub const WP: u64 = 1 << 16;
    /// Alignment mask.
    pub const AM: u64 = 1 << 18;
    /// Not write-through.
    pub const NW: u64 = 1 << 29;
    /// Cache disable.
    pub const CD: u64 = 1 << 30;
    /// Paging.
    pub const PG: u64 = 1 << 31;
}

/// Bits of `CR4` (SDM 2.5).
pub mod cr4 {
    /// Physical address extension.
    pub const PAE: u64 = 1 << 5;
    /// Operating system support for `FXSAVE` and `FXRSTOR`, and SSE instructions.
    pub const OSFXSR: u64 = 1 << 9;
    /// Operating system support for unmasked SIMD floating-point exceptions.
    pub const OSXMMEXCPT: u64 = 1 << 10;
    /// 57-bit linear addresses: five paging levels.
    pub const LA57: u64 = 1 << 12;
    /// The instructions `RDFSBASE`, `RDGSBASE`, `WRFSBASE` and `WRGSBASE`.
    pub const FSGSBASE: u64 = 1 << 16;
    /// Operating system support for `XSAVE` and `XCR0`.
    pub const OSXSAVE: u64 = 1 << 18;
}

/// Bits of `IA32_EFER` (SDM 2.2.1).
pub mod efer {
    /// Long mode enable.
    pub const LME: u64 = 1 << 8;
    /// Long mode active.
    pub const LMA: u64 = 1 << 10;
    /// No-execute enable.
    pub const NXE: u64 = 1 << 11;
}

/// Bits of `IA32_APIC_BASE` (SDM 12.4.4 and 12.12.1).
///
/// Bits 12 and up are the physical address of the local APIC's registers, bits of a page number.
pub mod apic_base {
    /// The CPU is the bootstrap processor.
    pub const BSP: u64 = 1 << 8;
    /// The local APIC is in x2APIC mode, which also needs [`ENABLE`].
    pub const X2APIC: u64 = 1 << 10;
    /// The local APIC is enabled.
    pub const ENABLE: u64 = 1 << 11;
    /// The address after reset.
    pub const RESET_ADDRESS: u64 = 0xfee0_0000;
    /// The value of the bootstrap processor after reset.
    pub const RESET_BSP: u64 = RESET_ADDRESS | ENABLE | BSP;
}

/// Numbers of the MSRs in [`BOOT_MSRS`] (SDM volume 4, chapter 2).
pub mod msr {
    /// `IA32_MISC_ENABLE`.
    pub const MISC_ENABLE: u32 = 0x1a0;
    /// `IA32_MTRR_DEF_TYPE`.
    pub const MTRR_DEF_TYPE: u32 = 0x2ff;
}

/// MSRs that firmware sets before it starts an operating system, with values that differ from those after reset, as
/// (number, value):
///
/// - `IA32_MISC_ENABLE`: fast string operations are enabled;
/// - `IA32_MTRR_DEF_TYPE`: ranges are enabled, and the default memory type is write-back; after reset, memory is uncacheable
///   (SDM 13.11.2.1).
///
/// `IA32_EFER` and `IA32_APIC_BASE` are fields of [`State`].
pub const BOOT_MSRS: [(u32, u64); 2] = [(msr::MISC_ENABLE, 1), (msr::MTRR_DEF_TYPE, 0x806)];

/// `RFLAGS` with every flag clear; bit 1 is always one (SDM volume 1, 3.4.3).
pub const RFLAGS_CLEAR: u64 = 0x2;

/// A segment's access rights, in the layout of bits 40 to 55 of its descriptor (SDM 3.4.5).
///
/// Bits 0 to 3 are the type, bit 4 is `S`, bits 5 and 6 are `DPL`, bit 7 is `P`, bit 12 is `AVL`, bit 13 is `L`,
/// bit 14 is `D/B` and bit 15 is `G`. Bits 8 to 11 belong to the limit and are zero here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(from = "u16")
)]
pub struct AccessRights(u16);

impl AccessRights {
    /// Execute/read code, accessed, 16-bit, byte granular: `CS` after reset.
    pub const CODE16: Self = Self(0x009b);
    /// Read/write data, accessed, 16-bit, byte granular: the data segments after reset.
    pub const DATA16: Self = Self(0x0093);
    /// Execute/read code, accessed, 32-bit, 4 KiB granular.
    pub const CODE32: Self = Self(0xc09b);
    /// Execute/read code, accessed, 64-bit, 4 KiB granular.
    pub const CODE64: Self = Self(0xa09b);
    /// Read/write data, accessed, 32-bit, 4 KiB granular.
    pub const DATA32: Self = Self(0xc093);
    /// Busy 32-bit task state segment, byte granular.
    pub const TSS32_BUSY: Self = Self(0x008b);
    /// Busy 64-bit task state segment, byte granular. Its type is that of [`TSS32_BUSY`](Self::TSS32_BUSY): in long
    /// mode, the CPU interprets it as 64-bit (SDM 3.5).
    pub const TSS64_BUSY: Self = Self(0x008b);
    /// Local descriptor table, byte granular.
    pub const LDT: Self = Self(0x0082);

    /// Access rights from descriptor bits 40 to 55; the limit bits 8 to 11 are dropped.
    #[must_use]
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits & 0xf0ff)
    }

    /// Bits 40 to 55 of the descriptor, with zero in the limit bits 8 to 11.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Segment type, 0 to 15.
    #[must_use]
    pub const fn segment_type(self) -> u8 {
        self.low() & 0xf
    }

    /// `S`: a code or data segment rather than a system segment.
    #[must_use]
    pub const fn is_code_or_data(self) -> bool {
        self.0 & (1 << 4) != 0
    }

    /// Descriptor privilege level, 0 to 3.
    #[must_use]
    pub const fn dpl(self) -> u8 {
        (self.low() >> 5) & 3
    }

    /// `P`: present.
    #[must_use]
    pub const fn is_present(self) -> bool {
        self.0 & (1 << 7) != 0
    }

    /// `AVL`: available for software.
    #[must_use]
    pub const fn available(self) -> bool {
        self.0 & (1 << 12) != 0
    }

    /// `L`: 64-bit code.
    #[must_use]
    pub const fn is_long(self) -> bool {
        self.0 & (1 << 13) != 0
    }

    /// `D/B`: 32-bit default operand size (code) or stack pointer (data).
    #[must_use]
    pub const fn default_big(self) -> bool {
        self.0 & (1 << 14) != 0
    }

    /// `G`: the limit counts 4 KiB pages.
    #[must_use]
    pub const fn is_page_granular(self) -> bool {
        self.0 & (1 << 15) != 0
    }

    const fn low(self) -> u8 {
        self.0.to_le_bytes()[0]
    }
}

impl From<u16> for AccessRights {
    fn from(bits: u16) -> Self {
        Self::from_bits(bits)
    }
}

/// A segment register: the selector, and the descriptor that the CPU has loaded with it (the hidden part, SDM 3.4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct SegmentRegister {
    /// Selector.
    pub selector: u16,
    /// Linear base address.
    pub base: u64,
    /// Limit in bytes: the last valid offset, after granularity is applied.
    pub limit: u32,
    /// Access rights.
    pub rights: AccessRights,
}

impl SegmentRegister {
    /// A segment register with these parts.
    #[must_use]
    pub const fn new(selector: u16, base: u64, limit: u32, rights: AccessRights) -> Self {
        Self {
            selector,
            base,
            limit,
            rights,
        }
    }

    /// A flat segment: base 0, limit 4 GiB - 1.
    #[must_use]
    pub const fn flat(selector: u16, rights: AccessRights) -> Self {
        Self {
            selector,
            base: 0,
            limit: u32::MAX,
            rights,
        }
    }

    /// The descriptor for a GDT from which the CPU loads this base, limit and access rights (SDM 3.4.5).
    ///
    /// The descriptor has bits 0 to 31 of the base. It has 20 bits of the limit, which count 4 KiB pages if `G` is set,
    /// else bytes. Other bits are dropped.
    #[must_use]
    pub const fn descriptor(&self) -> u64 {
        #[expect(clippy::as_conversions, reason = "`From` is not const; this widens")]
        let (limit, rights) = (self.limit as u64, self.rights.bits() as u64);
        let limit = if self.rights.is_page_granular() {
            limit >> 12
        } else {
            limit
        };
        (limit & 0xffff)
            | (self.base & 0x00ff_ffff) << 16
            | rights << 40
            | (limit & 0xf_0000) << 32
            | (self.base & 0xff00_0000) << 32
    }
}

/// A descriptor table register: GDTR or IDTR (SDM 2.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct DescriptorTable {
    /// Linear address of the table.
    pub base: u64,
    /// Size of the table in bytes, minus one.
    pub limit: u16,
}

impl DescriptorTable {
    /// The register for a table at `base` whose last byte is at `base + limit`.
    #[must_use]
    pub const fn new(base: u64, limit: u16) -> Self {
        Self { base, limit }
    }
}

/// The registers of an x86 CPU that boot protocols specify.
///
/// The fields are the registers of the same names in the SDM; `efer` is the MSR `IA32_EFER`, and `apic_base` is
/// `IA32_APIC_BASE`. [`State::msrs`] are further MSRs of a boot. All other state (FPU, debug registers, other registers of the
/// local APIC) is that after reset.
///
/// ```
/// use boot_core::cpu::x86_64::{State, apic_base};
///
/// // A machine with APIC ids above 254 starts in x2APIC mode.
/// let mut state = State::long_mode(0x100_0000, 0x9000, 0x10, 0x18);
/// state.apic_base |= apic_base::X2APIC;
/// assert_eq!(state.apic_base, 0xfee0_0d00);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[expect(missing_docs, reason = "registers, named as in the SDM")]
#[non_exhaustive]
pub struct State {
    pub rax: u64,
    pub rbx: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rsp: u64,
    pub rbp: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    pub rip: u64,
    pub rflags: u64,
    pub cs: SegmentRegister,
    pub ds: SegmentRegister,
    pub es: SegmentRegister,
    pub fs: SegmentRegister,
    pub gs: SegmentRegister,
    pub ss: SegmentRegister,
    pub tr: SegmentRegister,
    pub ldtr: SegmentRegister,
    pub gdtr: DescriptorTable,
    pub idtr: DescriptorTable,
    pub cr0: u64,
    pub cr2: u64,
    pub cr3: u64,
    pub cr4: u64,
    pub efer: u64,
    /// `IA32_APIC_BASE` ([`apic_base`]); the constructors set the value of the bootstrap processor after reset.
    pub apic_base: u64,
}

impl State {
    /// A CPU after power-up or reset (SDM table 11-1): in real mode, with the first instruction at 4 GiB - 16. `RDX`, which
    /// identifies the CPU after reset, is zero.
    #[must_use]
    pub fn reset() -> Self {
        let mut state = Self::protected_mode(0xfff0, 0, 0);
        let data = SegmentRegister::new(0, 0, 0xffff, AccessRights::DATA16);
        state.cs = SegmentRegister::new(0xf000, 0xffff_0000, 0xffff, AccessRights::CODE16);
        state.ds = data;
        state.es = data;
        state.fs = data;
        state.gs = data;
        state.ss = data;
        state.tr.limit = 0xffff;
        state.gdtr.limit = 0xffff;
        state.idtr.limit = 0xffff;
        state.cr0 = cr0::CD | cr0::NW | cr0::ET;
        state
    }

    /// The MSRs for the boot, other than those in fields, as (number, value): [`BOOT_MSRS`].
    #[must_use]
    pub const fn msrs(&self) -> [(u32, u64); 2] {
        BOOT_MSRS
    }

    /// A CPU in flat 32-bit protected mode at `eip`: paging off, interrupts off, general registers zero.
    ///
    /// `code` and `data` are the selectors of `CS` and of the data segments. `gdtr` and `idtr` are zero: a protocol that
    /// requires a GDT sets `gdtr`.
    #[must_use]
    pub fn protected_mode(eip: u32, code: u16, data: u16) -> Self {
        let data = SegmentRegister::flat(data, AccessRights::DATA32);
        Self {
            rax: 0,
            rbx: 0,
            rcx: 0,
            rdx: 0,
            rsi: 0,
            rdi: 0,
            rsp: 0,
            rbp: 0,
            r8: 0,
            r9: 0,
            r10: 0,
            r11: 0,
            r12: 0,
            r13: 0,
            r14: 0,
            r15: 0,
            rip: u64::from(eip),
            rflags: RFLAGS_CLEAR,
            cs: SegmentRegister::flat(code, AccessRights::CODE32),
            ds: data,
            es: data,
            fs: data,
            gs: data,
            ss: data,
            tr: SegmentRegister::new(0, 0, 0x67, AccessRights::TSS32_BUSY),
            ldtr: SegmentRegister::new(0, 0, 0xffff, AccessRights::LDT),
            gdtr: DescriptorTable::default(),
            idtr: DescriptorTable::default(),
            cr0: cr0::PE | cr0::ET,
            cr2: 0,
            cr3: 0,
            cr4: 0,
            efer: 0,
            apic_base: apic_base::RESET_BSP,
        }
    }

    /// A CPU in 64-bit mode at `rip` with four-level page tables at the physical address `cr3`: interrupts off, general
    /// registers zero.
    ///
    /// `code` and `data` are the selectors of `CS` and of the data segments. `gdtr` and `idtr` are zero: a protocol that
    /// requires a GDT sets `gdtr`.
    #[must_use]
    pub fn long_mode(rip: u64, cr3: u64, code: u16, data: u16) -> Self {
        let mut state = Self::protected_mode(0, code, data);
        state.rip = rip;
        state.cs = SegmentRegister::flat(code, AccessRights::CODE64);
        state.tr.rights = AccessRights::TSS64_BUSY;
        state.cr0 |= cr0::PG;
        state.cr3 = cr3;
        state.cr4 = cr4::PAE;
        state.efer = efer::LME | efer::LMA;
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_match_the_values_linux_documents() {
        // GDT_ENTRY(flags, base, limit) of the kernel's own boot code gives these for flat segments.
        let check = |segment: SegmentRegister, expected: u64| assert_eq!(segment.descriptor(), expected);
        check(
            SegmentRegister::flat(0x10, AccessRights::CODE64),
            0x00af_9b00_0000_ffff,
        );
        check(
            SegmentRegister::flat(0x10, AccessRights::CODE32),
            0x00cf_9b00_0000_ffff,
        );
        check(
            SegmentRegister::flat(0x18, AccessRights::DATA32),
            0x00cf_9300_0000_ffff,
        );
        let tss = SegmentRegister::new(0x20, 0x1234_5678, 0x67, AccessRights::TSS32_BUSY);
        check(tss, 0x1200_8b34_5678_0067);
    }

    #[test]
    fn access_rights_take_their_bits_apart() {
        let code = AccessRights::CODE64;
        assert_eq!(code.segment_type(), 0xb);
        assert!(code.is_code_or_data() && code.is_present() && code.is_long() && code.is_page_granular());
        assert!(!code.default_big() && !code.available());
        assert_eq!(AccessRights::from_bits(0x0fff).bits(), 0x00ff);
        assert_eq!(AccessRights::from_bits(0x60).dpl(), 3);
    }

    #[test]
    fn each_access_right_is_one_bit() {
        type Flag = fn(AccessRights) -> bool;
        let flags: [(u16, Flag); 6] = [
            (4, AccessRights::is_code_or_data),
            (7, AccessRights::is_present),
            (12, AccessRights::available),
            (13, AccessRights::is_long),
            (14, AccessRights::default_big),
            (15, AccessRights::is_page_granular),
        ];
        for (bit, flag) in flags {
            assert!(flag(AccessRights::from_bits(1 << bit)), "{bit}");
            assert!(!flag(AccessRights::from_bits(!(1 << bit))), "{bit}");
        }
        let rights = AccessRights::from_bits(0xf02a);
        assert_eq!((rights.segment_type(), rights.dpl()), (0xa, 1));
    }

    #[test]
    fn a_descriptor_has_all_parts_of_the_register() {
        let check = |base, limit, rights, expected: u64| {
            let segment = SegmentRegister::new(0, base, limit, AccessRights::from_bits(rights));
            assert_eq!(segment.descriptor(), expected, "{segment:?}");
        };
        // Intel SDM volume 3A, figure 3-8: limit in bits 0 to 15 and 48 to 51, base in bits 16 to 39 and 56 to 63.
        check(0, 0xf_ffff, 0, 0x000f_0000_0000_ffff);
        check(0xffff_ffff, 0, 0, 0xff00_00ff_ffff_0000);
        check(0, 0, 0xf0ff, 0x00f0_ff00_0000_0000);
        check(0, 0x1234_5fff, 1 << 15, 0x0081_0000_0000_2345);
    }

    #[test]
    fn modes_differ_in_control_registers_and_code_segment() {
        let state = State::protected_mode(0x10_0000, 0x8, 0x10);
        assert_eq!((state.rip, state.rflags, state.rsi), (0x10_0000, 2, 0));
        assert_eq!((state.cr0, state.cr3, state.cr4, state.efer), (0x11, 0, 0, 0));
        assert_eq!(state.cs, SegmentRegister::flat(0x8, AccessRights::CODE32));
        for data in [state.ds, state.es, state.fs, state.gs, state.ss] {
            assert_eq!(data, SegmentRegister::flat(0x10, AccessRights::DATA32));
        }
        assert_eq!((state.tr.limit, state.ldtr.limit), (0x67, 0xffff));
        assert_eq!(state.gdtr, DescriptorTable::new(0, 0));

        let state = State::long_mode(1 << 32, 0x9000, 0x8, 0x10);
        assert_eq!((state.rip, state.cr3), (1 << 32, 0x9000));
        assert_eq!((state.cr0, state.cr4, state.efer), (0x8000_0011, 0x20, 0x500));
        assert_eq!(state.cs, SegmentRegister::flat(0x8, AccessRights::CODE64));
        assert_eq!(state.ds, SegmentRegister::flat(0x10, AccessRights::DATA32));
    }

    #[test]
    fn a_reset_cpu_has_the_registers_of_the_manual() {
        let state = State::reset();
        assert_eq!((state.rip, state.rflags, state.cr0), (0xfff0, 2, 0x6000_0010));
        assert_eq!((state.cr3, state.cr4, state.efer), (0, 0, 0));
        assert_eq!((state.cs.selector, state.cs.base), (0xf000, 0xffff_0000));
        for segment in [state.cs, state.ds, state.es, state.fs, state.gs, state.ss] {
            assert_eq!(segment.limit, 0xffff);
            assert!(segment.rights.is_present() && !segment.rights.default_big());
        }
        assert_eq!(state.cs.rights.segment_type(), 0xb);
        for segment in [state.ds, state.es, state.fs, state.gs, state.ss] {
            assert_eq!((segment.selector, segment.base), (0, 0));
            assert_eq!(segment.rights.segment_type(), 3);
        }
        assert_eq!((state.tr.limit, state.ldtr.limit), (0xffff, 0xffff));
        assert_eq!(
            (state.tr.rights, state.ldtr.rights),
            (AccessRights::TSS32_BUSY, AccessRights::LDT)
        );
        assert_eq!(
            (state.gdtr, state.idtr),
            (DescriptorTable::new(0, 0xffff), DescriptorTable::new(0, 0xffff))
        );
        assert_eq!(state.apic_base, 0xfee0_0900);
        assert_eq!(state.msrs(), [(0x1a0, 1), (0x2ff, 0x806)]);
    }

    #[test]
    fn control_register_bits_are_those_of_the_manual() {
        assert_eq!(
            [cr0::PE, cr0::MP, cr0::ET, cr0::NE, cr0::WP, cr0::AM, cr0::PG],
            [0x1, 0x2, 0x10, 0x20, 0x1_0000, 0x4_0000, 0x8000_0000]
        );
        assert_eq!([cr0::NW, cr0::CD], [0x2000_0000, 0x4000_0000]);
        let bits = [apic_base::BSP, apic_base::X2APIC, apic_base::ENABLE];
        assert_eq!(bits, [0x100, 0x400, 0x800]);
        let bits = [cr4::PAE, cr4::OSFXSR, cr4::OSXMMEXCPT, cr4::LA57];
        assert_eq!(bits, [0x20, 0x200, 0x400, 0x1000]);
        assert_eq!([efer::LME, efer::LMA, efer::NXE], [0x100, 0x400, 0x800]);
    }

    #[test]
    fn parts_of_registers_are_kept() {
        let segment = SegmentRegister::new(1, 2, 3, AccessRights::LDT);
        assert_eq!((segment.selector, segment.base, segment.limit), (1, 2, 3));
        assert_eq!(segment.rights, AccessRights::LDT);
        let table = DescriptorTable::new(4, 5);
        assert_eq!((table.base, table.limit), (4, 5));
    }
}
