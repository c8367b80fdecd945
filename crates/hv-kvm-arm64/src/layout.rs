//! Layout of a machine: vCPUs, interrupt controller and devices, derived from its [`Machine`].
//!
//! The device tree is written from the same [`Machine`]. Machines that this harness cannot build are refused here, before a
//! virtual machine is created.

use boot_core::{
    Arch, GuestRange, MemoryMap,
    machine::{
        Arm64Cpu, Cpus, GicV2, GicV3, Interrupt, InterruptController, Line, Machine, SerialKind, Trigger,
    },
};
use hv_core::{DeviceLayout, SerialPort};

use crate::{VcpuFeatures, gic};

/// A machine that this harness can build.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Layout {
    /// Number of vCPUs.
    pub vcpus: u32,
    /// Optional features of the vCPUs.
    pub features: VcpuFeatures,
    /// The interrupt controller.
    pub gic: GicLayout,
    /// Other devices. Their interrupt lines are shared peripheral interrupts, counted from 0.
    pub devices: DeviceLayout,
}

/// Version and addresses of an interrupt controller in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GicLayout {
    /// GICv2; requires a host with a GICv2 or a GICv3 with GICv2 support.
    V2 {
        /// The distributor.
        distributor: GuestRange,
        /// The CPU interface.
        cpu_interface: GuestRange,
    },
    /// GICv3.
    V3 {
        /// The distributor.
        distributor: GuestRange,
        /// The redistributor regions. The redistributors of vCPUs 0, 1, … fill them in this order.
        redistributors: Vec<GuestRange>,
        /// The interrupt translation service, if there is one.
        its: Option<GuestRange>,
    },
}

impl GicLayout {
    /// All guest physical ranges of the controller.
    pub fn ranges(&self) -> impl Iterator<Item = GuestRange> {
        let (first, second, rest): (_, _, &[GuestRange]) = match self {
            Self::V2 {
                distributor,
                cpu_interface,
            } => (distributor, Some(cpu_interface), &[]),
            Self::V3 {
                distributor,
                redistributors,
                its,
            } => (distributor, its.as_ref(), redistributors),
        };
        [*first]
            .into_iter()
            .chain(second.copied())
            .chain(rest.iter().copied())
    }
}

/// Reason why this harness cannot build a machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// The machine has another architecture.
    #[error("this harness builds arm64 machines, but the machine is {found}")]
    Arch {
        /// Architecture of the machine.
        found: Arch,
    },
    /// The machine does not describe a GIC.
    #[error("the machine does not describe a GICv2 or GICv3")]
    NoGic,
    /// The affinity of a CPU differs from the one that KVM assigns.
    #[error("vCPU {index} is described with affinity {found:#x}, but KVM assigns {expected:#x}")]
    Affinity {
        /// Number of the vCPU.
        index: usize,
        /// Affinity in the description.
        found: u64,
        /// Affinity that KVM assigns.
        expected: u64,
    },
    /// The number of described CPUs differs from the number of vCPUs.
    #[error("the machine has {vcpus} vCPUs, but its platform describes {described} CPUs")]
    CpuCount {
        /// Number of vCPUs.
        vcpus: u32,
        /// Number of described CPUs.
        described: usize,
    },
    /// KVM does not accept a redistributor region of this size or at this address.
    #[error(
        "the redistributor region {range} is invalid: its size must be a multiple of 128 KiB, at most for 4095 vCPUs, at a \
         multiple of 64 KiB"
    )]
    Redistributors {
        /// The region.
        range: GuestRange,
    },
    /// The range of a part of the interrupt controller is too small.
    #[error("the range {range} of the {part} is smaller than its {len:#x} bytes in KVM")]
    GicRange {
        /// Name of the part.
        part: &'static str,
        /// Its range.
        range: GuestRange,
        /// Size of the part in KVM in bytes.
        len: u64,
    },
    /// The redistributor regions are too small for the vCPUs.
    #[error("the redistributor regions have space for {room} vCPUs, but the machine has {vcpus}")]
    TooFewRedistributors {
        /// Number of vCPUs that the regions have space for.
        room: u64,
        /// Number of vCPUs.
        vcpus: u32,
    },
    /// The machine has a GICv2m frame, which KVM does not emulate.
    #[error("the machine has a GICv2m frame, which this harness does not support")]
    GicV2m,
    /// The kind of the serial port is not supported.
    #[error("the serial port at {range} is not an NS16550A with registers of one byte")]
    SerialKind {
        /// Range of the serial port.
        range: GuestRange,
    },
    /// The range of the serial port is too small.
    #[error("the range {range} of the serial port is smaller than its eight registers")]
    SerialRange {
        /// Range of the serial port.
        range: GuestRange,
    },
    /// The interrupt of the serial port is not supported.
    #[error(
        "the serial port has {}; it needs an edge-triggered shared peripheral interrupt below {}",
        interrupt_text(.found.as_ref()),
        gic::SPIS
    )]
    SerialInterrupt {
        /// Interrupt of the serial port.
        found: Option<Interrupt>,
    },
    /// RAM and the interrupt controller overlap.
    #[error("RAM at {ram} overlaps the interrupt controller at {device}")]
    RamOverlap {
        /// Range of the RAM.
        ram: GuestRange,
        /// Range of the interrupt controller.
        device: GuestRange,
    },
}

