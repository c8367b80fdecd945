//! Validation of a platform before its tree is written.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use boot_core::machine::{
    Aplic, Arm64Timer, Cpus, GicV2, GicV3, Imsic, Interrupt, InterruptController, Line, PciHost, PciWindow,
    RiscvCpus, Serial, SerialKind,
};
use boot_core::{Arch, GuestRange, Machine, arith};

use super::device_ranges::device_ranges;
use super::interrupts::Wiring;
use super::nodes;
use crate::error::CreateFdtError;

/// Validates the assumptions of the writers and the requirements of the bindings.
pub(super) fn validate(machine: &Machine) -> Result<(), CreateFdtError> {
    check_cpus(machine)?;
    check_arch(machine)?;
    if let Cpus::Riscv64(cpus) = &machine.platform.cpus {
        check_harts(cpus)?;
    }
    check_controller(machine)?;
    check_lines(machine)?;
    check_devices(machine)?;
    check_addresses(machine)?;
    if let Some(numa) = &machine.numa {
        numa.check(machine.vcpus, &machine.memory)?;
    }
    if let Some(topology) = &machine.topology {
        topology.check(machine.vcpus)?;
    }
    check_reserved(machine)?;
    nodes::check(&machine.platform.nodes, &Wiring::new(machine))
}

fn check_cpus(machine: &Machine) -> Result<(), CreateFdtError> {
    let (mut ids, arch, what): (Vec<u64>, _, _) = match &machine.platform.cpus {
        Cpus::Arm64(cpus) => (
            cpus.iter().map(boot_core::machine::Arm64Cpu::affinity).collect(),
            Arch::Aarch64,
            "arm64 CPUs",
        ),
        Cpus::Riscv64(cpus) => (
            cpus.harts.iter().map(|hart| hart.hart_id).collect(),
            Arch::Riscv64,
            "riscv64 harts",
        ),
        _ => return Err(CreateFdtError::NoCpus),
    };
    if arch != machine.arch {
        return Err(CreateFdtError::WrongArch {
            what,
            arch: machine.arch,
        });
    }
    let vcpus = machine.vcpus.get();
    if u32::try_from(ids.len()) != Ok(vcpus) {
        return Err(CreateFdtError::CpuCountMismatch {
            described: ids.len(),
            vcpus,
        });
    }
    ids.sort_unstable();
    let is_duplicate = |pair: &&[u64]| pair.first() == pair.last();
    if let Some([id, ..]) = ids.windows(2).find(is_duplicate) {
        return Err(CreateFdtError::DuplicateCpuId { id: *id });
    }
    if arch == Arch::Aarch64 && vcpus > 1 && machine.platform.psci.is_none() {
        return Err(CreateFdtError::NoPsci);
    }
    Ok(())
}

fn check_arch(machine: &Machine) -> Result<(), CreateFdtError> {
    let platform = &machine.platform;
    let arm64 = machine.arch == Arch::Aarch64;
    let controller = match platform.interrupt_controller {
        InterruptController::GicV2(_) | InterruptController::GicV3(_) => (!arm64).then_some("a GIC"),
        InterruptController::Plic(_) => arm64.then_some("a PLIC"),
        InterruptController::Aplic(_) => arm64.then_some("an APLIC"),
        _ => None,
    };
    let timer = (!arm64 && platform.timer.is_some()).then_some("an arm64 generic timer");
    let psci = (!arm64 && platform.psci.is_some()).then_some("PSCI");
    match controller.or(timer).or(psci) {
        Some(what) => Err(CreateFdtError::WrongArch {
            what,
            arch: machine.arch,
        }),
        None => Ok(()),
    }
}

/// Checks one value.
fn check_value(
    device: &'static str,
    field: &'static str,
    found: impl Into<u64>,
    allowed: impl FnOnce(u64) -> bool,
    expected: &'static str,
) -> Result<(), CreateFdtError> {
    let found = found.into();
    if allowed(found) {
        Ok(())
    } else {
        Err(CreateFdtError::InvalidValue {
            device,
            field,
            found,
            expected,
        })
    }
}

