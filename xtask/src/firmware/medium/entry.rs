//! The files of one boot entry.

use std::path::Path;

/// The files of an entry of type 1 of the Boot Loader Specification.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EntryFiles<'a> {
    pub(crate) kernel: &'a Path,
    pub(crate) initrd: Option<&'a Path>,
    /// The command line.
    pub(crate) options: &'a str,
}
