//! Code that loads the registers of a bare machine inside the guest, and the layout of the registers in memory, as plain data.
//!
//! KVM writes registers one by one, which takes a quarter of an exit for each. The code loads them in less than the time of an exit. It starts
//! with the MMU off at a physical address; `X0` is the address of the [`Image`]. It flushes the cached translations first, loads everything,
//! turns the MMU on if it was, and returns to the saved address with `ERET`. From the write of `SCTLR_EL1` on, the translation tables of the
//! guest must map code (executable) and image (readable) to their physical addresses, unless the MMU stays off.
//!
//! `ERET` takes its target from `ELR_EL1` and `SPSR_EL1`. If the saved values of these two registers are different ones, or the saved data
//! accesses are big-endian, the code rings the doorbell before, and the host completes the rewind. A guest that sets both registers to the
//! address and the state after its doorbell avoids this exit.

mod assembler;
mod code;
mod image;

pub use code::{CODE, Entry};
pub use image::{Image, ImageRegister, Optional, debug_registers};
