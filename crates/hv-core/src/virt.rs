//! Reference machines of arm64 and riscv64, and their memory layout.
//!
//! Both have the same layout: RAM from 2 GiB on, devices below.
//!
//! ```text
//!                 arm64                          riscv64
//! 0x0000_0000 ─ nothing: null pointers fault ────────────────────────
//! 0x0800_0000 ─ GIC distributor ────────────┬─ APLIC ─────────────────
//! 0x0801_0000 ─ GICv2 CPU interface ────────┤
//! 0x0802_0000 ─ GICv3 ITS ──────────────────┤
//! 0x0804_0000 ─ GICv2m frame ───────────────┘
//! 0x0900_0000 ─ serial port ──────────────────────────────────────────
//! 0x0900_1000 ─ syscon: poweroff and reset ───────────────────────────
//! 0x0a00_0000 ─ virtio-mmio slots, 32 of 4 KiB ───────────────────────
//! 0x0c00_0000 ─ 512 GICv3 redistributors ───┬─ PLIC ──────────────────
//! 0x1000_0000                               ├─ IMSICs, 4096 harts ────
//! 0x3000_0000 ─ PCI configuration space (ECAM), 256 buses ────────────
//! 0x4000_0000 ─ PCI memory window, 32-bit ────────────────────────────
//! 0x8000_0000 ─ RAM ──────────────────────────────────────────────────
//! ```

use std::{borrow::Cow, num::NonZeroU32};

use boot_core::{
    Arch, GuestRange, MemoryMap, MemoryMapError, RegionKind,
    machine::{
        Aplic, Arm64Cpu, Arm64Timer, Cpus, GicV2, GicV3, Imsic, Interrupt, InterruptController, Isa, Line,
        Machine, Platform, Plic, Psci, PsciMethod, PsciVersion, RegisterWrite, RiscvCpus, RiscvHart, Serial,
        SerialKind, Syscon, VirtioMmio,
    },
};

/// `len` bytes from `start`; the end must not overflow.
const fn at(start: u64, len: u64) -> GuestRange {
    match GuestRange::new(start, len) {
        Some(range) => range,
        None => GuestRange::EMPTY,
    }
}

/// Start of RAM.
pub const RAM_BASE: u64 = 0x8000_0000;
/// The distributor of a GICv2 (its first 4 KiB) or GICv3.
pub const GIC_DISTRIBUTOR: GuestRange = at(0x0800_0000, 0x1_0000);
/// The CPU interface of a GICv2.
pub const GICV2_CPU_INTERFACE: GuestRange = at(0x0801_0000, 0x2000);
/// The ITS of a GICv3.
pub const GICV3_ITS: GuestRange = at(0x0802_0000, 0x2_0000);
/// The message frame of a GICv2.
pub const GICV2M_FRAME: GuestRange = at(0x0804_0000, 0x1000);
/// The redistributors of a GICv3: space for [`MAX_ARM64_CPUS`].
pub const GICV3_REDISTRIBUTORS: GuestRange = at(0x0c00_0000, 0x400_0000);
/// The size of one CPU's redistributor.
pub const GICV3_REDISTRIBUTOR_LEN: u64 = 0x2_0000;
/// Largest number of arm64 CPUs.
pub const MAX_ARM64_CPUS: u32 = 512;
/// The APLIC: 16 KiB of registers, followed by 32 bytes for each of [`MAX_RISCV64_HARTS`] (used without IMSICs).
pub const APLIC: GuestRange = at(0x0800_0000, 0x2_8000);
/// The PLIC.
pub const PLIC: GuestRange = at(0x0c00_0000, 0x400_0000);
/// The interrupt files of the IMSICs: space for [`MAX_RISCV64_HARTS`] without guest files.
pub const IMSICS: GuestRange = at(0x1000_0000, 0x100_0000);
/// The size of one interrupt file.
pub const IMSIC_FILE_LEN: u64 = 0x1000;
/// Largest number of riscv64 harts.
pub const MAX_RISCV64_HARTS: u32 = 4096;
/// Number of sources of the PLIC or APLIC: sources 1 to 95.
pub const RISCV64_SOURCES: u32 = 95;
/// Number of interrupt identities of an IMSIC: identities 1 to 255.
pub const IMSIC_IDS: u32 = 255;
/// The serial port, an NS16550A with byte-wide registers.
pub const SERIAL: GuestRange = at(0x0900_0000, 0x1000);
/// Clock of the serial port in Hz, as on a PC: a divisor of one is 115200 baud.
pub const SERIAL_CLOCK_HZ: u32 = 1_843_200;
/// Interrupt line of the serial port, edge-triggered: an SPI on arm64, a source on riscv64.
pub const SERIAL_LINE: u32 = 1;
/// The register that turns the machine off or resets it.
pub const SYSCON: GuestRange = at(0x0900_1000, 0x1000);
/// Register write that turns the machine off.
pub const POWEROFF: RegisterWrite = RegisterWrite::new(0, 0x5555);
/// Register write that resets the machine.
pub const RESET: RegisterWrite = RegisterWrite::new(0, 0x7777);
/// The virtio-mmio slots.
pub const VIRTIO_MMIO: GuestRange = at(0x0a00_0000, 0x2_0000);
/// Size of a virtio-mmio slot: one page.
pub const VIRTIO_MMIO_SLOT_LEN: u64 = 0x1000;
/// Largest number of virtio-mmio slots.
pub const VIRTIO_MMIO_SLOTS: u32 = 32;
/// Interrupt line of the first virtio-mmio slot; the others follow.
pub const VIRTIO_MMIO_FIRST_LINE: u32 = 16;
/// The virtio-mmio slots of a PC: at the start of a region below 4 GiB in which PCs of [`MemoryMap::pc`] have no RAM.
pub const PC_VIRTIO_MMIO: GuestRange = at(0xd000_0000, 0x6000);
/// Global system interrupts of the virtio-mmio slots of a PC, in the order of the slots: those of an ISA bus that no other device of a
/// PC uses. They are below 16, so that guests without ACPI have them.
pub const PC_VIRTIO_MMIO_LINES: [u32; 6] = [5, 10, 11, 6, 14, 15];
/// The configuration space of a PCI host.
pub const PCI_ECAM: GuestRange = at(0x3000_0000, 0x1000_0000);
/// The 32-bit memory window of a PCI host.
pub const PCI_MEMORY: GuestRange = at(0x4000_0000, 0x4000_0000);

