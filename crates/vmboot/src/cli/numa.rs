//! NUMA options of `plan` and `run`.

use std::error::Error;

use boot_core::machine::{Numa, NumaDistance, NumaError, NumaNode};
use boot_core::{ByteCount, GuestRange, Machine, MemoryMap};

use super::advised::AdvisedError;
use super::number::memory_size;

/// NUMA nodes of the machine, numbered from 0 on in the order of the options.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct NumaArgs {
    /// NUMA node: a part of --memory, from the lowest addresses on, and vCPUs, such as mem=256M,cpus=0-1; cpus= can be
    /// repeated. Repeat the option for each node.
    #[arg(long = "numa-node", value_name = "mem=SIZE,cpus=A-B", value_parser = node, conflicts_with_all = ["no_acpi", "acpi_rsdp"])]
    nodes: Vec<NodeArg>,
    /// Distance between two NUMA nodes, 11 to 254, such as 0,1=30 for the nodes 0 and 1; can be repeated [default: 20].
    #[arg(long = "numa-distance", value_name = "A,B=N", value_parser = distance, requires = "nodes")]
    distances: Vec<NumaDistance>,
}

/// Value of `--numa-node`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct NodeArg {
    /// In bytes.
    memory: u64,
    cpus: Vec<u32>,
}

/// Error in a NUMA option.
#[derive(Debug, thiserror::Error)]
enum NumaArgError {
    #[error("not a NUMA node; use mem= and cpus= such as mem=256M,cpus=0-1")]
    Node,
    #[error("mem={0} is not a size; use a size such as mem=256M")]
    Memory(String),
    #[error("mem={0} is not a multiple of 4 KiB; use a size such as mem=256M")]
    PartOfPage(String),
    #[error("mem= occurs twice; use it once")]
    MemoryTwice,
    #[error("cpus={0} is not a range of vCPUs; use a number or a range such as cpus=0-1")]
    Cpus(String),
    #[error("not a distance; use two nodes and a number such as 0,1=30")]
    Distance,
    #[error("the NUMA nodes have {} of memory, but the machine has {}", ByteCount(*.of_nodes), ByteCount(*.machine))]
    Sum { of_nodes: u64, machine: u64 },
}

/// Largest number of vCPUs in a range, so that a mistake does not fill memory. No machine has more.
const MAX_CPUS: u32 = 0x1_0000;

/// Parses a node.
fn node(text: &str) -> Result<NodeArg, NumaArgError> {
    let mut memory = None;
    let mut cpus = Vec::new();
    for part in text.split(',') {
        match part.split_once('=') {
            Some(("mem", _)) if memory.is_some() => return Err(NumaArgError::MemoryTwice),
            Some(("mem", size)) => {
                let bytes = memory_size(size).map_err(|_error| NumaArgError::Memory(size.to_owned()))?;
                if !bytes.bytes.is_multiple_of(0x1000) {
                    return Err(NumaArgError::PartOfPage(size.to_owned()));
                }
                memory = Some(bytes.bytes);
            }
            Some(("cpus", range)) => {
                cpus.extend(cpu_range(range).ok_or_else(|| NumaArgError::Cpus(range.to_owned()))?);
            }
            _ => return Err(NumaArgError::Node),
        }
    }
    Ok(NodeArg {
        memory: memory.unwrap_or(0),
        cpus,
    })
}

/// Parses `A` or `A-B`, both inclusive.
fn cpu_range(text: &str) -> Option<impl Iterator<Item = u32> + use<>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last && last < MAX_CPUS).then_some(first..=last)
}

/// Parses a distance.
fn distance(text: &str) -> Result<NumaDistance, NumaArgError> {
    let parse = || {
        let (nodes, distance) = text.split_once('=')?;
        let (a, b) = nodes.split_once(',')?;
        let distance = NumaDistance::new(a.parse().ok()?, b.parse().ok()?, distance.parse().ok()?);
        Some(distance)
    };
    parse().ok_or(NumaArgError::Distance)
}

impl NumaArgs {
    /// Gives `machine` the nodes, before any of its memory is reserved.
    pub(crate) fn describe(&self, machine: &mut Machine) -> Result<(), Box<dyn Error>> {
        if self.nodes.is_empty() {
            return Ok(());
        }
        let mut numa = Numa::new(self.nodes(&machine.memory)?);
        numa.distances.clone_from(&self.distances);
        numa.check(machine.vcpus, &machine.memory)
            .map_err(|error| AdvisedError::new(error, help(&error)))?;
        machine.numa = Some(numa);
        Ok(())
    }

