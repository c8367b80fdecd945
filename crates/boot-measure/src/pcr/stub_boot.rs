//! All that a boot of a unified kernel image by systemd-stub measures behind the firmware.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use boot_core::{ReadError, SizedSource};
use fmt_pe::pe::PeFile;

use super::addon::{Addon, AddonError, text};
use super::archive::StubArchive;
use super::{LinuxStub, Pcr, Stub, UkiSections};
use crate::HashAlgorithm;

/// A boot of a profile of a unified kernel image by systemd-stub, with companion files.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct StubBoot<'a> {
    /// Sections of the profile.
    pub sections: &'a UkiSections<'a>,
    /// Number of the profile.
    pub profile: u32,
    /// Addons: those for all images first, then those of the image, each in the order of their file names.
    pub addons: &'a [Addon<'a>],
    /// Archives for the initrd, in the order of their kinds: of companion files, and of the sections
    /// ([`StubArchive::of_sections`]).
    pub archives: &'a [StubArchive],
    /// Command line that the stub is started with.
    pub cmdline: Option<&'a str>,
    /// Whether systemd-boot starts the stub: it measures the options, which are the profile and the command line.
    pub has_systemd_boot: bool,
}

/// Registers after the EFI stub of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StubRegisters {
    /// Command line and initrd of the kernel.
    pub pcr9: Pcr,
    /// What configures the image from outside.
    pub pcr12: Pcr,
    /// System extensions.
    pub pcr13: Pcr,
}

impl<'a> StubBoot<'a> {
    /// Profile 0 of an image, without companion files, started by the firmware.
    #[must_use]
    pub const fn new(sections: &'a UkiSections<'a>) -> Self {
        Self {
            sections,
            profile: 0,
            addons: &[],
            archives: &[],
            cmdline: None,
            has_systemd_boot: false,
        }
    }

    /// The registers. Register 11 is that of the sections: [`UkiSections::pcr11`].
    ///
    /// # Errors
    ///
    /// [`AddonError`] if the section `.cmdline` of the image is no text, or a file cannot be read.
    pub fn registers(&self, bank: HashAlgorithm) -> Result<StubRegisters, AddonError> {
        let addons = self.addons.iter();
        let lines: Vec<&str> = addons
            .clone()
            .filter_map(|addon| addon.cmdline.as_deref())
            .collect();
        let trees: Vec<_> = addons.clone().filter_map(|addon| addon.device_tree).collect();
        let ucode: Vec<_> = addons.clone().filter_map(|addon| addon.ucode).collect();
        let initrds: Vec<_> = addons.filter_map(|addon| addon.initrd).collect();
        let options = self.options();
        let stub = Stub {
            profile: self.profile,
            boot_loader_options: options.as_deref(),
            cmdline: self.cmdline,
            addon_cmdlines: &lines,
            smbios_cmdline: None,
            addon_device_trees: &trees,
            archives: self.archives,
            addon_ucode: &ucode,
            addon_initrds: &initrds,
        };
        let of_image = self.sections.get(".cmdline").map(text).transpose()?;
        let line = stub.kernel_cmdline(&of_image.unwrap_or_default());
        let parts = stub.initrds(self.sections);
        let linux = LinuxStub {
            cmdline: Some(&*line).filter(|line| !line.is_empty()),
            initrds: &parts,
        };
        Ok(StubRegisters {
            pcr9: linux.pcr9(bank)?,
            pcr12: stub.pcr12(bank)?,
            pcr13: stub.pcr13(bank)?,
        })
    }

    /// The options that systemd-boot starts the stub with: the selection of a profile, and a command line.
    fn options(&self) -> Option<String> {
        let profile = (self.profile != 0).then(|| format!("@{}", self.profile));
        let words: Vec<_> = profile.as_deref().into_iter().chain(self.cmdline).collect();
        (self.has_systemd_boot && !words.is_empty()).then(|| words.join(" "))
    }
}

/// Text in the section `.sdmagic` of systemd-boot.
const LOADER_INFO: &[u8] = b"#### LoaderInfo: systemd-boot ";

/// Whether an EFI program is systemd-boot, by the text that it identifies itself with: it measures the options of what it starts.
///
/// # Errors
///
/// The error of the source.
pub fn is_systemd_boot(pe: &PeFile<'_>, source: &SizedSource<'_>) -> Result<bool, ReadError> {
    let Some(section) = pe.section(b".sdmagic") else {
        return Ok(false);
    };
    let mut start = [0; LOADER_INFO.len()];
    let read = source.read_prefix_at(section.data.offset(), &mut start)?;
    Ok(start.get(..read) == Some(LOADER_INFO))
}
