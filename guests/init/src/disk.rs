//! Report on the disks, with `init.disk`.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use contract::Digest;

use crate::report::digest_of;

/// Where the written bytes are on a disk.
const OFFSET: u64 = 0x3200;

/// Number of bytes that are written: not a multiple of a page.
const LENGTH: usize = 0x1_1600;

/// The disks of the system, in the order of their names.
pub(crate) struct DiskReport(Vec<Disk>);

struct Disk {
    name: String,
    read_only: bool,
    /// Of all bytes.
    content: io::Result<Option<Digest>>,
    /// Whether bytes were written, and read back from the disk.
    written: io::Result<()>,
}

impl DiskReport {
    /// Reads all virtio disks, and tries to write to them.
    pub(crate) fn read() -> Self {
        let entries = fs::read_dir("/sys/block").into_iter().flatten().flatten();
        let mut names: Vec<_> = entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| name.starts_with("vd"))
            .collect();
        names.sort();
        Self(names.into_iter().map(Disk::read).collect())
    }
}

impl Disk {
    fn read(name: String) -> Self {
        let path = Path::new("/dev").join(&name);
        let flag = fs::read_to_string(Path::new("/sys/block").join(&name).join("ro"));
        Self {
            read_only: flag.is_ok_and(|flag| flag.trim() == "1"),
            content: digest_of(&path),
            written: write(&path),
            name,
        }
    }
}

/// Writes bytes and reads them back from the disk, not from the page cache.
fn write(path: &Path) -> io::Result<()> {
    let data: Vec<u8> = (0..=250).cycle().take(LENGTH).collect();
    let disk = OpenOptions::new().write(true).open(path)?;
    disk.write_all_at(&data, OFFSET)?;
    disk.sync_all()?;
    drop(disk);
    fs::write("/proc/sys/vm/drop_caches", "3")?;
    let mut found = vec![0; LENGTH];
    File::open(path)?.read_exact_at(&mut found, OFFSET)?;
    if found == data {
        Ok(())
    } else {
        Err(io::Error::other("other bytes were read than written"))
    }
}

/// Two lines for each disk.
impl fmt::Display for DiskReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return writeln!(f, "disk: none");
        }
        for disk in &self.0 {
            let name = &disk.name;
            let mode = if disk.read_only { "ro" } else { "rw" };
            match &disk.content {
                Ok(Some(Digest { len, hash })) => writeln!(f, "disk: {name} {mode} {len} {hash:#018x}")?,
                Ok(None) => writeln!(f, "disk: {name} {mode} without a device file")?,
                Err(error) => writeln!(f, "disk: {name} {mode} unknown ({error})")?,
            }
            match &disk.written {
                Ok(()) => writeln!(f, "disk write: {name} read back")?,
                Err(error) => writeln!(f, "disk write: {name} {error}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_have_two_lines_each() {
        let disk = |name: &str, read_only, content, written| Disk {
            name: name.to_owned(),
            read_only,
            content,
            written,
        };
        let report = DiskReport(vec![
            disk("vda", false, Ok(Some(Digest { len: 512, hash: 7 })), Ok(())),
            disk("vdb", true, Ok(None), Err(io::Error::from_raw_os_error(30))),
        ]);
        assert_eq!(
            report.to_string(),
            "disk: vda rw 512 0x0000000000000007\ndisk write: vda read back\n\
             disk: vdb ro without a device file\ndisk write: vdb Read-only file system (os error 30)\n"
        );
        assert_eq!(DiskReport(Vec::new()).to_string(), "disk: none\n");
    }
}
