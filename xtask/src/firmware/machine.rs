//! The command that starts a machine with a firmware and disks.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::error::FirmwareError;
use super::medium;
use super::medium::content::command_line;
use super::medium::spec::{End, Medium};
use super::options::FileOption;
use super::ours;
use super::platform::{Bus, Machine, Rival, Start};
use super::size::Content;
use crate::arch::ArchRow;
use crate::error::Error;
use crate::kernel;
use crate::suite::Suite;
use crate::workspace::Workspace;

/// What our firmware boots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Entries of the Boot Loader Specification without EFI, then EFI programs, as without an option.
    Auto,
    /// Entries only.
    Entries,
    /// EFI programs only.
    Efi,
    /// As [`Auto`](Self::Auto), from the flash at which the processor starts.
    Flash,
}

impl Way {
    const ALL: [Self; 4] = [Self::Auto, Self::Entries, Self::Efi, Self::Flash];

    /// Name of the firmware on the command line, and in results.
    const fn name(self) -> &'static str {
        match self {
            Self::Auto => "ours",
            Self::Entries => "ours-bls",
            Self::Efi => "ours-efi",
            Self::Flash => "ours-flash",
        }
    }

    /// The option of the firmware.
    const fn option(self) -> Option<&'static str> {
        match self {
            Self::Auto | Self::Flash => None,
            Self::Entries => Some("firmware.boot=bls"),
            Self::Efi => Some("firmware.boot=efi"),
        }
    }
}

/// What starts the system.
#[derive(Clone, Debug)]
pub(super) enum Firmware {
    /// That of this repository.
    Ours(Way),
    Rival(&'static Rival),
    /// A file.
    File {
        path: PathBuf,
        option: FileOption,
    },
}

/// A machine with its firmware.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) row: &'static ArchRow,
    pub(super) machine: &'static Machine,
    pub(super) bus: Bus,
    pub(super) firmware: Firmware,
    /// In MiB.
    pub(super) memory: u32,
    /// True if the console is a virtio device, and there is no serial port.
    pub(super) has_virtio_console: bool,
    /// True if the machine has a TPM, which registers measurements of firmware and boot loaders.
    pub(super) has_tpm: bool,
    /// Further options of QEMU.
    pub(super) qemu: Vec<String>,
}

/// A disk, and the length of its blocks in bytes.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    pub(super) image: PathBuf,
    pub(super) block_size: u16,
    /// Number of a sector of 512 bytes that cannot be read.
    pub(super) bad_sector: Option<u64>,
}

impl Firmware {
    /// The firmware of this name, or the file of this path.
    pub(super) fn find(row: &ArchRow, name: &str, option: FileOption) -> Result<Self, FirmwareError> {
        if let Some(way) = Way::ALL.into_iter().find(|way| way.name() == name) {
            return Ok(Self::Ours(way));
        }
        let rivals = row.firmware.rivals;
        if let Some(rival) = rivals.iter().find(|rival| rival.is_called(name)) {
            return Ok(Self::Rival(rival));
        }
        let path = PathBuf::from(name);
        if path.is_file() {
            return Ok(Self::File { path, option });
        }
        let names = rivals.iter().map(|rival| rival.name);
        Err(FirmwareError::NoFirmware {
            arch: row.name,
            name: name.to_owned(),
            known: list(Way::ALL.into_iter().map(Way::name).chain(names)),
        })
    }

    /// Name in results.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Ours(way) => way.name().to_owned(),
            Self::Rival(rival) => rival.name.to_owned(),
            Self::File { path, .. } => path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
        }
    }

    /// True if no disk is read.
    pub(super) fn is_direct(&self) -> bool {
        matches!(
            self,
            Self::Rival(Rival {
                start: Start::Direct,
                ..
            })
        )
    }
}

/// The machine of this name; the first if there is none.
pub(super) fn find(row: &ArchRow, name: Option<&str>) -> Result<&'static Machine, FirmwareError> {
    let machines = row.firmware.machines;
    let found = match name {
        None => machines.first(),
        Some(name) => machines.iter().find(|machine| machine.name == name),
    };
    found.ok_or_else(|| FirmwareError::NoMachine {
        arch: row.name,
        name: name.unwrap_or_default().to_owned(),
        known: list(machines.iter().map(|machine| machine.name)),
    })
}

