//! Building and validating a [`KernelImage`].

use alloc::string::String;
use alloc::vec::Vec;

use super::{EntryAbi, EntryPoint, KernelImage, Payload, Placement, Segment};
use crate::metadata::{Metadata, MetadataMap};
use crate::{Arch, Constraints, Endian, GuestRange, SourceRange, Warning, WarningDetail};

/// Collects the parts of a parsed image and validates them as a whole.
///
/// Parsers report invalid header fields by name and file offset. [`build`](Self::build) checks the result, so that
/// protocols can rely on it even if a parser has a bug.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct ImageBuilder {
    image: KernelImage,
    extent: Option<GuestRange>,
}

/// Why [`ImageBuilder::build`] refused an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// An image without a segment.
    #[error("the image has no segment to load")]
    NoSegments,
    /// A segment without bytes.
    #[error("the segment at {:#x} is empty", .0.range.start())]
    EmptySegment(Segment),
    /// A segment with more bytes in the source than in memory.
    #[error(
        "the segment at {} has {:#x} bytes in the source but only {:#x} in memory",
        .0.range, .0.source.len(), .0.range.len()
    )]
    SegmentTooLong(Segment),
    /// A segment outside the source.
    #[error("the segment at {} is filled from bytes {} of a source of {source_len:#x} bytes", segment.range, segment.source)]
    SegmentPastEnd {
        /// The segment.
        segment: Segment,
        /// The length of the source.
        source_len: u64,
    },
    /// Two segments share an address.
    #[error("the segments at {0} and {1} overlap")]
    SegmentsOverlap(GuestRange, GuestRange),
    /// A segment outside the extent.
    #[error("the segment at {segment} is not inside the runtime extent {extent}")]
    OutsideExtent {
        /// The segment.
        segment: GuestRange,
        /// The extent.
        extent: GuestRange,
    },
    /// An image without an entry point.
    #[error("the image has no entry point")]
    NoEntry,
    /// An entry point outside every segment.
    #[error("the {} entry point {:#x} is in no segment", .0.abi, .0.addr)]
    EntryOutside(EntryPoint),
    /// Two entry points of one ABI.
    #[error("the image has two {0} entry points")]
    DuplicateEntry(EntryAbi),
    /// Placement constraints with an invalid alignment.
    #[error(
        "placement at {:#x} above a multiple of {:#x} is not possible: the alignment must be a power of two, and the remainder \
         below it", .0.align_offset, .0.align
    )]
    BadAlignment(Constraints),
    /// Placement constraints that no address meets.
    #[error("an image of {len:#x} bytes cannot be placed between {min:#x} and {max:#x}")]
    NoRoom {
        /// The length of the extent.
        len: u64,
        /// The lowest address allowed.
        min: u64,
        /// The end of the allowed addresses: exclusive.
        max: u64,
    },
    /// A payload outside the source.
    #[error("the payload at bytes {payload} is outside the source of {source_len:#x} bytes")]
    PayloadPastEnd {
        /// The payload.
        payload: SourceRange,
        /// The length of the source.
        source_len: u64,
    },
}

impl ImageBuilder {
    /// An image of the format named `format`, parsed from a source of `source_len` bytes.
    pub fn new(format: &'static str, arch: Arch, endian: Endian, source_len: u64) -> Self {
        let image = KernelImage {
            format,
            arch,
            endian,
            source_len,
            segments: Vec::new(),
            contiguous: false,
            extent: GuestRange::EMPTY,
            placement: Placement::Fixed,
            entries: Vec::new(),
            payload: None,
            kernel_version: None,
            efi_stub: false,
            metadata: MetadataMap::default(),
            warnings: Vec::new(),
        };
        Self { image, extent: None }
    }

    /// Adds a segment; the order does not matter.
    pub fn segment(mut self, source: SourceRange, range: GuestRange) -> Self {
        self.image.segments.push(Segment { source, range });
        self
    }

    /// Sets the [runtime extent](KernelImage::extent): all of it belongs to the kernel. The default is the span of the
    /// segments; in a fixed image, the gaps between them are then free.
    pub fn extent(mut self, extent: GuestRange) -> Self {
        self.extent = Some(extent);
        self
    }

    /// Sets where the image may be placed. The default is [`Placement::Fixed`].
    pub fn placement(mut self, placement: Placement) -> Self {
        self.image.placement = placement;
        self
    }

    /// Adds an entry point; earlier ones are preferred.
    pub fn entry(mut self, abi: EntryAbi, addr: u64) -> Self {
        self.image.entries.push(EntryPoint { abi, addr });
        self
    }

    /// Sets the kernel that this image contains.
    pub fn payload(mut self, payload: Payload) -> Self {
        self.image.payload = Some(payload);
        self
    }

    /// Sets the kernel's version string.
    pub fn kernel_version(mut self, version: String) -> Self {
        self.image.kernel_version = Some(version);
        self
    }

    /// Attaches format-specific metadata for boot protocols. An image has at most one value of each type.
    pub fn metadata<T: Metadata>(mut self, value: T) -> Self {
        self.image.metadata.insert(value);
        self
    }

