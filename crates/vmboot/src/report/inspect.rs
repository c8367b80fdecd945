//! Report of `vmboot inspect`.

use std::fmt;

use boot_core::protocol::{self, Candidate, IncompatibleImage};
use boot_core::{BootProtocol, KernelImage, Placement, Segment};
use boot_linux::x86::SetupHeaderMetadata;
use boot_linux::{arm64, riscv};
use serde::{Deserialize, Serialize};

use super::{Hex, LayerReport, Multiboot2Report, MultibootReport, SectionReport};

/// Report on an image: format, segments, entry points and supported protocols.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct InspectReport {
    /// Always `vmboot.inspect/2`.
    pub schema: String,
    /// Path of the image, as on the command line.
    pub file: String,
    /// Length of the image in bytes.
    pub len: u64,
    /// Name of the format, such as `elf`.
    pub format: String,
    /// Name of the architecture: `x86_64`, `aarch64` or `riscv64`.
    pub arch: String,
    /// `little` or `big`.
    pub endian: String,
    /// Version of the kernel, if the image contains it.
    pub kernel_version: Option<String>,
    /// Segments, in ascending order of their link addresses.
    pub segments: Vec<SegmentReport>,
    /// Link address of the extent: all memory that the kernel uses at first, which are its segments, its BSS and what its
    /// header declares.
    pub extent_start: Hex,
    /// End of the extent, exclusive.
    pub extent_end: Hex,
    /// Placement rule of the image.
    pub placement: PlacementReport,
    /// Entry points.
    pub entries: Vec<EntryReport>,
    /// Compressed kernel in the image.
    pub payload: Option<PayloadReport>,
    /// Kernels inside the file, the outermost first.
    #[serde(default)]
    pub layers: Vec<LayerReport>,
    /// Sections of a unified kernel image, which is the file or the layer around the kernel.
    #[serde(default)]
    pub sections: Vec<SectionReport>,
    /// Setup header of a bzImage.
    pub linux_x86: Option<SetupHeaderReport>,
    /// Header of an arm64 `Image`.
    pub arm64_image: Option<Arm64ImageReport>,
    /// Header of a riscv `Image`.
    pub riscv_image: Option<RiscvImageReport>,
    /// The Multiboot 1 header.
    pub multiboot: Option<MultibootReport>,
    /// The Multiboot2 header.
    pub multiboot2: Option<Multiboot2Report>,
    /// Whether the image is also an EFI application.
    pub efi_stub: bool,
    /// Name of the protocol that `vmboot plan` and `vmboot run` use by default; `None` if they refuse the image.
    pub default_protocol: Option<String>,
    /// All protocols, the most suitable for this image first.
    pub protocols: Vec<ProtocolReport>,
    /// Warnings about the image.
    pub warnings: Vec<String>,
}

/// A segment of the image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SegmentReport {
    /// Offset in the file.
    pub offset: Hex,
    /// Number of bytes in the file.
    pub file_len: u64,
    /// Link address: the guest physical address if the image is not relocated.
    pub start: Hex,
    /// End of the link addresses, exclusive.
    pub end: Hex,
    /// Number of zeroed bytes after those of the file.
    pub zero_len: u64,
}

/// Placement rule of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "rule", rename_all = "kebab-case")]
pub enum PlacementReport {
    /// Only at the link addresses.
    Fixed,
    /// At any address that meets these conditions on the extent.
    Relocatable {
        /// Alignment in bytes.
        align: Hex,
        /// Offset of the start from a multiple of `align`.
        align_offset: Hex,
        /// Distance of the start from an address that must be RAM.
        base_offset: Hex,
        /// Lowest start.
        min: Hex,
        /// Highest end, exclusive.
        max: Hex,
        /// Preferred start, if there is one.
        preferred: Option<Hex>,
    },
}

/// An entry point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EntryReport {
    /// Name of the entry ABI.
    pub abi: String,
    /// Link address of the first instruction.
    pub address: Hex,
}

/// Compressed kernel in an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PayloadReport {
    /// Name of the compression format, such as `zstd`, if it is known.
    pub codec: Option<String>,
    /// Offset in the file.
    pub offset: Hex,
    /// Compressed length in bytes.
    pub len: u64,
    /// Uncompressed length in bytes, if the image contains it.
    pub unpacked_len: Option<u64>,
}

/// Setup header of a bzImage. A field that its version does not have is `None`, or the default of the boot protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SetupHeaderReport {
    /// Boot protocol version, such as `2.15`.
    pub boot_protocol: String,
    /// `loadflags`.
    pub loadflags: Hex,
    /// `xloadflags`.
    pub xloadflags: Hex,
    /// Maximum length of the command line in bytes, without the NUL.
    pub cmdline_size: u64,
    /// Highest address that the initrd may occupy.
    pub initrd_addr_max: Hex,
    /// Required alignment of a relocatable kernel in bytes.
    pub kernel_alignment: Option<Hex>,
    /// Whether the kernel is relocatable.
    pub relocatable: bool,
    /// Preferred load address.
    pub pref_address: Option<Hex>,
    /// Size in bytes of the memory that the kernel needs from its start address on.
    pub init_size: Option<Hex>,
}

/// Header of an arm64 `Image`. Its addresses are in the report's extent and placement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Arm64ImageReport {
    /// Page size of the kernel in bytes, if the header specifies it. The CPU must support this page size.
    pub page_size: Option<u32>,
    /// Whether the kernel can be anywhere in RAM (bit 3 of `flags`). Otherwise it cannot use the RAM below its address.
    pub placed_anywhere: bool,
}

