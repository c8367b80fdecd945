//! Sizes of a guest's memory.

use boot_core::arith;
use boot_sandbox::GuestNote;
use sandbox_abi::layout::{HEAP_ALIGN, MAX_WINDOW, MIN_WINDOW, PAGE};

use crate::error::{LayoutError, Size};

/// Sizes of the parts of a guest's memory that the host chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sizes {
    /// Heap in bytes, rounded up to a multiple of 2 MiB; at most [`Sizes::MAX_HEAP`]. The default is 4 MiB.
    pub heap: u64,
    /// Stack in bytes, rounded up to a multiple of 4 KiB; at least one page and at most [`Sizes::MAX_STACK`]. The default is 256 KiB.
    pub stack: u64,
    /// Inbox, and outbox, in bytes: a multiple of 4 KiB from [`MIN_WINDOW`] to [`MAX_WINDOW`]. The default is 64 KiB.
    pub window: u32,
}

impl Sizes {
    /// Largest heap: 32 GiB.
    pub const MAX_HEAP: u64 = 32 << 30;

    /// Largest stack: 1 GiB.
    pub const MAX_STACK: u64 = 1 << 30;

    /// These sizes, or those that the guest needs at least.
    #[must_use]
    pub fn at_least(self, note: &GuestNote) -> Self {
        Self {
            heap: self.heap.max(note.min_heap),
            stack: self.stack.max(note.min_stack),
            ..self
        }
    }

    /// Largest scratch area: 32 GiB.
    pub const MAX_SCRATCH: u64 = 32 << 30;

    /// The sizes, rounded up, if they are within their limits and not below those of `note`.
    pub(crate) fn checked(self, note: &GuestNote) -> Result<Self, LayoutError> {
        let round = |size, found, min, max, align| {
            let rounded = arith::align_up(found, align).filter(|rounded| *rounded <= max);
            match rounded {
                Some(rounded) if found >= min => Ok(rounded),
                _ => Err(LayoutError::Size {
                    size,
                    found,
                    min,
                    max,
                }),
            }
        };
        let window = u64::from(self.window);
        let (min_window, max_window) = (u64::from(MIN_WINDOW), u64::from(MAX_WINDOW));
        if round(Size::Window, window, min_window, max_window, PAGE)? != window {
            return Err(LayoutError::WindowAlign { found: self.window });
        }
        Ok(Self {
            heap: round(Size::Heap, self.heap, note.min_heap, Self::MAX_HEAP, HEAP_ALIGN)?,
            stack: round(
                Size::Stack,
                self.stack,
                note.min_stack.max(1),
                Self::MAX_STACK,
                PAGE,
            )?,
            window: self.window,
        })
    }
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            heap: 4 << 20,
            stack: 256 << 10,
            window: 64 << 10,
        }
    }
}
