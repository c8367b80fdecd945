//! Decoded Multiboot headers: metadata that a format attaches to an image.

use alloc::vec::Vec;

use boot_core::Constraints;

use crate::v1::header_flags;
use crate::v2::InfoTag;

/// Load addresses in a Multiboot header (Multiboot 0.6.96, 3.1.3; Multiboot2 2.0, 3.1.5). They replace those in the other
/// headers of the file (the "a.out kludge"). All are physical.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct LoadAddresses {
    /// Address that the header is loaded at.
    pub header_addr: u32,
    /// Address of the first byte that is loaded. In Multiboot2, all ones means that the file is loaded from its first byte.
    pub load_addr: u32,
    /// Address after the last byte that is loaded. Zero means that the file is loaded up to its end.
    pub load_end_addr: u32,
    /// Address after the last byte of the BSS. Zero means that there is no BSS.
    pub bss_end_addr: u32,
}

impl LoadAddresses {
    /// Load addresses, in the order of the header's fields.
    #[must_use]
    pub const fn new(header_addr: u32, load_addr: u32, load_end_addr: u32, bss_end_addr: u32) -> Self {
        Self {
            header_addr,
            load_addr,
            load_end_addr,
            bss_end_addr,
        }
    }
}

/// The video mode that a Multiboot 1 kernel prefers (Multiboot 0.6.96, 3.1.4). A zero in a field other than `mode_type`
/// means no preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct VideoMode {
    /// 0 for a linear graphics mode, 1 for EGA text mode.
    pub mode_type: u32,
    /// Columns, in pixels or, in text mode, characters.
    pub width: u32,
    /// Rows, in pixels or, in text mode, characters.
    pub height: u32,
    /// Bits per pixel; zero in text mode.
    pub depth: u32,
}

impl VideoMode {
    /// A video mode, in the order of the header's fields.
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
pub struct MultibootMetadata {
    /// File offset of the header.
    pub offset: u64,
    /// `flags`: see [`header_flags`].
    pub flags: u32,
    /// Load addresses; `None` without [`header_flags::ADDRESSES`].
    pub addresses: Option<LoadAddresses>,
    /// Preferred video mode; `None` without [`header_flags::VIDEO_MODE`].
    pub video: Option<VideoMode>,
}

impl MultibootMetadata {
    /// A header at a file offset, without load addresses and video mode.
    #[must_use]
    pub const fn new(offset: u64, flags: u32) -> Self {
        Self {
            offset,
            flags,
            addresses: None,
            video: None,
        }
    }

    /// True if modules must be aligned to pages of 4 KiB (flag 0).
    #[must_use]
    pub const fn requires_aligned_modules(&self) -> bool {
        self.flags & header_flags::PAGE_ALIGN != 0
    }

    /// True if the boot loader must provide information about the video mode (flag 2).
    #[must_use]
    pub const fn requires_video_mode(&self) -> bool {
        self.flags & header_flags::VIDEO_MODE != 0
    }

    /// Bits of `flags` that are requirements but have no meaning in version 0.6.96. A boot loader must refuse the kernel
    /// unless this is zero.
    #[must_use]
    pub const fn unknown_requirements(&self) -> u32 {
        let known = header_flags::PAGE_ALIGN | header_flags::MEMORY_INFO | header_flags::VIDEO_MODE;
        self.flags & header_flags::REQUIREMENTS & !known
    }
}

/// An information tag that a Multiboot2 kernel requests (Multiboot2 2.0, 3.1.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct InfoRequest {
    /// Type of the tag.
    pub tag: InfoTag,
    /// True if a boot loader that cannot provide the tag may ignore the request.
    pub optional: bool,
}

impl InfoRequest {
    /// A request for a tag.
    #[must_use]
    pub const fn new(tag: InfoTag, optional: bool) -> Self {
        Self { tag, optional }
    }
}

