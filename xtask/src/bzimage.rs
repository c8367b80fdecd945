//! Wraps a guest's ELF into a bzImage, as the kernel's build wraps a vmlinux.
//!
//! ```text
//! offset                what
//! 0x000                 boot sector, zero except for
//! 0x1f1                   the setup header, version 2.15
//! 0x26c                   real-mode code: prints that the 32-bit or 64-bit protocol is needed, and halts
//! 0x300                   the version string
//! (setup_sects+1)*512   the protected-mode code: the guest's memory, byte for byte, zeros included;
//!                         its first byte is the 32-bit entry, 0x200 further is the 64-bit one
//!   + kernel_info_offset  kernel_info, with the chunks described at `kernel_info`
//! syssize*16 - 4          CRC-32 over all before it
//! ```
//!
//! Fields and offsets follow `Documentation/arch/x86/boot.rst`. There is no compressed payload: the guest is the kernel.

use std::ops::Range;

use crate::guest_elf::{ElfTarget, FlatImage, GuestElf, GuestElfError};

/// Fields of the setup header that differ between the bzImages.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The string that `kernel_version` points to.
    pub(crate) version: String,
    /// `relocatable_kernel`. Without it, the kernel is loaded at 0x100000, and `pref_address` is that as well.
    pub(crate) relocatable: bool,
    /// `XLF_KERNEL_64`: there is a 64-bit entry.
    pub(crate) entry_64: bool,
    /// `XLF_CAN_BE_LOADED_ABOVE_4G`.
    pub(crate) above_4g: bool,
    /// `kernel_alignment`, a power of two of at least 4 KiB.
    pub(crate) alignment: u32,
    /// `cmdline_size`.
    pub(crate) cmdline_size: u32,
    /// `initrd_addr_max`.
    pub(crate) initrd_addr_max: u32,
    /// Bytes by which `init_size` exceeds the image.
    pub(crate) extra_memory: u32,
    /// `setup_sects`; 0 means 4, as boot.rst defines.
    pub(crate) setup_sects: u8,
}

impl Default for Options {
    /// The values of a distribution's kernel.
    fn default() -> Self {
        Self {
            version: "conformance guest".to_owned(),
            relocatable: true,
            entry_64: true,
            above_4g: true,
            alignment: 0x20_0000,
            cmdline_size: 2047,
            initrd_addr_max: 0x7fff_ffff,
            extra_memory: 0x10_0000,
            setup_sects: 27,
        }
    }
}

impl Options {
    /// A 32-bit kernel: no 64-bit entry, not loadable above 4 GiB.
    pub(crate) fn only_32_bit() -> Self {
        Self {
            entry_64: false,
            above_4g: false,
            ..Self::default()
        }
    }

    /// A kernel that runs at 0x100000 only.
    pub(crate) fn not_relocatable() -> Self {
        Self {
            relocatable: false,
            above_4g: false,
            ..Self::default()
        }
    }
}

/// Error of wrapping a guest into a bzImage.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum WrapError {
    /// The guest's ELF cannot be used.
    #[error(transparent)]
    Elf(#[from] GuestElfError),
    /// The 64-bit entry is not at the offset that boot.rst defines.
    #[error(
        "the ELF's entry point is {found:#x}; the 64-bit entry must be 0x200 bytes past the image's start, at {expected:#x}"
    )]
    Entry { found: u64, expected: u64 },
    /// The version string does not fit in the setup sectors.
    #[error("the version string ends at {end:#x}, past the {setup:#x} bytes of {sectors} setup sectors")]
    NoRoomForVersion { end: usize, setup: usize, sectors: u8 },
    /// A size exceeds the header's 32-bit fields.
    #[error("the image and its extra memory take {size:#x} bytes, more than a 32-bit field holds")]
    TooLarge { size: u64 },
    /// The alignment is not a power of two, or is less than a page.
    #[error("a kernel_alignment of {found:#x} is not a power of two of at least 4 KiB")]
    Alignment { found: u32 },
}

const SECTOR: usize = 512;
/// The setup header of version 2.15, as a range of file offsets.
const HEADER: Range<usize> = 0x1f1..0x26c;
const VERSION_STRING: usize = 0x300;
/// `kernel_version`: offset of the string, minus 0x200.
const VERSION_POINTER: u16 = 0x100;
/// Address of the protected-mode code where the header does not allow another one.
const DEFAULT_LOAD_ADDRESS: u32 = 0x10_0000;
/// `min_alignment`: a loader may place the guest at any page.
const MIN_ALIGNMENT: u8 = 12;
/// `SETUP_RNG_SEED`: the guest skips types that it does not handle, but cannot follow a `SETUP_INDIRECT`.
const SETUP_TYPE_MAX: u32 = 9;

