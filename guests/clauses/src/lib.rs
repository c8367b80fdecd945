#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), no_std)]

#[macro_use]
pub mod report;

pub mod image;
pub mod memory;
pub mod memory_map;
