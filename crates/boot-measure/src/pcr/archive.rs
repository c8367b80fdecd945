//! The archives that systemd-stub makes for the initrd: of companion files beside the image, and of sections of the image (systemd-stub(7),
//! "Companion Files", "Initrd Resources"). They are of the `newc` format (Linux `buffer-format.rst`), with the values of systemd 257.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use boot_core::{ByteSource as _, ReadError, arith};

use super::UkiSections;
use crate::content::Content;

/// Longest content of an archive of sections in bytes.
const SECTION_MAX: u64 = 1 << 20;

/// What an archive has. The order is that of the archives in the initrd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ArchiveKind {
    /// Credentials of the image: `*.cred` in its `.extra.d` directory.
    Credentials,
    /// Credentials for all images: `/loader/credentials/*.cred`.
    GlobalCredentials,
    /// System extensions of the image: `*.raw` in its `.extra.d` directory, without those of the next kind.
    SystemExtensions,
    /// Configuration extensions of the image: `*.confext.raw` in its `.extra.d` directory.
    ConfigurationExtensions,
    /// `.pcrsig` of the image.
    PcrSignature,
    /// `.pcrpkey` of the image.
    PcrPublicKey,
    /// `.osrel` of the image.
    OsRelease,
    /// `.profile` of the profile.
    Profile,
}

/// Kinds of sections, with the names of the sections and of the files.
const SECTIONS: [(ArchiveKind, &str, &str); 4] = [
    (ArchiveKind::PcrSignature, ".pcrsig", "tpm2-pcr-signature.json"),
    (ArchiveKind::PcrPublicKey, ".pcrpkey", "tpm2-pcr-public-key.pem"),
    (ArchiveKind::OsRelease, ".osrel", "os-release"),
    (ArchiveKind::Profile, ".profile", "profile"),
];

impl ArchiveKind {
    /// The kinds of archives of files beside the image and of the boot loader, in the order of the initrd. The others are archives of sections.
    pub const OF_FILES: [Self; 4] = [
        Self::Credentials,
        Self::GlobalCredentials,
        Self::SystemExtensions,
        Self::ConfigurationExtensions,
    ];

    /// Number of the register that the archive is measured into, if it is measured: archives of sections are not, as sections are.
    #[must_use]
    pub const fn pcr(self) -> Option<u32> {
        match self {
            Self::Credentials | Self::GlobalCredentials | Self::ConfigurationExtensions => Some(12),
            Self::SystemExtensions => Some(13),
            Self::PcrSignature | Self::PcrPublicKey | Self::OsRelease | Self::Profile => None,
        }
    }

    /// The directory below `/.extra`; `None` for `/.extra` itself.
    const fn directory(self) -> Option<&'static str> {
        match self {
            Self::Credentials => Some("credentials"),
            Self::GlobalCredentials => Some("global_credentials"),
            Self::SystemExtensions => Some("sysext"),
            Self::ConfigurationExtensions => Some("confext"),
            Self::PcrSignature | Self::PcrPublicKey | Self::OsRelease | Self::Profile => None,
        }
    }

    /// Modes of the directory and of files: credentials are for root only.
    const fn modes(self) -> (u32, u32) {
        match self {
            Self::Credentials | Self::GlobalCredentials => (0o500, 0o400),
            _ => (READABLE_DIRECTORY, 0o444),
        }
    }
}

const READABLE_DIRECTORY: u32 = 0o555;

/// An archive.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StubArchive {
    /// What it has.
    pub kind: ArchiveKind,
    /// Its bytes, of which the number is a multiple of four.
    pub bytes: Vec<u8>,
}

/// Why an archive cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// A file is 4 GiB or longer, which the format cannot have.
    #[error("the file {name} has {len} bytes; an archive has files below 4 GiB")]
    FileTooLong {
        /// Its name.
        name: String,
        /// Its length in bytes.
        len: u64,
    },
    /// A section that becomes a file is longer than the limit.
    #[error("the section {name} has {len} bytes; at most {SECTION_MAX} are supported")]
    SectionTooLong {
        /// Its name.
        name: &'static str,
        /// Its length in bytes.
        len: u64,
    },
    /// A section cannot be read.
    #[error("a section cannot be read")]
    Read(#[from] ReadError),
}

