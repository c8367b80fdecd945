//! What holds for every byte string as a file: nothing panics, and work is bounded by the address space.

use boot_core::{ByteSource, SizedSource};
use boot_measure::ovmf::Ovmf;
use boot_measure::pcr::{Addon, MEASURED_SECTIONS, UkiSections};
use boot_measure::snp::{CpuSignature, FirmwareLaunch};
use boot_measure::{HashAlgorithm, authenticode_digest};
use fmt_pe::pe::PeFile;

/// Checks a PE file, or otherwise the end of an OVMF image, which is filled up to whole pages.
pub(crate) fn check(data: &[u8]) {
    if data.starts_with(b"MZ") {
        check_pe(data);
    } else {
        let mut file = vec![0; data.len().next_multiple_of(0x1000) - data.len()];
        file.extend_from_slice(data);
        check_firmware(&file);
    }
}

fn check_firmware(file: &dyn ByteSource) {
    let Ok(ovmf) = Ovmf::parse(file) else {
        return;
    };
    let total: u64 = ovmf
        .sections()
        .iter()
        .map(|section| {
            assert_eq!((section.gpa | section.size) % 0x1000, 0);
            assert!(u64::from(section.gpa) + u64::from(section.size) <= 1 << 32);
            u64::from(section.size)
        })
        .sum();
    assert!(total <= 1 << 32);
    // Hashing of more takes seconds.
    if total < 1 << 24 {
        let launch = FirmwareLaunch::new(&ovmf, 2, CpuSignature(1));
        let digests = (launch.snp_digest(), launch.sev_es_digest());
        assert_eq!(digests.0.is_ok(), ovmf.reset_eip().is_some());
        assert_eq!(digests.1.is_ok(), ovmf.reset_eip().is_some());
    }
}

fn check_pe(data: &[u8]) {
    let Ok(source) = SizedSource::new(&data) else {
        return;
    };
    let Ok(Some(pe)) = PeFile::parse(source) else {
        return;
    };
    let digest = authenticode_digest(&pe, &source, HashAlgorithm::Sha256);
    let mut sections = pe.sections().iter();
    if sections.any(|section| section.raw.end() > source.len()) {
        assert!(digest.is_err());
    }
    let _addon = Addon::of_image(&pe, &data);
    for profile in 0..2 {
        if let Ok(sections) = UkiSections::of_image(&pe, &data, profile, None) {
            assert!(sections.get(".linux").is_some());
            let contents = MEASURED_SECTIONS.iter().filter_map(|name| sections.get(name));
            // Sections may be longer than the file: zeros follow.
            if contents.map(boot_measure::Content::len).sum::<u64>() < 1 << 24 {
                assert!(sections.pcr11(HashAlgorithm::Sha256, &[]).is_ok());
            }
        }
    }
}
