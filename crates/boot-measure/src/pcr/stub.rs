//! PCR 12: what configures a unified kernel image from outside (systemd-stub(7), "TPM PCR Notes").

use alloc::string::String;
use alloc::vec::Vec;

use boot_core::ReadError;

use super::archive::StubArchive;
use super::{Pcr, UkiSections};
use crate::HashAlgorithm;
use crate::content::Content;

/// What systemd-stub measures into PCR 12, in this order. The section `.cmdline` of the image itself is part of PCR 11 only.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Stub<'a> {
    /// Number of the profile. Zero, the default, is not measured.
    pub profile: u32,
    /// Options with which systemd-boot started the stub: systemd-boot measures them first, as UTF-16 with a NUL. For a second profile
    /// they are `@1`, for an entry with a command line that line. `None`: nothing was measured before the stub.
    pub boot_loader_options: Option<&'a str>,
    /// Command line that the stub was started with, if it takes that in place of the image's: measured as UTF-16 with a NUL. The
    /// stub drops it with Secure Boot where the image has one.
    pub cmdline: Option<&'a str>,
    /// Texts of the sections `.cmdline` of addons: of addons for all images first, then those of the image, each in the order of
    /// their file names. They are measured as one line.
    pub addon_cmdlines: &'a [&'a str],
    /// Command line from SMBIOS (`io.systemd.stub.kernel-cmdline-extra`).
    pub smbios_cmdline: Option<&'a str>,
    /// Device trees of addons, in the order of the addons.
    pub addon_device_trees: &'a [Content<'a>],
    /// The archives that the stub made, in the order of their kinds. Those of credentials and configuration extensions are measured.
    pub archives: &'a [StubArchive],
    /// Microcode of addons, in the order of the addons. The stub measures the last one first.
    pub addon_ucode: &'a [Content<'a>],
    /// Initrds of addons, in the order of the addons.
    pub addon_initrds: &'a [Content<'a>],
}

impl<'a> Stub<'a> {
    /// An image without addons, started without a command line.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with a command line.
    #[must_use]
    pub fn with_cmdline(self, cmdline: &'a str) -> Self {
        Self {
            cmdline: Some(cmdline),
            ..self
        }
    }

    /// The same with the command lines of addons.
    #[must_use]
    pub fn with_addon_cmdlines(self, addon_cmdlines: &'a [&'a str]) -> Self {
        Self {
            addon_cmdlines,
            ..self
        }
    }

    /// The command lines of addons, joined, and that of SMBIOS; they may be empty.
    fn extra_cmdlines(&self) -> [String; 2] {
        let mut addons = String::new();
        for cmdline in self.addon_cmdlines {
            if !addons.is_empty() {
                addons.push(' ');
            }
            addons.push_str(&normalized(cmdline));
        }
        let smbios = self.smbios_cmdline.unwrap_or_default();
        [normalized(&addons), normalized(smbios)]
    }

    /// The command line with which the stub starts the kernel of an image whose section `.cmdline` has this text: the one that
    /// the stub was started with or else that of the image, then those of addons and of SMBIOS.
    #[must_use]
    pub fn kernel_cmdline(&self, of_image: &str) -> String {
        let own = self.cmdline.filter(|cmdline| !cmdline.is_empty());
        let mut line = own.map_or_else(|| normalized(of_image), String::from);
        for extra in self.extra_cmdlines() {
            if !line.is_empty() && !extra.is_empty() {
                line.push(' ');
            }
            line.push_str(&extra);
        }
        line
    }

    /// PCR 12 after systemd-stub.
    ///
    /// # Errors
    ///
    /// The error of a source.
    pub fn pcr12(&self, bank: HashAlgorithm) -> Result<Pcr, ReadError> {
        let mut pcr = Pcr::new(bank);
        if let Some(options) = self.boot_loader_options {
            pcr.measure_utf16(options);
        }
        if self.profile != 0 {
            pcr.measure_utf16(&alloc::format!("{}", self.profile));
        }
        if let Some(cmdline) = self.cmdline.filter(|cmdline| !cmdline.is_empty()) {
            pcr.measure_utf16(cmdline);
        }
        for cmdline in self.extra_cmdlines() {
            if !cmdline.is_empty() {
                pcr.measure_utf16(&cmdline);
            }
        }
        let archives = self.archives_of(12);
        let contents = self.addon_device_trees.iter().copied().chain(archives);
        let contents = contents.chain(self.addon_ucode.iter().rev().copied());
        for content in contents.chain(self.addon_initrds.iter().copied()) {
            pcr.measure_content(&content)?;
        }
        Ok(pcr)
    }

    /// PCR 13 after systemd-stub: system extensions.
    ///
    /// # Errors
    ///
    /// The error of a source.
    pub fn pcr13(&self, bank: HashAlgorithm) -> Result<Pcr, ReadError> {
        let mut pcr = Pcr::new(bank);
        for content in self.archives_of(13) {
            pcr.measure_content(&content)?;
        }
        Ok(pcr)
    }

    /// The initrd that the kernel of an image gets, in parts, for [`LinuxStub`](super::LinuxStub): microcode of addons, the last one first, that
    /// of the image, the initrd of the image, the archives, initrds of addons.
    #[must_use]
    pub fn initrds(&self, of_image: &UkiSections<'a>) -> Vec<Content<'a>> {
        let own = [".ucode", ".initrd"].map(|name| of_image.get(name).copied());
        let ucode = self.addon_ucode.iter().rev().copied();
        let archives = self.archives.iter().map(StubArchive::content);
        let parts = ucode.chain(own.into_iter().flatten()).chain(archives);
        parts.chain(self.addon_initrds.iter().copied()).collect()
    }

    fn archives_of(&self, pcr: u32) -> impl Iterator<Item = Content<'a>> {
        let archives = self.archives.iter();
        let measured = archives.filter(move |archive| archive.kind.pcr() == Some(pcr));
        measured.map(StubArchive::content)
    }
}

/// A command line as the stub takes it from a section: without control characters and spaces at both ends, with spaces in place of
/// the others. It ends at the first NUL.
fn normalized(cmdline: &str) -> String {
    let is_space = |c: char| c <= ' ' || c == '\u{7f}';
    let text = cmdline.split('\0').next().unwrap_or_default();
    text.trim_matches(is_space)
        .chars()
        .map(|c| if is_space(c) { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::normalized;

    #[test]
    fn command_lines_of_sections_are_one_line() {
        let check = |text: &str, expected: &str| assert_eq!(normalized(text), expected);
        check("\n quiet\troot=a\x7fb \n", "quiet root=a b");
        check("quiet\0\0more", "quiet");
        check("\u{1}\n ", "");
        check("ä=ö", "ä=ö");
    }
}
