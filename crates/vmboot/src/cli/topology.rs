//! Topology option of `plan` and `run`.

use std::error::Error;
use std::num::NonZeroU32;

use boot_core::machine::Topology;
use boot_core::{Arch, Machine};

use super::advised::AdvisedError;

/// The topology of the vCPUs.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct TopologyArgs {
    /// Topology of the vCPUs of an arm64 or riscv64 machine: numbers of sockets, of cores in each socket and of threads in each
    /// core, such as 2,4,1; or with clusters in each socket, such as 1,2,4,1. The product is --vcpus.
    #[arg(
        long,
        value_name = "SOCKETS,[CLUSTERS,]CORES,THREADS",
        value_parser = topology,
        allow_negative_numbers = true,
        conflicts_with = "acpi_rsdp",
    )]
    topology: Option<Topology>,
}

/// Error in the option.
#[derive(Debug, thiserror::Error)]
enum TopologyArgError {
    #[error("not a topology; use three numbers of at least 1 such as 2,4,1: sockets, cores and threads")]
    Text,
    #[error("a PC has the topology of its vCPUs from CPUID, not from --topology")]
    Pc,
}

/// Parses a topology.
fn topology(text: &str) -> Result<Topology, TopologyArgError> {
    let numbers: Option<Vec<NonZeroU32>> = text.split(',').map(|number| number.parse().ok()).collect();
    match numbers.as_deref() {
        Some([sockets, cores, threads]) => Ok(Topology::new(*sockets, *cores, *threads)),
        Some([sockets, clusters, cores, threads]) => {
            Ok(Topology::new(*sockets, *cores, *threads).with_clusters(*clusters))
        }
        _ => Err(TopologyArgError::Text),
    }
}

impl TopologyArgs {
    /// Gives `machine` the topology.
    pub(crate) fn describe(&self, machine: &mut Machine) -> Result<(), Box<dyn Error>> {
        let Some(topology) = self.topology else {
            return Ok(());
        };
        if machine.arch == Arch::X86_64 {
            return Err(AdvisedError::new(TopologyArgError::Pc, "omit --topology").into());
        }
        topology.check(machine.vcpus).map_err(|error| {
            let help = "use numbers whose product is --vcpus, which is 1 by default";
            AdvisedError::new(error, help)
        })?;
        machine.topology = Some(topology);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topologies_have_three_or_four_numbers() {
        let check = |text: &str, expected: Option<[u32; 4]>| {
            let found = topology(text).ok();
            let levels = found.map(|found| {
                [found.sockets, found.clusters, found.cores, found.threads].map(NonZeroU32::get)
            });
            assert_eq!(levels, expected, "{text}");
        };
        check("2,4,1", Some([2, 1, 4, 1]));
        check("1,2,4,3", Some([1, 2, 4, 3]));
        for text in [
            "",
            "2",
            "2,4",
            "0,1,1",
            "1,1,-1",
            "1,1,1,1,1",
            "1, 1,1",
            "4294967296,1,1",
        ] {
            check(text, None);
        }
    }
}
