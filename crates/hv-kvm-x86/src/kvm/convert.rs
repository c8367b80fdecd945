//! Conversion between plain data and the structures of KVM.

use boot_core::cpu::x86_64::{AccessRights, DescriptorTable, SegmentRegister, State};
use kvm_bindings::{
    CpuId, KVM_CPUID_FLAG_SIGNIFCANT_INDEX, KVM_MAX_CPUID_ENTRIES, KVM_VCPUEVENT_VALID_NMI_PENDING,
    KVM_VCPUEVENT_VALID_PAYLOAD, KVM_VCPUEVENT_VALID_SHADOW, KVM_VCPUEVENT_VALID_SMM,
    KVM_VCPUEVENT_VALID_TRIPLE_FAULT, kvm_cpuid_entry2, kvm_dtable, kvm_regs, kvm_segment, kvm_sregs,
    kvm_vcpu_events,
};

use crate::{Exception, KvmError, VcpuEvents, cpuid::CpuidEntry};

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

/// The general registers of `state`.
pub(crate) fn to_regs(state: &State) -> kvm_regs {
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

/// Writes the system registers of `state` to `sregs`; its other fields do not change.
pub(crate) fn to_sregs(state: &State, sregs: &mut kvm_sregs) {
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
}

/// Converts the two structures of KVM to a state.
pub(crate) fn from_kvm(regs: &kvm_regs, sregs: &kvm_sregs) -> State {
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
    state
}

/// KVM's structure for `events`. `kernel_flags` are the flags of the structure that the kernel returned: they select the
/// optional parts that this kernel supports.
pub(crate) fn to_events(events: &VcpuEvents, kernel_flags: u32) -> kvm_vcpu_events {
    let optional = KVM_VCPUEVENT_VALID_SMM | KVM_VCPUEVENT_VALID_PAYLOAD | KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
    let mut kvm = kvm_vcpu_events {
        flags: KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW | kernel_flags & optional,
        ..kvm_vcpu_events::default()
    };
    let exception = &events.exception;
    kvm.exception.injected = exception.injected.into();
    kvm.exception.pending = exception.pending.into();
    kvm.exception.nr = exception.number;
    kvm.exception.has_error_code = exception.error_code.is_some().into();
    kvm.exception.error_code = exception.error_code.unwrap_or(0);
    kvm.exception_has_payload = exception.payload.is_some().into();
    kvm.exception_payload = exception.payload.unwrap_or(0);
    kvm.interrupt.injected = events.interrupt_injected.into();
    kvm.interrupt.nr = events.interrupt_vector;
    kvm.interrupt.soft = events.interrupt_soft.into();
    kvm.interrupt.shadow = events.interrupt_shadow;
    kvm.nmi.injected = events.nmi_injected.into();
    kvm.nmi.pending = events.nmi_pending.into();
    kvm.nmi.masked = events.nmi_masked.into();
    kvm.smi.smm = events.smm.into();
    kvm.smi.smm_inside_nmi = events.smm_inside_nmi.into();
    kvm.smi.pending = events.smi_pending.into();
    kvm.smi.latched_init = events.latched_init.into();
    kvm.triple_fault.pending = events.triple_fault_pending.into();
    kvm
}

/// The events in KVM's structure. Vectors without an event are ignored: the kernel leaves old values there.
pub(crate) fn from_events(kvm: &kvm_vcpu_events) -> VcpuEvents {
    let exception = if kvm.exception.injected != 0 || kvm.exception.pending != 0 {
        Exception {
            injected: kvm.exception.injected != 0,
            pending: kvm.exception.pending != 0,
            number: kvm.exception.nr,
            error_code: (kvm.exception.has_error_code != 0).then_some(kvm.exception.error_code),
            payload: (kvm.exception_has_payload != 0).then_some(kvm.exception_payload),
        }
    } else {
        Exception::default()
    };
    let interrupt_injected = kvm.interrupt.injected != 0;
    VcpuEvents {
        exception,
        interrupt_injected,
        interrupt_vector: if interrupt_injected { kvm.interrupt.nr } else { 0 },
        interrupt_soft: interrupt_injected && kvm.interrupt.soft != 0,
        interrupt_shadow: kvm.interrupt.shadow,
        nmi_injected: kvm.nmi.injected != 0,
        nmi_pending: kvm.nmi.pending != 0,
        nmi_masked: kvm.nmi.masked != 0,
        smm: kvm.smi.smm != 0,
        smm_inside_nmi: kvm.smi.smm_inside_nmi != 0,
        smi_pending: kvm.smi.pending != 0,
        latched_init: kvm.smi.latched_init != 0,
        triple_fault_pending: kvm.triple_fault.pending != 0,
    }
}

/// Converts a CPUID table for KVM.
pub(crate) fn to_cpuid(table: &[CpuidEntry]) -> Result<CpuId, KvmError> {
    let entries: Vec<kvm_cpuid_entry2> = table
        .iter()
        .map(|entry| kvm_cpuid_entry2 {
            function: entry.function,
            index: entry.index,
            flags: if entry.index_significant {
                KVM_CPUID_FLAG_SIGNIFCANT_INDEX
            } else {
                0
            },
            eax: entry.eax,
            ebx: entry.ebx,
            ecx: entry.ecx,
            edx: entry.edx,
            padding: [0; 3],
        })
        .collect();
    // The only error is a table that is too long.
    CpuId::from_entries(&entries).ok().ok_or(KvmError::CpuidTooLong {
        len: entries.len(),
        max: KVM_MAX_CPUID_ENTRIES,
    })
}

/// Converts a CPUID table of KVM.
pub(crate) fn from_cpuid(cpuid: &CpuId) -> Vec<CpuidEntry> {
    let entry = |entry: &kvm_cpuid_entry2| CpuidEntry {
        function: entry.function,
        index: entry.index,
        index_significant: entry.flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX != 0,
        eax: entry.eax,
        ebx: entry.ebx,
        ecx: entry.ecx,
        edx: entry.edx,
    };
    cpuid.as_slice().iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_survive_the_way_to_kvm_and_back() {
        let check = |state: &State| {
            let mut sregs = kvm_sregs::default();
            to_sregs(state, &mut sregs);
            assert_eq!(&from_kvm(&to_regs(state), &sregs), state);
        };
        let mut state = State::long_mode(0x10_0200, 0x9000, 0x10, 0x18);
        check(&State::protected_mode(0x10_0000, 0x10, 0x18));
        check(&state);
        (state.rax, state.r15, state.rflags) = (1, u64::MAX, 0x46);
        state.gdtr = DescriptorTable::new(0x500, 0x1f);
        state.idtr = DescriptorTable::new(0x600, 0xfff);
        state.ldtr.rights = AccessRights::from_bits(0x2);
        (state.cr2, state.cr4) = (0xdead_b000, 0x6a0);
        check(&state);
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
    fn events_survive_the_way_to_kvm_and_back() {
        let events = VcpuEvents {
            exception: Exception {
                pending: true,
                number: 14,
                error_code: Some(2),
                payload: Some(0x1000),
                ..Exception::default()
            },
            interrupt_injected: true,
            interrupt_vector: 0x30,
            interrupt_shadow: 1,
            nmi_pending: true,
            nmi_masked: true,
            ..VcpuEvents::default()
        };
        for events in [VcpuEvents::default(), events] {
            assert_eq!(from_events(&to_events(&events, u32::MAX)), events);
        }
        assert_eq!(
            to_events(&VcpuEvents::default(), 0).flags,
            5,
            "only what every kernel knows"
        );
        // An idle structure with stale numbers is no event.
        let mut stale = kvm_vcpu_events::default();
        (stale.exception.nr, stale.interrupt.nr, stale.exception_payload) = (13, 0x30, 7);
        assert_eq!(from_events(&stale), VcpuEvents::default());
    }
}
