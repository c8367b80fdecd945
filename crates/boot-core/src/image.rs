//! A parsed kernel image: segments, placement and entry points.

mod build;
mod codec;
mod entry;

use alloc::string::String;
use alloc::vec::Vec;

pub use build::{ImageBuilder, ImageError};
pub use codec::{Codec, Payload};
pub use entry::{EntryAbi, EntryPoint};

use crate::metadata::{Metadata, MetadataMap};
use crate::{Arch, Constraints, Endian, GuestRange, SourceRange, Warning};

/// A part of the image and the guest physical range that it fills.
///
/// The addresses in a [`KernelImage`] are *link addresses*: those of an image that is not moved. A relocatable image is
/// moved as a whole, all segments by the same distance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Segment {
    /// The bytes of the source that fill the start of [`range`](Self::range); at most as long as the range, or empty.
    pub source: SourceRange,
    /// The guest physical range. The part that the source does not fill is zeroed.
    pub range: GuestRange,
}

impl Segment {
    /// A segment that fills the start of `range` with the bytes `source`, and the rest with zeros.
    #[must_use]
    pub const fn new(source: SourceRange, range: GuestRange) -> Self {
        Self { source, range }
    }

    /// The part of the range that the source fills.
    #[must_use]
    pub fn file_part(&self) -> GuestRange {
        GuestRange::new(self.range.start(), self.source.len().min(self.range.len())).unwrap_or(self.range)
    }

    /// The part of the range that the source does not fill, which must be zeroed; may be empty.
    #[must_use]
    pub fn zero_part(&self) -> GuestRange {
        GuestRange::from_bounds(self.file_part().end(), self.range.end()).unwrap_or(self.range)
    }
}

/// Where an image may be placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "kebab-case"))]
pub enum Placement {
    /// Only at its link addresses.
    Fixed,
    /// At any address where the [runtime extent](KernelImage::extent) meets the constraints.
    Relocatable(Constraints),
}

/// A validated kernel image.
///
/// Only [`ImageBuilder::build`] creates one. It checks, for every parser, that
///
/// - there is at least one segment; segments are not empty, sorted by address, do not overlap and are inside
///   [`extent`](Self::extent);
/// - every segment's source range is inside the source and at most as long as the segment;
/// - there is at least one entry point, and at most one of each ABI; every entry point is inside a segment;
/// - some address meets the placement constraints;
/// - the payload is inside the source.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct KernelImage {
    format: &'static str,
    arch: Arch,
    endian: Endian,
    source_len: u64,
    segments: Vec<Segment>,
    contiguous: bool,
    extent: GuestRange,
    placement: Placement,
    entries: Vec<EntryPoint>,
    payload: Option<Payload>,
    kernel_version: Option<String>,
    efi_stub: bool,
    #[cfg_attr(feature = "serde", serde(skip))]
    metadata: MetadataMap,
    warnings: Vec<Warning>,
}

impl KernelImage {
    /// The name of its format.
    #[must_use]
    pub fn format(&self) -> &'static str {
        self.format
    }

    /// The architecture it runs on.
    #[must_use]
    pub fn arch(&self) -> Arch {
        self.arch
    }

    /// The byte order of its code and data.
    #[must_use]
    pub fn endian(&self) -> Endian {
        self.endian
    }

    /// The length of the source it was parsed from, in bytes.
    #[must_use]
    pub fn source_len(&self) -> u64 {
        self.source_len
    }

    /// Its segments, sorted by address.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The runtime extent, at link addresses: from the first to the last byte that the kernel uses before it reads a memory
    /// map. It has the segments and the memory that the kernel needs beyond them (`init_size`, `image_size`, BSS).
    #[must_use]
    pub fn extent(&self) -> GuestRange {
        self.extent
    }

    /// The parts of [`extent`](Self::extent) that belong to the kernel, at link addresses; nothing else may be placed
    /// there. They are the segments, where the image is fixed and the parser has set no extent; otherwise the whole
    /// extent.
    pub fn occupied_ranges(&self) -> impl Iterator<Item = GuestRange> + '_ {
        let whole = self.contiguous.then_some(self.extent);
        let parts = if self.contiguous {
            &[]
        } else {
            self.segments.as_slice()
        };
        whole.into_iter().chain(parts.iter().map(|segment| segment.range))
    }

    /// Where it may be placed.
    #[must_use]
    pub fn placement(&self) -> Placement {
        self.placement
    }

    /// Its entry points, in the parser's order of preference.
    #[must_use]
    pub fn entries(&self) -> &[EntryPoint] {
        &self.entries
    }

    /// The entry point with this ABI, if any.
    #[must_use]
    pub fn entry(&self, abi: EntryAbi) -> Option<EntryPoint> {
        self.entries.iter().copied().find(|entry| entry.abi == abi)
    }

    /// The kernel that this image contains, usually compressed: for example the vmlinux in a bzImage.
    #[must_use]
    pub fn payload(&self) -> Option<&Payload> {
        self.payload.as_ref()
    }

    /// The kernel's version string, for example `6.12.57+deb13-cloud-amd64 (…) #1 SMP …`, if the image has one.
    #[must_use]
    pub fn kernel_version(&self) -> Option<&str> {
        self.kernel_version.as_deref()
    }

    /// Whether the file is also a PE program that UEFI firmware can start (the EFI stub).
    #[must_use]
    pub fn has_efi_stub(&self) -> bool {
        self.efi_stub
    }

    /// Format-specific metadata of the type `T`, if the format attached it: for example
    /// `boot_linux::x86::SetupHeaderMetadata`.
    #[must_use]
    pub fn metadata<T: Metadata>(&self) -> Option<&T> {
        self.metadata.get()
    }

    /// The same with metadata, in place of earlier metadata of the same type: for a loader that has changed the kernel before it plans the boot.
    #[must_use]
    pub fn with_metadata<T: Metadata>(mut self, value: T) -> Self {
        self.metadata.insert(value);
        self
    }

    /// Warnings of the parser.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }
}
