//! Interrupt controllers, interrupt specifiers, the arm64 timer and PSCI.

use alloc::format;
use alloc::vec::Vec;

use boot_core::Machine;
use boot_core::machine::{
    Aplic, Arm64Timer, GicV2, GicV3, Imsic, Interrupt, InterruptController, Line, Plic, Psci, PsciVersion,
};

use super::phandle;
use super::writer::Writer;
use crate::error::CreateFdtError;

/// A hart's interrupt number of supervisor external interrupts (RISC-V privileged specification, "scause").
const SUPERVISOR_EXTERNAL: u32 = 9;

/// The interrupt controller of a machine, as the other nodes refer to it.
pub(super) struct Wiring<'a> {
    controller: &'a InterruptController,
    timer: Option<Arm64Timer>,
    psci: Option<Psci>,
    vcpus: u32,
}

/// Kind of MSI controller.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum MsiController {
    /// A GICv3 ITS: MSIs carry a device id (`msi-map`).
    Its,
    /// A GICv2m frame or IMSICs: MSIs carry no device id (`msi-parent`).
    Plain,
}

impl<'a> Wiring<'a> {
    pub(super) fn new(machine: &'a Machine) -> Self {
        Self {
            controller: &machine.platform.interrupt_controller,
            timer: machine.platform.timer,
            psci: machine.platform.psci,
            vcpus: machine.vcpus.get(),
        }
    }

    pub(super) fn is_described(&self) -> bool {
        *self.controller != InterruptController::Unspecified
    }

    /// Whether the interrupt controller has the line.
    pub(super) fn has_line(&self, line: Line) -> bool {
        line.intid().is_some()
            && match (self.controller, line) {
                (
                    InterruptController::GicV2(_) | InterruptController::GicV3(_),
                    Line::Spi(_) | Line::Ppi(_),
                ) => true,
                (InterruptController::Plic(plic), Line::Source(n)) => n <= plic.sources,
                (InterruptController::Aplic(aplic), Line::Source(n)) => n <= aplic.sources,
                _ => false,
            }
    }

    /// Whether the frame of a GICv2 uses the line for MSIs.
    pub(super) fn is_msi_line(&self, line: Line) -> bool {
        match (self.controller, line) {
            (InterruptController::GicV2(GicV2 { v2m: Some(v2m), .. }), Line::Spi(n)) => {
                n.checked_sub(v2m.first_spi).is_some_and(|index| index < v2m.spis)
            }
            _ => false,
        }
    }

    /// The interrupt specifier of a line that exists.
    pub(super) fn specifier(&self, interrupt: Interrupt) -> Vec<u32> {
        let trigger = interrupt.trigger.irq_type();
        match (interrupt.line, self.controller) {
            (Line::Spi(n), _) => [0, n, trigger].into(),
            // GICv2 binding: bits 8 to 15 are the mask of CPUs that the PPI is wired to, here all.
            (Line::Ppi(n), InterruptController::GicV2(_)) => {
                let cpus = 1u32.checked_shl(self.vcpus).unwrap_or(0).wrapping_sub(1) & 0xff;
                [1, n, trigger | (cpus << 8)].into()
            }
            (Line::Ppi(n), _) => [1, n, trigger].into(),
            (Line::Source(n), InterruptController::Aplic(_)) => [n, trigger].into(),
            // A PLIC's lines have no trigger type.
            (Line::Source(n), _) => [n].into(),
            // `Line` is non-exhaustive; validation refuses unknown kinds.
            _ => Vec::new(),
        }
    }

    /// `#address-cells` of the interrupt controller's node: each entry of an `interrupt-map` has such an address.
    pub(super) fn address_cells(&self) -> usize {
        match self.controller {
            InterruptController::GicV3(GicV3 { its: Some(_), .. })
            | InterruptController::GicV2(GicV2 { v2m: Some(_), .. }) => 2,
            _ => 0,
        }
    }

    pub(super) fn msi(&self) -> Option<MsiController> {
        match self.controller {
            InterruptController::GicV3(GicV3 { its: Some(_), .. }) => Some(MsiController::Its),
            InterruptController::GicV2(GicV2 { v2m: Some(_), .. })
            | InterruptController::Aplic(Aplic { imsic: Some(_), .. }) => Some(MsiController::Plain),
            _ => None,
        }
    }

