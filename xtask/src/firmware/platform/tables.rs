//! The tables of platforms.

use super::{Bus, DebianFile, Machine, Platform, Rival, Shim, Start};
use crate::firmware::medium::kind::Kind;
use crate::guest_elf::ElfTarget;
use crate::qemu::versions;

const PCI: &[Bus] = &[Bus::Pci, Bus::PciLegacy];
const MMIO: &[Bus] = &[Bus::Mmio, Bus::MmioModern];
const PCI_AND_MMIO: &[Bus] = &[Bus::Pci, Bus::PciLegacy, Bus::Mmio, Bus::MmioModern];

/// The media that need a boot loader, which any UEFI firmware starts.
const EFI_MEDIA: &[Kind] = &[
    Kind::Stub,
    Kind::Uki,
    Kind::Sdboot,
    Kind::Sduki,
    Kind::Ukify,
    Kind::Grub,
    Kind::Shim,
    Kind::Shimfb,
    Kind::Debian,
    Kind::DebianGrub,
];

/// The media that our firmware boots without EFI: those with entries of the Boot Loader Specification.
const OWN_MEDIA: &[Kind] = &[
    Kind::Bls1,
    Kind::Ext4,
    Kind::Uki,
    Kind::Sdboot,
    Kind::Sduki,
    Kind::Ukify,
    Kind::Debian,
];

/// The media for our firmware in flash: one without EFI and one with it.
const FLASH_MEDIA: &[Kind] = &[Kind::Bls1, Kind::Grub];

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
    has_clock: true,
};

pub(crate) static X86_64: Platform = Platform {
    efi: "X64",
    console: "console=ttyS0 earlyprintk=serial",
    efi_reboot: "reboot=efi",
    stub: DebianFile::new("systemd-boot-efi", "usr/lib/systemd/boot/efi/linuxx64.efi.stub"),
    addon_stub: DebianFile::new("systemd-boot-efi", "usr/lib/systemd/boot/efi/addonx64.efi.stub"),
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
    package: "fw-x86_64",
    target: "x86_64-unknown-none",
    image: None,
    is_without_efi: true,
    tracer: Some("x86_64-unknown-uefi"),
    tpm: Some("tpm-tis"),
    machines: &[
        Machine {
            name: "q35",
            qemu: versions::X86_64,
            args: &["-machine", "q35,accel=tcg", "-cpu", "max"],
            buses: PCI,
            needs_tsc: false,
            own_media: OWN_MEDIA,
            efi_media: EFI_MEDIA,
            flash_media: &[],
        },
        Machine {
            name: "microvm",
            qemu: versions::X86_64,
            // Linux waits about 20 s for a clock that is not there.
            args: &["-machine", "microvm,accel=tcg,rtc=on", "-cpu", "max"],
            buses: MMIO,
            needs_tsc: true,
            own_media: OWN_MEDIA,
            efi_media: EFI_MEDIA,
            flash_media: &[],
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
            has_clock: true,
        },
        DIRECT,
    ],
};

pub(crate) static AARCH64: Platform = Platform {
    efi: "AA64",
    console: "console=ttyAMA0 earlycon",
    efi_reboot: "",
    stub: DebianFile::new("systemd-boot-efi", "usr/lib/systemd/boot/efi/linuxaa64.efi.stub"),
    addon_stub: DebianFile::new("systemd-boot-efi", "usr/lib/systemd/boot/efi/addonaa64.efi.stub"),
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
    package: "fw-arm64",
    target: "aarch64-unknown-none-softfloat",
    image: Some(ElfTarget::AARCH64),
    is_without_efi: false,
    tracer: None,
    tpm: None,
    machines: &[Machine {
        name: "virt",
        qemu: versions::AARCH64,
        args: &["-machine", "virt", "-cpu", "max,pauth-impdef=on"],
        buses: PCI_AND_MMIO,
        needs_tsc: false,
        own_media: OWN_MEDIA,
        efi_media: EFI_MEDIA,
        flash_media: FLASH_MEDIA,
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
            has_clock: true,
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
            has_clock: true,
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
    addon_stub: DebianFile::new(
        "systemd-boot-efi",
        "usr/lib/systemd/boot/efi/addonriscv64.efi.stub",
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
    package: "fw-riscv64",
    target: "riscv64gc-unknown-none-elf",
    image: Some(ElfTarget::RISCV64),
    is_without_efi: false,
    tracer: None,
    tpm: None,
    machines: &[Machine {
        name: "virt",
        // Its edk2 needs 8.1 or later.
        qemu: versions::RISCV64_SINCE_10,
        args: &["-machine", "virt", "-cpu", "rv64"],
        buses: PCI_AND_MMIO,
        needs_tsc: false,
        own_media: OWN_MEDIA,
        efi_media: EFI_MEDIA,
        flash_media: &[],
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
            // It describes the machine by ACPI, without a clock, and the kernel has no driver for the clock of EFI.
            has_clock: false,
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
            has_clock: true,
        },
        DIRECT,
    ],
};
