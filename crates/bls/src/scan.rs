//! Search for entries on volumes (UAPI.1, "Locating Boot Entries").
//!
//! Nothing on a volume makes a scan fail: files that cannot be used are warnings.

mod addons;
mod budget;
mod config;
mod type1;
mod type2;
mod warning;

use alloc::string::String;
use alloc::vec::Vec;

use disk::{FileSystem, Node};

use crate::entry::Entry;
use crate::loader_conf::LoaderConf;
use crate::order;
use crate::path::FilePath;
use crate::text::MAX_TEXT_LEN;
use budget::Budget;

pub use config::ScanConfig;
pub use warning::{ScanWarning, WarningKind};

/// Volume to scan.
#[derive(Clone, Copy)]
pub struct Volume<'a> {
    /// Kind of its partition.
    pub kind: VolumeKind,
    /// Its files.
    pub file_system: &'a dyn FileSystem,
}

/// Kind of a partition with entries (UAPI.1, "The Partitions").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum VolumeKind {
    /// EFI System Partition. It has `loader.conf`.
    Esp,
    /// Extended Boot Loader Partition, or the boot partition of a disk with MBR: `$BOOT` where it exists.
    Xbootldr,
}

/// Result of a scan.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Scan {
    /// Entries for this machine, in the order of [`compare`](crate::compare).
    pub entries: Vec<Entry>,
    /// Content of `/loader/loader.conf`, of an EFI System Partition if it has one.
    pub loader_conf: LoaderConf,
    /// What was left out or looks wrong.
    pub warnings: Vec<ScanWarning>,
}

impl Scan {
    /// Entries in the order in which they should be tried: the default entry, then the others.
    pub fn attempts(&self) -> impl Iterator<Item = &Entry> {
        let indices = order::attempts(&self.entries, &self.loader_conf);
        indices.into_iter().filter_map(|index| self.entries.get(index))
    }
}

/// Searches volumes of one disk for entries.
#[must_use]
pub fn scan(volumes: &[Volume<'_>], config: &ScanConfig) -> Scan {
    let mut scanner = Scanner {
        config,
        budget: Budget::new(config),
        volume: 0,
        scan: Scan::default(),
    };
    // $BOOT first, so that its entries come first among equal ones.
    for kind in [VolumeKind::Xbootldr, VolumeKind::Esp] {
        for (index, volume) in volumes
            .iter()
            .enumerate()
            .filter(|(_, volume)| volume.kind == kind)
        {
            scanner.volume = index;
            scanner.type1(volume.file_system);
            scanner.type2(volume.file_system);
        }
    }
    for kind in [VolumeKind::Esp, VolumeKind::Xbootldr] {
        for (index, volume) in volumes
            .iter()
            .enumerate()
            .filter(|(_, volume)| volume.kind == kind)
        {
            scanner.volume = index;
            if scanner.loader_conf(volume.file_system) {
                return scanner.finish();
            }
        }
    }
    scanner.finish()
}

/// State of a scan.
struct Scanner<'a> {
    config: &'a ScanConfig,
    budget: Budget,
    /// Index of the volume that is being scanned.
    volume: usize,
    scan: Scan,
}

/// File in a directory.
struct Found {
    name: String,
    node: Node,
}

impl Scanner<'_> {
    fn finish(mut self) -> Scan {
        order::sort(&mut self.scan.entries);
        self.scan
    }

    fn warn(&mut self, path: impl Into<String>, kind: impl Into<WarningKind>) {
        if self.scan.warnings.len() < self.config.max_warnings {
            self.scan.warnings.push(ScanWarning {
                volume: self.volume,
                path: path.into(),
                kind: kind.into(),
            });
        }
    }

    /// Adds an entry. False if there are too many.
    fn add(&mut self, entry: Entry) -> bool {
        let max = self.config.max_entries;
        if self.scan.entries.len() >= max {
            self.warn(entry.path.as_str(), WarningKind::TooManyEntries { max });
            return false;
        }
        self.scan.entries.push(entry);
        true
    }

    /// Reads `loader.conf`. False if the volume does not have one.
    fn loader_conf(&mut self, file_system: &dyn FileSystem) -> bool {
        const PATH: &str = "/loader/loader.conf";
        match file_system.read_file(PATH, MAX_TEXT_LEN) {
            Ok(None) => return false,
            Ok(Some(bytes)) => match LoaderConf::parse(&bytes) {
                Ok(conf) => {
                    for note in &conf.notes {
                        self.warn(PATH, note.clone());
                    }
                    self.scan.loader_conf = conf;
                }
                Err(error) => self.warn(PATH, error),
            },
            Err(error) => self.warn(PATH, error),
        }
        true
    }

    /// Files of a directory whose names end with `suffix` in either case.
    fn files(&mut self, file_system: &dyn FileSystem, directory: &str, suffix: &str) -> Vec<Found> {
        let mut found = Vec::new();
        let result = match file_system.lookup(directory) {
            Ok(Some(node)) if node.is_directory() => self.budget.read_dir(file_system, &node, |entry| {
                let has_suffix = ends_with_ignore_case(entry.name, suffix);
                if has_suffix && entry.node.is_file() {
                    let name = String::from(entry.name);
                    found.push(Found {
                        name,
                        node: entry.node,
                    });
                }
            }),
            Ok(_) => return found,
            Err(error) => Err(error.into()),
        };
        if let Err(error) = result {
            self.warn(directory, error);
        }
        found
    }

    /// Opens a file and reads it as text.
    fn read_text(&mut self, file_system: &dyn FileSystem, node: &Node) -> Result<Vec<u8>, WarningKind> {
        let source = file_system.open(node)?;
        let source = boot_core::SizedSource::new(&source)?;
        let len = usize::try_from(source.len()).unwrap_or(usize::MAX);
        if len > MAX_TEXT_LEN {
            let len = source.len();
            return Err(crate::TextError::TooLong { len }.into());
        }
        self.budget.take_text(len)?;
        Ok(source.read_vec(0, len)?)
    }
}

/// Path of a file in a directory, whose name has been checked.
fn join(directory: &str, name: &str) -> Result<FilePath, WarningKind> {
    Ok(FilePath::parse(&[directory, "/", name].concat())?)
}

fn ends_with_ignore_case(name: &str, suffix: &str) -> bool {
    let start = name.len().checked_sub(suffix.len());
    let end = start.and_then(|start| name.get(start..));
    end.is_some_and(|end| end.eq_ignore_ascii_case(suffix))
}
