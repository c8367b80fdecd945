//! The bzImage parser.

use alloc::string::String;
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
use crate::layout::{Layout, compute_layout, is_syssize_complete, syssize};
use crate::raw::{self, KernelInfoHeader};
use crate::warning::Warning;

/// Name of the format.
pub(crate) const NAME: &str = "bzimage";

/// Maximum length of the kernel version string, with its NUL. The string of Linux has at most three words of 64 bytes and
/// the name of the build host.
const VERSION_STRING_MAX: u64 = 512;

/// Number of bytes that [`Codec::detect`] needs.
const CODEC_MAGIC_LEN: usize = 6;

/// Parses a bzImage to a format-neutral image. `Ok(None)` if the source does not have the magic number "HdrS" at 0x202.
///
/// [`BzImage::parse`] gives access to the header as well. A kernel with a boot protocol before 2.00 does not have that
/// number and is not recognised.
///
/// # Errors
///
/// [`BzImageError`] if the source has the magic number but is malformed or unsupported, or if it cannot be read.
pub fn parse(source: &dyn ByteSource) -> Result<Option<KernelImage>, BzImageError> {
    Ok(BzImage::parse(source)?.map(BzImage::into_image))
}

/// Validated bzImage: the contents of its header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BzImage {
    metadata: SetupHeaderMetadata,
    header_end: u64,
    real_mode_code: SourceRange,
    protected_mode_code: SourceRange,
    kernel_info: Option<KernelInfo>,
    warnings: Vec<Warning>,
    image: KernelImage,
}

/// `kernel_info` structure (protocol 2.15 and later; boot.rst, "The kernel_info").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct KernelInfo {
    /// File range of the fixed-size data.
    pub fixed: SourceRange,
    /// File range of the variable-size data, which follows the fixed-size data. May be empty.
    pub variable: SourceRange,
    /// `setup_type_max`: highest `setup_data` type that the kernel supports; `None` if `size` excludes the field.
    pub setup_type_max: Option<u32>,
}

impl BzImage {
    /// Parses and validates a bzImage. `Ok(None)` if the source does not have the magic number "HdrS" at 0x202.
    ///
    /// # Errors
    ///
    /// As [`parse()`].
    pub fn parse(source: &dyn ByteSource) -> Result<Option<Self>, BzImageError> {
        let source = SizedSource::new(source)?;
        match read_header(&source)? {
            Some(header) => Self::with_header(&source, &header).map(Some),
            None => Ok(None),
        }
    }

    fn with_header(source: &SizedSource<'_>, header: &SetupHeader) -> Result<Self, BzImageError> {
        let mut warnings = Vec::new();
        let real_mode_code = find_real_mode_code(source, header)?;
        let (metadata, header_end) = check_header(header, &mut warnings)?;
        if real_mode_code.len() > raw::MAX_REAL_MODE_CODE_LEN {
            warnings.push(Warning::LargeRealModeCode(real_mode_code.len()));
        }
        let (code, code_len) =
            find_protected_mode_code(source, &metadata, real_mode_code.end(), &mut warnings)?;
        let layout = compute_layout(&metadata, code_len, code.len(), &mut warnings)?;
        let kernel_version = read_version_string(source, header, real_mode_code, &mut warnings)?;
        let payload = find_payload(source, &metadata, code, &mut warnings)?;
        let kernel_info = read_kernel_info(source, &metadata, code, &mut warnings)?;

        let mut builder = ImageBuilder::new(NAME, Arch::X86_64, Endian::Little, source.len())
            .metadata(metadata)
            .efi_stub(has_pe_header(source)?);
        builder = add_layout(builder, &layout, real_mode_code, code, code_len)?;
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
            builder = builder.warning(*warning);
        }
        Ok(Self {
            metadata,
            header_end,
            real_mode_code,
            protected_mode_code: code,
            kernel_info,
            warnings,
            image: builder.build().map_err(Malformed::Image)?,
        })
    }

    /// Boot protocol version.
    #[must_use]
    pub fn protocol_version(&self) -> BootProtocolVersion {
        self.metadata.version()
    }

    /// Setup header: its accessors return the fields that exist by version and length.
    #[must_use]
    pub fn setup_header(&self) -> &SetupHeaderMetadata {
        &self.metadata
    }

    /// File offset of the end of the setup header, by its length byte. Bytes beyond 0x26c, the end of the last field of
    /// protocol 2.15, have no meaning.
    #[must_use]
    pub fn setup_header_end(&self) -> u64 {
        self.header_end
    }

    /// File range of the real-mode code: the boot sector and the setup code.
    #[must_use]
    pub fn real_mode_code(&self) -> SourceRange {
        self.real_mode_code
    }

    /// File range of the protected-mode code. The last 16-byte paragraph may be incomplete.
    #[must_use]
    pub fn protected_mode_code(&self) -> SourceRange {
        self.protected_mode_code
    }

    /// True if the file is also a PE program that UEFI firmware can start (the EFI stub).
    #[must_use]
    pub fn has_efi_stub(&self) -> bool {
        self.image.has_efi_stub()
    }

    /// Version string of the kernel, with `?` in place of bytes that are not printable ASCII; `None` if `kernel_version` is
    /// zero or does not point to a string.
    #[must_use]
    pub fn kernel_version(&self) -> Option<&str> {
        self.image.kernel_version()
    }

    /// Compressed kernel, from `payload_offset` and `payload_length`; `None` before protocol 2.08, or if one of them is
    /// zero.
    ///
    /// The last four bytes are the length of the decompressed kernel. They are part of the stream with gzip; with other
    /// codecs, the Linux build has appended them.
    #[must_use]
    pub fn payload(&self) -> Option<&Payload> {
        self.image.payload()
    }

    /// `kernel_info`; `None` before protocol 2.15, or if `kernel_info_offset` is zero.
    #[must_use]
    pub fn kernel_info(&self) -> Option<&KernelInfo> {
        self.kernel_info.as_ref()
    }

    /// Warnings of the parser; [`KernelImage::warnings`] has the same.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Format-neutral image.
    #[must_use]
    pub fn image(&self) -> &KernelImage {
        &self.image
    }

    /// Converts to the format-neutral image.
    #[must_use]
    pub fn into_image(self) -> KernelImage {
        self.image
    }
}

