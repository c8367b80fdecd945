//! `vmboot measure --pcrs`: TPM registers of a boot by UEFI.

use std::error::Error;
use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};

use boot_core::{ByteSource, SizedSource};
use boot_measure::pcr::{
    Addon, ArchiveKind, BOOT_PHASES, LinuxStub, StubArchive, StubBoot, UkiSections, UkiSectionsError,
    boot_manager, is_systemd_boot,
};
use boot_measure::{Content, HashAlgorithm};
use fmt_pe::pe::PeFile;
use vmboot::report::{MeasureReport, PcrReport};

use super::super::advised::UsageError;
use super::super::boot::BootArgs;
use super::super::file::{self, FileError};

/// Options of `vmboot measure --pcrs`.
#[derive(Debug, clap::Args)]
pub(super) struct PcrArgs {
    /// Predict the TPM registers 4, 9, 11 and 12 of a boot by UEFI of KERNEL, a unified kernel image or a kernel with an EFI stub,
    /// in place of the digest of a plan. --cmdline and --initrd are what a boot loader passes to it.
    #[arg(long, conflicts_with_all = ["snp", "fast"])]
    pcrs: bool,
    /// EFI program that starts KERNEL, such as a boot loader; can be repeated, in the order of their start.
    #[arg(long, value_name = "FILE", requires = "pcrs")]
    boot_loader: Vec<PathBuf>,
    /// File of the directory `.extra.d` of a unified kernel image: a credential (*.cred), a system extension (*.raw), or a configuration extension
    /// (*.confext.raw); can be repeated. Addons are --addon.
    #[arg(long, value_name = "FILE", requires = "pcrs")]
    companion: Vec<PathBuf>,
    /// Credential of /loader/credentials, which all images get; can be repeated.
    #[arg(long, value_name = "FILE", requires = "pcrs")]
    global_credential: Vec<PathBuf>,
    /// Number of the .dtbauto section that applies to the machine, from 0 [default: none applies].
    #[arg(long, value_name = "N", requires = "pcrs")]
    dtbauto: Option<usize>,
    /// Leave the kernel in a unified kernel image out of register 4, for versions of systemd-stub that start it without the
    /// firmware.
    #[arg(long, requires = "pcrs")]
    no_inner_image: bool,
}

/// Error in the files or options.
#[derive(Debug, thiserror::Error)]
enum PcrError {
    #[error(
        "not an EFI program; use a PE file, such as a unified kernel image, an Image or a bzImage with an EFI stub"
    )]
    NotPe,
    #[error(
        "the section .linux is not an EFI program, so systemd-stub cannot start it; use another image, or --no-inner-image"
    )]
    InnerNotPe,
    #[error("the command line is not UTF-8; use characters that EFI can represent")]
    Cmdline,
    #[error("{0} is for unified kernel images, and the kernel is none; omit it")]
    NotUki(&'static str),
    #[error("{0} is no companion file by its name; use one that ends with .cred, .raw or .confext.raw")]
    NotCompanion(String),
}

/// Longest companion file.
const COMPANION_MAX: usize = 1 << 30;

/// The kind of a companion file by its name.
fn companion_kind(path: &Path) -> Result<ArchiveKind, UsageError> {
    let name = path.to_string_lossy();
    if name.ends_with(".cred") {
        Ok(ArchiveKind::Credentials)
    } else if name.ends_with(".confext.raw") {
        Ok(ArchiveKind::ConfigurationExtensions)
    } else if name.ends_with(".raw") {
        Ok(ArchiveKind::SystemExtensions)
    } else {
        Err(UsageError(PcrError::NotCompanion(name.into_owned()).into()))
    }
}

/// The archive of these files.
fn archive(kind: ArchiveKind, paths: &[&PathBuf]) -> Result<Option<StubArchive>, Box<dyn Error>> {
    let mut files = Vec::new();
    for path in paths {
        let name = path.file_name().unwrap_or_default();
        files.push((name.to_string_lossy(), file::read(path, COMPANION_MAX)?));
    }
    let files: Vec<_> = files
        .iter()
        .map(|(name, content)| (&**name, &**content))
        .collect();
    Ok(StubArchive::of_files(kind, &files)?)
}

