//! arm64: both byte orders, `Image` and ELF.

use contract::{Entry, Image};
use hv_core::virt::Gic;

use super::Matrix;
use crate::board::Board;
use crate::case::{Case, every_call_fails};
use crate::conformance::build::{Build, case};

const fn image(name: &'static str, file: &'static str) -> Build {
    Build {
        name,
        file,
        protocol: "fdt-arm64",
        entry: Entry::Arm64,
        image: Image::Image,
    }
}

const fn elf(name: &'static str, file: &'static str) -> Build {
    Build {
        image: Image::Elf,
        ..image(name, file)
    }
}

const BUILDS: [Build; 8] = [
    image("image", "guests/aarch64/conformance.Image"),
    // `text_offset` is not a multiple of 2 MiB, as before Linux 5.8.
    image("image-offset", "guests/aarch64/conformance-offset.Image"),
    // No `image_size`, as before Linux 3.17.
    image("image-old", "guests/aarch64/conformance-old.Image"),
    image("image-big-endian", "guests/aarch64/conformance-be.Image"),
    elf("elf", "guests/aarch64/conformance.elf"),
    elf("elf-pie", "guests/aarch64/conformance-pie.elf"),
    elf("elf-big-endian", "guests/aarch64/conformance-be.elf"),
    elf("elf-pie-big-endian", "guests/aarch64/conformance-be-pie.elf"),
];

const BOARDS: [(&str, Board); 3] = [
    ("gicv3-its", Board::Arm64(Gic::V3WithIts)),
    ("gicv3", Board::Arm64(Gic::V3)),
    ("gicv2", Board::Arm64(Gic::V2)),
];

pub(in crate::conformance) fn cases() -> Vec<Case> {
    let [plain, offset, _, big_endian, _, pie, _, pie_big_endian] = BUILDS;
    let matrix = Matrix {
        builds: &BUILDS,
        shaped: &[plain, pie],
        movable: &[plain, offset, pie],
        started: &[pie, big_endian, pie_big_endian],
        first: plain,
        boards: &BOARDS,
    };
    let mut cases = matrix.cases();
    let (_, board) = BOARDS[0];
    cases.push(case("host-query::every-call-fails", plain, board, || {
        every_call_fails(|| Ok(hv_kvm_arm64::host_capabilities().map(drop)?))
    }));
    cases
}
