//! What the attributes expand to. It is no part of the interface.

use alloc::vec::Vec;
use core::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::HostError;
use crate::function::Import;

/// `Result`, also by another name.
#[diagnostic::on_unimplemented(message = "`{Self}` has the name `Result`, but is not `core::result::Result`")]
pub trait Fallible {
    /// The type of `Ok`.
    type Value;
}

impl<T, E> Fallible for Result<T, E> {
    type Value = T;
}

/// The value of a host function that is declared without a `Result`.
#[track_caller]
pub fn unwrap<T>(name: &str, result: Result<T, HostError>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => fail(name, &error),
    }
}

#[cold]
#[track_caller]
fn fail(name: &str, error: &dyn fmt::Display) -> ! {
    panic!("call of `{name}`: {error}")
}

/// Calls a host function.
#[cfg(sandbox_guest)]
pub fn call<T: DeserializeOwned>(
    import: &'static Import,
    parameters: &impl Serialize,
) -> Result<T, HostError> {
    crate::host_call::call_host(crate::runtime::port(), crate::runtime::number(import), parameters)
}

/// Calls a host function.
#[cfg(not(sandbox_guest))]
pub fn call<T: DeserializeOwned>(_: &'static Import, _: &impl Serialize) -> Result<T, HostError> {
    Err(HostError::NoHost)
}

/// Calls a host function with bytes.
#[cfg(sandbox_guest)]
pub fn call_bytes(import: &'static Import, bytes: &[u8]) -> Result<Vec<u8>, HostError> {
    crate::host_call::call_host_bytes(crate::runtime::port(), crate::runtime::number(import), bytes)
}

/// Calls a host function with bytes.
#[cfg(not(sandbox_guest))]
pub fn call_bytes(_: &'static Import, _: &[u8]) -> Result<Vec<u8>, HostError> {
    Err(HostError::NoHost)
}

pub use crate::{__export as export, __import as import, __init as init};
