//! OVMF images, unified kernel images and addons.

use fmt_test::ovmf::Firmware;
use fmt_test::pe::{AMD64, Pe, uki};

use crate::seed::Seed;

/// Whole files; of OVMF images the last page.
pub(crate) fn seeds() -> Vec<Seed> {
    let mut bare = Firmware::new(vec![0; 0x1000]);
    bare.sections.clear();
    let profiles = uki(AMD64)
        .section(".profile", "ID=a\n")
        .section(".profile", "ID=b\n")
        .section(".dtbauto", "tree");
    vec![
        ("ovmf", Firmware::new(vec![0; 0x1000]).build()),
        ("ovmf-bare", bare.build()),
        ("uki", profiles.build()),
        ("addon", Pe::new(AMD64).section(".cmdline", "quiet").build()),
    ]
}