/// Reason why a reference machine is not possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VirtError {
    /// The memory size is not possible.
    #[error(transparent)]
    Memory(#[from] MemoryMapError),
    /// The number of CPUs exceeds the limit of the interrupt controller.
    #[error("{found} vCPUs exceed the limit of {max} of the machine's interrupt controller")]
    TooManyCpus {
        /// Requested number of CPUs.
        found: NonZeroU32,
        /// Largest number of CPUs.
        max: u32,
    },
}

/// Interrupt controller of a reference machine of arm64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Gic {
    /// A GICv2, for at most eight CPUs.
    V2,
    /// A GICv3 without an ITS.
    V3,
    /// A GICv3 with an ITS.
    #[default]
    V3WithIts,
}

/// Interrupt controller of a reference machine of riscv64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RiscvIrqchip {
    /// A PLIC.
    #[default]
    Plic,
    /// An APLIC that delivers interrupts directly.
    Aplic,
    /// An APLIC that forwards to IMSICs.
    AplicImsic,
}

/// The memory map of a reference machine with `len` bytes of RAM from [`RAM_BASE`] on.
///
/// # Errors
///
/// [`MemoryMapError`] if `len` is zero, not a multiple of 4 KiB, or too large for the address space.
pub fn memory_map(len: u64) -> Result<MemoryMap, MemoryMapError> {
    if !len.is_multiple_of(0x1000) {
        return Err(MemoryMapError::Unaligned { len });
    }
    let ram = GuestRange::new(RAM_BASE, len).ok_or(MemoryMapError::TooLarge { len })?;
    let mut map = MemoryMap::new();
    map.insert(ram, RegionKind::Ram)?;
    Ok(map)
}

/// The reference machine of arm64: `ram` bytes of RAM, one serial port, and power-off and reset by PSCI.
///
/// It has no virtio-mmio slots; assign [`virtio_mmio`] to [`Platform::virtio_mmio`] to add them.
///
/// # Errors
///
/// [`VirtError::Memory`] as for [`memory_map`]; [`VirtError::TooManyCpus`] for more vCPUs than `gic` allows.
pub fn arm64_machine(ram: u64, vcpus: NonZeroU32, gic: Gic) -> Result<Machine, VirtError> {
    let max = match gic {
        // The GICv2's target registers have one bit for each CPU.
        Gic::V2 => 8,
        Gic::V3 | Gic::V3WithIts => MAX_ARM64_CPUS,
    };
    check_cpus(vcpus, max)?;
    let v3 = |its: Option<GuestRange>| {
        let len = GICV3_REDISTRIBUTOR_LEN.saturating_mul(vcpus.get().into());
        let redistributors = [at(GICV3_REDISTRIBUTORS.start(), len)].into();
        InterruptController::GicV3(GicV3::new(GIC_DISTRIBUTOR, redistributors).with_its(its))
    };
    let mut platform = common_platform(Interrupt::edge(Line::Spi(SERIAL_LINE)));
    platform.cpus = Cpus::Arm64(
        (0..vcpus.get())
            .map(|index| Arm64Cpu::new(Arm64Cpu::affinity_of(index)))
            .collect(),
    );
    platform.interrupt_controller = match gic {
        Gic::V2 => InterruptController::GicV2(GicV2::new(
            at(GIC_DISTRIBUTOR.start(), 0x1000),
            GICV2_CPU_INTERFACE,
        )),
        Gic::V3 => v3(None),
        Gic::V3WithIts => v3(Some(GICV3_ITS)),
    };
    platform.timer = Some(Arm64Timer::STANDARD);
    platform.psci = Some(Psci::new(PsciMethod::Hvc, PsciVersion::V1_0));
    let mut machine = Machine::new(Arch::Aarch64, memory_map(ram)?);
    machine.vcpus = vcpus;
    machine.platform = platform;
    Ok(machine)
}

