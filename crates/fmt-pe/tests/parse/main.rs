//! Tests of the parsers with files of every kind, malformed files and arbitrary bytes.

#![expect(
    clippy::cast_possible_truncation,
    reason = "offsets and lengths of the test files are a few KiB"
)]

mod file_writer;
mod image_invariants;
mod images;
mod pe_headers;
mod pe_invariants;
mod pe_load;
mod pe_load_invariants;
mod pe_relocations;
mod properties;
mod sources;

use std::error::Error;
use std::fmt::Write;

use boot_core::{DetectError, FormatErrorKind, KernelImage, Placement, SizedSource, detect};
use boot_linux::{arm64, riscv};
use fmt_pe::pe::{DirectoryEntry, PeError, PeFile};

/// Parses `file` with every format, checks the invariants of an accepted image, and checks that every line of `expected`
/// is a line of the [`summary`].
#[track_caller]
fn check(file: &[u8], expected: &str) {
    compare(&summary(file), expected);
}

/// The same for the PE headers alone.
#[track_caller]
fn check_pe(file: &[u8], expected: &str) {
    compare(&pe_summary(file), expected);
}

#[track_caller]
fn compare(found: &str, expected: &str) {
    for line in expected.lines().map(str::trim).filter(|line| !line.is_empty()) {
        assert!(found.lines().any(|l| l == line), "no line `{line}` in:\n{found}");
    }
    let is_refused = found.lines().count() == 1;
    assert!(!is_refused || found.trim() == expected.trim(), "{found}");
}

/// The accepted image, one property per line, or the error.
fn summary(file: &[u8]) -> String {
    image_invariants::check_all(file);
    match detect(&fmt_pe::FORMATS, &file) {
        Ok(image) => image_summary(&image).expect("writing to a string"),
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

fn image_summary(image: &KernelImage) -> Result<String, std::fmt::Error> {
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

/// The PE headers, one property per line, or the error.
fn pe_summary(file: &[u8]) -> String {
    pe_invariants::check(file);
    match PeFile::parse(SizedSource::new(&file).expect("a slice has a length")) {
        Ok(Some(pe)) => pe_file_summary(&pe).expect("writing to a string"),
        Ok(None) => "something else".to_owned(),
        Err(error) => pe_error_summary(&error),
    }
}

fn pe_error_summary(error: &PeError) -> String {
    match error {
        PeError::Malformed(error) => format!("malformed: {error}"),
        PeError::Unsupported(error) => format!("unsupported: {error}"),
        error => panic!("a slice can be read: {error:?}"),
    }
}

fn pe_file_summary(pe: &PeFile<'_>) -> Result<String, std::fmt::Error> {
    let (mut out, header) = (String::new(), pe.optional_header());
    let kind = if header.is_pe32_plus { "PE32+" } else { "PE32" };
    writeln!(out, "{kind} {} for {}", header.subsystem, pe.machine())?;
    writeln!(out, "stripped of relocations {}", pe.is_relocs_stripped())?;
    writeln!(
        out,
        "image {:#x} at {:#x}",
        header.size_of_image, header.image_base
    )?;
    writeln!(out, "headers {}", pe.headers())?;
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
    for directory in (0..16).map(DirectoryEntry) {
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
                        writeln!(
                            out,
                            "relocation {:#x} {}",
                            relocation.rva, relocation.relocation_type
                        )?;
                    }
                    Err(error) => writeln!(out, "relocation {}", pe_error_summary(&error))?,
                }
            }
        }
        Err(error) => writeln!(out, "relocations {}", pe_error_summary(&error))?,
    }
    Ok(out)
}
