//! The plugin trait of boot protocols, what they are asked for and how they say no.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::error::Error;
use core::fmt;

use crate::image::EntryAbi;
use crate::{Arch, BootPlan, Cmdline, CmdlineError, KernelImage, Machine, PlacementError, ProofError};

/// A boot protocol: how a kernel is called and what it finds in memory.
pub trait BootProtocol: Sync {
    /// The protocol's name: lower case, unique among the protocols in use.
    fn name(&self) -> &'static str;

    /// Protocols are asked in the order of rising priority, then by name, when the caller names none.
    fn priority(&self) -> u32 {
        100
    }

    /// Whether this protocol can start the image on some machine.
    ///
    /// # Errors
    ///
    /// [`Unsuitable`] says why it cannot.
    fn supports(&self, image: &KernelImage) -> Result<(), Unsuitable>;

    /// Computes everything a boot needs, as plain data, without touching guest memory.
    ///
    /// # Errors
    ///
    /// [`PlanError`] where the image, the machine and the rest of the request do not go together.
    fn plan(&self, request: &BootRequest<'_>) -> Result<BootPlan, PlanError>;
}

/// A file handed to the kernel beside the initrd, with its own command line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Module {
    /// Its length in bytes.
    pub len: u64,
    /// Its command line.
    pub cmdline: Cmdline,
}

/// What a boot is planned for.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct BootRequest<'a> {
    /// The kernel.
    pub image: &'a KernelImage,
    /// The machine.
    pub machine: &'a Machine,
    /// The kernel's command line.
    pub cmdline: &'a Cmdline,
    /// The length of the initrd in bytes, where there is one. An initrd of no bytes is none.
    pub initrd_len: Option<u64>,
    /// Further files, for protocols that hand over more than an initrd.
    pub modules: &'a [Module],
    /// Random bytes for the guest's entropy pool, for protocols that can hand them over. Whoever plans the boot draws
    /// them: a plan is never random by itself.
    pub rng_seed: Option<&'a [u8]>,
    /// A random number for the kernel to choose its own addresses by, for protocols that can hand it over.
    pub kaslr_seed: Option<u64>,
    /// A flattened device tree that describes the machine, for protocols that hand one over: it is checked, and only
    /// what depends on this boot is changed in it. Without it the protocol writes one for
    /// [`Machine::platform`](crate::Machine::platform).
    pub device_tree: Option<&'a [u8]>,
}

impl<'a> BootRequest<'a> {
    /// A boot without initrd and modules.
    #[must_use]
    pub const fn new(image: &'a KernelImage, machine: &'a Machine, cmdline: &'a Cmdline) -> Self {
        Self {
            image,
            machine,
            cmdline,
            initrd_len: None,
            modules: &[],
            rng_seed: None,
            kaslr_seed: None,
            device_tree: None,
        }
    }

    /// The same with an initrd of `len` bytes.
    #[must_use]
    pub const fn with_initrd(self, len: u64) -> Self {
        Self {
            initrd_len: Some(len),
            ..self
        }
    }

    /// The same with modules.
    #[must_use]
    pub const fn with_modules(self, modules: &'a [Module]) -> Self {
        Self { modules, ..self }
    }

    /// The same with random bytes for the guest's entropy pool.
    #[must_use]
    pub const fn with_rng_seed(self, seed: &'a [u8]) -> Self {
        Self {
            rng_seed: Some(seed),
            ..self
        }
    }

    /// The same with a random number for the kernel to choose its own addresses by.
    #[must_use]
    pub const fn with_kaslr_seed(self, seed: u64) -> Self {
        Self {
            kaslr_seed: Some(seed),
            ..self
        }
    }

    /// The same with the caller's own device tree.
    #[must_use]
    pub const fn with_device_tree(self, dtb: &'a [u8]) -> Self {
        Self {
            device_tree: Some(dtb),
            ..self
        }
    }
}

/// Why a protocol cannot start an image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unsuitable {
    /// The image is for another architecture.
    #[error("it is for {found} machines, the protocol for {expected}")]
    Arch {
        /// The protocol's architecture.
        expected: Arch,
        /// The image's architecture.
        found: Arch,
    },
    /// The image has no entry point the protocol knows how to call.
    #[error("it has no entry point of the kind {}", Alternatives(.expected))]
    NoEntry {
        /// The entry points that would do.
        expected: &'static [EntryAbi],
    },
    /// The image's own headers rule the protocol out.
    #[error("{0}")]
    Image(&'static str),
}

