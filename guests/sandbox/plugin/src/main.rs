//! A plugin that finds lines. It trusts the pattern too much: see README.md.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use regex::RegexBuilder;
use sandbox_guest::{Error, guest_function};

/// Number, from 1, and text of each line that matches the pattern.
#[guest_function]
fn find(pattern: &str, text: &str) -> Result<Vec<(u32, String)>, Error> {
    let regex = RegexBuilder::new(pattern)
        .size_limit(usize::MAX)
        .build()
        .map_err(|error| Error::new(1, error.to_string()))?;
    let lines = (1..).zip(text.lines());
    let found = lines.filter(|(_, line)| regex.is_match(line));
    Ok(found.map(|(number, line)| (number, line.to_string())).collect())
}
