//! Boot options of `plan` and `run`: files, machine and plan.

use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use boot_core::{
    Arch, BootPlan, BootProtocol, BootRequest, ByteSource, Cmdline, KernelImage, Machine, Module, Sources,
    protocol,
};

use super::file::{self, FileError, OpenError};
use super::machine::MachineArgs;
use super::seeds::Seeds;

/// Boot options of `plan` and `run`.
#[derive(Debug, clap::Args)]
pub(crate) struct BootArgs {
    /// Kernel image.
    kernel: PathBuf,
    /// Boot protocol, by its name in `vmboot inspect` [default: the first that supports the image].
    #[arg(long, value_name = "NAME")]
    protocol: Option<String>,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
    /// Kernel command line.
    #[arg(long, value_name = "LINE", default_value = "", allow_hyphen_values = true)]
    cmdline: String,
    /// Initrd.
    #[arg(long, value_name = "FILE")]
    initrd: Option<PathBuf>,
    /// Boot module, and its command line after the first comma; can be repeated (pvh, multiboot, multiboot2).
    #[arg(long = "module", value_name = "FILE[,LINE]")]
    modules: Vec<String>,
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
}

/// A planned boot with its open files.
pub(crate) struct Boot {
    pub(crate) plan: BootPlan,
    pub(crate) machine: Machine,
    kernel: File,
    initrd: Option<File>,
    modules: Vec<File>,
}

impl BootArgs {
    /// Opens the files, detects the format of the kernel and plans the boot on the machine that `machine` returns for its
    /// architecture. With `seeds`, the kernel gets those that the protocol can hand over.
    pub(crate) fn plan(
        &self,
        seeds: Option<&Seeds>,
        machine: impl FnOnce(Arch) -> Result<Machine, Box<dyn Error>>,
    ) -> Result<Boot, Box<dyn Error>> {
        let kernel = file::open(&self.kernel)?;
        let image =
            boot_core::detect(&vmboot::formats()?, &kernel).map_err(FileError::with_path(&self.kernel))?;
        let machine = machine(image.arch())?;
        let cmdline = Cmdline::parse(&self.cmdline)?;
        let initrd = self.initrd.as_deref().map(file::open).transpose()?;
        let initrd_len = self.initrd.as_deref().zip(initrd.as_ref()).map(len).transpose()?;
        let (modules, files) = self.modules()?;
        let device_tree = self.dtb.as_deref().map(read_dtb).transpose()?;
        let mut request = BootRequest::new(&image, &machine, &cmdline).with_modules(&modules);
        request.initrd_len = initrd_len.and_then(NonZeroU64::new);
        request.device_tree = device_tree.as_deref();
        let protocol = self.protocol(&image)?;
        if let Some(seeds) = seeds {
            request = seeds.add_to(request, protocol);
        }
        let plan = protocol
            .plan(&request)
            .inspect_err(|_| print_warnings(&image))
            .map_err(FileError::with_path(&self.kernel))?;
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
            let file = file::open(path)?;
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
                BootError::UnknownProtocol {
                    name: name.clone(),
                    known: known.join(", "),
                }
                .into()
            })
    }
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
