//! What a kernel's Multiboot header asks for, as a format attaches it to an image.

use alloc::vec::Vec;

use boot_core::Constraints;

use crate::v1::header_flags;
use crate::v2::InfoTag;

/// Load addresses in a Multiboot header, which count in place of those of the executable's own header (the "a.out
/// kludge"). All are physical.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct AddressOverride {
    /// Address of the header.
    pub header: u32,
    /// Address of the first byte that is loaded.
    pub load: u32,
    /// Address after the last byte that is loaded; zero: up to the end of the file.
    pub load_end: u32,
    /// Address after the last byte of the BSS; zero: there is none.
    pub bss_end: u32,
}

impl AddressOverride {
    /// Load addresses, in the order of the header's fields.
    #[must_use]
    pub const fn new(header: u32, load: u32, load_end: u32, bss_end: u32) -> Self {
        Self {
            header,
            load,
            load_end,
            bss_end,
        }
    }
}

/// The graphics mode that a Multiboot 1 kernel prefers. Zero: no preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct VideoMode {
    /// 0: a linear graphics mode; 1: EGA text mode.
    pub mode_type: u32,
    /// Columns, in pixels or characters.
    pub width: u32,
    /// Rows, in pixels or characters.
    pub height: u32,
    /// Bits a pixel.
    pub depth: u32,
}

impl VideoMode {
    /// A mode, in the order of the header's fields.
    #[must_use]
    pub const fn new(mode_type: u32, width: u32, height: u32, depth: u32) -> Self {
        Self {
            mode_type,
            width,
            height,
            depth,
        }
    }
}

/// The Multiboot 1 header of an image (Multiboot 0.6.96, 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Multiboot {
    /// File offset of the header.
    pub offset: u64,
    /// `flags`: see [`header_flags`].
    pub flags: u32,
    /// The load addresses, where the header has them.
    pub addresses: Option<AddressOverride>,
    /// The preferred graphics mode, where the header has one.
    pub video: Option<VideoMode>,
}

impl Multiboot {
    /// A header at a file offset with neither addresses nor graphics mode.
    #[must_use]
    pub const fn new(offset: u64, flags: u32) -> Self {
        Self {
            offset,
            flags,
            addresses: None,
            video: None,
        }
    }

    /// Whether modules must be aligned to pages.
    #[must_use]
    pub const fn aligns_modules(&self) -> bool {
        self.flags & header_flags::PAGE_ALIGN != 0
    }

    /// Whether information about the video mode must be given.
    #[must_use]
    pub const fn requires_video(&self) -> bool {
        self.flags & header_flags::VIDEO_MODE != 0
    }

    /// The requirements that version 0.6.96 does not define.
    #[must_use]
    pub const fn unknown_requirements(&self) -> u32 {
        let known = header_flags::PAGE_ALIGN | header_flags::MEMORY_INFO | header_flags::VIDEO_MODE;
        self.flags & header_flags::REQUIREMENTS & !known
    }
}

/// An information tag that a Multiboot2 kernel asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct InfoRequest {
    /// The tag.
    pub tag: InfoTag,
    /// Whether a boot loader may ignore the request.
    pub optional: bool,
}

impl InfoRequest {
    /// A request for a tag.
    #[must_use]
    pub const fn new(tag: InfoTag, optional: bool) -> Self {
        Self { tag, optional }
    }
}

/// The console flags tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Console {
    /// See [`console_flags`](crate::v2::console_flags).
    pub flags: u32,
    /// Whether a boot loader may ignore the tag.
    pub optional: bool,
}

impl Console {
    /// A console flags tag.
    #[must_use]
    pub const fn new(flags: u32, optional: bool) -> Self {
        Self { flags, optional }
    }
}

/// The framebuffer tag: the graphics mode that a kernel prefers. Zero: no preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Framebuffer {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Bits a pixel.
    pub depth: u32,
    /// Whether a boot loader may ignore the tag.
    pub optional: bool,
}

impl Framebuffer {
    /// A framebuffer tag.
    #[must_use]
    pub const fn new(width: u32, height: u32, depth: u32, optional: bool) -> Self {
        Self {
            width,
            height,
            depth,
            optional,
        }
    }
}

