//! A kernel image as a format parser understood it: what goes where, how it may move, and where it starts.

mod build;
mod placement;

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

pub use build::{ImageBuilder, ImageError};
pub use placement::{Placement, Relocation};

use crate::linux_x86::SetupHeaderFacts;
use crate::{Arch, Endian, GuestRange, SourceRange};

/// A piece of the image and the guest physical range it fills.
///
/// The addresses are *link addresses*: where the piece goes if the image is not moved. A relocatable image moves as
/// a whole, all its segments by the same distance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Segment {
    /// The bytes of the source that fill the start of [`range`](Self::range). May be empty; never longer than it.
    pub source: SourceRange,
    /// The guest physical range. What the source does not fill is zeroed.
    pub range: GuestRange,
}

impl Segment {
    /// The part of the range that the source fills.
    #[must_use]
    pub fn file_part(&self) -> GuestRange {
        GuestRange::new(self.range.start(), self.source.len().min(self.range.len())).unwrap_or(self.range)
    }

    /// The part of the range that must be zeroed. May be empty.
    #[must_use]
    pub fn zero_part(&self) -> GuestRange {
        GuestRange::from_bounds(self.file_part().end(), self.range.end()).unwrap_or(self.range)
    }
}

/// How the code at an entry point expects to be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum EntryAbi {
    /// The Linux x86 64-bit boot protocol: long mode, `rsi` holds the zero page (boot.rst, "64-bit Boot Protocol").
    LinuxX86_64,
    /// The Linux x86 32-bit boot protocol: protected mode, `esi` holds the zero page (boot.rst, "32-bit Boot
    /// Protocol").
    LinuxX86_32,
    /// The Linux x86 16-bit boot protocol: real mode, `ds` holds the segment of the setup code (boot.rst, "Running
    /// the Kernel"). Programs that borrow the kernel's header but need a PC BIOS have only this entry.
    LinuxX86_16,
    /// PVH: protected mode, `ebx` holds the `hvm_start_info` (Xen `pvh.pandoc`).
    Pvh,
    /// An arm64 `Image`: `x0` holds the device tree (arm64 booting.rst).
    Arm64Image,
    /// A riscv `Image`: `a0` holds the hart id, `a1` the device tree (riscv boot.rst).
    RiscvImage,
    /// The entry point of a 64-bit ELF file, which itself says nothing about how to call it.
    Elf64,
    /// The entry point of a 32-bit ELF file, which itself says nothing about how to call it.
    Elf32,
}

impl EntryAbi {
    /// The name used in command lines and machine-readable output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LinuxX86_64 => "linux-x86-64",
            Self::LinuxX86_32 => "linux-x86-32",
            Self::LinuxX86_16 => "linux-x86-16",
            Self::Pvh => "pvh",
            Self::Arm64Image => "arm64-image",
            Self::RiscvImage => "riscv-image",
            Self::Elf64 => "elf64",
            Self::Elf32 => "elf32",
        }
    }
}

impl fmt::Display for EntryAbi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// An address the first CPU may start at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EntryPoint {
    /// How the code there expects to be called.
    pub abi: EntryAbi,
    /// The guest physical link address; it moves with the image.
    pub addr: u64,
}

/// A compression format of a kernel's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Codec {
    /// Not compressed.
    Stored,
    /// gzip (RFC 1952).
    Gzip,
    /// bzip2.
    Bzip2,
    /// LZMA in its stand-alone `.lzma` container.
    Lzma,
    /// XZ.
    Xz,
    /// LZO in the `lzop` container.
    Lzo,
    /// LZ4 in the legacy frame that the kernel's build writes.
    Lz4Legacy,
    /// LZ4 in the standard frame.
    Lz4Frame,
    /// Zstandard (RFC 8878).
    Zstd,
}