struct Alternatives<'a>(&'a [EntryAbi]);

impl fmt::Display for Alternatives<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, abi) in self.0.iter().enumerate() {
            write!(f, "{}{abi}", if i == 0 { "" } else { " or " })?;
        }
        Ok(())
    }
}

/// Why a boot cannot be planned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The protocol cannot start this image.
    #[error("the {format} image cannot be started by the {protocol} protocol: {reason}")]
    Unsuitable {
        /// The protocol's name.
        protocol: &'static str,
        /// The image's format.
        format: &'static str,
        /// Why not.
        reason: Unsuitable,
    },
    /// The machine is of another architecture than the image.
    #[error("the image is for {image}, the machine is {machine}")]
    WrongMachine {
        /// The image's architecture.
        image: Arch,
        /// The machine's architecture.
        machine: Arch,
    },
    /// Something has no place in the machine's memory.
    #[error(transparent)]
    Placement(#[from] PlacementError),
    /// The command line cannot be handed to this kernel.
    #[error("the kernel command line cannot be used")]
    Cmdline(#[from] CmdlineError),
    /// The request asks for something the protocol has no words for.
    #[error("the {protocol} protocol cannot hand over {what}")]
    NotInProtocol {
        /// The protocol's name.
        protocol: &'static str,
        /// What it cannot hand over.
        what: &'static str,
    },
    /// A value exceeds what the protocol's structures can hold.
    #[error("{what} is {found:#x}, but the {protocol} protocol allows at most {max:#x}")]
    TooLarge {
        /// The protocol's name.
        protocol: &'static str,
        /// What is too large.
        what: &'static str,
        /// Its value.
        found: u64,
        /// The largest value allowed.
        max: u64,
    },
    /// The finished plan breaks one of the promises every plan keeps.
    #[error("the plan cannot be carried out")]
    Proof(#[from] ProofError),
    /// An error of the protocol's own.
    #[error("the {protocol} protocol cannot plan this boot")]
    Protocol {
        /// The protocol's name.
        protocol: &'static str,
        /// The protocol crate's own error.
        source: Box<dyn Error + Send + Sync>,
    },
}

/// No protocol can start an image; says why for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoProtocol {
    /// The image's format.
    pub format: &'static str,
    /// Each protocol that was asked, with its reason.
    pub refused: Vec<(&'static str, Unsuitable)>,
}

impl fmt::Display for NoProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no boot protocol can start this {} image", self.format)?;
        for (i, (protocol, reason)) in self.refused.iter().enumerate() {
            write!(f, "{} {protocol}: {reason}", if i == 0 { ":" } else { ";" })?;
        }
        Ok(())
    }
}

impl Error for NoProtocol {}

/// The first protocol, in the order of (priority, name), that supports the image.
///
/// # Errors
///
/// [`NoProtocol`] with every protocol's reason.
pub fn select<'p>(
    protocols: &[&'p dyn BootProtocol],
    image: &KernelImage,
) -> Result<&'p dyn BootProtocol, NoProtocol> {
    let mut protocols = protocols.to_vec();
    protocols.sort_by_key(|protocol| (protocol.priority(), protocol.name()));
    let mut refused = Vec::new();
    for protocol in protocols {
        match protocol.supports(image) {
            Ok(()) => return Ok(protocol),
            Err(reason) => refused.push((protocol.name(), reason)),
        }
    }
    Err(NoProtocol {
        format: image.format(),
        refused,
    })
}

/// The checks every protocol begins with: it supports the image, and image and machine agree.
///
/// # Errors
///
/// [`PlanError::Unsuitable`] or [`PlanError::WrongMachine`].
pub fn check_request(protocol: &dyn BootProtocol, request: &BootRequest<'_>) -> Result<(), PlanError> {
    let BootRequest { image, machine, .. } = request;
    protocol.supports(image).map_err(|reason| PlanError::Unsuitable {
        protocol: protocol.name(),
        format: image.format(),
        reason,
    })?;
    if image.arch() == machine.arch {
        Ok(())
    } else {
        Err(PlanError::WrongMachine {
            image: image.arch(),
            machine: machine.arch,
        })
    }
}
