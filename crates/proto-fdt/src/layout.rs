//! Placement rules of the boot documents for kernel, initrd and device tree.

use boot_core::machine::{Cpus, MmuType};
use boot_core::{Constraints, EntryAbi, GuestRange, KernelImage, Machine, arith};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// The largest device tree of both protocols in bytes (arm64 booting.rst, "Setup the device tree"; `MAX_FDT_SIZE` in Linux
/// `arch/riscv/include/asm/pgtable.h`).
pub(crate) const MAX_FDT_SIZE: u64 = 2 * MIB;

/// The placement rules of one architecture.
pub(crate) trait Layout {
    /// The constraints of the extent of a kernel that is entered by `abi`.
    fn kernel(&self, machine: &Machine, abi: EntryAbi) -> Constraints;

    /// The preferred address of the extent, if the kernel has one.
    fn preferred_base(&self, machine: &Machine, image: &KernelImage) -> Option<u64>;

    /// The windows for the initrd, in order of preference. No window if `kernel` itself violates the rule.
    fn initrd(&self, machine: &Machine, kernel: GuestRange) -> [Option<Constraints>; 2];

    /// The windows for the device tree, in order of preference. The caller sets the alignment. `base` is the 2 MiB boundary
    /// below the kernel that its image is relative to.
    fn device_tree(&self, machine: &Machine, base: u64) -> [Option<Constraints>; 2];
}

/// Page-aligned, from `min` up to `max` (exclusive).
const fn pages(min: u64, max: u64) -> Constraints {
    Constraints::aligned(0x1000).between(min, max)
}

/// The rules of `Documentation/arch/arm64/booting.rst`.
pub(crate) struct Arm64;

impl Layout for Arm64 {
    /// "within the 48-bit addressable range of physical memory". The other constraints are those of the image.
    fn kernel(&self, _: &Machine, _: EntryAbi) -> Constraints {
        Constraints::NONE.between(0, 1 << 48)
    }

    fn preferred_base(&self, _: &Machine, _: &KernelImage) -> Option<u64> {
        None
    }

    /// "it must reside entirely within a 1 GB aligned physical memory window of up to 32 GB in size that fully covers
    /// the kernel Image as well": the window that begins with the kernel's first GiB, or else that which ends with its last.
    fn initrd(&self, _: &Machine, kernel: GuestRange) -> [Option<Constraints>; 2] {
        const WINDOW: u64 = 32 * GIB;
        let first = arith::align_down(kernel.start(), GIB);
        let upward = pages(first, first.saturating_add(WINDOW));
        let downward =
            arith::align_up(kernel.end(), GIB).map(|last| pages(last.saturating_sub(WINDOW), last));
        let covers = |window: &Constraints| kernel.start() >= window.min && kernel.end() <= window.max;
        [Some(upward).filter(covers), downward.filter(covers)]
    }

    /// Kernels before 4.2 need the tree within 512 MiB of the base (`__vet_fdt` of `head.S`); later ones accept any address.
    fn device_tree(&self, _: &Machine, base: u64) -> [Option<Constraints>; 2] {
        [
            Some(pages(base, base.saturating_add(512 * MIB))),
            Some(Constraints::NONE),
        ]
    }
}

/// The rules of `boot.rst` and `vm-layout.rst` in `Documentation/arch/riscv`.
pub(crate) struct Riscv64;

impl Riscv64 {
    /// The RAM in the kernel's direct mapping (vm-layout.rst). Its size depends on the smallest MMU type of the harts, and
    /// is 4 GiB less in older kernels, which use the last 4 GiB of the address space themselves.
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
    /// An `Image` is "placed at a PMD boundary (2MB aligned for rv64 […])". The alignment of other programs is in their ELF
    /// headers.
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

