//! Boot media: disk images with a boot loader, a kernel and an initrd, made without root and without loop devices.
//!
//! Media are in `target/xtask/firmware/media/`. Each has a list of its inputs beside it and is made again when they differ.

pub(crate) mod content;
mod debian_root;
mod directory;
pub(crate) mod entry;
pub(crate) mod error;
mod ext4;
mod fat;
pub(super) mod initrd;
pub(crate) mod kind;
pub(crate) mod partitions;
pub(crate) mod spec;
mod tree;
mod uki;

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use self::content::{Content, Root};
use self::debian_root::RootImage;
use self::entry::EntryFiles;
pub(super) use self::initrd::ensure as ensure_initrd;
use self::partitions::Use;
use self::spec::Medium;
use self::tree::Tree;
use crate::arch::ArchRow;
use crate::error::{Error, WithPath as _};
use crate::progress::Step;
use crate::workspace::Workspace;

/// Version of the code that writes disks, to increment when it writes other bytes for the same files.
const WRITER: u32 = 1;

impl Medium {
    /// Makes the medium unless it is already there, and returns the path of its image.
    pub(crate) fn ensure(&self, workspace: &Workspace, row: &ArchRow) -> Result<PathBuf, Error> {
        let content = Content::collect(workspace, row, self)?;
        let directory = directory::ensure(workspace)?;
        let path = directory.join(self.file_name(row.name));
        let inputs = self.inputs(&content)?;
        let list = path.with_extension("inputs");
        if path.exists() && fs::read_to_string(&list).is_ok_and(|known| known == inputs) {
            return Ok(path);
        }
        let _step = Step::start(format!("making the medium {}", path.display()));
        let partial = path.with_extension("partial");
        self.write(workspace, &content, &partial)?;
        fs::rename(&partial, &path).with_path(&path)?;
        fs::write(&list, inputs).with_path(&list)?;
        Ok(path)
    }

    /// The inputs of a medium as text: the options, and a checksum for each file.
    fn inputs(&self, content: &Content) -> Result<String, Error> {
        let mut text = format!("writer {WRITER}\n{self:?}\n");
        let root = match &content.root {
            Some(Root::Tree(tree)) => Some(tree),
            Some(Root::Image(image)) => {
                text += &image.inputs;
                None
            }
            None => None,
        };
        for (volume, tree) in [
            ("esp", Some(&content.esp)),
            ("xbootldr", content.xbootldr.as_ref()),
            ("root", root),
        ] {
            for (name, source) in tree.into_iter().flat_map(Tree::iter) {
                let bytes = source.read()?;
                // Writing to a string cannot fail.
                let _: Result<(), std::fmt::Error> = writeln!(
                    text,
                    "{volume} {name} {} {:08x}",
                    bytes.len(),
                    crc32fast::hash(&bytes)
                );
            }
        }
        Ok(text)
    }

    fn write(&self, workspace: &Workspace, content: &Content, path: &Path) -> Result<(), Error> {
        let esp = content.esp.length()?;
        // The tests carry these disks in the memory of the lab.
        let esp = if self.is_for_vmboot {
            self.units().compact_length(esp)
        } else {
            self.units().length(esp)
        };
        let mut wanted = vec![(Use::Esp, esp)];
        if let Some(tree) = &content.xbootldr {
            wanted.push((Use::Xbootldr, ext4::length(tree.length()?)));
        }
        match &content.root {
            Some(Root::Tree(root)) => wanted.push((Use::Root, ext4::length(root.length()?))),
            Some(Root::Image(RootImage { path, .. })) => {
                wanted.push((Use::Root, fs::metadata(path).with_path(path)?.len()));
            }
            None => {}
        }
        let (partitions, length) = partitions::place(&wanted);
        // Without the file of an interrupted run.
        File::create(path)
            .and_then(|file| file.set_len(length))
            .with_path(path)?;
        for partition in &partitions {
            let range = partition.bytes.clone();
            let usage = partition.usage;
            let tree = match (usage, &content.root) {
                (Use::Root, Some(Root::Image(root))) => {
                    ext4::copy(&root.path, path, range.start)?;
                    continue;
                }
                (Use::Root, Some(Root::Tree(tree))) => Some(tree),
                (Use::Xbootldr, _) => content.xbootldr.as_ref(),
                (Use::Root | Use::Esp, _) => None,
            };
            match tree {
                Some(tree) => ext4::write(workspace, path, range, usage.name(), tree)?,
                None => fat::write(path, range, self.units(), &content.esp)?,
            }
        }
        Ok(partitions::write(path, self.table, self.block_size, &partitions)?)
    }
}

