//! Virtual offsets of kernels.

use boot_core::{KernelImage, arith};
use boot_linux::x86::Relocated;

/// Alignment of virtual addresses of a kernel: the least `CONFIG_PHYSICAL_ALIGN` of x86_64. A kernel with a larger one runs at these addresses as
/// well: the code that needs more is in its decompressor.
const ALIGN: u64 = 0x20_0000;

/// `KERNEL_IMAGE_SIZE` of a kernel with `CONFIG_RANDOMIZE_BASE` (`arch/x86/include/asm/page_64_types.h`): length of the mapping of the kernel.
const MAPPED: u64 = 1 << 30;

/// The distance of a kernel's virtual addresses from those it is linked at: a multiple of 2 MiB below 1 GiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VirtualOffset(u64);

impl VirtualOffset {
    /// The offset of `bytes`. `None` if it is not a multiple of 2 MiB, or if the end of `image` would be above 1 GiB of the kernel's mapping.
    #[must_use]
    pub fn new(image: &KernelImage, bytes: u64) -> Option<Self> {
        let is_inside = image.extent().end().checked_add(bytes)? <= MAPPED;
        (is_inside && bytes % ALIGN == 0).then_some(Self(bytes))
    }

    /// An offset that `seed` chooses. With random seeds, each possible offset is as likely as another one. `None` if `image` does not end in the
    /// first GiB, where kernels are linked.
    #[must_use]
    pub fn choose(image: &KernelImage, seed: u64) -> Option<Self> {
        let room = MAPPED.checked_sub(image.extent().end())?;
        let slots = room.checked_div(ALIGN)?.checked_add(1)?;
        Some(Self(arith::choose(seed, slots).checked_mul(ALIGN)?))
    }

    /// The distance in bytes.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The metadata of an image that has been moved: with it, `proto-linux-x86` sets `KASLR_FLAG` in the zero page, so that the kernel randomizes
    /// the addresses of its other mappings too.
    #[must_use]
    pub const fn metadata(self) -> Relocated {
        Relocated::new(self.0)
    }
}

#[cfg(test)]
mod tests {
    use boot_core::{Arch, Endian, EntryAbi, GuestRange, ImageBuilder, SourceRange};

    use super::*;

    fn image(end: u64) -> KernelImage {
        let range = GuestRange::from_bounds(0x100_0000, end).unwrap();
        ImageBuilder::new("elf", Arch::X86_64, Endian::Little, 8)
            .segment(SourceRange::whole(8), range)
            .entry(EntryAbi::ELF64, 0x100_0000)
            .build()
            .unwrap()
    }

    #[test]
    fn offsets_are_multiples_of_two_mib_that_keep_the_kernel_in_its_mapping() {
        let check = |end, bytes, expected: bool| {
            let offset = VirtualOffset::new(&image(end), bytes).map(VirtualOffset::get);
            assert_eq!(offset, expected.then_some(bytes), "{end:#x} {bytes:#x}");
        };
        check(0x3fe0_0000, 0, true);
        check(0x3fe0_0000, 0x20_0000, true);
        check(0x3fe0_0000, 0x40_0000, false);
        check(0x3fe0_0001, 0x20_0000, false);
        check(0x200_0000, 0x10_0000, false);
        check(0x200_0000, 0xffff_ffff_ffe0_0000, false);
    }

    #[test]
    fn seeds_choose_offsets_from_the_first_to_the_last() {
        let check = |end, seed, expected| {
            assert_eq!(
                VirtualOffset::choose(&image(end), seed).map(VirtualOffset::get),
                expected
            );
        };
        check(0x3ff0_0000, u64::MAX, Some(0));
        check(0x3fe0_0000, 0, Some(0));
        check(0x3fe0_0000, (1 << 63) - 1, Some(0));
        check(0x3fe0_0000, 1 << 63, Some(0x20_0000));
        check(0x200_0000, u64::MAX, Some(0x3e00_0000));
        check(0x4000_0000, 5, Some(0));
        check(0x4000_0001, 5, None);
        for seed in (0..64).map(|n| n << 58) {
            let image = image(0x420_0000);
            let offset = VirtualOffset::choose(&image, seed).unwrap();
            assert_eq!(VirtualOffset::new(&image, offset.get()), Some(offset));
        }
    }
}
