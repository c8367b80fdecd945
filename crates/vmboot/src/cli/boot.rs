//! What `plan` and `run` have in common: the files, the machine and the plan.

use std::error::Error;
use std::fs::File;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use boot_core::{
    Arch, BootPlan, BootProtocol, BootRequest, ByteSource, Cmdline, GuestRange, KernelImage, Machine,
    MemoryMap, Module, RegionKind, Sources, protocol,
};

use super::FileError;
use super::number::{number, range, size};

/// The boot to plan.
#[derive(Debug, clap::Args)]
pub(crate) struct BootArgs {
    /// The kernel image.
    kernel: PathBuf,
    /// The boot protocol; without it, the first that can start the image.
    #[arg(long, value_name = "NAME")]
    protocol: Option<String>,
    /// The guest's memory.
    #[arg(long, value_name = "SIZE", default_value = "512M", value_parser = size)]
    memory: u64,
    /// The number of virtual CPUs.
    #[arg(long, value_name = "N", default_value = "1")]
    vcpus: NonZeroU32,
    /// The kernel's command line.
    #[arg(long, value_name = "LINE", default_value = "", allow_hyphen_values = true)]
    cmdline: String,
    /// The initrd.
    #[arg(long, value_name = "FILE")]
    initrd: Option<PathBuf>,
    /// A further file for the kernel, with its own command line after a comma; may be given several times.
    #[arg(long = "module", value_name = "FILE[,LINE]")]
    modules: Vec<String>,
    /// The guest physical address of the ACPI RSDP.
    #[arg(long, value_name = "ADDRESS", value_parser = number)]
    acpi_rsdp: Option<u64>,
    /// Take a range out of RAM: the guest is told to leave it alone. May be given several times.
    #[arg(long = "reserve", value_name = "START..END", value_parser = range)]
    reserved: Vec<GuestRange>,
}

/// What cannot be asked for.
#[derive(Debug, thiserror::Error)]
enum BootError {
    #[error("there is no machine for {0} images here")]
    NoMachine(Arch),
    #[error("there is no protocol called `{name}`; known are: {known}")]
    NoProtocol { name: String, known: String },
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
    /// Opens every file, recognises the kernel and plans the boot.
    pub(crate) fn plan(&self) -> Result<Boot, Box<dyn Error>> {
        let kernel = super::open(&self.kernel)?;
        let image =
            boot_core::detect(&vmboot::formats()?, &kernel).map_err(FileError::about(&self.kernel))?;
        let machine = self.machine(image.arch())?;
        let cmdline = Cmdline::parse(&self.cmdline)?;
        let initrd = self.initrd.as_deref().map(super::open).transpose()?;
        let initrd_len = self.initrd.as_deref().zip(initrd.as_ref()).map(len).transpose()?;
        let (modules, files) = self.modules()?;
        let mut request = BootRequest::new(&image, &machine, &cmdline).with_modules(&modules);
        request.initrd_len = initrd_len;
        let plan = self
            .protocol(&image)?
            .plan(&request)
            .map_err(FileError::about(&self.kernel))?;
        Ok(Boot {
            plan,
            machine,
            kernel,
            initrd,
            modules: files,
        })
    }

    fn machine(&self, arch: Arch) -> Result<Machine, Box<dyn Error>> {
        let mut memory = match arch {
            Arch::X86_64 => MemoryMap::pc(self.memory)?,
            other => return Err(BootError::NoMachine(other).into()),
        };
        for range in &self.reserved {
            memory.carve(*range, RegionKind::Reserved)?;
        }
        let mut machine = Machine::new(arch, memory);
        machine.vcpus = self.vcpus;
        machine.acpi_rsdp = self.acpi_rsdp;
        Ok(machine)
    }

    fn modules(&self) -> Result<(Vec<Module>, Vec<File>), Box<dyn Error>> {
        let mut modules = Vec::new();
        let mut files = Vec::new();
        for argument in &self.modules {
            let (path, line) = argument.split_once(',').unwrap_or((argument, ""));
            let path = Path::new(path);
            let file = super::open(path)?;
            modules.push(Module {
                len: len((path, &file))?,
                cmdline: Cmdline::parse(line)?,
            });
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
                BootError::NoProtocol {
                    name: name.clone(),
                    known: known.join(", "),
                }
                .into()
            })
    }
}

fn len((path, file): (&Path, &File)) -> Result<u64, FileError> {
    ByteSource::len(file).map_err(FileError::about(path))
}

impl Boot {
    /// Calls `load` with the files of the plan.
    pub(crate) fn with_sources<T>(&self, load: impl FnOnce(&Sources<'_>) -> T) -> T {
        let modules: Vec<&dyn ByteSource> = self.modules.iter().map(|file| file as &dyn ByteSource).collect();
        load(&Sources {
            kernel: &self.kernel,
            initrd: self.initrd.as_ref().map(|file| file as &dyn ByteSource),
            modules: &modules,
        })
    }
}
