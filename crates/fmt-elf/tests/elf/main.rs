//! The parser against files made by an independent writer. Every table goes through [`check`].

mod evidence;
mod guest;
mod headers_and_notes;
mod near_miss;
mod parse;
mod properties;
mod pvh;
mod sources;

use std::error::Error;
use std::fmt::Write;

use boot_core::{KernelImage, Placement};
use fmt_test::elf::{EM_X86_64, Elf, load, notes};

/// Parses `bytes` and compares the summary of the image, or the error with its sources, with `expected`.
#[track_caller]
fn check(bytes: &[u8], expected: &str) {
    let found = match fmt_elf::parse(&bytes) {
        Ok(None) => "not an ELF file".to_owned(),
        Ok(Some(image)) => summary(&image),
        Err(error) => {
            let mut text = error.to_string();
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

/// One line about an image: placement, entry points, segments, warnings.
fn summary(image: &KernelImage) -> String {
    let mut text = format!("{} {}", image.arch(), image.endian());
    match image.placement() {
        Placement::Fixed => text.push_str(", fixed"),
        Placement::Relocatable(rule) => {
            write!(text, ", {:#x}+n*{:#x}", rule.align_offset, rule.align).unwrap();
            write!(text, " in {:#x}..{:#x}", rule.min, rule.max).unwrap();
            let preferred = rule
                .preferred_address()
                .expect("an ELF file prefers its link address");
            assert_eq!(preferred, image.extent().start());
        }
    }
    for entry in image.entries() {
        write!(text, ", {} {:#x}", entry.abi, entry.addr).unwrap();
    }
    for segment in image.segments() {
        write!(text, ", {}={}", segment.range, segment.source).unwrap();
    }
    for warning in image.warnings() {
        write!(text, "; {warning}").unwrap();
    }
    text
}

/// A copy of `bytes` with `new` at `offset`.
fn patched(bytes: &[u8], offset: usize, new: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[offset..offset + new.len()].copy_from_slice(new);
    bytes
}

/// An x86_64 kernel of one segment: file bytes 0x80..0xa0 at 0x100000, 0x1000 bytes in memory.
fn kernel() -> Elf {
    Elf::new(EM_X86_64, 0x10_0000, vec![load(0x10_0000, &[0x90; 0x20], 0x1000)])
}

/// The same kernel with notes.
fn kernel_with_notes(data: &[u8], align: u64) -> Elf {
    let mut elf = kernel();
    elf.phdrs.push(notes(data, align));
    elf
}

/// Summary of [`kernel`].
const X86_KERNEL: &str = "x86_64 little, fixed, elf64 0x100000, 0x100000..0x101000=0x80..0xa0";