/// The console flags tag (Multiboot2 2.0, 3.1.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Console {
    /// See [`console_flags`](crate::v2::console_flags).
    pub flags: u32,
    /// True if a boot loader may ignore the tag.
    pub optional: bool,
}

impl Console {
    /// A console flags tag.
    #[must_use]
    pub const fn new(flags: u32, optional: bool) -> Self {
        Self { flags, optional }
    }
}

/// The framebuffer tag: the video mode that a kernel prefers (Multiboot2 2.0, 3.1.10). A zero means no preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Framebuffer {
    /// Columns, in pixels or, in text mode, characters.
    pub width: u32,
    /// Rows, in pixels or, in text mode, characters.
    pub height: u32,
    /// Bits per pixel; zero in text mode.
    pub depth: u32,
    /// True if a boot loader may ignore the tag.
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

/// The relocatable tag: the image may be relocated (Multiboot2 2.0, 3.1.13).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Relocatable {
    /// Lowest address of the start of the image.
    pub min_addr: u32,
    /// Highest address of the last byte of the image.
    pub max_addr: u32,
    /// Alignment of the start in bytes: a power of two.
    pub align: u32,
    /// 1 prefers the lowest possible address, 2 the highest; other values express no preference.
    pub preference: u32,
    /// True if a boot loader may ignore the tag.
    pub optional: bool,
}

impl Relocatable {
    /// A relocatable tag, in the order of its fields.
    #[must_use]
    pub const fn new(min_addr: u32, max_addr: u32, align: u32, preference: u32, optional: bool) -> Self {
        Self {
            min_addr,
            max_addr,
            align,
            preference,
            optional,
        }
    }

    /// Constraints on the load address of an image that is linked at `link_start`. If the tag expresses no preference, the
    /// link address is preferred.
    #[must_use]
    pub fn constraints(&self, link_start: u64) -> Constraints {
        let end = u64::from(self.max_addr).saturating_add(1);
        let constraints = Constraints::aligned(self.align.into()).between(self.min_addr.into(), end);
        match self.preference {
            1 => constraints,
            2 => constraints.highest(),
            _ => constraints.prefer(link_start),
        }
    }
}

/// A header tag that version 2.0 does not define.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct UnknownTag {
    /// `type` of the tag.
    pub kind: u16,
    /// True if a boot loader may ignore the tag.
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

/// The Multiboot2 header of an image (Multiboot2 2.0, 3.1). A field of type `Option` is `None` if the header does not have
/// the tag.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Multiboot2Metadata {
    /// File offset of the header.
    pub offset: u64,
    /// Length of the header with all tags, in bytes.
    pub len: u32,
    /// Requested information tags, in the order of the header.
    pub requests: Vec<InfoRequest>,
    /// Load addresses, from the address tag.
    pub addresses: Option<LoadAddresses>,
    /// Physical address of the entry point, from the entry address tag.
    pub entry: Option<u32>,
    /// The console flags tag.
    pub console: Option<Console>,
    /// The framebuffer tag.
    pub framebuffer: Option<Framebuffer>,
    /// True if modules must be aligned to pages of 4 KiB (module alignment tag).
    pub requires_aligned_modules: bool,
    /// True if the kernel supports being started before EFI boot services are terminated (EFI boot services tag).
    pub efi_boot_services: bool,
    /// Physical address of the entry point for EFI i386, from its entry address tag.
    pub efi32_entry: Option<u32>,
    /// Physical address of the entry point for EFI amd64, from its entry address tag.
    pub efi64_entry: Option<u32>,
    /// The relocatable tag.
    pub relocatable: Option<Relocatable>,
    /// Tags that version 2.0 does not define.
    pub unknown: Vec<UnknownTag>,
}

impl Multiboot2Metadata {
    /// A header of `len` bytes at a file offset, without tags.
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
            let header = MultibootMetadata::new(0, flags);
            assert_eq!(
                (
                    header.requires_aligned_modules(),
                    header.requires_video_mode(),
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
