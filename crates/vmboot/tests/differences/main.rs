//! What other parsers and loaders make of the same files: the hostile images, and real kernels. `docs/differences.md` lists each class of difference; a class
//! that it does not list, or that no longer exists, fails the test.
//!
//! Programs that are not installed, and kernels that were not fetched, count as skipped.

#[expect(
    clippy::cast_possible_truncation,
    reason = "offsets and lengths of the images are a few KiB"
)]
#[path = "../../../fmt-bzimage/tests/parse/bzimage_writer.rs"]
mod bzimage_writer;
#[path = "../hostile/change.rs"]
mod change;
mod elf;
#[expect(dead_code, reason = "only the corpus itself has expectations")]
#[path = "../hostile/family/table.rs"]
mod family;
mod fixture;
mod loading;
mod matrix;
#[path = "../../../fmt-multiboot/tests/parse/writer.rs"]
mod multiboot_writer;
mod pe;
#[expect(dead_code, reason = "some functions are only for the tests of the format")]
#[expect(
    clippy::cast_possible_truncation,
    reason = "offsets and lengths of the images are a few KiB"
)]
#[path = "../../../fmt-pe/tests/parse/file_writer.rs"]
mod pe_writer;
#[path = "../shared/with_fixture.rs"]
mod with_fixture;

use libtest_mimic::{Arguments, Trial};

fn main() {
    let mut trials = vec![
        Trial::test("ELF: object", || elf::compare("ELF: object", elf::object)),
        Trial::test("ELF: goblin", || elf::compare("ELF: goblin", elf::goblin)),
        Trial::test("PE: object", || pe::compare("PE: object", pe::object)),
        Trial::test("PE: goblin", || pe::compare("PE: goblin", pe::goblin)),
        Trial::test("loading: linux-loader, ELF", loading::compare_elf),
        Trial::test("loading: linux-loader, bzImage", loading::compare_bzimage),
        Trial::test("loading: a dirty BSS", loading::dirty_bss),
        Trial::test("documented classes have a section", matrix::check_sections),
    ];
    trials.extend(fixture::trials());
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
