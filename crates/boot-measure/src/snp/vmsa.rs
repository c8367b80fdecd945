//! Save areas of vCPUs (AMD APM volume 2, appendix B, table B-4, "VMSA Layout, State Save Area for SEV-ES").

use boot_core::cpu::x86_64::{DescriptorTable, SegmentRegister, State, cr0};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::CpuSignature;

/// The guest physical address with which KVM adds save areas to a launch: the highest page of 48 bits.
pub const VMSA_GPA: u64 = 0x0000_ffff_ffff_f000;

/// The address at which the boot CPU starts with firmware.
pub const RESET_VECTOR: u32 = 0xffff_fff0;

/// `EFER.SVME`, which a processor with SEV needs in its guests (AMD APM volume 2, section 15.4).
const EFER_SVME: u64 = 1 << 12;
/// `CR4.MCE`, which KVM sets as on the host.
const CR4_MCE: u64 = 1 << 6;

/// `SEV_FEATURES` of a save area (AMD APM volume 2, table B-4, offset 3B0h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SevFeatures(pub u64);

impl SevFeatures {
    /// `SNPActive` only.
    pub const SNP_ACTIVE: Self = Self(1);
    /// `SNPActive` and `DebugVirtualization`, the features of Linux 6.11's default.
    pub const SNP_DEBUG_VIRTUALIZATION: Self = Self(0x21);
}

/// The VMM that launches a guest. VMMs differ in a few registers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Vmm {
    /// QEMU, and others that leave the registers as KVM resets them.
    #[default]
    Qemu,
    /// Amazon EC2, as sev-snp-measure 0.0.13 has it. The crate `sev` 8.0.0 differs: zero in `rdx` in place of 600h.
    Ec2,
    /// Google Compute Engine.
    Gce,
}

#[derive(Clone, Copy, FromZeros, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Segment {
    selector: U16,
    attributes: U16,
    limit: U32,
    base: U64,
}

impl Segment {
    fn new(segment: SegmentRegister) -> Self {
        // Bits 0 to 7 of the access rights are those of a descriptor, and bits 12 to 15 follow them at once.
        let rights = segment.rights.bits();
        Self {
            selector: U16::new(segment.selector),
            attributes: U16::new(rights & 0xff | rights >> 4 & 0xf00),
            limit: U32::new(segment.limit),
            base: U64::new(segment.base),
        }
    }

    fn table(table: DescriptorTable) -> Self {
        Self {
            selector: U16::ZERO,
            attributes: U16::ZERO,
            limit: U32::new(table.limit.into()),
            base: U64::new(table.base),
        }
    }
}

#[derive(Clone, FromZeros, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct SaveArea {
    es: Segment,
    cs: Segment,
    ss: Segment,
    ds: Segment,
    fs: Segment,
    gs: Segment,
    gdtr: Segment,
    ldtr: Segment,
    idtr: Segment,
    tr: Segment,
    reserved_0a0: [u8; 0xcb - 0xa0],
    cpl: u8,
    reserved_0cc: [u8; 4],
    efer: U64,
    reserved_0d8: [u8; 0x148 - 0xd8],
    cr4: U64,
    cr3: U64,
    cr0: U64,
    dr7: U64,
    dr6: U64,
    rflags: U64,
    rip: U64,
    reserved_180: [u8; 0x1d8 - 0x180],
    rsp: U64,
    reserved_1e0: [u8; 0x1f8 - 0x1e0],
    rax: U64,
    reserved_200: [u8; 0x240 - 0x200],
    cr2: U64,
    reserved_248: [u8; 0x268 - 0x248],
    g_pat: U64,
    reserved_270: [u8; 0x308 - 0x270],
    rcx: U64,
    rdx: U64,
    rbx: U64,
    reserved_320: [u8; 8],
    rbp: U64,
    rsi: U64,
    rdi: U64,
    r8_to_r15: [U64; 8],
    reserved_380: [u8; 0x3b0 - 0x380],
    sev_features: U64,
    reserved_3b8: [u8; 0x3e8 - 0x3b8],
    xcr0: U64,
    reserved_3f0: [u8; 0x408 - 0x3f0],
    mxcsr: U32,
    x87_ftw: U16,
    x87_fsw: U16,
    x87_fcw: U16,
    rest: [u8; 0x1000 - 0x412],
}

const _: () = assert!(
    size_of::<SaveArea>() == 0x1000
        && core::mem::offset_of!(SaveArea, tr) == 0x90
        && core::mem::offset_of!(SaveArea, efer) == 0xd0
        && core::mem::offset_of!(SaveArea, rflags) == 0x170
        && core::mem::offset_of!(SaveArea, g_pat) == 0x268
        && core::mem::offset_of!(SaveArea, rcx) == 0x308
        && core::mem::offset_of!(SaveArea, r8_to_r15) == 0x340
        && core::mem::offset_of!(SaveArea, sev_features) == 0x3b0
        && core::mem::offset_of!(SaveArea, xcr0) == 0x3e8
        && core::mem::offset_of!(SaveArea, x87_fcw) == 0x410
);

