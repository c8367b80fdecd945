//! The fixtures: real and generated inputs of the KVM tests, of the tests on real images, and of the benches.
//!
//! The environment variable `VMBOOT_FIXTURES` names a directory with this layout. Without it, tests that need fixtures count
//! as skipped. It is `/fixtures` in the lab, and on this machine `target/fixtures`, where most entries are links.
//!
//! ```text
//! guests/ARCH/                           builds of guests/ for the tests, as `guests.rs` lists them, and
//!   init                                   first program of Linux guests, static
//! initrd/ARCH/linux.cpio                 initramfs of a Linux guest: /init, /payload.bin and modules for virtio disks
//! initrd/ARCH/payload.bin                the /payload.bin in it
//! kernels/ARCH/debian-13.FORMAT          Debian's current kernel for virtual machines: a bzImage or an Image
//! kernels/x86_64/debian-13.vmlinux       the ELF inside it
//! kernels/x86_64/debian-12.bzImage       those of the two releases before
//! kernels/x86_64/debian-11.bzImage
//! firmware/ARCH/firmware                 the firmware of this repository
//! firmware/ARCH/bls1.img                 a medium for it, a disk image
//! ukis/ARCH/debian-13.efi                 a unified kernel image with the profiles "main" and "debug", made by Debian's ukify
//! ukis/ARCH/one.addon.efi                an addon for it
//! ukis/ARCH/NAME.cmdline, NAME.payload   command line of a profile or the addon; content of /payload.bin in an archive of them
//! images/ARCH/NAME                       other boot images that Debian packages, as `arch.rs` lists them
//! ```

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::arch::ArchRow;
use crate::error::{Error, WithPath as _};
use crate::extract_vmlinux;
use crate::firmware;
use crate::firmware::medium::kind::Kind;
use crate::guests;
use crate::initramfs::Initramfs;
use crate::kernel::{self, Kernel};
use crate::packages::{self, Package};
use crate::progress::Step;
use crate::suite::Suite;
use crate::workspace::Workspace;

/// The environment variable that names the directory.
pub(crate) const VARIABLE: &str = "VMBOOT_FIXTURES";

/// The tool that decompresses a vmlinux.
const ZSTD: Package = Package::program("zstd", "zstd");

/// Modules for virtio disks, which the kernels do not have built in.
const MODULES: [&str; 2] = ["virtio_blk", "virtio_mmio"];

/// Length of `/payload.bin`: not a multiple of a page or a word, so that a truncation is noticed.
const PAYLOAD_LENGTH: usize = (1 << 20) + 4321;

/// Builds or fetches every missing fixture, and returns the directory.
pub(crate) fn ensure(workspace: &Workspace, row: &ArchRow) -> Result<PathBuf, Error> {
    let built = guests::ensure(workspace, row)?;
    let fixtures = Fixtures::open(workspace, row)?;
    for file in kernel::walk(&built)? {
        fixtures.link(
            "guests",
            &file.file_name().unwrap_or_default().to_string_lossy(),
            &file,
        )?;
    }
    let kernel = kernel::ensure(workspace, row, Suite::Trixie)?;
    pack_initrd(&fixtures, &built.join(guests::INIT), &kernel)?;
    let (firmware, medium) = firmware::for_vmboot(workspace, row, Kind::Bls1)?;
    fixtures.link("firmware", "firmware", &firmware)?;
    fixtures.link("firmware", "bls1.img", &medium)?;
    if let Some(ukis) = firmware::ukify::ensure(workspace, row)? {
        for path in [ukis.image, ukis.addon].iter().chain(&ukis.expectations) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            fixtures.link("ukis", &name, path)?;
        }
    }
    for (image, path) in kernel::ensure_images(workspace, row)? {
        fixtures.link(image.kind, image.name, &path)?;
    }
    kernels(workspace, row)
}

/// The directory of all fixtures.
pub(crate) fn directory(workspace: &Workspace) -> PathBuf {
    workspace.target().join("fixtures")
}

/// The fixtures for tests in the lab. Those that only host tests read are left out, to save the lab's memory.
pub(crate) fn for_lab(directory: &Path, row: &ArchRow) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    for kind in ["guests", "initrd", "kernels", "firmware", "ukis"] {
        files.extend(kernel::walk(&directory.join(kind).join(row.name))?);
    }
    Ok(files)
}

