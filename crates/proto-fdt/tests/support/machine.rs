//! Machines made from bytes: for property tests, which draw the bytes, and for fuzzers, which invent them.
//!
//! Any bytes make a machine, and short changes of the bytes make short changes of it. Every machine can be described:
//! its devices share no address and are wired to lines that exist.

use std::num::NonZeroU32;

use boot_core::machine::{
    Aplic, Arm64Cpu, Arm64Timer, Cpus, GicV2, GicV2m, GicV3, Imsic, Interrupt, InterruptController, Isa,
    Line, MmuType, PciHost, PciSpace, PciWindow, Plic, Psci, PsciMethod, PsciVersion, RegisterWrite,
    ReservedMemory, RiscvCpus, RiscvHart, Serial, SerialKind, Syscon, Trigger, VirtioMmio,
};
use boot_core::{Arch, GuestRange, Machine, MemoryMap, RegionKind};

/// Bytes as a source of decisions; zeros where they end.
pub(crate) struct Dice<'a>(pub(crate) &'a [u8]);

impl Dice<'_> {
    pub(crate) fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    /// True in about one case of `n`.
    pub(crate) fn one_in(&mut self, n: u8) -> bool {
        self.byte() % n == n - 1
    }

    pub(crate) fn pick<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.byte()) % choices.len()].clone()
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.byte())) % end
    }

    fn below_u32(&mut self, end: u32) -> u32 {
        u32::from_le_bytes(std::array::from_fn(|_| self.byte())) % end
    }

    /// A number with a random number of digits, up to `bits` bits.
    pub(crate) fn number(&mut self, bits: u8) -> u64 {
        let shift = u32::from(self.byte() % bits);
        (1 << shift) | ((u64::from(u16::from_le_bytes([self.byte(), self.byte()])) << shift) >> 16)
    }
}

/// Gives out addresses from low to high, with gaps.
struct Addresses(u64);

impl Addresses {
    /// A range of `len` bytes, aligned to 4 KiB.
    fn take(&mut self, dice: &mut Dice<'_>, len: u64) -> GuestRange {
        self.take_aligned(dice, len, 0x1000)
    }

    /// A range of `len` bytes, aligned to `alignment`.
    fn take_aligned(&mut self, dice: &mut Dice<'_>, len: u64, alignment: u64) -> GuestRange {
        let start = (self.0 + dice.pick(&[0, 0, 0x1000, 0x12_3000])).next_multiple_of(alignment);
        self.0 = start + len;
        GuestRange::new(start, len).unwrap()
    }
}

/// A machine of `arch` that can be described.
pub(crate) fn machine(dice: &mut Dice<'_>, arch: Arch) -> Machine {
    let mut addresses = Addresses(dice.pick(&[0x1000, 0x800_0000, 0x1_0000_0000]));
    let vcpus = match dice.byte() % 4 {
        0 => 1,
        1 => 1 + dice.below_u32(4),
        _ => 1 + dice.below_u32(18),
    };
    let controller = match arch {
        Arch::Aarch64 if vcpus <= 8 && dice.one_in(3) => gicv2(dice, &mut addresses),
        Arch::Aarch64 => gicv3(dice, &mut addresses, vcpus),
        _ => riscv_irqchip(dice, &mut addresses, vcpus),
    };
    let mut platform = boot_core::machine::Platform::new();
    platform.model = dice.pick(&["", "a machine", "vmboot,virt"]).into();
    platform.compatible = dice.pick(&[
        vec![],
        vec!["linux,dummy-virt".into()],
        vec!["a,b".into(), "c".into()],
    ]);
    platform.cpus = match arch {
        Arch::Aarch64 => arm64_cpus(dice, vcpus),
        _ => harts(dice, vcpus),
    };
    platform.serial = (0..dice.pick(&[0, 1, 1, 3]))
        .map(|_| serial(dice, &mut addresses, &controller))
        .collect();
    platform.virtio_mmio = (0..dice.pick(&[0, 1, 2, 9]))
        .map(|_| VirtioMmio::new(addresses.take(dice, 0x200), interrupt(dice, &controller)))
        .collect();
    platform.pci = dice.one_in(2).then(|| pci(dice, &mut addresses, &controller));
    platform.syscon = dice.one_in(2).then(|| syscon(dice, &mut addresses));
    if arch == Arch::Aarch64 {
        platform.timer = (!dice.one_in(4)).then(|| {
            if dice.one_in(2) {
                return Arm64Timer::STANDARD;
            }
            let mut ppi = || {
                Interrupt::new(
                    Line::Ppi(dice.below_u32(16)),
                    dice.pick(&[Trigger::EdgeRising, Trigger::LevelHigh]),
                )
            };
            Arm64Timer::new(ppi(), ppi(), ppi(), ppi())
        });
        platform.psci = (vcpus > 1 || dice.one_in(2)).then(|| {
            Psci::new(
                dice.pick(&[PsciMethod::Hvc, PsciMethod::Smc]),
                dice.pick(&[PsciVersion::V0_2, PsciVersion::V1_0]),
            )
        });
    }
    platform.interrupt_controller = controller;
    let memory = memory(dice, &mut addresses);
    platform.reserved_memory = reserved(dice, &memory);
    let mut machine = Machine::new(arch, memory);
    machine.vcpus = NonZeroU32::new(vcpus).unwrap();
    machine.platform = platform;
    machine
}

