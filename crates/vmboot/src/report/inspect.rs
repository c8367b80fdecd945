//! What an image is.

use std::fmt;

use boot_core::{BootProtocol, KernelImage, Placement, Segment};
use boot_linux::x86::SetupHeaderMetadata;
use boot_linux::{arm64, riscv};
use serde::{Deserialize, Serialize};

use super::{Hex, Multiboot2Report, MultibootReport};

/// What an image is, where its parts go and which protocols can start it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct InspectReport {
    /// Always `vmboot.inspect/1`.
    pub schema: String,
    /// The file as it was named.
    pub file: String,
    /// The length of the file in bytes.
    pub len: u64,
    /// The format's name.
    pub format: String,
    /// The architecture's name.
    pub arch: String,
    /// `little` or `big`.
    pub endian: String,
    /// The kernel's own version string.
    pub kernel_version: Option<String>,
    /// What goes into memory, at link addresses.
    pub segments: Vec<SegmentReport>,
    /// Start of what the kernel uses before it reads a memory map.
    pub extent_start: Hex,
    /// Its end, exclusive.
    pub extent_end: Hex,
    /// Where the image may be placed.
    pub placement: PlacementReport,
    /// Where it may be started.
    pub entries: Vec<EntryReport>,
    /// The image inside the image.
    pub payload: Option<PayloadReport>,
    /// The setup header of a bzImage.
    pub linux_x86: Option<SetupHeaderReport>,
    /// What the header of an arm64 `Image` says beside addresses.
    pub arm64_image: Option<Arm64ImageReport>,
    /// What the header of a riscv `Image` says beside addresses.
    pub riscv_image: Option<RiscvImageReport>,
    /// The Multiboot 1 header.
    pub multiboot: Option<MultibootReport>,
    /// The Multiboot2 header.
    pub multiboot2: Option<Multiboot2Report>,
    /// Whether the file is also a PE program that UEFI firmware can start.
    pub efi_stub: bool,
    /// Every known protocol and whether it can start this image.
    pub protocols: Vec<ProtocolReport>,
    /// What is odd about the image.
    pub warnings: Vec<String>,
}

/// A part of the image and its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SegmentReport {
    /// Offset of the part in the file.
    pub offset: Hex,
    /// How many bytes come from the file.
    pub file_len: u64,
    /// Guest physical link address.
    pub start: Hex,
    /// Its end, exclusive.
    pub end: Hex,
    /// How many bytes at the end are zeroed.
    pub zero_len: u64,
}

/// Where an image may be placed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "rule", rename_all = "kebab-case")]
pub enum PlacementReport {
    /// Only at its link addresses.
    Fixed,
    /// Where the start of its extent meets these conditions.
    Relocatable {
        /// The alignment.
        align: Hex,
        /// The remainder modulo the alignment.
        align_offset: Hex,
        /// The lowest address.
        min: Hex,
        /// The highest end, exclusive.
        max: Hex,
        /// The address it prefers.
        preferred: Option<Hex>,
    },
}

/// An entry point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EntryReport {
    /// How the code there expects to be called.
    pub abi: String,
    /// Guest physical link address.
    pub address: Hex,
}

/// The image inside the image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PayloadReport {
    /// The compression, if it is a known one.
    pub codec: Option<String>,
    /// Offset in the file.
    pub offset: Hex,
    /// Length in the file.
    pub len: u64,
    /// Length once unpacked, where the container says so.
    pub unpacked_len: Option<u64>,
}

/// The setup header of a bzImage; a field that its version does not have is null.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SetupHeaderReport {
    /// Boot protocol version, such as `2.15`.
    pub boot_protocol: String,
    /// `loadflags`.
    pub loadflags: Hex,
    /// `xloadflags`.
    pub xloadflags: Hex,
    /// The longest command line in bytes.
    pub cmdline_size: u64,
    /// The highest address of an initrd's last byte.
    pub initrd_addr_max: Hex,
    /// The alignment of a relocatable kernel.
    pub kernel_alignment: Option<Hex>,
    /// Whether the kernel may be moved.
    pub relocatable: bool,
    /// The preferred address.
    pub pref_address: Option<Hex>,
    /// The memory needed from the runtime start.
    pub init_size: Option<Hex>,
}