fn interrupt_text(interrupt: Option<&Interrupt>) -> String {
    match interrupt {
        Some(interrupt) => format!("interrupt {:?} ({:?})", interrupt.line, interrupt.trigger),
        None => "no interrupt".to_owned(),
    }
}

impl Layout {
    /// The layout of `machine`, without optional features of the vCPUs. Of the serial ports, only the first one is created.
    ///
    /// # Errors
    ///
    /// [`LayoutError`] for machines that this harness cannot build.
    pub fn of(machine: &Machine) -> Result<Self, LayoutError> {
        if machine.arch != Arch::Aarch64 {
            return Err(LayoutError::Arch { found: machine.arch });
        }
        let vcpus = machine.vcpus.get();
        let platform = &machine.platform;
        check_cpus(&platform.cpus, vcpus)?;
        let gic = match &platform.interrupt_controller {
            InterruptController::GicV2(gic) => v2(gic)?,
            InterruptController::GicV3(gic) => v3(gic, vcpus)?,
            _ => return Err(LayoutError::NoGic),
        };
        check_ram(&machine.memory, &gic)?;
        let serial = platform.serial.first().map(serial).transpose()?;
        Ok(Self {
            vcpus,
            features: VcpuFeatures::default(),
            gic,
            devices: DeviceLayout::new()
                .with_serial(serial)
                .with_syscon(platform.syscon.clone()),
        })
    }

    /// Sets the optional features of the vCPUs.
    #[must_use]
    pub fn with_features(mut self, features: VcpuFeatures) -> Self {
        self.features = features;
        self
    }
}

fn check_cpus(cpus: &Cpus, vcpus: u32) -> Result<(), LayoutError> {
    // Without a description, the CPUs are those that KVM creates.
    let Cpus::Arm64(cpus) = cpus else { return Ok(()) };
    if u32::try_from(cpus.len()) != Ok(vcpus) {
        return Err(LayoutError::CpuCount {
            vcpus,
            described: cpus.len(),
        });
    }
    for ((number, index), cpu) in (0..).zip(0..).zip(cpus) {
        let (found, expected) = (cpu.affinity(), Arm64Cpu::affinity_of(number));
        if found != expected {
            return Err(LayoutError::Affinity {
                index,
                found,
                expected,
            });
        }
    }
    Ok(())
}

fn v2(gic: &GicV2) -> Result<GicLayout, LayoutError> {
    if gic.v2m.is_some() {
        return Err(LayoutError::GicV2m);
    }
    check_len("GICv2 distributor", gic.distributor, 0x1000)?;
    check_len("GICv2 CPU interface", gic.cpu_interface, 0x2000)?;
    Ok(GicLayout::V2 {
        distributor: gic.distributor,
        cpu_interface: gic.cpu_interface,
    })
}

/// Refuses a range that is smaller than the part in KVM, whose size is fixed (Documentation/virt/kvm/devices/,
/// `arm-vgic.rst`, `arm-vgic-v3.rst` and `arm-vgic-its.rst`).
fn check_len(part: &'static str, range: GuestRange, len: u64) -> Result<(), LayoutError> {
    if range.len() >= len {
        return Ok(());
    }
    Err(LayoutError::GicRange { part, range, len })
}