/// Setup header, or `None` without the magic number. Bytes beyond the end of the source are zero.
fn read_header(source: &SizedSource<'_>) -> Result<Option<SetupHeader>, BzImageError> {
    let mut header = SetupHeader::new_zeroed();
    source.read_prefix_at(SETUP_HEADER_OFFSET, header.as_mut_bytes())?;
    Ok((header.header == raw::HEADER_MAGIC).then_some(header))
}

/// File range of the boot sector and the setup code.
fn find_real_mode_code(source: &SizedSource<'_>, header: &SetupHeader) -> Result<SourceRange, Malformed> {
    let boot_flag = header.boot_flag.get();
    if boot_flag != raw::BOOT_FLAG {
        return Err(Malformed::BootFlag(boot_flag));
    }
    let sects = match header.setup_sects {
        0 => raw::DEFAULT_SETUP_SECTS,
        sects => sects,
    };
    let len = u64::from(sects).saturating_add(1).saturating_mul(raw::SECTOR_LEN);
    if source.len() < len {
        return Err(Malformed::RealModeCodeTruncated {
            file_len: source.len(),
            expected: len,
        });
    }
    Ok(SourceRange::whole(len))
}

/// Checks the version, length and load flags of the header. Returns the header and its end in the file.
fn check_header(
    header: &SetupHeader,
    warnings: &mut Vec<Warning>,
) -> Result<(SetupHeaderMetadata, u64), BzImageError> {
    let version = BootProtocolVersion(header.version.get());
    if !(0x200..=0x2ff).contains(&version.0) {
        return Err(Unsupported::ProtocolVersion(version).into());
    }
    if version.0 > 0x20f {
        warnings.push(Warning::NewerProtocol(version));
    }
    let end = match header.jump {
        [raw::SHORT_JUMP, len @ 0..=0x7f] => raw::JUMP_END.saturating_add(len.into()),
        found => return Err(Malformed::JumpInstruction { found }.into()),
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

/// File range of the protected-mode code, and its length in memory.
///
/// `syssize` is rounded up to 16 bytes, and some builds do not pad the file. So the last paragraph may be incomplete.
fn find_protected_mode_code(
    source: &SizedSource<'_>,
    metadata: &SetupHeaderMetadata,
    offset: u64,
    warnings: &mut Vec<Warning>,
) -> Result<(SourceRange, u64), BzImageError> {
    let found = source.len().saturating_sub(offset);
    let expected = u64::from(syssize(metadata)).saturating_mul(raw::PARAGRAPH_LEN);
    if expected.saturating_sub(found) >= raw::PARAGRAPH_LEN {
        return Err(Malformed::ProtectedModeCodeTruncated { expected, found }.into());
    }
    let len = if is_syssize_complete(metadata) {
        if expected == 0 {
            return Err(Malformed::ZeroSyssize.into());
        }
        expected
    } else {
        if found == 0 {
            return Err(Malformed::NoProtectedModeCode { offset }.into());
        }
        warnings.push(Warning::UnknownCodeLength);
        found
    };
    Ok((source.range(offset, len.min(found))?, len))
}

/// Adds the segments, the extent and the placement rule.
fn add_layout(
    builder: ImageBuilder,
    layout: &Layout,
    real_mode_code: SourceRange,
    code: SourceRange,
    code_len: u64,
) -> Result<ImageBuilder, Malformed> {
    let at = |start, len| GuestRange::new(start, len).ok_or(Malformed::AddressOverflow { start, len });
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
        Layout::RealMode { setup, load } => builder
            .segment(real_mode_code, at(setup, real_mode_code.len())?)
            .segment(code, at(load, code_len)?)
            .placement(Placement::Fixed),
    })
}

