//! Boot options of `plan` and `run`: files, machine and plan.

use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::num::NonZeroU64;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use boot_core::{
    Arch, BootPlan, BootProtocol, BootRequest, ByteSource, Cmdline, CmdlineError, DetectError, EntryAbi,
    IncompatibleImage, KernelImage, Machine, Module, PlacementError, PlanError, RawCmdline, RequestPart,
    Sources, protocol,
};

use hv_virtio::Disk;
use proto_fdt::device_tree::{DeviceTree, FdtError};

use super::advice::placement_advice;
use super::advised::{AdvisedError, UsageError};
use super::default_cmdline::{default_cmdline, fast_cmdline, has_image_header, is_linux};
use super::disks::DiskArgs;
use super::file::{self, FileError, Name};
use super::help::{self, split_advice};
use super::initrds::{InitrdArgs, InitrdFiles};
use super::kaslr::{self, Kaslr};
use super::kernel::{Kernel, KernelOptions, Unpack};
use super::machine::{self, MachineArgs};
use super::protocols::ProtocolChoice;
use super::seeds::Seeds;
use super::tables::{self, Tables};
use super::uki::{self, UkiArgs};

/// Boot options of `plan` and `run`.
#[derive(Debug, clap::Args)]
pub(crate) struct BootArgs {
    /// Kernel image; `-` is standard input. A pipe is read to its end first.
    #[arg(required_unless_present = "firmware")]
    kernel: Option<PathBuf>,
    /// Firmware that is started as a kernel and boots the disks, such as fw-x86_64 of the workspace of vmboot.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["kernel", "initrd", "initrd_dir", "bootconfig", "modules"])]
    firmware: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) disks: DiskArgs,
    /// Boot protocol: its name as in `vmboot inspect`, in upper or lower case [default: the most suitable for the image].
    #[arg(long, value_name = "NAME", value_parser = protocol_name)]
    protocol: Option<&'static str>,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
    /// Kernel command line. It follows the rules of Linux for the protocol `linux` and for `Image` files; others get it
    /// unchanged [default for Linux: console=ttyS0, early messages and panic=-1, see the README; else empty].
    #[arg(long, value_name = "LINE", allow_hyphen_values = true)]
    cmdline: Option<OsString>,
    /// Pass an empty command line to Linux kernels too if there is no --cmdline.
    #[arg(long)]
    no_default_cmdline: bool,
    /// Pass the command line to every guest unchanged, even if Linux may misread it.
    #[arg(long)]
    raw_cmdline: bool,
    /// Shorten the start of Linux by arguments before its command line, where that has none of the same kind: cryptomgr.notests, quiet,
    /// and on x86_64 pci=off. Other kernels are not changed.
    #[arg(long, conflicts_with = "firmware")]
    fast: bool,
    #[command(flatten)]
    initrds: InitrdArgs,
    #[command(flatten)]
    pub(crate) uki: UkiArgs,
    /// Boot module, and its command line after the first comma; can be repeated (pvh, multiboot, multiboot2).
    #[arg(long = "module", value_name = "FILE[,LINE]", allow_hyphen_values = true)]
    modules: Vec<OsString>,
    /// When a kernel inside the file is unpacked and booted in place of the file.
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    unpack: Unpack,
    /// Address space layout randomization (KASLR) of the kernel: a number that chooses its addresses, `random` for one that `run` draws, or
    /// `off` for no number [default: what the kernel does by itself, with a number from `run`].
    #[arg(long, value_name = "SEED", value_parser = kaslr::parse)]
    kaslr: Option<Kaslr>,
    /// Device tree blob of the machine, updated for this boot (arm64, riscv64) [default: created for the machine].
    #[arg(long, value_name = "FILE", conflicts_with_all = ["acpi", "nodes", "topology"])]
    dtb: Option<PathBuf>,
}

/// Help for an initrd in place of the kernel, and the reverse.
const EXCHANGE: &str = "exchange the two files: the kernel is the argument, the initrd follows --initrd";

/// Maximum size of a device tree in bytes (arm64 booting.rst).
const DTB_MAX: usize = 2 << 20;