/// The reference machine of riscv64: `ram` bytes of RAM, harts with ids from 0 up and the instruction set `isa`, a `time`
/// counter of `timebase_frequency` Hz, one serial port, and power-off and reset by SBI.
///
/// It has no virtio-mmio slots; assign [`virtio_mmio`] to [`Platform::virtio_mmio`] to add them.
///
/// # Errors
///
/// [`VirtError::Memory`] as for [`memory_map`]; [`VirtError::TooManyCpus`] for more than [`MAX_RISCV64_HARTS`] vCPUs.
pub fn riscv64_machine(
    ram: u64,
    vcpus: NonZeroU32,
    isa: &Isa,
    timebase_frequency: u32,
    irqchip: RiscvIrqchip,
) -> Result<Machine, VirtError> {
    check_cpus(vcpus, MAX_RISCV64_HARTS)?;
    let aplic = |imsic: Option<Imsic>| {
        InterruptController::Aplic(Aplic::new(APLIC, RISCV64_SOURCES).with_imsic(imsic))
    };
    let mut platform = common_platform(Interrupt::edge(Line::Source(SERIAL_LINE)));
    let harts = (0..vcpus.get())
        .map(|id| RiscvHart::new(id.into(), isa.clone()))
        .collect();
    platform.cpus = Cpus::Riscv64(RiscvCpus::new(timebase_frequency, harts));
    platform.interrupt_controller = match irqchip {
        RiscvIrqchip::Plic => InterruptController::Plic(Plic::new(PLIC, RISCV64_SOURCES)),
        RiscvIrqchip::Aplic => aplic(None),
        RiscvIrqchip::AplicImsic => aplic(Some(Imsic::new(
            at(IMSICS.start(), IMSIC_FILE_LEN.saturating_mul(vcpus.get().into())),
            IMSIC_IDS,
        ))),
    };
    let mut machine = Machine::new(Arch::Riscv64, memory_map(ram)?);
    machine.vcpus = vcpus;
    machine.platform = platform;
    Ok(machine)
}

/// The first `count` virtio-mmio slots of the machine of `arch`, at most [`virtio_mmio_slots`], with level-triggered interrupts: SPIs
/// on arm64, sources on riscv64, global system interrupts on x86_64.
#[must_use]
pub fn virtio_mmio(arch: Arch, count: u32) -> Vec<VirtioMmio> {
    let count = count.min(virtio_mmio_slots(arch));
    let (base, lines): (u64, Box<dyn Iterator<Item = Line>>) = match arch {
        Arch::X86_64 => (
            PC_VIRTIO_MMIO.start(),
            Box::new(PC_VIRTIO_MMIO_LINES.into_iter().map(Line::Gsi)),
        ),
        Arch::Riscv64 => (
            VIRTIO_MMIO.start(),
            Box::new((VIRTIO_MMIO_FIRST_LINE..).map(Line::Source)),
        ),
        _ => (
            VIRTIO_MMIO.start(),
            Box::new((VIRTIO_MMIO_FIRST_LINE..).map(Line::Spi)),
        ),
    };
    (0..count)
        .zip(lines)
        .map(|(slot, line)| {
            let start = base.saturating_add(VIRTIO_MMIO_SLOT_LEN.saturating_mul(slot.into()));
            VirtioMmio::new(at(start, VIRTIO_MMIO_SLOT_LEN), Interrupt::level(line))
        })
        .collect()
}

/// Largest number of virtio-mmio slots of the machine of `arch`.
#[must_use]
pub fn virtio_mmio_slots(arch: Arch) -> u32 {
    match arch {
        Arch::X86_64 => PC_VIRTIO_MMIO_LINES.len().try_into().unwrap_or(VIRTIO_MMIO_SLOTS),
        _ => VIRTIO_MMIO_SLOTS,
    }
}