/// Writes a disk with one entry to the image `path`.
pub(super) fn write_entry(
    workspace: &Workspace,
    medium: &Medium,
    entry: &EntryFiles<'_>,
    path: &Path,
) -> Result<(), Error> {
    medium.write(workspace, &Content::entry(entry), path)
}

/// A disk without a partition table, of `mib` MiB.
pub(super) fn ensure_blank(workspace: &Workspace, mib: u64) -> Result<PathBuf, Error> {
    let path = directory::ensure(workspace)?.join(format!("blank-{mib}.img"));
    File::create(&path)
        .and_then(|file| file.set_len(mib << 20))
        .with_path(&path)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use bls::Arch;
    use bls::scan::{ScanConfig, Volume, VolumeKind, scan};
    use boot_core::SizedSource;
    use disk::{BlockSize, ByteSource as _, FileSystem as _, TableKind};
    use fs_fat::FatFs;

    use super::*;
    use crate::firmware::medium::kind::Kind;
    use crate::firmware::medium::partitions::Table;

    /// Reads a medium with the crates of the firmware: the table and the ESP without a warning, every file, and the boot entry.
    fn read_back(medium: Medium) {
        let workspace = Workspace::find().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk.img");
        let mut content = Content::default();
        let kernel: Vec<u8> = (0..100_000_u32).map(|index| index.to_le_bytes()[1]).collect();
        content.esp.bytes("debian/6.12+deb13/linux", kernel.clone());
        content.esp.bytes("debian/6.12+deb13/initrd.img", "an initrd");
        content.esp.bytes(
            "loader/entries/debian-6.12+deb13.conf",
            "title Debian\nlinux /debian/6.12+deb13/linux\ninitrd /debian/6.12+deb13/initrd.img\noptions a b\n",
        );
        medium.write(&workspace, &content, &path).unwrap();

        let image = File::open(&path).unwrap();
        let block_size = BlockSize::new(medium.block_size.into()).unwrap();
        let table = disk::partitions(&image, block_size).unwrap();
        assert!(table.warnings.is_empty(), "{:?}", table.warnings);
        assert_eq!(
            matches!(table.kind, TableKind::Gpt { .. }),
            medium.table == Table::Gpt
        );
        assert_eq!(
            matches!(table.kind, TableKind::Mbr { .. }),
            medium.table == Table::Mbr
        );
        let [partition] = &table.partitions[..] else {
            panic!("{:?}", table.partitions);
        };
        assert!(partition.is_esp());
        let window = partition.window(&image).unwrap();
        let file_system = FatFs::new(&window).unwrap();
        assert_eq!(file_system.info().label.as_deref(), Some("ESP"));
        for (name, source) in content.esp.iter() {
            let file = file_system.lookup(&format!("/{name}")).unwrap().unwrap();
            let file = file_system.open(&file).unwrap();
            let expected = source.read().unwrap();
            assert_eq!(
                SizedSource::new(&file).unwrap().len(),
                expected.len() as u64,
                "{name}"
            );
            let mut found = vec![0; expected.len()];
            file.read_exact_at(0, &mut found).unwrap();
            assert!(found == *expected, "{name}");
        }
        let volume = Volume {
            kind: VolumeKind::Esp,
            file_system: &file_system,
        };
        let found = scan(&[volume], &ScanConfig::new(Arch::X86_64));
        assert!(found.warnings.is_empty(), "{:?}", found.warnings);
        let entries: Vec<_> = found.attempts().collect();
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].title, "Debian");
    }

    #[test]
    fn the_crates_of_the_firmware_read_media() {
        let medium = Medium::new(Kind::Bls1);
        read_back(medium);
        read_back(Medium {
            table: Table::Mbr,
            ..medium
        });
        read_back(Medium {
            block_size: 4096,
            ..medium
        });
        read_back(Medium {
            cluster: Some(4096),
            ..medium
        });
        read_back(Medium::for_vmboot(Kind::Bls1));
    }

    /// Writes a medium with an ESP and, if `root` is set, a root file system; gives its inputs.
    fn check(medium: Medium, root: bool) -> String {
        let workspace = Workspace::find().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk.img");
        let mut content = Content::default();
        content.esp.bytes("EFI/BOOT/BOOTX64.EFI", "MZ");
        if root {
            let mut tree = Tree::default();
            tree.bytes("boot/grub/grub.cfg", "set timeout=0\n");
            content.root = Some(Root::Tree(tree));
        }
        medium.write(&workspace, &content, &path).unwrap();
        let disk = fs::read(&path).unwrap();
        let esp = &disk[1 << 20..];
        assert_eq!(&esp[82..90], b"FAT32   ");
        let end_of_esp = (1 << 20) + medium.units().length(2);
        // The magic number of ext4's superblock is at 1024 + 56.
        let root_start = usize::try_from(end_of_esp.next_multiple_of(1 << 20)).unwrap();
        let magic = &disk[root_start + 0x438..][..2];
        assert_eq!(magic == [0x53, 0xef], root);
        medium.inputs(&content).unwrap()
    }

    /// The boot partition of mke2fs, with the crates of the firmware.
    #[test]
    fn the_crates_of_the_firmware_read_xbootldr() {
        if crate::process::which("mke2fs").is_none() {
            println!("skipped: there is no mke2fs");
            return;
        }
        let workspace = Workspace::find().unwrap();
        let directory = tempfile::tempdir().unwrap();
        for table in [Table::Gpt, Table::Mbr] {
            let path = directory.path().join("disk.img");
            let mut content = Content::default();
            content.esp.bytes("loader/loader.conf", "timeout 0\n");
            let mut tree = Tree::default();
            tree.bytes("loader/entries/debian.conf", "title Debian\nlinux /linux\n");
            tree.bytes("linux", vec![7; 3 << 20]);
            content.xbootldr = Some(tree);
            let medium = Medium {
                table,
                ..Medium::new(Kind::Ext4)
            };
            medium.write(&workspace, &content, &path).unwrap();
            let inputs = medium.inputs(&content).unwrap();
            assert!(inputs.contains("xbootldr linux 3145728 "), "{inputs}");

            let image = File::open(&path).unwrap();
            let partitions = disk::partitions(&image, BlockSize::B512).unwrap();
            assert!(partitions.warnings.is_empty(), "{:?}", partitions.warnings);
            let [esp, xbootldr] = &partitions.partitions[..] else {
                panic!("{:?}", partitions.partitions);
            };
            assert!(esp.is_esp() && xbootldr.is_xbootldr());
            let file_system = fs_ext4::Ext4Fs::new(xbootldr.window(&image).unwrap()).unwrap();
            assert_eq!(file_system.info().label.as_deref(), Some("xbootldr"));
            let linux = file_system.read_file("/linux", 4 << 20).unwrap();
            assert!(linux.is_some_and(|bytes| bytes == vec![7; 3 << 20]));
            let volume = Volume {
                kind: VolumeKind::Xbootldr,
                file_system: &file_system,
            };
            let found = scan(&[volume], &ScanConfig::new(Arch::X86_64));
            assert!(found.warnings.is_empty(), "{:?}", found.warnings);
            assert_eq!(found.entries.len(), 1);
        }
    }

    #[test]
    fn media_have_their_file_systems() {
        let medium = Medium::new(Kind::Bls1);
        let inputs = check(medium, false);
        assert!(inputs.contains("esp EFI/BOOT/BOOTX64.EFI 2 "), "{inputs}");
        let large_blocks = Medium {
            block_size: 4096,
            ..medium
        };
        assert_ne!(check(large_blocks, false), inputs);
        if crate::process::which("mke2fs").is_some() {
            assert!(check(medium, true).contains("root boot/grub/grub.cfg 14 "));
        } else {
            println!("no ext4 file system was made: there is no mke2fs");
        }
    }
}
