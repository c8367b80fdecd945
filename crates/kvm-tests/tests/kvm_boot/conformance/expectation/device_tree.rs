//! Expected boot parameters of machines with a device tree.

use std::error::Error;

use boot_core::machine::{Cpus, InterruptController};
use contract::{Blob, Digest, Expectation, Irqchip, Memory, MemoryRange};
use hv_core::virt::SERIAL;

use crate::conformance::build::Build;
use crate::setup::Setup;

/// The expectation on arm64 and riscv64.
pub(in crate::conformance) fn expectation(
    build: Build,
    setup: &Setup,
    base: u64,
) -> Result<String, Box<dyn Error>> {
    let machine = crate::machine::describe(setup)?;
    // The memory nodes of a device tree contain only RAM.
    let map: Vec<_> = machine
        .memory
        .ram()
        .map(|bank| MemoryRange {
            start: bank.start(),
            end: bank.end(),
            kind: 1,
        })
        .collect();
    let cpus: Vec<u64> = match &machine.platform.cpus {
        Cpus::Arm64(cpus) => cpus.iter().map(boot_core::machine::Arm64Cpu::affinity).collect(),
        Cpus::Riscv64(cpus) => cpus.harts.iter().map(|hart| hart.hart_id).collect(),
        _ => return Err("a machine without a description of its CPUs".into()),
    };
    let expectation = Expectation {
        entry: Some(build.entry),
        image: Some(build.image),
        base: Some(base),
        memory: Some(if map.len() > 8 {
            Memory::digest_of(&map)
        } else {
            Memory::Ranges(&map)
        }),
        initrd: Some(match &setup.initrd {
            Some(bytes) => Blob::Present(Digest::of(bytes)),
            None => Blob::Absent,
        }),
        cpus: Some(contract::Cpus::Ids(&cpus)),
        irqchip: Some(irqchip(&machine.platform.interrupt_controller)?),
        serial: Some(SERIAL.start()),
        ..Expectation::default()
    };
    Ok(expectation.to_string())
}

fn irqchip(controller: &InterruptController) -> Result<Irqchip, Box<dyn Error>> {
    Ok(match controller {
        InterruptController::GicV2(_) => Irqchip::GicV2,
        InterruptController::GicV3(gic) if gic.its.is_some() => Irqchip::GicV3Its,
        InterruptController::GicV3(_) => Irqchip::GicV3,
        InterruptController::Plic(_) => Irqchip::Plic,
        InterruptController::Aplic(aplic) if aplic.imsic.is_some() => Irqchip::AplicImsic,
        InterruptController::Aplic(_) => Irqchip::Aplic,
        _ => return Err("a machine without a description of its interrupt controller".into()),
    })
}