    /// Sets whether the file is also a PE program that UEFI firmware can start. The default is `false`.
    pub fn efi_stub(mut self, efi_stub: bool) -> Self {
        self.image.efi_stub = efi_stub;
        self
    }

    /// Adds a warning of the format's own type.
    pub fn warning<W: WarningDetail>(mut self, warning: W) -> Self {
        self.image.warnings.push(Warning::new(warning));
        self
    }

    /// Validates the image.
    ///
    /// # Errors
    ///
    /// [`ImageError`] with the first check of [`KernelImage`] that fails.
    pub fn build(self) -> Result<KernelImage, ImageError> {
        let Self { mut image, extent } = self;
        image.segments.sort_unstable_by_key(|segment| segment.range);
        let (Some(first), Some(last)) = (image.segments.first(), image.segments.last()) else {
            return Err(ImageError::NoSegments);
        };
        let span = first.range.span(last.range);
        image.contiguous = extent.is_some() || matches!(image.placement, Placement::Relocatable(_));
        image.extent = extent.unwrap_or(span);
        check_segments(&image)?;
        check_entries(&image)?;
        if let Placement::Relocatable(rule) = image.placement {
            check_rule(rule, image.extent.len())?;
        }
        match image.payload {
            Some(payload) if payload.source.end() > image.source_len => Err(ImageError::PayloadPastEnd {
                payload: payload.source,
                source_len: image.source_len,
            }),
            _ => Ok(image),
        }
    }
}

fn check_segments(image: &KernelImage) -> Result<(), ImageError> {
    for segment in &image.segments {
        if segment.range.is_empty() {
            return Err(ImageError::EmptySegment(*segment));
        }
        if segment.source.len() > segment.range.len() {
            return Err(ImageError::SegmentTooLong(*segment));
        }
        if segment.source.end() > image.source_len {
            return Err(ImageError::SegmentPastEnd {
                segment: *segment,
                source_len: image.source_len,
            });
        }
        if !image.extent.contains(segment.range) {
            return Err(ImageError::OutsideExtent {
                segment: segment.range,
                extent: image.extent,
            });
        }
    }
    for pair in image.segments.windows(2) {
        match pair {
            [a, b] if a.range.overlaps(b.range) => {
                return Err(ImageError::SegmentsOverlap(a.range, b.range));
            }
            _ => {}
        }
    }
    Ok(())
}

fn check_entries(image: &KernelImage) -> Result<(), ImageError> {
    if image.entries.is_empty() {
        return Err(ImageError::NoEntry);
    }
    for (i, entry) in image.entries.iter().enumerate() {
        if !image
            .segments
            .iter()
            .any(|segment| segment.range.contains_addr(entry.addr))
        {
            return Err(ImageError::EntryOutside(*entry));
        }
        if image
            .entries
            .iter()
            .take(i)
            .any(|earlier| earlier.abi == entry.abi)
        {
            return Err(ImageError::DuplicateEntry(entry.abi));
        }
    }
    Ok(())
}

