//! The guests of each architecture, and the files that each is converted to.

use crate::bzimage::Options;
use crate::guest_elf::ElfTarget;
use crate::image;

/// File format that a program built by cargo is converted to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum OutputFormat {
    /// The ELF64 as cargo builds it.
    Elf64,
    /// An ELF32.
    Elf32,
    /// The memory of the program, without an ELF header.
    Flat,
    /// A bzImage with these header fields.
    BzImage(fn() -> Options),
    /// The ELF64 with the type `ET_EXEC`. The target is that of the ELF from cargo.
    Elf64Exec(ElfTarget),
    /// An Image with these header fields.
    Image(fn() -> image::Options),
}

/// A file in `target/guests/ARCH/`: its name, the program that cargo builds, and the format.
pub(crate) type Build = (&'static str, &'static str, OutputFormat);

/// The files built from one package for one target.
#[derive(Debug)]
pub(crate) struct Conformance {
    pub(crate) package: &'static str,
    pub(crate) target: &'static str,
    pub(crate) builds: &'static [Build],
}

impl Conformance {
    /// True when one of the files has this name.
    #[cfg(test)]
    pub(crate) fn produces(&self, name: &str) -> bool {
        self.builds.iter().any(|(file, ..)| *file == name)
    }
}

/// The programs that run in sandboxes: packages of the workspace `guests/sandbox`. The first one is that of the demo and the bench.
pub(crate) const SANDBOX_PROGRAMS: [&str; 3] = ["sandbox-demo", "sandbox-plugin", "sandbox-tests"];

/// A target that they are built for.
#[derive(Debug)]
pub(crate) struct SandboxTarget {
    pub(crate) target: &'static str,
    /// End of the names of the files in `target/guests/ARCH/`, behind the name of the program.
    pub(crate) suffix: &'static str,
}

/// The targets of sandboxes on x86_64. The second one is for KVM without VMX and SVM, which cannot execute SSE instructions.
pub(crate) const SANDBOX_X86_64: &[SandboxTarget] = &[
    SandboxTarget {
        target: "x86_64-unknown-linux-gnu",
        suffix: ".elf",
    },
    SandboxTarget {
        target: "x86_64-unknown-none",
        suffix: "-softfloat.elf",
    },
];

/// The target of sandboxes on arm64.
pub(crate) const SANDBOX_AARCH64: &[SandboxTarget] = &[SandboxTarget {
    target: "aarch64-unknown-linux-gnu",
    suffix: ".elf",
}];

/// The target of sandboxes on riscv64.
pub(crate) const SANDBOX_RISCV64: &[SandboxTarget] = &[SandboxTarget {
    target: "riscv64gc-unknown-linux-gnu",
    suffix: ".elf",
}];

/// A program in C that runs in sandboxes: a file in `target/guests/ARCH/`, and how it is built.
#[derive(Debug)]
pub(crate) struct CGuest {
    /// Name of the file.
    pub(crate) file: &'static str,
    /// Flags of the compiler, in addition to those of all programs.
    pub(crate) flags: &'static [&'static str],
    /// Sources, below `guests/sandbox/c/`.
    pub(crate) sources: &'static [&'static str],
    /// The C library that it is linked with.
    pub(crate) library: Option<Picolibc>,
}

/// A package of Debian with picolibc for an architecture.
#[derive(Debug)]
pub(crate) struct Picolibc {
    pub(crate) package: &'static str,
    /// Directory of the headers in the package.
    pub(crate) include: &'static str,
    /// Directory of the library in the package.
    pub(crate) library: &'static str,
}

/// The programs in C of x86_64. The second one is for KVM without VMX and SVM, which cannot execute SSE instructions.
pub(crate) const C_X86_64: &[CGuest] = &[
    CGuest {
        file: "sandbox-c.elf",
        flags: &["-mno-red-zone", "-fcf-protection=none"],
        sources: &["start-x86_64.S", "runtime.c", "memory.c", "freestanding.c"],
        library: None,
    },
    CGuest {
        file: "sandbox-c-softfloat.elf",
        flags: &["-mno-red-zone", "-fcf-protection=none", "-mgeneral-regs-only"],
        sources: &["start-x86_64.S", "runtime.c", "memory.c", "freestanding.c"],
        library: None,
    },
];

/// The programs in C of arm64.
pub(crate) const C_AARCH64: &[CGuest] = &[
    CGuest {
        file: "sandbox-c.elf",
        flags: &["-mno-outline-atomics"],
        sources: &["start-aarch64.S", "runtime.c", "memory.c", "freestanding.c"],
        library: None,
    },
    CGuest {
        file: "sandbox-picolibc.elf",
        flags: &["-mno-outline-atomics"],
        sources: &["start-aarch64.S", "runtime.c", "picolibc.c"],
        library: Some(Picolibc {
            package: "picolibc-aarch64-linux-gnu",
            include: "usr/lib/picolibc/aarch64-linux-gnu/include",
            library: "usr/lib/picolibc/aarch64-linux-gnu/lib",
        }),
    },
];

