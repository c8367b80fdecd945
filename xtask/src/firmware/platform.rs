//! What differs between architectures: names of boot loaders, machines of QEMU, rival firmware.

use super::debian::DebianFile;
use super::medium::kind::Kind;
use super::rival::{Rival, Start};
use crate::qemu::{Qemu, versions};

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
    pub(super) systemd_boot: DebianFile,
    pub(super) grub: DebianFile,
    /// `None` if Debian has no shim for the architecture.
    pub(super) shim: Option<Shim>,
    /// Rust target of our own firmware.
    pub(super) target: &'static str,
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
    /// True if the machine has a real-time clock.
    pub(super) has_clock: bool,
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

const PCI: &[Bus] = &[Bus::Pci, Bus::PciLegacy];
const MMIO: &[Bus] = &[Bus::Mmio, Bus::MmioModern];
const PCI_AND_MMIO: &[Bus] = &[Bus::Pci, Bus::PciLegacy, Bus::Mmio, Bus::MmioModern];

/// The media that need a boot loader, which any UEFI firmware starts.
const EFI_MEDIA: &[Kind] = &[
    Kind::Stub,
    Kind::Uki,
    Kind::Sdboot,
    Kind::Sduki,
    Kind::Grub,
    Kind::Shim,
    Kind::Shimfb,
];

/// The media that Debian's U-Boot starts.
const U_BOOT_MEDIA: &[Kind] = &[Kind::Stub, Kind::Uki, Kind::Sdboot, Kind::Sduki, Kind::Grub];

const OPENSBI: DebianFile = DebianFile::new(
    "opensbi",
    "usr/lib/riscv64-linux-gnu/opensbi/generic/fw_dynamic.bin",
);

/// QEMU's own loader: no disk is read.
const DIRECT: Rival = Rival {
    name: "direct",
    aliases: &[],
    machines: &["q35", "microvm", "virt"],
    media: &[],
    start: Start::Direct,
    is_efi: false,
    sets_variables: false,
};

pub(crate) static X86_64: Platform = Platform {
    efi: "X64",
    console: "console=ttyS0 earlyprintk=serial",
    efi_reboot: "reboot=efi",
    stub: DebianFile::new("systemd-boot-efi", "usr/lib/systemd/boot/efi/linuxx64.efi.stub"),
    systemd_boot: DebianFile::new("systemd-boot-efi", "usr/lib/systemd/boot/efi/systemd-bootx64.efi"),
    grub: DebianFile::new(
        "grub-efi-amd64-signed",
        "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed",
    ),
    shim: Some(Shim {
        loader: DebianFile::new("shim-signed", "usr/lib/shim/shimx64.efi.signed"),
        mok_manager: DebianFile::new("shim-helpers-amd64-signed", "usr/lib/shim/mmx64.efi.signed"),
        fallback: DebianFile::new("shim-helpers-amd64-signed", "usr/lib/shim/fbx64.efi.signed"),
    }),
    target: "x86_64-unknown-none",
    machines: &[
        Machine {
            name: "q35",
            qemu: versions::X86_64,
            args: &["-machine", "q35,accel=tcg", "-cpu", "max"],
            buses: PCI,
            has_clock: true,
        },
        Machine {
            name: "microvm",
            qemu: versions::X86_64,
            // Linux waits about 20 s for a clock that is not there.
            args: &["-machine", "microvm,accel=tcg,rtc=on", "-cpu", "max"],
            buses: MMIO,
            has_clock: true,
        },
    ],
    rivals: &[
        Rival {
            name: "edk2",
            aliases: &["ovmf"],
            machines: &["q35"],
            media: EFI_MEDIA,
            start: Start::Flash {
                code: DebianFile::new("ovmf", "usr/share/OVMF/OVMF_CODE_4M.fd"),
                variables: DebianFile::new("ovmf", "usr/share/OVMF/OVMF_VARS_4M.fd"),
                size: None,
                bios: None,
            },
            is_efi: true,
            sets_variables: true,
        },
        DIRECT,
    ],
};

