//! Families of hostile images.

mod bomb;
mod bzimage;
mod elf;
mod image;
mod made;
mod multiboot;
mod pe;
mod uki;
mod wrapped;

use crate::change::Sink;

/// A family of images.
pub(crate) struct Family {
    pub(crate) name: &'static str,
    make: fn(&mut Sink<'_>),
    /// Smallest number of images that are loaded, and of images that are refused: without either, the family tests less than it seems to.
    loaded: usize,
    refused: usize,
}

const fn family(name: &'static str, make: fn(&mut Sink<'_>), loaded: usize, refused: usize) -> Family {
    Family {
        name,
        make,
        loaded,
        refused,
    }
}

/// All families.
pub(crate) const FAMILIES: &[Family] = &[
    family("elf", elf::make, 6000, 5000),
    family("bzimage", bzimage::make, 1900, 4000),
    family("image", image::make, 2700, 4000),
    family("multiboot", multiboot::make, 1600, 4000),
    family("pe", pe::make, 1400, 4500),
    family("uki", uki::make, 1100, 1900),
    family("wrapped", wrapped::make, 700, 8000),
    family("made", made::make, 1500, 100),
    family("made and changed", made::make_changed, 600, 1000),
    family("bomb", bomb::make, 8, 550),
];

impl Family {
    /// Calls `sink` with each image.
    pub(crate) fn for_each(&self, sink: &mut Sink<'_>) {
        (self.make)(sink);
    }

    /// The number of images.
    pub(crate) fn count(&self) -> usize {
        let mut count = 0;
        self.for_each(&mut |_, _| count += 1);
        count
    }

    /// Asserts that the family reached what it is made for, by the numbers of images that were loaded and refused.
    pub(crate) fn expect(&self, loaded: usize, refused: usize) {
        let (at_least, too) = (self.loaded, self.refused);
        assert!(
            loaded >= at_least,
            "{loaded} loaded images, at least {at_least} expected"
        );
        assert!(
            refused >= too,
            "{refused} refused images, at least {too} expected"
        );
    }
}