impl Codec {
    /// The name used in machine-readable output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Lzma => "lzma",
            Self::Xz => "xz",
            Self::Lzo => "lzo",
            Self::Lz4Legacy => "lz4-legacy",
            Self::Lz4Frame => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// The codec whose magic number `bytes` begin with, and [`Codec::Stored`] for an ELF file; `None` where the
    /// first bytes say nothing known. Six bytes are enough for every codec.
    #[must_use]
    pub fn detect(bytes: &[u8]) -> Option<Self> {
        const MAGICS: [(&[u8], Codec); 9] = [
            (&[0x1f, 0x8b], Codec::Gzip),
            (b"BZh", Codec::Bzip2),
            (&[0x5d, 0x00, 0x00], Codec::Lzma),
            (&[0xfd, b'7', b'z', b'X', b'Z', 0x00], Codec::Xz),
            (&[0x89, b'L', b'Z', b'O'], Codec::Lzo),
            (&[0x02, 0x21, 0x4c, 0x18], Codec::Lz4Legacy),
            (&[0x04, 0x22, 0x4d, 0x18], Codec::Lz4Frame),
            (&[0x28, 0xb5, 0x2f, 0xfd], Codec::Zstd),
            (&[0x7f, b'E', b'L', b'F'], Codec::Stored),
        ];
        MAGICS
            .into_iter()
            .find(|(magic, _)| bytes.starts_with(magic))
            .map(|(_, codec)| codec)
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// An image inside the image, usually compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Payload {
    /// How it is compressed; `None` where its first bytes are of no known codec.
    pub codec: Option<Codec>,
    /// Where it lies in the source.
    pub source: SourceRange,
    /// How many bytes it decompresses to, where the container says so. Not verified: a hint.
    pub unpacked_len: Option<u64>,
}

/// What a format knows that is no address, for the protocols that need it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Facts {
    /// The kernel's own version string, for example `6.12.57+deb13-cloud-amd64 (…) #1 SMP …`.
    pub kernel_version: Option<String>,
    /// The setup header of a Linux x86 bzImage.
    pub linux_x86: Option<SetupHeaderFacts>,
    /// The flags of an arm64 `Image`.
    pub arm64_image: Option<Arm64ImageFacts>,
    /// The header of a riscv `Image`.
    pub riscv_image: Option<RiscvImageFacts>,
    /// The file is also a PE program that UEFI firmware can start (the EFI stub).
    pub efi_stub: bool,
}

/// What the header of an arm64 `Image` says beside addresses and byte order (arm64 booting.rst, "Call the kernel
/// image").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Arm64ImageFacts {
    /// The page size that the kernel was built for, in bytes: 4, 16 or 64 KiB. A CPU without it cannot run the kernel.
    /// `None` where the header does not say.
    pub page_size: Option<u32>,
    /// Whether the kernel may be placed anywhere in RAM. Otherwise it cannot use the RAM below it and should be as near
    /// to the start of RAM as it can be.
    pub is_placed_anywhere: bool,
}

/// What the header of a riscv `Image` says beside addresses and byte order (riscv boot-image-header.rst).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RiscvImageFacts {
    /// The version of the header: major and minor. Headers of one major version are compatible.
    pub version: (u16, u16),
}

/// A validated kernel image.
///
/// Only an [`ImageBuilder`] makes one, and it refuses images that break a promise of this type. So whoever holds a
/// `KernelImage`, from whatever parser, can rely on:
///
/// - segments are sorted by address, do not overlap, lie inside [`extent`](Self::extent) and never wrap;
/// - every segment's source range lies inside the source as it was when parsed;
/// - every entry point lies inside a segment, and there is at least one of each;
/// - the placement rule can be met by some address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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
    facts: Facts,
    warnings: Vec<String>,
}

impl KernelImage {
    /// The name of the format that parsed it.
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

    /// The guest physical range that the kernel uses before it has read any memory map: its segments and what it
    /// needs beyond them (`init_size`, `image_size`, BSS). Nothing else may be placed there.
    #[must_use]
    pub fn extent(&self) -> GuestRange {
        self.extent
    }

    /// The parts of [`extent`](Self::extent) that belong to the kernel, at link addresses: all of it, or only the
    /// segments where the image is fixed and claims nothing between them.
    pub fn footprint(&self) -> impl Iterator<Item = GuestRange> + '_ {
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

    /// The entry point of one ABI.
    #[must_use]
    pub fn entry(&self, abi: EntryAbi) -> Option<EntryPoint> {
        self.entries.iter().copied().find(|entry| entry.abi == abi)
    }

    /// The image inside this image, if there is one.
    #[must_use]
    pub fn payload(&self) -> Option<&Payload> {
        self.payload.as_ref()
    }

    /// What the format knows beside addresses.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// What is odd about the image without being wrong, one sentence each.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}
