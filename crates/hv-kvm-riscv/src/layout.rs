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
    #[error("this harness builds riscv64 machines, but the machine is {found}")]
    Arch {
        /// Architecture of the machine.
        found: Arch,
    },
    /// The machine has a part that this harness does not support.
    #[error("this harness does not support {what}")]
    Unsupported {
        /// Name of the part.
        what: &'static str,
    },
    /// The number of described harts differs from the number of vCPUs.
    #[error("the machine has {vcpus} vCPUs, but its platform describes {described} harts")]
    CpuCount {
        /// Number of vCPUs.
        vcpus: u32,
        /// Number of described harts.
        described: usize,
    },
    /// The id of a hart differs from the number of its vCPU.
    #[error("vCPU {index} is described with hart id {found}, but KVM assigns {index}")]
    HartId {
        /// Number of the vCPU.
        index: u64,
        /// Hart id in the description.
        found: u64,
    },
    /// The range of a part is too small.
    #[error("the range {range} of the {part} is smaller than its {len:#x} bytes")]
    RangeTooSmall {
        /// Name of the part.
        part: &'static str,
        /// Range of the part.
        range: GuestRange,
        /// Size of the part in bytes.
        len: u64,
    },
    /// The number of index bits in the addresses of the IMSICs is not supported.
    #[error("the IMSICs have {found} {kind} index bits, but KVM needs {expected}")]
    ImsicIndexBits {
        /// `guest` or `hart`.
        kind: &'static str,
        /// Number of bits in the description.
        found: u32,
        /// Number of bits that KVM needs.
        expected: u32,
    },
    /// The interrupt source of the serial port does not exist.
    #[error(
        "the serial port has interrupt source {found}, but the highest source of the interrupt controller is {sources}"
    )]
    NoSuchSource {
        /// The source, from 1 up.
        found: u32,
        /// Highest source; 0 without an interrupt controller.
        sources: u32,
    },
}

/// The sizes of the in-kernel AIA's parts (`KVM_DEV_RISCV_APLIC_SIZE`, `KVM_DEV_RISCV_IMSIC_SIZE`).
const APLIC_LEN: u64 = 0x4000;
const IMSIC_LEN: u64 = 0x1000;

/// Number of bits of the index of `vcpus` harts: the default of the device tree property `riscv,hart-index-bits`.
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
    /// [`LayoutError`] for machines that this harness cannot build.
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
        if platform.cpus.count().is_some() && u32::try_from(harts.len()) != Ok(vcpus) {
            return Err(LayoutError::CpuCount {
                vcpus,
                described: harts.len(),
            });
        }
        for (index, hart) in (0..).zip(&harts) {
            let found = hart.hart_id;
            if found != index {
                return Err(LayoutError::HartId { index, found });
            }
        }
        let irqchip = match &platform.interrupt_controller {
            InterruptController::Unspecified => IrqchipLayout::None,
            InterruptController::Plic(plic) => {
                check_len("PLIC", plic.range, crate::Plic::mmio_len(vcpus))?;
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

/// Refuses a range that is smaller than `len` bytes, the size of the part.
fn check_len(part: &'static str, range: GuestRange, len: u64) -> Result<(), LayoutError> {
    if range.len() >= len {
        return Ok(());
    }
    Err(LayoutError::RangeTooSmall { part, range, len })
}

/// Refuses other numbers of index bits in the addresses of IMSICs.
fn check_index_bits(kind: &'static str, found: u32, expected: u32) -> Result<(), LayoutError> {
    if found == expected {
        return Ok(());
    }
    Err(LayoutError::ImsicIndexBits {
        kind,
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
    check_len("APLIC", aplic.range, APLIC_LEN)?;
    check_len("IMSICs", imsic.range, files)?;
    check_index_bits("guest", imsic.guest_index_bits, 0)?;
    check_index_bits("hart", imsic.hart_index_bits.unwrap_or(bits), bits)?;
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
    check_len("serial port", port.range, hv_core::Serial::LEN)?;
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
                _ => panic!("the machine does not describe harts"),
            }
        }
        let index_bits = |kind, found, expected| LayoutError::ImsicIndexBits {
            kind,
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
            (
                |m| drop(harts(m).pop()),
                LayoutError::CpuCount {
                    vcpus: 3,
                    described: 2,
                },
            ),
            (
                |m| harts(m)[1].hart_id = 5,
                LayoutError::HartId { index: 1, found: 5 },
            ),
            (|m| imsic(m).guest_index_bits = 1, index_bits("guest", 1, 0)),
            (|m| imsic(m).hart_index_bits = Some(3), index_bits("hart", 3, 2)),
            (
                |m| imsic(m).range = GuestRange::new(virt::IMSICS.start(), 0x2000).unwrap(),
                LayoutError::RangeTooSmall {
                    part: "IMSICs",
                    range: GuestRange::new(virt::IMSICS.start(), 0x2000).unwrap(),
                    len: 0x3000,
                },
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