/// The programs in C of riscv64.
pub(crate) const C_RISCV64: &[CGuest] = &[
    CGuest {
        file: "sandbox-c.elf",
        flags: &["-mcmodel=medany"],
        sources: &["start-riscv64.S", "runtime.c", "memory.c", "freestanding.c"],
        library: None,
    },
    CGuest {
        file: "sandbox-picolibc.elf",
        flags: &["-mcmodel=medany"],
        sources: &["start-riscv64.S", "runtime.c", "picolibc.c"],
        library: Some(Picolibc {
            package: "picolibc-riscv64-unknown-elf",
            include: "usr/lib/picolibc/riscv64-unknown-elf/include",
            library: "usr/lib/picolibc/riscv64-unknown-elf/lib/rv64imafdc/lp64d",
        }),
    },
];

/// The conformance guests of x86_64.
pub(crate) const X86_64: &[Conformance] = &[Conformance {
    package: "conformance",
    target: "x86_64-unknown-none",
    builds: &X86_64_BUILDS,
}];

/// The conformance guests of arm64, of both byte orders.
pub(crate) const AARCH64: &[Conformance] = &[
    Conformance {
        package: "conformance-fdt",
        target: "aarch64-unknown-none-softfloat",
        builds: &AARCH64_BUILDS,
    },
    Conformance {
        package: "conformance-fdt",
        target: "aarch64_be-unknown-none-softfloat",
        builds: &AARCH64_BE_BUILDS,
    },
];

/// The conformance guests of riscv64.
pub(crate) const RISCV64: &[Conformance] = &[Conformance {
    package: "conformance-fdt",
    target: "riscv64gc-unknown-none-elf",
    builds: &RISCV64_BUILDS,
}];

const AARCH64_BUILDS: [Build; 5] = [
    ("conformance-pie.elf", "conformance-fdt", OutputFormat::Elf64),
    (
        "conformance.elf",
        "conformance-fdt",
        OutputFormat::Elf64Exec(ElfTarget::AARCH64),
    ),
    (
        "conformance.Image",
        "conformance-fdt",
        OutputFormat::Image(image::Options::arm64),
    ),
    (
        "conformance-offset.Image",
        "conformance-fdt",
        OutputFormat::Image(image::Options::arm64_offset),
    ),
    (
        "conformance-old.Image",
        "conformance-fdt",
        OutputFormat::Image(image::Options::arm64_old),
    ),
];

const AARCH64_BE_BUILDS: [Build; 3] = [
    ("conformance-be-pie.elf", "conformance-fdt", OutputFormat::Elf64),
    (
        "conformance-be.elf",
        "conformance-fdt",
        OutputFormat::Elf64Exec(ElfTarget::AARCH64_BE),
    ),
    (
        "conformance-be.Image",
        "conformance-fdt",
        OutputFormat::Image(image::Options::arm64_big_endian),
    ),
];

const RISCV64_BUILDS: [Build; 3] = [
    ("conformance-pie.elf", "conformance-fdt", OutputFormat::Elf64),
    (
        "conformance.elf",
        "conformance-fdt",
        OutputFormat::Elf64Exec(ElfTarget::RISCV64),
    ),
    (
        "conformance.Image",
        "conformance-fdt",
        OutputFormat::Image(image::Options::riscv64),
    ),
];

const X86_64_BUILDS: [Build; 13] = [
    ("conformance-pvh.elf", "conformance-pvh", OutputFormat::Elf64),
    ("conformance-pvh32.elf", "conformance-pvh", OutputFormat::Elf32),
    (
        "conformance-pvh-reloc.elf",
        "conformance-pvh-reloc",
        OutputFormat::Elf64,
    ),
    (
        "conformance-vmlinux.elf",
        "conformance-linux",
        OutputFormat::Elf64,
    ),
    (
        "conformance-vmlinux32.elf",
        "conformance-linux",
        OutputFormat::Elf32,
    ),
    (
        "conformance.bzImage",
        "conformance-linux",
        OutputFormat::BzImage(Options::default),
    ),
    (
        "conformance-32bit.bzImage",
        "conformance-linux",
        OutputFormat::BzImage(Options::only_32_bit),
    ),
    (
        "conformance-fixed.bzImage",
        "conformance-linux",
        OutputFormat::BzImage(Options::not_relocatable),
    ),
    (
        "conformance-multiboot.elf",
        "conformance-multiboot",
        OutputFormat::Elf32,
    ),
    (
        "conformance-multiboot-aout.elf",
        "conformance-multiboot-aout",
        OutputFormat::Elf64,
    ),
    (
        "conformance-multiboot-aout.bin",
        "conformance-multiboot-aout",
        OutputFormat::Flat,
    ),
    (
        "conformance-multiboot2.elf",
        "conformance-multiboot2",
        OutputFormat::Elf64,
    ),
    (
        "conformance-multiboot2-reloc.elf",
        "conformance-multiboot2-reloc",
        OutputFormat::Elf64,
    ),
];