/// Error in the boot options.
#[derive(Debug, thiserror::Error)]
enum BootError {
    #[error("not a boot protocol; use one of {known}")]
    UnknownProtocol { known: String },
    #[error("the command line does not follow the rules of Linux")]
    Cmdline(#[from] CmdlineError),
    #[error("not a valid device tree: at byte {:#x}: {}", .0.offset, .0.kind)]
    DeviceTree(FdtError),
}

/// The kernel command line of a boot.
pub(crate) struct BootCmdline {
    pub(crate) line: RawCmdline,
    /// Whether the line is the default for Linux kernels.
    pub(crate) is_default: bool,
    /// Whether it has what `--fast` adds.
    is_fast: bool,
}

impl BootCmdline {
    /// A note about a line that is not just the user's.
    pub(crate) fn note(&self) -> Option<String> {
        match (self.is_default, self.is_fast) {
            (false, false) => None,
            (true, false) => Some(format!("{self}; --no-default-cmdline omits it")),
            (false, true) => Some(format!("{self}, with what --fast adds")),
            (true, true) => Some(format!(
                "{self}, with what --fast adds; --no-default-cmdline omits the default"
            )),
        }
    }
}

/// The line in quotes, unless it is empty.
impl fmt::Display for BootCmdline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, is_default, .. } = self;
        match (line.as_bytes(), is_default) {
            ([], _) => f.write_str("no command line"),
            (bytes, true) => write!(f, "default command line \"{}\"", String::from_utf8_lossy(bytes)),
            (bytes, false) => write!(f, "command line \"{}\"", String::from_utf8_lossy(bytes)),
        }
    }
}

/// A planned boot with its open files.
pub(crate) struct Boot {
    pub(crate) plan: BootPlan,
    pub(crate) machine: Machine,
    pub(crate) protocols: ProtocolChoice,
    pub(crate) image: KernelImage,
    pub(crate) cmdline: BootCmdline,
    /// Whether the kernel is Linux by evidence.
    pub(crate) is_linux: bool,
    /// Whether one of the files is standard input.
    pub(crate) reads_stdin: bool,
    /// In the order of the machine's virtio-mmio slots.
    pub(crate) disks: Vec<Disk>,
    pub(crate) kernel: Kernel,
    initrd: Option<InitrdFiles>,
    modules: Vec<File>,
}

impl BootArgs {
    /// Path of the kernel image, or of the firmware in its place.
    pub(crate) fn kernel(&self) -> &Path {
        // The parser requires one of them.
        let path = self.kernel.as_ref().or(self.firmware.as_ref());
        path.map_or(Path::new(""), PathBuf::as_path)
    }

    /// The command line that the user gave.
    pub(crate) fn given_cmdline(&self) -> Option<&OsStr> {
        self.cmdline.as_deref()
    }

    /// The initrds that the user gave, as one; `None` without any.
    pub(crate) fn given_initrds(&self) -> Result<Option<InitrdFiles>, Box<dyn Error>> {
        self.initrds.open(Vec::new())
    }

