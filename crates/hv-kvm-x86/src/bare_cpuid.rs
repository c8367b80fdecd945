//! CPUID table of a bare machine.
//!
//! It offers only what [`KvmBareVcpu`](crate::KvmBareVcpu) saves and rewinds, and nothing that makes the hypervisor write guest memory.
//! Layouts: Intel SDM 2A, `CPUID`; AMD APM 3, appendix E.

use crate::cpuid::{self, CpuidEntry, Topology};

/// Register of a CPUID leaf.
#[derive(Clone, Copy)]
enum Output {
    Eax,
    Ebx,
    Ecx,
    Edx,
}

impl Output {
    fn of(self, entry: &mut CpuidEntry) -> &mut u32 {
        match self {
            Self::Eax => &mut entry.eax,
            Self::Ebx => &mut entry.ebx,
            Self::Ecx => &mut entry.ecx,
            Self::Edx => &mut entry.edx,
        }
    }
}

/// Leaves that are empty: monitor/mwait, power management, performance monitoring, SGX, processor trace, AMX, SVM, instruction-based
/// sampling, lightweight profiling, memory encryption, performance monitoring of AMD.
const EMPTY: [u32; 12] = [
    5,
    6,
    0xa,
    0x12,
    0x14,
    0x1d,
    0x1e,
    0x8000_000a,
    0x8000_001b,
    0x8000_001c,
    0x8000_001f,
    0x8000_0022,
];

/// Features that are hidden, by leaf, subleaf, register and bits.
const HIDDEN: [(u32, u32, Output, &[u32]); 10] = [
    // DTES64, MONITOR, DS-CPL, VMX, SMX, PDCM, PCID, x2APIC, TSC deadline.
    (1, 0, Output::Ecx, &[2, 3, 4, 5, 6, 15, 17, 21, 24]),
    // MCE, APIC, MTRR, MCA, DS, ACPI.
    (1, 0, Output::Edx, &[7, 9, 12, 14, 21, 22]),
    // TSC_ADJUST, SGX, INVPCID, RDT monitoring, MPX, RDT allocation, processor trace.
    (7, 0, Output::Ebx, &[1, 2, 10, 12, 14, 15, 25]),
    // PKU, OSPKE, WAITPKG, CET shadow stacks, LA57, bus lock detection, ENQCMD, SGX launch control, PKS.
    (7, 0, Output::Ecx, &[3, 4, 5, 7, 16, 24, 29, 30, 31]),
    // UINTR, architectural LBRs, CET indirect branch tracking, AMX.
    (7, 0, Output::Edx, &[5, 19, 20, 22, 24, 25]),
    // FRED, LKGS, AMX-FP16, LAM.
    (7, 1, Output::Eax, &[17, 18, 21, 26]),
    // AMX-COMPLEX, AVX10, APX.
    (7, 1, Output::Edx, &[8, 19, 21]),
    // SVM, extended APIC space, IBS, LWP, node id MSR, performance counters, MWAITX.
    (0x8000_0001, 0, Output::Ecx, &[2, 3, 10, 15, 19, 23, 24, 28, 29]),
    // XSAVES and extended feature disable.
    (0xd, 1, Output::Eax, &[3, 4]),
    // APIC again, on AMD.
    (0x8000_0001, 0, Output::Edx, &[9]),
];

/// Random numbers: RDRAND and RDSEED.
const ENTROPY: [(u32, u32, Output, &[u32]); 2] = [(1, 0, Output::Ecx, &[30]), (7, 0, Output::Ebx, &[18])];

/// State components and the sizes of their areas.
const XSTATE: u32 = 0xd;

/// State components of a bare machine: x87, SSE, AVX, AVX-512 (bits of `XCR0`).
pub const XCR0: u64 = 0xe7;

/// Leaves of hypervisors.
const HYPERVISOR: std::ops::RangeInclusive<u32> = 0x4000_0000..=0x4fff_ffff;

/// Signature in the first leaf of hypervisors.
const SIGNATURE: [u8; 12] = *b"VMSANDBOX\0\0\0";

/// Builds the table from `supported`, the table of `KVM_GET_SUPPORTED_CPUID`.
///
/// Hidden are virtualization, the local APIC, machine checks, memory types by ranges, performance monitoring, debug stores, PCID, protection
/// keys, control-flow enforcement, state components other than [`XCR0`], and the leaves of KVM. `RDRAND` and `RDSEED` are hidden without
/// `entropy`.
#[must_use]
pub fn table(supported: &[CpuidEntry], entropy: bool) -> Vec<CpuidEntry> {
    let Ok(topology) = Topology::new(1, 1) else {
        return Vec::new();
    };
    let hidden = HIDDEN.iter().chain(if entropy { &[][..] } else { &ENTROPY[..] });
    let mut table = cpuid::for_vcpu(supported, topology, 0, false);
    table.retain(|entry| {
        let is_component = entry.function == XSTATE && entry.index > 1;
        let is_hidden = is_component && (entry.index > 63 || XCR0 >> entry.index & 1 == 0);
        !is_hidden && !EMPTY.contains(&entry.function) && !HYPERVISOR.contains(&entry.function)
    });
    for &(function, index, output, bits) in hidden {
        for entry in table
            .iter_mut()
            .filter(|entry| (entry.function, entry.index) == (function, index))
        {
            for bit in bits {
                *output.of(entry) &= !(1 << bit);
            }
        }
    }
    limit_components(&mut table);
    let [ebx, ecx, edx] = [0, 4, 8].map(|at| {
        let word = SIGNATURE.get(at..).and_then(|rest| rest.first_chunk());
        word.copied().map_or(0, u32::from_le_bytes)
    });
    table.push(CpuidEntry {
        function: *HYPERVISOR.start(),
        eax: *HYPERVISOR.start(),
        ebx,
        ecx,
        edx,
        ..CpuidEntry::default()
    });
    table
}

