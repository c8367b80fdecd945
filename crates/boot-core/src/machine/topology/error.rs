//! Errors of a CPU topology.

use super::scope::CacheScope;

/// A topology that does not fit the machine, or whose caches do not fit each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TopologyError {
    /// The topology has another number of CPUs than the machine.
    #[error(
        "the topology has {sockets} sockets of {clusters} clusters of {cores} cores of {threads} threads, but the \
         machine has {vcpus} vCPUs: the product must be the same"
    )]
    CpuCount {
        /// Number of sockets.
        sockets: u32,
        /// Number of clusters in each socket.
        clusters: u32,
        /// Number of cores in each cluster.
        cores: u32,
        /// Number of threads of each core.
        threads: u32,
        /// Number of vCPUs of the machine.
        vcpus: u32,
    },
    /// A value of a cache is not possible.
    #[error("the {field} of the {cache} cache is {found}, but must be {expected}")]
    Cache {
        /// The cache: `L1 data`, `L1 instruction`, `L2` or `L3`.
        cache: &'static str,
        /// Name of the value.
        field: &'static str,
        /// The value.
        found: u32,
        /// Description of the possible values.
        expected: &'static str,
    },
    /// A cache is without one of the level below.
    #[error("there is an {cache} cache, but no {below} cache")]
    NoLowerLevel {
        /// The cache: `L2` or `L3`.
        cache: &'static str,
        /// The level below it.
        below: &'static str,
    },
    /// A cache is shared by CPUs that do not share one.
    #[error("the {cache} cache is one for each {found}, but {expected}")]
    Scope {
        /// The cache.
        cache: &'static str,
        /// Its scope.
        found: CacheScope,
        /// Which scope it can have.
        expected: &'static str,
    },
}
