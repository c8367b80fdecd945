//! CPUID tables of vCPUs.
//!
//! `KVM_GET_SUPPORTED_CPUID` reports APIC ids, core counts and cache sharing of the current host CPU. They do not match the
//! topology of the guest, so the leaves that contain them are rewritten for each vCPU. Layouts: Intel SDM 2A, `CPUID`; AMD APM
//! 3, appendix E.

/// A leaf or subleaf of CPUID (`struct kvm_cpuid_entry2`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuidEntry {
    /// Leaf: `EAX` before the instruction.
    pub function: u32,
    /// Subleaf: `ECX` before the instruction, if the leaf has subleaves.
    pub index: u32,
    /// Whether the leaf has subleaves.
    pub index_significant: bool,
    /// `EAX` after the instruction.
    pub eax: u32,
    /// `EBX` after the instruction.
    pub ebx: u32,
    /// `ECX` after the instruction.
    pub ecx: u32,
    /// `EDX` after the instruction.
    pub edx: u32,
}

/// Register of a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    Eax,
    Ebx,
    Ecx,
    Edx,
}

impl Output {
    /// Its value in `entry`.
    pub(crate) fn of(self, entry: &CpuidEntry) -> u32 {
        match self {
            Self::Eax => entry.eax,
            Self::Ebx => entry.ebx,
            Self::Ecx => entry.ecx,
            Self::Edx => entry.edx,
        }
    }

    /// Its place in `entry`.
    pub(crate) fn of_mut(self, entry: &mut CpuidEntry) -> &mut u32 {
        match self {
            Self::Eax => &mut entry.eax,
            Self::Ebx => &mut entry.ebx,
            Self::Ecx => &mut entry.ecx,
            Self::Edx => &mut entry.edx,
        }
    }
}

/// Topology of the vCPUs: one package of cores with the same number of threads each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topology {
    vcpus: u32,
    threads_per_core: u32,
}

/// Invalid topology.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TopologyError {
    /// The number of vCPUs or of threads per core is zero.
    #[error("{vcpus} vCPUs and {threads_per_core} threads per core: both must be at least 1")]
    Zero {
        /// Number of vCPUs.
        vcpus: u32,
        /// Number of threads per core.
        threads_per_core: u32,
    },
    /// The number of vCPUs is not a multiple of the number of threads per core.
    #[error("{vcpus} vCPUs are not a multiple of {threads_per_core} threads per core")]
    Uneven {
        /// Number of vCPUs.
        vcpus: u32,
        /// Number of threads per core.
        threads_per_core: u32,
    },
    /// The APIC ids do not fit into the eight bits of an xAPIC id.
    #[error(
        "{vcpus} vCPUs in cores of {threads_per_core} threads need APIC id {highest}; the highest possible one is {}",
        Topology::MAX_APIC_ID
    )]
    TooMany {
        /// Number of vCPUs.
        vcpus: u32,
        /// Number of threads per core.
        threads_per_core: u32,
        /// The highest APIC id that is needed.
        highest: u64,
    },
}

impl Topology {
    /// Highest APIC id: the one below the broadcast id of an xAPIC.
    pub const MAX_APIC_ID: u32 = 254;

    /// A package of `vcpus` threads in cores of `threads_per_core` threads.
    ///
    /// # Errors
    ///
    /// [`TopologyError`] if a number is zero, `vcpus` is not a multiple of `threads_per_core`, or an APIC id would exceed
    /// [`MAX_APIC_ID`](Self::MAX_APIC_ID).
    pub fn new(vcpus: u32, threads_per_core: u32) -> Result<Self, TopologyError> {
        if vcpus == 0 || threads_per_core == 0 {
            return Err(TopologyError::Zero {
                vcpus,
                threads_per_core,
            });
        }
        if !vcpus.is_multiple_of(threads_per_core) {
            return Err(TopologyError::Uneven {
                vcpus,
                threads_per_core,
            });
        }
        let last_core = u64::from(vcpus / threads_per_core) - 1;
        // At most 32 bits are shifted by at most 32.
        let highest = last_core << ceil_log2(threads_per_core) | u64::from(threads_per_core - 1);
        if highest > u64::from(Self::MAX_APIC_ID) {
            return Err(TopologyError::TooMany {
                vcpus,
                threads_per_core,
                highest,
            });
        }
        Ok(Self {
            vcpus,
            threads_per_core,
        })
    }