fn check_rule(rule: Constraints, len: u64) -> Result<(), ImageError> {
    if !rule.is_valid() {
        return Err(ImageError::BadAlignment(rule));
    }
    match rule
        .lowest_from(rule.min)
        .and_then(|start| start.checked_add(len))
    {
        Some(end) if end <= rule.max => Ok(()),
        _ => Err(ImageError::NoRoom {
            len,
            min: rule.min,
            max: rule.max,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, end: u64) -> GuestRange {
        GuestRange::from_bounds(start, end).unwrap()
    }

    fn builder() -> ImageBuilder {
        ImageBuilder::new("test", Arch::X86_64, Endian::Little, 0x1000)
    }

    fn valid() -> ImageBuilder {
        builder()
            .segment(
                SourceRange::new(0x800, 0x800).unwrap(),
                range(0x20_0000, 0x20_2000),
            )
            .segment(SourceRange::new(0, 0x800).unwrap(), range(0x10_0000, 0x10_0800))
            .entry(EntryAbi::ELF64, 0x10_0000)
    }

    #[test]
    fn a_valid_image_is_sorted_and_spans_its_segments() {
        let image = valid().build().unwrap();
        assert_eq!(image.extent(), range(0x10_0000, 0x20_2000));
        assert_eq!(image.segments()[0].range, range(0x10_0000, 0x10_0800));
        assert_eq!(image.segments()[1].zero_part(), range(0x20_0800, 0x20_2000));
        assert_eq!(image.entry(EntryAbi::ELF64).unwrap().addr, 0x10_0000);
        assert_eq!(image.entry(EntryAbi::PVH), None);
    }

    #[test]
    fn every_violated_invariant_is_refused() {
        let check = |builder: ImageBuilder, expected: fn(&ImageError) -> bool| {
            let error = builder.build().unwrap_err();
            assert!(expected(&error), "{error:?}");
        };
        let source = SourceRange::whole(0x10);
        check(builder(), |e| matches!(e, ImageError::NoSegments));
        check(valid().segment(source, range(0, 0)), |e| {
            matches!(e, ImageError::EmptySegment(_))
        });
        check(valid().segment(source, range(0, 8)), |e| {
            matches!(e, ImageError::SegmentTooLong(_))
        });
        let past = SourceRange::new(0xff9, 8).unwrap();
        check(valid().segment(past, range(0, 8)), |e| {
            matches!(e, ImageError::SegmentPastEnd { .. })
        });
        check(valid().segment(source, range(0x20_1fff, 0x20_3000)), |e| {
            matches!(e, ImageError::SegmentsOverlap(..))
        });
        check(valid().extent(range(0x10_0000, 0x20_0000)), |e| {
            matches!(e, ImageError::OutsideExtent { .. })
        });
        check(builder().segment(source, range(0, 0x10)), |e| {
            matches!(e, ImageError::NoEntry)
        });
        check(valid().entry(EntryAbi::PVH, 0x1f_ffff), |e| {
            matches!(e, ImageError::EntryOutside(_))
        });
        check(valid().entry(EntryAbi::ELF64, 0x10_0000), |e| {
            matches!(e, ImageError::DuplicateEntry(_))
        });
        for align in [0, 3] {
            check(
                valid().placement(Placement::Relocatable(Constraints::aligned(align))),
                |e| matches!(e, ImageError::BadAlignment(_)),
            );
        }
        let tight = Constraints::NONE.between(0, 0x10_0000);
        check(valid().placement(Placement::Relocatable(tight)), |e| {
            matches!(e, ImageError::NoRoom { .. })
        });
        check(valid().payload(Payload::new(past)), |e| {
            matches!(e, ImageError::PayloadPastEnd { .. })
        });
    }

    #[test]
    fn an_image_has_what_the_parser_found() {
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        struct Flags(u32);

        let rule = Placement::Relocatable(Constraints::aligned(0x1000).not_above(0x40_0000));
        let payload = Payload::new(SourceRange::new(0xff8, 8).unwrap());
        let image = valid()
            .entry(EntryAbi::PVH, 0x20_0000)
            .extent(range(0x10_0000, 0x30_0000))
            .placement(rule)
            .payload(payload)
            .kernel_version("6.12".into())
            .efi_stub(true)
            .metadata(Flags(1))
            .warning("old")
            .build()
            .unwrap();
        assert_eq!(
            (image.format(), image.arch(), image.endian()),
            ("test", Arch::X86_64, Endian::Little)
        );
        assert_eq!((image.source_len(), image.segments().len()), (0x1000, 2));
        assert_eq!(image.extent(), range(0x10_0000, 0x30_0000));
        assert_eq!((image.placement(), image.payload()), (rule, Some(&payload)));
        assert_eq!(
            (image.kernel_version(), image.has_efi_stub()),
            (Some("6.12"), true)
        );
        assert_eq!(image.metadata(), Some(&Flags(1)));
        assert_eq!(image.warnings(), [Warning::new("old")]);
        assert_eq!(image.entries().len(), 2);
        let ranges = |image: &KernelImage| image.occupied_ranges().collect::<Vec<_>>();
        assert_eq!(ranges(&image), [image.extent()]);

        let image = valid().build().unwrap();
        assert_eq!(
            ranges(&image),
            [range(0x10_0000, 0x10_0800), range(0x20_0000, 0x20_2000)]
        );
        let moved = valid()
            .placement(Placement::Relocatable(Constraints::NONE))
            .build()
            .unwrap();
        assert_eq!(ranges(&moved), [range(0x10_0000, 0x20_2000)]);
        assert_eq!((image.payload(), image.kernel_version()), (None, None));
        assert!(!image.has_efi_stub() && image.warnings().is_empty());
    }

    #[test]
    fn limits_are_exact() {
        let check = |builder: ImageBuilder, accepted: bool| {
            let found = builder.build();
            assert_eq!(found.is_ok(), accepted, "{found:?}");
        };
        let segment = |offset, len, start, end| {
            let source = SourceRange::new(offset, len).unwrap();
            builder()
                .segment(source, range(start, end))
                .entry(EntryAbi::ELF64, start)
        };
        check(segment(0xff0, 0x10, 0, 0x10), true);
        check(segment(0xff1, 0x10, 0, 0x10), false);
        check(segment(0, 0x10, 0, 0xf), false);
        let payload = |offset| Payload::new(SourceRange::new(offset, 0x10).unwrap());
        check(valid().payload(payload(0xff0)), true);
        check(valid().payload(payload(0xff1)), false);
        // The extent of `valid` has 0x10_2000 bytes.
        let window = |min, max| {
            let rule = Constraints::aligned(0x1000).between(min, max);
            valid().placement(Placement::Relocatable(rule))
        };
        check(window(0x800, 0x10_3000), true);
        check(window(0x800, 0x10_2fff), false);
        check(window(u64::MAX - 0x10, u64::MAX), false);
        check(valid().entry(EntryAbi::PVH, 0x20_1fff), true);
        check(valid().entry(EntryAbi::PVH, 0x20_2000), false);
    }
}
