//! Unified kernel images: systemd's EFI stub with the kernel, the initrd and the command line as further sections
//! (UAPI.5 Unified Kernel Image). Sections and headers: Microsoft's PE format specification.

use object::LittleEndian as LE;
use object::pe::{
    IMAGE_DOS_SIGNATURE, IMAGE_NT_OPTIONAL_HDR64_MAGIC, IMAGE_NT_SIGNATURE, IMAGE_SCN_CNT_INITIALIZED_DATA,
    IMAGE_SCN_MEM_READ, ImageDosHeader, ImageFileHeader, ImageNtHeaders64, ImageSectionHeader,
};
use object::pod::{Pod, bytes_of, from_bytes, from_bytes_mut, slice_from_bytes};

/// A section to add: its name, of at most 8 bytes, and its content.
pub(super) type Section<'a> = (&'a str, &'a [u8]);

/// Error of adding sections to a stub.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum UkiError {
    /// The stub is no PE32+ file.
    #[error("the stub is not a PE32+ file: {what}")]
    NotPe { what: &'static str },
    /// A header or a section ends behind the end of the file, or an address is above 4 GiB.
    #[error("the {what} of the stub at {offset:#x} is out of range")]
    OutOfRange { what: &'static str, offset: usize },
    /// The headers have no room for further sections.
    #[error("the stub's section table has room for {room} further sections, and {wanted} are needed")]
    NoRoom { room: usize, wanted: usize },
    /// The name of a section is too long.
    #[error("the section name {name} is longer than 8 bytes")]
    LongName { name: String },
}

/// Where the parts of a stub are, in bytes from its start.
#[derive(Clone, Copy, Debug)]
struct Layout {
    headers: usize,
    sections: usize,
    section_count: usize,
    section_alignment: u32,
    file_alignment: u32,
    /// End of the space of the section table.
    headers_end: usize,
}

/// The stub with further sections.
pub(super) fn build(stub: &[u8], added: &[Section<'_>]) -> Result<Vec<u8>, UkiError> {
    let layout = Layout::read(stub)?;
    let table = sections_of(stub, &layout)?;
    let mut address = 0;
    let mut first = layout.headers_end;
    let mut end = layout.headers_end;
    for section in table {
        address = address.max(end_of(
            section.virtual_address.get(LE),
            section.virtual_size.get(LE),
        )?);
        let start = section.pointer_to_raw_data.get(LE);
        if start != 0 {
            first = first.min(to_usize(start));
            end = end.max(to_usize(end_of(start, section.size_of_raw_data.get(LE))?));
        }
    }
    let table_end = layout.sections + size_of::<ImageSectionHeader>() * layout.section_count;
    let room = first.saturating_sub(table_end) / size_of::<ImageSectionHeader>();
    if room < added.len() {
        return Err(UkiError::NoRoom {
            room,
            wanted: added.len(),
        });
    }
    // What follows the last section, such as symbols, is not part of the image.
    let out_of_range = UkiError::OutOfRange {
        what: "last section",
        offset: end,
    };
    let mut image = stub.get(..end).ok_or(out_of_range)?.to_vec();
    let mut initialized = 0_u32;
    for (index, (name, content)) in added.iter().enumerate() {
        address = align(address, layout.section_alignment)?;
        let start = align(to_u32(image.len())?, layout.file_alignment)?;
        let length = to_u32(content.len())?;
        let raw_length = align(length, layout.file_alignment)?;
        let header = section_header(name, (address, length), (start, raw_length))?;
        let at = table_end + index * size_of::<ImageSectionHeader>();
        image[at..at + size_of::<ImageSectionHeader>()].copy_from_slice(bytes_of(&header));
        image.resize(to_usize(start), 0);
        image.extend_from_slice(content);
        image.resize(to_usize(end_of(start, raw_length)?), 0);
        address = end_of(address, length)?;
        initialized = end_of(initialized, raw_length)?;
    }
    let size_of_image = align(address, layout.section_alignment)?;
    let headers = at_mut::<ImageNtHeaders64>(&mut image, layout.headers)?;
    let count = layout.section_count + added.len();
    let count = u16::try_from(count).or(Err(UkiError::NoRoom { room, wanted: count }))?;
    headers.file_header.number_of_sections.set(LE, count);
    // The symbols were left out.
    headers.file_header.pointer_to_symbol_table.set(LE, 0);
    headers.file_header.number_of_symbols.set(LE, 0);
    let optional = &mut headers.optional_header;
    let initialized = end_of(optional.size_of_initialized_data.get(LE), initialized)?;
    optional.size_of_initialized_data.set(LE, initialized);
    optional.size_of_image.set(LE, size_of_image);
    // Only drivers and some DLLs of Windows need one.
    optional.check_sum.set(LE, 0);
    Ok(image)
}

impl Layout {
    fn read(stub: &[u8]) -> Result<Self, UkiError> {
        let dos: &ImageDosHeader = at(stub, 0)?;
        if dos.e_magic.get(LE) != IMAGE_DOS_SIGNATURE {
            return Err(UkiError::NotPe { what: "no MZ" });
        }
        let headers = to_usize(dos.e_lfanew.get(LE));
        let nt: &ImageNtHeaders64 = at(stub, headers)?;
        if nt.signature.get(LE) != IMAGE_NT_SIGNATURE {
            return Err(UkiError::NotPe {
                what: "no PE signature",
            });
        }
        let optional = &nt.optional_header;
        if optional.magic.get(LE) != IMAGE_NT_OPTIONAL_HDR64_MAGIC {
            return Err(UkiError::NotPe {
                what: "the optional header is not that of PE32+",
            });
        }
        let (section_alignment, file_alignment) = (
            optional.section_alignment.get(LE),
            optional.file_alignment.get(LE),
        );
        if !section_alignment.is_power_of_two() || !file_alignment.is_power_of_two() {
            return Err(UkiError::NotPe {
                what: "an alignment is not a power of two",
            });
        }
        let sections = headers
            + size_of_val(&nt.signature)
            + size_of::<ImageFileHeader>()
            + usize::from(nt.file_header.size_of_optional_header.get(LE));
        Ok(Self {
            headers,
            sections,
            section_count: nt.file_header.number_of_sections.get(LE).into(),
            section_alignment,
            file_alignment,
            headers_end: to_usize(optional.size_of_headers.get(LE)),
        })
    }
}

/// The section table.
fn sections_of<'a>(stub: &'a [u8], layout: &Layout) -> Result<&'a [ImageSectionHeader], UkiError> {
    stub.get(layout.sections..)
        .and_then(|bytes| slice_from_bytes(bytes, layout.section_count).ok())
        .map(|(table, _)| table)
        .ok_or(UkiError::OutOfRange {
            what: "section table",
            offset: layout.sections,
        })
}

