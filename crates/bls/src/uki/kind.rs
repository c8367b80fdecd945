//! Kinds of sections of unified kernel images.

use core::fmt;

/// Kind of a section of a unified kernel image. `Display` prints its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SectionKind {
    /// `.linux`: kernel.
    Linux,
    /// `.osrel`: `os-release`.
    Osrel,
    /// `.cmdline`: command line.
    Cmdline,
    /// `.initrd`
    Initrd,
    /// `.ucode`: microcode.
    Ucode,
    /// `.splash`: picture.
    Splash,
    /// `.dtb`: device tree.
    Dtb,
    /// `.dtbauto`: device tree for one model of machines.
    Dtbauto,
    /// `.hwids`: models by hardware identification.
    Hwids,
    /// `.uname`: release of the kernel.
    Uname,
    /// `.sbat`: generations for revocation.
    Sbat,
    /// `.pcrsig`: signatures of TPM measurements.
    Pcrsig,
    /// `.pcrpkey`: key of these signatures.
    Pcrpkey,
    /// `.efifw`: firmware image.
    Efifw,
    /// `.profile`: start of a profile.
    Profile,
}

impl SectionKind {
    const ALL: [Self; 15] = [
        Self::Linux,
        Self::Osrel,
        Self::Cmdline,
        Self::Initrd,
        Self::Ucode,
        Self::Splash,
        Self::Dtb,
        Self::Dtbauto,
        Self::Hwids,
        Self::Uname,
        Self::Sbat,
        Self::Pcrsig,
        Self::Pcrpkey,
        Self::Efifw,
        Self::Profile,
    ];

    /// Name of the section.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Linux => ".linux",
            Self::Osrel => ".osrel",
            Self::Cmdline => ".cmdline",
            Self::Initrd => ".initrd",
            Self::Ucode => ".ucode",
            Self::Splash => ".splash",
            Self::Dtb => ".dtb",
            Self::Dtbauto => ".dtbauto",
            Self::Hwids => ".hwids",
            Self::Uname => ".uname",
            Self::Sbat => ".sbat",
            Self::Pcrsig => ".pcrsig",
            Self::Pcrpkey => ".pcrpkey",
            Self::Efifw => ".efifw",
            Self::Profile => ".profile",
        }
    }

    /// True if the section may occur several times in a profile: one of them is for the machine.
    pub(super) const fn may_repeat(self) -> bool {
        matches!(self, Self::Dtbauto | Self::Efifw | Self::Profile)
    }

    /// Kind of a section with this name.
    pub(super) fn of(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name().as_bytes() == name)
    }
}

impl fmt::Display for SectionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
