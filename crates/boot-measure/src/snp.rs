//! Launch digests of AMD SEV-SNP.
//!
//! Sections are those of the SEV Secure Nested Paging Firmware ABI Specification (AMD publication 56860) unless another
//! document is given.

mod firmware;
mod hashes;
mod launch;
mod vcpu;
mod vmsa;

pub use firmware::{FirmwareLaunch, FirmwareLaunchError};
pub use hashes::KernelHashes;
pub use launch::{LaunchDigest, PageType};
pub use vcpu::{CpuSignature, QEMU_CPU_TYPES};
pub use vmsa::{RESET_VECTOR, SevFeatures, VMSA_GPA, Vmm, Vmsa};

use alloc::vec::Vec;

use boot_core::cpu::x86_64::State;
use boot_core::{Arch, BootPlan, PageKind, Sources};

use crate::MeasureError;
use crate::pages::{PageContent, Pages, for_each_page};

/// Page type of pages in which a plan writes zeros only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ZeroPages {
    /// `PAGE_TYPE_ZERO`: the security processor clears them, and the VMM copies nothing.
    #[default]
    Zero,
    /// `PAGE_TYPE_NORMAL` with zeros, from a VMM that imports every page in the same way.
    Normal,
}

/// What a launch has besides the plan.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct PlanLaunch {
    /// Number of vCPUs: each has a VMSA. At least the number of CPUs that the plan starts.
    pub vcpus: u32,
    /// `SEV_FEATURES` of each vCPU.
    pub features: SevFeatures,
    /// The VMM, which sets a few registers.
    pub vmm: Vmm,
    /// State of the vCPUs that the plan does not start. They wait for the guest, which gives them a VMSA of its own
    /// (GHCB, "SNP AP Creation").
    pub other_cpus: State,
    /// Page type of zeros.
    pub zero_pages: ZeroPages,
}

impl PlanLaunch {
    /// A launch with `vcpus` vCPUs on QEMU or another VMM that keeps KVM's registers, with SEV-SNP as the only feature and with
    /// the other CPUs at the reset vector with this signature in `rdx`.
    #[must_use]
    pub fn new(vcpus: u32, signature: CpuSignature) -> Self {
        Self {
            vcpus,
            features: SevFeatures::SNP_ACTIVE,
            vmm: Vmm::Qemu,
            other_cpus: vmsa::reset_state(RESET_VECTOR, signature),
            zero_pages: ZeroPages::Zero,
        }
    }

    /// The same with these features.
    #[must_use]
    pub fn with_features(self, features: SevFeatures) -> Self {
        Self { features, ..self }
    }

    /// The save areas of all vCPUs: of those that the plan starts, then of the others.
    pub(crate) fn save_areas(&self, plan: &BootPlan) -> Result<impl Iterator<Item = Vmsa>, MeasureError> {
        let found = plan.cpus().len();
        let others = u32::try_from(found)
            .ok()
            .and_then(|started| self.vcpus.checked_sub(started));
        let others = others.and_then(|others| usize::try_from(others).ok());
        let Some(others) = others else {
            return Err(MeasureError::CpuCount {
                expected: self.vcpus,
                found,
            });
        };
        let mut started = Vec::new();
        for cpu in plan.cpus() {
            let state = cpu.x86_64().map_err(|error| MeasureError::Arch {
                expected: Arch::X86_64,
                found: error.found,
            })?;
            started.push(Vmsa::new(state, self.features, self.vmm));
        }
        let other = Vmsa::new(&self.other_cpus, self.features, self.vmm);
        Ok(started.into_iter().chain(core::iter::repeat_n(other, others)))
    }

    /// The same with this page type of zeros.
    #[must_use]
    pub fn with_zero_pages(self, zero_pages: ZeroPages) -> Self {
        Self { zero_pages, ..self }
    }
}

/// The launch digest of a guest into which a VMM imports the pages of a plan directly, without firmware: its pages in the order
/// of their addresses, then the VMSA of each vCPU.
///
/// Bytes of a page that no load writes are zero. Pages of the kind [`PageKind::SHARED`] are not part of the launch.
///
/// # Errors
///
/// [`MeasureError`] where the plan is not for x86_64 or has more CPUs than the launch, a page has loads of two kinds, a measured
/// page keeps what the memory contains, or a file cannot be read.
pub fn plan_launch_digest(
    plan: &BootPlan,
    sources: &Sources<'_>,
    launch: &PlanLaunch,
) -> Result<LaunchDigest, MeasureError> {
    let save_areas = launch.save_areas(plan)?;
    let mut digest = LaunchDigest::new();
    for_each_page(plan, sources, &mut |pages| {
        add_pages(&mut digest, pages, launch.zero_pages)
    })?;
    for vmsa in save_areas {
        digest.add_vmsa(&vmsa, 1);
    }
    Ok(digest)
}

fn add_pages(
    digest: &mut LaunchDigest,
    pages: &Pages<'_>,
    zero_pages: ZeroPages,
) -> Result<(), MeasureError> {
    let page_type = match pages.kind {
        PageKind::MEASURED => {
            return add_measured(digest, pages, zero_pages);
        }
        PageKind::UNMEASURED => PageType::UNMEASURED,
        PageKind::SECRETS => PageType::SECRETS,
        PageKind::CPUID => PageType::CPUID,
        PageKind::SHARED => return Ok(()),
        kind => {
            return Err(MeasureError::UnknownKind {
                label: pages.label.clone(),
                range: pages.range(),
                kind,
            });
        }
    };
    pages
        .addresses()
        .for_each(|gpa| digest.add_without_content(page_type, gpa));
    Ok(())
}

fn add_measured(
    digest: &mut LaunchDigest,
    pages: &Pages<'_>,
    zero_pages: ZeroPages,
) -> Result<(), MeasureError> {
    match (pages.content, zero_pages) {
        (PageContent::Data(bytes), _) => digest.add_page(PageType::NORMAL, pages.start, bytes),
        (PageContent::Zeros, ZeroPages::Zero) => {
            let mut addresses = pages.addresses();
            addresses
                .by_ref()
                .for_each(|gpa| digest.add_without_content(PageType::ZERO, gpa));
        }
        (PageContent::Zeros, ZeroPages::Normal) => digest.add_same_pages(pages.addresses(), &[0; 4096]),
        (PageContent::Present, _) => {
            return Err(MeasureError::Present {
                label: pages.label.clone(),
                range: pages.range(),
            });
        }
    }
    Ok(())
}
