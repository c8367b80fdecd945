//! The kernel file, and the kernel inside it.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::path::Path;
use std::rc::Rc;

use boot_core::{BackingStore, ByteSource, ReadError, SizedSource};
use clap::ValueEnum;
use fmt_wrapped::{BzImageWrapper, Layer, Limits, OpenError, WRAPPERS, Wrapper, open};

use super::advised::UsageError;
use super::file::{self, FileError};
use super::uki::{self, Part, UkiArgs, UkiWrapper};

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
    /// Whether the kernel is the file itself.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the kernel was the payload of a bzImage.
    pub(crate) fn end_with_bzimage(&self) -> bool {
        self.0.last() == Some(&BzImageWrapper::NAME)
    }
}

/// Completes "inside": the innermost first.
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
pub(crate) struct Kernel {
    bytes: Bytes,
    pub(crate) wrappers: Wrappers,
    /// The unified kernel image that the kernel was in.
    pub(crate) uki: Option<uki::Boot>,
}

/// Options for the kernel file.
#[derive(Clone, Copy)]
pub(crate) struct KernelOptions<'a> {
    pub(crate) unpack: Unpack,
    /// Whether the boot needs the vmlinux of a bzImage.
    pub(crate) with_vmlinux: bool,
    pub(crate) uki: &'a UkiArgs,
}

enum Bytes {
    File(Rc<File>),
    Memory(Rc<Vec<u8>>),
    Part(Part),
}

impl Kernel {
    /// Opens the file at `path`, its wrappers, and the unified kernel image inside.
    pub(crate) fn open(path: &Path, options: KernelOptions<'_>) -> Result<Self, Box<dyn Error>> {
        let file = file::open(path)?;
        Self::of_file(file, options).map_err(|source| {
            // Those of options and of addons are not about this file.
            if source.is::<UsageError>() || source.is::<FileError>() {
                return source;
            }
            FileError::of(path, source).into()
        })
    }

    fn of_file(file: File, options: KernelOptions<'_>) -> Result<Self, Box<dyn Error>> {
        let mut kernel = Self {
            bytes: Bytes::File(Rc::new(file)),
            wrappers: Wrappers::default(),
            uki: None,
        };
        kernel.unwrap(options)?;
        if options.unpack == Unpack::Never || !kernel.open_uki(options)? {
            options.uki.check_no_uki()?;
        }
        if kernel.wrappers.is_empty() && options.unpack == Unpack::Always {
            return Err(NotWrapped.into());
        }
        Ok(kernel)
    }

    /// Opens the wrappers, of which the kernel keeps the content.
    fn unwrap(&mut self, options: KernelOptions<'_>) -> Result<(), Box<dyn Error>> {
        let layers = layers(self.source(), options)?;
        self.wrappers.0.extend(layers.iter().map(|layer| layer.wrapper));
        if let Some(layer) = layers.into_iter().last() {
            self.bytes = Bytes::Memory(Rc::new(layer.content));
        }
        Ok(())
    }

    /// Opens the unified kernel image that the bytes are, of which the kernel keeps the kernel. False if they are none.
    fn open_uki(&mut self, options: KernelOptions<'_>) -> Result<bool, Box<dyn Error>> {
        let Some(boot) = uki::open(&self.bytes.share(), options.uki)? else {
            return Ok(false);
        };
        self.bytes = Bytes::Part(boot.kernel.clone().into_window()?);
        self.uki = Some(boot);
        self.wrappers.0.push(UkiWrapper::NAME);
        self.unwrap(options)?;
        Ok(true)
    }

    /// Microcode and initrds of the unified kernel image.
    pub(crate) fn initrds(&self) -> Result<Vec<Part>, ReadError> {
        let sections = self.uki.iter().flat_map(|uki| &uki.initrds);
        sections.map(|section| section.clone().into_window()).collect()
    }

    /// Calls `f` with the bytes of the kernel in memory; those of a file are read.
    pub(crate) fn change<T>(&mut self, f: impl FnOnce(&mut [u8]) -> T) -> Result<T, ReadError> {
        // Only the parts of a unified kernel image share its bytes.
        if let Bytes::Memory(bytes) = &mut self.bytes
            && let Some(bytes) = Rc::get_mut(bytes)
        {
            return Ok(f(bytes));
        }
        let source = SizedSource::new(self.source())?;
        let len = usize::try_from(source.len()).unwrap_or(usize::MAX);
        let mut bytes = source.read_vec(0, len)?;
        let result = f(&mut bytes);
        self.bytes = Bytes::Memory(Rc::new(bytes));
        Ok(result)
    }

    fn source(&self) -> &dyn ByteSource {
        match &self.bytes {
            Bytes::File(file) => file,
            Bytes::Memory(bytes) => bytes,
            Bytes::Part(part) => part,
        }
    }
}

impl Bytes {
    fn share(&self) -> Rc<dyn ByteSource> {
        match self {
            Self::File(file) => Rc::<File>::clone(file),
            Self::Memory(bytes) => Rc::<Vec<u8>>::clone(bytes),
            Self::Part(part) => Rc::new(part.clone()),
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
fn layers(source: &dyn ByteSource, options: KernelOptions<'_>) -> Result<Vec<Layer>, OpenError> {
    let is_opened = |wrapper: &&dyn Wrapper| match options.unpack {
        Unpack::Never => false,
        Unpack::Auto => options.with_vmlinux || wrapper.name() != BzImageWrapper::NAME,
        Unpack::Always => true,
    };
    let wrappers: Vec<_> = WRAPPERS.into_iter().filter(is_opened).collect();
    match open(&source, &wrappers, &Limits::default()) {
        // The format names the command that decompresses the file.
        Err(error) if options.unpack == Unpack::Auto && error.layer == 1 && error.is_not_built_in() => {
            Ok(Vec::new())
        }
        layers => layers,
    }
}
