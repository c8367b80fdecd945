//! The initrd of media: the init program of Linux guests, and the module for EFI variables.

use std::path::{Path, PathBuf};

use super::directory;
use crate::arch::ArchRow;
use crate::error::Error;
use crate::guests;
use crate::initramfs::Initramfs;
use crate::kernel::{self, Kernel};
use crate::workspace::Workspace;

/// The module, which Debian's kernels do not have built in.
const EFIVARFS: &str = "efivarfs.ko";

/// The modules that a root file system on a virtio disk needs, in an order that respects their dependencies.
const ROOT_MODULES: [&str; 7] = [
    "virtio_mmio",
    "virtio_blk",
    "crc16",
    "crc32c_generic",
    "mbcache",
    "jbd2",
    "ext4",
];

/// Makes the initrd of systems with a root file system and returns its path.
pub(super) fn ensure_for_root(
    workspace: &Workspace,
    row: &ArchRow,
    kernel: &Kernel,
) -> Result<PathBuf, Error> {
    let path = directory::ensure(workspace)?.join(format!("{}-root.initrd", row.name));
    let init = guests::init(workspace, row)?;
    let modules: Vec<_> = ROOT_MODULES
        .iter()
        .map(|name| kernel.module_file(name))
        .collect::<Result<_, _>>()?;
    let mut archive = Initramfs::create(&path)?;
    archive.file("init", 0o755, &init)?;
    for (index, module) in modules.into_iter().flatten().enumerate() {
        let name = module.file_name().unwrap_or_default().to_string_lossy();
        archive.file(&format!("modules/{index:02}-{name}"), 0o644, &module)?;
    }
    archive.finish()?;
    Ok(path)
}

/// Makes the initrd and returns its path. `padding` is in MiB.
pub(crate) fn ensure(
    workspace: &Workspace,
    row: &ArchRow,
    kernel: &Kernel,
    padding: u32,
) -> Result<PathBuf, Error> {
    let name = match padding {
        0 => format!("{}.initrd", row.name),
        padding => format!("{}-pad{padding}.initrd", row.name),
    };
    let path = directory::ensure(workspace)?.join(name);
    let init = guests::init(workspace, row)?;
    write(&path, &init, efivarfs(kernel)?.as_deref(), padding)?;
    Ok(path)
}

/// The module, unless it is built into the kernel or the kernel has no module directory.
fn efivarfs(kernel: &Kernel) -> Result<Option<PathBuf>, Error> {
    let Some(directory) = &kernel.modules else {
        return Ok(None);
    };
    let directory = directory.join("kernel/fs");
    if !directory.exists() {
        return Ok(None);
    }
    let files = kernel::walk(&directory)?;
    Ok(files.into_iter().find(|file| {
        file.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(EFIVARFS))
    }))
}

fn write(path: &Path, init: &Path, module: Option<&Path>, padding: u32) -> Result<(), Error> {
    let mut archive = Initramfs::create(path)?;
    archive.file("init", 0o755, init)?;
    if let Some(module) = module {
        let name = module.file_name().unwrap_or_default().to_string_lossy();
        archive.file(&format!("modules/{name}"), 0o644, module)?;
    }
    if padding != 0 {
        archive.bytes("padding", 0o644, &noise(u64::from(padding) << 20))?;
    }
    archive.finish()?;
    Ok(())
}

/// Bytes without a pattern, always the same (xorshift64, Marsaglia 2003).
fn noise(length: u64) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..length / 8)
        .flat_map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_initrd_has_init_the_module_and_the_padding() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &[u8]| {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            path
        };
        let init = file("init", b"#!init");
        file("modules/kernel/fs/efivarfs/efivarfs.ko.xz", b"a module");
        let kernel = Kernel {
            image: PathBuf::new(),
            modules: Some(directory.path().join("modules")),
        };
        let module = efivarfs(&kernel).unwrap().unwrap();
        let path = directory.path().join("initrd");
        write(&path, &init, Some(&module), 1).unwrap();
        let archive = fs::read(&path).unwrap();
        for part in [
            &b"#!init"[..],
            b"modules/efivarfs.ko.xz\0",
            b"a module",
            b"padding\0",
        ] {
            assert!(archive.windows(part.len()).any(|window| window == part));
        }
        assert!(archive.len() > 1 << 20);
        let without = Kernel {
            image: PathBuf::new(),
            modules: None,
        };
        assert_eq!(efivarfs(&without).unwrap(), None);
    }

    #[test]
    fn noise_has_every_byte() {
        let noise = noise(1 << 16);
        assert_eq!(noise.len(), 1 << 16);
        assert!((0..=u8::MAX).all(|byte| noise.contains(&byte)));
    }
}
