//! One entry: from its files to loaded memory and an entry state.

use alloc::string::String;
use alloc::vec::Vec;

use bls::{Entry, OpenError, Resource, RootCompatibleError};
use boot_core::{
    BootRequest, ByteSource, Cmdline, CmdlineError, CpuState, DetectError, GuestMemory, Initrds, LoadError,
    PlanError, ReadError, RequestPart, SelectError, SizedSource, Sources, detect, protocol,
};
use disk::FileSystem;

use crate::config::BootConfig;

/// Largest length of a device tree in bytes: that of the boot protocols.
const MAX_DEVICE_TREE: u64 = 2 << 20;

/// Why an entry cannot be booted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EntryError {
    /// The entry has only a program for EFI.
    #[error("it has no kernel, only an EFI program")]
    NoKernel,
    /// A file cannot be opened.
    #[error("a file cannot be opened")]
    Open(#[from] OpenError),
    /// The kernel is in no known format, or malformed.
    #[error("the kernel {file} cannot be used")]
    Detect {
        /// The file.
        file: String,
        /// Cause.
        source: DetectError,
    },
    /// The command line is not valid.
    #[error("the command line is not valid")]
    Cmdline(#[from] CmdlineError),
    /// No protocol starts the kernel.
    #[error("the kernel cannot be started")]
    Select(#[from] SelectError),
    /// Initrds or the device tree cannot be read.
    #[error("the {what} cannot be read")]
    Read {
        /// What.
        what: &'static str,
        /// Cause.
        source: ReadError,
    },
    /// The device tree of the machine is malformed, so none of the entry can be selected.
    #[error("the device tree of the machine is malformed")]
    MachineTree(#[from] RootCompatibleError),
    /// The device tree of the entry is longer than kernels accept.
    #[error("the device tree has {len} bytes; at most {MAX_DEVICE_TREE} are possible")]
    DeviceTreeTooLong {
        /// Its length in bytes.
        len: u64,
    },
    /// The entry has device tree overlays, which are not supported.
    #[error("it has device tree overlays, which are not supported")]
    Overlays,
    /// The boot does not fit the machine.
    #[error("the boot cannot be planned")]
    Plan(#[from] PlanError),
    /// The files could not be loaded.
    #[error("the kernel cannot be loaded")]
    Load(#[from] LoadError),
}

/// Loads `entry` of `file_system`, and returns the registers to start the kernel with.
pub(crate) fn load(
    entry: &Entry,
    file_system: &dyn FileSystem,
    config: &BootConfig<'_>,
    memory: &mut dyn GuestMemory,
) -> Result<CpuState, EntryError> {
    let resource = entry.kernel.as_ref().ok_or(EntryError::NoKernel)?;
    if !entry.overlays.is_empty() {
        return Err(EntryError::Overlays);
    }
    let kernel = resource.open(file_system)?;
    let image = detect(config.formats, &kernel).map_err(|source| EntryError::Detect {
        file: alloc::format!("{resource}"),
        source,
    })?;
    let initrds = entry.initrds.iter().map(|initrd| initrd.open(file_system));
    let initrds = Initrds::new(initrds.collect::<Result<Vec<_>, _>>()?);
    let read = |what| move |source| EntryError::Read { what, source };
    let initrds = initrds.map_err(read("initrd"))?;
    let initrd_len = initrds.len().map_err(read("initrd"))?;
    let mut line = entry.options.clone();
    for option in config.options {
        line.push(' ');
        line.push_str(option);
    }
    let cmdline = Cmdline::parse(line.trim())?;
    let device_tree = device_tree(entry, file_system, config)?;

    let mut request = BootRequest::new(&image, config.machine, &cmdline)
        .with_initrd(initrd_len)
        .with_additional_loads(config.own);
    if let Some(tree) = device_tree.as_deref().or(config.device_tree) {
        request = request.with_device_tree(tree);
    }
    let protocol = protocol::select(config.protocols, &image)?;
    // Kernels whose protocol has no place for random bytes start without them.
    if let Some(seed) = config
        .rng_seed
        .filter(|_| protocol.hands_over(RequestPart::RngSeed, &image))
    {
        request = request.with_rng_seed(seed);
    }
    if let Some(seed) = config
        .kaslr_seed
        .filter(|_| protocol.hands_over(RequestPart::KaslrSeed, &image))
    {
        request = request.with_kaslr_seed(seed);
    }
    let plan = protocol.plan(&request)?;
    let mut sources = Sources::kernel(&kernel);
    if initrd_len != 0 {
        sources = sources.with_initrd(&initrds);
    }
    plan.load(&sources, memory)?;
    Ok(plan.boot_cpu().clone())
}

/// The device tree of the entry for this machine, if it has one.
fn device_tree(
    entry: &Entry,
    file_system: &dyn FileSystem,
    config: &BootConfig<'_>,
) -> Result<Option<Vec<u8>>, EntryError> {
    let Some(resource) = selected_tree(entry, file_system, config)? else {
        return Ok(None);
    };
    let file = resource.open(file_system)?;
    let read = |source| EntryError::Read {
        what: "device tree",
        source,
    };
    let source = SizedSource::new(&file).map_err(read)?;
    let len = source.len();
    let whole = usize::try_from(len).ok().filter(|_| len <= MAX_DEVICE_TREE);
    let whole = whole.ok_or(EntryError::DeviceTreeTooLong { len })?;
    Ok(Some(source.read_vec(0, whole).map_err(read)?))
}

/// Which device tree of the entry is for this machine.
fn selected_tree<'e>(
    entry: &'e Entry,
    file_system: &dyn FileSystem,
    config: &BootConfig<'_>,
) -> Result<Option<&'e Resource>, EntryError> {
    let Some(own) = config
        .device_tree
        .filter(|_| !entry.device_tree_candidates.is_empty())
    else {
        return Ok(entry.device_tree.as_ref());
    };
    let read = |source| EntryError::Read {
        what: "device tree",
        source,
    };
    let own = SizedSource::new(&own).map_err(read)?;
    match bls::root_compatible(&own)? {
        Some(model) => Ok(entry.device_tree_for(file_system, &model)?),
        None => Ok(entry.device_tree.as_ref()),
    }
}
