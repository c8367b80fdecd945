//! Registers of x86_64 vCPUs, as structures of KVM.

use boot_core::cpu::x86_64::{AccessRights, DescriptorTable, SegmentRegister, State};
use kvm_bindings::{kvm_dtable, kvm_fpu, kvm_msr_entry, kvm_regs, kvm_segment, kvm_sregs};

/// The general registers of a state, for `KVM_SET_REGS`.
#[must_use]
pub fn regs(state: &State) -> kvm_regs {
    kvm_regs {
        rax: state.rax,
        rbx: state.rbx,
        rcx: state.rcx,
        rdx: state.rdx,
        rsi: state.rsi,
        rdi: state.rdi,
        rsp: state.rsp,
        rbp: state.rbp,
        r8: state.r8,
        r9: state.r9,
        r10: state.r10,
        r11: state.r11,
        r12: state.r12,
        r13: state.r13,
        r14: state.r14,
        r15: state.r15,
        rip: state.rip,
        rflags: state.rflags,
    }
}

/// Writes the system registers of a state to `sregs`, for `KVM_SET_SREGS`: segments, descriptor tables, control registers,
/// `EFER` and the APIC base. `CR8` and the pending interrupts do not change.
///
/// KVM accepts x2APIC mode only if the CPUID table of the vCPU has it. The entry state of a plan is that of the bootstrap
/// processor: its APIC base has the bit `BSP`, which other vCPUs must not have.
pub fn write_sregs(state: &State, sregs: &mut kvm_sregs) {
    sregs.cs = to_segment(&state.cs);
    sregs.ds = to_segment(&state.ds);
    sregs.es = to_segment(&state.es);
    sregs.fs = to_segment(&state.fs);
    sregs.gs = to_segment(&state.gs);
    sregs.ss = to_segment(&state.ss);
    sregs.tr = to_segment(&state.tr);
    sregs.ldt = to_segment(&state.ldtr);
    sregs.gdt = to_table(&state.gdtr);
    sregs.idt = to_table(&state.idtr);
    sregs.cr0 = state.cr0;
    sregs.cr2 = state.cr2;
    sregs.cr3 = state.cr3;
    sregs.cr4 = state.cr4;
    sregs.efer = state.efer;
    sregs.apic_base = state.apic_base;
}

/// The state in the structures of `KVM_GET_REGS` and `KVM_GET_SREGS`.
#[must_use]
pub fn state(regs: &kvm_regs, sregs: &kvm_sregs) -> State {
    let mut state = State::protected_mode(0, 0, 0);
    state.rax = regs.rax;
    state.rbx = regs.rbx;
    state.rcx = regs.rcx;
    state.rdx = regs.rdx;
    state.rsi = regs.rsi;
    state.rdi = regs.rdi;
    state.rsp = regs.rsp;
    state.rbp = regs.rbp;
    state.r8 = regs.r8;
    state.r9 = regs.r9;
    state.r10 = regs.r10;
    state.r11 = regs.r11;
    state.r12 = regs.r12;
    state.r13 = regs.r13;
    state.r14 = regs.r14;
    state.r15 = regs.r15;
    state.rip = regs.rip;
    state.rflags = regs.rflags;
    state.cs = from_segment(&sregs.cs);
    state.ds = from_segment(&sregs.ds);
    state.es = from_segment(&sregs.es);
    state.fs = from_segment(&sregs.fs);
    state.gs = from_segment(&sregs.gs);
    state.ss = from_segment(&sregs.ss);
    state.tr = from_segment(&sregs.tr);
    state.ldtr = from_segment(&sregs.ldt);
    state.gdtr = from_table(&sregs.gdt);
    state.idtr = from_table(&sregs.idt);
    state.cr0 = sregs.cr0;
    state.cr2 = sregs.cr2;
    state.cr3 = sregs.cr3;
    state.cr4 = sregs.cr4;
    state.efer = sregs.efer;
    state.apic_base = sregs.apic_base;
    state
}

/// The FPU after `FNINIT`, for `KVM_SET_FPU`: exceptions are masked, all x87 registers are empty (SDM volume 1, 8.1). It is also
/// KVM's state of a new vCPU; KVM does not write `mxcsr`.
#[must_use]
pub fn fpu() -> kvm_fpu {
    kvm_fpu {
        fcw: 0x37f,
        mxcsr: 0x1f80,
        ..kvm_fpu::default()
    }
}

/// The MSRs of a boot other than `EFER` and the APIC base, for `KVM_SET_MSRS`.
#[must_use]
pub fn msrs(state: &State) -> [kvm_msr_entry; 2] {
    state.msrs().map(|(index, data)| kvm_msr_entry {
        index,
        data,
        ..kvm_msr_entry::default()
    })
}