/// Fetches every missing kernel, and returns the directory of all fixtures.
pub(crate) fn kernels(workspace: &Workspace, row: &ArchRow) -> Result<PathBuf, Error> {
    let fixtures = Fixtures::open(workspace, row)?;
    for suite in [&[Suite::Trixie], row.earlier_kernels].concat() {
        let kernel = kernel::ensure(workspace, row, suite)?;
        let name = format!("debian-{}.{}", suite.number(), row.kernel_format);
        fixtures.link("kernels", &name, &kernel.image)?;
        if row.has_vmlinux && suite == Suite::Trixie {
            let vmlinux = vmlinux(workspace, &kernel.image)?;
            fixtures.link("kernels", &format!("debian-{}.vmlinux", suite.number()), &vmlinux)?;
        }
    }
    Ok(fixtures.directory)
}

/// Builds the initramfs of a Linux guest and returns its path.
pub(crate) fn linux_initrd(workspace: &Workspace, row: &ArchRow) -> Result<PathBuf, Error> {
    let init = guests::init(workspace, row)?;
    let kernel = kernel::ensure(workspace, row, Suite::Trixie)?;
    pack_initrd(&Fixtures::open(workspace, row)?, &init, &kernel)
}

fn pack_initrd(fixtures: &Fixtures, init: &Path, kernel: &Kernel) -> Result<PathBuf, Error> {
    let content = payload();
    let directory = fixtures.kind("initrd")?;
    let copy = directory.join("payload.bin");
    fs::write(&copy, &content).with_path(&copy)?;
    let path = directory.join("linux.cpio");
    let mut archive = Initramfs::create(&path)?;
    archive.file("init", 0o755, init)?;
    archive.bytes("payload.bin", 0o644, &content)?;
    for module in kernel.modules_named(&MODULES)? {
        let name = module.file_name().unwrap_or_default().to_string_lossy();
        archive.file(&format!("modules/{name}"), 0o644, &module)?;
    }
    archive.finish()?;
    Ok(path)
}

/// The vmlinux in a bzImage; extracted on the first call for an image.
pub(crate) fn vmlinux(workspace: &Workspace, image: &Path) -> Result<PathBuf, Error> {
    let metadata = fs::metadata(image).with_path(image)?;
    let modified = metadata
        .modified()
        .with_path(image)?
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let name = image.file_name().unwrap_or_default().to_string_lossy();
    let name = format!("{name}-{}-{}.elf", metadata.len(), modified.as_secs());
    let directory = workspace.xtask("vmlinux");
    let vmlinux = directory.join(name);
    if !vmlinux.exists() {
        packages::ensure(workspace, &[ZSTD])?;
        fs::create_dir_all(&directory).with_path(&directory)?;
        let _step = Step::start(format!("extracting the vmlinux from {}", image.display()));
        extract_vmlinux::extract(image, &vmlinux)?;
    }
    Ok(vmlinux)
}

/// The directory, for one architecture.
struct Fixtures {
    directory: PathBuf,
    arch: &'static str,
}

impl Fixtures {
    fn open(workspace: &Workspace, row: &ArchRow) -> Result<Self, Error> {
        let directory = directory(workspace);
        fs::create_dir_all(&directory).with_path(&directory)?;
        Ok(Self {
            directory,
            arch: row.name,
        })
    }

    /// The directory of one kind of fixtures.
    fn kind(&self, kind: &str) -> Result<PathBuf, Error> {
        let directory = self.directory.join(kind).join(self.arch);
        fs::create_dir_all(&directory).with_path(&directory)?;
        Ok(directory)
    }

    /// Makes `name` a link to `file`, and replaces an existing entry.
    fn link(&self, kind: &str, name: &str, file: &Path) -> Result<(), Error> {
        let link = self.kind(kind)?.join(name);
        if fs::read_link(&link).is_ok_and(|target| target == file) {
            return Ok(());
        }
        match fs::remove_file(&link) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).with_path(&link),
            _ => symlink(file, &link).with_path(&link),
        }
    }
}

/// Pseudo-random bytes, so that displaced data is noticed: the high bytes of a linear congruential sequence with the
/// multiplier and increment of Knuth's MMIX.
fn payload() -> Vec<u8> {
    let mut state = 0_u64;
    std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    })
    .take(PAYLOAD_LENGTH)
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_is_always_the_same_and_has_every_byte() {
        let bytes = payload();
        assert_eq!(bytes.len(), PAYLOAD_LENGTH);
        assert_eq!(bytes, payload());
        assert!((0..=u8::MAX).all(|byte| bytes.contains(&byte)));
    }

    #[test]
    fn a_link_follows_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let fixtures = Fixtures {
            directory: directory.path().to_path_buf(),
            arch: "x86_64",
        };
        for content in ["one", "two"] {
            let file = directory.path().join(content);
            fs::write(&file, content).unwrap();
            fixtures.link("kernels", "k", &file).unwrap();
            fixtures.link("kernels", "k", &file).unwrap();
            assert_eq!(
                fs::read_to_string(directory.path().join("kernels/x86_64/k")).unwrap(),
                content
            );
        }
    }
}
