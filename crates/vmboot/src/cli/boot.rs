//! What `plan` and `run` have in common: the files, the machine and the plan.

use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use boot_core::{
    Arch, BootPlan, BootProtocol, BootRequest, ByteSource, Cmdline, KernelImage, Machine, Module, Sources,
    protocol,
};

use super::machine::MachineArgs;
use super::{FileError, OpenError};

/// The boot to plan.
#[derive(Debug, clap::Args)]
pub(crate) struct BootArgs {
    /// The kernel image.
    kernel: PathBuf,
    /// The boot protocol; without it, the first that can start the image.
    #[arg(long, value_name = "NAME")]
    protocol: Option<String>,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
    /// The kernel's command line.
    #[arg(long, value_name = "LINE", default_value = "", allow_hyphen_values = true)]
    cmdline: String,
    /// The initrd.
    #[arg(long, value_name = "FILE")]
    initrd: Option<PathBuf>,
    /// A further file for the kernel, with its own command line after a comma; may be given several times.
    #[arg(long = "module", value_name = "FILE[,LINE]")]
    modules: Vec<String>,
    /// A flattened device tree of the machine, to be fitted to this boot; without it one is written.
    #[arg(long, value_name = "FILE")]
    dtb: Option<PathBuf>,
}

/// No device tree is longer (arm64 booting.rst), so no more of a file is read.
const DTB_MAX: u64 = 2 << 20;

/// What cannot be asked for.
#[derive(Debug, thiserror::Error)]
enum BootError {
    #[error("there is no protocol called `{name}`; known are: {known}")]
    SelectError { name: String, known: String },
}

/// A boot with its files open: what is needed to carry the plan out.
pub(crate) struct Boot {
    pub(crate) plan: BootPlan,
    pub(crate) machine: Machine,
    kernel: File,
    initrd: Option<File>,
    modules: Vec<File>,
}

impl BootArgs {
    /// Opens every file, recognises the kernel and plans the boot on the machine that `machine` makes for it.
    pub(crate) fn plan(
        &self,
        machine: impl FnOnce(Arch) -> Result<Machine, Box<dyn Error>>,
    ) -> Result<Boot, Box<dyn Error>> {
        let kernel = super::open(&self.kernel)?;
        let image =
            boot_core::detect(&vmboot::formats()?, &kernel).map_err(FileError::about(&self.kernel))?;
        let machine = machine(image.arch())?;
        let cmdline = Cmdline::parse(&self.cmdline)?;
        let initrd = self.initrd.as_deref().map(super::open).transpose()?;
        let initrd_len = self.initrd.as_deref().zip(initrd.as_ref()).map(len).transpose()?;
        let (modules, files) = self.modules()?;
        let device_tree = self.dtb.as_deref().map(read_dtb).transpose()?;
        let mut request = BootRequest::new(&image, &machine, &cmdline).with_modules(&modules);
        request.initrd_len = initrd_len.and_then(NonZeroU64::new);
        request.device_tree = device_tree.as_deref();
        let plan = self
            .protocol(&image)?
            .plan(&request)
            .inspect_err(|_| print_warnings(&image))
            .map_err(FileError::about(&self.kernel))?;
        Ok(Boot {
            plan,
            machine,
            kernel,
            initrd,
            modules: files,
        })
    }

    fn modules(&self) -> Result<(Vec<Module>, Vec<File>), Box<dyn Error>> {
        let mut modules = Vec::new();
        let mut files = Vec::new();
        for argument in &self.modules {
            let (path, line) = argument.split_once(',').unwrap_or((argument, ""));
            let path = Path::new(path);
            let file = super::open(path)?;
            modules.push(Module::new(len((path, &file))?).with_cmdline(Cmdline::parse(line)?));
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
                BootError::SelectError {
                    name: name.clone(),
                    known: known.join(", "),
                }
                .into()
            })
    }
}

/// A plan has the image's warnings in it. Where there is none, what is odd about the image may well be the reason.
fn print_warnings(image: &KernelImage) {
    for warning in image.warnings() {
        eprintln!("vmboot: warning: {warning}");
    }
}

fn read_dtb(path: &Path) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut bytes = Vec::new();
    // Unlike the other files, this one is read from its start to its end, so it may be a pipe.
    File::open(path)
        .map_err(|source| OpenError {
            path: path.to_owned(),
            source,
        })?
        .take(DTB_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(FileError::about(path))?;
    Ok(bytes)
}

fn len((path, file): (&Path, &File)) -> Result<u64, FileError> {
    ByteSource::len(file).map_err(FileError::about(path))
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
