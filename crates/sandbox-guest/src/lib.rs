#![doc = include_str!("../README.md")]
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod bytes;
mod call;
mod crash;
mod decode;
mod encode;
mod error;
mod function;
mod host_call;
#[cfg(all(sandbox_guest, feature = "log"))]
mod logger;
#[doc(hidden)]
pub mod macros;
mod port;
mod records;
mod region;
mod reply;
#[cfg(sandbox_guest)]
mod runtime;
mod serve;
mod text;
mod window;

pub use bytes::Bytes;
pub use call::Call;
pub use crash::report_crash;
pub use error::{Error, HostError};
pub use function::{Entry, Export, Import};
pub use host_call::{call_host, call_host_bytes};
pub use port::{Area, MAX_DEPTH, Port, ProtocolError, State};
pub use records::log;
pub use region::Region;
pub use reply::Reply;
#[cfg(sandbox_guest)]
pub use runtime::{boot_info, heap};
pub use sandbox_abi::{self as abi, LogLevel, Shape, shape, signature};
pub use sandbox_macros::{Shape, guest_function, guest_init, host_function};
pub use serve::serve;
