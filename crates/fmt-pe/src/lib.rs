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

extern crate alloc;

mod arm64;
mod error;
mod linux_image;
pub mod pe;
mod plugin;
pub mod raw;
mod riscv;
mod warning;
mod zboot;

pub use arm64::Arm64Image;
pub use error::{LinuxImageError, Malformed, Unsupported};
pub use plugin::{
    ARM64_IMAGE, Arm64ImageFormat, FORMATS, PE, PeFormat, RISCV_IMAGE, RiscvImageFormat, ZBOOT, ZbootFormat,
};
pub use riscv::RiscvImage;
pub use warning::Warning;
pub use zboot::ZbootImage;
