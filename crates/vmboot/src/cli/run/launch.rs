//! What is started: a boot that is planned now, or one that was prepared.

use std::error::Error;
use std::path::Path;

use boot_core::{Arch, BootFile, CpuState, LoadError, Machine};
use guest_ram::{FileMapping, GuestRam, MappableFile, PreparedBoot};
use hv_virtio::Disk;

use super::super::boot::{Boot, BootArgs};
use super::super::host_machine::host_machine;
use super::super::output::note;
use super::super::prepared;
use super::super::protocols::ProtocolChoice;
use super::super::seeds::Seeds;
use super::super::summary::Description;
use super::preflight::Preflight;

/// A boot that can be loaded, and its machine.
pub(super) struct Launch {
    pub(super) machine: Machine,
    /// The boot in words.
    pub(super) summary: String,
    /// Whether the kernel is Linux by evidence.
    pub(super) is_linux: bool,
    /// Whether standard input is one of the files.
    pub(super) reads_stdin: bool,
    /// In the order of the machine's virtio-mmio slots.
    pub(super) disks: Vec<Disk>,
    /// The protocol and those that could be tried in its place; `None` for a prepared boot.
    pub(super) protocols: Option<ProtocolChoice>,
    content: Content,
}

enum Content {
    Planned(Box<Boot>),
    Prepared(PreparedBoot),
}

impl Launch {
    /// Plans a boot with seeds for the guest. Prints its warnings.
    pub(super) fn planned(args: &BootArgs, host: &Preflight) -> Result<Self, Box<dyn Error>> {
        let seeds = Seeds::draw()?;
        let mut boot = args.plan(Some(&seeds), |options, arch| {
            host.check(arch)?;
            host_machine(options, arch)
        })?;
        for warning in boot.plan.warnings() {
            note(format_args!("warning: {warning}"));
        }
        let description = Description {
            boot: &boot,
            memory: args.machine.memory.bytes,
        };
        Ok(Self {
            machine: boot.machine.clone(),
            summary: description.to_string(),
            is_linux: boot.is_linux,
            reads_stdin: boot.reads_stdin,
            disks: std::mem::take(&mut boot.disks),
            protocols: Some(boot.protocols.clone()),
            content: Content::Planned(Box::new(boot)),
        })
    }

    /// Opens the prepared boot at `path`, for a machine with the disks of `args`.
    pub(super) fn prepared(
        path: &Path,
        files: FileMapping,
        args: &BootArgs,
        host: &Preflight,
    ) -> Result<Self, Box<dyn Error>> {
        let prepared = prepared::open(path, files)?;
        host.check(prepared.boot.arch())?;
        let machine = prepared.machine(&args.disks)?;
        let notes = prepared.notes;
        Ok(Self {
            machine,
            summary: notes.summary,
            is_linux: notes.is_linux,
            reads_stdin: false,
            disks: args.disks.open()?,
            protocols: None,
            content: Content::Prepared(prepared.boot),
        })
    }

    /// The architecture of the guest.
    pub(super) fn arch(&self) -> Arch {
        self.machine.arch
    }

    /// The entry state of the boot CPU.
    pub(super) fn boot_cpu(&self) -> Option<&CpuState> {
        match &self.content {
            Content::Planned(boot) => boot.plan.cpus().first(),
            Content::Prepared(boot) => boot.cpus().first(),
        }
    }

    /// Loads the boot. `mapping` chooses the files to map in place of copies; `None` maps none.
    pub(super) fn load(&self, ram: &mut GuestRam, mapping: Option<FileMapping>) -> Result<(), LoadError> {
        match &self.content {
            Content::Planned(boot) => boot.with_sources(|sources| match mapping {
                Some(files) => {
                    let kernel = sources.get(BootFile::Kernel).and_then(MappableFile::new);
                    let mut mapper = ram.map_files(files).examined(kernel.as_slice());
                    boot.plan.load(sources, &mut mapper)
                }
                None => boot.plan.load(sources, ram),
            }),
            // How it is mapped was chosen when it was opened.
            Content::Prepared(boot) => boot.load(ram),
        }
    }
}
