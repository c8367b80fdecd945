//! The global allocator.
#![expect(unsafe_code, reason = "an allocator")]

use core::alloc::{GlobalAlloc, Layout};
use core::cell::Cell;

use talc::TalcCell;
use talc::source::Manual;

use super::boot::heap;

/// The heap. There is one CPU, and neither exception handlers nor the code of the allocator itself allocate, so it needs no lock.
struct Heap {
    talc: TalcCell<Manual>,
    /// Length of the last allocation that failed.
    failed: Cell<usize>,
}

// SAFETY: there is one CPU, and handlers of exceptions do not return, so no method is called while another one runs.
unsafe impl Sync for Heap {}

#[global_allocator]
static HEAP: Heap = Heap {
    talc: TalcCell::new(Manual),
    failed: Cell::new(0),
};

/// Gives the heap to the allocator.
pub(super) fn init() {
    let heap = heap();
    // SAFETY: this memory is the heap, which nothing else uses, and it is mapped for the life of the program.
    let claimed = unsafe { HEAP.talc.claim(heap.cast(), heap.len()) };
    assert!(claimed.is_some(), "the heap is too small");
}

/// Length of the last allocation that failed, or 0.
pub(super) fn failed() -> usize {
    HEAP.failed.get()
}

impl Heap {
    #[inline]
    fn note_failure(&self, memory: *mut u8, len: usize) -> *mut u8 {
        if memory.is_null() {
            self.failed.set(len);
        }
        memory
    }
}

// SAFETY: every method is that of an allocator.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller guarantees what the method needs.
        let memory = unsafe { self.talc.alloc(layout) };
        self.note_failure(memory, layout.size())
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { self.talc.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, new_len: usize) -> *mut u8 {
        // SAFETY: as above.
        let memory = unsafe { self.talc.realloc(memory, layout, new_len) };
        self.note_failure(memory, new_len)
    }
}
