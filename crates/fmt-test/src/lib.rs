//! Test support of the format crates: sources that fail, shrink or are sparse; files written field by field and changed at
//! random; checks of parsed images.
#![forbid(unsafe_code)]

#[cfg(feature = "proptest")]
mod change;
pub mod elf;
mod fields;
pub mod guest;
mod image;
pub mod ovmf;
pub mod pe;
mod source;

#[cfg(feature = "proptest")]
pub use change::{Change, apply, change};
pub use fields::Fields;
pub use image::assert_valid_image;
pub use source::TestSource;