/// An EFI program.
struct Program {
    path: PathBuf,
    file: File,
}

impl Program {
    fn open(path: &Path) -> Result<Self, FileError> {
        let file = file::open(path)?;
        let path = path.to_owned();
        Ok(Self { path, file })
    }

    fn parse(&self) -> Result<(PeFile<'_>, SizedSource<'_>), FileError> {
        parse(&self.file, &self.path)
    }
}

/// Parses a PE file; errors have the path.
fn parse<'a>(source: &'a dyn ByteSource, path: &Path) -> Result<(PeFile<'a>, SizedSource<'a>), FileError> {
    let sized = SizedSource::new(source).map_err(FileError::with_path(path))?;
    let pe = PeFile::parse(sized).map_err(FileError::with_path(path))?;
    let pe = pe.ok_or(PcrError::NotPe).map_err(FileError::with_path(path))?;
    Ok((pe, sized))
}

impl PcrArgs {
    pub(super) fn is_wanted(&self) -> bool {
        self.pcrs
    }

    /// The registers of a boot of the kernel.
    pub(super) fn predict(
        &self,
        boot: &BootArgs,
        bank: HashAlgorithm,
    ) -> Result<MeasureReport, Box<dyn Error>> {
        let cmdline = boot.given_cmdline();
        let not_text = || UsageError(PcrError::Cmdline.into());
        let cmdline = cmdline
            .map(|line| OsStr::to_str(line).ok_or_else(not_text))
            .transpose()?;
        let initrds = boot.given_initrds()?;
        let passed = initrds
            .as_ref()
            .map(|initrds| Content::file(initrds))
            .transpose()?;
        let profile = boot.uki.profile_number()?;

        let loaders: Vec<Program> = self
            .boot_loader
            .iter()
            .map(|path| Program::open(path))
            .collect::<Result<_, _>>()?;
        let kernel = Program::open(boot.kernel())?;
        let (pe, source) = kernel.parse()?;
        let mut images = loaders
            .iter()
            .map(Program::parse)
            .collect::<Result<Vec<_>, _>>()?;
        let has_systemd_boot = match images.last() {
            Some((pe, source)) => is_systemd_boot(pe, source)?,
            None => false,
        };
        images.push((pe, source));
        let (pe, source) = (images.last(), &kernel.file);
        let sections = pe.map(|(pe, _)| UkiSections::of_image(pe, source, profile, self.dtbauto));
        let sections = match sections {
            Some(Ok(sections)) => sections,
            Some(Err(UkiSectionsError::NoKernel)) | None => {
                self.check_no_uki()?;
                boot.uki.check_no_uki()?;
                let mut stub = LinuxStub::new();
                stub.cmdline = cmdline;
                let initrds: Vec<_> = passed.into_iter().collect();
                let pcrs = vec![
                    pcr4(&images, &kernel.path, bank)?,
                    PcrReport::new(9, &stub.with_initrds(&initrds).pcr9(bank)?, None),
                ];
                return Ok(MeasureReport::of_pcrs(pcrs));
            }
            Some(Err(error)) => return Err(FileError::with_path(&kernel.path)(error).into()),
        };
        if initrds.is_some() {
            return Err(UsageError(Box::new(InitrdError)).into());
        }

        let programs: Vec<Program> = boot
            .uki
            .addons
            .iter()
            .map(|path| Program::open(path))
            .collect::<Result<_, _>>()?;
        let mut addons = Vec::new();
        for program in &programs {
            let (pe, source) = program.parse()?;
            let addon = Addon::of_image(&pe, &program.file);
            addons.push(addon.map_err(FileError::with_path(&program.path))?);
            // The stub loads addons as images.
            images.push((pe, source));
        }
        let inner = sections.get(".linux").copied();
        let inner = inner.filter(|_| !self.no_inner_image);
        if let Some(inner) = &inner {
            let sized = SizedSource::new(inner)?;
            let parsed = PeFile::parse(sized).map_err(FileError::with_path(&kernel.path))?;
            let not_pe = || FileError::with_path(&kernel.path)(PcrError::InnerNotPe);
            images.push((parsed.ok_or_else(not_pe)?, sized));
        }
        let pcr4 = pcr4(&images, &kernel.path, bank)?;
        let mut pcrs = vec![pcr4];
        let archives = self.archives(&sections)?;
        let mut stub = StubBoot::new(&sections);
        stub.addons = &addons;
        stub.archives = &archives;
        stub.profile = profile;
        stub.cmdline = cmdline;
        stub.has_systemd_boot = has_systemd_boot;
        pcrs.extend(stub_pcrs(&stub, bank)?);
        Ok(MeasureReport::of_pcrs(pcrs))
    }

