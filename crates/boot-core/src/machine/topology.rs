//! The topology of CPUs, and their caches.

mod cache;
mod error;
mod scope;

use core::num::NonZeroU32;

pub use cache::{Cache, Caches};
pub use error::TopologyError;
pub use scope::CacheScope;

/// The topology of a machine's CPUs: sockets of clusters of cores of threads, all of equal size, and their caches.
///
/// The vCPUs are numbered through: threads of a core first, then cores, clusters and sockets. A guest gets the topology as `/cpus/cpu-map` of its device
/// tree (Linux binding `cpu/cpu-topology.txt`), which `proto-fdt` creates, or as ACPI table PPTT (ACPI 6.5, section 5.2.30), which the crate `boot-acpi`
/// creates. Linux on x86 has it from CPUID instead, which a VMM sets.
///
/// ```
/// use core::num::NonZeroU32;
///
/// use boot_core::machine::{Cache, CacheScope, CpuPosition, Topology};
///
/// let [two, four] = [2, 4].map(|n| NonZeroU32::new(n).unwrap());
/// let mut topology = Topology::new(two, four, two);
/// topology.caches.l1d = Some(Cache::new(64 << 10, 64, 256));
/// topology.caches.l2 = Some(Cache::new(1 << 20, 64, 1024));
/// topology.caches.l3 = Some(Cache::new(32 << 20, 64, 0x8000).with_scope(CacheScope::Socket));
/// topology.check(16.try_into()?)?;
/// let CpuPosition { socket, core, thread, .. } = topology.position(11);
/// assert_eq!((socket, core, thread), (1, 1, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Topology {
    /// Number of sockets: physical packages.
    pub sockets: NonZeroU32,
    /// Number of clusters in each socket; 1 is a socket without clusters.
    pub clusters: NonZeroU32,
    /// Number of cores in each cluster.
    pub cores: NonZeroU32,
    /// Number of threads of each core.
    pub threads: NonZeroU32,
    /// The caches.
    pub caches: Caches,
}

/// The place of a CPU in a topology. All numbers begin with 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct CpuPosition {
    /// Number of the socket.
    pub socket: u32,
    /// Number of the cluster in its socket.
    pub cluster: u32,
    /// Number of the core in its cluster.
    pub core: u32,
    /// Number of the thread in its core.
    pub thread: u32,
}

impl Topology {
    /// Sockets of so many cores of so many threads, without clusters and caches.
    #[must_use]
    pub fn new(sockets: NonZeroU32, cores: NonZeroU32, threads: NonZeroU32) -> Self {
        Self {
            sockets,
            clusters: NonZeroU32::MIN,
            cores,
            threads,
            caches: Caches::default(),
        }
    }

    /// The same with so many clusters in each socket, each with as many cores as a socket without clusters.
    #[must_use]
    pub fn with_clusters(self, clusters: NonZeroU32) -> Self {
        Self { clusters, ..self }
    }

    /// The same with these caches.
    #[must_use]
    pub fn with_caches(self, caches: Caches) -> Self {
        Self { caches, ..self }
    }

    /// The place of the vCPU with this index.
    #[must_use]
    pub fn position(&self, index: u32) -> CpuPosition {
        // A divisor is not zero, so nothing is lost by the default.
        let split = |number: u32, by: NonZeroU32| {
            let parts = (number.checked_div(by.get()), number.checked_rem(by.get()));
            (parts.0.unwrap_or(0), parts.1.unwrap_or(0))
        };
        let (cores, thread) = split(index, self.threads);
        let (clusters, core) = split(cores, self.cores);
        let (socket, cluster) = split(clusters, self.clusters);
        CpuPosition {
            socket,
            cluster,
            core,
            thread,
        }
    }

    /// The number of the cache of this scope that a CPU uses: all cores, clusters or sockets of the machine are numbered through.
    #[must_use]
    pub fn cache_number(&self, scope: CacheScope, cpu: CpuPosition) -> u32 {
        let clusters = cpu
            .socket
            .saturating_mul(self.clusters.get())
            .saturating_add(cpu.cluster);
        match scope {
            CacheScope::Core => clusters.saturating_mul(self.cores.get()).saturating_add(cpu.core),
            CacheScope::Cluster => clusters,
            CacheScope::Socket => cpu.socket,
        }
    }

