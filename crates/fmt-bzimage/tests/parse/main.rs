//! The parser against images of every version, against broken ones, and against arbitrary bytes.

#![expect(
    clippy::cast_possible_truncation,
    reason = "offsets and lengths of the test images are a few KiB"
)]

mod headers;
mod image;
mod promises;
mod properties;
mod sources;
mod table;

use std::fmt::Write;

use boot_core::Placement;
use fmt_bzimage::{BzImage, BzImageError};

/// Reads `file`, checks the promises of what was accepted, and checks that every line of `expected` is a line of what
/// [`describe`] says about it.
#[track_caller]
fn check(file: &[u8], expected: &str) {
    let found = describe(file);
    for line in expected.lines().map(str::trim).filter(|line| !line.is_empty()) {
        assert!(found.lines().any(|l| l == line), "no line `{line}` in:\n{found}");
    }
    let is_refused = !found.starts_with("bzImage ");
    assert!(!is_refused || found.trim() == expected.trim());
}

/// What the parser says about `file`, one fact a line.
fn describe(file: &[u8]) -> String {
    match BzImage::read(&file) {
        Ok(Some(kernel)) => {
            promises::check(file, &kernel);
            describe_kernel(&kernel).expect("writing to a string")
        }
        Ok(None) => "something else".to_owned(),
        Err(BzImageError::Malformed(error)) => format!("malformed: {error}"),
        Err(BzImageError::Unsupported(error)) => format!("unsupported: {error}"),
        Err(error) => panic!("a slice can be read: {error:?}"),
    }
}

fn describe_kernel(kernel: &BzImage) -> Result<String, std::fmt::Error> {
    let (mut out, image) = (String::new(), kernel.image());
    let pe = if kernel.is_pe() { " and PE" } else { "" };
    assert_eq!(kernel.image().has_efi_stub(), kernel.is_pe());
    writeln!(out, "bzImage {}{pe}", kernel.version())?;
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
    Ok(out)
}
