//! Errors.

use core::fmt;

use boot_core::{Arch, GuestRange};
use boot_paging::{MapError, TablesError};
use boot_sandbox::GuestSegment;
use sandbox_abi::DoorbellKind;
use sandbox_abi::layout::{IMAGE, IMAGE_END, MMIO_DOORBELL};

/// A size that the host chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Size {
    /// [`Sizes::heap`](crate::Sizes::heap).
    Heap,
    /// [`Sizes::stack`](crate::Sizes::stack).
    Stack,
    /// [`Sizes::window`](crate::Sizes::window).
    Window,
    /// The pages for copies: [`GuestLayout::with_scratch`](crate::GuestLayout::with_scratch).
    Scratch,
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Heap => "heap",
            Self::Stack => "stack",
            Self::Window => "window",
            Self::Scratch => "scratch area",
        })
    }
}

/// Error in the layout of a guest's memory: the image breaks a rule, or a size is not possible.
///
/// Messages about the image end with the argument for the linker (ld.lld) that avoids the error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// The image is not a guest program.
    #[error("the image has no note of a sandbox's guest")]
    NoNote,
    /// The architecture is not supported.
    #[error("sandboxes do not support {arch}")]
    Arch {
        /// The architecture.
        arch: Arch,
    },
    /// The image is position-independent: it would have to relocate itself.
    #[error(
        "the image is position-independent, but there is no dynamic linker; compile with `-C relocation-model=static` and link \
         with `--no-pie`"
    )]
    PositionIndependent,
    /// The image has a dynamic section.
    #[error(
        "the image has a dynamic section (PT_DYNAMIC), but there is no dynamic linker; link with `-static --no-pie`"
    )]
    Dynamic,
    /// The image has variables for each thread.
    #[error(
        "the image has thread-local variables (PT_TLS), but a guest has no threads; make them static variables"
    )]
    ThreadLocalStorage,
    /// Virtual and physical address of a segment differ.
    #[error(
        "{segment} has the physical address {phys:#x}, expected its virtual address; link without `AT` in a linker script"
    )]
    PhysicalAddress {
        /// The segment.
        segment: GuestSegment,
        /// Its physical address.
        phys: u64,
    },
    /// A segment is outside of the addresses of images.
    #[error("{segment} is not within {IMAGE:#x}..{IMAGE_END:#x}; link with `--image-base={IMAGE:#x}`")]
    OutsideImage {
        /// The segment.
        segment: GuestSegment,
    },
    /// A segment is writable and executable.
    #[error("{segment} is writable and executable; link without `--omagic` (`-N`)")]
    WritableAndExecutable {
        /// The segment.
        segment: GuestSegment,
    },
    /// A writable segment is below one that is not writable.
    #[error(
        "{writable} is below {other}, which is not writable; link without a linker script, or place data after code and constants"
    )]
    WritableBelow {
        /// The writable segment.
        writable: GuestSegment,
        /// The other segment.
        other: GuestSegment,
    },
    /// Segments of different access share a page.
    #[error(
        "{first} and {second} share a page of {page:#x} bytes; link with `-z separate-loadable-segments -z max-page-size={page:#x}`"
    )]
    SharedPage {
        /// The segment with the lower address.
        first: GuestSegment,
        /// The other segment.
        second: GuestSegment,
        /// The size of the page in bytes.
        page: u64,
    },
    /// The constants after relocation are not in a writable segment.
    #[error(
        "the constants after relocation at {relro} (PT_GNU_RELRO) are not in one writable segment; link with `-z norelro`"
    )]
    Relro {
        /// Their virtual addresses.
        relro: GuestRange,
    },
    /// A size is not within its limits.
    #[error("the {size} has {found:#x} bytes, expected {min:#x} to {max:#x}")]
    Size {
        /// The size.
        size: Size,
        /// Its value in bytes.
        found: u64,
        /// Smallest value: that of the guest's note, or that of the interface.
        min: u64,
        /// Largest value.
        max: u64,
    },
    /// The window is not a multiple of a page.
    #[error("the window has {found:#x} bytes, expected a multiple of 0x1000")]
    WindowAlign {
        /// Its size in bytes.
        found: u32,
    },
    /// The guest takes no copies of pages that it writes, which a host without another way to track writes needs.
    #[error(
        "the guest takes no copies of pages that it writes (its note has not the flag COPIES_PAGES), which this hypervisor needs, \
         because it has no dirty log or was told not to use it; build the guest with a runtime that does"
    )]
    NoCopies,
    /// The page tables cannot be placed.
    #[error("the page tables cannot be placed")]
    Tables(#[from] TablesError),
    /// Memory cannot be mapped.
    #[error("the guest's memory cannot be mapped")]
    Map(#[from] MapError),
}

/// Error in an [`Entry`](crate::Entry).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EntryError {
    /// The doorbell is that of another architecture.
    #[error("{arch} has no doorbell of the kind {kind:?}")]
    DoorbellKind {
        /// The kind.
        kind: DoorbellKind,
        /// The architecture of the guest.
        arch: Arch,
    },
    /// The address of the doorbell is not in the page of doorbells.
    #[error("the doorbell is at {addr:#x}, expected a multiple of 4 in the page at {MMIO_DOORBELL:#x}")]
    DoorbellAddress {
        /// The address.
        addr: u64,
    },
    /// The code that loads registers is too long.
    #[error("the code that loads registers has {found} bytes, expected at most {max}")]
    RewindCode {
        /// Its length in bytes.
        found: usize,
        /// The largest length.
        max: u64,
    },
    /// The entry state has bits of `CR4` that the protocol does not set, or is not that of x86_64.
    #[error("CR4 at the entry has the bits {found:#x}, expected only bits of {allowed:#x}")]
    Cr4 {
        /// The bits.
        found: u64,
        /// Bits that are possible for the architecture.
        allowed: u64,
    },
}
