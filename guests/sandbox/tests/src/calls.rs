//! Calls with all kinds of parameters, results and errors, in both directions.
#![expect(
    clippy::needless_pass_by_value,
    reason = "parameters that own their values are one of the kinds"
)]

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use sandbox_guest::{Error, HostError, Shape, guest_function, host_function};
use serde::{Deserialize, Serialize};

/// Does nothing.
#[guest_function]
fn nop() {}

/// The sum.
#[guest_function]
fn add(a: u32, b: u32) -> u32 {
    a.wrapping_add(b)
}

/// The same bytes.
#[guest_function(bytes)]
fn echo(bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

/// The number of bytes, or an error if there are none.
#[guest_function(bytes, name = "count-bytes")]
fn count_bytes(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    if bytes.is_empty() {
        return Err(Error::new(11, "there are no bytes"));
    }
    Ok(format!("{}", bytes.len()).into_bytes())
}

/// A greeting.
#[guest_function]
fn greet(name: String) -> String {
    format!("Hello, {name}!")
}

/// The same bytes twice.
#[guest_function]
fn twice(bytes: Vec<u8>) -> Vec<u8> {
    bytes.repeat(2)
}

/// A rectangle.
#[derive(Debug, Deserialize, Serialize, Shape)]
struct Rectangle {
    width: f64,
    height: f64,
    label: Option<String>,
}

/// Turns a rectangle by a right angle.
#[guest_function]
fn turn(rectangle: Rectangle) -> Rectangle {
    Rectangle {
        width: rectangle.height,
        height: rectangle.width,
        ..rectangle
    }
}

/// The sum of the numbers.
#[guest_function]
fn sum(numbers: Vec<f64>) -> f64 {
    numbers.iter().sum()
}

/// Fails with the code and the message.
#[guest_function]
fn refuse(code: u32, message: String) -> Result<u32, Error> {
    Err(Error::new(code, message))
}

/// The number in the text; an error of the standard library becomes one for the host.
#[guest_function]
fn parse(text: &str) -> Result<i64, Error> {
    Ok(text.parse()?)
}

/// Of the host: `value + 1`.
#[host_function]
pub(crate) fn increment(value: u64) -> u64;

/// Of the host: the bytes in the opposite order.
#[host_function(bytes)]
fn reverse(bytes: &[u8]) -> Result<Vec<u8>, HostError>;

/// Of the host: each calls `nested` with `n - 1`, and returns its result plus 1; 0 for 0. A host function cannot run twice at a time.
macro_rules! call_backs {
    ($($name:ident)*) => {
        $(
            #[host_function]
            fn $name(n: u32) -> Result<u32, HostError>;
        )*

        /// By the parameter that they are called with.
        const CALL_BACKS: &[fn(u32) -> Result<u32, HostError>] = &[$($name),*];
    };
}

call_backs! {
    call_back_0 call_back_1 call_back_2 call_back_3 call_back_4
    call_back_5 call_back_6 call_back_7 call_back_8 call_back_9
}

/// Of the host: fails.
#[host_function]
fn fail(text: &str) -> Result<(), HostError>;

/// Calls `increment` of the host `n` times, each with the last result.
#[guest_function]
fn host_loop(n: u64) -> u64 {
    (0..n).fold(0, |value, _| increment(value))
}

/// Makes the host reverse the bytes.
#[guest_function(bytes)]
fn reversed(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    Ok(reverse(bytes)?)
}

/// Calls the host, which calls this function, until `n` is 0. A value on the stack of each call has to survive.
#[guest_function]
fn nested(n: u32) -> Result<u32, Error> {
    let mark = format!("{n}");
    let call_back = usize::try_from(n).ok().and_then(|n| CALL_BACKS.get(n));
    let depth = call_back.ok_or_else(|| Error::new(2, "too many calls"))?(n)?;
    if mark == format!("{n}") {
        Ok(depth)
    } else {
        Err(Error::new(1, "a value changed"))
    }
}

/// What the guest sees when the host fails.
#[guest_function]
fn failure(text: &str) -> String {
    match fail(text) {
        Ok(()) => String::new(),
        Err(error) => format!("{error}"),
    }
}

/// Logs `n` records of about `len` bytes.
#[guest_function]
fn log(n: u32, len: u32) {
    let filler = "x".repeat(usize::try_from(len).unwrap_or_default());
    for at in 0..n {
        log::info!("record {at} {filler}");
    }
}

/// Calls `increment`, logs a record, and makes the host reverse `len` bytes, `n` times each. Returns the sum of the lengths.
#[guest_function]
fn mixed(n: u64, len: u32) -> Result<u64, Error> {
    let bytes: Vec<u8> = (0..len).map(|at| at.to_le_bytes()[0]).collect();
    let mut sum = 0;
    for at in 0..n {
        log::info!("{}", increment(at));
        let reversed = reverse(&bytes)?;
        if !reversed.iter().eq(bytes.iter().rev()) {
            return Err(Error::new(3, "other bytes"));
        }
        sum += u64::try_from(reversed.len())?;
    }
    Ok(sum)
}

/// Logs a record at each level, and panics.
#[guest_function]
fn log_and_panic() {
    log::error!("an error");
    log::warn!("a warning");
    log::debug!("details, which are not enabled");
    panic!("after two records");
}
