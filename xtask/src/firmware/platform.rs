//! What differs between architectures: names of boot loaders, machines of QEMU, rival firmware.

pub(crate) mod tables;

use super::medium::kind::Kind;
use crate::guest_elf::ElfTarget;
use crate::qemu::Qemu;

/// Properties of an architecture for boot media and firmware.
#[derive(Debug)]
pub(crate) struct Platform {
    /// The suffix of boot loaders' names on removable media, such as `X64` in `BOOTX64.EFI` (UEFI specification, table 3.2).
    pub(super) efi: &'static str,
    /// Kernel parameters that put the first and the later messages on the serial port.
    pub(super) console: &'static str,
    /// Kernel parameters that make a reboot use the EFI runtime service.
    pub(super) efi_reboot: &'static str,
    pub(super) stub: DebianFile,
    /// The stub of addons and of profiles.
    pub(super) addon_stub: DebianFile,
    pub(super) systemd_boot: DebianFile,
    pub(super) grub: DebianFile,
    /// `None` if Debian has no shim for the architecture.
    pub(super) shim: Option<Shim>,
    /// Package of our own firmware, and its Rust target.
    pub(super) package: &'static str,
    pub(super) target: &'static str,
    /// `Some` if QEMU starts its loaded bytes, which begin with the header of an Image, and not the ELF file.
    pub(super) image: Option<ElfTarget>,
    /// True if it can be built without EFI, by the features of the package.
    pub(super) is_without_efi: bool,
    /// Rust target of `guests/efitrace`; `None` if it does not exist for the architecture.
    pub(crate) tracer: Option<&'static str>,
    /// QEMU's interface of a TPM that Debian's kernel has a driver for without modules.
    pub(super) tpm: Option<&'static str>,
    /// The machines; the first is the default.
    pub(super) machines: &'static [Machine],
    pub(super) rivals: &'static [Rival],
}

/// Debian's shim, and its programs.
#[derive(Debug)]
pub(super) struct Shim {
    pub(super) loader: DebianFile,
    pub(super) mok_manager: DebianFile,
    pub(super) fallback: DebianFile,
}

/// A machine that QEMU emulates.
#[derive(Debug)]
pub(super) struct Machine {
    /// Name on the command line.
    pub(super) name: &'static str,
    pub(super) qemu: Qemu,
    /// Machine and processor.
    pub(super) args: &'static [&'static str],
    /// The buses of its disks; the first is the default.
    pub(super) buses: &'static [Bus],
    /// True if the kernel has nothing to measure the TSC with, and needs its frequency as a parameter: a machine with ACPI's reduced hardware has no
    /// timer of known frequency under TCG.
    pub(super) needs_tsc: bool,
    /// The media that our firmware boots on it without EFI.
    pub(super) own_media: &'static [Kind],
    /// The media that our firmware boots on it through EFI.
    pub(super) efi_media: &'static [Kind],
    /// The media that our firmware boots on it from flash; none if it only starts as a kernel.
    pub(super) flash_media: &'static [Kind],
}

/// The bus of a virtio disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Bus {
    /// PCI, modern.
    Pci,
    /// PCI, legacy.
    PciLegacy,
    /// Memory-mapped registers, legacy as QEMU has them without options.
    Mmio,
    /// Memory-mapped registers, modern.
    MmioModern,
}

impl Bus {
    /// Name on the command line.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pci => "pci",
            Self::PciLegacy => "pci-legacy",
            Self::Mmio => "mmio",
            Self::MmioModern => "mmio-modern",
        }
    }

    /// True if the matrix has boots with it.
    pub(super) fn is_in_matrix(self) -> bool {
        matches!(self, Self::Pci | Self::Mmio)
    }

    /// QEMU's name of a disk on this bus, with the options of the bus.
    pub(super) fn device(self) -> &'static str {
        match self {
            Self::Pci => "virtio-blk-pci,disable-legacy=on",
            Self::PciLegacy => "virtio-blk-pci,disable-legacy=off,disable-modern=on",
            Self::Mmio | Self::MmioModern => "virtio-blk-device",
        }
    }

    /// Further options of QEMU.
    pub(super) fn options(self) -> &'static [&'static str] {
        match self {
            Self::MmioModern => &["-global", "virtio-mmio.force-legacy=false"],
            Self::Pci | Self::PciLegacy | Self::Mmio => &[],
        }
    }
}

/// A firmware of other projects, or QEMU's own loader.
#[derive(Debug)]
pub(super) struct Rival {
    /// Name on the command line.
    pub(super) name: &'static str,
    pub(super) aliases: &'static [&'static str],
    /// Names of the machines that it runs on.
    pub(super) machines: &'static [&'static str],
    /// The media that it boots; those of the matrix.
    pub(super) media: &'static [Kind],
    pub(super) start: Start,
    /// True if the kernel finds EFI.
    pub(super) is_efi: bool,
    /// True if userspace can set EFI variables.
    pub(super) sets_variables: bool,
    /// True if Debian's kernel finds a clock.
    pub(super) has_clock: bool,
}

/// How QEMU starts a firmware.
#[derive(Clone, Copy, Debug)]
pub(super) enum Start {
    /// From flash, with variables in a second flash.
    Flash {
        code: DebianFile,
        variables: DebianFile,
        /// Length of each flash in bytes; `None`: that of the file.
        size: Option<u64>,
        bios: Option<DebianFile>,
    },
    /// `-bios`.
    Bios(DebianFile),
    /// `-kernel`, behind a firmware of the processor.
    Kernel { bios: DebianFile, kernel: DebianFile },
    /// No firmware: `-kernel` with the kernel of the medium.
    Direct,
}

/// A file in a package of Debian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DebianFile {
    pub(crate) package: &'static str,
    /// The path in the package, without the first `/`.
    pub(crate) path: &'static str,
}

impl DebianFile {
    pub(super) const fn new(package: &'static str, path: &'static str) -> Self {
        Self { package, path }
    }
}
