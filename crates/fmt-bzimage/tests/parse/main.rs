//! Tests of the parser with images of every version, malformed images and arbitrary bytes.

#![expect(
    clippy::cast_possible_truncation,
    reason = "offsets and lengths of the test images are a few KiB"
)]

mod accepted_and_refused;
mod bzimage_writer;
mod headers;
mod invariants;
mod properties;
mod sources;

use std::fmt::Write;

use boot_core::Placement;
use fmt_bzimage::{BzImage, BzImageError};

/// Parses `file`, checks the invariants of an accepted image, and checks that every line of `expected` is a line of the
/// [`summary`].
#[track_caller]
fn check(file: &[u8], expected: &str) {
    let found = summary(file);
    for line in expected.lines().map(str::trim).filter(|line| !line.is_empty()) {
        assert!(found.lines().any(|l| l == line), "no line `{line}` in:\n{found}");
    }
    let is_refused = !found.starts_with("bzImage ");
    assert!(!is_refused || found.trim() == expected.trim());
}

/// The accepted image, one property per line, or the error.
fn summary(file: &[u8]) -> String {
    match BzImage::parse(&file) {
        Ok(Some(kernel)) => {
            invariants::check(file, &kernel);
            image_summary(&kernel).expect("writing to a string")
        }
        Ok(None) => "something else".to_owned(),
        Err(BzImageError::Malformed(error)) => format!("malformed: {error}"),
        Err(BzImageError::Unsupported(error)) => format!("unsupported: {error}"),
        Err(error) => panic!("a slice can be read: {error:?}"),
    }
}

fn image_summary(kernel: &BzImage) -> Result<String, std::fmt::Error> {
    let (mut out, image) = (String::new(), kernel.image());
    let pe = if kernel.has_efi_stub() { " and PE" } else { "" };
    writeln!(out, "bzImage {}{pe}", kernel.protocol_version())?;
    if let Some(version) = kernel.kernel_version() {
        writeln!(out, "kernel {version}")?;
    }
    for segment in image.segments() {
        writeln!(out, "segment {} from {}", segment.range, segment.source)?;
    }
    writeln!(out, "extent {}", image.extent())?;
    match image.placement() {
        Placement::Fixed => writeln!(out, "fixed")?,
        Placement::Relocatable(rule) => {
            let max = if rule.max == u64::MAX {
                "any".to_owned()
            } else {
                format!("{:#x}", rule.max)
            };
            let preferred = rule.preferred_address().unwrap_or(0);
            writeln!(
                out,
                "relocatable {:#x} in {:#x}..{max}, at {preferred:#x}",
                rule.align, rule.min
            )?;
        }
    }
    for entry in image.entries() {
        writeln!(out, "entry {} {:#x}", entry.abi, entry.addr)?;
    }
    if let Some(payload) = kernel.payload() {
        let codec = payload.codec.map_or("unknown", |codec| codec.name());
        writeln!(out, "payload {codec} {}", payload.source)?;
        if let Some(len) = payload.unpacked_len {
            writeln!(out, "unpacks to {len:#x}")?;
        }
    }
    if let Some(info) = kernel.kernel_info() {
        writeln!(
            out,
            "kernel_info {} and {}, types {:?}",
            info.fixed, info.variable, info.setup_type_max
        )?;
    }
    for warning in image.warnings() {
        writeln!(out, "warning: {warning}")?;
    }
    // Both lists are the same.
    assert_eq!(kernel.warnings().len(), image.warnings().len());
    Ok(out)
}
