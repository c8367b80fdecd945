//! Launches with OVMF: of SEV-SNP, and of SEV and SEV-ES before it.

use boot_core::ReadError;

use super::{CpuSignature, KernelHashes, LaunchDigest, PageType, RESET_VECTOR, SevFeatures, Vmm, Vmsa};
use crate::ovmf::{Ovmf, Section, SectionKind};
use crate::pieces::{PAGE_LEN, PAGE_SIZE};
use crate::{Digest, HashAlgorithm, Hasher};

/// A launch with OVMF.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct FirmwareLaunch<'a> {
    /// The firmware.
    pub firmware: &'a Ovmf<'a>,
    /// Hashes of kernel, initrd and command line, if the VMM hands a kernel to the firmware.
    pub hashes: Option<KernelHashes>,
    /// Number of vCPUs.
    pub vcpus: u32,
    /// Signature of the vCPUs.
    pub signature: CpuSignature,
    /// `SEV_FEATURES` of each vCPU with SEV-SNP.
    pub features: SevFeatures,
    /// The VMM.
    pub vmm: Vmm,
}

/// Why a launch with firmware cannot be measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FirmwareLaunchError {
    /// The firmware cannot be read.
    #[error("the firmware cannot be read")]
    Read(#[from] ReadError),
    /// The firmware does not check hashes of a kernel.
    #[error(
        "the firmware has no place for hashes of a kernel; build OvmfPkg/AmdSev/AmdSevX64.dsc, or start the kernel from a disk"
    )]
    NoHashTable,
    /// The page of the table of hashes is not one page, or the table crosses its end.
    #[error("the table of hashes at {gpa:#x} is not inside one page")]
    HashTablePlace {
        /// Guest physical address of the table.
        gpa: u32,
    },
    /// The firmware does not state where other CPUs start.
    #[error("the firmware has no reset block, which more than one vCPU needs")]
    NoResetBlock,
}

impl<'a> FirmwareLaunch<'a> {
    /// A launch with QEMU, without a kernel and with SEV-SNP as the only feature.
    #[must_use]
    pub fn new(firmware: &'a Ovmf<'a>, vcpus: u32, signature: CpuSignature) -> Self {
        Self {
            firmware,
            hashes: None,
            vcpus,
            signature,
            features: SevFeatures::SNP_ACTIVE,
            vmm: Vmm::Qemu,
        }
    }

    /// The same with a kernel.
    #[must_use]
    pub fn with_hashes(self, hashes: KernelHashes) -> Self {
        Self {
            hashes: Some(hashes),
            ..self
        }
    }

    /// The same with these features.
    #[must_use]
    pub fn with_features(self, features: SevFeatures) -> Self {
        Self { features, ..self }
    }

    /// The same with another VMM.
    #[must_use]
    pub fn with_vmm(self, vmm: Vmm) -> Self {
        Self { vmm, ..self }
    }

    /// The launch digest of SEV-SNP: the firmware, the sections of its metadata, then the vCPUs.
    ///
    /// # Errors
    ///
    /// [`FirmwareLaunchError`].
    pub fn snp_digest(&self) -> Result<LaunchDigest, FirmwareLaunchError> {
        let mut digest = LaunchDigest::new();
        self.for_each_page(|gpa, page| digest.add_page(PageType::NORMAL, gpa, page))?;
        self.add_sections(&mut digest)?;
        let (boot, other) = self.save_areas(self.features)?;
        digest.add_vmsa(&boot, self.vcpus.min(1));
        digest.add_vmsa(&other, self.vcpus.saturating_sub(1));
        Ok(digest)
    }

    /// Calls `f` with the guest physical address and the bytes of each page of the firmware.
    fn for_each_page(&self, mut f: impl FnMut(u64, &[u8; PAGE_LEN])) -> Result<(), ReadError> {
        let mut page = [0; PAGE_LEN];
        let (source, gpa) = (self.firmware.source(), self.firmware.gpa());
        for index in 0..source.len() / PAGE_SIZE {
            let offset = index.saturating_mul(PAGE_SIZE);
            source.read_exact_at(offset, &mut page)?;
            f(gpa.saturating_add(offset), &page);
        }
        Ok(())
    }

