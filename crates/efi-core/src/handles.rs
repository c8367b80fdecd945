//! Handles and protocols, UEFI 2.10 section 7.3.
//!
//! An interface is an opaque number: the address of a structure that nothing here reads.

mod database;
mod drivers;
mod handle;
mod locate;
mod open;

pub use database::Database;
pub use drivers::DriverSearch;
pub use handle::{Handle, Interface, Pair};
pub use locate::{Registration, Search, nearest_device_path};
pub use open::{OpenAttributes, OpenInformation};
