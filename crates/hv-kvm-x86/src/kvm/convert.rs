//! Conversion between plain data and the structures of KVM.

use kvm_bindings::{
    CpuId, KVM_CPUID_FLAG_SIGNIFCANT_INDEX, KVM_MAX_CPUID_ENTRIES, KVM_VCPUEVENT_VALID_NMI_PENDING,
    KVM_VCPUEVENT_VALID_PAYLOAD, KVM_VCPUEVENT_VALID_SHADOW, KVM_VCPUEVENT_VALID_SMM,
    KVM_VCPUEVENT_VALID_TRIPLE_FAULT, kvm_cpuid_entry2, kvm_vcpu_events,
};

use crate::{Exception, KvmError, VcpuEvents, cpuid::CpuidEntry};

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
