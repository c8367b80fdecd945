//! Input of the rules: every package of the repository with its manifest and its Rust files, and the documents.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use cargo_metadata::{CargoOpt, DependencyKind, Metadata, MetadataCommand, TargetKind};
use toml::{Table, Value};

use super::source::Source;
use crate::error::{Error, WithPath as _};

/// Directory of the documents of the repository.
const DOCUMENTS: &str = "docs";

/// Packages and files of the repository. All paths are relative to its root.
pub(super) struct Tree {
    packages: Vec<Package>,
    sources: BTreeMap<PathBuf, Source>,
    readmes: BTreeMap<PathBuf, String>,
    documents: BTreeMap<PathBuf, String>,
    files: Vec<PathBuf>,
}

/// A member of one of the repository's workspaces.
#[derive(Debug)]
pub(super) struct Package {
    /// Its directory. Rules go by directories, since the published name may have a prefix.
    pub(super) folder: PathBuf,
    pub(super) name: String,
    pub(super) manifest: Manifest,
    /// True unless `publish = false`.
    pub(super) is_published: bool,
    pub(super) dependencies: Vec<Dependency>,
    pub(super) targets: Vec<Target>,
}

/// A package's `Cargo.toml`.
#[derive(Debug)]
pub(super) struct Manifest {
    pub(super) path: PathBuf,
    pub(super) text: String,
    table: Table,
}

/// A direct dependency of a package.
#[derive(Debug)]
pub(super) struct Dependency {
    /// The key in the manifest.
    pub(super) key: String,
    pub(super) name: String,
    /// The package's directory, where it is one of the repository.
    pub(super) folder: Option<PathBuf>,
    pub(super) is_dev: bool,
}

/// A target of a package.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) name: String,
    pub(super) root: PathBuf,
    pub(super) kind: Kind,
}

/// Which part of a package a target is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Library,
    Program,
    /// A test, bench, example or build script.
    Support,
}

impl Tree {
    /// Reads the workspace at `root`, and those that it excludes.
    pub(super) fn read(root: &Path) -> Result<Self, Error> {
        let mut tree = Self::read_packages(root)?;
        tree.read_files(root)?;
        Ok(tree)
    }

    /// Reads the manifests alone.
    pub(super) fn read_packages(root: &Path) -> Result<Self, Error> {
        let mut tree = Self {
            packages: Vec::new(),
            sources: BTreeMap::new(),
            readmes: BTreeMap::new(),
            documents: BTreeMap::new(),
            files: Vec::new(),
        };
        let manifest = Manifest::read(root, Path::new("Cargo.toml"))?;
        let excluded = manifest.value("workspace.exclude").and_then(Value::as_array);
        let inner = excluded.into_iter().flatten().filter_map(Value::as_str);
        for workspace in [""].into_iter().chain(inner) {
            tree.add_workspace(root, Path::new(workspace))?;
        }
        tree.packages.sort_by(|a, b| a.folder.cmp(&b.folder));
        Ok(tree)
    }

    fn read_files(&mut self, root: &Path) -> Result<(), Error> {
        let mut files = Vec::new();
        for package in &self.packages {
            list_files(root, &package.folder, &mut files)?;
        }
        files.sort();
        files.dedup();
        let read = |path: &Path| fs::read_to_string(root.join(path)).with_path(path);
        for path in &files {
            if path.extension().is_some_and(|end| end == "rs") {
                self.sources
                    .insert(path.clone(), Source::parse(path, read(path)?)?);
            } else if path.ends_with("README.md") {
                self.readmes.insert(path.clone(), read(path)?);
            }
        }
        self.files = files;
        let mut documents = Vec::new();
        if root.join(DOCUMENTS).is_dir() {
            list_files(root, Path::new(DOCUMENTS), &mut documents)?;
        }
        for path in documents {
            if path.extension().is_some_and(|end| end == "md") {
                self.documents.insert(path.clone(), read(&path)?);
            }
        }
        Ok(())
    }

    fn add_workspace(&mut self, root: &Path, folder: &Path) -> Result<(), Error> {
        let path = root.join(folder).join("Cargo.toml");
        let options = ["--offline".to_owned()];
        let metadata: Metadata = MetadataCommand::new()
            .manifest_path(&path)
            .features(CargoOpt::AllFeatures)
            .no_deps()
            .other_options(options)
            .exec()
            .map_err(|source| Error::Metadata {
                manifest: path,
                source,
            })?;
        for package in metadata.packages {
            let relative = |path: &Path| relative_to(root, path);
            let manifest_path = relative(package.manifest_path.as_std_path());
            self.packages.push(Package {
                folder: manifest_path.parent().unwrap_or(Path::new("")).to_path_buf(),
                name: package.name.to_string(),
                manifest: Manifest::read(root, &manifest_path)?,
                is_published: package.publish.is_none_or(|registries| !registries.is_empty()),
                dependencies: package
                    .dependencies
                    .iter()
                    .map(|dependency| Dependency {
                        key: dependency
                            .rename
                            .clone()
                            .unwrap_or_else(|| dependency.name.clone()),
                        name: dependency.name.clone(),
                        folder: dependency.path.as_ref().map(|path| relative(path.as_std_path())),
                        is_dev: dependency.kind == DependencyKind::Development,
                    })
                    .collect(),
                targets: package
                    .targets
                    .iter()
                    .map(|target| Target {
                        name: target.name.clone(),
                        root: relative(target.src_path.as_std_path()),
                        kind: kind(&target.kind),
                    })
                    .collect(),
            });
        }
        Ok(())
    }

