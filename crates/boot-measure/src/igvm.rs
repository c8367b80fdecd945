//! Plans as IGVM files (Independent Guest Virtual Machine file format, as the crate `igvm_defs` defines it): a VMM that loads such
//! files starts the boot without this workspace.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use boot_core::cpu::x86_64::State;
use boot_core::{Arch, BootPlan, PageKind, Sources};
use igvm::snp_defs::SevVmsa;
use igvm::{IgvmDirectiveHeader, IgvmFile, IgvmInitializationHeader, IgvmPlatformHeader, IgvmRevision};
use igvm_defs::{
    IGVM_VHS_SUPPORTED_PLATFORM, IgvmNativeVpContextX64, IgvmPageDataFlags, IgvmPageDataType,
    IgvmPlatformType,
};
use zerocopy::{FromZeros, IntoBytes};

use crate::MeasureError;
use crate::pages::{PageContent, Pages, for_each_page};
use crate::snp::{PlanLaunch, VMSA_GPA};

/// The only platform of the file, as a bit of the mask of each header.
const MASK: u32 = 1;

/// Most pages of a file: 4 GiB of memory.
const MAX_PAGES: u64 = 1 << 20;

/// `POLICY` of a guest of SEV-SNP that permits simultaneous multithreading, with the bit that must be set (SEV-SNP firmware ABI,
/// section 4.3).
pub const SNP_POLICY_SMT: u64 = 1 << 16 | 1 << 17;

/// The platform that the file is for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Platform {
    /// A guest without isolation.
    Native,
    /// A guest of SEV-SNP. Pages of zeros have the type `PAGE_TYPE_NORMAL`, whatever [`PlanLaunch::zero_pages`] is: the format has
    /// no other.
    Snp {
        /// The vCPUs.
        launch: Box<PlanLaunch>,
        /// `POLICY` of the guest, such as [`SNP_POLICY_SMT`].
        policy: u64,
    },
}

impl Platform {
    /// A guest of SEV-SNP with these vCPUs and this `POLICY`, such as [`SNP_POLICY_SMT`].
    #[must_use]
    pub fn snp(launch: PlanLaunch, policy: u64) -> Self {
        let launch = Box::new(launch);
        Self::Snp { launch, policy }
    }
}

/// Largest number of CPUs: their numbers have 16 bits.
const MAX_CPUS: usize = 1 << 16;

/// A save area is in one page.
const _: () = assert!(size_of::<SevVmsa>() <= 4096);