const LOADED_HIGH: u8 = 1 << 0;
const XLF_KERNEL_64: u16 = 1 << 0;
const XLF_CAN_BE_LOADED_ABOVE_4G: u16 = 1 << 1;

/// Wraps the ELF64 `elf` into a bzImage.
///
/// # Errors
///
/// See [`WrapError`].
pub(crate) fn wrap(elf: &[u8], options: &Options) -> Result<Vec<u8>, WrapError> {
    let flat = GuestElf::parse(elf, ElfTarget::X86_64)?.flatten()?;
    if options.entry_64 && flat.entry != flat.base + 0x200 {
        return Err(WrapError::Entry {
            found: flat.entry,
            expected: flat.base + 0x200,
        });
    }
    if !options.alignment.is_power_of_two() || options.alignment < 1 << MIN_ALIGNMENT {
        return Err(WrapError::Alignment {
            found: options.alignment,
        });
    }
    let mut image = flat.bytes.clone();
    image.resize(image.len().next_multiple_of(16), 0);
    let info_offset = image.len();
    // kernel_info contains a copy of the header, and the header has the length of everything: this one is for its length.
    let blank = kernel_info(&[0; HEADER.end - HEADER.start], &flat);
    let checksum_offset = (info_offset + blank.len() + 4).next_multiple_of(16) - 4;
    let len = field(checksum_offset as u64 + 4)?;
    let header = Header {
        options,
        base: flat.base,
        paragraphs: len / 16,
        init_size: field(u64::from(len).next_multiple_of(0x1000) + u64::from(options.extra_memory))?,
        info_offset: field(info_offset as u64)?,
    };
    let mut file = setup(&header)?;
    image.extend_from_slice(&kernel_info(&file[HEADER], &flat));
    image.resize(checksum_offset, 0);
    file.append(&mut image);
    let checksum = crc32(&file);
    file.extend_from_slice(&checksum.to_le_bytes());
    Ok(file)
}

fn field(size: u64) -> Result<u32, WrapError> {
    u32::try_from(size).ok().ok_or(WrapError::TooLarge { size })
}

/// Values of the setup header.
struct Header<'a> {
    options: &'a Options,
    base: u64,
    paragraphs: u32,
    init_size: u32,
    info_offset: u32,
}

/// Builds the boot sector and the setup sectors.
fn setup(header: &Header<'_>) -> Result<Vec<u8>, WrapError> {
    let options = header.options;
    let sectors = if options.setup_sects == 0 {
        4
    } else {
        options.setup_sects
    };
    let mut setup = vec![0; (usize::from(sectors) + 1) * SECTOR];
    let end = VERSION_STRING + options.version.len() + 1;
    if end > setup.len() {
        return Err(WrapError::NoRoomForVersion {
            end,
            setup: setup.len(),
            sectors,
        });
    }
    let flag = |set: bool, flag: u16| if set { flag } else { 0 };
    let xloadflags =
        flag(options.entry_64, XLF_KERNEL_64) | flag(options.above_4g, XLF_CAN_BE_LOADED_ABOVE_4G);
    let pref_address = if options.relocatable {
        header.base
    } else {
        DEFAULT_LOAD_ADDRESS.into()
    };
    let jump = u8::try_from(HEADER.end - 0x202).unwrap_or(u8::MAX);

    let mut put = |offset: usize, bytes: &[u8]| setup[offset..offset + bytes.len()].copy_from_slice(bytes);
    put(0x1f1, &[options.setup_sects]);
    put(0x1f4, &header.paragraphs.to_le_bytes());
    put(0x1fa, &0xffff_u16.to_le_bytes()); // vid_mode: normal
    put(0x1fe, &0xaa55_u16.to_le_bytes());
    put(0x200, &[0xeb, jump]);
    put(0x202, b"HdrS");
    put(0x206, &0x020f_u16.to_le_bytes());
    put(0x20c, &0x1000_u16.to_le_bytes()); // start_sys_seg
    put(0x20e, &VERSION_POINTER.to_le_bytes());
    put(0x211, &[LOADED_HIGH]);
    put(0x212, &0x8000_u16.to_le_bytes()); // setup_move_size
    put(0x214, &DEFAULT_LOAD_ADDRESS.to_le_bytes());
    put(0x22c, &options.initrd_addr_max.to_le_bytes());
    put(0x230, &options.alignment.to_le_bytes());
    put(0x234, &[u8::from(options.relocatable), MIN_ALIGNMENT]);
    put(0x236, &xloadflags.to_le_bytes());
    put(0x238, &options.cmdline_size.to_le_bytes());
    put(0x258, &pref_address.to_le_bytes());
    put(0x260, &header.init_size.to_le_bytes());
    put(0x268, &header.info_offset.to_le_bytes());
    put(HEADER.end, &REAL_MODE_CODE);
    put(VERSION_STRING, options.version.as_bytes());
    Ok(setup)
}

