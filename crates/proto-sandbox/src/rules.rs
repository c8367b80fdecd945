//! Rules for the image of a guest.

use boot_core::{Arch, GuestRange, KernelImage, Placement, arith};
use boot_sandbox::{GuestImage, GuestSegment};
use sandbox_abi::layout::{IMAGE, IMAGE_END, PAGE};

use crate::error::LayoutError;

/// Size of the pages that writable memory shares with nothing else: the largest page size of hosts. Slots of a hypervisor begin and end
/// at pages of the host.
pub(crate) const fn host_page(arch: Arch) -> u64 {
    match arch {
        // Linux on arm64 has pages of 4, 16 or 64 KiB.
        Arch::Aarch64 => 0x1_0000,
        _ => PAGE,
    }
}

/// The metadata of an image that follows all rules.
pub(crate) fn check(image: &KernelImage) -> Result<&GuestImage, LayoutError> {
    let guest = image.metadata::<GuestImage>().ok_or(LayoutError::NoNote)?;
    let arch = image.arch();
    let link = guest.link();
    if image.placement() != Placement::Fixed {
        return Err(LayoutError::PositionIndependent);
    }
    if link.is_dynamic {
        return Err(LayoutError::Dynamic);
    }
    if link.has_thread_local_storage {
        return Err(LayoutError::ThreadLocalStorage);
    }
    for segment in guest.segments() {
        check_segment(*segment)?;
    }
    for pair in guest.segments().windows(2) {
        if let [first, second] = pair {
            check_pair(arch, *first, *second)?;
        }
    }
    if let Some(relro) = link.relro {
        let mut segments = guest.segments().iter();
        if !segments.any(|segment| segment.access.write && segment.range().contains(relro)) {
            return Err(LayoutError::Relro { relro });
        }
    }
    Ok(guest)
}

fn check_segment(segment: GuestSegment) -> Result<(), LayoutError> {
    let phys = segment.segment.range.start();
    if phys != segment.virt {
        return Err(LayoutError::PhysicalAddress { segment, phys });
    }
    let allowed = GuestRange::from_bounds(IMAGE, IMAGE_END);
    if !allowed.is_some_and(|allowed| allowed.contains(segment.range())) {
        return Err(LayoutError::OutsideImage { segment });
    }
    if segment.access.write && segment.access.execute {
        return Err(LayoutError::WritableAndExecutable { segment });
    }
    Ok(())
}

/// Checks two segments that follow each other. They do not overlap: their addresses are physical.
fn check_pair(arch: Arch, first: GuestSegment, second: GuestSegment) -> Result<(), LayoutError> {
    if first.access == second.access {
        return Ok(());
    }
    if first.access.write {
        return Err(LayoutError::WritableBelow {
            writable: first,
            other: second,
        });
    }
    let page = if second.access.write {
        host_page(arch)
    } else {
        PAGE
    };
    let end = arith::align_up(first.range().end(), page).unwrap_or(u64::MAX);
    if arith::align_down(second.virt, page) < end {
        return Err(LayoutError::SharedPage { first, second, page });
    }
    Ok(())
}