/// Header of a riscv `Image`. Its addresses are in the report's extent and placement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RiscvImageReport {
    /// Version of the header, such as `0.2`.
    pub version: String,
}

/// Whether a protocol supports the image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ProtocolReport {
    /// Name of the protocol.
    pub name: String,
    /// Evidence for the protocol: `declared`, `indicated` or `possible`; `contradicted` if the protocol starts the image only
    /// by explicit choice; `none` if the protocol cannot start it.
    pub support: String,
    /// Property of the image that determines `support`. "It" is the image.
    pub reason: String,
    /// Whether the protocol is for another architecture than the image's. The text of the report does not list it.
    #[serde(default)]
    pub other_arch: bool,
}

impl InspectReport {
    /// Current schema.
    pub const SCHEMA: &'static str = "vmboot.inspect/2";

    /// The report on `image`, which was read from the path `file`, and on its support by `protocols`.
    #[must_use]
    pub fn new(file: &str, image: &KernelImage, protocols: &[&dyn BootProtocol]) -> Self {
        let candidates = protocol::rank(protocols, image);
        let default = candidates.first().filter(|candidate| candidate.check().is_ok());
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
            layers: Vec::new(),
            sections: Vec::new(),
            linux_x86: image.metadata().map(SetupHeaderReport::from),
            arm64_image: image.metadata().map(Arm64ImageReport::from),
            riscv_image: image.metadata().map(RiscvImageReport::from),
            multiboot: image.metadata().map(MultibootReport::from),
            multiboot2: image.metadata().map(Multiboot2Report::from),
            efi_stub: image.has_efi_stub(),
            default_protocol: default.map(|candidate| candidate.protocol.name().to_owned()),
            protocols: candidates.iter().map(ProtocolReport::from).collect(),
            warnings: image.warnings().iter().map(ToString::to_string).collect(),
        }
    }

    /// The same with the kernels inside the file.
    #[must_use]
    pub fn with_layers(self, layers: Vec<LayerReport>) -> Self {
        Self { layers, ..self }
    }

    /// The same with the sections of a unified kernel image.
    #[must_use]
    pub fn with_sections(self, sections: Vec<SectionReport>) -> Self {
        Self { sections, ..self }
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
                base_offset: Hex(rule.base_offset),
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
    const NOT_SUPPORTED: &'static str = "none";
}

impl From<&Candidate<'_>> for ProtocolReport {
    fn from(candidate: &Candidate<'_>) -> Self {
        let (support, reason) = match &candidate.support {
            Ok(support) => (support.level.name(), support.reason.to_owned()),
            Err(reason) => (Self::NOT_SUPPORTED, reason.to_string()),
        };
        Self {
            name: candidate.protocol.name().to_owned(),
            support: support.to_owned(),
            reason,
            other_arch: matches!(candidate.support, Err(IncompatibleImage::Arch { .. })),
        }
    }
}

/// The report as text.
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
            row("EFI stub", &"yes: the file is also an EFI application")?;
        }
        for segment in &self.segments {
            row(
                "segment",
                &format_args!(
                    "{}..{}: {} bytes at offset {}, {} bytes zeroed",
                    segment.start, segment.end, segment.file_len, segment.offset, segment.zero_len
                ),
            )?;
        }
        row(
            "extent",
            &format_args!("{}..{}", self.extent_start, self.extent_end),
        )?;
        row("placement", &self.placement)?;
        for entry in &self.entries {
            row("entry", &format_args!("{} ({})", entry.address, entry.abi))?;
        }
        if let Some(payload) = &self.payload {
            row("payload", payload)?;
        }
        for layer in &self.layers {
            match layer.format.as_ref().zip(layer.arch.as_ref()) {
                Some((format, arch)) => row("inside", &format_args!("{format}, {arch}: {layer}"))?,
                None => row("inside", layer)?,
            }
        }
        for section in &self.sections {
            row("section", section)?;
        }
        for protocol in self.protocols.iter().filter(|protocol| !protocol.other_arch) {
            if self.default_protocol.as_ref() == Some(&protocol.name) {
                let ProtocolReport {
                    name,
                    support,
                    reason,
                    ..
                } = protocol;
                row(
                    "protocol",
                    &format_args!("{name}: the default, {support}: {reason}"),
                )?;
            } else {
                row("protocol", protocol)?;
            }
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
            Some(size) => write!(f, "page size {} KiB", size >> 10)?,
            None => write!(f, "page size unspecified")?,
        }
        f.write_str(if self.placed_anywhere {
            ", placed anywhere in RAM"
        } else {
            ", placed near the start of RAM"
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
                base_offset,
                min,
                max,
                preferred,
            } => {
                write!(f, "relocatable, aligned to {align}")?;
                if align_offset.0 != 0 {
                    write!(f, " plus {align_offset}")?;
                }
                if base_offset.0 != 0 {
                    write!(f, ", {base_offset} above an address in RAM")?;
                }
                write!(f, ", within {min}..{max}")?;
                match preferred {
                    Some(preferred) => write!(f, ", preferred {preferred}"),
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
            Some(len) => write!(f, ", {len} bytes uncompressed"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for ProtocolReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            support,
            reason,
            ..
        } = self;
        match support.as_str() {
            Self::NOT_SUPPORTED => write!(f, "{name}: not supported: {reason}"),
            "contradicted" => write!(f, "{name}: only with `--protocol {name}`: {reason}"),
            support => write!(f, "{name}: {support}: {reason}"),
        }
    }
}
