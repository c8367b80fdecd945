//! Building `guests/`: the programs that run inside virtual machines.

pub(crate) mod builds;
mod c;
pub(crate) mod error;
mod picolibc;

use std::fs;
use std::path::{Path, PathBuf};
use std::slice;

use self::builds::{Conformance, OutputFormat, SANDBOX_PROGRAMS, SandboxTarget};
use self::error::GuestError;
use crate::arch::ArchRow;
use crate::build;
use crate::bzimage;
use crate::error::{Error, WithPath as _};
use crate::firmware::error::FirmwareError;
use crate::guest_elf::{ElfTarget, GuestElf};
use crate::image;
use crate::new_guest;
use crate::process;
use crate::progress::{Step, print_status};
use crate::toolchain::BareMetal;
use crate::workspace::Workspace;

/// Name of the program that is built from the template of guests.
const TEMPLATE: &str = "sandbox-template";

/// Name of the init program of Linux guests.
pub(crate) const INIT: &str = "init";

/// Builds the guests of the tests and returns their directory.
pub(crate) fn ensure(workspace: &Workspace, row: &ArchRow) -> Result<PathBuf, Error> {
    build(workspace, row, slice::from_ref(row.sandbox_target()))
}

/// Builds the guests, those in Rust that run in sandboxes for each of `targets`, and returns their directory.
fn build(workspace: &Workspace, row: &ArchRow, targets: &'static [SandboxTarget]) -> Result<PathBuf, Error> {
    let directory = workspace.guests(row.name);
    fs::create_dir_all(&directory).with_path(&directory)?;
    for guest in row.guests {
        conformance(workspace, guest, &directory)?;
    }
    for target in targets {
        for program in SANDBOX_PROGRAMS {
            sandbox_guest(workspace, program, target, &directory)?;
        }
        template_guest(workspace, target, &directory)?;
    }
    c::build(workspace, row, &directory)?;
    init(workspace, row)?;
    Ok(directory)
}

/// Builds a program that runs in a sandbox, and returns its path.
fn sandbox_guest(
    workspace: &Workspace,
    program: &str,
    target: &SandboxTarget,
    directory: &Path,
) -> Result<PathBuf, Error> {
    let source = workspace.root().join("guests/sandbox");
    sandbox_program(workspace, &source, program, target, directory)
}

/// Builds the program that `cargo xtask new-guest` writes, and returns its path.
fn template_guest(workspace: &Workspace, target: &SandboxTarget, directory: &Path) -> Result<PathBuf, Error> {
    let parent = workspace.xtask("template");
    if parent.exists() {
        fs::remove_dir_all(&parent).with_path(&parent)?;
    }
    fs::create_dir_all(&parent).with_path(&parent)?;
    let source = parent.join(TEMPLATE);
    new_guest::write_for_clone(workspace, &source)?;
    let lock = workspace.root().join("Cargo.lock");
    fs::copy(&lock, source.join("Cargo.lock")).with_path(&lock)?;
    sandbox_program(workspace, &source, TEMPLATE, target, directory)
}

/// Builds the program `program` in the directory `source`, with the flags of the configuration there, and returns its path.
fn sandbox_program(
    workspace: &Workspace,
    source: &Path,
    program: &str,
    SandboxTarget { target, suffix }: &SandboxTarget,
    directory: &Path,
) -> Result<PathBuf, Error> {
    let mut command = BareMetal::ensure(workspace, target)?.cargo_with_flags(workspace, "build")?;
    command
        .current_dir(source)
        .args(["--package", program, "--release"]);
    {
        let _step = Step::start(format!("building {program} for {target}"));
        let log = workspace.log(&format!("build-{program}-{target}"))?;
        process::run_logged(&mut command, &log)?;
    }
    let built = workspace.xtask("bare").join(target).join("release").join(program);
    let path = directory.join(format!("{program}{suffix}"));
    fs::copy(&built, &path).with_path(&built)?;
    Ok(path)
}

/// Builds the demo guest of sandboxes and returns its path.
pub(crate) fn sandbox_demo(workspace: &Workspace, row: &ArchRow) -> Result<PathBuf, Error> {
    let directory = workspace.guests(row.name);
    fs::create_dir_all(&directory).with_path(&directory)?;
    let [demo, ..] = SANDBOX_PROGRAMS;
    sandbox_guest(workspace, demo, row.sandbox_target(), &directory)
}

