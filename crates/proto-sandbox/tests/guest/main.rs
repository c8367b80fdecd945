//! Guests from files to plans.

mod checks;
mod copies;
mod plans;
mod properties;
mod protocol;
mod rules;

use boot_core::KernelImage;
use fmt_test::elf::Elf;

/// The image of a file.
fn image(elf: &Elf) -> KernelImage {
    fmt_elf::parse(&elf.bytes()).unwrap().unwrap()
}
