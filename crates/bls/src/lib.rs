#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    warn(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

extern crate alloc;

#[doc(no_inline)]
pub use boot_core::Arch;
#[doc(no_inline)]
pub use disk::Window;

mod entry;
mod hwids;
mod loader_conf;
mod name;
mod note;
mod order;
mod os_release;
mod path;
mod pattern;
mod root_compatible;
pub mod scan;
mod text;
mod type1;
pub mod uki;
mod version;

pub use entry::{Entry, EntryKind, OpenError, Resource};
pub use hwids::{Chid, HwidsError, compatible_of};
pub use loader_conf::{ConsoleMode, DefaultEntry, LoaderConf, Timeout};
pub use name::{BootState, EntryName, NameError, Suffix, Tries};
pub use note::{Note, NoteKind};
pub use order::{attempts, compare, sort};
pub use os_release::OsRelease;
pub use path::{FilePath, PathError};
pub use pattern::{Pattern, PatternError};
pub use root_compatible::{RootCompatibleError, root_compatible};
pub use text::{MAX_LINE_LEN, MAX_TEXT_LEN, TextError};
pub use type1::{Architecture, ProfileSelector, Type1, Type1Error};
pub use version::compare_versions;
