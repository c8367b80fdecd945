//! Boots that `vmboot prepare` wrote to files.

use std::error::Error;
use std::num::NonZeroU32;
use std::path::Path;

use boot_core::{Arch, Machine, MemoryMap};
use guest_ram::{FileMapping, PreparedBoot};
use serde::{Deserialize, Serialize};

use super::advised::AdvisedError;
use super::boot::Boot;
use super::disks::DiskArgs;
use super::file::{self, FileError};
use super::host_machine::host_machine;
use super::machine::{Irqchip, MachineArgs};
use super::summary::Description;

/// What to do about a file that cannot be used.
const PREPARE_AGAIN: &str =
    "prepare it again, on this host and with this vmboot: vmboot prepare KERNEL --output FILE";

/// A file of a prepared boot that does not suit this host or these options.
#[derive(Debug, thiserror::Error)]
enum PreparedError {
    #[error("the boot was not prepared by `vmboot prepare`")]
    Notes(#[from] serde_json::Error),
    #[error("the boot was prepared by vmboot {found}, and this is vmboot {VERSION}")]
    Version { found: String },
    #[error("the boot was prepared for {expected} disks, and --disk names {found}")]
    Disks { expected: usize, found: usize },
    #[error(
        "the boot was prepared for another {0} machine than that of this host: another instruction set, timer frequency or interrupt controller"
    )]
    Machine(Arch),
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What a run needs in addition to the prepared boot: its notes, as JSON.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Notes {
    /// Version of the `vmboot` that prepared the boot.
    vmboot: String,
    /// Kernel, protocol, machine and command line, in words.
    pub(crate) summary: String,
    /// Whether the kernel is Linux by evidence.
    pub(crate) is_linux: bool,
    /// Address of the guest's ACPI tables, if it has any.
    acpi_rsdp: Option<u64>,
    /// Size of the guest's RAM in bytes, as in the options.
    memory_len: u64,
    memory: MemoryMap,
    vcpus: NonZeroU32,
    irqchip: Option<Irqchip>,
    disks: usize,
    /// The hardware of the machine as JSON, to compare it with that of the machine of a run.
    platform: String,
}

impl Notes {
    /// The notes of a planned boot on a machine with these options.
    pub(crate) fn new(boot: &Boot, options: &MachineArgs) -> serde_json::Result<Self> {
        let Boot { machine, disks, .. } = boot;
        let memory = options.memory.bytes;
        let description = Description { boot, memory };
        Ok(Self {
            vmboot: VERSION.to_owned(),
            summary: description.to_string(),
            is_linux: boot.is_linux,
            acpi_rsdp: machine.acpi_rsdp,
            memory_len: memory,
            memory: machine.memory.clone(),
            vcpus: machine.vcpus,
            irqchip: options.irqchip,
            disks: disks.len(),
            platform: serde_json::to_string(&machine.platform)?,
        })
    }
}

/// An opened file.
pub(crate) struct Prepared {
    pub(crate) boot: PreparedBoot,
    pub(crate) notes: Notes,
}

/// Opens the prepared boot at `path`.
pub(crate) fn open(path: &Path, files: FileMapping) -> Result<Prepared, Box<dyn Error>> {
    let content = |error: Box<dyn Error>| AdvisedError::new(FileError::of(path, error), PREPARE_AGAIN);
    let boot = PreparedBoot::open(file::open(path)?, files).map_err(|error| content(error.into()))?;
    let notes: Notes =
        serde_json::from_str(boot.notes()).map_err(|error| content(PreparedError::Notes(error).into()))?;
    if notes.vmboot != VERSION {
        let found = notes.vmboot;
        return Err(content(PreparedError::Version { found }.into()).into());
    }
    Ok(Prepared { boot, notes })
}

impl Prepared {
    /// The machine on this host, which is that of the preparation.
    pub(crate) fn machine(&self, disks: &DiskArgs) -> Result<Machine, Box<dyn Error>> {
        let (arch, notes) = (self.boot.arch(), &self.notes);
        let (expected, found) = (notes.disks, disks.paths().count());
        if expected != found {
            let help = match expected {
                0 => "omit --disk, or prepare the boot with as many disks".to_owned(),
                _ => format!("use --disk {expected} times, as `vmboot prepare` did"),
            };
            return Err(AdvisedError::new(PreparedError::Disks { expected, found }, help).into());
        }
        let options = MachineArgs::plain(notes.memory_len, notes.vcpus, notes.irqchip);
        let mut machine = host_machine(&options, arch)?;
        disks.describe(&mut machine)?;
        if serde_json::to_string(&machine.platform)? != notes.platform {
            return Err(AdvisedError::new(PreparedError::Machine(arch), PREPARE_AGAIN).into());
        }
        machine.memory = notes.memory.clone();
        machine.acpi_rsdp = notes.acpi_rsdp;
        Ok(machine)
    }
}
