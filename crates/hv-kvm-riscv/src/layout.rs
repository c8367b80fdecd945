//! What of a machine's description the harness builds.

use boot_core::{
    Arch, GuestRange, Machine,
    machine::{Aplic, Cpus, InterruptController, Line, RiscvHart, Serial, SerialKind},
};
use hv_core::{DeviceLayout, SerialPort};

/// A riscv64 machine as this harness builds it: a machine's description, checked.
///
/// The same [`Machine`] is what the device tree is written from, so the guest is told of the devices that it finds.
/// Devices that nobody here makes, such as virtio-mmio slots, may be described as well: put them on the board's bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// How many vCPUs there are. Hart ids are vCPU numbers.
    pub vcpus: u32,
    /// What each hart is, in the order of the vCPUs. Empty for harts as KVM gives them by default.
    pub harts: Vec<RiscvHart>,
    /// The frequency of the `time` counter in Hz that the guest is told; `None` where it is told nothing.
    pub timebase_frequency: Option<u32>,
    /// The interrupt controller for devices.
    pub controller: Controller,
    /// The other devices. Their interrupt lines are sources of the interrupt controller.
    pub devices: DeviceLayout,
}

/// The interrupt controller for devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controller {
    /// None: devices cannot interrupt.
    None,
    /// A PLIC in user space.
    Plic {
        /// Its registers.
        range: GuestRange,
        /// The number of its highest source.
        sources: u32,
    },
    /// An APLIC and an IMSIC for each hart, in the kernel.
    Aia {
        /// The APLIC's registers.
        aplic: GuestRange,
        /// The number of its highest source.
        sources: u32,
        /// The interrupt files: 4 KiB for each hart, in the order of the harts.
        imsics: GuestRange,
        /// The number of the highest interrupt identity.
        ids: u32,
    },
}

impl Controller {
    /// The number of its highest source; 0 where there is none.
    #[must_use]
    pub fn sources(&self) -> u32 {
        match *self {
            Self::None => 0,
            Self::Plic { sources, .. } | Self::Aia { sources, .. } => sources,
        }
    }

    /// Every range of guest physical addresses it takes.
    #[must_use]
    pub fn ranges(&self) -> Vec<GuestRange> {
        match *self {
            Self::None => Vec::new(),
            Self::Plic { range, .. } => vec![range],
            Self::Aia { aplic, imsics, .. } => vec![aplic, imsics],
        }
    }
}

/// Why this harness cannot build a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// It is of another architecture.
    #[error("a machine of {found} cannot be built with riscv64 vCPUs")]
    Arch {
        /// Its architecture.
        found: Arch,
    },
    /// It has a part that this harness does not make.
    #[error("this harness makes no {what}")]
    Unsupported {
        /// The part.
        what: &'static str,
    },
    /// The serial port interrupts through a source that the interrupt controller does not have.
    #[error(
        "the serial port has interrupt source {found}, and the interrupt controller has sources 1 to {sources}"
    )]
    NoSuchSource {
        /// The source.
        found: u32,
        /// The highest that there is; 0 where there is no interrupt controller.
        sources: u32,
    },
    /// A number is another than this harness can make.
    #[error("the machine has {what} {found}; this harness can make {expected}")]
    Value {
        /// What the number is.
        what: &'static str,
        /// The number.
        found: u64,
        /// What would do: the number itself, or the smallest that does.
        expected: u64,
    },
}

/// The sizes of the in-kernel AIA's parts (`KVM_DEV_RISCV_APLIC_SIZE`, `KVM_DEV_RISCV_IMSIC_SIZE`).
const APLIC_LEN: u64 = 0x4000;
const IMSIC_LEN: u64 = 0x1000;

/// How many bits tell `vcpus` harts apart, as a guest computes it that is not told.
#[must_use]
pub fn hart_index_bits(vcpus: u32) -> u32 {
    u32::BITS.saturating_sub(vcpus.saturating_sub(1).leading_zeros())
}

impl Layout {
    /// `vcpus` vCPUs as KVM gives them, and nothing else.
    #[must_use]
    pub const fn bare(vcpus: u32) -> Self {
        Self {
            vcpus,
            harts: Vec::new(),
            timebase_frequency: None,
            controller: Controller::None,
            devices: DeviceLayout {
                serial: None,
                syscon: None,
            },
        }
    }

