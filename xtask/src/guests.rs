//! Building `guests/`: the programs that run inside virtual machines.

use std::fs;
use std::path::{Path, PathBuf};

use crate::arch::ArchRow;
use crate::build;
use crate::bzimage::{self, Options, WrapError};
use crate::error::{At as _, Error};
use crate::guest_elf::{GuestElf, GuestElfError, Kind};
use crate::image::{self, ImageError};
use crate::process;
use crate::progress::{Step, say};
use crate::toolchain::BareMetal;
use crate::workspace::Workspace;

/// Why a guest could not be made out of what cargo built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum GuestError {
    #[error(transparent)]
    Elf(#[from] GuestElfError),
    #[error(transparent)]
    Wrap(#[from] WrapError),
    #[error(transparent)]
    Image(#[from] ImageError),
}

/// How a file is made out of a program that cargo built.
#[derive(Clone, Copy, Debug)]
enum Form {
    /// As it is.
    Elf64,
    /// As a 32-bit ELF.
    Elf32,
    /// As the bytes of its memory, without an ELF header.
    Flat,
    /// As a bzImage with this header.
    BzImage(fn() -> Options),
    /// As an ELF that runs at one address; it is of this kind.
    Fixed(Kind),
    /// As an Image with this header.
    Image(fn() -> image::Options),
}

/// A file in `target/guests/ARCH/`: its name, the program that cargo builds, and how it is made.
type Build = (&'static str, &'static str, Form);

/// What one package gives for one target.
#[derive(Debug)]
pub(crate) struct Conformance {
    package: &'static str,
    target: &'static str,
    builds: &'static [Build],
}

impl Conformance {
    /// True when one of the files it gives has this name.
    #[cfg(test)]
    pub(crate) fn makes(&self, name: &str) -> bool {
        self.builds.iter().any(|(file, ..)| *file == name)
    }
}

/// The conformance guests of x86_64.
pub(crate) const X86_64: &[Conformance] = &[Conformance {
    package: "conformance",
    target: "x86_64-unknown-none",
    builds: &X86_64_BUILDS,
}];

/// The conformance guests of arm64, of both byte orders.
pub(crate) const AARCH64: &[Conformance] = &[
    Conformance {
        package: "conformance-fdt",
        target: "aarch64-unknown-none-softfloat",
        builds: &AARCH64_BUILDS,
    },
    Conformance {
        package: "conformance-fdt",
        target: "aarch64_be-unknown-none-softfloat",
        builds: &AARCH64_BE_BUILDS,
    },
];

/// The conformance guests of riscv64.
pub(crate) const RISCV64: &[Conformance] = &[Conformance {
    package: "conformance-fdt",
    target: "riscv64gc-unknown-none-elf",
    builds: &RISCV64_BUILDS,
}];

const AARCH64_BUILDS: [Build; 5] = [
    ("conformance-pie.elf", "conformance-fdt", Form::Elf64),
    ("conformance.elf", "conformance-fdt", Form::Fixed(Kind::AARCH64)),
    (
        "conformance.Image",
        "conformance-fdt",
        Form::Image(image::Options::arm64),
    ),
    (
        "conformance-offset.Image",
        "conformance-fdt",
        Form::Image(image::Options::arm64_offset),
    ),
    (
        "conformance-old.Image",
        "conformance-fdt",
        Form::Image(image::Options::arm64_old),
    ),
];

const AARCH64_BE_BUILDS: [Build; 3] = [
    ("conformance-be-pie.elf", "conformance-fdt", Form::Elf64),
    (
        "conformance-be.elf",
        "conformance-fdt",
        Form::Fixed(Kind::AARCH64_BE),
    ),
    (
        "conformance-be.Image",
        "conformance-fdt",
        Form::Image(image::Options::arm64_big_endian),
    ),
];

const RISCV64_BUILDS: [Build; 3] = [
    ("conformance-pie.elf", "conformance-fdt", Form::Elf64),
    ("conformance.elf", "conformance-fdt", Form::Fixed(Kind::RISCV64)),
    (
        "conformance.Image",
        "conformance-fdt",
        Form::Image(image::Options::riscv64),
    ),
];

const X86_64_BUILDS: [Build; 13] = [
    ("conformance-pvh.elf", "conformance-pvh", Form::Elf64),
    ("conformance-pvh32.elf", "conformance-pvh", Form::Elf32),
    ("conformance-pvh-reloc.elf", "conformance-pvh-reloc", Form::Elf64),
    ("conformance-vmlinux.elf", "conformance-linux", Form::Elf64),
    ("conformance-vmlinux32.elf", "conformance-linux", Form::Elf32),
    (
        "conformance.bzImage",
        "conformance-linux",
        Form::BzImage(Options::default),
    ),
    (
        "conformance-32bit.bzImage",
        "conformance-linux",
        Form::BzImage(Options::only_32_bit),
    ),
    (
        "conformance-fixed.bzImage",
        "conformance-linux",
        Form::BzImage(Options::not_relocatable),
    ),
    ("conformance-multiboot.elf", "conformance-multiboot", Form::Elf32),
    (
        "conformance-multiboot-aout.elf",
        "conformance-multiboot-aout",
        Form::Elf64,
    ),
    (
        "conformance-multiboot-aout.bin",
        "conformance-multiboot-aout",
        Form::Flat,
    ),
    (
        "conformance-multiboot2.elf",
        "conformance-multiboot2",
        Form::Elf64,
    ),
    (
        "conformance-multiboot2-reloc.elf",
        "conformance-multiboot2-reloc",
        Form::Elf64,
    ),
];

/// The name of the first program of Linux guests.
pub(crate) const INIT: &str = "init";

/// Builds every guest and gives the directory they lie in.
pub(crate) fn ensure(workspace: &Workspace, row: &ArchRow) -> Result<PathBuf, Error> {
    let directory = workspace.guests(row.name);
    fs::create_dir_all(&directory).at(&directory)?;
    for guest in row.guests {
        conformance(workspace, guest, &directory)?;
    }
    init(workspace, row)?;
    Ok(directory)
}

/// Builds a conformance guest in every form.
fn conformance(workspace: &Workspace, guest: &Conformance, directory: &Path) -> Result<(), Error> {
    let bare = BareMetal::ensure(workspace, guest.target)?;
    let mut command = bare.cargo(workspace, "build");
    command
        .current_dir(workspace.root().join("guests"))
        .args(["--package", guest.package, "--release"]);
    {
        let _step = Step::start(format!("building the conformance guest for {}", guest.target));
        let log = workspace.log(&format!("build-conformance-{}", guest.target))?;
        process::run_logged(&mut command, &log)?;
    }
    let built = workspace.xtask("bare").join(guest.target).join("release");
    for &(name, program, form) in guest.builds {
        let source = built.join(program);
        let elf = fs::read(&source).at(&source)?;
        let bytes = form.make(elf).map_err(|source| Error::Guest { name, source })?;
        let path = directory.join(name);
        fs::write(&path, bytes).at(&path)?;
    }
    Ok(())
}

impl Form {
    fn make(self, elf: Vec<u8>) -> Result<Vec<u8>, GuestError> {
        match self {
            Self::Elf64 => Ok(elf),
            Self::Elf32 => Ok(GuestElf::parse(&elf, Kind::X86_64)?.to_elf32()?),
            Self::Fixed(kind) => Ok(GuestElf::parse(&elf, kind)?.to_fixed()),
            Self::Flat => {
                let mut flat = GuestElf::parse(&elf, Kind::X86_64)?.flatten()?;
                flat.bytes.truncate(flat.file_len);
                Ok(flat.bytes)
            }
            Self::Image(options) => Ok(image::wrap(&elf, &options())?),
            Self::BzImage(options) => Ok(bzimage::wrap(&elf, &options())?),
        }
    }
}

/// Builds the first program of Linux guests, and gives its path.
pub(crate) fn init(workspace: &Workspace, row: &ArchRow) -> Result<PathBuf, Error> {
    let mut command = build::static_cargo(workspace, row, "build")?;
    command
        .current_dir(workspace.root().join("guests"))
        .args(["--package", INIT, "--release"]);
    {
        let _step = Step::start("building the init program of Linux guests");
        process::run_logged(&mut command, &workspace.log("build-init")?)?;
    }
    let directory = workspace.guests(row.name);
    fs::create_dir_all(&directory).at(&directory)?;
    let built = workspace
        .xtask("static")
        .join(row.std_target)
        .join("release")
        .join(INIT);
    let path = directory.join(INIT);
    fs::copy(&built, &path).at(&built)?;
    Ok(path)
}

/// `cargo xtask guests`.
pub(crate) fn run(workspace: &Workspace, row: &ArchRow) -> Result<(), Error> {
    let directory = ensure(workspace, row)?;
    let conformance = row.guests.iter().flat_map(|guest| guest.builds);
    for name in conformance.map(|(name, ..)| *name).chain([INIT]) {
        let path = directory.join(name);
        let length = fs::metadata(&path).at(&path)?.len();
        say(&format!("{} ({length} bytes)", path.display()));
    }
    Ok(())
}
