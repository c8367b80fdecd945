//! Disks of `plan` and `run`.

use std::error::Error;
use std::fs::File;
use std::path::{Path, PathBuf};

use boot_core::{Arch, Machine, RawCmdline};
use clap::ValueEnum;
use guest_ram::GuestRam;
use hv_core::{MmioDevice, virt};
use hv_virtio::{Disk, DiskConfig, DiskError, DiskMode, block_device, linux_option};

use super::advised::AdvisedError;
use super::file::{self, FileError};
use super::words;

/// Largest number of bytes in memory of what a guest writes to one disk.
const COPIES_MAX: u64 = 1 << 30;

/// Options for disks.
#[derive(Debug, clap::Args)]
pub(crate) struct DiskArgs {
    /// Disk image of a virtio disk; can be repeated. The guest finds the disks in the device tree or the ACPI tables. Without them, on x86_64, its
    /// command line begins with virtio_mmio.device=.
    #[arg(long = "disk", value_name = "FILE")]
    disks: Vec<PathBuf>,
    /// What happens to writes of the guest to its disks; the files are never changed.
    #[arg(
        long = "disk-mode",
        value_name = "MODE",
        default_value = "cow",
        requires = "disks"
    )]
    mode: Mode,
    /// Size of a logical block of the disks in bytes.
    #[arg(
        long = "disk-block-size",
        value_name = "BYTES",
        default_value_t = 512,
        requires = "disks"
    )]
    block_size: u32,
}

/// Value of `--disk-mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Writes fail.
    Ro,
    /// Writes go to copies in memory, at most 1 GiB for each disk.
    Cow,
}

/// Disks that a machine cannot have.
#[derive(Debug, thiserror::Error)]
#[error("{found} disks are too many: machines for {arch} images have at most {max}")]
struct TooManyDisks {
    found: usize,
    max: u32,
    arch: Arch,
}

impl DiskArgs {
    /// The paths of the disk images.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.disks.iter().map(PathBuf::as_path)
    }

    /// Describes a slot for each disk in `machine`.
    pub(crate) fn describe(&self, machine: &mut Machine) -> Result<(), Box<dyn Error>> {
        let (found, arch) = (self.disks.len(), machine.arch);
        let max = virt::virtio_mmio_slots(arch);
        let count = u32::try_from(found)
            .ok()
            .filter(|count| *count <= max)
            .ok_or_else(|| {
                let help = format!("use --disk at most {max} times");
                AdvisedError::new(TooManyDisks { found, max, arch }, help)
            })?;
        machine.platform.virtio_mmio = virt::virtio_mmio(arch, count);
        Ok(())
    }

    /// The command line with the options that describe the disks to a guest without a device tree and ACPI tables.
    pub(crate) fn add_options(
        machine: &Machine,
        has_acpi: bool,
        line: &RawCmdline,
    ) -> Result<RawCmdline, boot_core::CmdlineError> {
        if machine.arch != Arch::X86_64 || has_acpi {
            return Ok(line.clone());
        }
        words::prepend(machine.platform.virtio_mmio.iter().map(linux_option), line)
    }

    /// Opens the images.
    pub(crate) fn open(&self) -> Result<Vec<Disk>, Box<dyn Error>> {
        let mode = match self.mode {
            Mode::Ro => DiskMode::ReadOnly,
            Mode::Cow => DiskMode::CopyOnWrite { limit: COPIES_MAX },
        };
        let config = DiskConfig::default()
            .with_mode(mode)
            .with_block_size(self.block_size);
        let open = |(number, path): (usize, &PathBuf)| {
            let file: File = file::open(path)?;
            let config = config.clone().with_id(format!("vmboot-{number}"));
            Disk::new(file, &config).map_err(|error| with_help(path, error))
        };
        self.disks.iter().enumerate().map(open).collect()
    }
}

/// The error of a disk image, with what to do.
fn with_help(path: &Path, error: DiskError) -> Box<dyn Error> {
    if matches!(error, DiskError::BlockSize { .. }) {
        return AdvisedError::new(error, "use --disk-block-size 512 or 4096").into();
    }
    let help = match error {
        DiskError::Length { block_size, .. } => {
            format!("use a raw disk image; `truncate --size=%{block_size} FILE` makes its length a multiple")
        }
        _ => "use a raw disk image".to_owned(),
    };
    AdvisedError::new(FileError::with_path(path)(error), help).into()
}

/// The devices of `disks` in the slots of `machine`, whose RAM is `ram`.
pub(crate) fn devices(machine: &Machine, disks: Vec<Disk>, ram: &GuestRam) -> Vec<MmioDevice> {
    let slots = &machine.platform.virtio_mmio;
    slots
        .iter()
        .zip(disks)
        .map(|(slot, disk)| block_device(slot, disk, ram.clone()))
        .collect()
}
