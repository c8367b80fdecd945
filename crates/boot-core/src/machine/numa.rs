//! NUMA nodes.

mod error;

use alloc::vec::Vec;
use core::num::NonZeroU32;

pub use error::NumaError;

use crate::{GuestRange, MemoryMap, arith};

/// The NUMA nodes of a machine: which CPUs and which memory are close to each other.
///
/// A node has the number of its place in the list. A guest gets them as proximity domains of the ACPI tables SRAT and SLIT (ACPI 6.5, sections 5.2.16
/// and 5.2.17), which the crate `boot-acpi` creates, or as `numa-node-id` and a distance map in its device tree (Linux binding
/// `numa.txt`), which `proto-fdt` creates.
///
/// ```
/// use boot_core::machine::{Numa, NumaNode};
/// use boot_core::{Arch, GuestRange, Machine, MemoryMap};
///
/// let mut machine = Machine::new(Arch::X86_64, MemoryMap::pc(512 << 20)?);
/// machine.vcpus = 4.try_into()?;
/// let half = |start| GuestRange::new(start, 256 << 20).ok_or("too large");
/// let nodes = vec![
///     NumaNode::new(vec![0, 1], vec![half(0)?]),
///     NumaNode::new(vec![2, 3], vec![half(256 << 20)?]),
/// ];
/// let numa = Numa::new(nodes).with_distance(0, 1, 30);
/// numa.check(machine.vcpus, &machine.memory)?;
/// assert_eq!((numa.distance(0, 0), numa.distance(1, 0)), (10, 30));
/// machine.numa = Some(numa);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Numa {
    /// The nodes, at most [`MAX_NODES`](Self::MAX_NODES).
    pub nodes: Vec<NumaNode>,
    /// Distances between two nodes, each pair at most once. The others are [`REMOTE_DISTANCE`](Self::REMOTE_DISTANCE).
    pub distances: Vec<NumaDistance>,
}

/// A NUMA node. It can be without CPUs or without memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct NumaNode {
    /// The indices of its vCPUs.
    pub cpus: Vec<u32>,
    /// Guest physical addresses whose RAM is that of the node, in multiples of 4 KiB. They may contain addresses without RAM.
    pub memory: Vec<GuestRange>,
}

impl NumaNode {
    /// A node with these vCPUs and addresses.
    #[must_use]
    pub const fn new(cpus: Vec<u32>, memory: Vec<GuestRange>) -> Self {
        Self { cpus, memory }
    }
}

/// The distance between two nodes, in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct NumaDistance {
    /// The numbers of two different nodes.
    pub nodes: [u32; 2],
    /// Time of an access relative to one inside a node, which is 10: 11 to 254.
    pub distance: u8,
}

impl NumaDistance {
    /// The distance between the nodes `a` and `b`.
    #[must_use]
    pub const fn new(a: u32, b: u32, distance: u8) -> Self {
        Self {
            nodes: [a, b],
            distance,
        }
    }
}

impl Numa {
    /// Largest number of nodes. Their numbers have 8 bits in the first revision of the SRAT (ACPI 6.5, section 5.2.16.1: proximity domain, bits 0 to 7).
    pub const MAX_NODES: usize = 256;
    /// Distance inside a node (ACPI 6.5, section 5.2.17; Linux binding `numa.txt`).
    pub const LOCAL_DISTANCE: u8 = 10;
    /// Distance of two nodes unless it is in [`distances`](Self::distances): that which Linux assumes (`REMOTE_DISTANCE`).
    pub const REMOTE_DISTANCE: u8 = 20;
    /// The distance that stands for unreachable (ACPI 6.5, section 5.2.17).
    const UNREACHABLE: u8 = 255;

    /// These nodes, all of them equally far from each other.
    #[must_use]
    pub const fn new(nodes: Vec<NumaNode>) -> Self {
        Self {
            nodes,
            distances: Vec::new(),
        }
    }

