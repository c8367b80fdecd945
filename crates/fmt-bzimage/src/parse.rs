//! From bytes to a validated bzImage.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use boot_core::{
    Arch, ByteSource, Codec, Endian, GuestRange, ImageBuilder, KernelImage, Payload, Placement, SizedSource,
    SourceRange, arith,
};
use boot_linux::x86::{
    BootProtocolVersion, SETUP_HEADER_OFFSET, SetupHeader, SetupHeaderMetadata, loadflags,
};
use zerocopy::little_endian::U32;
use zerocopy::{FromZeros, IntoBytes};

use crate::error::{BzImageError, Malformed, Unsupported};
use crate::layout::{Layout, is_syssize_whole, layout, syssize};
use crate::plugin::BzImageFormat;
use crate::raw::{self, KernelInfoHeader};
use crate::warning::Warning;

/// The longest kernel version string that is read. A kernel's own has at most three words of 64 bytes and a
/// build host's name.
const VERSION_STRING_MAX: u64 = 512;

/// How many bytes [`Codec::detect`] looks at.
const CODEC_MAGIC_LEN: usize = 6;

/// Parses a bzImage. `Ok(None)` means that the source is something else: it has no "HdrS" at 0x202.
///
/// A Linux kernel from before protocol 2.00 has no magic number of its own, only the mark of every boot sector, so it is
/// "something else", too.
///
/// # Errors
///
/// [`BzImageError`] where the source has the magic number, but is malformed, not supported or cannot be read.
pub fn parse(source: &dyn ByteSource) -> Result<Option<KernelImage>, BzImageError> {
    Ok(BzImage::read(source)?.map(BzImage::into_image))
}

/// A validated bzImage: everything its header says, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BzImage {
    metadata: SetupHeaderMetadata,
    header_end: u64,
    setup: SourceRange,
    code: SourceRange,
    is_pe: bool,
    kernel_info: Option<KernelInfo>,
    warnings: Vec<Warning>,
    image: KernelImage,
}

/// What `kernel_info` says (2.15 on; boot.rst, "The kernel_info").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KernelInfo {
    /// The fixed part.
    pub fixed: SourceRange,
    /// The variable part, which follows the fixed one. May be empty.
    pub variable: SourceRange,
    /// The highest type of `setup_data` that the kernel knows, where the fixed part is long enough to say so.
    pub setup_type_max: Option<u32>,
}

impl BzImage {
    /// Reads and validates a bzImage. `Ok(None)` means that the source is something else.
    ///
    /// # Errors
    ///
    /// As [`parse`].
    pub fn read(source: &dyn ByteSource) -> Result<Option<Self>, BzImageError> {
        let source = SizedSource::new(source)?;
        match read_header(&source)? {
            Some(header) => Self::with_header(&source, &header).map(Some),
            None => Ok(None),
        }
    }

    fn with_header(source: &SizedSource<'_>, header: &SetupHeader) -> Result<Self, BzImageError> {
        let mut warnings = Vec::new();
        let setup = check_setup(source, header)?;
        let (metadata, header_end) = check_header(header, &mut warnings)?;
        if setup.len() > raw::MAX_SETUP_LEN {
            warnings.push(Warning::LongSetup(setup.len()));
        }
        let (code, code_len) = find_code(source, &metadata, setup.end(), &mut warnings)?;
        let layout = layout(&metadata, code_len, code.len(), &mut warnings)?;
        let kernel_version = read_version_string(source, header, setup, &mut warnings)?;
        let payload = find_payload(source, &metadata, code, &mut warnings)?;
        let kernel_info = read_kernel_info(source, &metadata, code, &mut warnings)?;

        let is_pe = is_pe(source)?;
        let mut builder = ImageBuilder::new(BzImageFormat::NAME, Arch::X86_64, Endian::Little, source.len())
            .metadata(metadata)
            .efi_stub(is_pe);
        builder = place(builder, &layout, setup, code, code_len)?;
        for (abi, addr) in layout.entries() {
            builder = builder.entry(abi, addr);
        }
        if let Some(version) = kernel_version {
            builder = builder.kernel_version(version);
        }
        if let Some(payload) = payload {
            builder = builder.payload(payload);
        }
        for warning in &warnings {
            builder = builder.warning(warning.to_string());
        }
        Ok(Self {
            metadata,
            header_end,
            setup,
            code,
            is_pe,
            kernel_info,
            warnings,
            image: builder.build().map_err(Malformed::Image)?,
        })
    }

