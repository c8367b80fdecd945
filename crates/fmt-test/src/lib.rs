//! Test support of the crates for formats and file systems: sources that fail, shrink, are sparse or count reads; files written field by field and changed at
//! random; pseudo-random bytes; checks of parsed images.
#![forbid(unsafe_code)]

#[cfg(feature = "proptest")]
mod change;
mod counting;
mod edges;
pub mod elf;
mod fields;
pub mod guest;
mod image;
pub mod ovmf;
pub mod pe;
mod pseudo_random;
mod source;

#[cfg(feature = "proptest")]
pub use change::{Change, apply, change};
pub use counting::CountingSource;
pub use edges::edges;
pub use fields::Fields;
pub use image::{assert_has_text, assert_valid_image};
pub use pseudo_random::pseudo_random;
pub use source::TestSource;
