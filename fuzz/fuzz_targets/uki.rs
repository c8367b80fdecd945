//! Arbitrary bytes as a unified kernel image, an addon and a device tree, and in a scan as an image with itself as addon.

#![no_main]

use bls::Arch;
use bls::scan::{ScanConfig, Volume, VolumeKind, scan};
use libfuzzer_sys::fuzz_target;

#[expect(dead_code, reason = "some functions are only for other targets and the tests")]
#[path = "../../crates/bls/tests/bls/invariants.rs"]
mod invariants;
#[expect(dead_code, reason = "some functions are only for the tests")]
#[path = "../../crates/bls/tests/bls/memory_fs.rs"]
mod memory_fs;

fuzz_target!(|data: &[u8]| {
    invariants::check_image(data);
    invariants::check_device_tree(data);
    let fs = memory_fs::MemoryFs::new()
        .file("EFI/Linux/a+1-2.efi", data)
        .file("EFI/Linux/a.efi.extra.d/own.addon.efi", data)
        .file("loader/addons/b.addon.efi", data)
        .file("loader/entries/c.conf", "uki /EFI/Linux/a+1-2.efi\nprofile 1\n");
    let config = ScanConfig::new(Arch::Aarch64);
    let volume = Volume {
        kind: VolumeKind::Esp,
        file_system: &fs,
    };
    let result = scan(&[volume], &config);
    invariants::check_scan(&result, &config);
    for entry in &result.entries {
        let _ = entry.device_tree_for(&fs, "acme,one");
        for resource in entry.kernel.iter().chain(&entry.initrds).chain(&entry.overlays) {
            resource.open(&fs).expect("a section of the file");
        }
    }
});
