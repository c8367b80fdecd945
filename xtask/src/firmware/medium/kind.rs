//! The kinds of boot media.

/// What is on a medium, and so which path to the kernel a firmware has to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// An entry of type 1 of the Boot Loader Specification, and no boot loader.
    Bls1,
    /// The same on an ext4 file system: an XBOOTLDR partition beside an empty ESP.
    Ext4,
    /// The kernel itself as the boot loader, without command line and initrd.
    Stub,
    /// A unified kernel image as the boot loader, and in \EFI\Linux.
    Uki,
    /// systemd-boot with an entry of type 1.
    Sdboot,
    /// systemd-boot with a unified kernel image in \EFI\Linux.
    Sduki,
    /// systemd-boot with a unified kernel image of Debian's ukify, whose second profile is the default, and an addon.
    Ukify,
    /// GRUB, with the kernel on an ext4 file system.
    Grub,
    /// shim, which starts GRUB.
    Shim,
    /// shim with its fallback program, which writes boot entries and then starts shim and GRUB.
    Shimfb,
    /// A system of Debian with systemd-boot and an entry of type 1.
    Debian,
    /// A system of Debian with GRUB.
    DebianGrub,
}

impl Kind {
    /// Every kind, in the order of the results.
    pub(crate) const ALL: [Self; 12] = [
        Self::Bls1,
        Self::Ext4,
        Self::Stub,
        Self::Uki,
        Self::Sdboot,
        Self::Sduki,
        Self::Ukify,
        Self::Grub,
        Self::Shim,
        Self::Shimfb,
        Self::Debian,
        Self::DebianGrub,
    ];

    /// Name on the command line and of files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bls1 => "bls1",
            Self::Ext4 => "ext4",
            Self::Stub => "stub",
            Self::Uki => "uki",
            Self::Sdboot => "sdboot",
            Self::Sduki => "sduki",
            Self::Ukify => "ukify",
            Self::Grub => "grub",
            Self::Shim => "shim",
            Self::Shimfb => "shimfb",
            Self::Debian => "debian",
            Self::DebianGrub => "debian-grub",
        }
    }

    /// True if the medium has entries of the Boot Loader Specification.
    pub(crate) fn has_entries(self) -> bool {
        matches!(
            self,
            Self::Bls1 | Self::Ext4 | Self::Uki | Self::Sdboot | Self::Sduki | Self::Ukify | Self::Debian
        )
    }

    /// True if the medium has an initrd, and so boots to userspace.
    pub(crate) fn reaches_userspace(self) -> bool {
        self != Self::Stub
    }

    /// True if userspace is Debian's, with systemd as init.
    pub(crate) fn is_system(self) -> bool {
        matches!(self, Self::Debian | Self::DebianGrub)
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn every_kind_has_its_name() {
        assert_eq!(Kind::value_variants(), Kind::ALL);
        for kind in Kind::ALL {
            assert_eq!(kind.to_possible_value().unwrap().get_name(), kind.name());
        }
    }
}