fn memory(dice: &mut Dice<'_>, addresses: &mut Addresses) -> MemoryMap {
    let mut map = MemoryMap::new();
    addresses.0 = addresses
        .0
        .next_multiple_of(dice.pick(&[1 << 12, 1 << 21, 1 << 30]));
    for _ in 0..=dice.byte() % 4 {
        let least = dice.pick(&[0x1000_0000, 0x400_0000, 0x40_0000, 0x1000]);
        let len = (dice.number(37) & !0xfff) + least;
        let range = addresses.take(dice, len);
        let kind = dice.pick(&[
            RegionKind::Ram,
            RegionKind::Ram,
            RegionKind::Ram,
            RegionKind::Reserved,
        ]);
        map.insert(range, kind).unwrap();
    }
    map
}

fn reserved(dice: &mut Dice<'_>, memory: &MemoryMap) -> Vec<ReservedMemory> {
    let mut all = Vec::new();
    for bank in memory.ram() {
        if dice.one_in(3) && bank.len() >= 0x4000 {
            let start = bank.start() + (dice.below(bank.len() - 0x2000) & !0xfff);
            let name = dice.pick(&["secret", "ramoops", "a"]);
            let range = GuestRange::new(start, dice.pick(&[1, 0x1000, 0x1234])).unwrap();
            all.push(ReservedMemory::new(name, range).with_no_map(dice.one_in(2)));
        }
    }
    all
}

fn arm64_cpus(dice: &mut Dice<'_>, vcpus: u32) -> Cpus {
    let high = dice.pick(&[0, 0, 1 << 32, 0x12 << 32]);
    let ids = (0..vcpus).map(|index| Arm64Cpu::affinity_of(index) | high);
    let mut cpus: Vec<_> = ids.map(Arm64Cpu::new).collect();
    if dice.one_in(2) {
        // What the register has beside the affinity.
        for cpu in &mut cpus {
            cpu.mpidr |= 1 << 31;
        }
    }
    let boot = usize::from(dice.byte()) % cpus.len();
    cpus.swap(0, boot);
    cpus[boot].compatible = dice.pick(&["arm,armv8", "arm,cortex-a57"]).into();
    Cpus::Arm64(cpus)
}

fn harts(dice: &mut Dice<'_>, vcpus: u32) -> Cpus {
    let first = dice.pick(&[0, 0, 1, 0x7fff_ffff, 0x1_0000_0000]);
    let long = [
        "zicsr", "zifencei", "zicbom", "zicboz", "zicbop", "sstc", "svpbmt", "xtheadba",
    ];
    let mut harts: Vec<_> = (0..vcpus)
        .map(|index| {
            let mut isa = vec!["i"];
            isa.extend(
                ["m", "a", "f", "d", "c", "v"]
                    .into_iter()
                    .filter(|_| dice.one_in(2)),
            );
            isa.extend(long.into_iter().filter(|_| dice.one_in(3)));
            let mut hart = RiscvHart::new(first + u64::from(index), Isa::new(isa).unwrap());
            hart.mmu = dice.pick(&[MmuType::Sv39, MmuType::Sv48, MmuType::Sv57, MmuType::None]);
            // An extension needs its block size; a block size without its extension does no harm.
            let mut block_size =
                |extension, size| (hart.isa.has(extension) || dice.one_in(2)).then_some(size);
            let sizes = [
                block_size("zicbom", 64),
                block_size("zicboz", 128),
                block_size("zicbop", 32),
            ];
            [hart.cbom_block_size, hart.cboz_block_size, hart.cbop_block_size] = sizes;
            hart
        })
        .collect();
    let boot = usize::from(dice.byte()) % harts.len();
    harts.swap(0, boot);
    Cpus::Riscv64(RiscvCpus::new(1 + dice.below_u32(u32::MAX), harts))
}

fn gicv2(dice: &mut Dice<'_>, addresses: &mut Addresses) -> InterruptController {
    let gic = GicV2::new(addresses.take(dice, 0x1000), addresses.take(dice, 0x2000));
    let v2m = dice.one_in(2).then(|| {
        let frame = addresses.take(dice, 0x1000);
        GicV2m::new(frame, dice.below_u32(900), 1 + dice.below_u32(88))
    });
    InterruptController::GicV2(gic.with_v2m(v2m))
}

fn gicv3(dice: &mut Dice<'_>, addresses: &mut Addresses, vcpus: u32) -> InterruptController {
    const REDISTRIBUTOR: u64 = 0x2_0000;
    let distributor = addresses.take(dice, 0x1_0000);
    let first = u64::from(1 + dice.below_u32(vcpus));
    let mut redistributors = vec![addresses.take(dice, first * REDISTRIBUTOR)];
    if first < u64::from(vcpus) {
        redistributors.push(addresses.take(dice, (u64::from(vcpus) - first) * REDISTRIBUTOR));
    }
    let its = dice.one_in(2).then(|| addresses.take(dice, 0x2_0000));
    InterruptController::GicV3(GicV3::new(distributor, redistributors).with_its(its))
}