fn v3(gic: &GicV3, vcpus: u32) -> Result<GicLayout, LayoutError> {
    check_len("GICv3 distributor", gic.distributor, 0x1_0000)?;
    if let Some(its) = gic.its {
        check_len("ITS", its, 0x2_0000)?;
    }
    let mut room = 0_u64;
    for (index, &range) in (0..).zip(&gic.redistributors) {
        let count = redistributors(range);
        if !range.len().is_multiple_of(gic::REDISTRIBUTOR_LEN)
            || gic::redistributor_region(range.start(), count, index).is_none()
        {
            return Err(LayoutError::Redistributors { range });
        }
        room = room.saturating_add(count);
    }
    if room < u64::from(vcpus) {
        return Err(LayoutError::TooFewRedistributors { room, vcpus });
    }
    Ok(GicLayout::V3 {
        distributor: gic.distributor,
        redistributors: gic.redistributors.clone(),
        its: gic.its,
    })
}

/// Number of redistributors that fit into a region.
pub(crate) fn redistributors(range: GuestRange) -> u64 {
    range.len() / gic::REDISTRIBUTOR_LEN
}

fn check_ram(memory: &MemoryMap, gic: &GicLayout) -> Result<(), LayoutError> {
    for ram in memory.ram() {
        if let Some(device) = gic.ranges().find(|device| device.overlaps(ram)) {
            return Err(LayoutError::RamOverlap { ram, device });
        }
    }
    Ok(())
}

