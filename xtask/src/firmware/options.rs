//! Options of `cargo xtask firmware`.

use std::path::PathBuf;

use clap::builder::RangedU64ValueParser;
use clap::{Args, ValueEnum};

use super::medium::kind::Kind;
use super::medium::partitions::Table;
use super::medium::spec::{End, Medium};
use super::platform::Bus;

/// Options of `firmware`.
#[derive(Clone, Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "options of the command line")]
pub(crate) struct FirmwareArgs {
    /// What is on the medium.
    #[arg(long, value_enum, default_value_t = Kind::Uki)]
    pub(super) medium: Kind,
    /// The machine that QEMU emulates: q35 or microvm on x86_64, virt elsewhere. Default: the first.
    #[arg(long, value_name = "NAME")]
    pub(super) machine: Option<String>,
    /// The bus of the disk. Default: the machine's first.
    #[arg(long, value_enum)]
    pub(super) bus: Option<Bus>,
    /// The firmware: ours, ours-bls (without EFI), ours-efi (EFI programs only), ours-flash (from flash, arm64 only), edk2 (or ovmf), u-boot, direct (QEMU's own loader, without a disk), or a file.
    /// Default: ours; with --all every one but ours-bls and ours-flash.
    #[arg(long, value_name = "NAME|FILE")]
    pub(super) firmware: Option<String>,
    /// The option of QEMU that takes the firmware file.
    #[arg(long, value_enum, value_name = "OPTION", default_value_t = FileOption::Kernel)]
    pub(super) start: FileOption,
    /// Boot this disk image instead of a medium of xtask.
    #[arg(long, value_name = "FILE")]
    pub(super) image: Option<PathBuf>,
    /// The partition table of the medium.
    #[arg(long, value_enum, default_value_t = Table::Gpt)]
    pub(super) table: Table,
    /// Length of a block of the disk in bytes.
    #[arg(long, value_name = "512|4096", default_value = "512", value_parser = block_size)]
    pub(super) block_size: u16,
    /// Length of a cluster of the ESP in bytes; default: that of a block.
    #[arg(long, value_name = "BYTES", value_parser = cluster)]
    pub(super) cluster: Option<u32>,
    /// Add a file of this many MiB to the initrd, to measure reads.
    #[arg(long, value_name = "MIB", default_value_t = 0, value_parser = RangedU64ValueParser::<u32>::new().range(0..=512))]
    pub(super) padding: u32,
    /// Attach this many blank disks before the medium.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = RangedU64ValueParser::<u8>::new().range(0..=8))]
    pub(super) blank_disks: u8,
    /// What userspace does at its end.
    #[arg(long, value_enum, default_value_t = End::Poweroff)]
    pub(super) end: End,
    /// The machine's memory in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    pub(super) memory: u32,
    /// Fail after this many seconds; with a system of Debian after five times as many.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub(super) timeout: u64,
    /// Give the machine a TPM, emulated by swtpm; init reports its registers (x86_64 only). Those of the medium `ukify` are compared with predictions.
    #[arg(long, conflicts_with = "all")]
    pub(super) tpm: bool,
    /// Print the console of the machine.
    #[arg(long)]
    pub(super) console: bool,
    /// Make the medium and print its path, without a boot.
    #[arg(long)]
    pub(super) make: bool,
    /// Boot every medium on every machine and bus with every firmware, or with the one of --firmware, and print a table.
    #[arg(long, conflicts_with_all = ["image", "make"])]
    pub(super) all: bool,
    #[command(flatten)]
    pub(super) calls: CallArgs,
    /// A further option of QEMU; may be given several times.
    #[arg(long = "qemu", value_name = "OPTION", allow_hyphen_values = true)]
    pub(super) qemu: Vec<String>,
}

/// Options about EFI calls.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct CallArgs {
    /// Log the EFI calls of the boot loader and the kernel, and compare them with those in xtask/golden/efi-calls/FIRMWARE (x86_64 only).
    #[arg(long, conflicts_with_all = ["all", "make", "image"])]
    pub(super) trace: bool,
    /// Refuse each service and protocol that the boot loader and the kernel use, each in a boot of its own, and print what is
    /// reached (x86_64 only).
    #[arg(long, conflicts_with_all = ["all", "make", "image", "trace"])]
    pub(super) knock_out: bool,
}

impl CallArgs {
    /// True if the medium has to log EFI calls.
    fn is_traced(self) -> bool {
        self.trace || self.knock_out
    }
}

/// The option of QEMU that takes a firmware file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FileOption {
    /// -kernel: the file is started as a kernel is.
    Kernel,
    /// -bios: the file is at the address where the processor starts.
    Bios,
}

impl FileOption {
    /// The option's name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Kernel => "-kernel",
            Self::Bios => "-bios",
        }
    }
}

impl FirmwareArgs {
    /// True if all architectures are meant where none is selected.
    pub(crate) fn covers_all(&self) -> bool {
        self.all
    }

    /// The medium that the options describe.
    pub(super) fn medium(&self) -> Medium {
        Medium {
            kind: self.medium,
            table: self.table,
            block_size: self.block_size,
            cluster: self.cluster,
            padding: self.padding,
            end: self.end,
            is_traced: self.calls.is_traced(),
            is_for_vmboot: false,
            tsc_khz: None,
            has_bad_entry: false,
        }
    }
}

fn block_size(text: &str) -> Result<u16, String> {
    match text {
        "512" => Ok(512),
        "4096" => Ok(4096),
        _ => Err("a block has 512 or 4096 bytes".to_owned()),
    }
}

fn cluster(text: &str) -> Result<u32, String> {
    let bytes: u32 = text.parse().map_err(|error| format!("{error}"))?;
    if bytes.is_power_of_two() && (512..=32 << 10).contains(&bytes) {
        Ok(bytes)
    } else {
        Err("a cluster has 512 bytes to 32 KiB, a power of two".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_checked() {
        assert_eq!(block_size("4096"), Ok(4096));
        assert!(block_size("1024").is_err());
        assert_eq!(cluster("32768"), Ok(32 << 10));
        for bad in ["", "0", "256", "1000", "65536"] {
            assert!(cluster(bad).is_err(), "{bad}");
        }
    }
}