/// Version string that `kernel_version` points to.
fn read_version_string(
    source: &SizedSource<'_>,
    header: &SetupHeader,
    real_mode_code: SourceRange,
    warnings: &mut Vec<Warning>,
) -> Result<Option<String>, BzImageError> {
    let pointer = u64::from(header.kernel_version.get());
    if pointer == 0 {
        return Ok(None);
    }
    let offset = pointer.saturating_add(raw::KERNEL_VERSION_BASE);
    let len = real_mode_code
        .end()
        .saturating_sub(offset)
        .min(VERSION_STRING_MAX);
    let bytes = match usize::try_from(len) {
        Ok(len) if len > 0 => source.read_vec(offset, len)?,
        _ => Vec::new(),
    };
    let Some(end) = bytes.iter().position(|byte| *byte == 0) else {
        warnings.push(Warning::InvalidVersionString(offset));
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

/// Payload, its codec and its decompressed length.
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
    let Some(range) = subrange(code, offset, len) else {
        let code_len = code.len();
        warnings.push(Warning::PayloadOutsideCode {
            offset,
            len,
            code_len,
        });
        return Ok(None);
    };
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

/// Decompressed length of the payload: its last 32 bits, written by gzip itself or appended by the Linux build.
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

/// Reads and checks `kernel_info`. The kernel starts without it, so errors in it are warnings.
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
    match parse_kernel_info(source, offset, code)? {
        Ok(info) => Ok(Some(info)),
        Err(warning) => {
            warnings.push(warning);
            Ok(None)
        }
    }
}

/// Reads the `kernel_info` at `offset` of the code. The inner error is a violation of the format.
fn parse_kernel_info(
    source: &SizedSource<'_>,
    offset: u64,
    code: SourceRange,
) -> Result<Result<KernelInfo, Warning>, BzImageError> {
    let outside = |len: u64| Warning::KernelInfoOutsideCode {
        offset,
        len,
        code_len: code.len(),
    };
    let Some(first) = subrange(code, offset, raw::KERNEL_INFO_MIN_LEN.into()) else {
        return Ok(Err(outside(raw::KERNEL_INFO_MIN_LEN.into())));
    };
    let start = first.offset();
    let mut info = KernelInfoHeader::new_zeroed();
    // The structure may end with the file before `setup_type_max`, which is used only if `size` includes it.
    source.read_prefix_at(start, info.as_mut_bytes())?;
    if info.header != raw::KERNEL_INFO_MAGIC {
        return Ok(Err(Warning::KernelInfoMagic {
            offset: start,
            found: info.header,
        }));
    }
    let (size, size_total) = (info.size.get(), info.size_total.get());
    if size < raw::KERNEL_INFO_MIN_LEN || size_total < size {
        return Ok(Err(Warning::KernelInfoSize {
            offset: start,
            size,
            size_total,
        }));
    }
    let ranges = subrange(code, offset, size_total.into()).zip(subrange(code, offset, size.into()));
    let Some((whole, fixed)) = ranges else {
        return Ok(Err(outside(size_total.into())));
    };
    let has_setup_type_max = fixed.len() >= arith::to_u64(size_of::<KernelInfoHeader>());
    Ok(Ok(KernelInfo {
        fixed,
        variable: SourceRange::new(fixed.end(), whole.end().saturating_sub(fixed.end())).unwrap_or(whole),
        setup_type_max: has_setup_type_max.then(|| info.setup_type_max.get()),
    }))
}

/// Subrange of `len` bytes at `offset` of `whole`; `None` if it is not inside.
fn subrange(whole: SourceRange, offset: u64, len: u64) -> Option<SourceRange> {
    let part = SourceRange::new(whole.offset().checked_add(offset)?, len)?;
    (part.end() <= whole.end()).then_some(part)
}

/// True if the file has a DOS header that points to a PE signature.
fn has_pe_header(source: &SizedSource<'_>) -> Result<bool, BzImageError> {
    let magic: [u8; 2] = source.read(0)?;
    let offset: U32 = source.read(0x3c)?;
    let mut signature = [0; 4];
    source.read_prefix_at(offset.get().into(), &mut signature)?;
    Ok(magic == *b"MZ" && signature == *b"PE\0\0")
}