/// Builds a conformance guest and converts it to each format.
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
    for &(name, program, format) in guest.builds {
        let source = built.join(program);
        let elf = fs::read(&source).with_path(&source)?;
        let bytes = format
            .convert(elf)
            .map_err(|source| Error::Guest { name, source })?;
        let path = directory.join(name);
        fs::write(&path, bytes).with_path(&path)?;
    }
    Ok(())
}

impl OutputFormat {
    /// Converts the ELF64 that cargo built to this format.
    fn convert(self, elf: Vec<u8>) -> Result<Vec<u8>, GuestError> {
        match self {
            Self::Elf64 => Ok(elf),
            Self::Elf32 => Ok(GuestElf::parse(&elf, ElfTarget::X86_64)?.to_elf32()?),
            Self::Elf64Exec(target) => Ok(GuestElf::parse(&elf, target)?.to_et_exec()),
            Self::Flat => {
                let mut flat = GuestElf::parse(&elf, ElfTarget::X86_64)?.flatten()?;
                flat.bytes.truncate(flat.file_len);
                Ok(flat.bytes)
            }
            Self::Image(options) => Ok(image::wrap(&elf, &options())?),
            Self::BzImage(options) => Ok(bzimage::wrap(&elf, &options())?),
        }
    }
}

/// Builds the program that traces EFI calls, and returns its path.
pub(crate) fn efitrace(workspace: &Workspace, row: &ArchRow) -> Result<PathBuf, Error> {
    const NAME: &str = "efitrace";
    let Some(target) = row.firmware.tracer else {
        return Err(FirmwareError::NoTracer { arch: row.name }.into());
    };
    let mut command = BareMetal::ensure(workspace, target)?.cargo(workspace, "build");
    command
        .current_dir(workspace.root().join("guests"))
        .args(["--package", NAME, "--release"]);
    let _step = Step::start(format!("building {NAME} for {target}"));
    process::run_logged(&mut command, &workspace.log(&format!("build-{NAME}"))?)?;
    let built = workspace.xtask("bare").join(target).join("release");
    Ok(built.join(NAME).with_extension("efi"))
}

/// Builds the init program of Linux guests and returns its path.
pub(crate) fn init(workspace: &Workspace, row: &ArchRow) -> Result<PathBuf, Error> {
    let mut command = build::static_cargo(workspace, row, "rustc")?;
    command
        .current_dir(workspace.root().join("guests"))
        .args(["--package", INIT])
        // Every Linux guest unpacks it, often in an emulated machine: keep it small.
        .args(["--", "-Cstrip=symbols"]);
    {
        let _step = Step::start("building the init program of Linux guests");
        process::run_logged(&mut command, &workspace.log("build-init")?)?;
    }
    let directory = workspace.guests(row.name);
    fs::create_dir_all(&directory).with_path(&directory)?;
    let built = build::static_output(workspace, row).join(INIT);
    let path = directory.join(INIT);
    fs::copy(&built, &path).with_path(&built)?;
    Ok(path)
}

/// `cargo xtask guests`: builds every guest.
pub(crate) fn run(workspace: &Workspace, row: &ArchRow) -> Result<(), Error> {
    let directory = build(workspace, row, row.sandbox_targets)?;
    let conformance = row.guests.iter().flat_map(|guest| guest.builds);
    let programs = SANDBOX_PROGRAMS.into_iter().chain([TEMPLATE]);
    let sandboxes = programs.flat_map(|program| {
        let targets = row.sandbox_targets.iter();
        targets.map(move |target| format!("{program}{}", target.suffix))
    });
    // There are systems without the C library.
    let in_c = row.c_guests.iter();
    let in_c = in_c.filter(|guest| guest.library.is_none() || directory.join(guest.file).exists());
    for name in conformance
        .map(|(name, ..)| (*name).to_owned())
        .chain(sandboxes)
        .chain(in_c.map(|guest| guest.file.to_owned()))
        .chain([INIT.to_owned()])
    {
        let path = directory.join(name);
        let length = fs::metadata(&path).with_path(&path)?.len();
        print_status(&format!("{} ({length} bytes)", path.display()));
    }
    Ok(())
}
