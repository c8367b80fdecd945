//! Tests of the parser with files of an independent writer. All tables use [`check`].

mod headers;
mod layouts;
mod properties;
mod registry;
mod writer;

use std::error::Error;
use std::fmt::Write;

use boot_core::{KernelImage, Placement};

/// Parses `bytes` and compares the image or the error with `expected`.
#[track_caller]
fn check(bytes: &[u8], expected: &str) {
    let found = match fmt_multiboot::parse(&bytes) {
        Ok(None) => "not a Multiboot image".to_owned(),
        Ok(Some(image)) => describe(&image),
        Err(error) => {
            let mut text = format!("{:?}: {error}", error.kind());
            let mut source = error.source();
            while let Some(error) = source {
                write!(text, ": {error}").unwrap();
                source = error.source();
            }
            text
        }
    };
    assert_eq!(found, expected);
}

fn describe(image: &KernelImage) -> String {
    let placement = match image.placement() {
        Placement::Fixed => "fixed",
        Placement::Relocatable(_) => "relocatable",
    };
    let mut text = placement.to_owned();
    for entry in image.entries() {
        write!(text, ", {} {:#x}", entry.abi, entry.addr).unwrap();
    }
    text.push_str(&segments(image));
    for warning in image.warnings() {
        write!(text, "; {warning}").unwrap();
    }
    text
}

/// The segments of an image, each with a comma before it.
fn segments(image: &KernelImage) -> String {
    let mut text = String::new();
    for segment in image.segments() {
        write!(text, ", {}={}", segment.range, segment.source).unwrap();
    }
    text
}
