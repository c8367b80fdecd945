//! Entries of type 1 (UAPI.1, "Type #1 Boot Loader Specification Entries").

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use boot_core::Arch;

use crate::name::parse_number;
use crate::note::{Note, NoteKind, Notes, cut};
use crate::path::{FilePath, PathError};
use crate::text::{self, Line, TextError};

/// Content of a file `/loader/entries/*.conf`.
///
/// `Display` prints the entry in the format of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Type1 {
    /// `title`: for people.
    pub title: Option<String>,
    /// `version`: usually that of the kernel.
    pub version: Option<String>,
    /// `machine-id` of the operating system: 32 lower-case hexadecimal digits. Another text is kept, with a note.
    pub machine_id: Option<String>,
    /// `sort-key`.
    pub sort_key: Option<String>,
    /// `linux`: kernel.
    pub linux: Option<FilePath>,
    /// `uki`: unified kernel image.
    pub uki: Option<FilePath>,
    /// `uki-url`: not supported; kept for messages.
    pub uki_url: Option<String>,
    /// `profile`: profile of the unified kernel image.
    pub profile: Option<ProfileSelector>,
    /// `efi`: EFI program.
    pub efi: Option<FilePath>,
    /// `initrd` lines in their order.
    pub initrds: Vec<FilePath>,
    /// `options` lines in their order, with a space between them.
    pub options: String,
    /// `devicetree`.
    pub devicetree: Option<FilePath>,
    /// Paths of `devicetree-overlay` in their order.
    pub devicetree_overlays: Vec<FilePath>,
    /// `architecture`.
    pub architecture: Option<Architecture>,
    /// Lines that have no effect, or another one than expected; at most 32.
    pub notes: Vec<Note>,
}

/// Value of `architecture`: a name of the EFI vocabulary such as `x64`, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Architecture(String);

/// Value of `profile`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProfileSelector {
    /// A decimal number: index of the profile.
    Number(u32),
    /// Another text: `ID=` of the profile.
    Id(String),
}

/// Error in an entry of type 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Type1Error {
    /// The file is not text, or too long.
    #[error(transparent)]
    Text(#[from] TextError),
    /// A path is invalid.
    #[error("line {line}: \"{key}\": {source}")]
    Path {
        /// Number of the line, from 1.
        line: usize,
        /// Key.
        key: &'static str,
        /// Cause.
        source: PathError,
    },
    /// The entry has none of `linux`, `uki` and `efi`.
    #[error("the entry has no program to boot: none of the keys \"linux\", \"uki\" and \"efi\"")]
    NoProgram,
    /// The only program is on the network.
    #[error(
        "the only program of the entry is \"uki-url {url}\", and boots from the network are not supported"
    )]
    OnlyUkiUrl {
        /// The address, possibly cut.
        url: String,
    },
}

impl Type1 {
    /// Parses the content of a file. Unknown keys are ignored, with a note.
    ///
    /// # Errors
    ///
    /// [`Type1Error`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Type1Error> {
        let text = text::decode(bytes)?;
        let (mut entry, mut notes) = (Self::default(), Notes::default());
        for line in text::lines(text) {
            entry.line(&line, &mut notes)?;
        }
        entry.notes = notes.0;
        if entry.linux.is_some() || entry.uki.is_some() || entry.efi.is_some() {
            return Ok(entry);
        }
        Err(match entry.uki_url {
            Some(url) => Type1Error::OnlyUkiUrl { url: cut(&url) },
            None => Type1Error::NoProgram,
        })
    }

    /// Applies a line.
    fn line(&mut self, line: &Line<'_>, notes: &mut Notes) -> Result<(), Type1Error> {
        let Line { number, value, .. } = *line;
        let Some(key) = KEYS.iter().copied().find(|key| *key == line.key) else {
            notes.unknown_key(number, line.key);
            return Ok(());
        };
        if value.is_empty() {
            notes.add(number, NoteKind::NoValue { key });
            return Ok(());
        }
        let path = |text: &str| {
            FilePath::parse(text).map_err(|source| Type1Error::Path {
                line: number,
                key,
                source,
            })
        };
        let text = || value.to_owned();
        match key {
            "title" => notes.replace(number, key, &mut self.title, text()),
            "version" => notes.replace(number, key, &mut self.version, text()),
            "machine-id" => {
                let is_digit = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
                if value.len() != 32 || !value.bytes().all(is_digit) {
                    notes.add(number, NoteKind::OddMachineId);
                }
                notes.replace(number, key, &mut self.machine_id, text());
            }
            "sort-key" => notes.replace(number, key, &mut self.sort_key, text()),
            "linux" => notes.replace(number, key, &mut self.linux, path(value)?),
            "uki" => notes.replace(number, key, &mut self.uki, path(value)?),
            "uki-url" => {
                let reason = "boots from the network are not supported";
                notes.add(number, NoteKind::Unsupported { key, reason });
                self.uki_url = Some(text());
            }
            "profile" => notes.replace(number, key, &mut self.profile, ProfileSelector::parse(value)),
            "efi" => notes.replace(number, key, &mut self.efi, path(value)?),
            "initrd" => {
                let value = without_variables(number, value, notes);
                if !value.is_empty() {
                    self.initrds.push(path(&value)?);
                }
            }
            "options" => {
                let value = without_variables(number, value, notes);
                if !self.options.is_empty() && !value.is_empty() {
                    self.options.push(' ');
                }
                self.options.push_str(&value);
            }
            "devicetree" => notes.replace(number, key, &mut self.devicetree, path(value)?),
            "devicetree-overlay" => {
                for word in value.split(text::is_space).filter(|word| !word.is_empty()) {
                    self.devicetree_overlays.push(path(word)?);
                }
            }
            // The last of `KEYS`: "architecture".
            _ => {
                let value = Architecture(value.to_ascii_lowercase());
                notes.replace(number, key, &mut self.architecture, value);
            }
        }
        Ok(())
    }
}

