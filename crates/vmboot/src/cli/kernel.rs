//! The kernel file, and the kernel inside it.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::path::Path;

use boot_core::{BackingStore, ByteSource, ReadError, SizedSource};
use clap::ValueEnum;
use fmt_wrapped::{BzImageWrapper, Layer, Limits, WRAPPERS, Wrapper, open};

use super::file::{self, FileError, Name};

/// Which wrappers are opened before a boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Unpack {
    /// Those that no protocol can start, and a bzImage if the boot needs its vmlinux: for a protocol other than `linux`, or for --kaslr.
    #[default]
    Auto,
    /// All, and an error without any.
    Always,
    /// None.
    Never,
}

/// A file of `--unpack always` has no kernel inside.
#[derive(Debug, thiserror::Error)]
#[error("there is nothing to unpack; omit --unpack")]
struct NotWrapped;

/// The names of wrappers, the outermost first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wrappers(Vec<&'static str>);

impl Wrappers {
    /// Whether the kernel was the payload of a bzImage.
    pub(crate) fn end_with_bzimage(&self) -> bool {
        self.0.last() == Some(&BzImageWrapper::NAME)
    }
}

/// Completes "unpacked from".
impl fmt::Display for Wrappers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.0.iter().rev().enumerate() {
            let separator = if index == 0 { "" } else { " in " };
            write!(f, "{separator}{name}")?;
        }
        Ok(())
    }
}

/// A kernel: a file, or the content of its last layer.
#[derive(Debug)]
pub(crate) struct Kernel {
    bytes: Bytes,
    pub(crate) wrappers: Wrappers,
}

#[derive(Debug)]
enum Bytes {
    File(File),
    Memory(Vec<u8>),
}

impl Kernel {
    /// Opens the file at `path`, and its wrappers; `with_vmlinux` if the boot needs that of a bzImage.
    pub(crate) fn open(path: &Path, unpack: Unpack, with_vmlinux: bool) -> Result<Self, Box<dyn Error>> {
        let file = file::open(path)?;
        let layers = layers(&file, unpack, with_vmlinux).map_err(|source| FileError::Content {
            name: Name::new(path),
            source,
        })?;
        let wrappers = Wrappers(layers.iter().map(|layer| layer.wrapper).collect());
        let content = layers.into_iter().last().map(|layer| layer.content);
        Ok(Self {
            bytes: content.map_or(Bytes::File(file), Bytes::Memory),
            wrappers,
        })
    }

    /// Calls `f` with the bytes of the kernel in memory; those of a file are read.
    pub(crate) fn change<T>(&mut self, f: impl FnOnce(&mut [u8]) -> T) -> Result<T, ReadError> {
        match &mut self.bytes {
            Bytes::Memory(bytes) => Ok(f(bytes)),
            Bytes::File(file) => {
                let source = SizedSource::new(file)?;
                let len = usize::try_from(source.len()).unwrap_or(usize::MAX);
                let mut bytes = source.read_vec(0, len)?;
                let result = f(&mut bytes);
                self.bytes = Bytes::Memory(bytes);
                Ok(result)
            }
        }
    }

    fn source(&self) -> &dyn ByteSource {
        match &self.bytes {
            Bytes::Memory(bytes) => bytes,
            Bytes::File(file) => file,
        }
    }
}

impl ByteSource for Kernel {
    fn len(&self) -> Result<u64, ReadError> {
        self.source().len()
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        self.source().read_exact_at(offset, buf)
    }

    fn backing_store(&self) -> BackingStore<'_> {
        self.source().backing_store()
    }
}

/// The layers of a file that are opened for a boot.
fn layers(file: &File, unpack: Unpack, with_vmlinux: bool) -> Result<Vec<Layer>, Box<dyn Error>> {
    let is_opened = |wrapper: &&dyn Wrapper| match unpack {
        Unpack::Never => false,
        Unpack::Auto => with_vmlinux || wrapper.name() != BzImageWrapper::NAME,
        Unpack::Always => true,
    };
    let wrappers: Vec<_> = WRAPPERS.into_iter().filter(is_opened).collect();
    let layers = match open(file, &wrappers, &Limits::default()) {
        // The format names the command that decompresses the file.
        Err(error) if unpack == Unpack::Auto && error.layer == 1 && error.is_not_built_in() => Vec::new(),
        layers => layers?,
    };
    if layers.is_empty() && unpack == Unpack::Always {
        return Err(NotWrapped.into());
    }
    Ok(layers)
}
