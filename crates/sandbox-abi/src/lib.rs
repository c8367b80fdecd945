#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    warn(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod boot_info;
mod crash;
mod error;
mod kind;
pub mod layout;
mod log;
mod message;
mod note;
mod scratch;
pub mod shape;
mod table;

pub use boot_info::{BootInfo, DoorbellKind, HVC_DOORBELL, PORT_DOORBELL, SBI_DOORBELL};
pub use crash::{CrashLocation, CrashReason, CrashRecord};
pub use error::MessageError;
pub use kind::MessageKind;
pub use log::{LogLevel, LogRecord};
pub use message::{Expect, GuestStatus, Header, Message, MessageFlags};
pub use note::{Note, NoteFlags};
pub use scratch::{COPY_FLAG_AARCH64, COPY_FLAG_RISCV64, COPY_FLAG_X86_64, ScratchState};
pub use shape::{Shape, signature};
pub use table::{FunctionFlags, FunctionRecord};

/// Version of this interface. A host accepts guests of the same major version whose minor version is not higher.
pub const VERSION: (u16, u16) = (1, 0);