    /// The boot protocol version.
    #[must_use]
    pub fn version(&self) -> BootProtocolVersion {
        self.metadata.version()
    }

    /// The setup header, and which of its fields exist.
    #[must_use]
    pub fn setup_header(&self) -> &SetupHeaderMetadata {
        &self.metadata
    }

    /// The end of the setup header in the file, by its own length byte. What it holds beyond 0x26c, where the last
    /// field of 2.15 ends, has no meaning.
    #[must_use]
    pub fn header_end(&self) -> u64 {
        self.header_end
    }

    /// Boot sector and real-mode setup code.
    #[must_use]
    pub fn setup(&self) -> SourceRange {
        self.setup
    }

    /// The protected-mode code, as far as the file holds it: the last of its 16-byte paragraphs may be cut.
    #[must_use]
    pub fn code(&self) -> SourceRange {
        self.code
    }

    /// Whether the file is also a PE program that UEFI firmware can start (the EFI stub).
    #[must_use]
    pub fn is_pe(&self) -> bool {
        self.is_pe
    }

    /// The kernel's version string; bytes of it that are not printable ASCII became `?`.
    #[must_use]
    pub fn kernel_version(&self) -> Option<&str> {
        self.image.kernel_version()
    }

    /// The compressed kernel inside, by `payload_offset` and `payload_length`.
    ///
    /// For every codec but gzip, whose own trailer it is, the last four bytes are a length that the kernel's build
    /// appended and not part of the compressed stream.
    #[must_use]
    pub fn payload(&self) -> Option<&Payload> {
        self.image.payload()
    }

    /// `kernel_info`.
    #[must_use]
    pub fn kernel_info(&self) -> Option<&KernelInfo> {
        self.kernel_info.as_ref()
    }

    /// What is strange about the image without being wrong. The image's warnings are these in words.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The format-neutral image.
    #[must_use]
    pub fn image(&self) -> &KernelImage {
        &self.image
    }

    /// The format-neutral image.
    #[must_use]
    pub fn into_image(self) -> KernelImage {
        self.image
    }
}

/// The setup header, or `None` where there is none. Bytes beyond the end of the source are zero.
fn read_header(source: &SizedSource<'_>) -> Result<Option<SetupHeader>, BzImageError> {
    let mut header = SetupHeader::new_zeroed();
    source.read_prefix_at(SETUP_HEADER_OFFSET, header.as_mut_bytes())?;
    Ok((header.header == raw::HEADER_MAGIC).then_some(header))
}

/// Boot sector and setup code, which are in the file as a whole.
fn check_setup(source: &SizedSource<'_>, header: &SetupHeader) -> Result<SourceRange, Malformed> {
    let boot_flag = header.boot_flag.get();
    if boot_flag != raw::BOOT_FLAG {
        return Err(Malformed::BootFlag(boot_flag));
    }
    let sects = match header.setup_sects {
        0 => raw::DEFAULT_SETUP_SECTS,
        sects => sects,
    };
    let need = u64::from(sects).saturating_add(1).saturating_mul(raw::SECTOR_LEN);
    if source.len() < need {
        return Err(Malformed::SetupCut {
            len: source.len(),
            need,
        });
    }
    Ok(SourceRange::whole(need))
}