/// Limits the leaf of state components to [`XCR0`]: the components, the size of the largest area, and no supervisor components.
fn limit_components(table: &mut [CpuidEntry]) {
    /// Size of the legacy area and the header, in bytes (SDM 1, 13.4).
    const FIXED: u32 = 576;
    let [low, high] = [XCR0, XCR0 >> 32].map(|part| u32::try_from(part & 0xffff_ffff).unwrap_or(0));
    let ends = table
        .iter()
        .filter(|entry| entry.function == XSTATE && entry.index > 1);
    let end = ends
        .map(|entry| entry.ebx.saturating_add(entry.eax))
        .fold(FIXED, u32::max);
    for entry in table.iter_mut().filter(|entry| entry.function == XSTATE) {
        match entry.index {
            0 => {
                entry.eax &= low;
                entry.edx &= high;
                (entry.ebx, entry.ecx) = (end, end);
            }
            1 => (entry.ebx, entry.ecx, entry.edx) = (0, 0, 0),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(function: u32, index: u32) -> CpuidEntry {
        CpuidEntry {
            function,
            index,
            index_significant: matches!(function, 7 | 0xd),
            eax: u32::MAX,
            ebx: u32::MAX,
            ecx: u32::MAX,
            edx: u32::MAX,
        }
    }

    fn find(table: &[CpuidEntry], function: u32, index: u32) -> Option<CpuidEntry> {
        let mut found = table
            .iter()
            .filter(|entry| (entry.function, entry.index) == (function, index));
        let first = found.next().copied();
        assert!(found.next().is_none(), "one entry for {function:#x}");
        first
    }

    #[test]
    fn hidden_features_are_clear_and_others_are_not() {
        let supported = [
            entry(1, 0),
            entry(7, 0),
            entry(7, 1),
            entry(0x8000_0001, 0),
            entry(0xd, 1),
        ];
        let table = table(&supported, false);
        for (function, index, output, bits) in HIDDEN.iter().chain(&ENTROPY) {
            let mut entry = find(&table, *function, *index).unwrap();
            for bit in *bits {
                assert_eq!(
                    *output.of(&mut entry) >> bit & 1,
                    0,
                    "{function:#x} {index} {bit}"
                );
            }
        }
        // SSE4.2, FXSR, FSGSBASE, UMIP, NX.
        let features = find(&table, 1, 0).unwrap();
        assert_eq!((features.ecx >> 20 & 1, features.edx >> 24 & 1), (1, 1));
        let extended = find(&table, 7, 0).unwrap();
        assert_eq!((extended.ebx & 1, extended.ecx >> 2 & 1), (1, 1));
        assert_eq!(find(&table, 0x8000_0001, 0).unwrap().edx >> 20 & 1, 1);
        // Under a hypervisor.
        assert_eq!(features.ecx >> 31, 1);
    }

    #[test]
    fn random_numbers_are_on_request() {
        let bits = |entropy| {
            let table = table(&[entry(1, 0), entry(7, 0)], entropy);
            let [features, extended] = [1, 7].map(|function| find(&table, function, 0).unwrap());
            (features.ecx >> 30 & 1, extended.ebx >> 18 & 1)
        };
        assert_eq!((bits(false), bits(true)), ((0, 0), (1, 1)));
    }

    #[test]
    fn leaves_of_kvm_and_of_hidden_features_are_absent() {
        let supported: Vec<_> = EMPTY
            .into_iter()
            .chain([0x4000_0000, 0x4000_0001])
            .map(|function| entry(function, 0))
            .collect();
        let table = table(&supported, false);
        let [only] = table.as_slice() else {
            panic!("{table:x?}")
        };
        assert_eq!((only.function, only.eax), (0x4000_0000, 0x4000_0000));
        let signature = [only.ebx, only.ecx, only.edx].map(u32::to_le_bytes);
        assert_eq!(signature.as_flattened(), b"VMSANDBOX\0\0\0");
    }

    #[test]
    fn components_end_with_avx_512() {
        let component = |index, size, offset| CpuidEntry {
            eax: size,
            ebx: offset,
            ..entry(0xd, index)
        };
        let supported = [
            entry(0xd, 0),
            component(2, 256, 576),
            component(5, 64, 832),
            component(6, 512, 896),
            component(7, 1024, 1408),
            component(9, 8, 2432),
            component(17, 64, 2752),
            component(18, 8192, 2816),
        ];
        let table = table(&supported, false);
        let first = find(&table, 0xd, 0).unwrap();
        assert_eq!(
            (first.eax, first.ebx, first.ecx, first.edx),
            (0xe7, 2432, 2432, 0)
        );
        let indices: Vec<_> = table
            .iter()
            .filter(|entry| entry.function == 0xd)
            .map(|entry| entry.index)
            .collect();
        assert_eq!(indices, [0, 2, 5, 6, 7]);
    }
}
