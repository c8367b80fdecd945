//! The guests of each architecture, and the files that are made out of each.

use crate::bzimage::Options;
use crate::guest_elf::ElfTarget;
use crate::image;

/// How a file is made out of a program that cargo built.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Form {
    /// As it is.
    Elf64,
    /// As a 32-bit ELF.
    Elf32,
    /// As a bzImage with this header.
    BzImage(fn() -> Options),
    /// As an ELF that runs at one address; it is of this kind.
    Fixed(ElfTarget),
    /// As an Image with this header.
    Image(fn() -> image::Options),
}

/// A file in `target/guests/ARCH/`: its name, the program that cargo builds, and how it is made.
pub(crate) type Build = (&'static str, &'static str, Form);

/// What one package gives for one target.
#[derive(Debug)]
pub(crate) struct Conformance {
    pub(crate) package: &'static str,
    pub(crate) target: &'static str,
    pub(crate) builds: &'static [Build],
}

impl Conformance {
    /// True when one of the files it gives has this name.
    #[cfg(test)]
    pub(crate) fn makes(&self, name: &str) -> bool {
        self.builds.iter().any(|(file, ..)| *file == name)
    }
}

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
    ("conformance-pie.elf", "conformance-fdt", Form::Elf64),
    (
        "conformance.elf",
        "conformance-fdt",
        Form::Fixed(ElfTarget::AARCH64),
    ),
    (
        "conformance.Image",
        "conformance-fdt",
        Form::Image(image::Options::arm64),
    ),
    (
        "conformance-offset.Image",
        "conformance-fdt",
        Form::Image(image::Options::arm64_offset),
    ),
    (
        "conformance-old.Image",
        "conformance-fdt",
        Form::Image(image::Options::arm64_old),
    ),
];

const AARCH64_BE_BUILDS: [Build; 3] = [
    ("conformance-be-pie.elf", "conformance-fdt", Form::Elf64),
    (
        "conformance-be.elf",
        "conformance-fdt",
        Form::Fixed(ElfTarget::AARCH64_BE),
    ),
    (
        "conformance-be.Image",
        "conformance-fdt",
        Form::Image(image::Options::arm64_big_endian),
    ),
];

const RISCV64_BUILDS: [Build; 3] = [
    ("conformance-pie.elf", "conformance-fdt", Form::Elf64),
    (
        "conformance.elf",
        "conformance-fdt",
        Form::Fixed(ElfTarget::RISCV64),
    ),
    (
        "conformance.Image",
        "conformance-fdt",
        Form::Image(image::Options::riscv64),
    ),
];

const X86_64_BUILDS: [Build; 8] = [
    ("conformance-pvh.elf", "conformance-pvh", Form::Elf64),
    ("conformance-pvh32.elf", "conformance-pvh", Form::Elf32),
    ("conformance-pvh-reloc.elf", "conformance-pvh-reloc", Form::Elf64),
    ("conformance-vmlinux.elf", "conformance-linux", Form::Elf64),
    ("conformance-vmlinux32.elf", "conformance-linux", Form::Elf32),
    (
        "conformance.bzImage",
        "conformance-linux",
        Form::BzImage(Options::default),
    ),
    (
        "conformance-32bit.bzImage",
        "conformance-linux",
        Form::BzImage(Options::only_32_bit),
    ),
    (
        "conformance-fixed.bzImage",
        "conformance-linux",
        Form::BzImage(Options::not_relocatable),
    ),
];