    fn device_tree(&self, machine: &Machine, _: u64) -> [Option<Constraints>; 2] {
        [Some(Self::mapped(machine)), None]
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use boot_core::machine::{Isa, RiscvCpus, RiscvHart};
    use boot_core::{Arch, Endian, ImageBuilder, MemoryMap, RegionKind, SourceRange};

    use super::*;

    fn range(start: u64, len: u64) -> GuestRange {
        GuestRange::new(start, len).unwrap()
    }

    fn machine(arch: Arch, ram: u64) -> Machine {
        let mut memory = MemoryMap::new();
        memory.insert(range(ram, GIB), RegionKind::Ram).unwrap();
        Machine::new(arch, memory)
    }

    fn bounds(windows: [Option<Constraints>; 2]) -> [Option<(u64, u64)>; 2] {
        windows.map(|window| window.map(|window| (window.min, window.max)))
    }

    #[test]
    fn arm64_kernels_have_48_bit_addresses() {
        let kernel = Arm64.kernel(&machine(Arch::Aarch64, GIB), EntryAbi::ARM64_IMAGE);
        assert_eq!((kernel.align, kernel.min, kernel.max), (1, 0, 1 << 48));
    }

    #[test]
    fn arm64_initrds_share_a_window_of_32_gib_with_the_kernel() {
        let check = |kernel: GuestRange, expected| {
            let windows = Arm64.initrd(&machine(Arch::Aarch64, GIB), kernel);
            assert!(windows.iter().flatten().all(|window| window.align == 0x1000));
            assert_eq!(bounds(windows), expected, "{kernel}");
        };
        let up = |gib: u64| Some((gib * GIB, (gib + 32) * GIB));
        check(range(40 * GIB + 5, GIB), [up(40), up(10)]);
        check(range(40 * GIB, GIB), [up(40), up(9)]);
        check(range(40 * GIB, 32 * GIB), [up(40), up(40)]);
        check(range(0, GIB), [up(0), Some((0, GIB))]);
        // From the middle of a GiB on, 32 GiB fit no window.
        check(range(40 * GIB + 5, 32 * GIB), [None, None]);
    }

    #[test]
    fn arm64_trees_are_near_the_kernel_if_possible() {
        let windows = Arm64.device_tree(&machine(Arch::Aarch64, GIB), GIB + 2 * MIB);
        let near = (GIB + 2 * MIB, GIB + 514 * MIB);
        assert_eq!(bounds(windows), [Some(near), Some((0, u64::MAX))]);
    }

    #[test]
    fn riscv64_loads_are_in_the_direct_mapping_of_every_hart() {
        let check = |mmus: &[MmuType], size: u64| {
            let mut machine = machine(Arch::Riscv64, 2 * GIB);
            let harts: Vec<_> = (0..)
                .zip(mmus)
                .map(|(id, mmu)| {
                    let mut hart = RiscvHart::new(id, Isa::rv64gc());
                    hart.mmu = *mmu;
                    hart
                })
                .collect();
            if !harts.is_empty() {
                machine.platform.cpus = Cpus::Riscv64(RiscvCpus::new(1, harts));
            }
            let mapped = Some((2 * GIB, size - 2 * GIB));
            let kernel = Riscv64.kernel(&machine, EntryAbi::RISCV_IMAGE);
            assert_eq!(Some((kernel.min, kernel.max)), mapped, "{mmus:?}");
            assert_eq!(kernel.align, 2 * MIB);
            assert_eq!(Riscv64.kernel(&machine, EntryAbi::ELF64).align, 1);
            let kernel = range(2 * GIB, GIB);
            assert_eq!(bounds(Riscv64.initrd(&machine, kernel)), [mapped, None]);
            assert_eq!(
                bounds(Riscv64.device_tree(&machine, kernel.start())),
                [mapped, None]
            );
        };
        check(&[], 128 * GIB);
        check(&[MmuType::Sv39], 128 * GIB);
        check(&[MmuType::Sv48, MmuType::Sv57], 64 << 40);
        check(&[MmuType::Sv57], 32 << 50);
        check(&[MmuType::Sv57, MmuType::Sv39, MmuType::Sv48], 128 * GIB);
    }

    #[test]
    fn riscv64_images_prefer_their_offset_from_the_first_boundary_in_ram() {
        let check = |ram, abi, expected| {
            let image = ImageBuilder::new("test", Arch::Riscv64, Endian::Little, 8)
                .segment(SourceRange::whole(8), range(2 * MIB, 8))
                .entry(abi, 2 * MIB)
                .build()
                .unwrap();
            let found = Riscv64.preferred_base(&machine(Arch::Riscv64, ram), &image);
            assert_eq!(found, expected, "{ram:#x}");
            assert_eq!(Arm64.preferred_base(&machine(Arch::Aarch64, ram), &image), None);
        };
        check(GIB, EntryAbi::RISCV_IMAGE, Some(GIB + 2 * MIB));
        check(GIB + 0x1000, EntryAbi::RISCV_IMAGE, Some(GIB + 4 * MIB));
        check(GIB, EntryAbi::ELF64, None);
    }
}