    /// Opens the files, detects the format of the kernel and plans the boot on the machine that `machine` returns for the
    /// options and an architecture. With `seeds`, the kernel gets those that the protocol can hand over.
    pub(crate) fn plan(
        &self,
        seeds: Option<&Seeds>,
        machine: impl Fn(&MachineArgs, Arch) -> Result<Machine, Box<dyn Error>>,
    ) -> Result<Boot, Box<dyn Error>> {
        let reads_stdin = self.reads_stdin().map_err(|error| UsageError(error.into()))?;
        self.machine.print_notes();
        let mut kernel = Kernel::open(
            self.kernel(),
            KernelOptions {
                unpack: self.unpack,
                with_vmlinux: self.needs_vmlinux(),
                uki: &self.uki,
            },
        )?;
        let mut image = self.detect(&kernel)?;
        let arch = image.arch();
        let machine_of = |options: &MachineArgs| {
            let mut machine = machine(options, arch)?;
            self.disks.describe(&mut machine)?;
            Ok::<_, Box<dyn Error>>(machine)
        };
        let mut machine = machine_of(&self.machine)?;
        let protocols = vmboot::protocols()?;
        let protocol = self.protocol(&protocols, &image, &kernel)?;
        let mut cmdline = self.cmdline(protocol, &image, kernel.uki.as_ref())?;
        cmdline.line = self.initrds.add_options(cmdline.line)?;
        let kaslr = kaslr::Seeds::new(self.kaslr, seeds, &cmdline.line, &kernel);
        let is_linux = is_linux(protocol, &image);
        if protocol.name() == proto_linux_x86::PROTOCOL.name() {
            image = kaslr
                .relocate(image, &mut kernel)
                .map_err(FileError::with_path(self.kernel()))?;
        }
        let tables = Tables::describe(&self.machine, &mut machine, protocol, &image)?;
        let loads = tables.loads();
        cmdline.line = DiskArgs::add_options(&machine, tables.acpi.is_some(), &cmdline.line)?;
        // The last addition, because it is the one that gives way to the limit of the line.
        self.add_fast_options(&mut cmdline, is_linux, &image, &machine);
        let initrd = self.initrds.open(kernel.initrds()?)?;
        let initrd_len = initrd.as_ref().map(ByteSource::len).transpose()?;
        let (modules, files) = self.modules()?;
        let disks = self.disks.open()?;
        let device_tree = self
            .dtb
            .as_deref()
            .map(|path| file::read(path, DTB_MAX))
            .transpose()?;
        if let Some((path, bytes)) = self.dtb.as_deref().zip(device_tree.as_deref())
            && protocol.hands_over(RequestPart::DeviceTree, &image)
        {
            check_dtb(path, bytes)?;
        }
        let mut request = BootRequest::new(&image, &machine, &cmdline.line)
            .with_modules(&modules)
            .with_additional_loads(&loads);
        request.initrd_len = initrd_len.and_then(NonZeroU64::new);
        request.device_tree = device_tree.as_deref();
        if let Some(seeds) = seeds {
            request = seeds.add_to(request, protocol);
        }
        request = kaslr.add_to(request, protocol);
        let plan = match protocol.plan(&request) {
            Ok(plan) => plan,
            Err(error) => {
                print_warnings(&image);
                let fits = |options: &MachineArgs| {
                    let other = machine_of(options);
                    other.is_ok_and(|machine| tables::can_plan(options, machine, protocol, &request))
                };
                let advice = placement_advice(&error, &self.machine, fits)
                    .map(|advice| advice.to_string())
                    .or_else(|| fixed_address_help(&error, &image, &machine))
                    .or_else(|| modules_help(&error, &image, &protocols))
                    .or_else(|| {
                        let is_inside = self.unpack == Unpack::Never && is_entry_inside(&error, &image);
                        is_inside.then(|| UNPACK_VMLINUX.to_owned())
                    });
                // The other errors are not about the file.
                let is_of_kernel = matches!(error, PlanError::Incompatible { .. } | PlanError::Placement(_));
                let error: Box<dyn Error> = if is_of_kernel {
                    FileError::with_path(self.kernel())(error).into()
                } else {
                    error.into()
                };
                return Err(match advice {
                    Some(advice) => AdvisedError::new(error, advice).into(),
                    None => error,
                });
            }
        };
        kaslr::move_to(plan.kernel().start(), &image, &mut kernel)
            .map_err(FileError::with_path(self.kernel()))?;
        Ok(Boot {
            plan,
            protocols: ProtocolChoice::new(protocol, &protocols, &image),
            machine,
            cmdline,
            reads_stdin,
            is_linux,
            image,
            disks,
            kernel,
            initrd,
            modules: files,
        })
    }

    /// The image of the kernel.
    fn detect(&self, kernel: &Kernel) -> Result<KernelImage, Box<dyn Error>> {
        boot_core::detect(&vmboot::formats()?, kernel).or_else(|error| {
            let is_unknown = matches!(error, DetectError::Unknown { .. });
            let error = FileError::with_path(self.kernel())(error);
            Err(if is_unknown && self.initrd_is_kernel()? {
                AdvisedError::new(error, EXCHANGE).into()
            } else {
                error.into()
            })
        })
    }

