//! Memory for devices.
#![expect(unsafe_code, reason = "memory that devices read and write")]

use alloc::alloc::{alloc_zeroed, dealloc};
use core::alloc::Layout;
use core::ptr::NonNull;

use virtio_drivers::{BufferDirection, Hal, PAGE_SIZE, PhysAddr};

/// Memory whose virtual addresses are the physical ones, and which devices see as the CPU does.
///
/// The functions that make a device require that of their callers.
pub(crate) struct IdentityMapped;

/// The layout of `pages` pages; `None` if they exceed the address space.
fn layout(pages: usize) -> Option<Layout> {
    Layout::from_size_align(pages.checked_mul(PAGE_SIZE)?, PAGE_SIZE).ok()
}

/// The address of memory for a device.
fn physical(memory: *mut u8) -> PhysAddr {
    let addr: usize = memory.expose_provenance();
    u64::try_from(addr).unwrap_or_default()
}

// SAFETY: memory comes from the global allocator, zeroed, aligned to a page and not shared with anything else; the addresses of devices are
// those of the CPU.
unsafe impl Hal for IdentityMapped {
    fn dma_alloc(pages: usize, _direction: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        let Some(layout) = layout(pages).filter(|layout| layout.size() != 0) else {
            return (0, NonNull::dangling());
        };
        // SAFETY: the size is not zero.
        let memory = unsafe { alloc_zeroed(layout) };
        match NonNull::new(memory) {
            Some(memory) => (physical(memory.as_ptr()), memory),
            // The caller takes address 0 for a failure.
            None => (0, NonNull::dangling()),
        }
    }

    unsafe fn dma_dealloc(_paddr: PhysAddr, vaddr: NonNull<u8>, pages: usize) -> i32 {
        if let Some(layout) = layout(pages) {
            // SAFETY: the caller guarantees that `dma_alloc` returned this memory for as many pages.
            unsafe { dealloc(vaddr.as_ptr(), layout) };
        }
        0
    }

    unsafe fn mmio_phys_to_virt(paddr: PhysAddr, _size: usize) -> NonNull<u8> {
        let addr = usize::try_from(paddr).unwrap_or_default();
        // Address 0 is no device: transports refuse BARs without an address.
        NonNull::new(core::ptr::with_exposed_provenance_mut(addr)).unwrap_or(NonNull::dangling())
    }

    unsafe fn share(buffer: NonNull<[u8]>, _direction: BufferDirection) -> PhysAddr {
        physical(buffer.cast().as_ptr())
    }

    unsafe fn unshare(_paddr: PhysAddr, _buffer: NonNull<[u8]>, _direction: BufferDirection) {}
}
