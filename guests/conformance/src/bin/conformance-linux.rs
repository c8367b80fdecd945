//! A kernel without a PVH entry.
#![cfg_attr(target_os = "none", no_std, no_main)]

use conformance as _;

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("This program needs the target x86_64-unknown-none.");
    std::process::exit(2);
}
