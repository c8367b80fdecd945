//! Generated arm64 and riscv64 machines.

use std::num::NonZeroU32;

use arbitrary::{Result, Unstructured};
use boot_core::machine::{
    Aplic, Arm64Cpu, Arm64Timer, Cache, CacheScope, Caches, Cpus, GicV2, GicV2m, GicV3, Imsic, Interrupt,
    InterruptController, Isa, Line, MmuType, Numa, NumaNode, PciHost, PciSpace, PciWindow, Plic, Psci,
    PsciMethod, PsciVersion, RegisterWrite, ReservedMemory, RiscvCpus, RiscvHart, Serial, SerialKind, Syscon,
    Topology, Trigger, VirtioMmio,
};
use boot_core::{Arch, GuestRange, Machine, MemoryMap, RegionKind};

use crate::odds::{maybe, number, one_in, pick, repeat};

/// Allocates addresses in ascending order, with gaps.
struct Addresses(u64);

impl Addresses {
    /// A range of `len` bytes, aligned to 4 KiB.
    fn take(&mut self, u: &mut Unstructured<'_>, len: u64) -> Result<GuestRange> {
        self.take_aligned(u, len, 0x1000)
    }

    /// A range of `len` bytes, aligned to `alignment`.
    fn take_aligned(&mut self, u: &mut Unstructured<'_>, len: u64, alignment: u64) -> Result<GuestRange> {
        let start = (self.0 + pick(u, &[0, 0, 0x1000, 0x12_3000])?).next_multiple_of(alignment);
        self.0 = start + len;
        Ok(GuestRange::new(start, len).unwrap())
    }
}

/// A machine of `arch`, aarch64 or riscv64, that a device tree can describe: its devices do not overlap, and their interrupt
/// lines exist.
///
/// # Errors
///
/// None of its own; see [`Unstructured::int_in_range`].
///
/// # Panics
///
/// Never: all generated values are valid.
pub fn machine(u: &mut Unstructured<'_>, arch: Arch) -> Result<Machine> {
    let mut addresses = Addresses(pick(u, &[0x1000, 0x800_0000, 0x1_0000_0000])?);
    let vcpus = match u.int_in_range(0..=3u8)? {
        0 => 1,
        1 => u.int_in_range(1..=4)?,
        _ => u.int_in_range(1..=18)?,
    };
    let controller = match arch {
        Arch::Aarch64 if vcpus <= 8 && one_in(u, 3)? => gicv2(u, &mut addresses)?,
        Arch::Aarch64 => gicv3(u, &mut addresses, vcpus)?,
        _ => riscv_irqchip(u, &mut addresses, vcpus)?,
    };
    let mut platform = boot_core::machine::Platform::new();
    platform.model = pick(u, &["", "a machine", "vmboot,virt"])?.into();
    platform.compatible = pick(
        u,
        &[
            vec![],
            vec!["linux,dummy-virt".into()],
            vec!["a,b".into(), "c".into()],
        ],
    )?;
    platform.cpus = match arch {
        Arch::Aarch64 => arm64_cpus(u, vcpus)?,
        _ => harts(u, vcpus)?,
    };
    platform.serial = repeat(pick(u, &[0, 1, 1, 3])?, || serial(u, &mut addresses, &controller))?;
    platform.virtio_mmio = repeat(pick(u, &[0, 1, 2, 9])?, || {
        Ok(VirtioMmio::new(
            addresses.take(u, 0x200)?,
            interrupt(u, &controller)?,
        ))
    })?;
    platform.pci = maybe(u, 2, |u| pci(u, &mut addresses, &controller))?;
    platform.syscon = maybe(u, 2, |u| syscon(u, &mut addresses))?;
    if arch == Arch::Aarch64 {
        platform.timer = if one_in(u, 4)? { None } else { Some(timer(u)?) };
        if vcpus > 1 || one_in(u, 2)? {
            platform.psci = Some(Psci::new(
                pick(u, &[PsciMethod::Hvc, PsciMethod::Smc])?,
                pick(u, &[PsciVersion::V0_2, PsciVersion::V1_0])?,
            ));
        }
    }
    platform.interrupt_controller = controller;
    let memory = memory(u, &mut addresses)?;
    platform.reserved_memory = reserved(u, &memory)?;
    let mut machine = Machine::new(arch, memory);
    machine.vcpus = NonZeroU32::new(vcpus).unwrap();
    machine.platform = platform;
    machine.numa = maybe(u, 3, |u| numa(u, &machine))?;
    machine.topology = maybe(u, 3, |u| topology(u, vcpus))?;
    Ok(machine)
}