    /// The nodes with their parts of the memory.
    fn nodes(&self, memory: &MemoryMap) -> Result<Vec<NumaNode>, AdvisedError> {
        let banks = banks(memory);
        let machine = banks.iter().map(|bank| bank.len()).sum();
        let sizes = self.nodes.iter().map(|node| node.memory);
        let of_nodes = sizes.fold(0_u64, u64::saturating_add);
        if of_nodes != machine {
            let error = NumaArgError::Sum { of_nodes, machine };
            let help = "use sizes whose sum is --memory, which is 512M by default";
            return Err(AdvisedError::new(error, help));
        }
        let mut banks = banks.into_iter();
        let mut rest = GuestRange::EMPTY;
        let mut nodes = Vec::new();
        for NodeArg { memory, cpus } in &self.nodes {
            let mut missing = *memory;
            let mut ranges = Vec::new();
            while missing > 0 {
                if rest.is_empty() {
                    // The sums are equal, so there is another bank.
                    let Some(bank) = banks.next() else { break };
                    rest = bank;
                }
                let len = missing.min(rest.len());
                let (part, behind) = split(rest, len);
                ranges.push(part);
                (rest, missing) = (behind, missing - len);
            }
            nodes.push(NumaNode::new(cpus.clone(), ranges));
        }
        Ok(nodes)
    }
}

/// The first `len` bytes of a range that has them, and those behind.
fn split(range: GuestRange, len: u64) -> (GuestRange, GuestRange) {
    let middle = range.start() + len;
    let part = |start, end| GuestRange::from_bounds(start, end).unwrap_or(GuestRange::EMPTY);
    (part(range.start(), middle), part(middle, range.end()))
}

/// The banks of RAM that --memory is about: the first MiB of a PC is part of its memory, also where it is not RAM.
fn banks(memory: &MemoryMap) -> Vec<GuestRange> {
    const MIB: u64 = 1 << 20;
    let mut banks: Vec<GuestRange> = Vec::new();
    for bank in memory.ram() {
        match banks.last_mut() {
            Some(last) if last.start() == 0 && bank.start() == MIB => *last = last.span(bank),
            _ => banks.push(bank),
        }
    }
    banks
}

/// What to do about nodes that do not fit the machine.
fn help(error: &NumaError) -> String {
    match error {
        NumaError::NodeCount { max, .. } => format!("use at most {max} times --numa-node"),
        NumaError::NoSuchCpu { vcpus, .. } => format!("use vCPUs below {vcpus}, or a larger --vcpus"),
        NumaError::CpuTwice { cpu, .. } => format!("use vCPU {cpu} in one --numa-node only"),
        NumaError::CpuWithoutNode { cpu } => format!("add cpus={cpu} to a --numa-node"),
        NumaError::NoSuchNode { .. } => "add a --numa-node, or use other nodes in --numa-distance".to_owned(),
        NumaError::Distance { .. } => "use another --numa-distance".to_owned(),
        NumaError::DistanceTwice { .. } => "use --numa-distance once for two nodes".to_owned(),
        _ => "use other sizes in --numa-node".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use boot_core::Arch;
    use hv_core::virt;

    use super::*;

    fn args(nodes: &[&str], distances: &[&str]) -> NumaArgs {
        NumaArgs {
            nodes: nodes.iter().map(|text| node(text).unwrap()).collect(),
            distances: distances.iter().map(|text| distance(text).unwrap()).collect(),
        }
    }

    #[test]
    fn memory_is_divided_in_the_order_of_addresses() {
        let range = |start: u64, end: u64| GuestRange::from_bounds(start << 30, end << 30).unwrap();
        let check = |map: MemoryMap, nodes: &[&str], expected: &[&[GuestRange]]| {
            let nodes = args(nodes, &[]).nodes(&map).unwrap();
            let found: Vec<_> = nodes.iter().map(|node| &node.memory[..]).collect();
            assert_eq!(found, expected);
        };
        // A PC has a hole below 4 GiB.
        check(
            MemoryMap::pc(6 << 30).unwrap(),
            &["mem=1G", "cpus=0", "mem=3G", "mem=2G"],
            &[&[range(0, 1)], &[], &[range(1, 3), range(4, 5)], &[range(5, 7)]],
        );
        check(
            virt::memory_map(2 << 30).unwrap(),
            &["mem=2G,cpus=0"],
            &[&[range(2, 4)]],
        );
    }

    #[test]
    fn nodes_and_distances_are_those_of_the_options() {
        let mut machine = Machine::new(Arch::X86_64, MemoryMap::pc(1 << 30).unwrap());
        machine.vcpus = 4.try_into().unwrap();
        let args = args(&["mem=256M,cpus=0,cpus=2-3", "cpus=1,mem=768M"], &["0,1=33"]);
        args.describe(&mut machine).unwrap();
        let numa = machine.numa.unwrap();
        assert_eq!(numa.cpus(), [(0, 0), (1, 1), (2, 0), (3, 0)]);
        assert_eq!(numa.distance(1, 0), 33);
    }

    #[test]
    fn texts_that_are_no_nodes_are_refused() {
        for text in [
            "",
            "256M",
            "mem",
            "mem=",
            "mem=x",
            "mem=1M,mem=1M",
            "mem=1B",
            "cpus=",
            "cpus=1-0",
            "cpus=-1",
            "cpus=0-65536",
            "size=1M",
        ] {
            assert!(node(text).is_err(), "{text}");
        }
        for text in ["", "0,1", "0=1", "0,1=256", "0,-1=20", "a,b=c"] {
            assert!(distance(text).is_err(), "{text}");
        }
    }
}
