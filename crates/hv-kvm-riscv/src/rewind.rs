//! Rewinds of a bare machine: the image of the registers, and the code in the guest that loads them.
//!
//! A write of one register takes almost as long as a whole exit of the guest. So a rewind writes only the registers that decide where the
//! guest continues; code of the host in the guest's memory loads all others. It starts without address translation and with interrupts
//! disabled, so it does not depend on what the guest did before. The guest can read and execute both pages, but not write them.

mod code;
mod encode;
mod image;

pub use self::{
    code::{CODE, ENTRY, FLUSH_ENTRY, LINK},
    image::{ImageParts, RawImage, RewindLayout},
};
