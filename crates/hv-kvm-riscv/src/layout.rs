//! Layout of a machine: vCPUs, interrupt controller and devices, derived from its [`Machine`].

use boot_core::{
    Arch, GuestRange, Machine,
    machine::{Aplic, Cpus, InterruptController, Line, RiscvHart, Serial, SerialKind},
};
use hv_core::{DeviceLayout, SerialPort};

/// A riscv64 machine that this harness can build.
///
/// The device tree is written from the same [`Machine`]. The description may contain devices that this harness does not
/// create, such as virtio-mmio slots; the caller adds them to the board's bus.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Layout {
    /// Number of vCPUs. Hart ids are vCPU numbers.
    pub vcpus: u32,
    /// Descriptions of the harts, in the order of the vCPUs. Empty for the default harts of KVM.
    pub harts: Vec<RiscvHart>,
    /// Described frequency of the `time` counter in Hz; `None` if not described.
    pub timebase_frequency: Option<u32>,
    /// The interrupt controller for devices.
    pub irqchip: IrqchipLayout,
    /// Other devices. Their interrupt lines are sources of the interrupt controller.
    pub devices: DeviceLayout,
}

/// Kind and addresses of the interrupt controller for devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IrqchipLayout {
    /// No interrupt controller: devices cannot raise interrupts.
    None,
    /// A PLIC in user space.
    Plic {
        /// Registers.
        range: GuestRange,
        /// Highest source.
        sources: u32,
    },
    /// An APLIC and an IMSIC for each hart, in the kernel.
    Aia {
        /// Registers of the APLIC.
        aplic: GuestRange,
        /// Highest source.
        sources: u32,
        /// Interrupt files: 4 KiB for each hart, in the order of the harts.
        imsics: GuestRange,
        /// Highest interrupt identity.
        ids: u32,
    },
}

impl IrqchipLayout {
    /// Highest source; 0 without an interrupt controller.
    #[must_use]
    pub fn sources(&self) -> u32 {
        match *self {
            Self::None => 0,
            Self::Plic { sources, .. } | Self::Aia { sources, .. } => sources,
        }
    }

    /// All guest physical ranges of the interrupt controller.
    #[must_use]
    pub fn ranges(&self) -> Vec<GuestRange> {
        match *self {
            Self::None => Vec::new(),
            Self::Plic { range, .. } => vec![range],
            Self::Aia { aplic, imsics, .. } => vec![aplic, imsics],
        }
    }
}

/// Reason why this harness cannot build a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// The machine has another architecture.
    #[error("this harness builds riscv64 machines, the machine is {found}")]
    Arch {
        /// Architecture of the machine.
        found: Arch,
    },
    /// The machine has a part that this harness does not support.
    #[error("this harness does not support {what}")]
    Unsupported {
        /// The part.
        what: &'static str,
    },
    /// The interrupt source of the serial port does not exist.
    #[error(
        "the serial port has interrupt source {found}; the interrupt controller has sources 1 to {sources}"
    )]
    NoSuchSource {
        /// The source.
        found: u32,
        /// Highest source; 0 without an interrupt controller.
        sources: u32,
    },
    /// A number is not supported.
    #[error("the machine has {what} {found}; this harness supports {expected}")]
    Value {
        /// Name of the number.
        what: &'static str,
        /// The number.
        found: u64,
        /// The supported number, or the smallest one.
        expected: u64,
    },
}

/// The sizes of the in-kernel AIA's parts (`KVM_DEV_RISCV_APLIC_SIZE`, `KVM_DEV_RISCV_IMSIC_SIZE`).
const APLIC_LEN: u64 = 0x4000;
const IMSIC_LEN: u64 = 0x1000;

/// Number of bits of a hart index of `vcpus` harts, which is the default of the device tree property.
#[must_use]
pub fn hart_index_bits(vcpus: u32) -> u32 {
    u32::BITS.saturating_sub(vcpus.saturating_sub(1).leading_zeros())
}

