//! The protocol between `xtask` and the init program of the lab's KVM host machine.
//!
//! The host machine (L1) boots with an initramfs that holds this package's program as `/init`, the programs to run
//! and a [`Manifest`] that lists them. L1 reports through one virtio-serial port as a stream of [`Frame`]s, so that the
//! output of the programs is transferred unchanged and separate from the console of the L1 kernel.
#![forbid(unsafe_code)]

mod frame;
mod lap;
mod manifest;
mod start;

pub use frame::{Frame, FrameError, MAX_PAYLOAD, read_frame, write_frame};
pub use lap::Lap;
pub use manifest::{Ending, Event, MANIFEST_PATH, Manifest, Program};
pub use start::StartCost;