fn serial(port: &boot_core::machine::Serial) -> Result<SerialPort, LayoutError> {
    let range = port.range;
    if port.kind != SerialKind::NS16550A {
        return Err(LayoutError::SerialKind { range });
    }
    if range.len() < hv_core::Serial::LEN {
        return Err(LayoutError::SerialRange { range });
    }
    match port.interrupt {
        Some(Interrupt {
            line: Line::Spi(spi),
            trigger: Trigger::EdgeRising,
            ..
        }) if spi < gic::SPIS => Ok(SerialPort::mmio(range, Some(spi))),
        found => Err(LayoutError::SerialInterrupt { found }),
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use boot_core::machine::{GicV2m, Serial};
    use hv_core::virt::{self, Gic as VirtGic};

    use super::*;

    fn machine(vcpus: u32, gic: VirtGic) -> Machine {
        virt::arm64_machine(64 << 20, NonZeroU32::new(vcpus).unwrap(), gic).unwrap()
    }

    #[test]
    fn reference_machines_can_be_built() {
        let layout = Layout::of(&machine(4, VirtGic::V3WithIts)).unwrap();
        let serial = SerialPort::mmio(virt::SERIAL, Some(virt::SERIAL_LINE));
        assert_eq!((layout.vcpus, layout.devices.serial), (4, Some(serial)));
        assert_eq!(layout.devices.syscon, machine(4, VirtGic::V3).platform.syscon);
        let ranges: Vec<_> = layout.gic.ranges().collect();
        let redistributors = GuestRange::new(0x0c00_0000, 0x8_0000).unwrap();
        assert_eq!(ranges, [virt::GIC_DISTRIBUTOR, virt::GICV3_ITS, redistributors]);
        let layout = Layout::of(&machine(8, VirtGic::V2)).unwrap();
        assert_eq!(layout.gic.ranges().count(), 2);
        for vcpus in [1, 17, 512] {
            Layout::of(&machine(vcpus, VirtGic::V3)).unwrap();
        }
    }

    /// Each case changes a machine that can be built and expects an error.
    #[test]
    fn machines_that_cannot_be_built_are_refused() {
        let check = |change: &dyn Fn(&mut Machine), right: fn(&LayoutError) -> bool| {
            let mut machine = machine(2, VirtGic::V3);
            change(&mut machine);
            let error = Layout::of(&machine).unwrap_err();
            assert!(right(&error), "{error}");
        };
        let gic = |change: &dyn Fn(&mut GicV3)| {
            let InterruptController::GicV3(gic) = machine(2, VirtGic::V3).platform.interrupt_controller
            else {
                panic!("not a GICv3");
            };
            let mut gic = gic;
            change(&mut gic);
            InterruptController::GicV3(gic)
        };
        let range = |start, len| GuestRange::new(start, len).unwrap();
        check(&|m| m.arch = Arch::Riscv64, |e| {
            matches!(e, LayoutError::Arch { .. })
        });
        check(
            &|m| m.platform.interrupt_controller = InterruptController::Unspecified,
            |e| matches!(e, LayoutError::NoGic),
        );
        check(&|m| m.vcpus = NonZeroU32::new(3).unwrap(), |e| {
            matches!(
                e,
                LayoutError::CpuCount {
                    vcpus: 3,
                    described: 2
                }
            )
        });
        check(
            &|m| m.platform.cpus = Cpus::Arm64([0, 0x100].map(Arm64Cpu::new).into()),
            |e| {
                matches!(
                    e,
                    LayoutError::Affinity {
                        index: 1,
                        found: 0x100,
                        expected: 1
                    }
                )
            },
        );
        for bad in [
            range(0x0c00_8000, 0x4_0000),
            range(0x0c00_0000, 0x4_8000),
            range(0x0c00_0000, 0x1_0000),
        ] {
            check(
                &|m| m.platform.interrupt_controller = gic(&|gic| gic.redistributors = [bad].into()),
                |e| matches!(e, LayoutError::Redistributors { .. }),
            );
        }
        check(
            &|m| {
                let one = [range(0x0c00_0000, 0x2_0000)];
                m.platform.interrupt_controller = gic(&|gic| gic.redistributors = one.into());
            },
            |e| matches!(e, LayoutError::TooFewRedistributors { room: 1, vcpus: 2 }),
        );
        check(
            &|m| {
                let ram = range(virt::RAM_BASE, 0x2_0000);
                m.platform.interrupt_controller = gic(&|gic| gic.its = Some(ram));
            },
            |e| matches!(e, LayoutError::RamOverlap { .. }),
        );
        check(
            &|m| {
                m.platform.interrupt_controller = InterruptController::GicV2(
                    GicV2::new(virt::GIC_DISTRIBUTOR, virt::GICV2_CPU_INTERFACE).with_v2m(GicV2m::new(
                        virt::GICV2M_FRAME,
                        64,
                        32,
                    )),
                );
            },
            |e| matches!(e, LayoutError::GicV2m),
        );
    }

    #[test]
    fn ranges_smaller_than_the_parts_in_kvm_are_refused() {
        let short = |version, part: &str, change: &dyn Fn(&mut InterruptController)| {
            let mut machine = machine(2, version);
            change(&mut machine.platform.interrupt_controller);
            match Layout::of(&machine) {
                Err(LayoutError::GicRange { part: found, .. }) => assert_eq!(found, part),
                result => panic!("{part}: {result:?}"),
            }
        };
        let v2 = |change: fn(&mut GicV2)| {
            move |controller: &mut InterruptController| match controller {
                InterruptController::GicV2(gic) => change(gic),
                _ => panic!("no GICv2"),
            }
        };
        let v3 = |change: fn(&mut GicV3)| {
            move |controller: &mut InterruptController| match controller {
                InterruptController::GicV3(gic) => change(gic),
                _ => panic!("no GICv3"),
            }
        };
        short(
            VirtGic::V2,
            "GICv2 distributor",
            &v2(|gic| gic.distributor = GuestRange::new(gic.distributor.start(), 0xfff).unwrap()),
        );
        short(
            VirtGic::V2,
            "GICv2 CPU interface",
            &v2(|gic| gic.cpu_interface = GuestRange::new(gic.cpu_interface.start(), 0x1fff).unwrap()),
        );
        short(
            VirtGic::V3,
            "GICv3 distributor",
            &v3(|gic| gic.distributor = GuestRange::new(gic.distributor.start(), 0xffff).unwrap()),
        );
        short(
            VirtGic::V3WithIts,
            "ITS",
            &v3(|gic| {
                gic.its = gic.its.and_then(|its| GuestRange::new(its.start(), 0x1_ffff));
            }),
        );
    }

    #[test]
    fn serial_ports_that_cannot_be_built_are_refused() {
        let range = |start, len| GuestRange::new(start, len).unwrap();
        let serial = |change: &dyn Fn(&mut Serial), right: fn(&LayoutError) -> bool| {
            let mut machine = machine(2, VirtGic::V3);
            machine.platform.serial.iter_mut().for_each(change);
            let error = Layout::of(&machine).unwrap_err();
            assert!(right(&error), "{error}");
        };
        serial(&|s| s.kind = SerialKind::Pl011, |e| {
            matches!(e, LayoutError::SerialKind { .. })
        });
        serial(&|s| s.range = range(0x900_0000, 7), |e| {
            matches!(e, LayoutError::SerialRange { .. })
        });
        for bad in [
            None,
            Some(Interrupt::level(Line::Spi(1))),
            Some(Interrupt::edge(Line::Ppi(1))),
            Some(Interrupt::edge(Line::Spi(960))),
        ] {
            serial(&|s| s.interrupt = bad, |e| {
                matches!(e, LayoutError::SerialInterrupt { .. }) && !e.to_string().contains("Some(")
            });
        }
    }
}