/// The relocatable tag: the image may be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Relocatable {
    /// Lowest address that the image may start at.
    pub min: u32,
    /// Highest address that any byte of the image may have.
    pub max: u32,
    /// Alignment of the start in bytes: a power of two.
    pub align: u32,
    /// 1: lowest address; 2: highest address; others: no preference.
    pub preference: u32,
    /// Whether a boot loader may ignore the tag.
    pub optional: bool,
}

impl Relocatable {
    /// A relocatable tag, in the order of its fields.
    #[must_use]
    pub const fn new(min: u32, max: u32, align: u32, preference: u32, optional: bool) -> Self {
        Self {
            min,
            max,
            align,
            preference,
            optional,
        }
    }

    /// The constraints on the place of an image that is linked at `link`. Where the tag has no preference, the link
    /// address is preferred.
    #[must_use]
    pub fn constraints(&self, link: u64) -> Constraints {
        let end = u64::from(self.max).saturating_add(1);
        let constraints = Constraints::aligned(self.align.into()).between(self.min.into(), end);
        match self.preference {
            1 => constraints,
            2 => constraints.highest(),
            _ => constraints.prefer(link),
        }
    }
}

/// A header tag that version 2.0 does not define.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct UnknownTag {
    /// `type`.
    pub kind: u16,
    /// Whether a boot loader may ignore the tag.
    pub optional: bool,
    /// File offset of the tag.
    pub offset: u64,
}

impl UnknownTag {
    /// An unknown tag at a file offset.
    #[must_use]
    pub const fn new(kind: u16, optional: bool, offset: u64) -> Self {
        Self {
            kind,
            optional,
            offset,
        }
    }
}

/// The Multiboot2 header of an image (Multiboot2 2.0, 3.1).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Multiboot2 {
    /// File offset of the header.
    pub offset: u64,
    /// Length of the header with all tags, in bytes.
    pub len: u32,
    /// The information tags asked for, in the order of the header.
    pub requests: Vec<InfoRequest>,
    /// The address tag.
    pub addresses: Option<AddressOverride>,
    /// The entry address tag: a physical address.
    pub entry: Option<u32>,
    /// The console flags tag.
    pub console: Option<Console>,
    /// The framebuffer tag.
    pub framebuffer: Option<Framebuffer>,
    /// The module alignment tag: modules must be aligned to pages.
    pub aligns_modules: bool,
    /// The EFI boot services tag: under EFI, the kernel can be started with boot services.
    pub efi_boot_services: bool,
    /// The entry address tag of EFI i386.
    pub efi32_entry: Option<u32>,
    /// The entry address tag of EFI amd64.
    pub efi64_entry: Option<u32>,
    /// The relocatable tag.
    pub relocatable: Option<Relocatable>,
    /// Tags that version 2.0 does not define.
    pub unknown: Vec<UnknownTag>,
}

impl Multiboot2 {
    /// A header of `len` bytes at a file offset, without a tag.
    #[must_use]
    pub fn new(offset: u64, len: u32) -> Self {
        Self {
            offset,
            len,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use boot_core::Preference;

    use super::*;

    #[test]
    fn requirements_are_told_apart() {
        let check = |flags, aligns, video, unknown| {
            let header = Multiboot::new(0, flags);
            assert_eq!(
                (
                    header.aligns_modules(),
                    header.requires_video(),
                    header.unknown_requirements()
                ),
                (aligns, video, unknown),
                "{flags:#x}"
            );
        };
        check(0, false, false, 0);
        check(1, true, false, 0);
        check(2, false, false, 0);
        check(4, false, true, 0);
        check(0xffff_fffc, false, true, 0xfff8);
        check(0x1_0003, true, false, 0);
    }

    #[test]
    fn the_relocatable_tag_becomes_constraints() {
        let check = |preference, expected| {
            let tag = Relocatable::new(0x20_0000, u32::MAX, 0x20_0000, preference, true);
            let constraints = tag.constraints(0x40_0000);
            assert_eq!(constraints.preference, expected);
            assert_eq!(
                (constraints.min, constraints.max, constraints.align),
                (0x20_0000, 1 << 32, 0x20_0000)
            );
        };
        check(0, Preference::Address(0x40_0000));
        check(1, Preference::Lowest);
        check(2, Preference::Highest);
        check(3, Preference::Address(0x40_0000));
    }
}