impl StubArchive {
    /// The archive of companion files, by their names and contents; `None` without any. The stub takes them in the order of their names.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::FileTooLong`].
    pub fn of_files(kind: ArchiveKind, files: &[(&str, &[u8])]) -> Result<Option<Self>, ArchiveError> {
        let mut files = files.to_vec();
        files.sort_unstable_by_key(|(name, _)| *name);
        if files.is_empty() {
            return Ok(None);
        }
        let mut writer = Writer::default();
        let (directory_mode, file_mode) = kind.modes();
        writer.entry(".extra", DIRECTORY | READABLE_DIRECTORY, &[])?;
        let mut parent = String::from(".extra");
        if let Some(directory) = kind.directory() {
            parent = format!("{parent}/{directory}");
            writer.entry(&parent, DIRECTORY | directory_mode, &[])?;
        }
        for (name, content) in files {
            writer.entry(&format!("{parent}/{name}"), REGULAR | file_mode, content)?;
        }
        let bytes = writer.finish();
        Ok(Some(Self { kind, bytes }))
    }

    /// The archives of the sections of an image.
    ///
    /// # Errors
    ///
    /// [`ArchiveError`] if a section is too long or cannot be read.
    pub fn of_sections(sections: &UkiSections<'_>) -> Result<Vec<Self>, ArchiveError> {
        let mut archives = Vec::new();
        for (kind, name, file) in SECTIONS {
            let Some(content) = sections.get(name).filter(|content| !content.is_empty()) else {
                continue;
            };
            let len = content.len();
            let length = usize::try_from(len).ok().filter(|_| len <= SECTION_MAX);
            let mut bytes = vec![0; length.ok_or(ArchiveError::SectionTooLong { name, len })?];
            content.read_exact_at(0, &mut bytes)?;
            archives.extend(Self::of_files(kind, &[(file, &bytes)])?);
        }
        Ok(archives)
    }

    /// The bytes, to measure.
    #[must_use]
    pub fn content(&self) -> Content<'_> {
        Content::bytes(&self.bytes)
    }
}

/// Type of a directory in a mode (`S_IFDIR`).
const DIRECTORY: u32 = 0o4_0000;
/// Type of a regular file in a mode (`S_IFREG`).
const REGULAR: u32 = 0o10_0000;

/// Writer of an archive.
#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
    inode: u32,
}

impl Writer {
    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) -> Result<(), ArchiveError> {
        self.inode = self.inode.saturating_add(1);
        let len = arith::to_u64(content.len());
        let size = u32::try_from(len).ok();
        let size = size.ok_or_else(|| ArchiveError::FileTooLong {
            name: String::from(name),
            len,
        })?;
        let name_size = name.len().saturating_add(1);
        // Inode, mode, user, group, links, time, size, four device numbers, length of the name, checksum.
        let header = format!(
            "070701{:08x}{mode:08x}{zero:08x}{zero:08x}{:08x}{zero:08x}{size:08x}{zero:08x}{zero:08x}{zero:08x}{zero:08x}\
             {name_size:08x}{zero:08x}",
            self.inode,
            1,
            zero = 0
        );
        self.bytes.extend_from_slice(header.as_bytes());
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
        Ok(())
    }

    fn pad(&mut self) {
        let len = self.bytes.len().checked_next_multiple_of(4);
        self.bytes.resize(len.unwrap_or(self.bytes.len()), 0);
    }

    /// The last entry, in which the stub writes the length of the name in upper case.
    fn finish(mut self) -> Vec<u8> {
        let zeros = "00000000";
        let fields = [
            "070701",
            &zeros.repeat(4),
            "00000001",
            &zeros.repeat(6),
            "0000000B",
            zeros,
            "TRAILER!!!\0",
        ];
        for field in fields {
            self.bytes.extend_from_slice(field.as_bytes());
        }
        self.pad();
        self.bytes
    }
}