/// What the header of an arm64 `Image` says beside addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Arm64ImageReport {
    /// The page size that the kernel was built for, in bytes, where the header says so. A CPU without it cannot run the
    /// kernel.
    pub page_size: Option<u32>,
    /// Whether the kernel may be anywhere in RAM; otherwise it cannot use the RAM below it.
    pub placed_anywhere: bool,
}

/// What the header of a riscv `Image` says beside addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RiscvImageReport {
    /// The version of the header, such as `0.2`.
    pub version: String,
}

/// Whether a protocol can start the image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ProtocolReport {
    /// The protocol's name.
    pub name: String,
    /// Whether it can.
    pub supported: bool,
    /// Why not.
    pub reason: Option<String>,
}

impl InspectReport {
    /// The schema this crate writes.
    pub const SCHEMA: &'static str = "vmboot.inspect/1";

    /// The report on `image`, which was read from `file`.
    #[must_use]
    pub fn new(file: &str, image: &KernelImage, protocols: &[&dyn BootProtocol]) -> Self {
        Self {
            schema: Self::SCHEMA.to_owned(),
            file: file.to_owned(),
            len: image.source_len(),
            format: image.format().to_owned(),
            arch: image.arch().name().to_owned(),
            endian: image.endian().name().to_owned(),
            kernel_version: image.kernel_version().map(ToOwned::to_owned),
            segments: image.segments().iter().map(SegmentReport::from).collect(),
            extent_start: Hex(image.extent().start()),
            extent_end: Hex(image.extent().end()),
            placement: image.placement().into(),
            entries: image
                .entries()
                .iter()
                .map(|entry| EntryReport {
                    abi: entry.abi.name().to_owned(),
                    address: Hex(entry.addr),
                })
                .collect(),
            payload: image.payload().map(|payload| PayloadReport {
                codec: payload.codec.map(|codec| codec.name().to_owned()),
                offset: Hex(payload.source.offset()),
                len: payload.source.len(),
                unpacked_len: payload.unpacked_len,
            }),
            linux_x86: image.metadata().map(SetupHeaderReport::from),
            arm64_image: image.metadata().map(Arm64ImageReport::from),
            riscv_image: image.metadata().map(RiscvImageReport::from),
            multiboot: image.metadata().map(MultibootReport::from),
            multiboot2: image.metadata().map(Multiboot2Report::from),
            efi_stub: image.has_efi_stub(),
            protocols: protocols
                .iter()
                .map(|protocol| ProtocolReport::new(*protocol, image))
                .collect(),
            warnings: image.warnings().iter().map(ToString::to_string).collect(),
        }
    }
}

impl From<&Segment> for SegmentReport {
    fn from(segment: &Segment) -> Self {
        Self {
            offset: Hex(segment.source.offset()),
            file_len: segment.source.len(),
            start: Hex(segment.range.start()),
            end: Hex(segment.range.end()),
            zero_len: segment.zero_part().len(),
        }
    }
}

impl From<Placement> for PlacementReport {
    fn from(placement: Placement) -> Self {
        match placement {
            Placement::Fixed => Self::Fixed,
            Placement::Relocatable(rule) => Self::Relocatable {
                align: Hex(rule.align),
                align_offset: Hex(rule.align_offset),
                min: Hex(rule.min),
                max: Hex(rule.max),
                preferred: rule.preferred_address().map(Hex),
            },
        }
    }
}

impl From<&SetupHeaderMetadata> for SetupHeaderReport {
    fn from(metadata: &SetupHeaderMetadata) -> Self {
        Self {
            boot_protocol: metadata.version().to_string(),
            loadflags: Hex(metadata.header().loadflags.into()),
            xloadflags: Hex(metadata.xloadflags().into()),
            cmdline_size: metadata.cmdline_size(),
            initrd_addr_max: Hex(metadata.initrd_addr_max()),
            kernel_alignment: metadata.kernel_alignment().map(Hex),
            relocatable: metadata.is_relocatable(),
            pref_address: metadata.pref_address().map(Hex),
            init_size: metadata.init_size().map(Hex),
        }
    }
}

