//! The EFI application; see the library.
#![cfg_attr(target_os = "uefi", no_std, no_main)]

use efitrace as _;

#[cfg(not(target_os = "uefi"))]
fn main() {
    eprintln!("This program needs the target x86_64-unknown-uefi.");
    std::process::exit(2);
}
