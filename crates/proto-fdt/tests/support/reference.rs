//! The reference machines with every kind of device.

use std::num::NonZeroU32;

use boot_core::machine::{
    Aplic, GicV2m, GicV3, Interrupt, InterruptController, Isa, Line, PciHost, PciSpace, PciWindow,
    ReservedMemory, Serial, SerialKind,
};
use boot_core::{Arch, GuestRange, Machine};
use hv_core::virt::{self, Gic, RiscvIrqchip};

/// All machines, by name.
pub(crate) fn machines() -> Vec<(&'static str, Machine)> {
    let cpus = NonZeroU32::new(4).unwrap();
    let arm64 = |gic| virt::arm64_machine(1 << 30, cpus, gic).unwrap();
    let riscv64 = |irqchip| {
        let isa = Isa::new(["i", "m", "a", "f", "d", "c", "zicbom", "zicboz", "sstc"]).unwrap();
        let mut machine = virt::riscv64_machine(1 << 30, cpus, &isa, 10_000_000, irqchip).unwrap();
        if let boot_core::machine::Cpus::Riscv64(cpus) = &mut machine.platform.cpus {
            for hart in &mut cpus.harts {
                hart.cbom_block_size = Some(64);
                hart.cboz_block_size = Some(64);
            }
        }
        machine
    };
    let mut all = vec![
        ("arm64-gicv2", arm64(Gic::V2)),
        ("arm64-gicv3", arm64(Gic::V3)),
        ("arm64-gicv3-its", arm64(Gic::V3WithIts)),
        ("riscv64-plic", riscv64(RiscvIrqchip::Plic)),
        ("riscv64-aplic", riscv64(RiscvIrqchip::Aplic)),
        ("riscv64-aplic-imsic", riscv64(RiscvIrqchip::AplicImsic)),
    ];
    for (_, machine) in &mut all {
        furnish(machine);
    }
    all
}

fn furnish(machine: &mut Machine) {
    let arch = machine.arch;
    let line = |number| {
        Interrupt::level(match arch {
            Arch::Riscv64 => Line::Source(number),
            _ => Line::Spi(number),
        })
    };
    let platform = &mut machine.platform;
    if let InterruptController::GicV2(gic) = &mut platform.interrupt_controller {
        gic.v2m = Some(GicV2m::new(virt::GICV2M_FRAME, 64, 32));
    }
    let msi = match &platform.interrupt_controller {
        InterruptController::GicV3(GicV3 { its, .. }) => its.is_some(),
        InterruptController::Aplic(Aplic { imsic, .. }) => imsic.is_some(),
        controller => matches!(controller, InterruptController::GicV2(_)),
    };
    platform.virtio_mmio = virt::virtio_mmio(arch, 2);
    platform.syscon = Some(virt::syscon());
    let high = GuestRange::new(1 << 39, 1 << 38).unwrap();
    let windows = vec![
        PciWindow::new(PciSpace::Memory32, virt::PCI_MEMORY, virt::PCI_MEMORY.start()),
        PciWindow::new(PciSpace::Memory64, high, high.start()),
    ];
    platform.pci = Some(
        PciHost::new(virt::PCI_ECAM, windows)
            .with_intx([3, 4, 5, 6].map(line))
            .with_msi(msi),
    );
    let pl011 = GuestRange::new(0x0900_2000, 0x1000).unwrap();
    platform
        .serial
        .push(Serial::new(SerialKind::Pl011, pl011, 24_000_000).with_interrupt(line(2)));
    let secret = GuestRange::new(0x9000_0000, 0x1_0000).unwrap();
    platform
        .reserved_memory
        .push(ReservedMemory::new("secret", secret).with_no_map(true));
}
