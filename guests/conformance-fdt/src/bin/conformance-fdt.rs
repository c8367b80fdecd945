//! The program. Its code is in the library.
#![cfg_attr(target_os = "none", no_std, no_main)]

use conformance_fdt as _;

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("This program needs a bare-metal target of arm64 or riscv64.");
    std::process::exit(2);
}
