//! Launch digests with OVMF.

use boot_measure::Content;
use boot_measure::ovmf::Ovmf;
use boot_measure::snp::{CpuSignature, FirmwareLaunch, KernelHashes, SevFeatures, Vmm};

use crate::inputs::bytes;
use fmt_test::ovmf::Firmware;

#[test]
fn launches_with_firmware_have_the_digests_of_sev_snp_measure() {
    let file = Firmware::new(bytes(0x2_0000, 50)).build();
    if let Some(dir) = std::env::var_os("BOOT_MEASURE_INPUTS") {
        std::fs::write(std::path::Path::new(&dir).join("ovmf.fd"), &file).unwrap();
    }
    let firmware = Ovmf::parse(&file).unwrap();
    let (kernel, initrd) = (bytes(5000, 51), bytes(300, 52));
    let (kernel, initrd) = (Content::bytes(&kernel), Content::bytes(&initrd));
    let all = KernelHashes::new(&kernel, Some(&initrd), b"console=ttyS0 quiet").unwrap();
    let only_kernel = KernelHashes::new(&kernel, None, b"").unwrap();
    let mut found = Vec::new();
    for (boot, hashes) in [("disk", None), ("kernel", Some(only_kernel)), ("all", Some(all))] {
        for vcpus in [1, 4] {
            let signature = CpuSignature::of_qemu_type("EPYC-Milan").unwrap();
            let mut launch = FirmwareLaunch::new(&firmware, vcpus, signature)
                .with_features(SevFeatures::SNP_DEBUG_VIRTUALIZATION);
            launch.hashes = hashes;
            for (name, vmm) in [("qemu", Vmm::Qemu), ("ec2", Vmm::Ec2), ("gce", Vmm::Gce)] {
                let digest = launch.with_vmm(vmm).snp_digest().unwrap();
                found.push((format!("snp-{boot}-{vcpus}-{name}"), digest.to_string()));
            }
            let digest = launch.sev_es_digest().unwrap();
            found.push((format!("seves-{boot}-{vcpus}"), digest.to_string()));
        }
        let mut launch = FirmwareLaunch::new(&firmware, 1, CpuSignature(0));
        launch.hashes = hashes;
        found.push((format!("sev-{boot}"), launch.sev_digest().unwrap().to_string()));
    }
    let found: Vec<_> = found
        .iter()
        .map(|(name, value)| (&**name, value.clone()))
        .collect();
    crate::check(include_str!("ovmf.txt"), &found);
}
