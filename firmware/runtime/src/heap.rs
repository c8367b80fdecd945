//! The global allocator.
#![expect(unsafe_code, reason = "an allocator")]

use core::alloc::{GlobalAlloc, Layout};

use talc::TalcCell;
use talc::source::Manual;

/// A heap in one area, for one CPU.
pub struct Heap(TalcCell<Manual>);

// SAFETY: there is one CPU. Neither handlers of exceptions nor the allocator itself allocate, so no method is called while another one runs.
unsafe impl Sync for Heap {}

impl Heap {
    /// A heap without memory.
    #[must_use]
    pub const fn new() -> Self {
        Self(TalcCell::new(Manual))
    }

    /// Adds the `len` bytes from `start` on. Returns whether they are enough for a heap.
    ///
    /// # Safety
    ///
    /// Nothing else uses this memory for the life of the program, and one CPU runs.
    pub unsafe fn add(&self, start: *mut u8, len: usize) -> bool {
        // SAFETY: the caller guarantees that nothing else uses the memory.
        unsafe { self.0.claim(start, len) }.is_some()
    }
}

impl Default for Heap {
    fn default() -> Self {
        Self::new()
    }
}

// SAFETY: every method is that of an allocator.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller guarantees what the method needs.
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { self.0.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, new_len: usize) -> *mut u8 {
        // SAFETY: as above.
        unsafe { self.0.realloc(memory, layout, new_len) }
    }
}