    fn add_sections(&self, digest: &mut LaunchDigest) -> Result<(), FirmwareLaunchError> {
        let (mut has_hashes, sections) = (false, self.firmware.sections());
        for section in sections {
            let page_type = match (section.kind, self.vmm) {
                (SectionKind::SecMem, Vmm::Gce) => PageType::UNMEASURED,
                (SectionKind::SecMem | SectionKind::SvsmCaa, _) => PageType::ZERO,
                (SectionKind::Secrets, _) => PageType::SECRETS,
                // EC2 adds it after all other sections.
                (SectionKind::Cpuid, Vmm::Ec2) => continue,
                (SectionKind::Cpuid, _) => PageType::CPUID,
                (SectionKind::KernelHashes, _) => {
                    let Some(page) = self.hashes_page(section.size)? else {
                        add(digest, PageType::ZERO, section.pages());
                        continue;
                    };
                    has_hashes = true;
                    digest.add_page(PageType::NORMAL, section.gpa.into(), &page);
                    continue;
                }
            };
            add(digest, page_type, section.pages());
        }
        if self.vmm == Vmm::Ec2 {
            let is_cpuid = |section: &&Section| section.kind == SectionKind::Cpuid;
            for section in sections.iter().filter(is_cpuid) {
                add(digest, PageType::CPUID, section.pages());
            }
        }
        match self.hashes {
            Some(_) if !has_hashes => Err(FirmwareLaunchError::NoHashTable),
            _ => Ok(()),
        }
    }

    /// The page of a section of this size with the hashes, if there are any.
    fn hashes_page(&self, size: u32) -> Result<Option<[u8; PAGE_LEN]>, FirmwareLaunchError> {
        let Some(hashes) = &self.hashes else {
            return Ok(None);
        };
        let gpa = self
            .firmware
            .hash_table()
            .ok_or(FirmwareLaunchError::NoHashTable)?;
        let offset = usize::try_from(u64::from(gpa) % PAGE_SIZE).unwrap_or(PAGE_LEN);
        let page = hashes.page(offset).filter(|_| u64::from(size) == PAGE_SIZE);
        match page {
            Some(page) => Ok(Some(page)),
            None => Err(FirmwareLaunchError::HashTablePlace { gpa }),
        }
    }

    /// The save areas of the boot CPU and of the others.
    fn save_areas(&self, features: SevFeatures) -> Result<(Vmsa, Vmsa), FirmwareLaunchError> {
        let at = |eip| Vmsa::at_reset(eip, self.signature, features, self.vmm);
        let eip = match (self.firmware.reset_eip(), self.vcpus) {
            (Some(eip), _) => eip,
            (None, 0 | 1) => RESET_VECTOR,
            (None, _) => return Err(FirmwareLaunchError::NoResetBlock),
        };
        Ok((at(RESET_VECTOR), at(eip)))
    }

    /// The launch digest of SEV: the SHA-256 hash of the firmware and of the table of hashes.
    ///
    /// # Errors
    ///
    /// [`FirmwareLaunchError`].
    pub fn sev_digest(&self) -> Result<Digest, FirmwareLaunchError> {
        Ok(self.hash_firmware()?.finish())
    }

    /// The launch digest of SEV-ES: that of SEV with the save areas of the vCPUs behind it, which have no features.
    ///
    /// # Errors
    ///
    /// [`FirmwareLaunchError`].
    pub fn sev_es_digest(&self) -> Result<Digest, FirmwareLaunchError> {
        let mut hasher = self.hash_firmware()?;
        let (boot, other) = self.save_areas(SevFeatures(0))?;
        for index in 0..self.vcpus {
            hasher.update(if index == 0 {
                boot.as_bytes()
            } else {
                other.as_bytes()
            });
        }
        Ok(hasher.finish())
    }

    fn hash_firmware(&self) -> Result<Hasher, FirmwareLaunchError> {
        let mut hasher = Hasher::new(HashAlgorithm::Sha256);
        self.for_each_page(|_, page| hasher.update(page))?;
        if let Some(hashes) = &self.hashes {
            if self.firmware.hash_table().is_none() {
                return Err(FirmwareLaunchError::NoHashTable);
            }
            hasher.update(hashes.as_bytes());
        }
        Ok(hasher)
    }
}

/// Adds pages without content.
fn add(digest: &mut LaunchDigest, page_type: PageType, pages: impl Iterator<Item = u64>) {
    for gpa in pages {
        digest.add_without_content(page_type, gpa);
    }
}
