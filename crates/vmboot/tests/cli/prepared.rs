//! Files of `vmboot prepare`.

use std::fs::{self, File};
use std::path::Path;

use boot_core::{Arch, GuestMemory as _, MemoryMap};
use guest_ram::{FileMapping, GuestRam, PreparedBoot};
use vmboot::report::DumpReport;

use crate::files::{arm64_image, bzimage, kernel, write};
use crate::{stderr, vmboot};

/// A prepared boot has the bytes of the plan with the same options, piece by piece.
fn check(kernel: &Path, options: &[&str], arch: Arch, memory: &MemoryMap) {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let kernel = kernel.to_str().unwrap();
    let (prepared, pieces) = (path("prepared"), path("pieces"));
    let run = |args: &[&str]| {
        let output = vmboot(&[args, &[kernel], options].concat());
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
    };
    run(&["prepare", "--output", &prepared]);
    run(&["plan", "--dump", &pieces]);

    let file = File::open(&prepared).unwrap();
    let boot = PreparedBoot::open(file, FileMapping::Trusted).unwrap();
    assert_eq!(boot.arch(), arch);
    let mut ram = GuestRam::new(memory).unwrap();
    boot.load(&mut ram).unwrap();
    let index = fs::read(Path::new(&pieces).join("index.json")).unwrap();
    let index: DumpReport = serde_json::from_slice(&index).unwrap();
    let mut compared = 0;
    for piece in &index.pieces {
        let Some(name) = &piece.file else { continue };
        let expected = fs::read(Path::new(&pieces).join(name)).unwrap();
        let mut found = vec![0; expected.len()];
        ram.read(piece.load.start.0, &mut found).unwrap();
        assert!(found == expected, "{name} of {kernel}");
        compared += expected.len();
    }
    assert!(compared > 0x1000, "{compared} bytes of {kernel}");
}

#[test]
fn a_prepared_boot_is_the_plan_of_its_options() {
    let dir = tempfile::tempdir().unwrap();
    let initrd = write(dir.path(), "initrd", b"070701 initrd");
    let initrd = ["--initrd", initrd.to_str().unwrap(), "--memory", "64M"];
    let pc = MemoryMap::pc(64 << 20).unwrap();
    check(
        &write(dir.path(), "kernel", &kernel()),
        &["--memory", "64M", "--cmdline", "a=b"],
        Arch::X86_64,
        &pc,
    );
    check(
        &write(dir.path(), "bzImage", &bzimage()),
        &[&initrd[..], &["--vcpus", "4"]].concat(),
        Arch::X86_64,
        &pc,
    );
    check(
        &write(dir.path(), "Image", &arm64_image(0, 1 << 20, 2)),
        &initrd,
        Arch::Aarch64,
        &hv_core::virt::memory_map(64 << 20).unwrap(),
    );
}