pub(crate) static AARCH64: Platform = Platform {
    efi: "AA64",
    console: "console=ttyAMA0 earlycon",
    efi_reboot: "",
    stub: DebianFile::new("systemd-boot-efi", "usr/lib/systemd/boot/efi/linuxaa64.efi.stub"),
    systemd_boot: DebianFile::new(
        "systemd-boot-efi",
        "usr/lib/systemd/boot/efi/systemd-bootaa64.efi",
    ),
    grub: DebianFile::new(
        "grub-efi-arm64-signed",
        "usr/lib/grub/arm64-efi-signed/grubaa64.efi.signed",
    ),
    shim: Some(Shim {
        loader: DebianFile::new("shim-signed", "usr/lib/shim/shimaa64.efi.signed"),
        mok_manager: DebianFile::new("shim-helpers-arm64-signed", "usr/lib/shim/mmaa64.efi.signed"),
        fallback: DebianFile::new("shim-helpers-arm64-signed", "usr/lib/shim/fbaa64.efi.signed"),
    }),
    target: "aarch64-unknown-none-softfloat",
    machines: &[Machine {
        name: "virt",
        qemu: versions::AARCH64,
        args: &["-machine", "virt", "-cpu", "max,pauth-impdef=on"],
        buses: PCI_AND_MMIO,
        has_clock: true,
    }],
    rivals: &[
        Rival {
            name: "edk2",
            aliases: &["ovmf", "aavmf"],
            machines: &["virt"],
            media: EFI_MEDIA,
            start: Start::Flash {
                code: DebianFile::new("qemu-efi-aarch64", "usr/share/AAVMF/AAVMF_CODE.no-secboot.fd"),
                variables: DebianFile::new("qemu-efi-aarch64", "usr/share/AAVMF/AAVMF_VARS.fd"),
                size: Some(64 << 20),
                bios: None,
            },
            is_efi: true,
            sets_variables: true,
        },
        Rival {
            name: "u-boot",
            aliases: &[],
            machines: &["virt"],
            media: U_BOOT_MEDIA,
            start: Start::Bios(DebianFile::new(
                "u-boot-qemu",
                "usr/lib/u-boot/qemu_arm64/u-boot.bin",
            )),
            is_efi: true,
            sets_variables: false,
        },
        DIRECT,
    ],
};

pub(crate) static RISCV64: Platform = Platform {
    efi: "RISCV64",
    console: "console=ttyS0 earlycon",
    efi_reboot: "",
    stub: DebianFile::new(
        "systemd-boot-efi",
        "usr/lib/systemd/boot/efi/linuxriscv64.efi.stub",
    ),
    systemd_boot: DebianFile::new(
        "systemd-boot-efi",
        "usr/lib/systemd/boot/efi/systemd-bootriscv64.efi",
    ),
    grub: DebianFile::new(
        "grub-efi-riscv64-unsigned",
        "usr/lib/grub/riscv64-efi/monolithic/grubriscv64.efi",
    ),
    shim: None,
    target: "riscv64gc-unknown-none-elf",
    machines: &[Machine {
        name: "virt",
        // Its edk2 needs 8.1 or later.
        qemu: versions::RISCV64_AIA,
        args: &["-machine", "virt", "-cpu", "rv64"],
        buses: PCI_AND_MMIO,
        has_clock: true,
    }],
    rivals: &[
        Rival {
            name: "edk2",
            aliases: &["ovmf"],
            machines: &["virt"],
            media: EFI_MEDIA,
            start: Start::Flash {
                code: DebianFile::new(
                    "qemu-efi-riscv64",
                    "usr/share/qemu-efi-riscv64/RISCV_VIRT_CODE.fd",
                ),
                variables: DebianFile::new(
                    "qemu-efi-riscv64",
                    "usr/share/qemu-efi-riscv64/RISCV_VIRT_VARS.fd",
                ),
                size: Some(32 << 20),
                bios: Some(OPENSBI),
            },
            is_efi: true,
            sets_variables: true,
        },
        Rival {
            name: "u-boot",
            aliases: &[],
            machines: &["virt"],
            media: U_BOOT_MEDIA,
            start: Start::Kernel {
                bios: OPENSBI,
                kernel: DebianFile::new("u-boot-qemu", "usr/lib/u-boot/qemu-riscv64_smode/u-boot.bin"),
            },
            is_efi: true,
            sets_variables: false,
        },
        DIRECT,
    ],
};
