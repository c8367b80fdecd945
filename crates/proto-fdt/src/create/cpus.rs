//! `/cpus` (Devicetree Specification, "/cpus Node Properties"; Linux bindings `arm/cpus.yaml`, `riscv/cpus.yaml` and
//! `riscv/extensions.yaml`).

use alloc::format;
use alloc::string::ToString;
use alloc::vec;

use boot_core::Machine;
use boot_core::machine::{Arm64Cpu, Cpus, Isa, Numa, RiscvHart, Topology};

use super::writer::{Writer, cells_of};
use super::{numa, phandle, topology};
use crate::error::CreateFdtError;

/// Writes `/cpus`.
pub(super) fn write(tree: &mut Writer, machine: &Machine) -> Result<(), CreateFdtError> {
    let places = Places::of(machine);
    match &machine.platform.cpus {
        Cpus::Arm64(cpus) => {
            let has_psci = machine.platform.psci.is_some();
            let wide = cpus.iter().any(|cpu| is_wide(cpu.affinity()));
            tree.node("cpus", |tree| {
                tree.cells("#address-cells", &[if wide { 2 } else { 1 }])?;
                tree.cells("#size-cells", &[0])?;
                cpus.iter()
                    .zip(places)
                    .try_for_each(|(cpu, place)| write_arm64(tree, cpu, wide, has_psci, &place))?;
                write_topology(tree, machine)
            })
        }
        Cpus::Riscv64(cpus) => {
            let wide = cpus.harts.iter().any(|hart| is_wide(hart.hart_id));
            tree.node("cpus", |tree| {
                tree.cells("#address-cells", &[if wide { 2 } else { 1 }])?;
                tree.cells("#size-cells", &[0])?;
                tree.cells("timebase-frequency", &[cpus.timebase_frequency])?;
                cpus.harts
                    .iter()
                    .zip(phandle::HARTS..)
                    .zip(places)
                    .try_for_each(|((hart, phandle), place)| write_hart(tree, hart, wide, phandle, &place))?;
                write_topology(tree, machine)
            })
        }
        _ => Err(CreateFdtError::NoCpus),
    }
}

fn write_topology(tree: &mut Writer, machine: &Machine) -> Result<(), CreateFdtError> {
    match &machine.topology {
        Some(topology) => topology::write(tree, topology),
        None => Ok(()),
    }
}

/// The place of a CPU among the others.
struct Place {
    numa_node: Option<u32>,
    /// With the index of the CPU.
    topology: Option<(Topology, u32)>,
}

impl Place {
    fn write(&self, tree: &mut Writer) -> Result<(), CreateFdtError> {
        numa::write_id(tree, self.numa_node)?;
        match &self.topology {
            Some((topology, index)) => topology::write_cpu(tree, topology, *index),
            None => Ok(()),
        }
    }
}

/// The places of the CPUs in their order. There is no end.
struct Places {
    numa_nodes: vec::IntoIter<(u32, u32)>,
    topology: Option<Topology>,
    next: u32,
}

impl Places {
    fn of(machine: &Machine) -> Self {
        let cpus = machine.numa.as_ref().map(Numa::cpus).unwrap_or_default();
        Self {
            numa_nodes: cpus.into_iter(),
            topology: machine.topology,
            next: 0,
        }
    }
}

impl Iterator for Places {
    type Item = Place;

    fn next(&mut self) -> Option<Self::Item> {
        let index = self.next;
        self.next = index.saturating_add(1);
        Some(Place {
            numa_node: self.numa_nodes.next().map(|(_, node)| node),
            topology: self.topology.map(|topology| (topology, index)),
        })
    }
}

/// Whether an id needs two cells.
fn is_wide(id: u64) -> bool {
    u32::try_from(id).is_err()
}

/// The first properties of every CPU node.
fn write_common(tree: &mut Writer, compatible: &str, id: u64, wide: bool) -> Result<(), CreateFdtError> {
    tree.string("device_type", "cpu")?;
    tree.string("compatible", compatible)?;
    let [high, low] = cells_of(id);
    if wide {
        tree.cells("reg", &[high, low])
    } else {
        tree.cells("reg", &[low])
    }
}

fn write_arm64(
    tree: &mut Writer,
    cpu: &Arm64Cpu,
    wide: bool,
    has_psci: bool,
    place: &Place,
) -> Result<(), CreateFdtError> {
    let id = cpu.affinity();
    tree.node(&format!("cpu@{id:x}"), |tree| {
        write_common(tree, &cpu.compatible, id, wide)?;
        if has_psci {
            tree.string("enable-method", "psci")?;
        }
        place.write(tree)
    })
}

fn write_hart(
    tree: &mut Writer,
    hart: &RiscvHart,
    wide: bool,
    phandle: u32,
    place: &Place,
) -> Result<(), CreateFdtError> {
    let id = hart.hart_id;
    tree.node(&format!("cpu@{id:x}"), |tree| {
        write_common(tree, "riscv", id, wide)?;
        tree.string("status", "okay")?;
        tree.string("riscv,isa", &hart.isa.to_string())?;
        tree.string("riscv,isa-base", Isa::BASE)?;
        tree.strings("riscv,isa-extensions", hart.isa.extensions())?;
        tree.string("mmu-type", hart.mmu.name())?;
        for (name, size) in [
            ("riscv,cbom-block-size", hart.cbom_block_size),
            ("riscv,cboz-block-size", hart.cboz_block_size),
            ("riscv,cbop-block-size", hart.cbop_block_size),
        ] {
            if let Some(size) = size {
                tree.cells(name, &[size])?;
            }
        }
        place.write(tree)?;
        tree.node("interrupt-controller", |tree| {
            tree.string("compatible", "riscv,cpu-intc")?;
            tree.bytes("interrupt-controller", &[])?;
            tree.cells("#interrupt-cells", &[1])?;
            tree.cells("#address-cells", &[0])?;
            // The node is its own interrupt parent. Without this property it would inherit that of the root node: the
            // PLIC or APLIC, whose interrupts go to this node. Linux would initialize neither.
            tree.cells("interrupt-parent", &[phandle])?;
            tree.phandle(phandle)
        })
    })
}