    /// The layout of `machine`.
    ///
    /// # Errors
    ///
    /// [`LayoutError`] for a machine that this harness cannot build.
    pub fn of(machine: &Machine) -> Result<Self, LayoutError> {
        if machine.arch != Arch::Riscv64 {
            return Err(LayoutError::Arch { found: machine.arch });
        }
        let vcpus = machine.vcpus.get();
        let platform = &machine.platform;
        let (harts, timebase_frequency) = match &platform.cpus {
            Cpus::Unspecified => (Vec::new(), None),
            Cpus::Riscv64(cpus) => (cpus.harts.clone(), Some(cpus.timebase_frequency)),
            _ => {
                return Err(LayoutError::Unsupported {
                    what: "CPUs of another architecture",
                });
            }
        };
        if platform.cpus.count().is_some() {
            exactly(
                "a number of harts of",
                boot_core::arith::to_u64(harts.len()),
                vcpus.into(),
            )?;
        }
        for (index, hart) in (0..).zip(&harts) {
            exactly("the hart id", hart.hart_id, index)?;
        }
        let controller = match &platform.interrupt_controller {
            InterruptController::Unspecified => Controller::None,
            InterruptController::Plic(plic) => {
                at_least(
                    "a PLIC with a length of",
                    plic.range.len(),
                    crate::Plic::len(vcpus),
                )?;
                Controller::Plic {
                    range: plic.range,
                    sources: plic.sources,
                }
            }
            InterruptController::Aplic(aplic) => aia(aplic, vcpus)?,
            _ => {
                return Err(LayoutError::Unsupported {
                    what: "interrupt controller of another architecture",
                });
            }
        };
        Ok(Self {
            vcpus,
            harts,
            timebase_frequency,
            controller,
            devices: DeviceLayout {
                serial: match platform.serial.as_slice() {
                    [] => None,
                    [port] => Some(serial(port, controller.sources())?),
                    _ => {
                        return Err(LayoutError::Unsupported {
                            what: "second serial port",
                        });
                    }
                },
                syscon: platform.syscon.clone(),
            },
        })
    }
}

fn exactly(what: &'static str, found: u64, expected: u64) -> Result<(), LayoutError> {
    if found == expected {
        return Ok(());
    }
    Err(LayoutError::Value {
        what,
        found,
        expected,
    })
}

fn at_least(what: &'static str, found: u64, expected: u64) -> Result<(), LayoutError> {
    if found >= expected {
        return Ok(());
    }
    Err(LayoutError::Value {
        what,
        found,
        expected,
    })
}

fn aia(aplic: &Aplic, vcpus: u32) -> Result<Controller, LayoutError> {
    let Some(imsic) = &aplic.imsic else {
        return Err(LayoutError::Unsupported {
            what: "APLIC without IMSICs",
        });
    };
    let files = IMSIC_LEN.saturating_mul(vcpus.into());
    let bits = hart_index_bits(vcpus);
    at_least("an APLIC with a length of", aplic.range.len(), APLIC_LEN)?;
    at_least("IMSICs with a length of", imsic.range.len(), files)?;
    exactly(
        "a number of guest index bits of",
        imsic.guest_index_bits.into(),
        0,
    )?;
    exactly(
        "a number of hart index bits of",
        imsic.hart_index_bits.unwrap_or(bits).into(),
        bits.into(),
    )?;
    Ok(Controller::Aia {
        aplic: aplic.range,
        sources: aplic.sources,
        imsics: imsic.range,
        ids: imsic.ids,
    })
}