    /// Whether a bzImage cannot boot as these options demand, but the vmlinux inside it can.
    fn needs_vmlinux(&self) -> bool {
        let has_other_protocol = self
            .protocol
            .is_some_and(|name| name != proto_linux_x86::PROTOCOL.name());
        has_other_protocol || matches!(self.kaslr, Some(Kaslr::Random | Kaslr::Seed(_)))
    }

    /// Whether one of the files is standard input; an error if more than one is.
    fn reads_stdin(&self) -> Result<bool, FileError> {
        let modules = self.modules.iter().map(|argument| module_path(argument));
        let count = [Some(self.kernel()), self.dtb.as_deref()]
            .into_iter()
            .flatten()
            .chain(self.initrds.files.iter().map(PathBuf::as_path))
            .chain(self.uki.addons.iter().map(PathBuf::as_path))
            .chain(modules)
            .chain(self.disks.paths())
            .filter(|path| file::is_stdin(path))
            .count();
        match count {
            0 | 1 => Ok(count == 1),
            _ => Err(FileError::StdinTwice),
        }
    }

    /// Whether a file of `--initrd` is a kernel. Standard input is not read.
    fn initrd_is_kernel(&self) -> Result<bool, Box<dyn Error>> {
        let formats = vmboot::formats()?;
        let mut files = self
            .initrds
            .files
            .iter()
            .filter(|path| !file::is_stdin(path) && path.is_file())
            .filter_map(|path| File::open(path).ok());
        Ok(files.any(|file| boot_core::detect(&formats, &file).is_ok()))
    }

    /// The command line: the user's or that of a unified kernel image, with those of its addons, or the default for the image.
    fn cmdline(
        &self,
        protocol: &dyn BootProtocol,
        image: &KernelImage,
        uki: Option<&uki::Boot>,
    ) -> Result<BootCmdline, Box<dyn Error>> {
        if let Some(line) = self.joined_cmdline(uki) {
            let line = self.checked_line(&line, follows_linux_rules(protocol, image))?;
            return Ok(BootCmdline {
                line,
                is_default: false,
                is_fast: false,
            });
        }
        let default = (!self.no_default_cmdline && self.firmware.is_none())
            .then(|| default_cmdline(protocol, image))
            .flatten();
        Ok(BootCmdline {
            line: RawCmdline::from_bytes(default.unwrap_or_default())?,
            is_default: default.is_some(),
            is_fast: false,
        })
    }

    /// Adds what `--fast` adds, if it is present and the kernel is Linux.
    fn add_fast_options(
        &self,
        cmdline: &mut BootCmdline,
        is_linux: bool,
        image: &KernelImage,
        machine: &Machine,
    ) {
        if !self.fast {
            return;
        }
        if !is_linux {
            eprintln!("note: --fast changes nothing: there is no evidence in the image that it is Linux");
            return;
        }
        let line = fast_cmdline(&cmdline.line, image, machine);
        cmdline.is_fast = line != cmdline.line;
        cmdline.line = line;
    }

    /// The user's command line or that of a unified kernel image, then those of its addons; `None` if there is none of them. The user's need not
    /// be UTF-8.
    fn joined_cmdline(&self, uki: Option<&uki::Boot>) -> Option<Vec<u8>> {
        let has_line = |uki: &&uki::Boot| uki.profile.cmdline.is_some() || !uki.addon_cmdlines.is_empty();
        match (&self.cmdline, uki) {
            (None, uki) => uki.filter(has_line).map(|uki| uki.cmdline(None).into_bytes()),
            (Some(own), None) => Some(own.as_bytes().to_vec()),
            (Some(own), Some(uki)) => {
                let addons = uki.cmdline(Some(""));
                let lines = [own.as_bytes(), addons.as_bytes()];
                let lines: Vec<&[u8]> = lines.into_iter().filter(|line| !line.is_empty()).collect();
                Some(lines.join(&b' '))
            }
        }
    }

