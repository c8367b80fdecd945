//! Errors of NUMA nodes.

use crate::GuestRange;

/// NUMA nodes that do not fit each other or their machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NumaError {
    /// There is no node, or there are too many.
    #[error("there are {found} NUMA nodes, expected 1 to {max}")]
    NodeCount {
        /// Number of nodes.
        found: usize,
        /// Largest number of nodes.
        max: usize,
    },
    /// A node has a vCPU that the machine does not have.
    #[error(
        "NUMA node {node} has vCPU {cpu}, but the machine has {vcpus} vCPUs, which are numbered from 0 on"
    )]
    NoSuchCpu {
        /// The node.
        node: u32,
        /// The index of the vCPU.
        cpu: u32,
        /// Number of vCPUs of the machine.
        vcpus: u32,
    },
    /// A vCPU is listed twice.
    #[error(
        "vCPU {cpu} is listed twice in the NUMA nodes {first} and {second}: it must be in one of them, once"
    )]
    CpuTwice {
        /// The index of the vCPU.
        cpu: u32,
        /// The node of the first entry.
        first: u32,
        /// The node of the second entry.
        second: u32,
    },
    /// A vCPU is in no node.
    #[error("vCPU {cpu} is in no NUMA node")]
    CpuWithoutNode {
        /// The index of the vCPU.
        cpu: u32,
    },
    /// The memory of a node is empty or does not consist of whole pages of 4 KiB.
    #[error("the memory {range} of NUMA node {node} must be one or more pages of 4 KiB")]
    Memory {
        /// The node.
        node: u32,
        /// Its addresses.
        range: GuestRange,
    },
    /// Two ranges of memory overlap.
    #[error("the memory {first_range} of NUMA node {first} and {second_range} of node {second} overlap")]
    MemoryOverlap {
        /// The node of the lower range.
        first: u32,
        /// The lower range.
        first_range: GuestRange,
        /// The node of the other range.
        second: u32,
        /// The other range.
        second_range: GuestRange,
    },
    /// RAM of the machine is in no node. Linux does not use NUMA then.
    #[error("the RAM at {range} is in no NUMA node")]
    RamWithoutNode {
        /// The RAM, up to the next node.
        range: GuestRange,
    },
    /// A distance is that of a node which does not exist.
    #[error(
        "there is a distance of NUMA node {node}, but there are {nodes} nodes, which are numbered from 0 on"
    )]
    NoSuchNode {
        /// The number of the node.
        node: u32,
        /// Number of nodes.
        nodes: usize,
    },
    /// A distance is out of range, or that of a node to itself.
    #[error(
        "the distance of the NUMA nodes {a} and {b} is {distance}: it must be 11 to 254, and the nodes different"
    )]
    Distance {
        /// A node.
        a: u32,
        /// The other node.
        b: u32,
        /// The distance.
        distance: u8,
    },
    /// There are two distances for two nodes.
    #[error("the distance of the NUMA nodes {a} and {b} is given twice")]
    DistanceTwice {
        /// A node.
        a: u32,
        /// The other node.
        b: u32,
    },
}