/// Version, length and kind of the header.
fn check_header(
    header: &SetupHeader,
    warnings: &mut Vec<Warning>,
) -> Result<(SetupHeaderMetadata, u64), BzImageError> {
    let version = BootProtocolVersion(header.version.get());
    if !(0x200..=0x2ff).contains(&version.0) {
        return Err(Unsupported::Version(version).into());
    }
    if version.0 > 0x20f {
        warnings.push(Warning::NewerProtocol(version));
    }
    let end = match header.jump {
        [raw::SHORT_JUMP, len @ 0..=0x7f] => raw::JUMP_END.saturating_add(len.into()),
        found => return Err(Malformed::Jump { found }.into()),
    };
    if end < raw::HEADER_END_2_00 {
        return Err(Malformed::HeaderTooShort { end }.into());
    }
    let expected = raw::header_end(version);
    if end < expected {
        warnings.push(Warning::ShortHeader { end, expected });
    }
    if header.loadflags & loadflags::LOADED_HIGH == 0 {
        let loadflags = header.loadflags;
        return Err(Unsupported::ZImage { loadflags }.into());
    }
    let len = usize::try_from(end.saturating_sub(SETUP_HEADER_OFFSET)).unwrap_or(usize::MAX);
    Ok((SetupHeaderMetadata::new(header, len), end))
}

/// The protected-mode code, in the file and its length in memory.
///
/// Code that is no multiple of 16 bytes long is announced rounded up, and some builds do not pad the file: its last
/// paragraph may be cut.
fn find_code(
    source: &SizedSource<'_>,
    metadata: &SetupHeaderMetadata,
    offset: u64,
    warnings: &mut Vec<Warning>,
) -> Result<(SourceRange, u64), BzImageError> {
    let found = source.len().saturating_sub(offset);
    let need = u64::from(syssize(metadata)).saturating_mul(raw::PARAGRAPH_LEN);
    if need.saturating_sub(found) >= raw::PARAGRAPH_LEN {
        return Err(Malformed::CodeCut { need, found }.into());
    }
    let len = if is_syssize_whole(metadata) {
        if need == 0 {
            return Err(Malformed::NoSyssize.into());
        }
        need
    } else {
        if found == 0 {
            return Err(Malformed::NoCode { code_offset: offset }.into());
        }
        warnings.push(Warning::UnknownCodeLength);
        found
    };
    Ok((source.range(offset, len.min(found))?, len))
}

/// Adds the segments, the extent and the placement rule.
fn place(
    builder: ImageBuilder,
    layout: &Layout,
    setup: SourceRange,
    code: SourceRange,
    code_len: u64,
) -> Result<ImageBuilder, Malformed> {
    let at = |start, len| GuestRange::new(start, len).ok_or(Malformed::Memory { start, need: len });
    Ok(match *layout {
        Layout::Kernel {
            load,
            extent,
            placement,
            ..
        } => builder
            .segment(code, at(load, code_len)?)
            .extent(extent)
            .placement(placement),
        Layout::RealMode { setup: base, load } => builder
            .segment(setup, at(base, setup.len())?)
            .segment(code, at(load, code_len)?)
            .placement(Placement::Fixed),
    })
}

fn read_version_string(
    source: &SizedSource<'_>,
    header: &SetupHeader,
    setup: SourceRange,
    warnings: &mut Vec<Warning>,
) -> Result<Option<String>, BzImageError> {
    let pointer = u64::from(header.kernel_version.get());
    if pointer == 0 {
        return Ok(None);
    }
    let offset = pointer.saturating_add(raw::KERNEL_VERSION_BASE);
    let len = setup.end().saturating_sub(offset).min(VERSION_STRING_MAX);
    let bytes = match usize::try_from(len) {
        Ok(len) if len > 0 => source.read_vec(offset, len)?,
        _ => Vec::new(),
    };
    let Some(end) = bytes.iter().position(|byte| *byte == 0) else {
        warnings.push(Warning::BadVersionString(offset));
        return Ok(None);
    };
    let text: String = bytes
        .iter()
        .take(end)
        .map(|byte| char::from(*byte))
        .map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' })
        .collect();
    Ok((!text.is_empty()).then_some(text))
}