    /// The archives that the stub makes for the initrd.
    fn archives(&self, sections: &UkiSections<'_>) -> Result<Vec<StubArchive>, Box<dyn Error>> {
        let mut kinds = Vec::new();
        for path in &self.companion {
            kinds.push((companion_kind(path)?, path));
        }
        let global = self.global_credential.iter();
        kinds.extend(global.map(|path| (ArchiveKind::GlobalCredentials, path)));
        let mut archives = Vec::new();
        for wanted in ArchiveKind::OF_FILES {
            let paths = kinds.iter().filter(|(kind, _)| *kind == wanted);
            let paths: Vec<_> = paths.map(|(_, path)| *path).collect();
            archives.extend(archive(wanted, &paths)?);
        }
        archives.extend(StubArchive::of_sections(sections)?);
        Ok(archives)
    }

    /// Refuses options of unified kernel images.
    fn check_no_uki(&self) -> Result<(), UsageError> {
        let refuse = |option| Err(UsageError(PcrError::NotUki(option).into()));
        match self {
            Self { dtbauto: Some(_), .. } => refuse("--dtbauto"),
            Self {
                no_inner_image: true, ..
            } => refuse("--no-inner-image"),
            Self { companion, .. } if !companion.is_empty() => refuse("--companion"),
            Self {
                global_credential, ..
            } if !global_credential.is_empty() => refuse("--global-credential"),
            _ => Ok(()),
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("a unified kernel image has an initrd of its own; omit --initrd")]
struct InitrdError;

fn pcr4(
    images: &[(PeFile<'_>, SizedSource<'_>)],
    kernel: &Path,
    bank: HashAlgorithm,
) -> Result<PcrReport, FileError> {
    let images: Vec<_> = images.iter().map(|(pe, source)| (pe, source)).collect();
    let pcr = boot_manager(bank, &images).map_err(FileError::with_path(kernel))?;
    Ok(PcrReport::new(4, &pcr, None))
}

/// The registers that systemd-stub, the kernel that it starts and systemd extend.
fn stub_pcrs(boot: &StubBoot<'_>, bank: HashAlgorithm) -> Result<Vec<PcrReport>, Box<dyn Error>> {
    let registers = boot.registers(bank)?;
    let mut pcrs = vec![PcrReport::new(9, &registers.pcr9, None)];
    for count in 0..=BOOT_PHASES.len() {
        let phases = BOOT_PHASES.get(..count).unwrap_or_default();
        let pcr = boot.sections.pcr11(bank, phases)?;
        pcrs.push(PcrReport::new(11, &pcr, phases.last().copied()));
    }
    pcrs.push(PcrReport::new(12, &registers.pcr12, None));
    if boot.archives.iter().any(|archive| archive.kind.pcr() == Some(13)) {
        pcrs.push(PcrReport::new(13, &registers.pcr13, None));
    }
    Ok(pcrs)
}
