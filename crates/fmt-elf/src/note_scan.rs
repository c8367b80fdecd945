//! The notes of a file that a loader uses.

use boot_core::Arch;
use boot_linux::vmlinux::OsName;

use crate::error::ElfError;
use crate::file::ElfFile;
#[cfg(feature = "sandbox")]
use crate::guest::{self, FoundNote};
use crate::header::ProgramHeader;
use crate::limits::MAX_NOTES;
use crate::note_error::NoteError;
use crate::notes::Note;
use crate::pvh::{PvhNotes, XEN};
use crate::warning::{Warning, Warnings};

/// Note type of the name "Xen": name of the guest operating system (`elfnote.h`).
const XEN_ELFNOTE_GUEST_OS: u32 = 6;

/// Note type of the name "GNU": lowest version of the kernel that the C library of the program needs.
const NT_GNU_ABI_TAG: u32 = 1;

/// Length of the value of an `NT_GNU_ABI_TAG`: the operating system and three parts of its version.
const GNU_ABI_TAG_LEN: u64 = 16;

/// Notes of a file, collected one segment at a time. Notes of other names and types are ignored.
#[derive(Debug, Default)]
pub(crate) struct NoteScan {
    pub(crate) pvh: PvhNotes,
    /// True if there is a note with the name "Linux".
    pub(crate) has_linux_note: bool,
    /// The name of the first note that is that of another operating system.
    pub(crate) other_os: Option<OsName>,
    /// Whether the Xen notes name the guest OS "linux".
    pub(crate) is_linux_guest: Option<bool>,
    /// True if there is a Xen note that is read here, even a malformed one.
    pub(crate) has_xen_note: bool,
    /// The note of a sandbox's guest.
    #[cfg(feature = "sandbox")]
    pub(crate) guest: Option<FoundNote>,
    /// True if there is an `NT_GNU_ABI_TAG`.
    pub(crate) has_gnu_abi_tag: bool,
    /// First error in a note.
    pub(crate) error: Option<NoteError>,
    /// Number of notes read, of any name and type.
    count: u32,
}

impl NoteScan {
    /// True if there is the note of a sandbox's guest.
    #[cfg_attr(
        not(feature = "sandbox"),
        expect(clippy::unused_self, reason = "the answer needs the feature")
    )]
    pub(crate) const fn has_guest(&self) -> bool {
        #[cfg(feature = "sandbox")]
        return self.guest.is_some();
        #[cfg(not(feature = "sandbox"))]
        false
    }

    /// Reads the notes of a `PT_NOTE` segment. Errors in notes become warnings.
    pub(crate) fn read_segment(
        &mut self,
        file: &ElfFile<'_>,
        header: &ProgramHeader,
        arch: Arch,
        warnings: &mut Warnings,
    ) -> Result<(), ElfError> {
        for note in file.notes(header) {
            if self.count > MAX_NOTES {
                break;
            }
            match note.and_then(|note| self.read_note(file, &note, arch)) {
                Err(ElfError::Note(error)) => {
                    self.error = self.error.or(Some(error));
                    warnings.add(Warning::Note { error, more: 0 });
                }
                result => result?,
            }
        }
        Ok(())
    }

    fn read_note(&mut self, file: &ElfFile<'_>, note: &Note, arch: Arch) -> Result<(), ElfError> {
        let source = file.source();
        self.count = self.count.saturating_add(1);
        if self.count > MAX_NOTES {
            let offset = note.name.offset();
            return Err(NoteError::TooMany { offset }.into());
        }
        if !self.has_linux_note && note.has_name(&source, b"Linux")? {
            self.has_linux_note = true;
        }
        if self.other_os.is_none() {
            for os in OsName::ALL {
                if note.has_name(&source, os.as_str().as_bytes())? {
                    self.other_os = Some(os);
                }
            }
        }
        if note.n_type == NT_GNU_ABI_TAG
            && note.desc.len() >= GNU_ABI_TAG_LEN
            && note.has_name(&source, b"GNU")?
        {
            self.has_gnu_abi_tag = true;
        }
        #[cfg(feature = "sandbox")]
        if guest::is_note(file, note)? {
            self.guest = Some(guest::read_note(file, note, arch, self.guest)?);
            return Ok(());
        }
        // PVH is an x86 ABI; its notes have no meaning on other architectures.
        if arch != Arch::X86_64 {
            return Ok(());
        }
        if note.n_type == XEN_ELFNOTE_GUEST_OS {
            if note.has_name(&source, XEN)? {
                self.has_xen_note = true;
                let is_linux = is_linux(file, note)?;
                self.is_linux_guest.get_or_insert(is_linux);
            }
            return Ok(());
        }
        let result = self.pvh.read_note(file, note);
        // Only PVH notes can be malformed there.
        self.has_xen_note |= matches!(result, Ok(true) | Err(ElfError::Note(_)));
        result.map(|_| ())
    }
}

/// True if the value of the note is the string "linux", with or without its NUL.
fn is_linux(file: &ElfFile<'_>, note: &Note) -> Result<bool, ElfError> {
    const LINUX: &[u8] = b"linux";
    let len = usize::try_from(note.desc.len()).unwrap_or(usize::MAX);
    if len < LINUX.len() || len > LINUX.len().saturating_add(1) {
        return Ok(false);
    }
    let value = file.source().read_vec(note.desc.offset(), len)?;
    Ok(value.strip_suffix(&[0]).unwrap_or(&value) == LINUX)
}
