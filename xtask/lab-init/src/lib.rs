//! What `xtask` and the init program of the lab's KVM host machine say to each other.
//!
//! The host machine (L1) boots with an initramfs that holds this package's program as `/init`, the programs to run
//! and a [`Manifest`] that lists them. Everything L1 has to report goes through one virtio-serial port as a stream of
//! [`Frame`]s, so that the output of the programs reaches the terminal byte for byte and never mixes with the console
//! of the L1 kernel.
#![forbid(unsafe_code)]

mod frame;
mod manifest;

pub use frame::{Frame, FrameError, MAX_PAYLOAD, read_frame, write_frame};
pub use manifest::{Ending, Event, MANIFEST_PATH, Manifest, Program};