/// Runs at segment:0x6c of the setup, where cs is the segment of offset 0x200. Prints [`REAL_MODE_TEXT`], which follows
/// the code, through the BIOS, and halts.
const REAL_MODE_CODE: [u8; 26 + REAL_MODE_TEXT.len()] = {
    let [text_low, text_high] = REAL_MODE_TEXT_OFFSET.to_le_bytes();
    let code = [
        0xfc, // cld
        0x8c, 0xc8, // mov ax, cs
        0x8e, 0xd8, // mov ds, ax
        0xbe, text_low, text_high, // mov si, text
        0xac,      // next: lodsb
        0x84, 0xc0, // test al, al
        0x74, 0x09, // jz halt
        0xb4, 0x0e, // mov ah, 0x0e: teletype output
        0xbb, 0x07, 0x00, // mov bx, 7: page 0, grey
        0xcd, 0x10, // int 0x10
        0xeb, 0xf2, // jmp next
        0xfa, // halt: cli
        0xf4, // hlt
        0xeb, 0xfc, // jmp halt
    ];
    let mut all = [0; 26 + REAL_MODE_TEXT.len()];
    let mut at = 0;
    while at < all.len() {
        all[at] = if at < code.len() {
            code[at]
        } else {
            REAL_MODE_TEXT[at - code.len()]
        };
        at += 1;
    }
    all
};
/// Offset from cs:0, which is file offset 0x200: after the header and 26 bytes of code.
const REAL_MODE_TEXT_OFFSET: u16 = 0x86;
const REAL_MODE_TEXT: &[u8] =
    b"This guest has no real-mode code: use the 32-bit or 64-bit boot protocol.\r\n\0";

/// The `kernel_info`, with two chunks of variable length for the guest:
///
/// - `HdrC`: the setup header as it is in the file, bytes 0x1f1 to 0x26c, to compare with the zero page's;
/// - `RoSg`: for each read-only segment its offset in the protected-mode code, its length and its FNV-1a hash, 8 bytes each.
fn kernel_info(header: &[u8], flat: &FlatImage) -> Vec<u8> {
    const FIXED_LEN: u32 = 16;
    let mut segments = Vec::new();
    for range in &flat.read_only {
        segments.extend_from_slice(&(range.start as u64).to_le_bytes());
        segments.extend_from_slice(&(range.len() as u64).to_le_bytes());
        segments.extend_from_slice(&fnv1a(&flat.bytes[range.clone()]).to_le_bytes());
    }
    let mut chunks = Vec::new();
    for (magic, content) in [(b"HdrC", header), (b"RoSg", segments.as_slice())] {
        let len = u32::try_from(8 + content.len()).unwrap_or(u32::MAX);
        chunks.extend_from_slice(magic);
        chunks.extend_from_slice(&len.to_le_bytes());
        chunks.extend_from_slice(content);
    }
    let total = FIXED_LEN.saturating_add(u32::try_from(chunks.len()).unwrap_or(u32::MAX));
    let mut info = b"LToP".to_vec();
    for word in [FIXED_LEN, total, SETUP_TYPE_MAX] {
        info.extend_from_slice(&word.to_le_bytes());
    }
    info.append(&mut chunks);
    info
}