impl From<&arm64::ImageMetadata> for Arm64ImageReport {
    fn from(metadata: &arm64::ImageMetadata) -> Self {
        Self {
            page_size: metadata.page_size,
            placed_anywhere: metadata.is_placed_anywhere,
        }
    }
}

impl From<&riscv::ImageMetadata> for RiscvImageReport {
    fn from(metadata: &riscv::ImageMetadata) -> Self {
        let (major, minor) = metadata.version;
        Self {
            version: format!("{major}.{minor}"),
        }
    }
}

impl ProtocolReport {
    fn new(protocol: &dyn BootProtocol, image: &KernelImage) -> Self {
        let reason = protocol.supports(image).err().map(|reason| reason.to_string());
        Self {
            name: protocol.name().to_owned(),
            supported: reason.is_none(),
            reason,
        }
    }
}

/// The report for a person.
impl fmt::Display for InspectReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut row = |name: &str, value: &dyn fmt::Display| writeln!(f, "{name:<12} {value}");
        row("file", &self.file)?;
        row("length", &format_args!("{} bytes", self.len))?;
        row(
            "format",
            &format_args!("{}, {} ({}-endian)", self.format, self.arch, self.endian),
        )?;
        if let Some(version) = &self.kernel_version {
            row("version", version)?;
        }
        if let Some(header) = &self.linux_x86 {
            row(
                "boot header",
                &format_args!(
                    "protocol {}, loadflags {}, xloadflags {}, command line up to {} bytes, initrd up to {}",
                    header.boot_protocol,
                    header.loadflags,
                    header.xloadflags,
                    header.cmdline_size,
                    header.initrd_addr_max
                ),
            )?;
        }
        if let Some(header) = &self.arm64_image {
            row("boot header", header)?;
        }
        if let Some(header) = &self.riscv_image {
            row("boot header", &format_args!("version {}", header.version))?;
        }
        if let Some(header) = &self.multiboot2 {
            row("boot header", header)?;
        }
        if let Some(header) = &self.multiboot {
            row("boot header", header)?;
        }
        if self.efi_stub {
            row("EFI stub", &"UEFI firmware can start the file, too")?;
        }
        for segment in &self.segments {
            row(
                "segment",
                &format_args!(
                    "{}..{}: {} bytes from offset {}, {} zeroed",
                    segment.start, segment.end, segment.file_len, segment.offset, segment.zero_len
                ),
            )?;
        }
        row(
            "uses",
            &format_args!("{}..{}", self.extent_start, self.extent_end),
        )?;
        row("placement", &self.placement)?;
        for entry in &self.entries {
            row("entry", &format_args!("{} ({})", entry.address, entry.abi))?;
        }
        if let Some(payload) = &self.payload {
            row("payload", payload)?;
        }
        for protocol in &self.protocols {
            row("protocol", protocol)?;
        }
        for warning in &self.warnings {
            row("warning", warning)?;
        }
        Ok(())
    }
}

impl fmt::Display for Arm64ImageReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.page_size {
            Some(size) => write!(f, "pages of {} KiB", size >> 10)?,
            None => write!(f, "pages of unknown size")?,
        }
        f.write_str(if self.placed_anywhere {
            ", anywhere in RAM"
        } else {
            ", near the start of RAM"
        })
    }
}

impl fmt::Display for PlacementReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed => write!(f, "fixed"),
            Self::Relocatable {
                align,
                align_offset,
                min,
                max,
                preferred,
            } => {
                write!(f, "relocatable, aligned to {align}")?;
                if align_offset.0 != 0 {
                    write!(f, " plus {align_offset}")?;
                }
                write!(f, ", within {min}..{max}")?;
                match preferred {
                    Some(preferred) => write!(f, ", preferably {preferred}"),
                    None => Ok(()),
                }
            }
        }
    }
}

impl fmt::Display for PayloadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let codec = self.codec.as_deref().unwrap_or("unknown compression");
        write!(f, "{codec}, {} bytes at offset {}", self.len, self.offset)?;
        match self.unpacked_len {
            Some(len) => write!(f, ", unpacks to {len} bytes"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for ProtocolReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            None => write!(f, "{}: can start it", self.name),
            Some(reason) => write!(f, "{}: cannot start it, {reason}", self.name),
        }
    }
}
