//! Boot options of `plan` and `run`: files, machine and plan.

use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::num::NonZeroU64;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use boot_core::{
    Arch, BootPlan, BootProtocol, BootRequest, ByteSource, Cmdline, CmdlineError, EntryAbi, KernelImage,
    Machine, Module, RawCmdline, Sources, SupportLevel, protocol,
};

use super::advice::placement_advice;
use super::file::{self, FileError, OpenError};
use super::machine::MachineArgs;
use super::protocols::ProtocolChoice;
use super::seeds::Seeds;

/// Boot options of `plan` and `run`.
#[derive(Debug, clap::Args)]
pub(crate) struct BootArgs {
    /// Kernel image.
    kernel: PathBuf,
    /// Boot protocol, by its name in `vmboot inspect` [default: the most suitable for the image].
    #[arg(long, value_name = "NAME")]
    protocol: Option<String>,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
    /// Kernel command line. It follows the rules of Linux for the protocol `linux` and for `Image` files; others get it
    /// unchanged.
    #[arg(long, value_name = "LINE", default_value = "", allow_hyphen_values = true)]
    cmdline: OsString,
    /// Pass the command line to every guest unchanged, also if Linux may misread it.
    #[arg(long)]
    raw_cmdline: bool,
    /// Initrd.
    #[arg(long, value_name = "FILE")]
    initrd: Option<PathBuf>,
    /// Boot module, and its command line after the first comma; can be repeated (pvh, multiboot, multiboot2).
    #[arg(long = "module", value_name = "FILE[,LINE]")]
    modules: Vec<OsString>,
    /// Device tree blob of the machine, updated for this boot (arm64, riscv64) [default: created for the machine].
    #[arg(long, value_name = "FILE")]
    dtb: Option<PathBuf>,
}

/// Maximum size of a device tree in bytes (arm64 booting.rst).
const DTB_MAX: u64 = 2 << 20;

/// Error in the boot options.
#[derive(Debug, thiserror::Error)]
enum BootError {
    #[error("unknown protocol `{name}`; known protocols: {known}")]
    UnknownProtocol { name: String, known: String },
    #[error("the command line does not follow the rules of Linux; --raw-cmdline passes it unchanged")]
    Cmdline(#[from] CmdlineError),
}

/// A planned boot with its open files.
pub(crate) struct Boot {
    pub(crate) plan: BootPlan,
    pub(crate) machine: Machine,
    pub(crate) protocols: ProtocolChoice,
    /// Whether the kernel is Linux, by its entry or by marks in the image.
    pub(crate) is_linux: bool,
    kernel: File,
    initrd: Option<File>,
    modules: Vec<File>,
}

impl BootArgs {
    /// Path of the kernel image.
    pub(crate) fn kernel(&self) -> &Path {
        &self.kernel
    }

    /// Opens the files, detects the format of the kernel and plans the boot on the machine that `machine` returns for the
    /// options and an architecture. With `seeds`, the kernel gets those that the protocol can hand over.
    pub(crate) fn plan(
        &self,
        seeds: Option<&Seeds>,
        machine: impl Fn(&MachineArgs, Arch) -> Result<Machine, Box<dyn Error>>,
    ) -> Result<Boot, Box<dyn Error>> {
        let kernel = file::open(&self.kernel)?;
        let image =
            boot_core::detect(&vmboot::formats()?, &kernel).map_err(FileError::with_path(&self.kernel))?;
        let machine_of = |options: &MachineArgs| machine(options, image.arch());
        let machine = machine_of(&self.machine)?;
        let protocol = self.protocol(&image)?;
        let cmdline = self.cmdline(is_linux(protocol, &image))?;
        let initrd = self.initrd.as_deref().map(file::open).transpose()?;
        let initrd_len = self.initrd.as_deref().zip(initrd.as_ref()).map(len).transpose()?;
        let (modules, files) = self.modules()?;
        let device_tree = self.dtb.as_deref().map(read_dtb).transpose()?;
        let mut request = BootRequest::new(&image, &machine, &cmdline).with_modules(&modules);
        request.initrd_len = initrd_len.and_then(NonZeroU64::new);
        request.device_tree = device_tree.as_deref();
        if let Some(seeds) = seeds {
            request = seeds.add_to(request, protocol);
        }
        let plan = match protocol.plan(&request) {
            Ok(plan) => plan,
            Err(error) => {
                print_warnings(&image);
                let fits = |options: &MachineArgs| {
                    machine_of(options).is_ok_and(|machine| {
                        let mut other = request;
                        other.machine = &machine;
                        protocol.plan(&other).is_ok()
                    })
                };
                let advice = placement_advice(&error, &self.machine, fits);
                let error = FileError::with_path(&self.kernel)(error);
                return Err(match advice {
                    Some(advice) => advice.with_error(&error).into(),
                    None => error.into(),
                });
            }
        };
        Ok(Boot {
            plan,
            machine,
            protocols: ProtocolChoice::new(protocol, &vmboot::protocols()?, &image),
            is_linux: is_linux(protocol, &image) || has_marks_of_linux(&image),
            kernel,
            initrd,
            modules: files,
        })
    }

