//! Placement of the kernel, and its entry state.

use alloc::boxed::Box;

use boot_core::cpu::x86_64::State;
use boot_core::{EntryAbi, ImageBuilder, KernelImage, PlacedKernel, Placement, PlanError, RamAllocator};

use crate::files::low;

/// End of the addresses that 32-bit code can reach.
const MAX: u64 = 1 << 32;

/// Selectors of the flat segments. The protocols do not specify their values, and there is no GDT.
const CODE: u16 = 0x08;
const DATA: u16 = 0x10;

/// Places the kernel by `placement`. The placement rule of the image applies to its other entry points only.
pub(crate) fn kernel(
    protocol: &'static str,
    image: &KernelImage,
    abi: EntryAbi,
    placement: Placement,
    allocator: &mut RamAllocator<'_>,
) -> Result<PlacedKernel, PlanError> {
    let kernel = if image.placement() == placement {
        PlacedKernel::place_below(image, allocator, MAX)?
    } else {
        let image = with_placement(image, abi, placement).map_err(|error| PlanError::Protocol {
            protocol,
            source: Box::new(error),
        })?;
        PlacedKernel::place_below(&image, allocator, MAX)?
    };
    kernel.reserve_gaps(allocator)?;
    Ok(kernel)
}

/// Copy of the image with only the entry point `abi` and another placement rule.
fn with_placement(
    image: &KernelImage,
    abi: EntryAbi,
    placement: Placement,
) -> Result<KernelImage, boot_core::ImageError> {
    let mut builder = ImageBuilder::new(image.format(), image.arch(), image.endian(), image.source_len())
        .placement(placement);
    if image.occupied_ranges().eq([image.extent()]) {
        builder = builder.extent(image.extent());
    }
    for segment in image.segments() {
        builder = builder.segment(segment.source, segment.range);
    }
    if let Some(entry) = image.entry(abi) {
        builder = builder.entry(abi, entry.addr);
    }
    builder.build()
}

/// CPU state at the entry point of the kernel (Multiboot 0.6.96, 3.2; Multiboot2 2.0, 3.3).
pub(crate) fn state(
    kernel: &PlacedKernel,
    image: &KernelImage,
    abi: EntryAbi,
    magic: u32,
    info: u64,
) -> State {
    let entry = kernel.entry(image, abi).unwrap_or_default();
    let mut state = State::protected_mode(low(entry), CODE, DATA);
    state.rax = magic.into();
    state.rbx = info;
    state
}
