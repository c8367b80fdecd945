//! Placement rules of the boot documents for kernel, initrd and device tree.

use boot_core::machine::{Cpus, MmuType};
use boot_core::{Constraints, EntryAbi, GuestRange, KernelImage, Machine, arith};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// The largest device tree of both protocols (arm64 booting.rst, "Setup the device tree"; riscv64 kernels map two
/// entries of 2 MiB from the one that holds the tree's start, `MAX_FDT_SIZE` in arch/riscv/include/asm/pgtable.h).
pub(crate) const MAX_FDT_SIZE: u64 = 2 * MIB;

/// The placement rules of one architecture.
pub(crate) trait Layout {
    /// The constraints of the kernel's runtime extent if it is entered by `abi`.
    fn kernel(&self, machine: &Machine, abi: EntryAbi) -> Constraints;

    /// The preferred base of the kernel, if it has one.
    fn preferred_base(&self, machine: &Machine, image: &KernelImage) -> Option<u64>;

    /// The windows for the initrd, in order of preference. None if the kernel itself does not meet the rule.
    fn initrd(&self, machine: &Machine, kernel: GuestRange) -> [Option<Constraints>; 2];

    /// The windows for the device tree, in order of preference. The caller sets the alignment.
    fn device_tree(&self, machine: &Machine, kernel: GuestRange) -> [Option<Constraints>; 2];
}

/// Page-aligned, from `min` up to `max` (exclusive).
const fn pages(min: u64, max: u64) -> Constraints {
    Constraints::aligned(0x1000).between(min, max)
}

/// The rules of `arch/arm64/booting.rst`.
pub(crate) struct Arm64;

impl Layout for Arm64 {
    /// "within the 48-bit addressable range of physical memory". The image's placement rule has the other constraints.
    fn kernel(&self, _: &Machine, _: EntryAbi) -> Constraints {
        Constraints::NONE.between(0, 1 << 48)
    }

    fn preferred_base(&self, _: &Machine, _: &KernelImage) -> Option<u64> {
        None
    }

    /// "it must reside entirely within a 1 GB aligned physical memory window of up to 32 GB in size that fully covers
    /// the kernel Image as well": the window that begins with the kernel's GiB, or else the one that ends with it.
    fn initrd(&self, _: &Machine, kernel: GuestRange) -> [Option<Constraints>; 2] {
        const WINDOW: u64 = 32 * GIB;
        let first = arith::align_down(kernel.start(), GIB);
        let upward = pages(first, first.saturating_add(WINDOW));
        let downward =
            arith::align_up(kernel.end(), GIB).map(|last| pages(last.saturating_sub(WINDOW), last));
        let covers = |window: &Constraints| kernel.start() >= window.min && kernel.end() <= window.max;
        [Some(upward).filter(covers), downward.filter(covers)]
    }

    /// Kernels before 4.2 need the tree within 512 MiB of the 2 MiB boundary below the image; later ones accept any
    /// address.
    fn device_tree(&self, _: &Machine, kernel: GuestRange) -> [Option<Constraints>; 2] {
        let first = arith::align_down(kernel.start(), 2 * MIB);
        [
            Some(pages(first, first.saturating_add(512 * MIB))),
            Some(Constraints::NONE),
        ]
    }
}

/// The rules of `arch/riscv/boot.rst` and `arch/riscv/vm-layout.rst`.
pub(crate) struct Riscv64;

impl Riscv64 {
    /// The RAM in the kernel's direct mapping, whose size depends on the smallest MMU type of the harts. Older kernels
    /// take the last 4 GiB of the address space, which the kernel itself uses, out of the direct mapping.
    fn mapped(machine: &Machine) -> Constraints {
        let smallest = match &machine.platform.cpus {
            Cpus::Riscv64(cpus) => cpus.harts.iter().map(|hart| hart.mmu).min(),
            _ => None,
        };
        let size = match smallest {
            Some(MmuType::Sv57) => 32 << 50,
            Some(MmuType::Sv48) => 64 << 40,
            _ => 128 * GIB,
        };
        let first = machine.memory.ram().next().map_or(0, GuestRange::start);
        pages(first, first.saturating_add(size).saturating_sub(4 * GIB))
    }
}

impl Layout for Riscv64 {
    /// "The RISC-V kernel expects to be placed at a PMD boundary (2MB aligned for rv64". Other programs have their
    /// alignment in the ELF headers.
    fn kernel(&self, machine: &Machine, abi: EntryAbi) -> Constraints {
        Self::mapped(machine).with_align(match abi {
            EntryAbi::RISCV_IMAGE => 2 * MIB,
            _ => 1,
        })
    }

    /// `text_offset` from the start of RAM, which leaves room for firmware (boot-image-header.rst: "Image load offset,
    /// little endian"). Kernels run at any other 2 MiB boundary, too.
    fn preferred_base(&self, machine: &Machine, image: &KernelImage) -> Option<u64> {
        image.entry(EntryAbi::RISCV_IMAGE)?;
        let first = machine.memory.ram().next()?.start();
        // The link addresses of an `Image` are offsets from the start of RAM.
        arith::align_up(first, 2 * MIB)?.checked_add(image.extent().start())
    }

    fn initrd(&self, machine: &Machine, _: GuestRange) -> [Option<Constraints>; 2] {
        [Some(Self::mapped(machine)), None]
    }

    fn device_tree(&self, machine: &Machine, _: GuestRange) -> [Option<Constraints>; 2] {
        [Some(Self::mapped(machine)), None]
    }
}
