//! FAT file systems in a range of a disk image.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;

use fatfs::{FatType, FileSystem, FormatVolumeOptions, FsOptions};

use super::error::MediumError;
use super::tree::Tree;
use crate::error::Error;

/// FAT32 has at least this number of clusters (Microsoft's FAT specification, "FAT type determination").
const FAT32_CLUSTERS: u64 = 65_525;

/// Space besides the files, in bytes, so that boot loaders can write.
const RESERVE: u64 = 40 << 20;

/// The same where nothing writes: directories, and the ends of the last clusters.
const COMPACT_RESERVE: u64 = 1 << 20;

/// The smallest file system, in bytes.
const SMALLEST: u64 = 64 << 20;

/// The volume serial number.
pub(super) const VOLUME_ID: u32 = 0x564d_4657;

/// Sizes of the units of a file system, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Units {
    pub(super) block: u16,
    pub(super) cluster: u32,
}

impl Units {
    /// The length in bytes of a FAT32 with files of `content` bytes and space for boot loaders.
    pub(super) fn length(self, content: u64) -> u64 {
        (content + RESERVE).max(SMALLEST).max(self.fat32())
    }

    /// The length in bytes of a FAT32 with files of `content` bytes and little else.
    pub(super) fn compact_length(self, content: u64) -> u64 {
        // Two FATs have four bytes for each cluster.
        let tables = content / u64::from(self.cluster) * 8;
        (content + tables + COMPACT_RESERVE).max(self.fat32())
    }

    /// The length in bytes of the smallest FAT32.
    fn fat32(self) -> u64 {
        (FAT32_CLUSTERS + 64) * (u64::from(self.cluster) + 8)
    }
}

/// Makes a FAT32 with the files of `tree` in `range` of the disk image `path`.
pub(super) fn write(path: &Path, range: Range<u64>, units: Units, tree: &Tree) -> Result<(), Error> {
    let open = || {
        let file = OpenOptions::new().read(true).write(true).open(path);
        Window::new(file?, range.clone())
    };
    let failed = |source| {
        Error::from(MediumError::Fat {
            path: path.to_path_buf(),
            source,
        })
    };
    let options = FormatVolumeOptions::new()
        .fat_type(FatType::Fat32)
        .bytes_per_sector(units.block)
        .bytes_per_cluster(units.cluster)
        .volume_id(VOLUME_ID)
        .volume_label(*b"ESP        ");
    open()
        .and_then(|window| fatfs::format_volume(window, options))
        .map_err(failed)?;
    let file_system = open()
        .and_then(|window| FileSystem::new(window, FsOptions::new()))
        .map_err(failed)?;
    let root = file_system.root_dir();
    for (name, source) in tree.iter() {
        for (end, _) in name.match_indices('/') {
            root.create_dir(&name[..end]).map_err(failed)?;
        }
        let bytes = source.read()?;
        root.create_file(name)
            .and_then(|mut file| file.write_all(&bytes))
            .map_err(failed)?;
    }
    drop(root);
    file_system.unmount().map_err(failed)
}

/// A range of a file, as a file of its own.
#[derive(Debug)]
struct Window {
    file: File,
    range: Range<u64>,
    position: u64,
}

impl Window {
    fn new(mut file: File, range: Range<u64>) -> io::Result<Self> {
        file.seek(SeekFrom::Start(range.start))?;
        Ok(Self {
            file,
            range,
            position: 0,
        })
    }

    fn length(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// How much of `wanted` bytes lies inside the range.
    fn available(&self, wanted: usize) -> usize {
        let left = self.length().saturating_sub(self.position);
        usize::try_from(left).map_or(wanted, |left| left.min(wanted))
    }
}

impl Read for Window {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.available(buffer.len());
        let count = self.file.read(&mut buffer[..count])?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Write for Window {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.available(bytes.len());
        let count = self.file.write(&bytes[..count])?;
        self.position += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for Window {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(distance) => self.length().checked_add_signed(distance),
            SeekFrom::Current(distance) => self.position.checked_add_signed(distance),
        };
        let position = position.ok_or(io::ErrorKind::InvalidInput)?;
        self.file.seek(SeekFrom::Start(self.range.start + position))?;
        self.position = position;
        Ok(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a file system between other bytes, and gives it and the names and contents that a reader finds.
    fn check(units: Units) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk.img");
        let length = units.length(0);
        let before = 1 << 20;
        let file = File::create(&path).unwrap();
        file.set_len(before + length + 512).unwrap();
        let big: Vec<u8> = (0..=3 * units.cluster)
            .map(|index| index.to_le_bytes()[1])
            .collect();
        let mut tree = Tree::default();
        tree.bytes("EFI/BOOT/BOOTX64.EFI", big.clone());
        tree.bytes("EFI/debian/grub.cfg", "x");
        tree.bytes("loader/entries/a long name with 6.12+deb13.conf", "");
        write(&path, before..before + length, units, &tree).unwrap();

        let mut whole = File::open(&path).unwrap();
        let mut boot_sector = [0; 512];
        whole.seek(SeekFrom::Start(before)).unwrap();
        whole.read_exact(&mut boot_sector).unwrap();
        assert_eq!(boot_sector[11..13], units.block.to_le_bytes());
        assert_eq!(u32::from(boot_sector[13]) * u32::from(units.block), units.cluster);
        assert_eq!(&boot_sector[82..90], b"FAT32   ");
        assert_eq!(&boot_sector[510..], [0x55, 0xaa]);
        let mut end = [1; 512];
        whole.seek(SeekFrom::Start(before + length)).unwrap();
        whole.read_exact(&mut end).unwrap();
        assert_eq!(end, [0; 512]);

        let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let window = Window::new(file, before..before + length).unwrap();
        let file_system = FileSystem::new(window, FsOptions::new()).unwrap();
        assert_eq!(file_system.fat_type(), FatType::Fat32);
        for (name, source) in tree.iter() {
            let mut content = Vec::new();
            let opened = file_system.root_dir().open_file(name);
            let mut file = opened.unwrap_or_else(|error| panic!("{name}: {error}"));
            file.read_to_end(&mut content).unwrap();
            assert!(*content == *source.read().unwrap(), "{name}");
        }
    }

    #[test]
    fn files_are_in_the_file_system() {
        check(Units {
            block: 512,
            cluster: 512,
        });
        check(Units {
            block: 512,
            cluster: 4096,
        });
        check(Units {
            block: 4096,
            cluster: 4096,
        });
    }

    #[test]
    fn a_window_ends_where_its_range_does() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let mut window = Window::new(file, 2..6).unwrap();
        assert_eq!(window.write(b"abcdef").unwrap(), 4);
        assert_eq!(window.write(b"g").unwrap(), 0);
        assert_eq!(window.seek(SeekFrom::End(-3)).unwrap(), 1);
        let mut content = String::new();
        window.read_to_string(&mut content).unwrap();
        assert_eq!(content, "bcd");
        assert!(window.seek(SeekFrom::Current(-5)).is_err());
        let mut all = String::new();
        window.file.seek(SeekFrom::Start(0)).unwrap();
        window.file.read_to_string(&mut all).unwrap();
        assert_eq!(all, "01abcd6789");
    }
}