/// This bus of a machine; the first if there is none.
pub(super) fn find_bus(machine: &'static Machine, bus: Option<Bus>) -> Result<Bus, FirmwareError> {
    let wanted = bus.or(machine.buses.first().copied()).unwrap_or(Bus::Pci);
    if machine.buses.contains(&wanted) {
        return Ok(wanted);
    }
    Err(FirmwareError::NoBus {
        machine: machine.name,
        bus: wanted.name(),
        known: list(machine.buses.iter().map(|bus| bus.name())),
    })
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

impl Setup {
    /// The command that boots from the last of `disks`. `directory` is for files that QEMU changes.
    pub(super) fn command(
        &self,
        workspace: &Workspace,
        disks: &[Disk],
        end: End,
        directory: &Path,
    ) -> Result<Command, Error> {
        let emulator = self.machine.qemu.ensure(workspace)?;
        let mut command = emulator.command();
        command
            .args(self.machine.args)
            .args(["-smp", "1", "-nodefaults", "-no-reboot", "-display", "none"])
            .args(self.console())
            .arg("-m")
            .arg(self.memory.to_string())
            .args(self.bus.options());
        for (index, disk) in disks.iter().enumerate() {
            let is_boot_disk = index + 1 == disks.len();
            let (drive, device) = disk.options(self.bus, index, is_boot_disk);
            command.args(["-drive", &drive, "-device", &device]);
        }
        match &self.firmware {
            Firmware::Ours(way) => {
                let file = match way {
                    Way::Flash if self.machine.flash_media.is_empty() => {
                        return Err(FirmwareError::NotOnMachine {
                            firmware: way.name(),
                            machine: self.machine.name,
                        }
                        .into());
                    }
                    Way::Flash => FileOption::Bios,
                    Way::Auto | Way::Entries | Way::Efi => FileOption::Kernel,
                };
                command
                    .arg(file.name())
                    .arg(ours::build(workspace, self.row.firmware, Content::Whole)?.path);
                if let Some(option) = way.option() {
                    command.args(["-append", option]);
                }
            }
            Firmware::File { path, option } => {
                command.arg(option.name()).arg(path);
            }
            Firmware::Rival(rival) => {
                if !rival.machines.contains(&self.machine.name) {
                    return Err(FirmwareError::NotOnMachine {
                        firmware: rival.name,
                        machine: self.machine.name,
                    }
                    .into());
                }
                rival.start.apply(&mut command, workspace, self.row, directory)?;
                if self.firmware.is_direct() {
                    let line = command_line(self.row.firmware, end, self.tsc_khz());
                    direct(&mut command, workspace, self.row, &line)?;
                }
            }
        }
        command.args(&self.qemu);
        Ok(command)
    }

    /// The options of QEMU for the console.
    fn console(&self) -> Vec<&'static str> {
        if !self.has_virtio_console {
            return vec!["-serial", "stdio"];
        }
        let bus = match self.bus {
            Bus::Pci | Bus::PciLegacy => "virtio-serial-pci",
            Bus::Mmio | Bus::MmioModern => "virtio-serial-device",
        };
        // A console of `stdio` is closed where there is no input.
        let output = "file,id=console,path=/dev/stdout";
        vec![
            "-chardev",
            output,
            "-device",
            bus,
            "-device",
            "virtconsole,chardev=console",
        ]
    }

    /// The frequency of the TSC in kHz, which is that of this machine under TCG, if the kernel needs it.
    pub(super) fn tsc_khz(&self) -> Option<u64> {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").ok()?;
        tsc_khz(&cpuinfo).filter(|_| self.machine.needs_tsc)
    }
}

/// The frequency of the first CPU in `/proc/cpuinfo`, in kHz.
fn tsc_khz(cpuinfo: &str) -> Option<u64> {
    let line = cpuinfo.lines().find(|line| line.starts_with("cpu MHz"))?;
    let (mhz, fraction) = line.split_once(':')?.1.trim().split_once('.')?;
    let khz = fraction.get(..3)?.parse::<u64>().ok()?;
    Some(mhz.parse::<u64>().ok()? * 1000 + khz)
}

/// Makes QEMU load the kernel and the initrd of media.
fn direct(command: &mut Command, workspace: &Workspace, row: &ArchRow, line: &str) -> Result<(), Error> {
    let kernel = kernel::ensure(workspace, row, Suite::Trixie)?;
    let initrd = medium::ensure_initrd(workspace, row, &kernel, 0)?;
    command.arg("-kernel").arg(&kernel.image);
    command.arg("-initrd").arg(initrd);
    command.args(["-append", line]);
    Ok(())
}

impl Disk {
    /// A medium.
    pub(super) fn medium(workspace: &Workspace, row: &ArchRow, medium: &Medium) -> Result<Self, Error> {
        Ok(Self {
            image: medium.ensure(workspace, row)?,
            block_size: medium.block_size,
            bad_sector: None,
        })
    }

