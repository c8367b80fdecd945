//! The part that runs under the firmware.

mod application;
mod fw_cfg;
mod hooks;
mod port;
mod tables;
mod trace;