    /// `interrupts-extended` for the supervisor external interrupts of all harts, in order.
    fn harts(&self) -> Vec<u32> {
        (phandle::HARTS..)
            .zip(0..self.vcpus)
            .flat_map(|(phandle, _)| [phandle, SUPERVISOR_EXTERNAL])
            .collect()
    }
}

/// Writes the interrupt controller, the arm64 timer and PSCI.
pub(super) fn write(tree: &mut Writer, wiring: &Wiring<'_>) -> Result<(), CreateFdtError> {
    match wiring.controller {
        InterruptController::GicV2(gic) => write_gicv2(tree, gic)?,
        InterruptController::GicV3(gic) => write_gicv3(tree, gic)?,
        InterruptController::Plic(plic) => write_plic(tree, plic, wiring)?,
        InterruptController::Aplic(aplic) => write_aplic(tree, aplic, wiring)?,
        _ => {}
    }
    if let Some(timer) = wiring.timer {
        write_timer(tree, &timer, wiring)?;
    }
    match wiring.psci {
        Some(psci) => write_psci(tree, psci),
        None => Ok(()),
    }
}

/// The common properties of interrupt controllers.
fn write_controller(tree: &mut Writer, interrupt_cells: u32, phandle: u32) -> Result<(), CreateFdtError> {
    tree.bytes("interrupt-controller", &[])?;
    tree.cells("#interrupt-cells", &[interrupt_cells])?;
    tree.phandle(phandle)
}

/// Writes the address cells for a child in the parent's address space, or for no child.
fn write_bus(tree: &mut Writer, has_child: bool) -> Result<(), CreateFdtError> {
    if has_child {
        tree.cells("#address-cells", &[2])?;
        tree.cells("#size-cells", &[2])?;
        tree.bytes("ranges", &[])
    } else {
        tree.cells("#address-cells", &[0])
    }
}

fn write_gicv2(tree: &mut Writer, gic: &GicV2) -> Result<(), CreateFdtError> {
    let name = format!("interrupt-controller@{:x}", gic.distributor.start());
    tree.node(&name, |tree| {
        // The `compatible` of GICv2 that most guests match.
        tree.string("compatible", "arm,cortex-a15-gic")?;
        tree.reg(&[gic.distributor, gic.cpu_interface])?;
        write_controller(tree, 3, phandle::INTERRUPT_CONTROLLER)?;
        write_bus(tree, gic.v2m.is_some())?;
        let Some(v2m) = &gic.v2m else {
            return Ok(());
        };
        tree.node(&format!("v2m@{:x}", v2m.frame.start()), |tree| {
            tree.string("compatible", "arm,gic-v2m-frame")?;
            tree.reg(&[v2m.frame])?;
            tree.bytes("msi-controller", &[])?;
            // An INTID, unlike the number in an interrupt specifier: SPI 0 is INTID 32. Validated to fit.
            tree.cells("arm,msi-base-spi", &[v2m.first_spi.saturating_add(32)])?;
            tree.cells("arm,msi-num-spis", &[v2m.spis])?;
            tree.phandle(phandle::MSI_CONTROLLER)
        })
    })
}

fn write_gicv3(tree: &mut Writer, gic: &GicV3) -> Result<(), CreateFdtError> {
    let name = format!("interrupt-controller@{:x}", gic.distributor.start());
    tree.node(&name, |tree| {
        tree.string("compatible", "arm,gic-v3")?;
        let mut reg = Vec::from([gic.distributor]);
        reg.extend_from_slice(&gic.redistributors);
        tree.reg(&reg)?;
        if gic.redistributors.len() > 1 {
            let regions = u32::try_from(gic.redistributors.len()).unwrap_or(u32::MAX);
            tree.cells("#redistributor-regions", &[regions])?;
        }
        write_controller(tree, 3, phandle::INTERRUPT_CONTROLLER)?;
        write_bus(tree, gic.its.is_some())?;
        let Some(its) = gic.its else {
            return Ok(());
        };
        tree.node(&format!("msi-controller@{:x}", its.start()), |tree| {
            tree.string("compatible", "arm,gic-v3-its")?;
            tree.reg(&[its])?;
            tree.bytes("msi-controller", &[])?;
            tree.cells("#msi-cells", &[1])?;
            tree.phandle(phandle::MSI_CONTROLLER)
        })
    })
}

