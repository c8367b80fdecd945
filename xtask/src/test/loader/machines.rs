//! The machines of QEMU that load guests with QEMU's own loader or with the firmware, and the builds that each can load.

use contract::{Cpus, Entry, Image, Irqchip};

use crate::qemu::{Qemu, versions};

/// A machine that QEMU emulates and loads a guest into.
#[derive(Debug)]
pub(crate) struct Loader {
    /// The machine's name in the results.
    pub(in crate::test) machine: &'static str,
    /// QEMU, in a version that has the machine.
    pub(in crate::test) qemu: Qemu,
    pub(super) args: &'static [&'static str],
    /// The builds that QEMU's own loader can load.
    pub(in crate::test) builds: &'static [Build],
    /// The builds that the firmware of this repository starts.
    pub(in crate::test) firmware_builds: &'static [Build],
    /// Clauses that the guest checks only with expectations that a loader on the host has and the firmware's test has not: names, and
    /// what checks the same or why nothing does.
    pub(in crate::test) firmware_unchecked: &'static [(&'static str, &'static str)],
    /// Expectations of the guest, the same for each build.
    pub(in crate::test) irqchip: Option<Irqchip>,
    pub(in crate::test) cpus: Option<Cpus<'static>>,
    /// QEMU's exit code when all clauses hold, and when one does not.
    pub(in crate::test) exit_codes: (i32, i32),
}

/// A build of the guest, and how a loader takes it.
#[derive(Clone, Copy, Debug)]
pub(in crate::test) struct Build {
    pub(in crate::test) file: &'static str,
    pub(in crate::test) entry: Entry,
    pub(in crate::test) image: Image,
    /// True for a second run with an initrd. QEMU passes none to an ELF for arm64, which it does not treat as a kernel.
    pub(in crate::test) takes_initrd: bool,
}

/// An expectation that only a loader on the host has.
const IMAGE_BASE: (&str, &str) = (
    "image.base",
    "the firmware selects the address; image.aligned, linux.load-address and place.* check it",
);

/// The machines of x86_64. QEMU boots an ELF by PVH only.
pub(crate) const X86_64: &[Loader] = &[Loader {
    machine: "q35",
    qemu: versions::X86_64,
    args: &[
        "-machine",
        "q35,accel=tcg",
        "-m",
        "256",
        "-device",
        "isa-debug-exit,iobase=0xf4,iosize=4",
    ],
    builds: &[
        pvh("conformance-pvh.elf"),
        pvh("conformance-pvh32.elf"),
        pvh("conformance-pvh-reloc.elf"),
        multiboot("conformance-multiboot.elf"),
        multiboot("conformance-multiboot-aout.elf"),
        multiboot("conformance-multiboot-aout.bin"),
    ],
    firmware_builds: &[
        pvh("conformance-pvh.elf"),
        pvh("conformance-pvh32.elf"),
        pvh("conformance-pvh-reloc.elf"),
        elf("conformance-vmlinux.elf", Entry::Linux64),
        elf("conformance-vmlinux32.elf", Entry::Linux32),
        bzimage("conformance.bzImage", Entry::Linux64),
        bzimage("conformance-32bit.bzImage", Entry::Linux32),
        bzimage("conformance-fixed.bzImage", Entry::Linux64),
    ],
    firmware_unchecked: &[
        IMAGE_BASE,
        (
            "linux.rng-seed",
            "the firmware has no random bytes on this machine; linux.rng-seed-nodes checks that there is at most one seed",
        ),
        (
            "gdt.cs, gdt.ds, gdt.es, gdt.ss, gdt.tr",
            "PVH requires no table in memory; cpu.cs-access and the like check the segments",
        ),
    ],
    irqchip: None,
    cpus: None,
    // What the guest writes to the debug-exit port (0x10 and 0x11), doubled, plus one.
    exit_codes: (0x21, 0x23),
}];