fn check_harts(cpus: &RiscvCpus) -> Result<(), CreateFdtError> {
    check_value(
        "time counter",
        "frequency",
        cpus.timebase_frequency,
        |hz| hz > 0,
        "at least 1 Hz",
    )?;
    for hart in &cpus.harts {
        let blocks = [
            ("zicbom", "Zicbom block size", hart.cbom_block_size),
            ("zicboz", "Zicboz block size", hart.cboz_block_size),
            ("zicbop", "Zicbop block size", hart.cbop_block_size),
        ];
        for (extension, field, size) in blocks {
            match size {
                Some(size) => check_value("hart", field, size, u64::is_power_of_two, "a power of two")?,
                None if hart.isa.has(extension) => {
                    return Err(CreateFdtError::NoBlockSize {
                        hart_id: hart.hart_id,
                        extension,
                    });
                }
                None => {}
            }
        }
    }
    Ok(())
}

fn check_controller(machine: &Machine) -> Result<(), CreateFdtError> {
    let vcpus = u64::from(machine.vcpus.get());
    let sources = |device, sources: u32| {
        check_value(
            device,
            "number of sources",
            sources,
            |n| (1..=1023).contains(&n),
            "1 to 1023",
        )
    };
    match &machine.platform.interrupt_controller {
        InterruptController::GicV2(GicV2 { v2m, .. }) => {
            check_value("GICv2", "number of CPUs", vcpus, |n| n <= 8, "at most 8")?;
            let Some(v2m) = v2m else {
                return Ok(());
            };
            check_value(
                "GICv2m frame",
                "number of SPIs",
                v2m.spis,
                |n| n > 0 && n.saturating_add(v2m.first_spi.into()) <= 988,
                "at least 1, with its last SPI at most 987",
            )
        }
        InterruptController::GicV3(GicV3 { redistributors, .. }) => {
            let room = redistributors
                .iter()
                .fold(0u64, |sum, region| sum.saturating_add(region.len() >> 17));
            check_value(
                "GICv3",
                "number of redistributors",
                room,
                |room| room >= vcpus,
                "at least the number of CPUs, at 128 KiB each",
            )
        }
        InterruptController::Plic(plic) => sources("PLIC", plic.sources),
        InterruptController::Aplic(aplic) => {
            sources("APLIC", aplic.sources)?;
            check_aplic(aplic, vcpus)
        }
        _ => Ok(()),
    }
}

fn check_aplic(aplic: &Aplic, vcpus: u64) -> Result<(), CreateFdtError> {
    /// The size of a domain's registers (RISC-V AIA, "Memory-mapped control region for an interrupt
    /// domain").
    const REGISTERS: u64 = 0x4000;
    /// The size of a hart's interrupt delivery control (IDC) structure. These follow the registers.
    const DELIVERY: u64 = 32;
    let len = aplic.range.len();
    let check = |least, expected| check_value("APLIC", "size", len, |len| len >= least, expected);
    if let Some(imsic) = &aplic.imsic {
        check(REGISTERS, "at least 16 KiB")?;
        return check_imsic(imsic, vcpus);
    }
    check(
        vcpus.saturating_mul(DELIVERY).saturating_add(REGISTERS),
        "at least 16 KiB and 32 bytes for each hart",
    )
}

/// The default of `riscv,hart-index-bits`: the fewest bits that distinguish the harts, 0 for a single hart (Linux binding
/// `riscv,imsics.yaml`).
fn hart_index_bits(vcpus: u64) -> u32 {
    vcpus.checked_next_power_of_two().map_or(u64::BITS, u64::ilog2)
}