/// Why a plan cannot be exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The plan cannot be read, or the platform lacks what it has.
    #[error(transparent)]
    Plan(#[from] MeasureError),
    /// The format has no registers for the plan's architecture.
    #[error("IGVM files without isolation are for x86_64 only, but the plan is for {0}")]
    Arch(Arch),
    /// The plan writes more pages than a file may have.
    #[error("the plan writes more than {MAX_PAGES} pages, the limit for a file")]
    TooManyPages,
    /// More CPUs than the format numbers.
    #[error("there are {found} CPUs; a file has at most {MAX_CPUS}")]
    TooManyCpus {
        /// Number of CPUs.
        found: usize,
    },
    /// The registers of a CPU without isolation cannot be expressed.
    #[error("the {0} cannot be expressed: the format has one data segment, and segments below 4 GiB")]
    Segments(&'static str),
    /// The crate `igvm` refuses the file; its message.
    #[error("the IGVM file is not valid: {0}")]
    Invalid(String),
}

/// The bytes of an IGVM file with the pages of a plan, in the order of their addresses, and the registers of its CPUs.
///
/// The whole file is in memory. The state of CPUs without isolation has no `tr`, `ldtr`, `cr2` and `apic_base`: they are those of the
/// loader.
///
/// # Errors
///
/// [`ExportError`].
pub fn export(plan: &BootPlan, sources: &Sources<'_>, platform: &Platform) -> Result<Vec<u8>, ExportError> {
    let mut directives = Vec::new();
    let mut count = 0_u64;
    for_each_page(plan, sources, &mut |pages| {
        count = count.saturating_add(pages.count);
        if count <= MAX_PAGES {
            add_pages(pages, &mut directives)?;
        }
        Ok(())
    })?;
    if count > MAX_PAGES {
        return Err(ExportError::TooManyPages);
    }
    let (platform_type, version, policy) = match platform {
        Platform::Native => (IgvmPlatformType::NATIVE, 1, None),
        Platform::Snp { policy, .. } => (IgvmPlatformType::SEV_SNP, 1, Some(*policy)),
    };
    match platform {
        Platform::Native => add_native_cpus(plan, &mut directives)?,
        Platform::Snp { launch, .. } => add_snp_cpus(plan, launch, &mut directives)?,
    }
    let supported = IgvmPlatformHeader::SupportedPlatform(IGVM_VHS_SUPPORTED_PLATFORM {
        compatibility_mask: MASK,
        highest_vtl: 0,
        platform_type,
        platform_version: version,
        shared_gpa_boundary: 0,
    });
    let policy = policy.map(|policy| IgvmInitializationHeader::GuestPolicy {
        policy,
        compatibility_mask: MASK,
    });
    let revision = IgvmRevision::V2 {
        arch: igvm::Arch::X64,
        page_size: 4096,
    };
    let invalid = |error: igvm::Error| ExportError::Invalid(alloc::format!("{error}"));
    let policy = policy.into_iter().collect();
    let file = IgvmFile::new(revision, vec![supported], policy, directives).map_err(invalid)?;
    let mut bytes = Vec::new();
    file.serialize(&mut bytes).map_err(invalid)?;
    Ok(bytes)
}

fn add_pages(pages: &Pages<'_>, directives: &mut Vec<IgvmDirectiveHeader>) -> Result<(), MeasureError> {
    let flags = IgvmPageDataFlags::new();
    let (flags, data_type) = match pages.kind {
        PageKind::MEASURED => (flags, IgvmPageDataType::NORMAL),
        PageKind::UNMEASURED => (flags.with_unmeasured(true), IgvmPageDataType::NORMAL),
        PageKind::SHARED => (flags.with_shared(true), IgvmPageDataType::NORMAL),
        PageKind::SECRETS => (flags, IgvmPageDataType::SECRETS),
        PageKind::CPUID => (flags, IgvmPageDataType::CPUID_DATA),
        kind => {
            return Err(MeasureError::UnknownKind {
                label: pages.label.clone(),
                range: pages.range(),
                kind,
            });
        }
    };
    let data = match pages.content {
        PageContent::Data(bytes) => bytes.to_vec(),
        PageContent::Present if pages.kind == PageKind::MEASURED => {
            return Err(MeasureError::Present {
                label: pages.label.clone(),
                range: pages.range(),
            });
        }
        PageContent::Zeros | PageContent::Present => Vec::new(),
    };
    directives.extend(pages.addresses().map(|gpa| IgvmDirectiveHeader::PageData {
        gpa,
        compatibility_mask: MASK,
        flags,
        data_type,
        data: data.clone(),
    }));
    Ok(())
}

fn add_snp_cpus(
    plan: &BootPlan,
    launch: &PlanLaunch,
    directives: &mut Vec<IgvmDirectiveHeader>,
) -> Result<(), ExportError> {
    let vcpus = usize::try_from(launch.vcpus).unwrap_or(usize::MAX);
    for (vp_index, area) in numbers(vcpus)?.zip(launch.save_areas(plan)?) {
        // The structure is the start of the page; the rest is zero.
        let mut vmsa = SevVmsa::new_zeroed();
        let (to, from) = (vmsa.as_mut_bytes(), area.as_bytes());
        to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        directives.push(IgvmDirectiveHeader::SnpVpContext {
            gpa: VMSA_GPA,
            compatibility_mask: MASK,
            vp_index,
            vmsa: Box::new(vmsa),
        });
    }
    Ok(())
}

fn add_native_cpus(plan: &BootPlan, directives: &mut Vec<IgvmDirectiveHeader>) -> Result<(), ExportError> {
    for (vp_index, cpu) in numbers(plan.cpus().len())?.zip(plan.cpus()) {
        let state = cpu.x86_64().map_err(|error| ExportError::Arch(error.found))?;
        directives.push(IgvmDirectiveHeader::X64NativeVpContext {
            compatibility_mask: MASK,
            vp_index,
            context: Box::new(native_context(state)?),
        });
    }
    Ok(())
}

/// The numbers of CPUs.
fn numbers(cpus: usize) -> Result<impl Iterator<Item = u16>, ExportError> {
    if cpus > MAX_CPUS {
        return Err(ExportError::TooManyCpus { found: cpus });
    }
    Ok(0..=u16::MAX)
}

fn native_context(state: &State) -> Result<IgvmNativeVpContextX64, ExportError> {
    let base = |base, what| u32::try_from(base).or(Err(ExportError::Segments(what)));
    let (code, data) = (state.cs, state.ds);
    let mut gs = state.gs;
    // Its base has a field of its own.
    gs.base = data.base;
    if [state.es, state.fs, state.ss, gs]
        .iter()
        .any(|segment| *segment != data)
    {
        return Err(ExportError::Segments("data segments"));
    }
    let mut context = IgvmNativeVpContextX64::new_zeroed();
    context.rax = state.rax;
    context.rcx = state.rcx;
    context.rdx = state.rdx;
    context.rbx = state.rbx;
    context.rsp = state.rsp;
    context.rbp = state.rbp;
    context.rsi = state.rsi;
    context.rdi = state.rdi;
    context.r8 = state.r8;
    context.r9 = state.r9;
    context.r10 = state.r10;
    context.r11 = state.r11;
    context.r12 = state.r12;
    context.r13 = state.r13;
    context.r14 = state.r14;
    context.r15 = state.r15;
    context.rip = state.rip;
    context.rflags = state.rflags;
    context.idtr_base = state.idtr.base;
    context.idtr_limit = state.idtr.limit;
    context.gdtr_base = state.gdtr.base;
    context.gdtr_limit = state.gdtr.limit;
    context.code_selector = code.selector;
    context.code_attributes = code.rights.bits();
    context.code_base = base(code.base, "base of the code segment")?;
    context.code_limit = code.limit;
    context.data_selector = data.selector;
    context.data_attributes = data.rights.bits();
    context.data_base = base(data.base, "base of the data segments")?;
    context.data_limit = data.limit;
    context.gs_base = state.gs.base;
    context.cr0 = state.cr0;
    context.cr3 = state.cr3;
    context.cr4 = state.cr4;
    context.efer = state.efer;
    Ok(context)
}