/// The serial port, on an interrupt controller whose highest source is `sources`.
fn serial(port: &Serial, sources: u32) -> Result<SerialPort, LayoutError> {
    if port.kind != SerialKind::NS16550A {
        return Err(LayoutError::Unsupported {
            what: "serial port but an NS16550A with registers of one byte, one byte apart",
        });
    }
    at_least(
        "a serial port with a length of",
        port.range.len(),
        hv_core::Serial::LEN,
    )?;
    let line = match port.interrupt.map(|interrupt| interrupt.line) {
        None => None,
        Some(Line::Source(source)) if (1..=sources).contains(&source) => Some(source),
        Some(Line::Source(source)) => {
            return Err(LayoutError::NoSuchSource {
                found: source,
                sources,
            });
        }
        Some(_) => {
            return Err(LayoutError::Unsupported {
                what: "interrupt line but a source of a PLIC or APLIC",
            });
        }
    };
    Ok(SerialPort {
        range: port.range,
        line,
    })
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use boot_core::machine::{Interrupt, Isa};
    use hv_core::virt::{self, RiscvIrqchip};

    use super::*;

    fn machine(vcpus: u32, irqchip: RiscvIrqchip) -> Machine {
        let vcpus = NonZeroU32::new(vcpus).unwrap();
        virt::riscv64_machine(1 << 30, vcpus, &Isa::rv64gc(), 10_000_000, irqchip).unwrap()
    }

    #[test]
    fn the_reference_machines_can_be_built() {
        let layout = Layout::of(&machine(4, RiscvIrqchip::Plic)).unwrap();
        assert_eq!((layout.vcpus, layout.harts.len()), (4, 4));
        assert_eq!(layout.timebase_frequency, Some(10_000_000));
        assert_eq!(
            layout.controller,
            Controller::Plic {
                range: virt::PLIC,
                sources: 95
            }
        );
        let serial = SerialPort {
            range: virt::SERIAL,
            line: Some(virt::SERIAL_LINE),
        };
        assert_eq!(layout.devices.serial, Some(serial));
        let layout = Layout::of(&machine(4, RiscvIrqchip::AplicImsic)).unwrap();
        let Controller::Aia {
            aplic,
            sources: 95,
            imsics,
            ids: 255,
        } = layout.controller
        else {
            panic!("{:?}", layout.controller);
        };
        assert_eq!((aplic, imsics.len()), (virt::APLIC, 0x4000));
        assert_eq!(layout.controller.ranges(), [aplic, imsics]);
        // Nothing but vCPUs.
        let bare = Machine::new(Arch::Riscv64, virt::memory_map(0x1000).unwrap());
        assert_eq!(Layout::of(&bare), Ok(Layout::bare(1)));
    }

    #[test]
    fn others_are_refused() {
        type Change = fn(&mut Machine);
        fn imsic(machine: &mut Machine) -> &mut boot_core::machine::Imsic {
            match &mut machine.platform.interrupt_controller {
                InterruptController::Aplic(Aplic {
                    imsic: Some(imsic), ..
                }) => imsic,
                _ => panic!("no IMSIC"),
            }
        }
        fn harts(machine: &mut Machine) -> &mut Vec<RiscvHart> {
            match &mut machine.platform.cpus {
                Cpus::Riscv64(cpus) => &mut cpus.harts,
                _ => panic!("no harts"),
            }
        }
        let value = |what, found, expected| LayoutError::Value {
            what,
            found,
            expected,
        };
        let unsupported = |what| LayoutError::Unsupported { what };
        let source = |found, sources| LayoutError::NoSuchSource { found, sources };
        let cases: [(Change, LayoutError); 14] = [
            (
                |m| m.arch = Arch::Aarch64,
                LayoutError::Arch { found: Arch::Aarch64 },
            ),
            (
                |m| m.platform.cpus = Cpus::Arm64(Vec::new()),
                unsupported("CPUs of another architecture"),
            ),
            (|m| drop(harts(m).pop()), value("a number of harts of", 2, 3)),
            (|m| harts(m)[1].hart_id = 5, value("the hart id", 5, 1)),
            (
                |m| imsic(m).guest_index_bits = 1,
                value("a number of guest index bits of", 1, 0),
            ),
            (
                |m| imsic(m).hart_index_bits = Some(3),
                value("a number of hart index bits of", 3, 2),
            ),
            (
                |m| imsic(m).range = GuestRange::new(virt::IMSICS.start(), 0x2000).unwrap(),
                value("IMSICs with a length of", 0x2000, 0x3000),
            ),
            (
                |m| {
                    if let InterruptController::Aplic(aplic) = &mut m.platform.interrupt_controller {
                        aplic.imsic = None;
                    }
                },
                unsupported("APLIC without IMSICs"),
            ),
            (
                |m| m.platform.serial[0].kind = SerialKind::Pl011,
                unsupported("serial port but an NS16550A with registers of one byte, one byte apart"),
            ),
            (
                |m| {
                    m.platform.serial[0].interrupt = Some(Interrupt::level(Line::Spi(1)));
                },
                unsupported("interrupt line but a source of a PLIC or APLIC"),
            ),
            (
                |m| m.platform.serial[0].interrupt.as_mut().unwrap().line = Line::Source(0),
                source(0, 95),
            ),
            (
                |m| m.platform.serial[0].interrupt.as_mut().unwrap().line = Line::Source(96),
                source(96, 95),
            ),
            (
                |m| m.platform.interrupt_controller = InterruptController::Unspecified,
                source(virt::SERIAL_LINE, 0),
            ),
            (
                |m| {
                    let port = m.platform.serial[0].clone();
                    m.platform.serial.push(port);
                },
                unsupported("second serial port"),
            ),
        ];
        for (change, expected) in cases {
            let mut machine = machine(3, RiscvIrqchip::AplicImsic);
            change(&mut machine);
            assert_eq!(Layout::of(&machine), Err(expected));
        }
    }

    #[test]
    fn bits_tell_the_harts_apart() {
        for (vcpus, expected) in [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (512, 9), (513, 10)] {
            assert_eq!(hart_index_bits(vcpus), expected, "{vcpus}");
        }
    }
}