    /// Number of vCPUs.
    #[must_use]
    pub fn vcpus(self) -> u32 {
        self.vcpus
    }

    /// APIC id of vCPU `index`, which is below [`vcpus`](Self::vcpus). Ids have gaps if the number of threads per core is not a
    /// power of two.
    #[must_use]
    pub fn apic_id(self, index: u32) -> u32 {
        ((index / self.threads_per_core) << self.thread_bits()) | (index % self.threads_per_core)
    }

    /// Number of low APIC id bits that select the thread of a core.
    fn thread_bits(self) -> u32 {
        ceil_log2(self.threads_per_core)
    }

    /// Number of low APIC id bits that select the thread of the package.
    fn package_bits(self) -> u32 {
        self.thread_bits() + ceil_log2(self.vcpus / self.threads_per_core)
    }
}

/// Number of bits for `count` different values.
fn ceil_log2(count: u32) -> u32 {
    u32::BITS - count.saturating_sub(1).leading_zeros()
}

/// Basic features and the APIC id.
const FEATURES: u32 = 1;
/// Intel's caches.
const CACHES_INTEL: u32 = 4;
/// Topology.
const TOPOLOGY: u32 = 0xb;
/// Topology with more levels.
const TOPOLOGY_V2: u32 = 0x1f;
/// Extended features.
const EXT_FEATURES: u32 = 0x8000_0001;
/// Address sizes and, on AMD, the core count.
const SIZES: u32 = 0x8000_0008;
/// AMD's caches.
const CACHES_AMD: u32 = 0x8000_001d;
/// AMD's topology.
const TOPOLOGY_AMD: u32 = 0x8000_001e;

/// Leaf 1 `ECX`: VMX.
const VMX: u32 = 1 << 5;
/// Leaf 1 `ECX`: the local APIC's timer has a TSC deadline mode.
const TSC_DEADLINE: u32 = 1 << 24;
/// Leaf 1 `ECX`: running under a hypervisor.
const HYPERVISOR: u32 = 1 << 31;
/// Leaf 1 `EDX`: the package has more than one logical processor (`HTT`).
const MULTITHREADED: u32 = 1 << 28;
/// Leaf 0x8000_0001 `ECX` on AMD: the logical processors of `MULTITHREADED` are cores.
const CMP_LEGACY: u32 = 1 << 1;
/// Leaf 0x8000_0001 `ECX` on AMD: SVM.
const SVM: u32 = 1 << 2;

/// Builds the table of vCPU `index` from `supported`, the table of `KVM_GET_SUPPORTED_CPUID`.
///
/// - APIC ids, core and thread counts and cache sharing are set to those of `topology` in every leaf that has them;
/// - the hypervisor bit is set;
/// - the TSC deadline timer bit is set to `tsc_deadline` (`KVM_CAP_TSC_DEADLINE_TIMER`): the supported table does not contain it;
/// - VMX and SVM are cleared: this harness does not save and reset the state of nested virtualization.
#[must_use]
pub fn for_vcpu(
    supported: &[CpuidEntry],
    topology: Topology,
    index: u32,
    tsc_deadline: bool,
) -> Vec<CpuidEntry> {
    let apic_id = topology.apic_id(index);
    let max_leaf = supported
        .iter()
        .find(|entry| entry.function == 0)
        .map_or(0, |entry| entry.eax);
    let is_amd = supported.iter().any(|entry| entry.function == 0 && is_amd(entry));
    let has_v2 = supported.iter().any(|entry| entry.function == TOPOLOGY_V2);
    let mut table: Vec<CpuidEntry> = supported
        .iter()
        .filter(|entry| !matches!(entry.function, TOPOLOGY | TOPOLOGY_V2))
        .map(|&entry| patched(entry, topology, index, tsc_deadline, is_amd))
        .collect();
    for leaf in [TOPOLOGY, TOPOLOGY_V2] {
        if leaf <= max_leaf && (leaf == TOPOLOGY || has_v2) {
            table.extend(topology_leaf(leaf, topology, apic_id));
        }
    }
    table
}

