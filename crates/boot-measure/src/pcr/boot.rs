//! Registers that firmware and Linux extend: 4 and 9.

use boot_core::{ReadError, SizedSource};
use fmt_pe::pe::PeFile;

use super::Pcr;
use crate::authenticode::{AuthenticodeError, authenticode_digest};
use crate::content::Content;
use crate::{HashAlgorithm, Hasher};

/// PCR 4 after the firmware's boot manager started the first boot option and these images were loaded one after the other: a boot
/// loader, a unified kernel image, the kernel in it.
///
/// The events are those of the TCG PC Client Platform Firmware Profile, section 3.3.4.5: `EV_EFI_ACTION` with "Calling EFI
/// Application from Boot Option", `EV_SEPARATOR`, and `EV_EFI_BOOT_SERVICES_APPLICATION` for each image. An option that failed before
/// changes the value.
///
/// # Errors
///
/// [`AuthenticodeError`] of an image.
pub fn boot_manager(
    bank: HashAlgorithm,
    images: &[(&PeFile<'_>, &SizedSource<'_>)],
) -> Result<Pcr, AuthenticodeError> {
    let mut pcr = Pcr::new(bank);
    pcr.measure(b"Calling EFI Application from Boot Option");
    pcr.measure(&[0; 4]);
    for (pe, source) in images {
        pcr.extend(&authenticode_digest(pe, source, bank)?);
    }
    Ok(pcr)
}

/// What Linux's EFI stub measures into PCR 9: the options that it was started with, then the initrd.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct LinuxStub<'a> {
    /// Command line, which is measured as UTF-16 with a NUL. `None`: the stub was started without options.
    pub cmdline: Option<&'a str>,
    /// Parts of the initrd in their order. More than one are joined: each is padded with zeros to a multiple of 4 bytes, as
    /// systemd-stub does. Empty: no initrd.
    pub initrds: &'a [Content<'a>],
}

impl<'a> LinuxStub<'a> {
    /// A kernel without options and initrd.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            cmdline: None,
            initrds: &[],
        }
    }

    /// The same with a command line.
    #[must_use]
    pub const fn with_cmdline(self, cmdline: &'a str) -> Self {
        Self {
            cmdline: Some(cmdline),
            ..self
        }
    }

    /// The same with an initrd of these parts.
    #[must_use]
    pub const fn with_initrds(self, initrds: &'a [Content<'a>]) -> Self {
        Self { initrds, ..self }
    }

    /// PCR 9 after the stub.
    ///
    /// # Errors
    ///
    /// The error of a source.
    pub fn pcr9(&self, bank: HashAlgorithm) -> Result<Pcr, ReadError> {
        let mut pcr = Pcr::new(bank);
        if let Some(cmdline) = self.cmdline {
            pcr.measure_utf16(cmdline);
        }
        match self.initrds {
            [] => {}
            [initrd] => pcr.measure_content(initrd)?,
            initrds => {
                let mut hasher = Hasher::new(bank);
                for initrd in initrds {
                    initrd.hash(&mut hasher)?;
                    let padding = initrd.len().wrapping_neg() & 3;
                    let zeros = [0; 3];
                    let padding = usize::try_from(padding).unwrap_or(0);
                    hasher.update(zeros.get(..padding).unwrap_or_default());
                }
                pcr.extend(&hasher.finish());
            }
        }
        Ok(pcr)
    }
}
