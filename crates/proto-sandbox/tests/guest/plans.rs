//! Plans of guests.

use fmt_test::elf::EM_X86_64;
use fmt_test::guest::Guest;
use proto_sandbox::{Entry, GuestLayout, Sizes, plan};

use crate::{checks, image};

#[test]
fn x86_64() {
    let image = image(&Guest::new(EM_X86_64).elf());
    let layout = GuestLayout::new(&image, &Sizes::default()).unwrap();
    let plan = plan(&image, &layout, &Entry::new(image.arch())).unwrap();
    checks::check(&image, &layout, &plan);
    println!("{}\n{layout:#x?}", plan.plan);
    println!("{}", plan.tables.tables().len());
}