    /// QEMU's options for the image and for the device.
    pub(super) fn options(&self, bus: Bus, index: usize, is_boot_disk: bool) -> (String, String) {
        // A comma in a name ends a value unless it is doubled.
        let file = self.image.display().to_string().replace(',', ",,");
        let file = match self.bad_sector {
            None => format!("file={file}"),
            // QEMU's blkdebug between the format and the file.
            Some(sector) => format!(
                "file.driver=blkdebug,file.image.driver=file,file.image.filename={file},file.inject-error.0.event=read_aio,\
                 file.inject-error.0.errno=5,file.inject-error.0.sector={sector}"
            ),
        };
        let drive = format!("if=none,id=disk{index},format=raw,snapshot=on,{file}");
        let device = format!("{},drive=disk{index}", bus.device());
        let blocks = match self.block_size {
            512 => String::new(),
            size => format!(",logical_block_size={size},physical_block_size={size}"),
        };
        let place = if is_boot_disk { ",bootindex=1" } else { "" };
        (drive, device + &blocks + place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Arch;

    #[test]
    fn machines_and_buses_are_found_by_name() {
        let check = |arch: Arch, machine: Option<&str>, bus, expected: &str| {
            let found = find(arch.row(), machine)
                .and_then(|machine| Ok(format!("{} {}", machine.name, find_bus(machine, bus)?.name())));
            let found = found.unwrap_or_else(|error| error.to_string());
            assert_eq!(found, expected);
        };
        check(Arch::X86_64, None, None, "q35 pci");
        check(Arch::X86_64, Some("microvm"), None, "microvm mmio");
        check(
            Arch::Riscv64,
            Some("virt"),
            Some(Bus::MmioModern),
            "virt mmio-modern",
        );
        check(
            Arch::Aarch64,
            Some("q35"),
            None,
            "aarch64 has no machine q35; it has virt",
        );
        check(
            Arch::X86_64,
            None,
            Some(Bus::Mmio),
            "the machine q35 has no disks on the bus mmio; it has pci, pci-legacy",
        );
    }

    #[test]
    fn the_frequency_of_the_tsc_is_that_of_the_first_cpu() {
        let cpuinfo = "processor\t: 0\ncpu MHz\t\t: 2596.120\nprocessor\t: 1\ncpu MHz\t\t: 1.000\n";
        assert_eq!(tsc_khz(cpuinfo), Some(2_596_120));
        for other in [
            "",
            "cpu MHz",
            "cpu MHz\t: 5",
            "cpu MHz\t: 5.1",
            "BogoMIPS\t: 50.00",
        ] {
            assert_eq!(tsc_khz(other), None, "{other}");
        }
    }

    #[test]
    fn firmware_is_found_by_name_or_path() {
        let name = |arch: Arch, name: &str| {
            Firmware::find(arch.row(), name, FileOption::Kernel)
                .map_or_else(|error| error.to_string(), |found| found.name())
        };
        assert_eq!(name(Arch::X86_64, "ovmf"), "edk2");
        assert_eq!(name(Arch::Aarch64, "aavmf"), "edk2");
        assert_eq!(name(Arch::Riscv64, "u-boot"), "u-boot");
        for ours in ["ours", "ours-bls", "ours-efi", "ours-flash"] {
            assert_eq!(name(Arch::Riscv64, ours), ours);
        }
        assert_eq!(name(Arch::X86_64, file!().rsplit('/').next().unwrap()), {
            "machine.rs is neither a file nor a firmware for x86_64: ours, ours-bls, ours-efi, ours-flash, edk2, direct"
        });
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        assert!(path.ends_with(&name(Arch::X86_64, path)));
        assert!(
            Firmware::find(Arch::X86_64.row(), "direct", FileOption::Kernel)
                .unwrap()
                .is_direct()
        );
        assert!(
            !Firmware::find(Arch::X86_64.row(), "edk2", FileOption::Kernel)
                .unwrap()
                .is_direct()
        );
    }

    #[test]
    fn a_disk_has_options_for_its_blocks_and_its_place() {
        let mut disk = Disk {
            image: "/a,b.img".into(),
            block_size: 512,
            bad_sector: None,
        };
        assert_eq!(
            disk.options(Bus::Pci, 0, false),
            (
                "if=none,id=disk0,format=raw,snapshot=on,file=/a,,b.img".to_owned(),
                "virtio-blk-pci,disable-legacy=on,drive=disk0".to_owned()
            )
        );
        disk.bad_sector = Some(7);
        assert!(
            disk.options(Bus::Pci, 0, false)
                .0
                .ends_with(",file.image.filename=/a,,b.img,file.inject-error.0.event=read_aio,file.inject-error.0.errno=5,file.inject-error.0.sector=7")
        );
        disk.block_size = 4096;
        assert_eq!(
            disk.options(Bus::Mmio, 1, true).1,
            "virtio-blk-device,drive=disk1,logical_block_size=4096,physical_block_size=4096,bootindex=1"
        );
    }
}