fn find_payload(
    source: &SizedSource<'_>,
    metadata: &SetupHeaderMetadata,
    code: SourceRange,
    warnings: &mut Vec<Warning>,
) -> Result<Option<Payload>, BzImageError> {
    let (offset, len) = match metadata.payload() {
        None | Some((0, _)) => return Ok(None),
        Some((_, 0)) => {
            warnings.push(Warning::EmptyPayload);
            return Ok(None);
        }
        Some(payload) => payload,
    };
    let range = part_of(code, offset, len).ok_or(Malformed::Payload {
        offset,
        len,
        code_len: code.len(),
    })?;
    let mut magic = [0; CODEC_MAGIC_LEN];
    let magic = match usize::try_from(len) {
        Ok(len) if len < CODEC_MAGIC_LEN => magic.get_mut(..len).unwrap_or_default(),
        _ => &mut magic,
    };
    source.read_exact_at(range.offset(), magic)?;
    let codec = Codec::detect(magic);
    let unpacked_len = unpacked_len(source, codec, range)?;
    let payload = Payload::new(range);
    Ok(Some(payload.with_codec(codec).with_unpacked_len(unpacked_len)))
}

/// The length of the unpacked payload. The kernel's build appends it, as 32 bits, to what the compressor wrote; gzip
/// does so itself.
fn unpacked_len(
    source: &SizedSource<'_>,
    codec: Option<Codec>,
    range: SourceRange,
) -> Result<Option<u64>, BzImageError> {
    match codec {
        None => Ok(None),
        Some(Codec::Stored) => Ok(Some(range.len())),
        Some(_) => match range.len().checked_sub(arith::to_u64(size_of::<U32>())) {
            Some(last) => {
                let len: U32 = source.read(range.offset().saturating_add(last))?;
                Ok(Some(len.get().into()))
            }
            None => Ok(None),
        },
    }
}

fn read_kernel_info(
    source: &SizedSource<'_>,
    metadata: &SetupHeaderMetadata,
    code: SourceRange,
    warnings: &mut Vec<Warning>,
) -> Result<Option<KernelInfo>, BzImageError> {
    let offset = match metadata.kernel_info_offset() {
        None => return Ok(None),
        Some(0) => {
            warnings.push(Warning::NoKernelInfo);
            return Ok(None);
        }
        Some(offset) => offset,
    };
    let inside = |len: u64| {
        part_of(code, offset, len).ok_or(Malformed::KernelInfoOutside {
            offset,
            len,
            code_len: code.len(),
        })
    };
    let start = inside(raw::KERNEL_INFO_MIN_LEN.into())?.offset();
    let mut info = KernelInfoHeader::new_zeroed();
    // The shortest structure may be the last in the file; `size` tells whether what was read beyond it counts.
    source.read_prefix_at(start, info.as_mut_bytes())?;
    if info.header != raw::KERNEL_INFO_MAGIC {
        return Err(Malformed::KernelInfoMagic {
            offset: start,
            found: info.header,
        }
        .into());
    }
    let (size, size_total) = (info.size.get(), info.size_total.get());
    if size < raw::KERNEL_INFO_MIN_LEN || size_total < size {
        return Err(Malformed::KernelInfoSize {
            offset: start,
            size,
            size_total,
        }
        .into());
    }
    let whole = inside(size_total.into())?;
    let fixed = inside(size.into())?;
    let has_setup_type_max = fixed.len() >= arith::to_u64(size_of::<KernelInfoHeader>());
    Ok(Some(KernelInfo {
        fixed,
        variable: SourceRange::new(fixed.end(), whole.end().saturating_sub(fixed.end())).unwrap_or(whole),
        setup_type_max: has_setup_type_max.then(|| info.setup_type_max.get()),
    }))
}

/// The `len` bytes at `offset` of `whole`, where it has them.
fn part_of(whole: SourceRange, offset: u64, len: u64) -> Option<SourceRange> {
    let part = SourceRange::new(whole.offset().checked_add(offset)?, len)?;
    (part.end() <= whole.end()).then_some(part)
}

/// Whether the file begins like a PE program: `MZ`, and `PE\0\0` where the DOS header's last field points.
fn is_pe(source: &SizedSource<'_>) -> Result<bool, BzImageError> {
    let magic: [u8; 2] = source.read(0)?;
    let offset: U32 = source.read(0x3c)?;
    let mut signature = [0; 4];
    source.read_prefix_at(offset.get().into(), &mut signature)?;
    Ok(magic == *b"MZ" && signature == *b"PE\0\0")
}