/// The CPUs in sockets, clusters, cores and threads, with or without caches.
fn topology(u: &mut Unstructured<'_>, vcpus: u32) -> Result<Topology> {
    let mut rest = vcpus;
    let mut level = || {
        let divisors: Vec<u32> = (1..=rest).filter(|by| rest.is_multiple_of(*by)).collect();
        let count = pick(u, &divisors)?;
        rest /= count;
        Ok(NonZeroU32::new(count).unwrap())
    };
    let (sockets, clusters, cores) = (level()?, level()?, level()?);
    let threads = NonZeroU32::new(rest).unwrap();
    let mut cache = |scope| {
        let (line_size, sets) = (pick(u, &[32, 64, 128])?, u.int_in_range(1..=4096)?);
        let ways = u.int_in_range(1..=255)?;
        Ok(Cache::new(line_size * sets * ways, line_size, sets).with_scope(scope))
    };
    let mut caches = Caches::default();
    let all = [
        CacheScope::Core,
        CacheScope::Core,
        CacheScope::Cluster,
        CacheScope::Socket,
    ]
    .map(&mut cache);
    let [l1d, l1i, l2, l3] = all;
    let known = [l1d?, l1i?, l2?, l3?];
    let level = u.int_in_range(0..=3u8)?;
    if level > 0 {
        caches.l1d = Some(known[0]);
        caches.l1i = maybe(u, 2, |_| Ok(known[1]))?;
    }
    if level > 1 {
        caches.l2 = Some(known[2].with_scope(pick(u, &[CacheScope::Core, CacheScope::Cluster])?));
    }
    if level > 2 {
        caches.l3 = Some(known[3].with_scope(pick(u, &[CacheScope::Cluster, CacheScope::Socket])?));
    }
    Ok(Topology::new(sockets, cores, threads)
        .with_clusters(clusters)
        .with_caches(caches))
}

/// Two or three NUMA nodes with all CPUs and addresses.
fn numa(u: &mut Unstructured<'_>, machine: &Machine) -> Result<Numa> {
    let count = u.int_in_range(2..=3u32)?;
    let shift = u.int_in_range(0..=2u32)?;
    let mut nodes = vec![NumaNode::default(); count as usize];
    for cpu in 0..machine.vcpus.get() {
        nodes[(cpu.wrapping_add(shift) % count) as usize].cpus.push(cpu);
    }
    let mut start = 0;
    let mut next = machine.memory.ram().next().map_or(0, GuestRange::start);
    for (index, node) in (1..).zip(&mut nodes) {
        next += number(u, 32)? & !0xfff;
        let end = if index == count { !0xfff } else { next };
        let range = GuestRange::from_bounds(start, end).unwrap();
        // A node without memory has no range.
        node.memory.extend(Some(range).filter(|range| !range.is_empty()));
        start = end;
    }
    let distance = u.int_in_range(11..=254u8)?;
    let numa = Numa::new(nodes);
    Ok(if one_in(u, 2)? {
        numa.with_distance(0, 1, distance)
    } else {
        numa
    })
}

fn timer(u: &mut Unstructured<'_>) -> Result<Arm64Timer> {
    if one_in(u, 2)? {
        return Ok(Arm64Timer::STANDARD);
    }
    let mut ppi = || {
        Ok(Interrupt::new(
            Line::Ppi(u.int_in_range(0..=15)?),
            pick(u, &[Trigger::EdgeRising, Trigger::LevelHigh])?,
        ))
    };
    Ok(Arm64Timer::new(ppi()?, ppi()?, ppi()?, ppi()?))
}

fn memory(u: &mut Unstructured<'_>, addresses: &mut Addresses) -> Result<MemoryMap> {
    let mut map = MemoryMap::new();
    addresses.0 = addresses
        .0
        .next_multiple_of(pick(u, &[1 << 12, 1 << 21, 1 << 30])?);
    for _ in 0..=u.int_in_range(0..=3u8)? {
        let least = pick(u, &[0x1000_0000, 0x400_0000, 0x40_0000, 0x1000])?;
        let len = (number(u, 37)? & !0xfff) + least;
        let range = addresses.take(u, len)?;
        let kind = pick(
            u,
            &[
                RegionKind::Ram,
                RegionKind::Ram,
                RegionKind::Ram,
                RegionKind::Reserved,
            ],
        )?;
        map.insert(range, kind).unwrap();
    }
    Ok(map)
}

fn reserved(u: &mut Unstructured<'_>, memory: &MemoryMap) -> Result<Vec<ReservedMemory>> {
    let mut all = Vec::new();
    for bank in memory.ram() {
        if one_in(u, 3)? && bank.len() >= 0x4000 {
            let start = bank.start() + (u.int_in_range(0..=bank.len() - 0x2001)? & !0xfff);
            let name = pick(u, &["secret", "ramoops", "a"])?;
            let range = GuestRange::new(start, pick(u, &[1, 0x1000, 0x1234])?).unwrap();
            all.push(ReservedMemory::new(name, range).with_no_map(one_in(u, 2)?));
        }
    }
    Ok(all)
}

