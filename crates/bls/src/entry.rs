//! Entries of both types in one form.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use boot_core::{ByteSource, ReadError, SizedSource, SourceRange};
use disk::{FileSystem, FsError, Window};

use crate::name::EntryName;
use crate::path::FilePath;
use crate::root_compatible::{RootCompatibleError, root_compatible};

/// Boot loader entry: what to boot, and how to name and sort it.
///
/// At least one of [`kernel`](Self::kernel) and [`efi`](Self::efi) is present.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// Identification: the file name without boot counters, and for profiles of a unified kernel image from 1 on `@` with `ID=` of the
    /// profile, or with its number if it has none. Not for people.
    pub id: String,
    /// Type.
    pub kind: EntryKind,
    /// Index of the volume in the list that was scanned. All paths are on this volume.
    pub volume: usize,
    /// File that defines the entry.
    pub path: FilePath,
    /// Name of that file, with boot counters.
    pub name: EntryName,
    /// Profile of a unified kernel image that has profiles.
    pub profile: Option<u32>,
    /// Title for people. Not unique; a menu adds [`version`](Self::version) where two are equal.
    pub title: String,
    /// Version.
    pub version: Option<String>,
    /// Machine ID of the operating system.
    pub machine_id: Option<String>,
    /// First key for sorting.
    pub sort_key: Option<String>,
    /// Kernel for boots without EFI.
    pub kernel: Option<Resource>,
    /// EFI program of the key `efi`, or unified kernel image. [`efi_program`](Self::efi_program) also has a kernel.
    pub efi: Option<FilePath>,
    /// Initrds in order, microcode first.
    pub initrds: Vec<Resource>,
    /// Kernel command line.
    pub options: String,
    /// Device tree.
    pub device_tree: Option<Resource>,
    /// Device trees for single models of machines, those of addons before those of the image; [`device_tree_for`](Self::device_tree_for) selects one.
    pub device_tree_candidates: Vec<Resource>,
    /// Table of such models by hardware identification, see [`compatible_of`](crate::compatible_of).
    pub hwids: Option<Resource>,
    /// Device tree overlays in order.
    pub overlays: Vec<Resource>,
}

/// Type of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EntryKind {
    /// Type 1: a file `/loader/entries/*.conf`.
    Type1,
    /// Type 2: a unified kernel image `/EFI/Linux/*.efi`.
    Type2,
}

/// Bytes on a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resource {
    /// A whole file.
    File(FilePath),
    /// A section of a PE file.
    Section {
        /// The file.
        file: FilePath,
        /// Name of the section.
        section: &'static str,
        /// Its bytes in the file.
        range: SourceRange,
    },
}

/// A resource could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file does not exist.
    #[error("the file {path} does not exist on the volume of its entry")]
    NotFound {
        /// Path of the file.
        path: FilePath,
    },
    /// The path is that of a directory.
    #[error("{path} is not a file")]
    NotAFile {
        /// The path.
        path: FilePath,
    },
    /// The file system has an error.
    #[error("the file {path} cannot be opened")]
    FileSystem {
        /// Path of the file.
        path: FilePath,
        /// Cause.
        source: FsError,
    },
    /// The file is shorter than during the scan, or cannot be read.
    #[error("the file {path} cannot be read")]
    Read {
        /// Path of the file.
        path: FilePath,
        /// Cause.
        source: ReadError,
    },
    /// The file is not a device tree.
    #[error("the device tree in {path} is malformed")]
    DeviceTree {
        /// Path of the file.
        path: FilePath,
        /// Cause.
        source: RootCompatibleError,
    },
}

impl Resource {
    /// File with the bytes.
    #[must_use]
    pub fn file(&self) -> &FilePath {
        match self {
            Self::File(file) | Self::Section { file, .. } => file,
        }
    }

    /// Opens the bytes. Nothing is read but the directory.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub fn open<'a>(
        &self,
        file_system: &'a dyn FileSystem,
    ) -> Result<Window<Box<dyn ByteSource + 'a>>, OpenError> {
        let path = || self.file().clone();
        let fs_error = |source| OpenError::FileSystem { path: path(), source };
        let read_error = |source| OpenError::Read { path: path(), source };
        let node = file_system.lookup(self.file().as_str()).map_err(fs_error)?;
        let node = node.ok_or_else(|| OpenError::NotFound { path: path() })?;
        if !node.is_file() {
            return Err(OpenError::NotAFile { path: path() });
        }
        let source = file_system.open(&node).map_err(fs_error)?;
        let range = match self {
            Self::File(_) => SourceRange::whole(source.len().map_err(read_error)?),
            Self::Section { range, .. } => *range,
        };
        Window::new(source, range).map_err(read_error)
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => fmt::Display::fmt(file, f),
            Self::Section { file, section, .. } => write!(f, "{section} of {file}"),
        }
    }
}

impl Entry {
    /// Program for boots with EFI: that of the key `efi`, the unified kernel image, or the kernel, which should have an EFI stub.
    #[must_use]
    pub fn efi_program(&self) -> Option<&FilePath> {
        self.efi
            .as_ref()
            .or_else(|| self.kernel.as_ref().map(Resource::file))
    }

    /// Device tree for a machine whose own device tree has this string first in `compatible` of its root: the first of
    /// [`device_tree_candidates`](Self::device_tree_candidates) that is for the same model, else
    /// [`device_tree`](Self::device_tree). `None` keeps that of the machine.
    ///
    /// # Errors
    ///
    /// [`OpenError`] for a candidate before the one that matches.
    pub fn device_tree_for(
        &self,
        file_system: &dyn FileSystem,
        compatible: &str,
    ) -> Result<Option<&Resource>, OpenError> {
        for candidate in &self.device_tree_candidates {
            let path = || candidate.file().clone();
            let window = candidate.open(file_system)?;
            let source =
                SizedSource::new(&window).map_err(|source| OpenError::Read { path: path(), source })?;
            let found =
                root_compatible(&source).map_err(|source| OpenError::DeviceTree { path: path(), source })?;
            if found.as_deref() == Some(compatible) {
                return Ok(Some(candidate));
            }
        }
        Ok(self.device_tree.as_ref())
    }
}
