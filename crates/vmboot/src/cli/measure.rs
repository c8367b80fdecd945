//! `vmboot measure`.

mod pcrs;

use std::error::Error;
use std::fs;
use std::io;
use std::num::ParseIntError;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use boot_measure::igvm::{Platform, SNP_POLICY_SMT, export};
use boot_measure::ovmf::Ovmf;
use boot_measure::snp::{
    CpuSignature, FirmwareLaunch, KernelHashes, PlanLaunch, QEMU_CPU_TYPES, SevFeatures, Vmm, ZeroPages,
    plan_launch_digest,
};
use boot_measure::tdx::plan_mrtd;
use boot_measure::{Content, HashAlgorithm, plan_digest};
use clap::ValueEnum;
use vmboot::report::{MeasureReport, SnpReport};

use super::advised::{AdvisedError, UsageError};
use super::boot::{Boot, BootArgs};
use super::file::{self, FileError};
use super::machine::MachineArgs;
use super::output;
use super::result::CommandResult;

/// Options of `vmboot measure`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    boot: BootArgs,
    /// Hash algorithm of the digest of the plan, or bank of the TPM.
    #[arg(long, value_name = "NAME", default_value = "sha256")]
    hash: Hash,
    /// Print the launch digest of an AMD SEV-SNP guest into which a VMM imports the pages of the plan directly.
    #[arg(long)]
    snp: bool,
    /// Print the build-time measurement (MRTD) of an Intel TDX guest to which a VMM adds the pages of the plan. Registers are not part of it.
    #[arg(long, conflicts_with_all = ["snp", "pcrs", "ovmf"])]
    tdx: bool,
    /// CPU type of QEMU, such as EPYC-Milan, or a signature as CPUID has it, such as 0xa00f11: the CPUs that the plan does not start
    /// have it in a register. Needed with --ovmf, and with more than one of --vcpus.
    #[arg(long, value_name = "TYPE", value_parser = vcpu_type, requires = "snp")]
    vcpu_type: Option<CpuSignature>,
    /// Write the plan to an IGVM file, for a guest of SEV-SNP with --snp, else for one without isolation (x86_64). An existing file is
    /// overwritten. In the file, pages of zeros are --zero-pages normal, and the policy of a guest of SEV-SNP is 0x30000.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["pcrs", "ovmf"])]
    igvm: Option<PathBuf>,
    /// Print the launch digest of a guest whose VMM starts this OVMF image, and hands it hashes of KERNEL, --initrd and --cmdline
    /// (QEMU: kernel-hashes=on). Nothing is planned.
    #[arg(long, value_name = "FILE", requires = "snp", conflicts_with_all = ["zero_pages", "fast"])]
    ovmf: Option<PathBuf>,
    /// VMM of a launch with --ovmf.
    #[arg(long, value_name = "NAME", default_value = "qemu", requires = "ovmf")]
    vmm: VmmName,
    /// SEV_FEATURES of each vCPU.
    #[arg(long, value_name = "BITS", default_value = "0x1", value_parser = guest_features, requires = "snp")]
    guest_features: SevFeatures,
    /// Page type with which the VMM imports pages of zeros.
    #[arg(long, value_name = "TYPE", default_value = "zero", requires = "snp")]
    zero_pages: ZeroPageType,
    #[command(flatten)]
    pcrs: pcrs::PcrArgs,
    /// Print JSON, as described in SCHEMA.md of the vmboot package.
    #[arg(long)]
    json: bool,
}

/// Value of `--hash`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl From<Hash> for HashAlgorithm {
    fn from(hash: Hash) -> Self {
        match hash {
            Hash::Sha256 => Self::Sha256,
            Hash::Sha384 => Self::Sha384,
            Hash::Sha512 => Self::Sha512,
        }
    }
}

/// Value of `--zero-pages`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ZeroPageType {
    /// PAGE_TYPE_ZERO.
    Zero,
    /// PAGE_TYPE_NORMAL.
    Normal,
}

/// Value of `--vmm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum VmmName {
    /// QEMU, and others that keep KVM's registers.
    Qemu,
    /// Amazon EC2.
    Ec2,
    /// Google Compute Engine.
    Gce,
}

/// Error in the options of `vmboot measure`.
#[derive(Debug, thiserror::Error)]
enum MeasureOptionError {
    #[error("not a CPU type; use a signature such as 0xa00f11, or one of {}", cpu_types())]
    CpuType,
    #[error("not a set of features; use a hexadecimal number such as 0x1")]
    Features(#[source] ParseIntError),
    #[error(
        "the digest of a launch with firmware or more than one vCPU depends on the CPU type; add --vcpu-type TYPE, such as EPYC-Milan"
    )]
    NoCpuType,
}

fn cpu_types() -> String {
    QEMU_CPU_TYPES.map(|(name, _)| name).join(", ")
}

