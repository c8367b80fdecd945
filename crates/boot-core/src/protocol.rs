//! The plugin trait of boot protocols, what they are asked for and how they say no.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::error::Error;
use core::fmt;

use crate::image::EntryAbi;
use crate::{
    Arch, BootPlan, BootRequest, CmdlineError, KernelImage, PlacementError, Priority, ValidationError,
};

/// A boot protocol: how a kernel is called and what it finds in memory.
pub trait BootProtocol: Sync {
    /// The protocol's name: lower case, unique among the protocols in use.
    fn name(&self) -> &'static str;

    /// Where [`select`] asks this protocol: lower priorities first, equal ones by name.
    fn priority(&self) -> Priority {
        Priority::STANDARD
    }

    /// Whether this protocol can start the image on some machine.
    ///
    /// # Errors
    ///
    /// [`Incompatible`] says why it cannot.
    fn supports(&self, image: &KernelImage) -> Result<(), Incompatible>;

    /// Computes everything a boot needs, as plain data, without touching guest memory.
    ///
    /// # Errors
    ///
    /// [`PlanError`] where the image, the machine and the rest of the request do not go together.
    fn plan(&self, request: &BootRequest<'_>) -> Result<BootPlan, PlanError>;
}

/// Why a protocol cannot start an image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Incompatible {
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
    Incompatible {
        /// The protocol's name.
        protocol: &'static str,
        /// The image's format.
        format: &'static str,
        /// Why not.
        reason: Incompatible,
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
    Proof(#[from] ValidationError),
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
pub struct SelectError {
    /// The image's format.
    pub format: &'static str,
    /// Each protocol that was asked, with its reason.
    pub refused: Vec<(&'static str, Incompatible)>,
}

impl fmt::Display for SelectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no boot protocol can start this {} image", self.format)?;
        for (i, (protocol, reason)) in self.refused.iter().enumerate() {
            write!(f, "{} {protocol}: {reason}", if i == 0 { ":" } else { ";" })?;
        }
        Ok(())
    }
}

impl Error for SelectError {}

/// The first protocol, in the order of (priority, name), that supports the image.
///
/// # Errors
///
/// [`SelectError`] with every protocol's reason.
pub fn select<'p>(
    protocols: &[&'p dyn BootProtocol],
    image: &KernelImage,
) -> Result<&'p dyn BootProtocol, SelectError> {
    let mut protocols = protocols.to_vec();
    protocols.sort_by_key(|protocol| (protocol.priority(), protocol.name()));
    let mut refused = Vec::new();
    for protocol in protocols {
        match protocol.supports(image) {
            Ok(()) => return Ok(protocol),
            Err(reason) => refused.push((protocol.name(), reason)),
        }
    }
    Err(SelectError {
        format: image.format(),
        refused,
    })
}

/// The checks every protocol begins with: it supports the image, and image and machine agree.
///
/// # Errors
///
/// [`PlanError::Incompatible`] or [`PlanError::WrongMachine`].
pub fn check_request(protocol: &dyn BootProtocol, request: &BootRequest<'_>) -> Result<(), PlanError> {
    let BootRequest { image, machine, .. } = request;
    protocol
        .supports(image)
        .map_err(|reason| PlanError::Incompatible {
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
