//! A program that runs in a sandbox. The host calls its functions.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use sandbox_guest::{Error, guest_function, host_function};

/// Of the host: the time of day in seconds.
#[host_function]
fn time_of_day() -> u32;

/// A text for `name`.
#[guest_function]
fn greet(name: &str) -> String {
    let greeting = match time_of_day() / 3600 {
        5..12 => "Good morning",
        12..18 => "Good afternoon",
        _ => "Good evening",
    };
    format!("{greeting}, {name}!")
}

/// The words of a text, and how often each occurs. A text without words is an error.
#[guest_function]
fn count_words(text: &str) -> Result<Vec<(String, u32)>, Error> {
    let mut counts = BTreeMap::new();
    for word in text.split_whitespace() {
        *counts.entry(String::from(word)).or_insert(0) += 1;
    }
    if counts.is_empty() {
        return Err(Error::new(1, "the text has no words"));
    }
    Ok(counts.into_iter().collect())
}

/// The bytes in reverse order, without a format.
#[guest_function(bytes)]
fn reverse(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.reverse();
    bytes
}
