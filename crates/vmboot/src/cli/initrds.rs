//! Initial RAM disks: files, a directory, and a boot configuration.

use std::error::Error;
use std::path::{Path, PathBuf};

use boot_core::{ByteSource, CmdlineError, Initrds, RawCmdline};
use boot_linux::bootconfig::{Footer, MAX_LEN};
use zerocopy::IntoBytes as _;

use super::file::{self, FileError, Name};
use super::initrd_dir;
use super::uki::Part;
use super::words;

/// The initrds of a boot.
pub(crate) type InitrdFiles = Initrds<Box<dyn ByteSource>>;

/// Options of initrds.
#[derive(Debug, clap::Args)]
pub(crate) struct InitrdArgs {
    /// Initial RAM disk; `-` is standard input. Can be repeated: the kernel unpacks one after the other, those of a unified kernel image first.
    #[arg(id = "initrd", long, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Directory that becomes the last initrd: an archive of its content, which belongs to root. /dev/console is added if it is not there.
    #[arg(long, value_name = "DIR")]
    initrd_dir: Option<PathBuf>,
    /// Boot configuration for Linux, in the format of its bootconfig.rst: appended to the initrds, with `bootconfig` on the command line.
    #[arg(long, value_name = "FILE")]
    bootconfig: Option<PathBuf>,
}

/// The word on the command line that makes the kernel read the boot configuration.
const BOOTCONFIG: &str = "bootconfig";

impl InitrdArgs {
    /// `first`, then the initrds of the options, as one; `None` without any.
    pub(crate) fn open(&self, first: Vec<Part>) -> Result<Option<InitrdFiles>, Box<dyn Error>> {
        let mut files: Vec<Box<dyn ByteSource>> = Vec::new();
        for part in first {
            files.push(Box::new(part));
        }
        for path in &self.files {
            files.push(open_initrd(path)?);
        }
        if let Some(dir) = &self.initrd_dir {
            files.push(Box::new(initrd_dir::archive(dir)?));
        }
        if let Some(path) = &self.bootconfig {
            files.push(Box::new(bootconfig(path)?));
        }
        Ok((!files.is_empty()).then(|| Initrds::new(files)).transpose()?)
    }

    /// The command line with what the kernel needs to read the boot configuration.
    pub(crate) fn add_options(&self, line: RawCmdline) -> Result<RawCmdline, CmdlineError> {
        if self.bootconfig.is_none() || words::has(&line, BOOTCONFIG) {
            return Ok(line);
        }
        words::prepend([BOOTCONFIG.to_owned()], &line)
    }
}

/// Opens an initrd; an error if it is empty. A kernel is no initrd, but not an error: any kernel may get it.
fn open_initrd(path: &Path) -> Result<Box<dyn ByteSource>, Box<dyn Error>> {
    let file = file::open(path)?;
    if ByteSource::len(&file).map_err(FileError::with_path(path))? == 0 {
        return Err(FileError::Empty(Name::new(path)).into());
    }
    if let Ok(image) = boot_core::detect(&vmboot::formats()?, &file) {
        eprintln!(
            "warning: the initrd {} is a kernel ({})",
            Name::new(path),
            image.format()
        );
    }
    Ok(Box::new(file))
}

/// What follows the initrds for the boot configuration in a file.
fn bootconfig(path: &Path) -> Result<Vec<u8>, FileError> {
    let mut bytes = file::read(path, MAX_LEN)?;
    let footer = Footer::new(&bytes).map_err(FileError::with_path(path))?;
    bytes.resize(usize::try_from(footer.size.get()).unwrap_or(MAX_LEN), 0);
    bytes.extend_from_slice(footer.as_bytes());
    Ok(bytes)
}
