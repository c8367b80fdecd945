//! Crates that were not written for sandboxes.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use regex::Regex;
use sandbox_guest::{Error, guest_function};
use serde_json::Value;

/// The JSON document without spaces, with the field `count` of its object set to the number of its fields.
#[guest_function]
fn json(text: &str) -> Result<String, Error> {
    let mut value: Value = serde_json::from_str(text)?;
    let object = value
        .as_object_mut()
        .ok_or_else(|| Error::new(2, "not an object"))?;
    let count = object.len();
    object.insert("count".to_string(), count.into());
    Ok(value.to_string())
}

/// Start and end of each match of a pattern.
#[guest_function]
fn matches(pattern: &str, text: &str) -> Result<Vec<(u32, u32)>, Error> {
    let regex = Regex::new(pattern).map_err(|error| Error::new(3, error.to_string()))?;
    let matches = regex.find_iter(text);
    Ok(matches
        .map(|found| (narrow(found.start()), narrow(found.end())))
        .collect())
}

fn narrow(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}