fn riscv_irqchip(dice: &mut Dice<'_>, addresses: &mut Addresses, vcpus: u32) -> InterruptController {
    let sources = 1 + dice.below_u32(1023);
    if dice.one_in(2) {
        return InterruptController::Plic(Plic::new(addresses.take(dice, 0x400_0000), sources));
    }
    let imsic = dice.one_in(2).then(|| {
        let guest_index_bits = dice.below_u32(8);
        let hart_index_bits = dice.pick(&[None, Some(6), Some(15)]);
        // Where the tree does not say, guests take as many bits as tell the harts apart.
        let files = match hart_index_bits {
            Some(bits) => 1 << bits,
            None => u64::from(vcpus).next_power_of_two(),
        };
        let len = (0x1000 << guest_index_bits) * u64::from(vcpus);
        let range = addresses.take_aligned(dice, len, (0x1000 << guest_index_bits) * files);
        Imsic::new(range, dice.pick(&[63, 127, 255, 2047]))
            .with_guest_index_bits(guest_index_bits)
            .with_hart_index_bits(hart_index_bits)
    });
    // Without IMSICs every hart has registers behind those of the domain.
    let least = match imsic {
        Some(_) => 0x4000,
        None => 0x4000 + 32 * u64::from(vcpus),
    };
    let len = least.max(dice.pick(&[0, 0x8000]));
    InterruptController::Aplic(Aplic::new(addresses.take(dice, len), sources).with_imsic(imsic))
}

/// A line that `controller` has.
fn interrupt(dice: &mut Dice<'_>, controller: &InterruptController) -> Interrupt {
    let line = match controller {
        InterruptController::Plic(Plic { sources, .. })
        | InterruptController::Aplic(Aplic { sources, .. }) => Line::Source(1 + dice.below_u32(*sources)),
        _ if dice.one_in(8) => Line::Ppi(dice.below_u32(16)),
        // Not one of those that messages raise.
        InterruptController::GicV2(GicV2 { v2m: Some(v2m), .. }) => {
            let number = dice.below_u32(988 - v2m.spis);
            Line::Spi(if number < v2m.first_spi {
                number
            } else {
                number + v2m.spis
            })
        }
        _ => Line::Spi(dice.below_u32(988)),
    };
    // The tree has no word for the trigger of a PLIC's line, so there is nothing to read back.
    let plic = matches!(controller, InterruptController::Plic(_));
    if dice.one_in(2) && !plic {
        Interrupt::edge(line)
    } else {
        Interrupt::level(line)
    }
}

fn serial(dice: &mut Dice<'_>, addresses: &mut Addresses, controller: &InterruptController) -> Serial {
    let kind = match dice.byte() % 3 {
        0 => SerialKind::NS16550A,
        1 => SerialKind::Ns16550a {
            reg_shift: dice.below_u32(4),
            reg_io_width: dice.pick(&[1, 2, 4]),
        },
        _ => SerialKind::Pl011,
    };
    let range = addresses.take(dice, 0x1000);
    let interrupt = (!dice.one_in(4)).then(|| interrupt(dice, controller));
    Serial::new(kind, range, dice.below_u32(u32::MAX)).with_interrupt(interrupt)
}

fn pci(dice: &mut Dice<'_>, addresses: &mut Addresses, controller: &InterruptController) -> PciHost {
    let has_msi = matches!(
        controller,
        InterruptController::GicV2(GicV2 { v2m: Some(_), .. })
            | InterruptController::GicV3(GicV3 { its: Some(_), .. })
            | InterruptController::Aplic(Aplic { imsic: Some(_), .. })
    );
    let buses = dice.pick(&[1, 2, 256]);
    let ecam = addresses.take(dice, buses << 20);
    let mut window = |space, len, pci_addr| PciWindow::new(space, addresses.take(dice, len), pci_addr);
    let windows = vec![
        window(PciSpace::Io, 0x1_0000, 0),
        window(PciSpace::Memory32, 0x1000_0000, 0xe000_0000),
        window(PciSpace::Memory64, 1 << 36, 0x80_0000_0000),
    ];
    let windows = windows.into_iter().take(dice.pick(&[1, 2, 3])).collect();
    let intx: Option<[Interrupt; 4]> = dice
        .one_in(2)
        .then(|| std::array::from_fn(|_| interrupt(dice, controller)));
    PciHost::new(ecam, windows)
        .with_intx(intx)
        .with_msi(has_msi && dice.one_in(2))
}

fn syscon(dice: &mut Dice<'_>, addresses: &mut Addresses) -> Syscon {
    let mut write = || {
        dice.one_in(2)
            .then(|| RegisterWrite::new(dice.below_u32(0x400) * 4, dice.below_u32(u32::MAX)))
    };
    let (poweroff, reset) = (write(), write());
    Syscon::new(addresses.take(dice, 0x1000))
        .with_poweroff(poweroff)
        .with_reset(reset)
}
