//! A corpus of hostile images: each header field at its edges, truncations, ranges that overlap or wrap, bombs, cycles and nested wrappers. Each image goes
//! through all steps up to a load: opening of wrappers, detection, plans by each protocol, and loading between pages without access.
//!
//! Each family of images runs in a process of its own, so that a fault, such as an access of a guard page, fails one trial with the name of the image. The
//! images are made by the code below, and their numbers are printed.

#[path = "../../../fmt-bzimage/tests/parse/bzimage_writer.rs"]
#[expect(
    clippy::cast_possible_truncation,
    reason = "offsets and lengths of the images are a few KiB"
)]
mod bzimage_writer;
mod change;
mod child;
#[path = "family/table.rs"]
mod family;
mod heap;
mod judge;
mod machine;
mod memory;
#[path = "../../../fmt-multiboot/tests/parse/writer.rs"]
mod multiboot_writer;
#[path = "../../../fmt-pe/tests/parse/pe_load_invariants.rs"]
#[expect(
    clippy::cast_possible_truncation,
    reason = "offsets and lengths of the images are a few KiB"
)]
mod pe_load_invariants;
#[expect(dead_code, reason = "some functions are only for the tests of the format")]
#[path = "../../../fmt-pe/tests/parse/file_writer.rs"]
#[expect(
    clippy::cast_possible_truncation,
    reason = "offsets and lengths of the images are a few KiB"
)]
mod pe_writer;

use libtest_mimic::{Arguments, Trial};

/// Smallest number of images of all families together.
const MIN_IMAGES: usize = 2000;

fn main() {
    if let Some(name) = child::requested() {
        child::run(&name);
        return;
    }
    let mut trials: Vec<_> = family::FAMILIES
        .iter()
        .map(|family| Trial::test(family.name, || child::start(family.name)))
        .collect();
    trials.push(Trial::test("a touched guard", child::touch_guard));
    trials.push(Trial::test("number of images", || {
        let count = family::FAMILIES.iter().map(family::Family::count).sum::<usize>();
        println!("{count} hostile images");
        if count < MIN_IMAGES {
            return Err(format!("{count} images, at least {MIN_IMAGES} expected").into());
        }
        Ok(())
    }));
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
