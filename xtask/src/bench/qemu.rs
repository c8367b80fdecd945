//! QEMU as a VMM, for comparison: Debian's package with the libraries it needs, for the machine that has KVM.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use object::Endianness;
use object::elf::{DT_NEEDED, FileHeader64};
use object::read::elf::{Dyn as _, FileHeader as _, SectionHeader as _};

use crate::apt::PrivateApt;
use crate::arch::{Arch, ArchRow};
use crate::error::{Error, WithPath as _};
use crate::kernel;
use crate::suite::Suite;
use crate::workspace::Workspace;

/// A QEMU with the files that it needs.
#[derive(Debug)]
pub(super) struct Qemu {
    /// The dynamic linker, to start QEMU with where its libraries are not installed.
    pub(super) linker: PathBuf,
    /// QEMU itself.
    pub(super) program: PathBuf,
    /// The directory of its libraries.
    pub(super) libraries: PathBuf,
    /// The directory of the firmware of its machines.
    pub(super) firmware: PathBuf,
}

/// Files of the packages that the machine reads, without libraries.
const FIRMWARE: [&str; 3] = ["bios-microvm.bin", "linuxboot_dma.bin", "kvmvapic.bin"];

/// Package, and name of the program.
fn names(arch: Arch) -> (&'static str, &'static str) {
    match arch {
        Arch::X86_64 => ("qemu-system-x86", "qemu-system-x86_64"),
        Arch::Aarch64 => ("qemu-system-arm", "qemu-system-aarch64"),
        Arch::Riscv64 => ("qemu-system-riscv", "qemu-system-riscv64"),
    }
}

impl Qemu {
    /// Options for a machine that is made for KVM: without the devices of older ones, where QEMU has such a machine.
    pub(super) fn machine(arch: Arch) -> [&'static str; 2] {
        match arch {
            Arch::X86_64 => ["-machine", "microvm,accel=kvm"],
            Arch::Aarch64 => ["-machine", "virt,accel=kvm,gic-version=host"],
            Arch::Riscv64 => ["-machine", "virt,accel=kvm"],
        }
    }

    /// The console of the machine, and the option that ends it by a reset.
    pub(super) fn command_line(arch: Arch) -> &'static str {
        match arch {
            Arch::X86_64 => "console=ttyS0 panic=-1 reboot=t",
            Arch::Aarch64 => "console=ttyAMA0 panic=-1",
            Arch::Riscv64 => "console=ttyS0 panic=-1",
        }
    }

    /// Fetches the packages and collects the files.
    pub(super) fn ensure(workspace: &Workspace, row: &ArchRow) -> Result<Self, Error> {
        let (package, name) = names(row.arch);
        let suite = workspace
            .xtask("debian")
            .join(Suite::Trixie.name())
            .join(row.name);
        let files = suite.join("qemu-files");
        if !files.exists() {
            let tree = suite.join("qemu-tree");
            if !tree.exists() {
                let apt = PrivateApt::update(workspace, row.name, row.debian, Suite::Trixie)?;
                apt.unpack_all(&[package], &tree)?;
            }
            collect(&tree, name, &files)?;
            fs::remove_dir_all(&tree).with_path(&tree)?;
        }
        let [libraries, firmware] = ["lib", "share"].map(|name| files.join(name));
        let linker = kernel::walk(&libraries)?.into_iter().find(|file| is_linker(file));
        Ok(Self {
            linker: linker.ok_or_else(|| Error::NotInPackage {
                package: package.to_owned(),
                what: "dynamic linker",
            })?,
            program: files.join(name),
            libraries,
            firmware,
        })
    }
}

fn is_linker(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with("ld-linux")
}

/// Copies the program, the libraries that it needs, and firmware from an unpacked tree.
fn collect(tree: &Path, name: &str, into: &Path) -> Result<(), Error> {
    let partial = into.with_extension("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial).with_path(&partial)?;
    }
    let [libraries, firmware] = ["lib", "share"].map(|name| partial.join(name));
    for directory in [&libraries, &firmware] {
        fs::create_dir_all(directory).with_path(directory)?;
    }
    let all = kernel::walk(tree)?;
    // The first one of this name, read; those of other machines are absent.
    let copy = |name: &str, directory: &Path| -> Result<Vec<u8>, Error> {
        let is_named = |file: &&PathBuf| file.file_name().is_some_and(|found| *found == *name);
        let Some(file) = all.iter().find(is_named) else {
            return Ok(Vec::new());
        };
        let copy = directory.join(name);
        fs::copy(file, &copy).with_path(file)?;
        fs::read(&copy).with_path(&copy)
    };
    for name in FIRMWARE {
        copy(name, &firmware)?;
    }
    let linker = all
        .iter()
        .find(|file| is_linker(file))
        .and_then(|file| file.file_name());
    let mut pending = needed(&copy(name, &partial)?).unwrap_or_default();
    pending.extend(linker.map(|name| name.to_string_lossy().into_owned()));
    let mut known = BTreeSet::new();
    while let Some(name) = pending.pop() {
        if known.insert(name.clone()) {
            // Files that are not ELF, such as scripts for linkers, need nothing.
            pending.extend(needed(&copy(&name, &libraries)?).unwrap_or_default());
        }
    }
    fs::rename(&partial, into).with_path(into)
}

/// The libraries that an ELF file names as `DT_NEEDED` (gABI, "Dynamic Section"). Other files need none.
fn needed(bytes: &[u8]) -> Result<Vec<String>, object::read::Error> {
    let header = FileHeader64::<Endianness>::parse(bytes)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, bytes)?;
    let mut names = Vec::new();
    for section in sections.iter() {
        let Some((entries, strings)) = section.dynamic(endian, bytes)? else {
            continue;
        };
        let strings = sections.strings(endian, bytes, strings)?;
        for entry in entries.iter().filter(|entry| entry.tag(endian) == DT_NEEDED) {
            names.push(String::from_utf8_lossy(entry.string(endian, strings)?).into_owned());
        }
    }
    Ok(names)
}
