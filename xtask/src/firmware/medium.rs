//! Boot media: disk images with a boot loader, a kernel and an initrd, made without root and without loop devices.
//!
//! Media are in `target/xtask/firmware/media/`. Each has a list of its inputs beside it and is made again when they differ.

pub(super) mod content;
pub(crate) mod error;
mod ext4;
mod fat;
mod initrd;
pub(crate) mod kind;
pub(crate) mod partitions;
mod tree;
mod uki;

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use self::content::Content;
use self::error::MediumError;
use self::fat::Units;
pub(super) use self::initrd::ensure as ensure_initrd;
use self::kind::Kind;
use self::partitions::{Table, Use};
use self::tree::Tree;
use crate::arch::ArchRow;
use crate::error::WithPath as _;
use crate::progress::Step;
use crate::workspace::Workspace;

/// Version of the code that writes disks, to increment when it writes other bytes for the same files.
const WRITER: u32 = 1;

/// What a medium is to be like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Medium {
    pub(crate) kind: Kind,
    pub(crate) table: Table,
    /// Length of a block of the disk in bytes: 512 or 4096.
    pub(crate) block_size: u16,
    /// Length of a cluster of the ESP in bytes; `None`: one block, as mkfs.fat does for small file systems.
    pub(crate) cluster: Option<u32>,
    /// Length in MiB of a file in the initrd that nobody reads.
    pub(crate) padding: u32,
    /// What userspace does at its end.
    pub(crate) end: End,
}

/// What userspace does at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum End {
    /// Powers the machine off.
    Poweroff,
    /// Resets the machine, by EFI's runtime service if there is one.
    Reboot,
}

impl Medium {
    /// The medium of this kind with the default options.
    #[cfg(test)]
    pub(crate) fn new(kind: Kind) -> Self {
        Self {
            kind,
            table: Table::Gpt,
            block_size: 512,
            cluster: None,
            padding: 0,
            end: End::Poweroff,
        }
    }

    /// Makes the medium unless it is already there, and returns the path of its image.
    pub(crate) fn ensure(&self, workspace: &Workspace, row: &ArchRow) -> Result<PathBuf, MediumError> {
        let content = Content::collect(workspace, row, self)?;
        let directory = directory(workspace)?;
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

    /// The name of the image, which differs for all media.
    fn file_name(&self, arch: &str) -> String {
        let options = [
            (self.table == Table::Mbr).then(|| "mbr".to_owned()),
            (self.block_size != 512).then(|| self.block_size.to_string()),
            self.cluster.map(|cluster| format!("c{cluster}")),
            (self.padding != 0).then(|| format!("pad{}", self.padding)),
            (self.end == End::Reboot).then(|| "reboot".to_owned()),
        ];
        let parts = [arch.to_owned(), self.kind.name().to_owned()];
        let parts: Vec<String> = parts.into_iter().chain(options.into_iter().flatten()).collect();
        parts.join("-") + ".img"
    }

    fn units(&self) -> Units {
        let cluster = self.cluster.unwrap_or_else(|| self.block_size.into());
        Units {
            block: self.block_size,
            cluster: cluster.max(self.block_size.into()),
        }
    }

    /// The inputs of a medium as text: the options, and a checksum for each file.
    fn inputs(&self, content: &Content) -> Result<String, MediumError> {
        let mut text = format!("writer {WRITER}\n{self:?}\n");
        for (volume, tree) in [("esp", Some(&content.esp)), ("root", content.root.as_ref())] {
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

    fn write(&self, workspace: &Workspace, content: &Content, path: &Path) -> Result<(), MediumError> {
        let mut wanted = vec![(Use::Esp, self.units().length(content.esp.length()?))];
        if let Some(root) = &content.root {
            wanted.push((Use::Root, ext4::length(root.length()?)));
        }
        let (partitions, length) = partitions::place(&wanted);
        // Without the file of an interrupted run.
        File::create(path)
            .and_then(|file| file.set_len(length))
            .with_path(path)?;
        for partition in &partitions {
            let range = partition.bytes.clone();
            match (partition.usage, &content.root) {
                (Use::Root, Some(root)) => ext4::write(workspace, path, range, root)?,
                (Use::Root | Use::Esp, _) => fat::write(path, range, self.units(), &content.esp)?,
            }
        }
        partitions::write(path, self.table, self.block_size, &partitions)
    }
}

/// The directory of the media; creates it.
fn directory(workspace: &Workspace) -> Result<PathBuf, MediumError> {
    let directory = workspace.xtask("firmware/media");
    fs::create_dir_all(&directory).with_path(&directory)?;
    Ok(directory)
}

/// A disk without a partition table, of `mib` MiB.
pub(super) fn ensure_blank(workspace: &Workspace, mib: u64) -> Result<PathBuf, MediumError> {
    let path = directory(workspace)?.join(format!("blank-{mib}.img"));
    File::create(&path)
        .and_then(|file| file.set_len(mib << 20))
        .with_path(&path)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_media_differ() {
        let base = Medium::new(Kind::Uki);
        let media = [
            base,
            Medium {
                kind: Kind::Bls1,
                ..base
            },
            Medium {
                table: Table::Mbr,
                ..base
            },
            Medium {
                block_size: 4096,
                ..base
            },
            Medium {
                cluster: Some(4096),
                ..base
            },
            Medium { padding: 64, ..base },
            Medium {
                end: End::Reboot,
                ..base
            },
        ];
        let names = media.map(|medium| medium.file_name("riscv64"));
        assert_eq!(
            names,
            [
                "riscv64-uki.img",
                "riscv64-bls1.img",
                "riscv64-uki-mbr.img",
                "riscv64-uki-4096.img",
                "riscv64-uki-c4096.img",
                "riscv64-uki-pad64.img",
                "riscv64-uki-reboot.img",
            ]
        );
    }

    #[test]
    fn a_cluster_is_at_least_a_block() {
        let check = |block_size, cluster, expected| {
            let medium = Medium {
                block_size,
                cluster,
                ..Medium::new(Kind::Bls1)
            };
            assert_eq!(medium.units().cluster, expected, "{block_size} {cluster:?}");
        };
        check(512, None, 512);
        check(512, Some(4096), 4096);
        check(4096, Some(512), 4096);
        check(4096, None, 4096);
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
            content.root = Some(tree);
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