/// The header of a section of these addresses and lengths in memory and in the file.
fn section_header(
    name: &str,
    (address, length): (u32, u32),
    (start, raw_length): (u32, u32),
) -> Result<ImageSectionHeader, UkiError> {
    let mut bytes = [0; 8];
    bytes
        .get_mut(..name.len())
        .ok_or_else(|| UkiError::LongName {
            name: name.to_owned(),
        })?
        .copy_from_slice(name.as_bytes());
    let mut header: ImageSectionHeader = *at(&[0; size_of::<ImageSectionHeader>()], 0)?;
    header.name = bytes;
    header.virtual_address.set(LE, address);
    header.virtual_size.set(LE, length);
    header.pointer_to_raw_data.set(LE, start);
    header.size_of_raw_data.set(LE, raw_length);
    header
        .characteristics
        .set(LE, IMAGE_SCN_CNT_INITIALIZED_DATA | IMAGE_SCN_MEM_READ);
    Ok(header)
}

fn at<T: Pod>(bytes: &[u8], offset: usize) -> Result<&T, UkiError> {
    bytes
        .get(offset..)
        .and_then(|bytes| from_bytes(bytes).ok())
        .map(|(value, _)| value)
        .ok_or(UkiError::OutOfRange {
            what: "header",
            offset,
        })
}

fn at_mut<T: Pod>(bytes: &mut [u8], offset: usize) -> Result<&mut T, UkiError> {
    bytes
        .get_mut(offset..)
        .and_then(|bytes| from_bytes_mut(bytes).ok())
        .map(|(value, _)| value)
        .ok_or(UkiError::OutOfRange {
            what: "header",
            offset,
        })
}

fn end_of(start: u32, length: u32) -> Result<u32, UkiError> {
    start.checked_add(length).ok_or(UkiError::OutOfRange {
        what: "section",
        offset: to_usize(start),
    })
}

fn align(value: u32, alignment: u32) -> Result<u32, UkiError> {
    value
        .checked_next_multiple_of(alignment)
        .ok_or(UkiError::OutOfRange {
            what: "section",
            offset: to_usize(value),
        })
}