    /// The same with a distance between the nodes `a` and `b`.
    #[must_use]
    pub fn with_distance(mut self, a: u32, b: u32, distance: u8) -> Self {
        self.distances.push(NumaDistance::new(a, b, distance));
        self
    }

    /// The nodes with their numbers.
    pub fn numbered(&self) -> impl Iterator<Item = (u32, &NumaNode)> {
        (0_u32..).zip(&self.nodes)
    }

    /// The distance between the nodes `a` and `b`.
    #[must_use]
    pub fn distance(&self, a: u32, b: u32) -> u8 {
        if a == b {
            return Self::LOCAL_DISTANCE;
        }
        let pair = |known: &&NumaDistance| known.nodes == [a, b] || known.nodes == [b, a];
        let known = self.distances.iter().find(pair);
        known.map_or(Self::REMOTE_DISTANCE, |known| known.distance)
    }

    /// The node of each vCPU, in the order of the vCPU indices: pairs of index and node.
    #[must_use]
    pub fn cpus(&self) -> Vec<(u32, u32)> {
        let cpus = self
            .numbered()
            .flat_map(|(node, of)| of.cpus.iter().map(move |cpu| (*cpu, node)));
        let mut cpus: Vec<_> = cpus.collect();
        cpus.sort_unstable();
        cpus
    }

    /// The RAM of a memory map in the order of its addresses, with its nodes: a bank in several nodes has a range in each.
    #[must_use]
    pub fn ram(&self, memory: &MemoryMap) -> Vec<(GuestRange, u32)> {
        let ranges = self.ranges();
        let of_bank = |bank: GuestRange| {
            let parts = ranges
                .iter()
                .filter_map(move |(range, node)| Some((range.intersection(bank)?, *node)));
            parts.filter(|(part, _)| !part.is_empty())
        };
        memory.ram().flat_map(of_bank).collect()
    }

    /// The ranges of all nodes in the order of their addresses.
    fn ranges(&self) -> Vec<(GuestRange, u32)> {
        let ranges = self
            .numbered()
            .flat_map(|(node, of)| of.memory.iter().map(move |range| (*range, node)));
        let mut ranges: Vec<_> = ranges.collect();
        ranges.sort_unstable_by_key(|(range, node)| (range.start(), range.end(), *node));
        ranges
    }

    /// Checks that each vCPU of a machine and all of its RAM are in one node, and that distances are those of nodes.
    ///
    /// # Errors
    ///
    /// [`NumaError`], with the first violation.
    pub fn check(&self, vcpus: NonZeroU32, memory: &MemoryMap) -> Result<(), NumaError> {
        let found = self.nodes.len();
        if !(1..=Self::MAX_NODES).contains(&found) {
            return Err(NumaError::NodeCount {
                found,
                max: Self::MAX_NODES,
            });
        }
        self.check_cpus(vcpus.get())?;
        self.check_memory(memory)?;
        self.check_distances()
    }

    fn check_cpus(&self, vcpus: u32) -> Result<(), NumaError> {
        let cpus = self.cpus();
        if let Some((cpu, node)) = cpus.iter().copied().find(|(cpu, _)| *cpu >= vcpus) {
            return Err(NumaError::NoSuchCpu { node, cpu, vcpus });
        }
        for pair in cpus.windows(2) {
            match *pair {
                [(cpu, first), (other, second)] if cpu == other => {
                    return Err(NumaError::CpuTwice { cpu, first, second });
                }
                _ => {}
            }
        }
        // All are different and below the number of vCPUs.
        let missing = (0..vcpus)
            .zip(
                cpus.iter()
                    .map(|(cpu, _)| Some(*cpu))
                    .chain(core::iter::repeat(None)),
            )
            .find(|(index, cpu)| *cpu != Some(*index));
        match missing {
            Some((cpu, _)) => Err(NumaError::CpuWithoutNode { cpu }),
            None => Ok(()),
        }
    }

