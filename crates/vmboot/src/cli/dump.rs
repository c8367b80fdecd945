//! Dump of a plan into a directory, one file for each piece.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use boot_core::{BootPlan, ByteSource, GuestMemory, GuestRange, LoadError, MemoryError, Sources};
use vmboot::report::DumpReport;

/// Largest number of files. Plans of real kernels have fewer than 100 pieces; an image with more segments than that is made
/// to fill the file system.
const MAX_FILES: usize = 4096;

/// Size of the blocks that become holes of a file if they are zero.
const BLOCK: usize = 4096;

/// A plan could not be dumped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DumpError {
    #[error("{} cannot be used as a directory for files", path.display())]
    Directory { path: PathBuf, source: io::Error },
    #[error("{} is not empty, and nothing is overwritten; use a new or an empty directory", path.display())]
    NotEmpty { path: PathBuf },
    #[error("the plan has {found} pieces with bytes, and --dump writes at most {MAX_FILES} files")]
    TooManyFiles { found: usize },
    #[error("the dump is incomplete: cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("the dump in {} is incomplete", path.display())]
    Load { path: PathBuf, source: LoadError },
}

/// Writes the pieces of `plan` into `dir`, which is created if missing, then `index.txt` and `index.json`; returns the number
/// of files. Existing files are never changed, and files are only created in `dir`.
pub(crate) fn dump(plan: &BootPlan, sources: &Sources<'_>, dir: &Path) -> Result<usize, DumpError> {
    let index = DumpReport::from(plan);
    let found = index.pieces.iter().filter(|piece| piece.file.is_some()).count();
    if found > MAX_FILES {
        return Err(DumpError::TooManyFiles { found });
    }
    prepare(dir)?;
    let mut files = Files {
        dir,
        index: &index,
        error: None,
    };
    // `BootPlan::load` itself writes the files, so that they have the bytes that a guest gets.
    if let Err(source) = plan.load(sources, &mut files) {
        return Err(files.error.unwrap_or_else(|| DumpError::Load {
            path: dir.to_owned(),
            source,
        }));
    }
    // The index is last: a directory with an index is complete.
    let json = serde_json::to_string_pretty(&index).map(|json| json + "\n");
    for (name, content) in [
        ("index.txt", Ok(index.to_string())),
        ("index.json", json.map_err(io::Error::from)),
    ] {
        let path = dir.join(name);
        content
            .and_then(|content| File::create_new(&path)?.write_all(content.as_bytes()))
            .map_err(|source| DumpError::Write { path, source })?;
    }
    Ok(found + 2)
}

/// The error of creating `dir`: a file in its place is no directory, where Linux reports that something exists.
pub(crate) fn not_a_directory(dir: &Path, error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::AlreadyExists && !dir.is_dir() {
        return rustix::io::Errno::NOTDIR.into();
    }
    error
}

/// Creates `dir`, or checks that it is empty.
pub(crate) fn prepare(dir: &Path) -> Result<(), DumpError> {
    let entry = fs::create_dir_all(dir)
        .and_then(|()| fs::read_dir(dir)?.next().transpose())
        .map_err(|source| DumpError::Directory {
            path: dir.to_owned(),
            source: not_a_directory(dir, source),
        })?;
    match entry {
        None => Ok(()),
        Some(_) => Err(DumpError::NotEmpty { path: dir.to_owned() }),
    }
}

/// Guest memory whose pieces are files. Zeros are not written: they have no file.
struct Files<'a> {
    dir: &'a Path,
    index: &'a DumpReport,
    error: Option<DumpError>,
}

impl Files<'_> {
    /// Creates the file of the piece at `range` and calls `write` with it. An error of `write` that is not one of a source is
    /// kept in `self.error`.
    fn create(
        &mut self,
        range: GuestRange,
        write: impl FnOnce(&File) -> Result<(), MemoryError>,
    ) -> Result<(), MemoryError> {
        let name = self
            .index
            .pieces
            .binary_search_by_key(&range.start(), |piece| piece.load.start.0)
            .ok()
            .and_then(|at| self.index.pieces.get(at)?.file.as_deref());
        let path = self.dir.join(name.ok_or(MemoryError::NotBacked(range))?);
        let written = File::create_new(&path)
            .map_err(failed_access(range))
            .and_then(|file| {
                write(&file)?;
                // Holes at the end are part of the file.
                file.set_len(range.len()).map_err(failed_access(range))
            });
        match written {
            Err(MemoryError::Access { source, .. }) => {
                let source = io::Error::other(source);
                self.error = Some(DumpError::Write { path, source });
                Err(MemoryError::NotBacked(range))
            }
            other => other,
        }
    }
}

/// A failed access to the file of `range`.
fn failed_access(range: GuestRange) -> impl FnOnce(io::Error) -> MemoryError {
    move |source| MemoryError::Access {
        range,
        source: Box::new(source),
    }
}

/// Writes `bytes` at `offset` of a new file; blocks of zeros stay holes.
fn write_sparse(file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    let mut at = offset;
    for block in bytes.chunks(BLOCK) {
        if block.iter().any(|byte| *byte != 0) {
            file.write_all_at(block, at)?;
        }
        at += block.len() as u64;
    }
    Ok(())
}

impl GuestMemory for Files<'_> {
    fn check(&self, _: GuestRange) -> Result<(), MemoryError> {
        Ok(())
    }

    fn write(&mut self, addr: u64, bytes: &[u8]) -> Result<(), MemoryError> {
        // A slice is shorter than the address space, and the loads of a plan are inside it.
        let range = GuestRange::new(addr, bytes.len() as u64).unwrap_or(GuestRange::EMPTY);
        self.create(range, |file| {
            write_sparse(file, 0, bytes).map_err(failed_access(range))
        })
    }

    fn zero(&mut self, _: GuestRange) -> Result<(), MemoryError> {
        Ok(())
    }

    fn read(&self, addr: u64, buf: &mut [u8]) -> Result<(), MemoryError> {
        let range = GuestRange::new(addr, buf.len() as u64).unwrap_or(GuestRange::EMPTY);
        Err(MemoryError::NotBacked(range))
    }

    fn copy_from(
        &mut self,
        range: GuestRange,
        source: &dyn ByteSource,
        offset: u64,
    ) -> Result<(), MemoryError> {
        self.create(range, |file| {
            let mut buf = vec![0; 64 * BLOCK];
            let mut done = 0;
            while done < range.len() {
                let take = usize::try_from(range.len() - done).map_or(buf.len(), |rest| rest.min(buf.len()));
                source.read_exact_at(offset + done, &mut buf[..take])?;
                write_sparse(file, done, &buf[..take]).map_err(failed_access(range))?;
                done += take as u64;
            }
            Ok(())
        })
    }
}