fn to_usize(value: u32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

fn to_u32(value: usize) -> Result<u32, UkiError> {
    u32::try_from(value).or(Err(UkiError::OutOfRange {
        what: "section",
        offset: value,
    }))
}

#[cfg(test)]
mod tests {
    use object::read::pe::PeFile64;
    use object::write::pe::{NtHeaders, Writer};
    use object::{Object as _, ObjectSection as _};

    use super::*;

    /// A stub with a section `.text`, and `slack` bytes between the section table and the section.
    fn stub() -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(true, 0x1000, 0x200, &mut bytes);
        writer.reserve_dos_header();
        writer.reserve_nt_headers(16);
        writer.reserve_section_headers(1);
        writer.reserve_text_section(5);
        writer.write_empty_dos_header().unwrap();
        writer.write_nt_headers(NtHeaders {
            machine: object::pe::IMAGE_FILE_MACHINE_AMD64,
            time_date_stamp: 0,
            characteristics: object::pe::IMAGE_FILE_EXECUTABLE_IMAGE,
            major_linker_version: 0,
            minor_linker_version: 0,
            address_of_entry_point: 0x1000,
            image_base: 0x1_4df9_0000,
            major_operating_system_version: 0,
            minor_operating_system_version: 0,
            major_image_version: 0,
            minor_image_version: 0,
            major_subsystem_version: 0,
            minor_subsystem_version: 0,
            subsystem: object::pe::IMAGE_SUBSYSTEM_EFI_APPLICATION,
            dll_characteristics: object::pe::DllFlags(0),
            size_of_stack_reserve: 0,
            size_of_stack_commit: 0,
            size_of_heap_reserve: 0,
            size_of_heap_commit: 0,
        });
        writer.write_section_headers();
        writer.write_section(0x200, b"\xc3code");
        bytes
    }

    #[test]
    fn sections_are_added_behind_those_of_the_stub() {
        let kernel = vec![0xa5; 0x1234];
        let added: [Section<'_>; 3] = [
            (".cmdline", b"console=ttyS0"),
            (".linux", &kernel),
            (".initrd", b""),
        ];
        let image = build(&stub(), &added).unwrap();
        let file = PeFile64::parse(&*image).unwrap();
        assert_eq!(
            file.section_by_name(".text").unwrap().data().unwrap()[..5],
            *b"\xc3code"
        );
        let mut next = 0x2000;
        for (name, content) in added {
            let section = file.section_by_name(name).unwrap();
            let data = section.data().unwrap();
            assert_eq!(data.get(..content.len()).unwrap(), content, "{name}");
            assert_eq!(section.size(), content.len() as u64, "{name}");
            assert_eq!(section.address(), 0x1_4df9_0000 + next, "{name}");
            next += (content.len() as u64).next_multiple_of(0x1000);
        }
        let optional = &file.nt_headers().optional_header;
        assert_eq!(u64::from(optional.size_of_image.get(LE)), next);
        assert_eq!(file.nt_headers().file_header.number_of_sections.get(LE), 4);
        assert_eq!(image.len() % 0x200, 0);
    }

    #[test]
    fn the_crate_of_the_firmware_reads_unified_kernel_images() {
        let sections: [Section<'_>; 3] = [
            (".cmdline", b"console=ttyS0"),
            (".initrd", b"an initrd"),
            (".linux", b"MZ a kernel"),
        ];
        let image = build(&stub(), &sections).unwrap();
        let source = boot_core::SizedSource::new(&image).unwrap();
        let uki = bls::uki::Uki::parse(source).unwrap().unwrap();
        assert_eq!(uki.arch(), Some(bls::Arch::X86_64));
        let profile = uki.profile(None).unwrap();
        assert_eq!(profile.cmdline.as_deref(), Some("console=ttyS0"));
        let bytes = |range: &boot_core::SourceRange| {
            let start = usize::try_from(range.offset()).unwrap();
            &image[start..start + usize::try_from(range.len()).unwrap()]
        };
        assert_eq!(bytes(&profile.linux), b"MZ a kernel");
        assert_eq!(bytes(&profile.initrd.unwrap()), b"an initrd");
    }

    #[test]
    fn what_is_no_stub_is_refused() {
        let check = |stub: &[u8], sections: &[Section<'_>], expected: &str| {
            let error = build(stub, sections).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(b"", &[], "header of the stub at 0x0 is out of range");
        check(&[0; 64], &[], "no MZ");
        check(&stub()[..0x90], &[], "is out of range");
        check(&stub(), &[(".too-long", b"")], "longer than 8 bytes");
        let many: Vec<Section<'_>> = vec![(".x", b""); 6];
        check(&stub(), &many, "has room for");
        let mut changed = stub();
        let at = usize::from(changed[0x3c]);
        changed[at] = b'X';
        check(&changed, &[], "no PE signature");
        let mut changed = stub();
        changed[at + 24] = 0x0b;
        changed[at + 25] = 0x01;
        check(&changed, &[], "not that of PE32+");
        // Every cut of a stub is refused or has all sections.
        let whole = stub();
        for end in 0..whole.len() {
            if let Ok(image) = build(&whole[..end], &[]) {
                assert!(PeFile64::parse(&*image).is_ok(), "{end}");
            }
        }
    }
}