/// All keys of the specification.
const KEYS: [&str; 14] = [
    "title",
    "version",
    "machine-id",
    "sort-key",
    "linux",
    "uki",
    "uki-url",
    "profile",
    "efi",
    "initrd",
    "options",
    "devicetree",
    "devicetree-overlay",
    "architecture",
];

/// The value without words that begin with `$`. They are variables of GRUB, as in `initrd /initramfs.img $tuned_initrd` of
/// Fedora and its relatives.
fn without_variables(line: usize, value: &str, notes: &mut Notes) -> String {
    let is_variable = |word: &&str| word.starts_with('$') && word.len() > 1;
    if !value.split(text::is_space).any(|word| is_variable(&word)) {
        return value.to_owned();
    }
    let mut kept: Vec<&str> = Vec::new();
    for word in value.split(text::is_space) {
        if is_variable(&word) {
            notes.add(line, NoteKind::GrubVariable { word: cut(word) });
        } else {
            kept.push(word);
        }
    }
    kept.join(" ").trim_matches(text::is_space).to_owned()
}

impl ProfileSelector {
    /// Parses a selector: a decimal number, also behind `@`, or else an `ID=`.
    #[must_use]
    pub fn parse(value: &str) -> Self {
        let number = value.strip_prefix('@').unwrap_or(value);
        match parse_number(number) {
            Some(number) => Self::Number(number),
            None => Self::Id(value.to_owned()),
        }
    }
}

impl fmt::Display for ProfileSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => fmt::Display::fmt(number, f),
            Self::Id(id) => f.pad(id),
        }
    }
}

impl Architecture {
    /// The name, in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Architecture; `None` if this workspace does not support it, or the name is not one of EFI.
    #[must_use]
    pub fn arch(&self) -> Option<Arch> {
        match &*self.0 {
            "x64" => Some(Arch::X86_64),
            "aa64" => Some(Arch::Aarch64),
            "riscv64" => Some(Arch::Riscv64),
            _ => None,
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for Type1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        lines(f, "title", &self.title)?;
        lines(f, "version", &self.version)?;
        lines(f, "machine-id", &self.machine_id)?;
        lines(f, "sort-key", &self.sort_key)?;
        lines(f, "linux", &self.linux)?;
        lines(f, "uki", &self.uki)?;
        lines(f, "uki-url", &self.uki_url)?;
        lines(f, "profile", &self.profile)?;
        lines(f, "efi", &self.efi)?;
        lines(f, "initrd", &self.initrds)?;
        lines(f, "options", Some(&self.options).filter(|text| !text.is_empty()))?;
        lines(f, "devicetree", &self.devicetree)?;
        lines(f, "devicetree-overlay", &self.devicetree_overlays)?;
        lines(f, "architecture", &self.architecture)
    }
}

/// Prints a line for each value.
fn lines<'a, T: fmt::Display + 'a>(
    f: &mut fmt::Formatter<'_>,
    key: &str,
    values: impl IntoIterator<Item = &'a T>,
) -> fmt::Result {
    values
        .into_iter()
        .try_for_each(|value| writeln!(f, "{key} {value}"))
}
