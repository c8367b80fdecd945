//! Boot services, UEFI 2.10 chapter 7: functions with the calling convention of the specification over the model.
//!
//! Every function is called through the table by code that the compiler does not see, with the contract of the specification:
//! pointers are null where it allows that, or valid. The functions turn them into values, lend the state to a closure, and call code
//! of images only outside of it.

mod buffers;
mod clock;
mod configuration;
mod drivers;
mod events;
mod exit;
mod handles;
mod image;
mod memory;
pub(crate) mod multiple;
mod protocols;
mod search;
mod table;

pub(crate) use events::key_event;
pub(crate) use image::{ImageFile, load, start, unload};
pub(crate) use search::device_path_of;
pub(crate) use table::table;
