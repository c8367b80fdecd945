//! CPUID table of a bare machine.
//!
//! It offers only what [`KvmBareVcpu`](crate::KvmBareVcpu) saves and rewinds, and nothing that makes the hypervisor write guest memory.
//! Layouts: Intel SDM 2A, `CPUID`; AMD APM 3, appendix E.

use boot_core::cpu::x86_64::cr4;

use crate::cpuid::{self, CpuidEntry, Output, Topology};

/// Leaves of the table, apart from that of the hypervisor: vendor and version, features, state components, frequencies, invariant time stamp
/// counter, address widths, features of AMD. Everything else is absent and reads as zeros: topology and caches, names, and what the guest does
/// not have. KVM searches the table from its start for each feature that it looks up, so a short one makes vCPUs faster to create.
const LEAVES: [u32; 10] = [
    0,
    1,
    7,
    XSTATE,
    0x15,
    0x16,
    0x8000_0000,
    0x8000_0001,
    0x8000_0007,
    0x8000_0008,
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

/// The leaf of hypervisors.
const HYPERVISOR: u32 = 0x4000_0000;

/// The leaf of KVM's features. The table does not have it, so it reads as zeros: there are none.
const KVM_FEATURES: u32 = 0x4000_0001;

/// Signature in the first leaf of hypervisors: that of KVM. KVM looks for it in a new table, and each time that `CR4` or `XCR0` changes what
/// CPUID returns. It searches the table at 256 possible places until it is found, which takes more instructions than the rest of these requests.
const SIGNATURE: [u8; 12] = *b"KVMKVMKVM\0\0\0";

/// Builds the table from `supported`, the table of `KVM_GET_SUPPORTED_CPUID`.
///
/// Hidden are virtualization, the local APIC, machine checks, memory types by ranges, performance monitoring, debug stores, PCID, protection
/// keys, control-flow enforcement, state components other than [`XCR0`], and the features of KVM. `RDRAND` and `RDSEED` are hidden without
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
        !is_hidden && LEAVES.contains(&entry.function)
    });
    for &(function, index, output, bits) in hidden {
        for entry in table
            .iter_mut()
            .filter(|entry| (entry.function, entry.index) == (function, index))
        {
            for bit in bits {
                *output.of_mut(entry) &= !(1 << bit);
            }
        }
    }
    limit_components(&mut table);
    let [ebx, ecx, edx] = [0, 4, 8].map(|at| {
        let word = SIGNATURE.get(at..).and_then(|rest| rest.first_chunk());
        word.copied().map_or(0, u32::from_le_bytes)
    });
    table.push(CpuidEntry {
        function: HYPERVISOR,
        // The last leaf of this range. Reads of leaves after it can return others on Intel.
        eax: KVM_FEATURES,
        ebx,
        ecx,
        edx,
        ..CpuidEntry::default()
    });
    table
}

/// What a table says about control registers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Features {
    /// Bits of `CR4` for features of the table that a guest can use without further set-up: `OSXSAVE` and `FSGSBASE`.
    pub cr4: u64,
    /// `XCR0` with all state components of the table; x87 only without `XSAVE`.
    pub xcr0: u64,
}

impl Features {
    /// The features of `table`.
    #[must_use]
    pub fn of(table: &[CpuidEntry]) -> Self {
        const XSAVE: u32 = 1 << 26;
        const FSGSBASE: u32 = 1 << 0;
        let find = |function| {
            let mut leaves = table.iter();
            leaves.find(|entry| (entry.function, entry.index) == (function, 0))
        };
        let mut features = Self { cr4: 0, xcr0: 1 };
        if find(1).is_some_and(|entry| entry.ecx & XSAVE != 0)
            && let Some(components) = find(XSTATE)
        {
            features.cr4 |= cr4::OSXSAVE;
            features.xcr0 = u64::from(components.eax) | u64::from(components.edx) << 32;
        }
        if find(7).is_some_and(|entry| entry.ebx & FSGSBASE != 0) {
            features.cr4 |= cr4::FSGSBASE;
        }
        features
    }
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
                    *output.of_mut(&mut entry) >> bit & 1,
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
    fn only_listed_leaves_are_present() {
        let others = [
            2,
            4,
            5,
            0xa,
            0xb,
            0x12,
            0x14,
            0x1f,
            0x8000_0002,
            0x8000_000a,
            0xc000_0000,
        ];
        let supported: Vec<_> = LEAVES
            .into_iter()
            .chain(others)
            .chain([0x4000_0000, 0x4000_0001])
            .map(|function| entry(function, 0))
            .collect();
        let table = table(&supported, false);
        let functions: Vec<_> = table.iter().map(|entry| entry.function).collect();
        assert_eq!(functions, [&LEAVES[..], &[0x4000_0000]].concat());
        let last = table[LEAVES.len()];
        assert_eq!(last.eax, 0x4000_0001);
        let signature = [last.ebx, last.ecx, last.edx].map(u32::to_le_bytes);
        assert_eq!(signature.as_flattened(), b"KVMKVMKVM\0\0\0");
    }

    #[test]
    fn control_registers_follow_from_the_table() {
        let none = Features { cr4: 0, xcr0: 1 };
        assert_eq!(Features::of(&[]), none);
        assert_eq!(Features::of(&[entry(1, 0)]), none);
        let supported = [entry(1, 0), entry(7, 0), entry(0xd, 0)];
        let all = Features {
            cr4: 0x5_0000,
            xcr0: XCR0,
        };
        assert_eq!(Features::of(&table(&supported, false)), all);
        let mut old = supported;
        old[0].ecx &= !(1 << 26);
        let cr4 = 0x1_0000;
        assert_eq!(Features::of(&table(&old, false)), Features { cr4, xcr0: 1 });
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