fn to_segment(segment: &SegmentRegister) -> kvm_segment {
    let rights = segment.rights;
    kvm_segment {
        base: segment.base,
        limit: segment.limit,
        selector: segment.selector,
        type_: rights.segment_type(),
        present: rights.is_present().into(),
        dpl: rights.dpl(),
        db: rights.default_big().into(),
        s: rights.is_code_or_data().into(),
        l: rights.is_long().into(),
        g: rights.is_page_granular().into(),
        avl: rights.available().into(),
        // A segment that is not present is unusable; a present one is usable, also with a null selector.
        unusable: (!rights.is_present()).into(),
        padding: 0,
    }
}

fn from_segment(segment: &kvm_segment) -> SegmentRegister {
    let present = segment.present != 0 && segment.unusable == 0;
    let bits = u16::from(segment.type_ & 0xf)
        | u16::from(segment.s & 1) << 4
        | u16::from(segment.dpl & 3) << 5
        | u16::from(present) << 7
        | u16::from(segment.avl & 1) << 12
        | u16::from(segment.l & 1) << 13
        | u16::from(segment.db & 1) << 14
        | u16::from(segment.g & 1) << 15;
    SegmentRegister::new(
        segment.selector,
        segment.base,
        segment.limit,
        AccessRights::from_bits(bits),
    )
}

fn to_table(table: &DescriptorTable) -> kvm_dtable {
    kvm_dtable {
        base: table.base,
        limit: table.limit,
        padding: [0; 3],
    }
}

fn from_table(table: &kvm_dtable) -> DescriptorTable {
    DescriptorTable::new(table.base, table.limit)
}

#[cfg(test)]
mod tests {
    use boot_core::cpu::x86_64::apic_base;

    use super::*;

    #[test]
    fn states_survive_the_way_to_kvm_and_back() {
        let check = |state: &State| {
            let mut sregs = kvm_sregs::default();
            write_sregs(state, &mut sregs);
            assert_eq!(&super::state(&regs(state), &sregs), state);
        };
        let mut state = State::long_mode(0x10_0200, 0x9000, 0x10, 0x18);
        check(&State::protected_mode(0x10_0000, 0x10, 0x18));
        check(&state);
        (state.rax, state.r15, state.rflags) = (1, u64::MAX, 0x46);
        state.gdtr = DescriptorTable::new(0x500, 0x1f);
        state.idtr = DescriptorTable::new(0x600, 0xfff);
        state.ldtr.rights = AccessRights::from_bits(0x2);
        (state.cr2, state.cr4) = (0xdead_b000, 0x6a0);
        state.apic_base |= apic_base::X2APIC;
        check(&state);
        check(&State::reset());
    }

    #[test]
    fn segments_have_the_bits_kvm_expects() {
        let kvm = to_segment(&SegmentRegister::flat(0x10, AccessRights::CODE64));
        let found = (
            kvm.type_,
            kvm.s,
            kvm.dpl,
            kvm.present,
            kvm.avl,
            kvm.l,
            kvm.db,
            kvm.g,
            kvm.unusable,
        );
        assert_eq!(found, (0xb, 1, 0, 1, 0, 1, 0, 1, 0));
        assert_eq!((kvm.selector, kvm.base, kvm.limit), (0x10, 0, u32::MAX));
        let none = to_segment(&SegmentRegister::new(0, 0, 0, AccessRights::from_bits(0)));
        assert_eq!((none.present, none.unusable), (0, 1));
    }

    #[test]
    fn what_is_not_part_of_a_state_stays() {
        let mut sregs = kvm_sregs {
            cr8: 5,
            interrupt_bitmap: [1, 2, 3, 4],
            apic_base: 0xfee0_0800,
            ..kvm_sregs::default()
        };
        write_sregs(&State::protected_mode(0, 8, 16), &mut sregs);
        assert_eq!((sregs.cr8, sregs.interrupt_bitmap), (5, [1, 2, 3, 4]));
        assert_eq!(sregs.apic_base, 0xfee0_0900);
    }

    #[test]
    fn the_fpu_and_the_msrs_are_those_of_the_manual() {
        let fpu = fpu();
        assert_eq!((fpu.fcw, fpu.fsw, fpu.ftwx, fpu.mxcsr), (0x37f, 0, 0, 0x1f80));
        let found = msrs(&State::reset()).map(|msr| (msr.index, msr.data));
        assert_eq!(found, [(0x1a0, 1), (0x2ff, 0x806)]);
    }
}
