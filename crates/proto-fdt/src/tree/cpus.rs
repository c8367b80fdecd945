//! `/cpus` (Devicetree Specification, "/cpus Node Properties"; Linux bindings `arm/cpus.yaml`, `riscv/cpus.yaml` and
//! `riscv/extensions.yaml`).

use alloc::format;
use alloc::string::ToString;

use boot_core::Machine;
use boot_core::machine::{Arm64Cpu, Cpus, Isa, RiscvHart};

use super::node::{Writer, cells_of};
use super::phandle;
use crate::TreeError;

/// Writes `/cpus`, on arm64 with `/psci`, which starts them.
pub(super) fn write(tree: &mut Writer, machine: &Machine) -> Result<(), TreeError> {
    match &machine.platform.cpus {
        Cpus::Arm64(cpus) => {
            let psci = machine.platform.psci.is_some();
            let wide = cpus.iter().any(|cpu| is_wide(cpu.affinity()));
            tree.node("cpus", |tree| {
                tree.cells("#address-cells", &[if wide { 2 } else { 1 }])?;
                tree.cells("#size-cells", &[0])?;
                cpus.iter().try_for_each(|cpu| write_arm64(tree, cpu, wide, psci))
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
                    .try_for_each(|(hart, phandle)| write_hart(tree, hart, wide, phandle))
            })
        }
        _ => Err(TreeError::NoCpus),
    }
}

/// Whether an id needs two cells.
fn is_wide(id: u64) -> bool {
    u32::try_from(id).is_err()
}

/// What every CPU node begins with.
fn write_common(tree: &mut Writer, compatible: &str, id: u64, wide: bool) -> Result<(), TreeError> {
    tree.string("device_type", "cpu")?;
    tree.string("compatible", compatible)?;
    let [high, low] = cells_of(id);
    if wide {
        tree.cells("reg", &[high, low])
    } else {
        tree.cells("reg", &[low])
    }
}

fn write_arm64(tree: &mut Writer, cpu: &Arm64Cpu, wide: bool, psci: bool) -> Result<(), TreeError> {
    let id = cpu.affinity();
    tree.node(&format!("cpu@{id:x}"), |tree| {
        write_common(tree, &cpu.compatible, id, wide)?;
        if psci {
            tree.string("enable-method", "psci")?;
        }
        Ok(())
    })
}

fn write_hart(tree: &mut Writer, hart: &RiscvHart, wide: bool, phandle: u32) -> Result<(), TreeError> {
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
        tree.node("interrupt-controller", |tree| {
            tree.string("compatible", "riscv,cpu-intc")?;
            tree.bytes("interrupt-controller", &[])?;
            tree.cells("#interrupt-cells", &[1])?;
            tree.cells("#address-cells", &[0])?;
            // It interrupts nobody but its hart. Without this, Linux takes the parent that the root node names for the
            // devices to be its parent too, finds that the two wait for each other, and starts neither.
            tree.cells("interrupt-parent", &[phandle])?;
            tree.phandle(phandle)
        })
    })
}