    /// Checks that the topology has as many CPUs as the machine, and that its caches are possible.
    ///
    /// # Errors
    ///
    /// [`TopologyError`], with the first violation.
    pub fn check(&self, vcpus: NonZeroU32) -> Result<(), TopologyError> {
        let levels = [self.clusters, self.cores, self.threads];
        let count = levels.into_iter().try_fold(self.sockets, NonZeroU32::checked_mul);
        if count != Some(vcpus) {
            return Err(TopologyError::CpuCount {
                sockets: self.sockets.get(),
                clusters: self.clusters.get(),
                cores: self.cores.get(),
                threads: self.threads.get(),
                vcpus: vcpus.get(),
            });
        }
        self.caches.check()
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    fn number(n: u32) -> NonZeroU32 {
        NonZeroU32::new(n).unwrap()
    }

    fn topology([sockets, clusters, cores, threads]: [u32; 4]) -> Topology {
        Topology::new(number(sockets), number(cores), number(threads)).with_clusters(number(clusters))
    }

    #[test]
    fn vcpus_are_numbered_through_from_the_threads_on() {
        let topology = topology([2, 3, 5, 7]);
        assert_eq!(topology.check(number(2 * 3 * 5 * 7)), Ok(()));
        let mut index = 0;
        for socket in 0..2 {
            for cluster in 0..3 {
                for core in 0..5 {
                    for thread in 0..7 {
                        let cpu = CpuPosition {
                            socket,
                            cluster,
                            core,
                            thread,
                        };
                        assert_eq!(topology.position(index), cpu);
                        let caches = [CacheScope::Core, CacheScope::Cluster, CacheScope::Socket]
                            .map(|scope| topology.cache_number(scope, cpu));
                        assert_eq!(caches, [index / 7, index / 35, index / 105]);
                        index += 1;
                    }
                }
            }
        }
    }

    #[test]
    fn the_product_is_the_number_of_vcpus() {
        let refused = |levels, vcpus| {
            let error = topology(levels).check(number(vcpus)).unwrap_err();
            assert!(matches!(error, TopologyError::CpuCount { .. }), "{error:?}");
            error.to_string()
        };
        assert_eq!(
            refused([2, 1, 2, 2], 4),
            "the topology has 2 sockets of 1 clusters of 2 cores of 2 threads, but the machine has 4 vCPUs: the \
             product must be the same"
        );
        refused([1, 1, 1, 1], 2);
        // The product of the numbers is 2^32 + 4, or 2^64.
        refused([0x8000_0000, 2, 1, 1], 1);
        refused([0x1_0000; 4], 1);
    }

    #[test]
    fn caches_that_are_not_possible_are_refused() {
        let l1 = Cache::new(32 << 10, 64, 128);
        let l2 = Cache::new(1 << 20, 64, 1024);
        let mut caches = Caches::default();
        assert!(caches.is_empty());
        (caches.l1d, caches.l1i) = (Some(l1), Some(l1));
        (caches.l2, caches.l3) = (
            Some(l2.with_scope(CacheScope::Cluster)),
            Some(l2.with_scope(CacheScope::Socket)),
        );
        let check = |change: fn(&mut Caches), expected: &str| {
            let mut changed = caches;
            change(&mut changed);
            let topology = topology([1; 4]).with_caches(changed);
            let found = topology.check(NonZeroU32::MIN).map_err(|error| error.to_string());
            match expected {
                "" => assert_eq!(found, Ok(())),
                expected => assert_eq!(found.unwrap_err(), expected),
            }
        };
        check(|_| (), "");
        check(|caches| caches.l1i = None, "");
        check(
            |caches| (caches.l1d, caches.l1i) = (None, None),
            "there is an L2 cache, but no L1 cache",
        );
        check(|caches| caches.l2 = None, "there is an L3 cache, but no L2 cache");
        check(
            |caches| caches.l3.as_mut().unwrap().scope = CacheScope::Core,
            "the L3 cache is one for each core, but the L2 cache is shared by more CPUs",
        );
        check(
            |caches| caches.l1d.as_mut().unwrap().scope = CacheScope::Socket,
            "the L1 data cache is one for each socket, but must be one for each core",
        );
        check(
            |caches| caches.l1i.as_mut().unwrap().line_size = 48,
            "the line size of the L1 instruction cache is 48, but must be a power of two, at most 32768",
        );
        check(
            |caches| caches.l2.as_mut().unwrap().line_size = 0x1_0000,
            "the line size of the L2 cache is 65536, but must be a power of two, at most 32768",
        );
        check(
            |caches| caches.l2.as_mut().unwrap().sets = 0,
            "the number of sets of the L2 cache is 0, but must be at least 1",
        );
        for size in [0, 63, 1 << 24, u32::MAX] {
            let mut changed = caches;
            changed.l3.as_mut().unwrap().size = size;
            let topology = topology([1; 4]).with_caches(changed);
            assert_eq!(
                topology.check(NonZeroU32::MIN).unwrap_err().to_string(),
                std::format!(
                    "the size of the L3 cache is {size}, but must be 1 to 255 times the line size times the number of \
                     sets"
                )
            );
        }
    }
}