    /// Every package, in the order of their directories.
    pub(super) fn packages(&self) -> &[Package] {
        &self.packages
    }

    /// The package in this directory.
    pub(super) fn package(&self, folder: impl AsRef<Path>) -> Option<&Package> {
        self.packages
            .iter()
            .find(|package| package.folder == folder.as_ref())
    }

    /// Every Rust file, in the order of their paths.
    pub(super) fn sources(&self) -> impl Iterator<Item = &Source> {
        self.sources.values()
    }

    /// The Rust files below a directory.
    pub(super) fn sources_below(&self, folder: &Path) -> impl Iterator<Item = &Source> {
        self.sources()
            .filter(move |source| source.path.starts_with(folder))
    }

    /// One Rust file.
    pub(super) fn source(&self, path: &Path) -> Option<&Source> {
        self.sources.get(path)
    }

    /// The text of a README.md.
    pub(super) fn readme(&self, path: &Path) -> Option<&str> {
        self.readmes.get(path).map(String::as_str)
    }

    /// The text of a document below `docs`.
    pub(super) fn document(&self, path: &Path) -> Option<&str> {
        self.documents.get(path).map(String::as_str)
    }

    /// Every file of every package, of any kind.
    pub(super) fn files(&self) -> &[PathBuf] {
        &self.files
    }
}

impl Package {
    /// The last part of the directory, which names the crate among its siblings.
    pub(super) fn short_name(&self) -> &str {
        let name = self.folder.file_name().and_then(|name| name.to_str());
        name.unwrap_or(&self.name)
    }
}

impl Manifest {
    fn read(root: &Path, path: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(root.join(path)).with_path(path)?;
        let table = text.parse().map_err(|source| Error::Toml {
            path: path.to_path_buf(),
            source,
        })?;
        Ok(Self {
            path: path.to_path_buf(),
            text,
            table,
        })
    }

    /// The value at a dotted path of keys.
    pub(super) fn value(&self, keys: &str) -> Option<&Value> {
        let (first, rest) = keys.split_once('.').unwrap_or((keys, ""));
        let mut value = self.table.get(first)?;
        for key in rest.split('.').filter(|key| !key.is_empty()) {
            value = value.get(key)?;
        }
        Some(value)
    }

    /// Number of the first line that begins with `start`, or 1.
    pub(super) fn line_of(&self, start: &str) -> usize {
        let index = self
            .text
            .lines()
            .position(|line| line.trim_start().starts_with(start));
        index.map_or(1, |index| index + 1)
    }
}

fn kind(kinds: &[TargetKind]) -> Kind {
    if kinds.contains(&TargetKind::Bin) {
        Kind::Program
    } else if kinds.iter().any(|kind| {
        matches!(
            kind,
            TargetKind::Test | TargetKind::Bench | TargetKind::Example | TargetKind::CustomBuild
        )
    }) {
        Kind::Support
    } else {
        Kind::Library
    }
}

/// Adds the files below `folder`, except those that cargo or a tool generates.
fn list_files(root: &Path, folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Error> {
    let absolute = root.join(folder);
    for entry in fs::read_dir(&absolute).with_path(&absolute)? {
        let entry = entry.with_path(&absolute)?;
        let name = entry.file_name();
        let path = folder.join(&name);
        let is_made = ["target", "corpus", "artifacts", "coverage"]
            .iter()
            .any(|made| name == *made);
        if !entry.file_type().with_path(&absolute)?.is_dir() {
            files.push(path);
        } else if !is_made && !name.to_string_lossy().starts_with('.') {
            list_files(root, &path, files)?;
        }
    }
    Ok(())
}

/// `path` without `root` and without `..`.
pub(super) fn relative_to(root: &Path, path: &Path) -> PathBuf {
    let mut relative = PathBuf::new();
    for component in path.strip_prefix(root).unwrap_or(path).components() {
        match component {
            Component::ParentDir => {
                relative.pop();
            }
            Component::CurDir => {}
            other => relative.push(other),
        }
    }
    relative
}