/// The save area of a vCPU, as the VMM hands it to the security processor.
#[derive(Clone)]
pub struct Vmsa(SaveArea);

impl Vmsa {
    /// The save area of a vCPU in this state.
    ///
    /// Registers that are not part of a [`State`] have the values of KVM after a reset, and bits that KVM sets itself are set:
    /// `EFER.SVME` and `CR4.MCE`. `CR0.CD` and `CR0.NW` are clear.
    #[must_use]
    pub fn new(state: &State, features: SevFeatures, vmm: Vmm) -> Self {
        let mut area = SaveArea::new_zeroed();
        area.es = Segment::new(state.es);
        area.cs = Segment::new(state.cs);
        area.ss = Segment::new(state.ss);
        area.ds = Segment::new(state.ds);
        area.fs = Segment::new(state.fs);
        area.gs = Segment::new(state.gs);
        area.gdtr = Segment::table(state.gdtr);
        area.ldtr = Segment::new(state.ldtr);
        area.idtr = Segment::table(state.idtr);
        area.tr = Segment::new(state.tr);
        area.cpl = state.ss.rights.dpl();
        for (register, value) in [
            (&mut area.efer, state.efer | EFER_SVME),
            (&mut area.cr4, state.cr4 | CR4_MCE),
            (&mut area.cr3, state.cr3),
            (&mut area.cr2, state.cr2),
            (&mut area.cr0, state.cr0 & !(cr0::CD | cr0::NW)),
            (&mut area.dr7, 0x400),
            (&mut area.dr6, 0xffff_0ff0),
            (&mut area.rflags, state.rflags),
            (&mut area.rip, state.rip),
            (&mut area.rsp, state.rsp),
            (&mut area.rax, state.rax),
            (&mut area.rcx, state.rcx),
            (&mut area.rdx, state.rdx),
            (&mut area.rbx, state.rbx),
            (&mut area.rbp, state.rbp),
            (&mut area.rsi, state.rsi),
            (&mut area.rdi, state.rdi),
            (&mut area.sev_features, features.0),
            // x87 state is always enabled.
            (&mut area.xcr0, 1),
            // The memory types of PAT after a reset (AMD APM volume 2, section 7.8.2).
            (&mut area.g_pat, 0x0007_0406_0007_0406),
        ] {
            *register = U64::new(value);
        }
        area.r8_to_r15 = [
            state.r8, state.r9, state.r10, state.r11, state.r12, state.r13, state.r14, state.r15,
        ]
        .map(U64::new);
        area.mxcsr = U32::new(0x1f80);
        area.x87_fcw = U16::new(0x37f);
        if vmm == Vmm::Gce {
            area.g_pat = U64::new(0x0007_0106);
        }
        if vmm != Vmm::Qemu {
            area.mxcsr = U32::ZERO;
            area.x87_fcw = U16::ZERO;
        }
        Self(area)
    }

    /// The save area of a vCPU that starts in real mode at `eip` with firmware: [`RESET_VECTOR`] for the boot CPU.
    #[must_use]
    pub fn at_reset(eip: u32, signature: CpuSignature, features: SevFeatures, vmm: Vmm) -> Self {
        let signature = match vmm {
            Vmm::Qemu => signature,
            // The signature that KVM has before the VMM sets CPUID.
            Vmm::Ec2 | Vmm::Gce => CpuSignature(0x600),
        };
        let mut vmsa = Self::new(&reset_state(eip, signature), features, vmm);
        if vmm == Vmm::Ec2 {
            if eip == RESET_VECTOR {
                vmsa.0.cs.attributes = U16::new(0x9a);
            }
            vmsa.0.ss.attributes = U16::new(0x92);
            vmsa.0.tr.attributes = U16::new(0x83);
        }
        vmsa
    }

    /// The bytes of the page.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 4096] {
        zerocopy::transmute_ref!(&self.0)
    }
}

impl core::fmt::Debug for Vmsa {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Vmsa({:#x}:{:#x})", self.0.cs.base.get(), self.0.rip.get())
    }
}

/// A reset CPU that starts at `eip`.
pub(super) fn reset_state(eip: u32, signature: CpuSignature) -> State {
    let mut state = State::reset();
    state.cs.base = u64::from(eip & 0xffff_0000);
    state.rip = u64::from(eip & 0xffff);
    state.rdx = signature.0.into();
    state
}