fn write_plic(tree: &mut Writer, plic: &Plic, wiring: &Wiring<'_>) -> Result<(), CreateFdtError> {
    let name = format!("interrupt-controller@{:x}", plic.range.start());
    tree.node(&name, |tree| {
        // `riscv,plic0` is for older kernels.
        tree.strings("compatible", ["sifive,plic-1.0.0", "riscv,plic0"])?;
        tree.reg(&[plic.range])?;
        write_controller(tree, 1, phandle::INTERRUPT_CONTROLLER)?;
        write_bus(tree, false)?;
        tree.cells("interrupts-extended", &wiring.harts())?;
        tree.cells("riscv,ndev", &[plic.sources])
    })
}

fn write_aplic(tree: &mut Writer, aplic: &Aplic, wiring: &Wiring<'_>) -> Result<(), CreateFdtError> {
    if let Some(imsic) = &aplic.imsic {
        write_imsic(tree, imsic, wiring)?;
    }
    let name = format!("interrupt-controller@{:x}", aplic.range.start());
    tree.node(&name, |tree| {
        // As for IMSICs, the binding requires the name of an implementation first. This is QEMU's.
        tree.strings("compatible", ["qemu,aplic", "riscv,aplic"])?;
        tree.reg(&[aplic.range])?;
        write_controller(tree, 2, phandle::INTERRUPT_CONTROLLER)?;
        write_bus(tree, false)?;
        match aplic.imsic {
            Some(_) => tree.cells("msi-parent", &[phandle::MSI_CONTROLLER])?,
            None => tree.cells("interrupts-extended", &wiring.harts())?,
        }
        tree.cells("riscv,num-sources", &[aplic.sources])
    })
}

fn write_imsic(tree: &mut Writer, imsic: &Imsic, wiring: &Wiring<'_>) -> Result<(), CreateFdtError> {
    let name = format!("interrupt-controller@{:x}", imsic.range.start());
    tree.node(&name, |tree| {
        tree.strings("compatible", ["qemu,imsics", "riscv,imsics"])?;
        tree.reg(&[imsic.range])?;
        write_controller(tree, 0, phandle::MSI_CONTROLLER)?;
        write_bus(tree, false)?;
        tree.bytes("msi-controller", &[])?;
        tree.cells("#msi-cells", &[0])?;
        tree.cells("interrupts-extended", &wiring.harts())?;
        tree.cells("riscv,num-ids", &[imsic.ids])?;
        if imsic.guest_index_bits > 0 {
            tree.cells("riscv,guest-index-bits", &[imsic.guest_index_bits])?;
        }
        match imsic.hart_index_bits {
            Some(bits) => tree.cells("riscv,hart-index-bits", &[bits]),
            None => Ok(()),
        }
    })
}

fn write_timer(tree: &mut Writer, timer: &Arm64Timer, wiring: &Wiring<'_>) -> Result<(), CreateFdtError> {
    tree.node("timer", |tree| {
        tree.string("compatible", "arm,armv8-timer")?;
        let interrupts: Vec<u32> = [
            timer.secure_physical,
            timer.physical,
            timer.virtual_timer,
            timer.hypervisor,
        ]
        .into_iter()
        .flat_map(|interrupt| wiring.specifier(interrupt))
        .collect();
        tree.cells("interrupts", &interrupts)?;
        // The timer of a virtual machine does not stop in CPU idle states.
        tree.bytes("always-on", &[])
    })
}

fn write_psci(tree: &mut Writer, psci: Psci) -> Result<(), CreateFdtError> {
    tree.node("psci", |tree| {
        match psci.version {
            PsciVersion::V0_2 => tree.string("compatible", "arm,psci-0.2")?,
            _ => tree.strings("compatible", ["arm,psci-1.0", "arm,psci-0.2"])?,
        }
        tree.string("method", psci.method.name())
    })
}