fn patched(
    mut entry: CpuidEntry,
    topology: Topology,
    index: u32,
    tsc_deadline: bool,
    is_amd: bool,
) -> CpuidEntry {
    let apic_id = topology.apic_id(index);
    let thread_ids = 1 << topology.thread_bits();
    let package_ids = 1 << topology.package_bits();
    match entry.function {
        FEATURES => {
            entry.ebx = entry.ebx & 0xffff | package_ids.min(0xff) << 16 | apic_id << 24;
            entry.ecx = entry.ecx & !(VMX | TSC_DEADLINE) | HYPERVISOR;
            if tsc_deadline {
                entry.ecx |= TSC_DEADLINE;
            }
            entry.edx &= !MULTITHREADED;
            if topology.vcpus > 1 {
                entry.edx |= MULTITHREADED;
            }
        }
        CACHES_INTEL if entry.eax & 0x1f != 0 => {
            let core_ids = package_ids / thread_ids;
            entry.eax = shared_cache(entry.eax, thread_ids, package_ids) & 0x03ff_ffff
                | (core_ids - 1).min(0x3f) << 26;
        }
        CACHES_AMD if entry.eax & 0x1f != 0 => {
            entry.eax = shared_cache(entry.eax, thread_ids, package_ids);
        }
        EXT_FEATURES if is_amd => {
            entry.ecx &= !(SVM | CMP_LEGACY);
            if topology.vcpus > 1 {
                entry.ecx |= CMP_LEGACY;
            }
        }
        SIZES if is_amd => {
            entry.ecx = entry.ecx & !0xf0ff | (topology.vcpus - 1).min(0xff) | topology.package_bits() << 12;
        }
        TOPOLOGY_AMD => {
            entry.eax = apic_id;
            let core = index / topology.threads_per_core;
            entry.ebx = core & 0xff | (topology.threads_per_core - 1) << 8;
            entry.ecx = 0;
        }
        _ => {}
    }
    entry
}

/// Sets bits 14 to 25 of a cache's `EAX`, the number of ids that share it less one: the package shares level 3, the threads
/// of a core share lower levels. Bits 5 to 7 are the level.
fn shared_cache(eax: u32, thread_ids: u32, package_ids: u32) -> u32 {
    let sharing = if eax >> 5 & 7 >= 3 {
        package_ids
    } else {
        thread_ids
    };
    eax & !(0xfff << 14) | (sharing - 1) << 14
}

/// The subleaves of a topology leaf: threads of a core, cores of the package, and the terminator.
fn topology_leaf(leaf: u32, topology: Topology, apic_id: u32) -> [CpuidEntry; 3] {
    const THREAD: u32 = 1 << 8;
    const CORE: u32 = 2 << 8;
    let subleaf = |index, shift, count, level_type| CpuidEntry {
        function: leaf,
        index,
        index_significant: true,
        eax: shift,
        ebx: count,
        ecx: index | level_type,
        edx: apic_id,
    };
    [
        subleaf(0, topology.thread_bits(), topology.threads_per_core, THREAD),
        subleaf(1, topology.package_bits(), topology.vcpus, CORE),
        subleaf(2, 0, 0, 0),
    ]
}