    /// The command line, checked if the guest is Linux. Words of a checked line are separated by one space.
    fn cmdline(&self, is_linux: bool) -> Result<RawCmdline, Box<dyn Error>> {
        let line = self.cmdline.as_bytes();
        if !self.raw_cmdline {
            match Cmdline::from_bytes(line) {
                Ok(cmdline) if is_linux => return Ok(cmdline.into()),
                Ok(_) => {}
                Err(error) if is_linux => return Err(BootError::Cmdline(error).into()),
                Err(error) => {
                    eprintln!(
                        "vmboot: warning: if the guest is Linux, it may misread the command line: {error}"
                    );
                }
            }
        }
        Ok(RawCmdline::from_bytes(line)?)
    }

    fn modules(&self) -> Result<(Vec<Module>, Vec<File>), Box<dyn Error>> {
        let mut modules = Vec::new();
        let mut files = Vec::new();
        for argument in &self.modules {
            let (path, line) = split_at_comma(argument.as_bytes());
            let path = Path::new(OsStr::from_bytes(path));
            let file = file::open(path)?;
            modules.push(Module::new(len((path, &file))?).with_cmdline(RawCmdline::from_bytes(line)?));
            files.push(file);
        }
        Ok((modules, files))
    }

    fn protocol(&self, image: &KernelImage) -> Result<&'static dyn BootProtocol, Box<dyn Error>> {
        let protocols = vmboot::protocols()?;
        let Some(name) = &self.protocol else {
            return Ok(protocol::select(&protocols, image)?);
        };
        protocols
            .iter()
            .copied()
            .find(|protocol| protocol.name() == name)
            .ok_or_else(|| {
                let known: Vec<_> = protocols.iter().map(|protocol| protocol.name()).collect();
                BootError::UnknownProtocol {
                    name: name.clone(),
                    known: known.join(", "),
                }
                .into()
            })
    }
}

/// Whether a kernel is Linux by its entry: that of the Linux protocol on x86, or of an `Image`. Other protocols start any
/// kernel, whose rules for the command line are unknown.
fn is_linux(protocol: &dyn BootProtocol, image: &KernelImage) -> bool {
    let is_image = [EntryAbi::ARM64_IMAGE, EntryAbi::RISCV_IMAGE]
        .into_iter()
        .any(|abi| image.entry(abi).is_some());
    is_image || protocol.name() == proto_linux_x86::PROTOCOL.name()
}

/// Whether an image declares the Linux protocol of x86, or has marks of a Linux kernel, whichever protocol starts it.
fn has_marks_of_linux(image: &KernelImage) -> bool {
    let support = proto_linux_x86::PROTOCOL.supports(image);
    support.is_ok_and(|support| support.level >= SupportLevel::Indicated)
}

/// The bytes before and after the first comma.
fn split_at_comma(argument: &[u8]) -> (&[u8], &[u8]) {
    let mut parts = argument.splitn(2, |byte| *byte == b',');
    let first = parts.next().unwrap_or_default();
    (first, parts.next().unwrap_or_default())
}

/// Prints the warnings of an image that cannot be planned: they may explain the error.
fn print_warnings(image: &KernelImage) {
    for warning in image.warnings() {
        eprintln!("vmboot: warning: {warning}");
    }
}

fn read_dtb(path: &Path) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut bytes = Vec::new();
    // Unlike the other files, this one is read sequentially, so it can be a pipe.
    File::open(path)
        .map_err(|source| OpenError {
            path: path.to_owned(),
            source,
        })?
        .take(DTB_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(FileError::with_path(path))?;
    Ok(bytes)
}

fn len((path, file): (&Path, &File)) -> Result<u64, FileError> {
    ByteSource::len(file).map_err(FileError::with_path(path))
}

impl Boot {
    /// Calls `load` with the files of the plan.
    pub(crate) fn with_sources<T>(&self, load: impl FnOnce(&Sources<'_>) -> T) -> T {
        let modules: Vec<&dyn ByteSource> = self.modules.iter().map(|file| file as &dyn ByteSource).collect();
        let mut sources = Sources::kernel(&self.kernel).with_modules(&modules);
        sources.initrd = self.initrd.as_ref().map(|file| file as &dyn ByteSource);
        load(&sources)
    }
}