fn check_imsic(imsic: &Imsic, vcpus: u64) -> Result<(), CreateFdtError> {
    let check =
        |field, found, allowed: bool, expected| check_value("IMSIC", field, found, |_| allowed, expected);
    let ids = imsic.ids;
    check(
        "number of identities",
        ids,
        (63..=2047).contains(&ids) && ids & 63 == 63,
        "63 to 2047 and one less than a multiple of 64",
    )?;
    let guest = imsic.guest_index_bits;
    check("number of guest index bits", guest, guest <= 7, "0 to 7")?;
    let hart = imsic.hart_index_bits.unwrap_or_else(|| hart_index_bits(vcpus));
    check(
        "number of hart index bits",
        hart,
        hart <= 15 && 1u64.checked_shl(hart).is_some_and(|harts| harts >= vcpus),
        "0 to 15 and enough for every hart",
    )?;
    let files = 0x1000u64
        .checked_shl(guest)
        .and_then(|len| len.checked_mul(vcpus));
    check_value(
        "IMSIC",
        "size",
        imsic.range.len(),
        |len| files.is_some_and(|files| len >= files),
        "4 KiB for every interrupt file of every hart",
    )?;
    // The guest clears these bits of an interrupt file's address to get the base address of the IMSICs.
    let start = imsic.range.start();
    match guest
        .checked_add(hart)
        .and_then(|bits| 0x1000u64.checked_shl(bits))
    {
        Some(alignment) if arith::align_down(start, alignment) != start => Err(CreateFdtError::Misaligned {
            device: "IMSIC",
            start,
            alignment,
        }),
        _ => Ok(()),
    }
}

/// The interrupts of all devices, each with the name of the device.
fn device_interrupts(machine: &Machine) -> Vec<(&'static str, Interrupt)> {
    let platform = &machine.platform;
    let mut all = Vec::new();
    all.extend(
        platform
            .serial
            .iter()
            .filter_map(|serial| Some(("serial port", serial.interrupt?))),
    );
    all.extend(
        platform
            .virtio_mmio
            .iter()
            .map(|slot| ("virtio-mmio slot", slot.interrupt)),
    );
    if let Some(pins) = platform.pci.as_ref().and_then(|pci| pci.intx) {
        all.extend(pins.map(|line| ("PCI host", line)));
    }
    all
}

/// The interrupts of the arm64 timer.
fn timer_interrupts(machine: &Machine) -> Vec<(&'static str, Interrupt)> {
    let lines = |timer: Arm64Timer| {
        [
            timer.secure_physical,
            timer.physical,
            timer.virtual_timer,
            timer.hypervisor,
        ]
    };
    let lines = machine.platform.timer.map(lines).into_iter().flatten();
    lines.map(|line| ("timer", line)).collect()
}

fn check_lines(machine: &Machine) -> Result<(), CreateFdtError> {
    let wiring = Wiring::new(machine);
    let (devices, timer) = (device_interrupts(machine), timer_interrupts(machine));
    for &(device, Interrupt { line, .. }) in devices.iter().chain(&timer) {
        if !wiring.has_line(line) {
            return Err(CreateFdtError::NoSuchLine { device, line });
        }
    }
    for (device, Interrupt { line, .. }) in timer {
        if !matches!(line, Line::Ppi(_)) {
            return Err(CreateFdtError::NotPpi { device, line });
        }
    }
    for (device, Interrupt { line, .. }) in devices {
        if wiring.is_msi_line(line) {
            return Err(CreateFdtError::MsiLine { device, line });
        }
    }
    Ok(())
}