fn arm64_cpus(u: &mut Unstructured<'_>, vcpus: u32) -> Result<Cpus> {
    let high = pick(u, &[0, 0, 1 << 32, 0x12 << 32])?;
    let ids = (0..vcpus).map(|index| Arm64Cpu::affinity_of(index) | high);
    let mut cpus: Vec<_> = ids.map(Arm64Cpu::new).collect();
    if one_in(u, 2)? {
        // MPIDR_EL1 has other bits than the affinity.
        for cpu in &mut cpus {
            cpu.mpidr |= 1 << 31;
        }
    }
    let boot = u.choose_index(cpus.len())?;
    cpus.swap(0, boot);
    cpus[boot].compatible = pick(u, &["arm,armv8", "arm,cortex-a57"])?.into();
    Ok(Cpus::Arm64(cpus))
}

fn harts(u: &mut Unstructured<'_>, vcpus: u32) -> Result<Cpus> {
    let first = pick(u, &[0, 0, 1, 0x7fff_ffff, 0x1_0000_0000])?;
    let long = [
        "zicsr", "zifencei", "zicbom", "zicboz", "zicbop", "sstc", "svpbmt", "xtheadba",
    ];
    let mut harts = Vec::new();
    for id in (first..).take(vcpus.try_into().unwrap()) {
        let mut isa = vec!["i"];
        for (odds, extensions) in [(2, &["m", "a", "f", "d", "c", "v"][..]), (3, &long)] {
            for extension in extensions {
                isa.extend(maybe(u, odds, |_| Ok(*extension))?);
            }
        }
        let mut hart = RiscvHart::new(id, Isa::new(isa).unwrap());
        hart.mmu = pick(u, &[MmuType::Sv39, MmuType::Sv48, MmuType::Sv57, MmuType::None])?;
        // An extension needs its block size; a block size without its extension is valid.
        let mut block_size = |extension, size| {
            let is_set = hart.isa.has(extension) || one_in(u, 2)?;
            Ok(is_set.then_some(size))
        };
        let sizes = [
            block_size("zicbom", 64)?,
            block_size("zicboz", 128)?,
            block_size("zicbop", 32)?,
        ];
        [hart.cbom_block_size, hart.cboz_block_size, hart.cbop_block_size] = sizes;
        harts.push(hart);
    }
    let boot = u.choose_index(harts.len())?;
    harts.swap(0, boot);
    Ok(Cpus::Riscv64(RiscvCpus::new(
        u.int_in_range(1..=u32::MAX)?,
        harts,
    )))
}

fn gicv2(u: &mut Unstructured<'_>, addresses: &mut Addresses) -> Result<InterruptController> {
    let gic = GicV2::new(addresses.take(u, 0x1000)?, addresses.take(u, 0x2000)?);
    let v2m = maybe(u, 2, |u| {
        let frame = addresses.take(u, 0x1000)?;
        Ok(GicV2m::new(
            frame,
            u.int_in_range(0..=899)?,
            u.int_in_range(1..=88)?,
        ))
    })?;
    Ok(InterruptController::GicV2(gic.with_v2m(v2m)))
}

fn gicv3(u: &mut Unstructured<'_>, addresses: &mut Addresses, vcpus: u32) -> Result<InterruptController> {
    const REDISTRIBUTOR: u64 = 0x2_0000;
    let distributor = addresses.take(u, 0x1_0000)?;
    let first = u64::from(u.int_in_range(1..=vcpus)?);
    let mut redistributors = vec![addresses.take(u, first * REDISTRIBUTOR)?];
    if first < u64::from(vcpus) {
        redistributors.push(addresses.take(u, (u64::from(vcpus) - first) * REDISTRIBUTOR)?);
    }
    let its = maybe(u, 2, |u| addresses.take(u, 0x2_0000))?;
    let gic = GicV3::new(distributor, redistributors).with_its(its);
    Ok(InterruptController::GicV3(gic))
}

fn riscv_irqchip(
    u: &mut Unstructured<'_>,
    addresses: &mut Addresses,
    vcpus: u32,
) -> Result<InterruptController> {
    let sources = u.int_in_range(1..=1023)?;
    if one_in(u, 2)? {
        return Ok(InterruptController::Plic(Plic::new(
            addresses.take(u, 0x400_0000)?,
            sources,
        )));
    }
    let imsic = maybe(u, 2, |u| imsic(u, addresses, vcpus))?;
    // Without IMSICs the APLIC has an IDC structure for each hart.
    let least = match imsic {
        Some(_) => 0x4000,
        None => 0x4000 + 32 * u64::from(vcpus),
    };
    let len = least.max(pick(u, &[0, 0x8000])?);
    let aplic = Aplic::new(addresses.take(u, len)?, sources).with_imsic(imsic);
    Ok(InterruptController::Aplic(aplic))
}

