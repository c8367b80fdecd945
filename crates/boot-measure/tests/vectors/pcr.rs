//! Predictions of PCRs.

use boot_core::{ByteSource, SizedSource};
use boot_measure::pcr::{BOOT_PHASES, LinuxStub, Stub, UkiSections, boot_manager};
use boot_measure::{Content, HashAlgorithm, authenticode_digest};
use fmt_pe::pe::PeFile;

use crate::images::{self, SECTIONS};
use crate::inputs::bytes;

/// The digests of a test, with their names.
type Found = Vec<(String, String)>;

fn pe(file: &dyn ByteSource) -> (PeFile<'_>, SizedSource<'_>) {
    let source = SizedSource::new(file).unwrap();
    (PeFile::parse(source).unwrap().unwrap(), source)
}

/// PCR 11 in all banks after each phase but the first, which systemd-measure does not print.
fn phases(name: &str, sections: &UkiSections<'_>) -> Found {
    let mut found = Vec::new();
    for bank in HashAlgorithm::ALL {
        for count in 1..=BOOT_PHASES.len() {
            let pcr = sections.pcr11(bank, &BOOT_PHASES[..count]).unwrap();
            found.push((format!("{name}-{bank}-{count}"), pcr.value().to_string()));
        }
    }
    found
}

#[test]
fn registers_are_those_of_systemd() {
    let (kernel, uki, signed) = (images::kernel(), images::uki(), images::signed());
    let contents = SECTIONS.map(|(name, len, seed)| (name, bytes(len, seed)));
    let mut full = UkiSections::new();
    for (name, content) in &contents {
        full.set(name, Content::bytes(content)).unwrap();
    }
    full.set(".linux", Content::bytes(&kernel)).unwrap();
    let mut found = phases("full", &full);
    let mut only_kernel = UkiSections::new();
    only_kernel.set(".linux", Content::bytes(&kernel)).unwrap();
    found.extend(phases("kernel", &only_kernel));
    let profiles = images::profiles();
    let profile = UkiSections::of_image(&pe(&profiles).0, &profiles, 1, None).unwrap();
    found.extend(phases("profile-1", &profile));

    let image = UkiSections::of_image(&pe(&uki).0, &uki, 0, None).unwrap();
    let line = "quiet root=/dev/vda ä";
    let initrds = [bytes(9001, 12), bytes(500, 34)];
    let initrds = initrds.each_ref().map(|initrd| Content::bytes(initrd));
    for bank in HashAlgorithm::ALL {
        let mut add = |name: &str, digest: String| found.push((format!("{name}-{bank}"), digest));
        for (name, file) in [("kernel", &kernel), ("uki", &uki), ("signed", &signed)] {
            let (pe, source) = pe(file);
            let digest = authenticode_digest(&pe, &source, bank).unwrap();
            add(&format!("authenticode-{name}"), digest.to_string());
        }
        add("uki", image.pcr11(bank, &[]).unwrap().value().to_string());
        let chain = [pe(&uki), pe(&kernel)];
        let chain = chain.each_ref().map(|(pe, source)| (pe, source));
        add("pcr4", boot_manager(bank, &chain).unwrap().value().to_string());
        let stub = LinuxStub::new().with_cmdline(line);
        let pcr = stub.with_initrds(&initrds[..1]).pcr9(bank).unwrap();
        add("pcr9", pcr.value().to_string());
        let pcr = stub.with_initrds(&initrds).pcr9(bank).unwrap();
        add("pcr9-joined", pcr.value().to_string());
        let pcr = Stub::new().with_cmdline(line).pcr12(bank).unwrap();
        add("pcr12", pcr.value().to_string());
    }
    let found: Vec<_> = found
        .iter()
        .map(|(name, value)| (&**name, value.clone()))
        .collect();
    crate::check(include_str!("pcr.txt"), &found);
}