/// 64-bit FNV-1a, the same as in the guests' `contract` crate.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The checksum of boot.rst, "The Image Checksum": CRC-32 without the final inversion. The CRC of a file that ends with it
/// is 0.
fn crc32(bytes: &[u8]) -> u32 {
    !crc32fast::hash(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest_elf::tests::{SAMPLE, elf64};

    fn at<const N: usize>(file: &[u8], offset: usize) -> [u8; N] {
        file[offset..offset + N].try_into().unwrap()
    }

    fn word(file: &[u8], offset: usize) -> u32 {
        u32::from_le_bytes(at(file, offset))
    }

    #[test]
    fn the_header_says_what_the_file_is() {
        let elf = elf64(&SAMPLE);
        let file = wrap(&elf, &Options::default()).unwrap();
        let setup = (usize::from(file[0x1f1]) + 1) * SECTOR;
        assert_eq!(word(&file, 0x202), u32::from_le_bytes(*b"HdrS"));
        assert_eq!(at(&file, 0x1fe), [0x55, 0xaa]);
        assert_eq!(0x202 + usize::from(file[0x201]), HEADER.end);
        assert_eq!(word(&file, 0x1f4) as usize * 16, file.len() - setup);
        assert_eq!((file[0x211], at(&file, 0x236)), (1, [3, 0]));
        assert_eq!(
            (file[0x234], u64::from_le_bytes(at(&file, 0x258))),
            (1, 0x10_0000)
        );
        assert!(word(&file, 0x260) as usize >= file.len() - setup + 0x10_0000);
        let version = usize::from(u16::from_le_bytes(at(&file, 0x20e)));
        assert!(version < SECTOR * usize::from(file[0x1f1]));
        assert_eq!(0x200 + version, VERSION_STRING);
        assert!(file[0x200 + version..].starts_with(b"conformance guest\0"));
        assert_eq!(file[setup..setup + 0x1000], elf[0x1000..0x2000]);
        assert_eq!(crc32(&file), 0, "the CRC of the whole file");
    }

    #[test]
    fn kernel_info_holds_header_and_hashes() {
        let file = wrap(&elf64(&SAMPLE), &Options::default()).unwrap();
        let code = &file[(usize::from(file[0x1f1]) + 1) * SECTOR..];
        let info = &code[word(&file, 0x268) as usize..];
        assert_eq!(info[..4], *b"LToP");
        let (fixed, total) = (word(info, 4) as usize, word(info, 8) as usize);
        assert_eq!(info[fixed..fixed + 4], *b"HdrC");
        let header_len = word(info, fixed + 4) as usize;
        assert_eq!(info[fixed + 8..fixed + header_len], file[HEADER]);
        let segments = &info[fixed + header_len..total];
        assert_eq!(segments[..8], *b"RoSg\x20\0\0\0");
        assert_eq!((word(segments, 8), word(segments, 16)), (0x1000, 0x123));
        assert_eq!(u64::from_le_bytes(at(segments, 24)), fnv1a(&code[0x1000..0x1123]));
    }

    #[test]
    fn variants_differ_where_they_should() {
        let elf = elf64(&SAMPLE);
        let file = wrap(&elf, &Options::only_32_bit()).unwrap();
        assert_eq!((at(&file, 0x236), file[0x234]), ([0, 0], 1));
        let mut high = SAMPLE;
        for segment in &mut high {
            segment.3 += 0x100_0000;
        }
        let file = wrap(&elf64(&high), &Options::not_relocatable()).unwrap();
        assert_eq!(
            (file[0x234], word(&file, 0x258), word(&file, 0x214)),
            (0, 0x10_0000, 0x10_0000)
        );
        let file = wrap(&elf64(&high), &Options::default()).unwrap();
        assert_eq!(word(&file, 0x258), 0x110_0000);
        let file = wrap(
            &elf,
            &Options {
                setup_sects: 0,
                ..Options::default()
            },
        )
        .unwrap();
        assert_eq!(
            (file[0x1f1], word(&file, 0x1f4) as usize * 16),
            (0, file.len() - 5 * SECTOR)
        );
    }

    #[test]
    fn the_real_mode_code_ends_with_its_text() {
        let file = wrap(&elf64(&SAMPLE), &Options::default()).unwrap();
        // mov si: the text's offset from 0x200.
        let text = 0x200 + usize::from(u16::from_le_bytes(at(&file, HEADER.end + 6)));
        assert!(file[text..].starts_with(b"This guest has no real-mode code"));
        assert!(HEADER.end + REAL_MODE_CODE.len() <= VERSION_STRING);
    }

    #[test]
    fn guests_that_do_not_fit_are_refused() {
        let elf = elf64(&SAMPLE);
        let check =
            |elf: &[u8], options: Options, expected| assert_eq!(wrap(elf, &options).err(), Some(expected));
        let mut elsewhere = elf.clone();
        elsewhere[24] = 4;
        check(
            &elsewhere,
            Options::default(),
            WrapError::Entry {
                found: 0x10_0204,
                expected: 0x10_0200,
            },
        );
        assert!(wrap(&elsewhere, &Options::only_32_bit()).is_ok());
        let long = Options {
            version: "v".repeat(0x700),
            setup_sects: 4,
            ..Options::default()
        };
        check(
            &elf,
            long,
            WrapError::NoRoomForVersion {
                end: 0xa01,
                setup: 0xa00,
                sectors: 4,
            },
        );
        for found in [0, 0x800, 0x3000] {
            let options = Options {
                alignment: found,
                ..Options::default()
            };
            check(&elf, options, WrapError::Alignment { found });
        }
        let options = Options {
            extra_memory: u32::MAX,
            ..Options::default()
        };
        let WrapError::TooLarge { size } = wrap(&elf, &options).unwrap_err() else {
            panic!("not too large")
        };
        assert!(size > u64::from(u32::MAX));
        check(
            &elf64(&[]),
            Options::default(),
            WrapError::Elf(GuestElfError::NoSegments),
        );
    }
}