fn imsic(u: &mut Unstructured<'_>, addresses: &mut Addresses, vcpus: u32) -> Result<Imsic> {
    let guest_index_bits = u.int_in_range(0..=7)?;
    let hart_index_bits = pick(u, &[None, Some(6), Some(15)])?;
    // The default is the fewest bits that distinguish the harts.
    let files = match hart_index_bits {
        Some(bits) => 1 << bits,
        None => u64::from(vcpus).next_power_of_two(),
    };
    let len = (0x1000 << guest_index_bits) * u64::from(vcpus);
    let range = addresses.take_aligned(u, len, (0x1000 << guest_index_bits) * files)?;
    Ok(Imsic::new(range, pick(u, &[63, 127, 255, 2047])?)
        .with_guest_index_bits(guest_index_bits)
        .with_hart_index_bits(hart_index_bits))
}

/// A line that `controller` has.
fn interrupt(u: &mut Unstructured<'_>, controller: &InterruptController) -> Result<Interrupt> {
    let line = match controller {
        InterruptController::Plic(Plic { sources, .. })
        | InterruptController::Aplic(Aplic { sources, .. }) => Line::Source(u.int_in_range(1..=*sources)?),
        _ if one_in(u, 8)? => Line::Ppi(u.int_in_range(0..=15)?),
        // Not an SPI that the frame uses for MSIs.
        InterruptController::GicV2(GicV2 { v2m: Some(v2m), .. }) => {
            let number = u.int_in_range(0..=987 - v2m.spis)?;
            Line::Spi(if number < v2m.first_spi {
                number
            } else {
                number + v2m.spis
            })
        }
        _ => Line::Spi(u.int_in_range(0..=987)?),
    };
    // The interrupt specifier of a PLIC has no trigger type, so it could not be read back.
    let is_plic = matches!(controller, InterruptController::Plic(_));
    let trigger = if one_in(u, 2)? && !is_plic {
        Trigger::EdgeRising
    } else {
        Trigger::LevelHigh
    };
    Ok(Interrupt::new(line, trigger))
}

fn serial(
    u: &mut Unstructured<'_>,
    addresses: &mut Addresses,
    controller: &InterruptController,
) -> Result<Serial> {
    let kind = match u.int_in_range(0..=2u8)? {
        0 => SerialKind::NS16550A,
        1 => SerialKind::Ns16550a {
            reg_shift: u.int_in_range(0..=3)?,
            reg_io_width: pick(u, &[1, 2, 4])?,
        },
        _ => SerialKind::Pl011,
    };
    let range = addresses.take(u, 0x1000)?;
    let interrupt = if one_in(u, 4)? {
        None
    } else {
        Some(interrupt(u, controller)?)
    };
    Ok(Serial::new(kind, range, u.arbitrary()?).with_interrupt(interrupt))
}

fn pci(
    u: &mut Unstructured<'_>,
    addresses: &mut Addresses,
    controller: &InterruptController,
) -> Result<PciHost> {
    let has_msi = matches!(
        controller,
        InterruptController::GicV2(GicV2 { v2m: Some(_), .. })
            | InterruptController::GicV3(GicV3 { its: Some(_), .. })
            | InterruptController::Aplic(Aplic { imsic: Some(_), .. })
    );
    let buses = pick(u, &[1, 2, 256])?;
    let ecam = addresses.take(u, buses << 20)?;
    let mut windows = Vec::new();
    for (space, len, pci_addr) in [
        (PciSpace::Io, 0x1_0000, 0),
        (PciSpace::Memory32, 0x1000_0000, 0xe000_0000),
        (PciSpace::Memory64, 1 << 36, 0x80_0000_0000),
    ] {
        windows.push(PciWindow::new(space, addresses.take(u, len)?, pci_addr));
    }
    windows.truncate(pick(u, &[1, 2, 3])?);
    let intx = maybe(u, 2, |u| {
        let lines = repeat(4, || interrupt(u, controller))?;
        Ok([lines[0], lines[1], lines[2], lines[3]])
    })?;
    let host = PciHost::new(ecam, windows).with_intx(intx);
    Ok(host.with_msi(has_msi && one_in(u, 2)?))
}

fn syscon(u: &mut Unstructured<'_>, addresses: &mut Addresses) -> Result<Syscon> {
    let mut write = || {
        maybe(u, 2, |u| {
            Ok(RegisterWrite::new(u.int_in_range(0..=0x3ff)? * 4, u.arbitrary()?))
        })
    };
    let (poweroff, reset) = (write()?, write()?);
    let syscon = Syscon::new(addresses.take(u, 0x1000)?);
    Ok(syscon.with_poweroff(poweroff).with_reset(reset))
}
