//! Files on the command line.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io::{self, IsTerminal as _, Read};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use boot_core::{ByteCount, SizedSource};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, OFlags, fcntl_getfl, fcntl_setfl, memfd_create};
use rustix::io::Errno;

/// Path of standard input.
const STDIN: &str = "-";

/// Maximum number of bytes from a pipe, which are kept in memory.
const PIPE_MAX: u64 = 2 << 30;

/// Time in seconds after which a note says that a pipe has no data yet.
const PATIENCE: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};

/// A path as in messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name(PathBuf);

impl Name {
    pub(crate) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Whether it is standard input.
    pub(crate) fn is_stdin(&self) -> bool {
        is_stdin(&self.0)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_stdin() {
            return f.write_str("standard input");
        }
        self.0.display().fmt(f)
    }
}

/// A file on the command line cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("cannot open {name}")]
    Open { name: Name, source: io::Error },
    #[error("{name} is {what}, not a file")]
    NotAFile { name: Name, what: &'static str },
    #[error("cannot read {name}")]
    Read { name: Name, source: io::Error },
    #[error("{name} has more than {}, the limit for a pipe", ByteCount(*.max))]
    TooLong { name: Name, max: u64 },
    #[error("{0} is empty")]
    Empty(Name),
    #[error("standard input can be only one of the files")]
    StdinTwice,
    /// Another error about the content of a file.
    #[error("{name}")]
    Content { name: Name, source: Box<dyn Error> },
}

/// A file cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}", path.display())]
pub(crate) struct WriteError {
    pub(crate) path: PathBuf,
    pub(crate) source: io::Error,
}

impl FileError {
    /// Adds `path` to an error.
    pub(crate) fn with_path<E: Error + 'static>(path: &Path) -> impl FnOnce(E) -> Self + use<'_, E> {
        move |source| Self::of(path, Box::new(source))
    }

    /// Another error about the content of the file at `path`.
    pub(crate) fn of(path: &Path, source: Box<dyn Error>) -> Self {
        let name = Name::new(path);
        Self::Content { name, source }
    }
}

/// Whether the path is that of standard input.
pub(crate) fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == STDIN
}

/// Opens a file for reads at any offset. `-` is standard input. The content of a pipe is copied to memory.
pub(crate) fn open(path: &Path) -> Result<File, FileError> {
    let name = Name::new(path);
    let opened = if is_stdin(path) {
        io::stdin().as_fd().try_clone_to_owned().map(File::from)
    } else {
        // Does not block: opening a FIFO without a writer would, and silently.
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        File::options().read(true).custom_flags(flags).open(path)
    };
    let open_error = |source| FileError::Open {
        name: name.clone(),
        source,
    };
    let file = opened.map_err(open_error)?;
    let kind = file.metadata().map_err(open_error)?.file_type();
    let what = if kind.is_file() || kind.is_block_device() {
        return Ok(file);
    } else if kind.is_fifo() || kind.is_socket() {
        return spool(&file, &name, PIPE_MAX);
    } else if kind.is_dir() {
        "a directory"
    } else if file.is_terminal() {
        "a terminal"
    } else {
        "a character device"
    };
    Err(FileError::NotAFile { name, what })
}

/// Reads a file of at most `max` bytes; of a longer one `max + 1` bytes, which the parser refuses.
pub(crate) fn read(path: &Path, max: usize) -> Result<Vec<u8>, FileError> {
    let file = open(path)?;
    let source = SizedSource::new(&file).map_err(FileError::with_path(path))?;
    let longest = max.saturating_add(1);
    let len = usize::try_from(source.len()).map_or(longest, |len| len.min(longest));
    source.read_vec(0, len).map_err(FileError::with_path(path))
}

/// Copies the rest of a pipe to a file in memory, at most `max` bytes.
fn spool(pipe: &File, name: &Name, max: u64) -> Result<File, FileError> {
    let copy = || {
        wait_for_data(pipe, name)?;
        let mut file = memory_file()?;
        // Standard input is shared with other processes, which keep their flags.
        let flags = fcntl_getfl(pipe)?;
        fcntl_setfl(pipe, flags - OFlags::NONBLOCK)?;
        let copied = io::copy(&mut pipe.take(max.saturating_add(1)), &mut file);
        fcntl_setfl(pipe, flags)?;
        Ok((file, copied?))
    };
    let (file, len) = copy().map_err(|source| FileError::Read {
        name: name.clone(),
        source,
    })?;
    if len > max {
        return Err(FileError::TooLong {
            name: name.clone(),
            max,
        });
    }
    Ok(file)
}

/// A file in memory. Hosts can refuse those that may be executed (`vm.memfd_noexec`), and before 6.3 do not know the flag.
fn memory_file() -> io::Result<File> {
    let create = |flags| memfd_create("vmboot", MemfdFlags::CLOEXEC | flags);
    let file = create(MemfdFlags::NOEXEC_SEAL).or_else(|error| match error {
        Errno::INVAL => create(MemfdFlags::empty()),
        error => Err(error),
    })?;
    Ok(File::from(file))
}

/// Waits until a pipe has data or its writer has closed it; before a writer opens it, a read would see its end.
fn wait_for_data(pipe: &File, name: &Name) -> io::Result<()> {
    let mut fds = [PollFd::new(pipe, PollFlags::IN)];
    if rustix::io::retry_on_intr(|| poll(&mut fds, Some(&PATIENCE)))? == 0 {
        eprintln!("note: waiting for data from {name}");
        rustix::io::retry_on_intr(|| poll(&mut fds, None))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::FileExt as _;
    use std::thread;

    use super::*;

    #[test]
    fn pipes_are_copied_up_to_a_limit() {
        let check = |len: usize, max: u64| {
            let (reader, mut writer) = io::pipe().unwrap();
            let content: Vec<u8> = (0..=250).cycle().take(len).collect();
            let expected = content.clone();
            let writing = thread::spawn(move || writer.write_all(&content));
            let reader = File::from(std::os::fd::OwnedFd::from(reader));
            let result = spool(&reader, &Name::new(Path::new("-")), max);
            let file = match result {
                Ok(file) => file,
                Err(error) => {
                    assert!(matches!(error, FileError::TooLong { .. }), "{error}");
                    // The rest of the data has no reader.
                    let _ = writing.join().unwrap();
                    return false;
                }
            };
            writing.join().unwrap().unwrap();
            let mut found = vec![0; len];
            file.read_exact_at(&mut found, 0).unwrap();
            assert_eq!(file.metadata().unwrap().len(), len as u64);
            assert!(found == expected);
            true
        };
        assert!(check(0, 10));
        assert!(check(10, 10));
        assert!(!check(11, 10));
        assert!(check(300_000, 300_000));
        assert!(!check(300_000, 299_999));
    }
}