    fn check_memory(&self, memory: &MemoryMap) -> Result<(), NumaError> {
        const PAGE: u64 = 0x1000;
        let ranges = self.ranges();
        let is_whole = |range: GuestRange| {
            !range.is_empty()
                && [range.start(), range.end()].map(|at| arith::align_down(at, PAGE))
                    == [range.start(), range.end()]
        };
        if let Some((range, node)) = ranges.iter().copied().find(|(range, _)| !is_whole(*range)) {
            return Err(NumaError::Memory { node, range });
        }
        for pair in ranges.windows(2) {
            match *pair {
                [(first_range, first), (second_range, second)] if first_range.overlaps(second_range) => {
                    return Err(NumaError::MemoryOverlap {
                        first,
                        first_range,
                        second,
                        second_range,
                    });
                }
                _ => {}
            }
        }
        for bank in memory.ram() {
            let mut covered = bank.start();
            for (range, _) in &ranges {
                if range.contains_addr(covered) {
                    covered = range.end();
                }
            }
            if covered < bank.end() {
                let starts = ranges.iter().map(|(range, _)| range.start());
                let next = starts.filter(|start| *start > covered).min();
                let end = next.map_or(bank.end(), |next| next.min(bank.end()));
                let range = GuestRange::from_bounds(covered, end).unwrap_or(bank);
                return Err(NumaError::RamWithoutNode { range });
            }
        }
        Ok(())
    }

