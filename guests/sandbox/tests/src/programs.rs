//! Crates that were not written for sandboxes.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use regex::Regex;
use sandbox_guest::{Error, guest_function};
use serde_json::Value;
use wasmi::{Engine, Linker, Module, Store};

use crate::calls::increment;

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

/// The result of the function `run` that a WebAssembly module exports. The module may import `increment` of `host`: the host function.
#[guest_function]
fn wasm(module: &[u8], parameter: i64) -> Result<i64, Error> {
    run(module, parameter).map_err(|error| Error::new(4, error.to_string()))
}

fn run(module: &[u8], parameter: i64) -> Result<i64, wasmi::Error> {
    let engine = Engine::default();
    let module = Module::new(&engine, module)?;
    let mut store = Store::new(&engine, ());
    let mut linker = Linker::new(&engine);
    linker.func_wrap("host", "increment", |value: i64| {
        increment(value.cast_unsigned()).cast_signed()
    })?;
    let instance = linker.instantiate_and_start(&mut store, &module)?;
    let run = instance.get_typed_func::<i64, i64>(&store, "run")?;
    run.call(&mut store, parameter)
}

fn narrow(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}