/// The machines of arm64. Their RAM begins at 1 GiB, and the ELF of type `ET_EXEC` is linked for 2 GiB, so they need
/// more than 1 GiB of RAM.
pub(crate) const AARCH64: &[Loader] = &[
    Loader {
        machine: "GICv3",
        qemu: versions::AARCH64,
        args: &[
            "-machine",
            "virt,gic-version=3",
            "-cpu",
            "max",
            "-smp",
            "2",
            "-m",
            "1536",
        ],
        builds: &[
            image("conformance.Image", Entry::Arm64),
            image("conformance-offset.Image", Entry::Arm64),
            image("conformance-old.Image", Entry::Arm64),
            Build {
                takes_initrd: false,
                ..elf("conformance.elf", Entry::Arm64QemuElf)
            },
        ],
        firmware_builds: &[
            image("conformance.Image", Entry::Arm64),
            image("conformance-offset.Image", Entry::Arm64),
            image("conformance-old.Image", Entry::Arm64),
            image("conformance-be.Image", Entry::Arm64),
            elf("conformance.elf", Entry::Arm64),
            elf("conformance-pie.elf", Entry::Arm64),
            elf("conformance-be.elf", Entry::Arm64),
            elf("conformance-be-pie.elf", Entry::Arm64),
        ],
        firmware_unchecked: &[IMAGE_BASE],
        irqchip: Some(Irqchip::GicV3Its),
        cpus: Some(Cpus::Ids(&[0, 1])),
        exit_codes: (0, 0),
    },
    Loader {
        machine: "GICv2",
        qemu: versions::AARCH64,
        args: &[
            "-machine",
            "virt,gic-version=2",
            "-cpu",
            "cortex-a72",
            "-smp",
            "2",
            "-m",
            "512",
        ],
        builds: &[image("conformance.Image", Entry::Arm64)],
        firmware_builds: &[image("conformance.Image", Entry::Arm64)],
        firmware_unchecked: &[IMAGE_BASE],
        irqchip: Some(Irqchip::GicV2),
        cpus: Some(Cpus::Ids(&[0, 1])),
        exit_codes: (0, 0),
    },
];

/// The machines of riscv64.
pub(crate) const RISCV64: &[Loader] = &[
    Loader {
        machine: "PLIC",
        qemu: versions::RISCV64_SINCE_10,
        args: &["-machine", "virt", "-cpu", "rv64", "-smp", "2", "-m", "512"],
        builds: &[
            image("conformance.Image", Entry::Riscv64),
            elf("conformance.elf", Entry::Riscv64),
        ],
        firmware_builds: &[
            image("conformance.Image", Entry::Riscv64),
            elf("conformance.elf", Entry::Riscv64),
            elf("conformance-pie.elf", Entry::Riscv64),
        ],
        firmware_unchecked: &[IMAGE_BASE],
        irqchip: Some(Irqchip::Plic),
        cpus: Some(Cpus::Ids(&[0, 1])),
        exit_codes: (0, 0),
    },
    Loader {
        machine: "AIA",
        qemu: versions::RISCV64_SINCE_10,
        args: &[
            "-machine",
            "virt,aia=aplic-imsic",
            "-cpu",
            "rv64,smaia=true,ssaia=true",
            "-smp",
            "2",
            "-m",
            "512",
        ],
        builds: &[image("conformance.Image", Entry::Riscv64)],
        firmware_builds: &[image("conformance.Image", Entry::Riscv64)],
        firmware_unchecked: &[IMAGE_BASE],
        irqchip: Some(Irqchip::AplicImsic),
        cpus: Some(Cpus::Ids(&[0, 1])),
        exit_codes: (0, 0),
    },
];

const fn pvh(file: &'static str) -> Build {
    elf(file, Entry::Pvh)
}

const fn multiboot(file: &'static str) -> Build {
    elf(file, Entry::Multiboot)
}

const fn elf(file: &'static str, entry: Entry) -> Build {
    Build {
        file,
        entry,
        image: Image::Elf,
        takes_initrd: true,
    }
}

const fn bzimage(file: &'static str, entry: Entry) -> Build {
    Build {
        file,
        entry,
        image: Image::BzImage,
        takes_initrd: true,
    }
}

const fn image(file: &'static str, entry: Entry) -> Build {
    Build {
        file,
        entry,
        image: Image::Image,
        takes_initrd: true,
    }
}