    /// A command line, checked if the guest is Linux. Words of a checked line are separated by one space.
    fn checked_line(&self, line: &[u8], is_linux: bool) -> Result<RawCmdline, Box<dyn Error>> {
        if !self.raw_cmdline {
            match Cmdline::from_bytes(line) {
                Ok(cmdline) if is_linux => return Ok(cmdline.into()),
                Ok(_) => {}
                Err(error) if is_linux => {
                    let text = error.to_string();
                    let advice = match error {
                        CmdlineError::UnbalancedQuote { .. } => "close the quote",
                        _ => split_advice(&text).1.unwrap_or("correct the line"),
                    };
                    let help = format!("{advice}, or pass the line unchanged with --raw-cmdline");
                    return Err(AdvisedError::new(BootError::Cmdline(error), help).into());
                }
                Err(error) => {
                    eprintln!("warning: if the guest is Linux, it may misread the command line: {error}");
                }
            }
        }
        Ok(RawCmdline::from_bytes(line)?)
    }

    fn modules(&self) -> Result<(Vec<Module>, Vec<File>), Box<dyn Error>> {
        let mut modules = Vec::new();
        let mut files = Vec::new();
        for argument in &self.modules {
            let (_, line) = split_at_comma(argument.as_bytes());
            let path = module_path(argument);
            let file = file::open(path)?;
            modules.push(Module::new(len((path, &file))?).with_cmdline(RawCmdline::from_bytes(line)?));
            files.push(file);
        }
        Ok((modules, files))
    }

    /// The protocol that the user names, that of the bzImage which had the kernel inside, or the most suitable one.
    fn protocol(
        &self,
        protocols: &[&'static dyn BootProtocol],
        image: &KernelImage,
        kernel: &Kernel,
    ) -> Result<&'static dyn BootProtocol, FileError> {
        let named = |name| move |protocol: &&dyn BootProtocol| protocol.name() == name;
        // A bzImage declares the protocol of Linux, which starts its vmlinux as well.
        let linux = proto_linux_x86::PROTOCOL;
        let of_bzimage = || {
            let is_linux = kernel.wrappers.end_with_bzimage() && linux.supports(image).is_ok();
            is_linux.then(|| linux.name())
        };
        match self
            .protocol
            .or_else(of_bzimage)
            .and_then(|name| protocols.iter().copied().find(named(name)))
        {
            Some(protocol) => Ok(protocol),
            None => protocol::select(protocols, image).map_err(FileError::with_path(self.kernel())),
        }
    }
}

/// The name of the protocol that a text names.
fn protocol_name(text: &str) -> Result<&'static str, Box<dyn Error + Send + Sync>> {
    let names = vmboot::protocols()?.into_iter().map(BootProtocol::name);
    let names: Vec<_> = names.collect();
    let found = names.iter().copied().find(|name| is_same_name(name, text));
    Ok(found.ok_or_else(|| BootError::UnknownProtocol {
        known: names.join(", "),
    })?)
}

/// Whether a kernel is Linux by its entry: that of the Linux protocol on x86, or of an `Image`. Other protocols start any
/// kernel, whose rules for the command line are unknown.
fn follows_linux_rules(protocol: &dyn BootProtocol, image: &KernelImage) -> bool {
    has_image_header(image) || protocol.name() == proto_linux_x86::PROTOCOL.name()
}

/// Help for a kernel with a fixed address that cannot be there.
fn fixed_address_help(error: &PlanError, image: &KernelImage, machine: &Machine) -> Option<String> {
    if !matches!(
        error,
        PlanError::Placement(PlacementError::NotRam { .. } | PlacementError::TooHigh { .. })
    ) {
        return None;
    }
    let is_virtual = image.warnings().iter().any(|warning| {
        matches!(
            warning.downcast_ref(),
            Some(fmt_elf::Warning::VirtualLinkAddress { .. })
        )
    });
    Some(if is_virtual {
        "boot the Image that was made from it, such as arch/arm64/boot/Image or arch/riscv/boot/Image"
            .to_owned()
    } else {
        machine::ram_help("link the kernel at", &machine.memory)
    })
}