fn vcpu_type(text: &str) -> Result<CpuSignature, MeasureOptionError> {
    let signature = || {
        u32::from_str_radix(text.strip_prefix("0x")?, 16)
            .ok()
            .map(CpuSignature)
    };
    CpuSignature::of_qemu_type(text)
        .or_else(signature)
        .ok_or(MeasureOptionError::CpuType)
}

fn guest_features(text: &str) -> Result<SevFeatures, MeasureOptionError> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    u64::from_str_radix(digits, 16)
        .map(SevFeatures)
        .map_err(MeasureOptionError::Features)
}

pub(crate) fn run(args: &Args) -> CommandResult {
    if args.pcrs.is_wanted() {
        let report = args.pcrs.predict(&args.boot, args.hash.into())?;
        output::print(&report, &report.to_string(), args.json)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(ovmf) = &args.ovmf {
        let report = args.firmware_launch(ovmf)?;
        output::print(&report, &report.to_string(), args.json)?;
        return Ok(ExitCode::SUCCESS);
    }
    let launch = args.snp.then(|| args.launch()).transpose()?;
    let boot = args.boot.plan(None, MachineArgs::reference)?;
    if let Some(note) = boot.cmdline.note() {
        eprintln!("note: {note}");
    }
    let Boot { plan, .. } = &boot;
    let digest = boot.with_sources(|sources| plan_digest(plan, sources, args.hash.into()))?;
    let mut report = MeasureReport::new(&digest);
    if let Some(launch) = &launch {
        let digest = boot.with_sources(|sources| plan_launch_digest(plan, sources, launch))?;
        report.snp = Some(SnpReport::new(launch.vcpus, launch.features, &digest));
    }
    if args.tdx {
        let digest = boot.with_sources(|sources| plan_mrtd(plan, sources))?;
        report.mrtd = Some(digest.to_string());
    }
    if let Some(path) = &args.igvm {
        let platform = launch.map_or(Platform::Native, |launch| Platform::snp(launch, SNP_POLICY_SMT));
        let bytes = boot.with_sources(|sources| export(plan, sources, &platform))?;
        fs::write(path, bytes).map_err(|source| {
            let path = path.clone();
            AdvisedError::new(
                IgvmWriteError { path, source },
                "name a file in a directory that exists and can be written",
            )
        })?;
    }
    output::print(&report, &report.to_string(), args.json)?;
    Ok(ExitCode::SUCCESS)
}

/// The IGVM file cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}", path.display())]
struct IgvmWriteError {
    path: PathBuf,
    source: io::Error,
}

impl Args {
    /// The launch digest with firmware.
    fn firmware_launch(&self, path: &Path) -> Result<MeasureReport, Box<dyn Error>> {
        self.boot.uki.check_no_uki()?;
        let cmdline = self.boot.given_cmdline();
        let no_type = || UsageError(MeasureOptionError::NoCpuType.into());
        let signature = self.vcpu_type.ok_or_else(no_type)?;
        let firmware = file::open(path)?;
        let ovmf = Ovmf::parse(&firmware).map_err(FileError::with_path(path))?;
        let kernel = file::open(self.boot.kernel())?;
        let initrds = self.boot.given_initrds()?;
        let initrd = initrds
            .as_ref()
            .map(|initrds| Content::file(initrds))
            .transpose()?;
        let cmdline = cmdline.unwrap_or_default().as_bytes();
        let hashes = KernelHashes::new(&Content::file(&kernel)?, initrd.as_ref(), cmdline)?;
        let vcpus = self.boot.machine.vcpus.get();
        let vmm = match self.vmm {
            VmmName::Qemu => Vmm::Qemu,
            VmmName::Ec2 => Vmm::Ec2,
            VmmName::Gce => Vmm::Gce,
        };
        let launch = FirmwareLaunch::new(&ovmf, vcpus, signature)
            .with_hashes(hashes)
            .with_features(self.guest_features)
            .with_vmm(vmm);
        let digest = launch.snp_digest().map_err(FileError::with_path(path))?;
        let report = SnpReport::new(vcpus, self.guest_features, &digest);
        Ok(MeasureReport::of_snp(report))
    }

    fn launch(&self) -> Result<PlanLaunch, UsageError> {
        let vcpus = self.boot.machine.vcpus.get();
        // One vCPU is the one that the plan starts, with the registers of the plan.
        let signature = match self.vcpu_type {
            None if vcpus == 1 => CpuSignature::new(0, 0, 0),
            None => return Err(UsageError(MeasureOptionError::NoCpuType.into())),
            Some(signature) => signature,
        };
        let zero_pages = match self.zero_pages {
            ZeroPageType::Zero => ZeroPages::Zero,
            ZeroPageType::Normal => ZeroPages::Normal,
        };
        Ok(PlanLaunch::new(vcpus, signature)
            .with_features(self.guest_features)
            .with_zero_pages(zero_pages))
    }
}
