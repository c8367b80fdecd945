//! Generated boots and checkers of their plans, for property tests and fuzz targets.
//!
//! Boots are generated from bytes through [`arbitrary`]: any bytes make a boot, and small changes of the bytes make small
//! changes of it. The odds are such that many boots can be planned, and the others fail for many different reasons.
//!
//! Kernel files are generated likewise: consistent ones of each format, and changes of them.
//!
//! The checkers share no code with the planners. They return or panic with a description of the broken requirement.

#![forbid(unsafe_code)]

/// Returns an error with a message unless a condition holds.
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(format!($($message)+));
        }
    };
}

pub mod contract;
pub mod fdt;
pub mod files;
pub mod loaded;
pub mod multiboot;
pub mod odds;
pub mod promises;
pub mod variations;
pub mod view;
pub mod x86;