impl Layout {
    /// `vcpus` default vCPUs of KVM without an interrupt controller and without devices.
    #[must_use]
    pub const fn vcpus_only(vcpus: u32) -> Self {
        Self {
            vcpus,
            harts: Vec::new(),
            timebase_frequency: None,
            irqchip: IrqchipLayout::None,
            devices: DeviceLayout::new(),
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
        let irqchip = match &platform.interrupt_controller {
            InterruptController::Unspecified => IrqchipLayout::None,
            InterruptController::Plic(plic) => {
                at_least(
                    "a PLIC with a length of",
                    plic.range.len(),
                    crate::Plic::mmio_len(vcpus),
                )?;
                IrqchipLayout::Plic {
                    range: plic.range,
                    sources: plic.sources,
                }
            }
            InterruptController::Aplic(aplic) => aia(aplic, vcpus)?,
            _ => {
                return Err(LayoutError::Unsupported {
                    what: "an interrupt controller of another architecture",
                });
            }
        };
        let serial = match platform.serial.as_slice() {
            [] => None,
            [port] => Some(serial(port, irqchip.sources())?),
            _ => {
                return Err(LayoutError::Unsupported {
                    what: "a second serial port",
                });
            }
        };
        Ok(Self {
            vcpus,
            harts,
            timebase_frequency,
            irqchip,
            devices: DeviceLayout::new()
                .with_serial(serial)
                .with_syscon(platform.syscon.clone()),
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

fn aia(aplic: &Aplic, vcpus: u32) -> Result<IrqchipLayout, LayoutError> {
    let Some(imsic) = &aplic.imsic else {
        return Err(LayoutError::Unsupported {
            what: "an APLIC without IMSICs",
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
    Ok(IrqchipLayout::Aia {
        aplic: aplic.range,
        sources: aplic.sources,
        imsics: imsic.range,
        ids: imsic.ids,
    })
}

/// Checks the serial port. `sources` is the highest source of the interrupt controller.
fn serial(port: &Serial, sources: u32) -> Result<SerialPort, LayoutError> {
    if port.kind != SerialKind::NS16550A {
        return Err(LayoutError::Unsupported {
            what: "serial ports other than an NS16550A with registers of one byte",
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
                what: "interrupt lines other than a source of a PLIC or APLIC",
            });
        }
    };
    Ok(SerialPort::mmio(port.range, line))
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
            layout.irqchip,
            IrqchipLayout::Plic {
                range: virt::PLIC,
                sources: 95
            }
        );
        let serial = SerialPort::mmio(virt::SERIAL, Some(virt::SERIAL_LINE));
        assert_eq!(layout.devices.serial, Some(serial));
        let layout = Layout::of(&machine(4, RiscvIrqchip::AplicImsic)).unwrap();
        let IrqchipLayout::Aia {
            aplic,
            sources: 95,
            imsics,
            ids: 255,
        } = layout.irqchip
        else {
            panic!("{:?}", layout.irqchip);
        };
        assert_eq!((aplic, imsics.len()), (virt::APLIC, 0x4000));
        assert_eq!(layout.irqchip.ranges(), [aplic, imsics]);
        // vCPUs without devices.
        let bare = Machine::new(Arch::Riscv64, virt::memory_map(0x1000).unwrap());
        assert_eq!(Layout::of(&bare), Ok(Layout::vcpus_only(1)));
    }

    #[test]
    fn machines_that_cannot_be_built_are_refused() {
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
                unsupported("an APLIC without IMSICs"),
            ),
            (
                |m| m.platform.serial[0].kind = SerialKind::Pl011,
                unsupported("serial ports other than an NS16550A with registers of one byte"),
            ),
            (
                |m| {
                    m.platform.serial[0].interrupt = Some(Interrupt::level(Line::Spi(1)));
                },
                unsupported("interrupt lines other than a source of a PLIC or APLIC"),
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
                unsupported("a second serial port"),
            ),
        ];
        for (change, expected) in cases {
            let mut machine = machine(3, RiscvIrqchip::AplicImsic);
            change(&mut machine);
            assert_eq!(Layout::of(&machine), Err(expected));
        }
    }

    #[test]
    fn hart_indices_have_enough_bits() {
        for (vcpus, expected) in [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (512, 9), (513, 10)] {
            assert_eq!(hart_index_bits(vcpus), expected, "{vcpus}");
        }
    }
}
