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

#[cfg(test)]
mod tests {
    use boot_core::machine::{Aplic, GicV2, GicV2m, GicV3, Imsic, Plic};
    use boot_core::{Arch, MemoryMap};

    use super::*;

    #[test]
    fn every_range_of_an_interrupt_controller_is_listed() {
        let at = |start: u64| GuestRange::new(start, 0x1000).unwrap();
        let check = |controller: InterruptController, expected: &[(&str, u64)]| {
            let mut machine = Machine::new(Arch::Riscv64, MemoryMap::new());
            machine.platform.interrupt_controller = controller;
            let expected: Vec<_> = expected.iter().map(|(name, start)| (*name, at(*start))).collect();
            assert_eq!(device_ranges(&machine), expected);
        };
        let v2m = GicV2m::new(at(0x3000), 64, 16);
        check(
            InterruptController::GicV2(GicV2::new(at(0x1000), at(0x2000)).with_v2m(v2m)),
            &[
                ("GIC distributor", 0x1000),
                ("GIC CPU interface", 0x2000),
                ("GICv2m frame", 0x3000),
            ],
        );
        check(
            InterruptController::GicV3(
                GicV3::new(at(0x1000), [at(0x2000), at(0x3000)].into()).with_its(at(0x4000)),
            ),
            &[
                ("GIC distributor", 0x1000),
                ("GIC redistributors", 0x2000),
                ("GIC redistributors", 0x3000),
                ("GIC ITS", 0x4000),
            ],
        );
        check(
            InterruptController::Plic(Plic::new(at(0x1000), 10)),
            &[("PLIC", 0x1000)],
        );
        let imsic = Imsic::new(at(0x2000), 63);
        check(
            InterruptController::Aplic(Aplic::new(at(0x1000), 10).with_imsic(imsic)),
            &[("APLIC", 0x1000), ("IMSIC", 0x2000)],
        );
    }
}
