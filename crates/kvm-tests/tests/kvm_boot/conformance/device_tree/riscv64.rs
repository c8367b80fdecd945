//! riscv64: `Image` and ELF.

use contract::{Entry, Image};
use hv_core::virt::RiscvIrqchip;

use super::Matrix;
use crate::board::Board;
use crate::case::Case;
use crate::conformance::build::Build;

const fn build(name: &'static str, file: &'static str, image: Image) -> Build {
    Build {
        name,
        file,
        protocol: "fdt-riscv64",
        entry: Entry::Riscv64,
        image,
    }
}

const BUILDS: [Build; 3] = [
    build("image", "guests/riscv64/conformance.Image", Image::Image),
    build("elf", "guests/riscv64/conformance.elf", Image::Elf),
    build("elf-pie", "guests/riscv64/conformance-pie.elf", Image::Elf),
];

/// KVM has no APLIC without IMSICs.
const BOARDS: [(&str, Board); 2] = [
    ("plic", Board::Riscv64(RiscvIrqchip::Plic)),
    ("aplic-imsic", Board::Riscv64(RiscvIrqchip::AplicImsic)),
];

pub(in crate::conformance) fn cases() -> Vec<Case> {
    let [image, _, pie] = BUILDS;
    let matrix = Matrix {
        builds: &BUILDS,
        shaped: &[image, pie],
        movable: &[image, pie],
        started: &[pie],
        first: image,
        boards: &BOARDS,
    };
    matrix.cases()
}
