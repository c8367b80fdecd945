//! TPM registers of a boot of the image's second profile by systemd-boot and systemd-stub.

use boot_core::{ByteSource, SizedSource};
use boot_measure::HashAlgorithm;
use boot_measure::pcr::{
    Addon, ArchiveKind, Pcr, StubArchive, StubBoot, UkiSections, boot_manager, is_systemd_boot,
};
use fmt_pe::pe::PeFile;

use super::error::UkifyError;

/// The files that are measured, and the number of the profile.
pub(super) struct Boot<'a> {
    pub(super) loader: &'a dyn ByteSource,
    pub(super) image: &'a dyn ByteSource,
    pub(super) addon: &'a dyn ByteSource,
    pub(super) profile: u32,
    /// Names and contents of companion files.
    pub(super) companions: &'a [(ArchiveKind, &'a str, &'a [u8])],
}

fn parse(source: &dyn ByteSource) -> Result<(PeFile<'_>, SizedSource<'_>), UkifyError> {
    let source = SizedSource::new(source)?;
    Ok((PeFile::parse(source)?.ok_or(UkifyError::NotPe)?, source))
}

impl Boot<'_> {
    /// Names and values of the registers, as init reports them.
    pub(super) fn registers(&self) -> Result<Vec<(&'static str, String)>, UkifyError> {
        let bank = HashAlgorithm::Sha256;
        let (loader, image, addon) = (parse(self.loader)?, parse(self.image)?, parse(self.addon)?);
        let sections = UkiSections::of_image(&image.0, self.image, self.profile, None)?;
        let kernel = *sections.get(".linux").ok_or(UkifyError::NotPe)?;
        let has_systemd_boot = is_systemd_boot(&loader.0, &loader.1)?;
        let addons = [Addon::of_image(&addon.0, self.addon)?];
        let archives = self.archives(&sections)?;
        let mut boot = StubBoot::new(&sections);
        boot.profile = self.profile;
        boot.addons = &addons;
        boot.archives = &archives;
        boot.has_systemd_boot = has_systemd_boot;
        let registers = boot.registers(bank)?;
        let images = [loader, image, addon, parse(&kernel)?];
        let images = images.each_ref().map(|(pe, source)| (pe, source));
        let value = |pcr: &Pcr| pcr.value().to_string();
        Ok(vec![
            ("pcr 4", value(&boot_manager(bank, &images)?)),
            ("pcr 9", value(&registers.pcr9)),
            ("pcr 11", value(&sections.pcr11(bank, &[])?)),
            ("pcr 12", value(&registers.pcr12)),
            ("pcr 13", value(&registers.pcr13)),
        ])
    }

    fn archives(&self, sections: &UkiSections<'_>) -> Result<Vec<StubArchive>, UkifyError> {
        let mut archives = Vec::new();
        for wanted in ArchiveKind::OF_FILES {
            let files = self.companions.iter().filter(|(kind, ..)| *kind == wanted);
            let files: Vec<_> = files.map(|(_, name, content)| (*name, *content)).collect();
            archives.extend(StubArchive::of_files(wanted, &files)?);
        }
        archives.extend(StubArchive::of_sections(sections)?);
        Ok(archives)
    }
}
