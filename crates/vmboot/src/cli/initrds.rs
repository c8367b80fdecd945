//! Initial RAM disks: files, a directory, and a boot configuration.

use std::error::Error;
use std::path::{Path, PathBuf};

use boot_core::{ByteSource, CmdlineError, Initrds, RawCmdline, SizedSource};
use boot_linux::bootconfig::{Footer, MAX_LEN};
use zerocopy::IntoBytes as _;

use super::file::{self, FileError, Name};
use super::initrd_dir;

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
    /// The initrds of the options, as one; `None` without any.
    pub(crate) fn open(&self) -> Result<Option<InitrdFiles>, Box<dyn Error>> {
        let mut files = Vec::new();
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
        let mut words = line.as_bytes().split(u8::is_ascii_whitespace);
        if self.bootconfig.is_none() || words.any(|word| word == BOOTCONFIG.as_bytes()) {
            return Ok(line);
        }
        // At the start: behind `--` are arguments of init.
        let parts: Vec<&[u8]> = [BOOTCONFIG.as_bytes(), line.as_bytes()]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect();
        RawCmdline::from_bytes(parts.join(&b' '))
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
    let file = file::open(path)?;
    let source = SizedSource::new(&file).map_err(FileError::with_path(path))?;
    // One byte more than possible is refused by the footer.
    let len = usize::try_from(source.len()).unwrap_or(MAX_LEN).min(MAX_LEN + 1);
    let mut bytes = source.read_vec(0, len).map_err(FileError::with_path(path))?;
    let footer = Footer::new(&bytes).map_err(FileError::with_path(path))?;
    bytes.resize(usize::try_from(footer.size.get()).unwrap_or(len), 0);
    bytes.extend_from_slice(footer.as_bytes());
    Ok(bytes)
}
