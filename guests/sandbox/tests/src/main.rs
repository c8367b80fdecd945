//! Functions that tests call. The host has to offer `increment`, `reverse`, `fail`, and `call_back_0` to `call_back_9`.
#![no_std]
#![no_main]

extern crate alloc;

mod calls;
mod debugging;
mod faults;
mod memory;
mod probe;
mod programs;
mod regions;
