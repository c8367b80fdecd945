//! Archives of systemd-stub.

use boot_measure::pcr::{ArchiveKind, StubArchive, UkiSections};
use boot_measure::{Content, HashAlgorithm};

/// Name in the vectors, kind, and files.
type Companions = (
    &'static str,
    ArchiveKind,
    &'static [(&'static str, &'static [u8])],
);

#[test]
fn archives_are_those_of_systemd_stub() {
    let files: [Companions; 4] = [
        (
            "credentials",
            ArchiveKind::Credentials,
            &[("b.cred", b"cred b"), ("a.cred", b"credential a")],
        ),
        (
            "global-credentials",
            ArchiveKind::GlobalCredentials,
            &[("g.cred", b"global")],
        ),
        (
            "sysext",
            ArchiveKind::SystemExtensions,
            &[("e.sysext.raw", b"sysext"), ("h.raw", b"raw")],
        ),
        (
            "confext",
            ArchiveKind::ConfigurationExtensions,
            &[("f.confext.raw", b"confext")],
        ),
    ];
    let mut archives = Vec::new();
    for (_, kind, files) in files {
        archives.extend(StubArchive::of_files(kind, files).unwrap());
    }
    let mut sections = UkiSections::new();
    for (name, content) in [
        (".pcrsig", "{\"sig\":1}\n"),
        (".pcrpkey", "public key\n"),
        (
            ".osrel",
            "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 13\"\nVERSION_ID=13\n",
        ),
        (".profile", "ID=debug\nTITLE=debug"),
    ] {
        sections.set(name, Content::bytes(content.as_bytes())).unwrap();
    }
    archives.extend(StubArchive::of_sections(&sections).unwrap());
    assert!(archives.is_sorted_by_key(|archive| archive.kind));
    let names = files.map(|(name, ..)| name);
    let names = names.into_iter().chain(["pcrsig", "pcrpkey", "osrel", "profile"]);
    let digest = |archive: &StubArchive| HashAlgorithm::Sha256.digest(&archive.bytes).to_string();
    let found: Vec<_> = names.zip(archives.iter().map(digest)).collect();
    crate::check(include_str!("archives.txt"), &found);
}
