//! The parsers against files of every kind, against broken ones, and against arbitrary bytes.

#![expect(
    clippy::cast_possible_truncation,
    reason = "offsets and lengths of the test files are a few KiB"
)]

mod file;
mod image_promises;
mod image_table;
mod pe_promises;
mod pe_relocations;
mod pe_table;
mod properties;
mod sources;

use std::error::Error;
use std::fmt::Write;

use boot_core::{DetectError, FormatErrorKind, KernelImage, Placement, SizedSource, detect};
use boot_linux::{arm64, riscv};
use fmt_pe::pe::{Directory, PeError, PeFile};

/// Asks every format for `file`, checks the promises of what was accepted, and checks that every line of `expected` is a
/// line of what [`describe`] says about it.
#[track_caller]
fn check(file: &[u8], expected: &str) {
    compare(&describe(file), expected);
}

/// The same for the PE headers alone.
#[track_caller]
fn check_pe(file: &[u8], expected: &str) {
    compare(&describe_pe(file), expected);
}

#[track_caller]
fn compare(found: &str, expected: &str) {
    for line in expected.lines().map(str::trim).filter(|line| !line.is_empty()) {
        assert!(found.lines().any(|l| l == line), "no line `{line}` in:\n{found}");
    }
    let is_refused = found.lines().count() == 1;
    assert!(!is_refused || found.trim() == expected.trim(), "{found}");
}

/// What the formats say about `file`, one fact a line.
fn describe(file: &[u8]) -> String {
    image_promises::check_all(file);
    match detect(&fmt_pe::FORMATS, &file) {
        Ok(image) => describe_image(&image).expect("writing to a string"),
        Err(DetectError::Empty | DetectError::Unknown { .. }) => "something else".to_owned(),
        Err(DetectError::Format(error)) => {
            let kind = match error.kind {
                FormatErrorKind::Malformed => "malformed",
                FormatErrorKind::Unsupported => "unsupported",
                kind => panic!("a slice can be read: {kind:?}"),
            };
            let source = error.source().expect("the format's own error");
            format!("{kind} {}: {source}", error.format)
        }
        Err(error) => panic!("a slice can be read: {error:?}"),
    }
}

fn describe_image(image: &KernelImage) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    writeln!(out, "{} {} {}", image.format(), image.arch(), image.endian())?;
    for segment in image.segments() {
        writeln!(out, "segment {} from {}", segment.range, segment.source)?;
    }
    writeln!(out, "extent {}", image.extent())?;
    let Placement::Relocatable(rule) = image.placement() else {
        panic!("every Image is relocatable");
    };
    writeln!(
        out,
        "relocatable {:#x} + {:#x} in {:#x}..{:#x}",
        rule.align, rule.align_offset, rule.min, rule.max
    )?;
    for entry in image.entries() {
        writeln!(out, "entry {} {:#x}", entry.abi, entry.addr)?;
    }
    if let Some(metadata) = image.metadata::<arm64::ImageMetadata>() {
        let page_size = metadata
            .page_size
            .map_or("unknown".to_owned(), |size| format!("{size:#x}"));
        writeln!(out, "page size {page_size}")?;
        writeln!(out, "anywhere {}", metadata.is_placed_anywhere)?;
    }
    if let Some(metadata) = image.metadata::<riscv::ImageMetadata>() {
        writeln!(out, "version {}.{}", metadata.version.0, metadata.version.1)?;
    }
    writeln!(out, "EFI stub {}", image.has_efi_stub())?;
    for warning in image.warnings() {
        writeln!(out, "warning: {warning}")?;
    }
    Ok(out)
}

/// What the PE headers of `file` say, one fact a line.
fn describe_pe(file: &[u8]) -> String {
    pe_promises::check(file);
    match PeFile::open(SizedSource::new(&file).expect("a slice has a length")) {
        Ok(Some(pe)) => describe_pe_file(&pe).expect("writing to a string"),
        Ok(None) => "something else".to_owned(),
        Err(error) => describe_pe_error(&error),
    }
}

fn describe_pe_error(error: &PeError) -> String {
    match error {
        PeError::Malformed(error) => format!("malformed: {error}"),
        PeError::Unsupported(error) => format!("unsupported: {error}"),
        error => panic!("a slice can be read: {error:?}"),
    }
}

fn describe_pe_file(pe: &PeFile<'_>) -> Result<String, std::fmt::Error> {
    let (mut out, header) = (String::new(), pe.optional_header());
    let kind = if header.is_pe32_plus { "PE32+" } else { "PE32" };
    writeln!(out, "{kind} {} for {}", header.subsystem, pe.machine())?;
    writeln!(out, "flags {:?}", pe.characteristics())?;
    writeln!(out, "loading flags {:?}", header.dll_characteristics)?;
    writeln!(
        out,
        "image {:#x} at {:#x}",
        header.size_of_image, header.image_base
    )?;
    writeln!(out, "headers {}", pe.headers())?;
    writeln!(out, "stack {:#x}", header.size_of_stack_reserve)?;
    writeln!(out, "made at {:#x}", pe.time_date_stamp())?;
    writeln!(
        out,
        "version {}.{}",
        header.image_version.0, header.image_version.1
    )?;
    if let Some(entry) = pe.entry_point() {
        writeln!(out, "entry {entry:#x}")?;
    }
    for section in pe.sections() {
        writeln!(
            out,
            "section {} {} from {}",
            section.name, section.range, section.data
        )?;
    }
    for directory in (0..16).map(Directory) {
        if let Some(entry) = pe.directory(directory) {
            writeln!(
                out,
                "{directory} {:#x} + {:#x}",
                entry.virtual_address, entry.size
            )?;
        }
    }
    match pe.relocations() {
        Ok(relocations) => {
            for relocation in relocations {
                match relocation {
                    Ok(relocation) => {
                        let name = relocation.kind.name(pe.machine()).unwrap_or("?");
                        write!(out, "relocation {:#x} {name}", relocation.rva)?;
                        if let Some(half) = relocation.low_half {
                            write!(out, " {half:#x}")?;
                        }
                        writeln!(out)?;
                    }
                    Err(error) => writeln!(out, "relocation {}", describe_pe_error(&error))?,
                }
            }
        }
        Err(error) => writeln!(out, "relocations {}", describe_pe_error(&error))?,
    }
    Ok(out)
}