/// Whether the vendor in leaf 0 is AMD or Hygon. Their CPUs have the same layouts.
fn is_amd(leaf0: &CpuidEntry) -> bool {
    let vendor: Vec<u8> = [leaf0.ebx, leaf0.edx, leaf0.ecx]
        .iter()
        .flat_map(|register| register.to_le_bytes())
        .collect();
    vendor == b"AuthenticAMD" || vendor == b"HygonGenuine"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(function: u32, eax: u32, ebx: u32, ecx: u32, edx: u32) -> CpuidEntry {
        CpuidEntry {
            function,
            eax,
            ebx,
            ecx,
            edx,
            ..CpuidEntry::default()
        }
    }

    fn cache(function: u32, index: u32, level: u32) -> CpuidEntry {
        CpuidEntry {
            index,
            index_significant: true,
            ..leaf(function, 0xffff_c001 | level << 5, 0x1c0_003f, 0x3f, 0)
        }
    }

    fn vendor(name: &[u8; 12], max_leaf: u32) -> CpuidEntry {
        let word = |at: usize| u32::from_le_bytes(*name[at..].first_chunk().unwrap());
        leaf(0, max_leaf, word(0), word(8), word(4))
    }

    fn find(table: &[CpuidEntry], function: u32, index: u32) -> CpuidEntry {
        let mut hits = table
            .iter()
            .filter(|e| e.function == function && e.index == index);
        let hit = *hits.next().expect("the leaf is there");
        assert_eq!(hits.next(), None, "leaf {function:#x} is there once");
        hit
    }

    #[test]
    fn topologies_are_checked() {
        let check = |vcpus, threads_per_core, expected: Option<TopologyError>| {
            assert_eq!(
                Topology::new(vcpus, threads_per_core).err(),
                expected,
                "{vcpus}/{threads_per_core}"
            );
        };
        check(1, 1, None);
        check(255, 1, None);
        check(254, 2, None);
        check(
            0,
            1,
            Some(TopologyError::Zero {
                vcpus: 0,
                threads_per_core: 1,
            }),
        );
        check(
            1,
            0,
            Some(TopologyError::Zero {
                vcpus: 1,
                threads_per_core: 0,
            }),
        );
        check(
            3,
            2,
            Some(TopologyError::Uneven {
                vcpus: 3,
                threads_per_core: 2,
            }),
        );
        check(
            256,
            1,
            Some(TopologyError::TooMany {
                vcpus: 256,
                threads_per_core: 1,
                highest: 255,
            }),
        );
        check(
            u32::MAX,
            u32::MAX,
            Some(TopologyError::TooMany {
                vcpus: u32::MAX,
                threads_per_core: u32::MAX,
                highest: 0xffff_fffe,
            }),
        );
        check(
            u32::MAX,
            1,
            Some(TopologyError::TooMany {
                vcpus: u32::MAX,
                threads_per_core: 1,
                highest: 0xffff_fffe,
            }),
        );
    }

    #[test]
    fn apic_ids_follow_the_bit_fields() {
        let check = |vcpus, threads, expected: &[u32]| {
            let topology = Topology::new(vcpus, threads).unwrap();
            let ids: Vec<u32> = (0..vcpus).map(|index| topology.apic_id(index)).collect();
            assert_eq!(ids, expected);
        };
        check(4, 1, &[0, 1, 2, 3]);
        check(4, 2, &[0, 1, 2, 3]);
        check(6, 3, &[0, 1, 2, 4, 5, 6]);
    }

    #[test]
    fn intel_leaves() {
        let supported = [
            vendor(b"GenuineIntel", 0x1f),
            leaf(
                1,
                0x806f8,
                0x0d10_0800,
                VMX | 0x10_0000,
                0x0f8b_fbff | MULTITHREADED,
            ),
            cache(4, 0, 1),
            cache(4, 3, 3),
            CpuidEntry {
                index_significant: true,
                index: 4,
                ..leaf(4, 0, 0, 0, 0)
            },
            CpuidEntry {
                index_significant: true,
                ..leaf(0xb, 1, 2, 0x100, 0x57)
            },
            CpuidEntry {
                index_significant: true,
                ..leaf(0x1f, 1, 2, 0x100, 0x57)
            },
            leaf(0x8000_0001, 0, 0, 0x121, 0),
            leaf(0x8000_0008, 0x3039, 0, 0, 0),
        ];
        let table = for_vcpu(&supported, Topology::new(8, 2).unwrap(), 5, true);
        let features = find(&table, 1, 0);
        assert_eq!(features.ebx, 0x0508_0800);
        assert_eq!(features.ecx, 0x10_0000 | HYPERVISOR | TSC_DEADLINE);
        assert_ne!(features.edx & MULTITHREADED, 0);
        assert_eq!(find(&table, 4, 0).eax, 3 << 26 | 1 << 14 | 0x21);
        assert_eq!(find(&table, 4, 3).eax, 3 << 26 | 7 << 14 | 0x61);
        assert_eq!(find(&table, 4, 4).eax, 0, "the end mark of the caches stays");
        for leaf in [0xb, 0x1f] {
            let [thread, core, end] = [0, 1, 2].map(|index| find(&table, leaf, index));
            assert_eq!((thread.eax, thread.ebx, thread.ecx, thread.edx), (1, 2, 0x100, 5));
            assert_eq!((core.eax, core.ebx, core.ecx, core.edx), (3, 8, 0x201, 5));
            assert_eq!((end.eax, end.ebx, end.ecx, end.edx), (0, 0, 2, 5));
        }
        // Leaves with another meaning on AMD are left alone.
        assert_eq!(find(&table, 0x8000_0008, 0).ecx, 0);
        assert_eq!(find(&table, 0x8000_0001, 0).ecx, 0x121);
    }

    #[test]
    fn amd_leaves() {
        let supported = [
            vendor(b"AuthenticAMD", 0x10),
            leaf(1, 0xa1_0f11, 0x0002_0800, 0, MULTITHREADED),
            leaf(0x8000_0001, 0, 0, SVM | CMP_LEGACY | 1 << 22, 0),
            leaf(0x8000_0008, 0x3030, 0, 0x1_70ff, 0),
            cache(0x8000_001d, 0, 1),
            cache(0x8000_001d, 3, 3),
            leaf(0x8000_001e, 0x57, 0x1ff, 0x3ff, 0),
        ];
        let table = for_vcpu(&supported, Topology::new(4, 1).unwrap(), 3, false);
        assert_eq!(find(&table, 1, 0).ebx, 0x0304_0800);
        assert_eq!(find(&table, 1, 0).ecx, HYPERVISOR);
        assert_eq!(find(&table, 0x8000_0001, 0).ecx, CMP_LEGACY | 1 << 22);
        assert_eq!(find(&table, 0x8000_0008, 0).ecx, 0x1_2003);
        assert_eq!(find(&table, 0x8000_001d, 0).eax, 0xfc00_0021);
        assert_eq!(find(&table, 0x8000_001d, 3).eax, 0xfc00_c061);
        let amd = find(&table, 0x8000_001e, 0);
        assert_eq!((amd.eax, amd.ebx, amd.ecx), (3, 3, 0));
        assert_eq!(
            find(&table, 0xb, 1).ebx,
            4,
            "leaf 0xb is made although KVM did not list it"
        );
        assert!(table.iter().all(|entry| entry.function != 0x1f));

        let single = for_vcpu(&supported, Topology::new(1, 1).unwrap(), 0, false);
        assert_eq!(find(&single, 1, 0).edx & MULTITHREADED, 0);
        assert_eq!(find(&single, 0x8000_0001, 0).ecx & CMP_LEGACY, 0);
        assert_eq!(find(&single, 1, 0).ebx >> 16, 1);
    }

    #[test]
    fn small_tables_stay_small() {
        let supported = [vendor(b"GenuineIntel", 0xa), leaf(1, 0, 0, 0, 0)];
        let table = for_vcpu(&supported, Topology::new(2, 1).unwrap(), 1, false);
        assert_eq!(table.len(), 2, "no leaf past the highest one is made");
        assert_eq!(for_vcpu(&[], Topology::new(1, 1).unwrap(), 0, true), []);
    }
}
