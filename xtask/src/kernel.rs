//! Kernels and other boot images: Debian's, fetched once, or the user's files.

pub(crate) mod images;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use self::images::{Content, Image};
use crate::apt::{self, PrivateApt};
use crate::arch::ArchRow;
use crate::error::{Error, WithPath as _};
use crate::suite::Suite;
use crate::workspace::Workspace;

/// A kernel with its modules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kernel {
    /// The boot image.
    pub(crate) image: PathBuf,
    /// The directory `/lib/modules/RELEASE`; `None` when everything is built in.
    pub(crate) modules: Option<PathBuf>,
}

/// The kernel of `suite` for virtual machines. A kernel that the user names replaces the current one.
pub(crate) fn ensure(workspace: &Workspace, row: &ArchRow, suite: Suite) -> Result<Kernel, Error> {
    if suite == Suite::Trixie
        && let Some(image) = apt::file_from_environment(row.kernel_variable)?
    {
        let modules = apt::file_from_environment(row.modules_variable)?;
        return Ok(Kernel { image, modules });
    }
    let directory = debian_directory(workspace, row, suite).join("kernel");
    if !directory.exists() {
        require_apt(row.kernel_meta, || {
            format!("Name a kernel file with {}.", row.kernel_variable)
        })?;
        let apt = PrivateApt::update(workspace, row.name, row.debian, suite)?;
        let package = apt.kernel_package(row.kernel_meta)?;
        apt.unpack(&[&package], &directory)?;
    }
    in_directory(&directory, row)
}

/// The further boot images of an architecture, with the paths they were unpacked to.
pub(crate) fn ensure_images(workspace: &Workspace, row: &ArchRow) -> Result<Vec<(Image, PathBuf)>, Error> {
    let directory = debian_directory(workspace, row, Suite::Trixie);
    let location = |image: &Image| directory.join(image.package);
    let missing: Vec<&Image> = row
        .images
        .iter()
        .filter(|image| !location(image).exists())
        .collect();
    if !missing.is_empty() {
        let packages: Vec<_> = missing.iter().map(|image| image.package).collect();
        require_apt(&packages.join(" "), || {
            "Only the tests that read these images need them.".to_owned()
        })?;
        let apt = PrivateApt::update(workspace, row.name, row.debian, Suite::Trixie)?;
        for image in missing {
            match image.content {
                Content::File(_) | Content::Gzip(_) => apt.unpack(&[image.package], &location(image))?,
                Content::Kernel => apt.unpack(&[&apt.kernel_package(image.package)?], &location(image))?,
            }
        }
    }
    row.images
        .iter()
        .map(|image| {
            let directory = location(image);
            let path = match image.content {
                Content::File(path) => Some(directory.join(path)).filter(|path| path.exists()),
                Content::Gzip(path) => Some(directory.join(path)).filter(|path| path.exists()),
                Content::Kernel => first_entry(&directory.join("boot"), row.kernel_file)?,
            };
            let path = path.ok_or_else(|| Error::NotInPackage {
                package: image.package.to_owned(),
                what: "boot image of that name",
            })?;
            let path = match image.content {
                Content::Gzip(_) => gunzip(&path)?,
                Content::File(_) | Content::Kernel => path,
            };
            Ok((*image, path))
        })
        .collect()
}

/// Unpacks `PATH.gz` to `PATH`, unless that has been done before; gives its path.
fn gunzip(packed: &Path) -> Result<PathBuf, Error> {
    let path = packed.with_extension("");
    if path.exists() {
        return Ok(path);
    }
    let partial = packed.with_extension("partial");
    let mut input = flate2::read::GzDecoder::new(fs::File::open(packed).with_path(packed)?);
    let mut output = fs::File::create(&partial).with_path(&partial)?;
    io::copy(&mut input, &mut output).with_path(packed)?;
    fs::rename(&partial, &path).with_path(&path)?;
    Ok(path)
}

fn debian_directory(workspace: &Workspace, row: &ArchRow, suite: Suite) -> PathBuf {
    workspace.xtask("debian").join(suite.name()).join(row.name)
}

/// Fails where Debian's packages cannot be fetched.
fn require_apt(missing: &str, advice: impl FnOnce() -> String) -> Result<(), Error> {
    if apt::is_available() {
        return Ok(());
    }
    Err(Error::MayNotInstall {
        missing: missing.to_owned(),
        why: "this is not a Debian system",
        advice: advice(),
    })
}

/// The kernel in an unpacked Debian package.
fn in_directory(directory: &Path, row: &ArchRow) -> Result<Kernel, Error> {
    let image =
        first_entry(&directory.join("boot"), row.kernel_file)?.ok_or_else(|| Error::NotInPackage {
            package: row.kernel_meta.to_owned(),
            what: "kernel image",
        })?;
    for modules in ["usr/lib/modules", "lib/modules"] {
        let modules = directory.join(modules);
        if modules.exists() {
            return Ok(Kernel {
                image,
                modules: first_entry(&modules, "")?,
            });
        }
    }
    Ok(Kernel { image, modules: None })
}

/// The first entry, in the order of names, that starts with `prefix`.
fn first_entry(directory: &Path, prefix: &str) -> Result<Option<PathBuf>, Error> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).with_path(directory)? {
        let name = entry.with_path(directory)?.file_name();
        if name.to_string_lossy().starts_with(prefix) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names.first().map(|name| directory.join(name)))
}