fn check_devices(machine: &Machine) -> Result<(), CreateFdtError> {
    machine.platform.serial.iter().try_for_each(check_serial)?;
    if let Some(syscon) = &machine.platform.syscon {
        for write in [syscon.poweroff, syscon.reset].into_iter().flatten() {
            let offset = u64::from(write.offset);
            let inside = offset.checked_add(4).is_some_and(|end| end <= syscon.range.len());
            check_value(
                "syscon",
                "register offset",
                offset,
                |offset| inside && arith::align_down(offset, 4) == offset,
                "a multiple of 4 inside its range",
            )?;
        }
    }
    let Some(pci) = &machine.platform.pci else {
        return Ok(());
    };
    check_pci(pci)?;
    if pci.msi && Wiring::new(machine).msi().is_none() {
        return Err(CreateFdtError::NoMsiController);
    }
    Ok(())
}

fn check_serial(serial: &Serial) -> Result<(), CreateFdtError> {
    match serial.kind {
        SerialKind::Ns16550a {
            reg_shift,
            reg_io_width,
        } => {
            let check = |field, found, allowed: bool, expected| {
                check_value("serial port", field, found, |_| allowed, expected)
            };
            check("register shift", reg_shift, reg_shift <= 3, "0 to 3")?;
            let widths = [1, 2, 4];
            check(
                "register access width",
                reg_io_width,
                widths.contains(&reg_io_width),
                "1, 2 or 4 bytes",
            )
        }
        SerialKind::Pl011 => Ok(()),
        _ => check_value("serial port", "kind", 0u64, |_| false, "an NS16550A or a PL011"),
    }
}

fn check_pci(pci: &PciHost) -> Result<(), CreateFdtError> {
    const BUS: u64 = 1 << 20;
    check_value(
        "PCI host",
        "size of the configuration space",
        pci.ecam.len(),
        |len| (BUS..=256 * BUS).contains(&len) && arith::align_down(len, BUS) == len,
        "1 MiB for each of 1 to 256 buses",
    )?;
    for PciWindow {
        space,
        range,
        pci_addr,
        ..
    } in &pci.windows
    {
        let end = pci_addr.checked_add(range.len());
        let fits = end.is_some_and(|end| end <= space.end());
        check_value(
            "PCI host",
            "PCI address of a window",
            *pci_addr,
            |_| fits,
            "such that the window ends inside its address space",
        )?;
    }
    Ok(())
}

/// No devices overlap each other or RAM. Since node names contain the addresses, this makes them unique, too.
fn check_addresses(machine: &Machine) -> Result<(), CreateFdtError> {
    let mut all: Vec<_> = machine.memory.ram().map(|range| ("RAM", range)).collect();
    all.extend(device_ranges(machine));
    all.sort_by_key(|(_, range)| *range);
    for (device, range) in &all {
        check_value(device, "size", range.len(), |len| len > 0, "at least one byte")?;
    }
    check_overlap(&all)
}

/// No two of the ranges, which are sorted by address, overlap.
fn check_overlap(ranges: &[(&'static str, GuestRange)]) -> Result<(), CreateFdtError> {
    for pair in ranges.windows(2) {
        match pair {
            [(first, first_range), (second, second_range)] if first_range.overlaps(*second_range) => {
                return Err(CreateFdtError::Overlap {
                    first,
                    first_range: *first_range,
                    second,
                    second_range: *second_range,
                });
            }
            _ => {}
        }
    }
    Ok(())
}

fn check_reserved(machine: &Machine) -> Result<(), CreateFdtError> {
    let mut reserved: Vec<_> = machine.platform.reserved_memory.iter().collect();
    reserved.sort_by_key(|memory| memory.range);
    for memory in &reserved {
        if memory.range.is_empty() || !machine.memory.is_ram(memory.range) {
            return Err(CreateFdtError::ReservedMemoryNotRam {
                name: memory.name.clone(),
                range: memory.range,
            });
        }
        if memory.name.contains('@') {
            return Err(CreateFdtError::InvalidReservedMemoryName {
                name: Cow::clone(&memory.name),
            });
        }
    }
    let ranges: Vec<_> = reserved
        .iter()
        .map(|memory| ("reserved memory", memory.range))
        .collect();
    check_overlap(&ranges)
}