/// The syscon of the reference machines, for guests that power off without PSCI and SBI.
#[must_use]
pub fn syscon() -> Syscon {
    Syscon::new(SYSCON).with_poweroff(POWEROFF).with_reset(RESET)
}

fn check_cpus(found: NonZeroU32, max: u32) -> Result<(), VirtError> {
    if found.get() <= max {
        Ok(())
    } else {
        Err(VirtError::TooManyCpus { found, max })
    }
}

/// The devices that both machines have.
fn common_platform(serial: Interrupt) -> Platform {
    let mut platform = Platform::new();
    platform.model = Cow::Borrowed("vmboot virt");
    platform.compatible = [Cow::Borrowed("linux,dummy-virt")].into();
    let port = Serial::new(SerialKind::NS16550A, SERIAL, SERIAL_CLOCK_HZ).with_interrupt(serial);
    platform.serial = [port].into();
    platform
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpus(count: u32) -> NonZeroU32 {
        NonZeroU32::new(count).unwrap()
    }

    #[test]
    fn devices_do_not_overlap_each_other_or_ram() {
        let arm64 = [
            GIC_DISTRIBUTOR,
            GICV2_CPU_INTERFACE,
            GICV3_ITS,
            GICV2M_FRAME,
            GICV3_REDISTRIBUTORS,
        ];
        let riscv64 = [APLIC, PLIC, IMSICS];
        let both = [SERIAL, SYSCON, VIRTIO_MMIO, PCI_ECAM, PCI_MEMORY];
        for own in [&arm64[..], &riscv64[..]] {
            let all: Vec<GuestRange> = own.iter().chain(&both).copied().collect();
            for (i, a) in all.iter().enumerate() {
                assert!(!a.is_empty() && a.end() <= RAM_BASE, "{a}");
                assert!(all.iter().skip(i + 1).all(|b| !a.overlaps(*b)), "{a}");
            }
        }
        for slot in virtio_mmio(Arch::Aarch64, u32::MAX) {
            assert!(VIRTIO_MMIO.contains(slot.range) && !slot.range.is_empty());
        }
        let pc = virtio_mmio(Arch::X86_64, u32::MAX);
        assert_eq!(pc.len(), PC_VIRTIO_MMIO_LINES.len());
        let ram = MemoryMap::pc(8 << 30).unwrap();
        for slot in pc {
            assert!(PC_VIRTIO_MMIO.contains(slot.range) && !slot.range.is_empty());
            assert!(
                ram.regions()
                    .iter()
                    .all(|region| !region.range.overlaps(slot.range))
            );
        }
    }

    #[test]
    fn the_largest_machines_have_space_for_their_cpus() {
        let arm64 = |count, gic| arm64_machine(1 << 30, cpus(count), gic);
        assert!(arm64(9, Gic::V2).is_err() && arm64(MAX_ARM64_CPUS + 1, Gic::V3).is_err());
        let machine = arm64(MAX_ARM64_CPUS, Gic::V3).unwrap();
        let InterruptController::GicV3(gic) = &machine.platform.interrupt_controller else {
            panic!("not a GICv3");
        };
        assert_eq!(gic.redistributors, [GICV3_REDISTRIBUTORS]);
        assert_eq!(machine.platform.cpus.count(), Some(512));

        let riscv64 =
            |count, irqchip| riscv64_machine(1 << 30, cpus(count), &Isa::rv64gc(), 10_000_000, irqchip);
        for irqchip in [RiscvIrqchip::Plic, RiscvIrqchip::Aplic, RiscvIrqchip::AplicImsic] {
            assert!(riscv64(MAX_RISCV64_HARTS + 1, irqchip).is_err(), "{irqchip:?}");
            let machine = riscv64(MAX_RISCV64_HARTS, irqchip).unwrap();
            assert_eq!(machine.platform.cpus.count(), Some(4096), "{irqchip:?}");
            match &machine.platform.interrupt_controller {
                // Registers of 4 KiB for each hart's context, from 2 MiB on.
                InterruptController::Plic(plic) => assert!(plic.range.len() >= 0x20_0000 + (4096 << 12)),
                InterruptController::Aplic(Aplic { range, imsic, .. }) => {
                    assert_eq!(imsic.is_some(), irqchip == RiscvIrqchip::AplicImsic);
                    // Registers of 32 bytes for each hart, from 16 KiB on.
                    assert!(range.len() >= 0x4000 + (4096 << 5));
                    assert!(imsic.iter().all(|imsic| imsic.range == IMSICS));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn ram_starts_at_its_base() {
        assert_eq!(memory_map(0x1000).unwrap().ram_end(), Some(RAM_BASE + 0x1000));
        for bad in [0, 0xfff, !0xfff] {
            assert!(memory_map(bad).is_err(), "{bad:#x}");
        }
    }
}