impl Kernel {
    /// The files of the modules that L1 loads, in the order to load them.
    pub(crate) fn module_files(&self, row: &ArchRow) -> Result<Vec<PathBuf>, Error> {
        let mut found = Vec::new();
        for module in row.modules {
            match self.module_file(module.name) {
                Ok(file) => found.extend(file),
                Err(Error::NoModule { .. }) if module.optional => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// The file of a module; `None` if it is built in.
    pub(crate) fn module_file(&self, name: &'static str) -> Result<Option<PathBuf>, Error> {
        let Some(directory) = &self.modules else {
            return Ok(None);
        };
        let mut files = walk(&directory.join("kernel"))?.into_iter();
        if let Some(file) = files.find(|file| is_module(file, name)) {
            return Ok(Some(file));
        }
        let builtin = directory.join("modules.builtin");
        let builtin = fs::read_to_string(&builtin).with_path(&builtin)?;
        if builtin.lines().any(|line| is_module(Path::new(line), name)) {
            return Ok(None);
        }
        let directory = directory.clone();
        Err(Error::NoModule { name, directory })
    }
}

impl Kernel {
    /// The files of these modules, without those that are built in or absent.
    pub(crate) fn modules_named(&self, names: &[&str]) -> Result<Vec<PathBuf>, Error> {
        let Some(directory) = &self.modules else {
            return Ok(Vec::new());
        };
        let mut files = walk(&directory.join("kernel"))?;
        files.retain(|file| names.iter().any(|name| is_module(file, name)));
        Ok(files)
    }
}

/// True for `NAME.ko` and its compressed forms.
fn is_module(file: &Path, name: &str) -> bool {
    let file = file.file_name().unwrap_or_default().to_string_lossy();
    matches!(
        file.strip_prefix(name),
        Some(".ko" | ".ko.xz" | ".ko.zst" | ".ko.gz")
    )
}

/// Every file below a directory, sorted.
pub(crate) fn walk(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    let mut pending = vec![directory.to_path_buf()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).with_path(&directory)? {
            let path = entry.with_path(&directory)?.path();
            if path.is_dir() {
                pending.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Arch;

    /// A module directory with these files and built-in modules; gives the names of the files to load, or the error.
    fn modules(files: &[&str], builtin: &str) -> Result<Vec<String>, String> {
        let directory = tempfile::tempdir().unwrap();
        for file in files {
            let path = directory.path().join("kernel").join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        fs::create_dir_all(directory.path().join("kernel")).unwrap();
        fs::write(directory.path().join("modules.builtin"), builtin).unwrap();
        let kernel = Kernel {
            image: PathBuf::new(),
            modules: Some(directory.path().to_path_buf()),
        };
        let found = kernel
            .module_files(Arch::X86_64.row())
            .map_err(|error| error.to_string())?;
        Ok(found
            .iter()
            .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
            .collect())
    }

    #[test]
    fn what_is_compressed_is_unpacked_once() {
        use std::io::Write as _;

        let directory = tempfile::tempdir().unwrap();
        let packed = directory.path().join("kernel.gz");
        let mut encoder =
            flate2::write::GzEncoder::new(fs::File::create(&packed).unwrap(), flate2::Compression::fast());
        encoder.write_all(b"a kernel").unwrap();
        encoder.finish().unwrap();
        let path = gunzip(&packed).unwrap();
        assert_eq!(path, directory.path().join("kernel"));
        assert_eq!(fs::read(&path).unwrap(), b"a kernel");
        fs::write(&packed, "no gzip").unwrap();
        assert_eq!(gunzip(&packed).unwrap(), path);
        fs::remove_file(&path).unwrap();
        assert!(gunzip(&packed).is_err());
        assert!(!path.exists());
    }

    #[test]
    fn modules_are_found_in_loading_order() {
        let all = [
            "arch/x86/kvm/kvm-amd.ko.xz",
            "arch/x86/kvm/kvm.ko.xz",
            "virt/lib/irqbypass.ko.xz",
        ];
        assert_eq!(
            modules(&all, "").unwrap(),
            ["irqbypass.ko.xz", "kvm.ko.xz", "kvm-amd.ko.xz"]
        );
        let with_ccp = [&all[..], &["drivers/crypto/ccp/ccp.ko"]].concat();
        assert_eq!(
            modules(&with_ccp, "").unwrap(),
            ["irqbypass.ko.xz", "ccp.ko", "kvm.ko.xz", "kvm-amd.ko.xz"]
        );
    }

    #[test]
    fn built_in_modules_need_no_file() {
        let builtin = "kernel/virt/lib/irqbypass.ko\nkernel/arch/x86/kvm/kvm.ko\n";
        assert_eq!(
            modules(&["a/kvm-amd.ko.zst"], builtin).unwrap(),
            ["kvm-amd.ko.zst"]
        );
    }

    #[test]
    fn modules_are_found_by_name() {
        let directory = tempfile::tempdir().unwrap();
        for file in [
            "drivers/block/virtio_blk.ko.xz",
            "drivers/virtio_blk_other.ko",
            "virtio_mmio.ko",
        ] {
            let path = directory.path().join("kernel").join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let kernel = Kernel {
            image: PathBuf::new(),
            modules: Some(directory.path().to_path_buf()),
        };
        let found = kernel
            .modules_named(&["virtio_mmio", "virtio_blk", "absent"])
            .unwrap();
        let names: Vec<_> = found.iter().filter_map(|file| file.file_name()).collect();
        assert_eq!(names, ["virtio_blk.ko.xz", "virtio_mmio.ko"]);
    }

    #[test]
    fn a_missing_module_is_named() {
        let error = modules(&["a/irqbypass.ko", "a/kvm.ko", "a/kvm-amd.ko.txt"], "").unwrap_err();
        assert!(error.contains("no module kvm-amd in"), "{error}");
    }
}