    fn check_distances(&self) -> Result<(), NumaError> {
        let nodes = self.nodes.len();
        let mut pairs = Vec::new();
        for NumaDistance {
            nodes: [a, b],
            distance,
        } in self.distances.iter().copied()
        {
            let is_missing = |node: &u32| usize::try_from(*node).is_ok_and(|node| node >= nodes);
            if let Some(node) = [a, b].into_iter().find(is_missing) {
                return Err(NumaError::NoSuchNode { node, nodes });
            }
            if a == b || distance <= Self::LOCAL_DISTANCE || distance == Self::UNREACHABLE {
                return Err(NumaError::Distance { a, b, distance });
            }
            pairs.push([a.min(b), a.max(b)]);
        }
        pairs.sort_unstable();
        for pair in pairs.windows(2) {
            match *pair {
                [[a, b], second] if [a, b] == second => return Err(NumaError::DistanceTwice { a, b }),
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;
    use std::vec;

    use super::*;
    const MIB: u64 = 1 << 20;

    fn range(start: u64, end: u64) -> GuestRange {
        GuestRange::from_bounds(start * MIB, end * MIB).unwrap()
    }

    fn memory() -> MemoryMap {
        MemoryMap::pc(512 * MIB).unwrap()
    }

    /// On a machine with four CPUs and 512 MiB.
    fn check_with(numa: &Numa) -> Result<(), NumaError> {
        numa.check(4.try_into().unwrap(), &memory())
    }

    fn two() -> Numa {
        Numa::new(vec![
            NumaNode::new(vec![3, 0], vec![range(0, 256)]),
            NumaNode::new(vec![1, 2], vec![range(256, 512)]),
        ])
    }

    #[test]
    fn nodes_are_found_by_cpu_address_and_pair() {
        let numa = two().with_distance(1, 0, 17);
        assert_eq!(check_with(&numa), Ok(()));
        assert_eq!(numa.cpus(), [(0, 0), (1, 1), (2, 1), (3, 0)]);
        let low = GuestRange::from_bounds(0, 0xa_0000).unwrap();
        assert_eq!(
            numa.ram(&memory()),
            [(low, 0), (range(1, 256), 0), (range(256, 512), 1)]
        );
        assert_eq!([numa.distance(0, 1), numa.distance(1, 0)], [17, 17]);
        assert_eq!([numa.distance(1, 1), two().distance(0, 1)], [10, 20]);
    }

    #[test]
    fn nodes_without_cpus_or_memory_are_allowed() {
        let mut numa = two();
        numa.nodes[0].memory = Vec::new();
        numa.nodes[1] = NumaNode::new(vec![1, 2], vec![range(0, 100), range(101, 300)]);
        numa.nodes
            .push(NumaNode::new(Vec::new(), vec![range(100, 101), range(300, 4096)]));
        assert_eq!(check_with(&numa), Ok(()));
        let ram = numa.ram(&memory());
        assert_eq!(
            ram[1..],
            [
                (range(1, 100), 1),
                (range(100, 101), 2),
                (range(101, 300), 1),
                (range(300, 512), 2)
            ]
        );
    }

    #[test]
    fn nodes_that_do_not_fit_are_refused() {
        let check = |change: fn(&mut Numa), expected: &str| {
            let mut numa = two();
            change(&mut numa);
            assert_eq!(check_with(&numa).unwrap_err().to_string(), expected);
        };
        check(
            |numa| numa.nodes.clear(),
            "there are 0 NUMA nodes, expected 1 to 256",
        );
        check(
            |numa| numa.nodes.resize(257, NumaNode::default()),
            "there are 257 NUMA nodes, expected 1 to 256",
        );
        check(
            |numa| numa.nodes[1].cpus.push(4),
            "NUMA node 1 has vCPU 4, but the machine has 4 vCPUs, which are numbered from 0 on",
        );
        check(
            |numa| numa.nodes[1].cpus.push(3),
            "vCPU 3 is listed twice in the NUMA nodes 0 and 1: it must be in one of them, once",
        );
        check(|numa| numa.nodes[0].cpus = vec![0], "vCPU 3 is in no NUMA node");
        check(|numa| numa.nodes[1].cpus = vec![2], "vCPU 1 is in no NUMA node");
        check(
            |numa| numa.nodes[1].memory.push(GuestRange::EMPTY),
            "the memory 0x0..0x0 of NUMA node 1 must be one or more pages of 4 KiB",
        );
        check(
            |numa| numa.nodes[1].memory[0] = GuestRange::new(0x1000_0000, 0x1fff).unwrap(),
            "the memory 0x10000000..0x10001fff of NUMA node 1 must be one or more pages of 4 KiB",
        );
        check(
            |numa| numa.nodes[0].memory[0] = range(0, 257),
            "the memory 0x0..0x10100000 of NUMA node 0 and 0x10000000..0x20000000 of node 1 overlap",
        );
        check(
            |numa| numa.nodes[0].memory[0] = range(0, 255),
            "the RAM at 0xff00000..0x10000000 is in no NUMA node",
        );
        check(
            |numa| numa.nodes[1].memory[0] = range(256, 511),
            "the RAM at 0x1ff00000..0x20000000 is in no NUMA node",
        );
        let distance =
            |numa: &mut Numa, a, b, distance| numa.distances.push(NumaDistance::new(a, b, distance));
        let refused = |entries: &[(u32, u32, u8)], expected: &str| {
            let mut numa = two();
            for &(a, b, value) in entries {
                distance(&mut numa, a, b, value);
            }
            assert_eq!(check_with(&numa).unwrap_err().to_string(), expected);
        };
        refused(
            &[(0, 2, 20)],
            "there is a distance of NUMA node 2, but there are 2 nodes, which are numbered from 0 on",
        );
        for (a, b, value) in [(0, 1, 10), (0, 1, 255), (1, 1, 20)] {
            let expected = std::format!(
                "the distance of the NUMA nodes {a} and {b} is {value}: it must be 11 to 254, and the nodes different"
            );
            refused(&[(a, b, value)], &expected);
        }
        refused(
            &[(0, 1, 20), (1, 0, 21)],
            "the distance of the NUMA nodes 0 and 1 is given twice",
        );
    }
}