/// Help for modules that the protocol cannot hand over: the other protocols that start the image with modules.
fn modules_help(error: &PlanError, image: &KernelImage, protocols: &[&dyn BootProtocol]) -> Option<String> {
    if !matches!(
        error,
        PlanError::NotAccepted {
            part: RequestPart::Modules,
            ..
        }
    ) {
        return None;
    }
    let names: Vec<_> = protocol::rank(protocols, image)
        .into_iter()
        .filter(|candidate| {
            candidate.check().is_ok() && candidate.protocol.hands_over(RequestPart::Modules, image)
        })
        .map(|candidate| candidate.protocol.name())
        .collect();
    Some(match names.as_slice() {
        [] => "use --initrd FILE for an initrd; no protocol that can start this kernel hands over modules"
            .to_owned(),
        names => format!(
            "use --initrd FILE for an initrd, or --protocol {}, which can hand over modules",
            names.join(" or ")
        ),
    })
}

/// Help for a bzImage and the protocol `pvh`.
const UNPACK_VMLINUX: &str = "omit --protocol, or omit --unpack never, so that the vmlinux inside is booted";

/// Whether the entry that the protocol needs may be in the vmlinux inside the image: Linux has a PVH entry.
fn is_entry_inside(error: &PlanError, image: &KernelImage) -> bool {
    image.format() == "bzimage"
        && matches!(
            error,
            PlanError::Incompatible {
                reason: IncompatibleImage::NoEntry { expected, .. },
                ..
            } if expected.contains(&EntryAbi::PVH)
        )
}

/// Whether the user's name of a protocol is this one: in any case, with or without separators.
fn is_same_name(name: &str, wanted: &str) -> bool {
    let letters = |name: &str| name.replace(['-', '_', ' '], "").to_ascii_lowercase();
    letters(name) == letters(wanted)
}

/// The path in an argument of `--module`.
fn module_path(argument: &OsStr) -> &Path {
    Path::new(OsStr::from_bytes(split_at_comma(argument.as_bytes()).0))
}

/// The bytes before and after the first comma.
fn split_at_comma(argument: &[u8]) -> (&[u8], &[u8]) {
    let mut parts = argument.splitn(2, |byte| *byte == b',');
    let first = parts.next().unwrap_or_default();
    (first, parts.next().unwrap_or_default())
}

/// Prints those warnings of an image that may explain why it cannot be planned.
fn print_warnings(image: &KernelImage) {
    use fmt_elf::Warning::{Interpreter, VirtualLinkAddress, VirtualLoadAddress};
    for warning in image.warnings() {
        if let Some(VirtualLinkAddress { .. } | VirtualLoadAddress { .. } | Interpreter { .. }) =
            warning.downcast_ref()
        {
            eprintln!("warning: {warning}");
        }
    }
}

/// Checks that a device tree can be parsed, to name its file if it cannot.
fn check_dtb(path: &Path, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
    if bytes.is_empty() {
        return Err(FileError::Empty(Name::new(path)).into());
    }
    match DeviceTree::parse(bytes) {
        Ok(_) => Ok(()),
        Err(error) => {
            let error = FileError::with_path(path)(BootError::DeviceTree(error));
            Err(AdvisedError::new(error, help::DEVICE_TREE).into())
        }
    }
}

fn len((path, file): (&Path, &File)) -> Result<u64, FileError> {
    ByteSource::len(file).map_err(FileError::with_path(path))
}

impl Boot {
    /// Calls `load` with the files of the plan.
    pub(crate) fn with_sources<T>(&self, load: impl FnOnce(&Sources<'_>) -> T) -> T {
        let modules: Vec<&dyn ByteSource> = self.modules.iter().map(|file| file as &dyn ByteSource).collect();
        let mut sources = Sources::kernel(&self.kernel).with_modules(&modules);
        sources.initrd = self.initrd.as_ref().map(|initrds| initrds as &dyn ByteSource);
        load(&sources)
    }
}

#[cfg(test)]
mod tests {
    use super::is_same_name;

    #[test]
    fn protocols_have_names_in_any_case() {
        let check = |name, wanted, expected| assert_eq!(is_same_name(name, wanted), expected, "{wanted}");
        for wanted in ["multiboot2", "MultiBoot2", "MULTIBOOT_2", "multiboot-2"] {
            check("multiboot2", wanted, true);
            check("multiboot", wanted, false);
        }
        check("fdt-arm64", "FDT_ARM64", true);
        check("linux", "linux-x86", false);
    }
}
