//! The address ranges of a machine's devices.

use alloc::vec::Vec;

use boot_core::machine::InterruptController;
use boot_core::{GuestRange, Machine};

/// The address ranges of all devices, each with the name of the device.
pub(crate) fn device_ranges(machine: &Machine) -> Vec<(&'static str, GuestRange)> {
    let platform = &machine.platform;
    let mut all = Vec::new();
    match &platform.interrupt_controller {
        InterruptController::GicV2(gic) => {
            all.push(("GIC distributor", gic.distributor));
            all.push(("GIC CPU interface", gic.cpu_interface));
            all.extend(gic.v2m.iter().map(|v2m| ("GICv2m frame", v2m.frame)));
        }
        InterruptController::GicV3(gic) => {
            all.push(("GIC distributor", gic.distributor));
            all.extend(
                gic.redistributors
                    .iter()
                    .map(|range| ("GIC redistributors", *range)),
            );
            all.extend(gic.its.iter().map(|range| ("GIC ITS", *range)));
        }
        InterruptController::Plic(plic) => all.push(("PLIC", plic.range)),
        InterruptController::Aplic(aplic) => {
            all.push(("APLIC", aplic.range));
            all.extend(aplic.imsic.iter().map(|imsic| ("IMSIC", imsic.range)));
        }
        _ => {}
    }
    all.extend(platform.serial.iter().map(|serial| ("serial port", serial.range)));
    all.extend(
        platform
            .virtio_mmio
            .iter()
            .map(|slot| ("virtio-mmio slot", slot.range)),
    );
    if let Some(pci) = &platform.pci {
        all.push(("PCI configuration space", pci.ecam));
        all.extend(pci.windows.iter().map(|window| ("PCI window", window.range)));
    }
    all.extend(platform.syscon.iter().map(|syscon| ("syscon", syscon.range)));
    all
}
