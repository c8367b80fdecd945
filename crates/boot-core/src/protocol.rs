//! The plugin trait of boot protocols, the choice of a protocol, and the errors of planning.

mod fixed;
mod support;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::error::Error;
use core::fmt;

pub use self::fixed::plan_around_fixed;
pub use self::support::{Support, SupportLevel};
use crate::image::EntryAbi;
use crate::{
    AdditionalLoad, AdditionalPlace, Arch, BootPlan, BootRequest, CmdlineCapacityError, CmdlineError,
    GuestRange, KernelImage, PlacementError, Priority, RequestCmdlineError, RequestPart, ValidationError,
};

/// A boot protocol: the plugin trait of protocol crates. A protocol specifies the registers and the structures in
/// memory that a kernel gets at its entry point. [`select`] chooses one for an image.
///
/// The example on the page of the crate implements a protocol.
pub trait BootProtocol: Sync {
    /// The protocol's name: lower case, unique among the protocols in use.
    fn name(&self) -> &'static str;

    /// The position of this protocol among those that suit an image equally well: lower priorities first, equal ones in
    /// the order of their names.
    fn priority(&self) -> Priority {
        Priority::STANDARD
    }

    /// The optional parts of a request that this protocol can hand over to some kernel. The default is none.
    fn accepts(&self) -> &'static [RequestPart] {
        &[]
    }

    /// Whether this protocol can hand over `part` to `image`, which it supports. [`validate_request`] refuses other parts. The
    /// default is that it can hand over what it [accepts](Self::accepts) to every image.
    fn hands_over(&self, part: RequestPart, image: &KernelImage) -> bool {
        let _ = image;
        self.accepts().contains(&part)
    }

    /// Checks that this protocol can start the image on some machine, and returns how well it suits the image: [`rank`]
    /// compares protocols by that first.
    ///
    /// # Errors
    ///
    /// [`IncompatibleImage`] with the reason why it cannot.
    fn supports(&self, image: &KernelImage) -> Result<Support, IncompatibleImage>;

    /// Computes everything a boot needs, as plain data, without touching guest memory. Implementations call
    /// [`validate_request`] first.
    ///
    /// # Errors
    ///
    /// [`PlanError`] where the protocol cannot boot this image on this machine with the rest of the request.
    fn plan(&self, request: &BootRequest<'_>) -> Result<BootPlan, PlanError>;
}

/// Why a protocol cannot start an image. `Display` completes "cannot be started: …"; "it" is the image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IncompatibleImage {
    /// The image is for another architecture.
    #[error("it is for {found} machines, the protocol for {expected}")]
    Arch {
        /// The protocol's architecture.
        expected: Arch,
        /// The image's architecture.
        found: Arch,
    },
    /// The image has no entry point of an ABI that the protocol can call.
    #[error("it has no {} entry point", Alternatives(.expected))]
    NoEntry {
        /// The ABIs that the protocol can call.
        expected: &'static [EntryAbi],
    },
    /// A header of the image excludes the protocol.
    #[error("{0}")]
    Header(&'static str),
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
    #[error("the protocol {protocol} cannot start this {format} file: {reason}")]
    Incompatible {
        /// The protocol's name.
        protocol: &'static str,
        /// The image's format.
        format: &'static str,
        /// Why the protocol cannot start it.
        reason: IncompatibleImage,
    },
    /// The machine is of another architecture than the image.
    #[error("the image is for {image}, the machine is {machine}")]
    WrongMachine {
        /// The image's architecture.
        image: Arch,
        /// The machine's architecture.
        machine: Arch,
    },
    /// The kernel or a structure of the protocol does not fit the machine's memory.
    #[error(transparent)]
    Placement(#[from] PlacementError),
    /// The command line is too long for the protocol or the kernel.
    #[error(transparent)]
    Cmdline(#[from] CmdlineError),
    /// The request makes room for a longer command line than the protocol or the kernel takes.
    #[error(transparent)]
    CmdlineCapacity(#[from] CmdlineCapacityError),
    /// The request has a part that the protocol cannot hand over to the kernel.
    #[error("the protocol {protocol} cannot hand over {part}")]
    NotAccepted {
        /// The protocol's name.
        protocol: &'static str,
        /// The part.
        part: RequestPart,
    },
    /// The ACPI RSDP is in RAM that the guest uses for other data.
    #[error(
        "the ACPI RSDP at {addr:#x} is in RAM that the guest may overwrite; pass it as an additional load, or reserve its region \
         in the memory map"
    )]
    RsdpInRam {
        /// Address of the RSDP.
        addr: u64,
    },
    /// The SMBIOS entry point is in RAM that the guest uses for other data.
    #[error(
        "the SMBIOS entry point at {addr:#x} is in RAM that the guest may overwrite; pass it as an additional load, or reserve its \
         region in the memory map"
    )]
    SmbiosInRam {
        /// Address of the entry point.
        addr: u64,
    },
    /// A value exceeds what the protocol's structures can hold.
    #[error("{what} is {found:#x}, but the protocol {protocol} allows at most {max:#x}")]
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
    /// The finished plan is not valid.
    #[error("the plan is not valid")]
    Validation(#[from] ValidationError),
    /// An error of the protocol's own.
    #[error("the {protocol} protocol cannot plan this boot")]
    Protocol {
        /// The protocol's name.
        protocol: &'static str,
        /// The protocol crate's own error.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl From<RequestCmdlineError> for PlanError {
    fn from(error: RequestCmdlineError) -> Self {
        match error {
            RequestCmdlineError::Cmdline(error) => Self::Cmdline(error),
            RequestCmdlineError::Capacity(error) => Self::CmdlineCapacity(error),
        }
    }
}

/// Why [`select`] does not choose a protocol. `Display` is the reason; "it" is the image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The protocol cannot start the image.
    #[error(transparent)]
    Incompatible(#[from] IncompatibleImage),
    /// [`SupportLevel::Contradicted`], with the reason: only an explicit choice of the protocol starts the image.
    #[error("{0}")]
    Contradicted(&'static str),
}

/// No protocol is suitable for an image.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SelectError {
    /// The image's format.
    pub format: &'static str,
    /// Each protocol in the order of [`rank`], with the reason why it is not chosen.
    pub refused: Vec<(&'static str, Refusal)>,
}

impl fmt::Display for SelectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no boot protocol is suitable for this {} file", self.format)?;
        let is_of_other_arch =
            |reason: &Refusal| matches!(reason, Refusal::Incompatible(IncompatibleImage::Arch { .. }));
        // Protocols that can start the image are of most interest, those of other architectures of least.
        let interest = |reason: &Refusal| match reason {
            Refusal::Contradicted(_) => 2,
            reason => i32::from(!is_of_other_arch(reason)),
        };
        let most = self.refused.iter().map(|(_, reason)| interest(reason)).max();
        let listed = self
            .refused
            .iter()
            .filter(|(_, reason)| Some(interest(reason)) == most);
        for (i, (protocol, reason)) in listed.enumerate() {
            write!(f, "{} {protocol}: {reason}", if i == 0 { ":" } else { ";" })?;
        }
        Ok(())
    }
}

impl Error for SelectError {}

/// A protocol and how well it suits an image.
#[derive(Clone)]
#[non_exhaustive]
pub struct Candidate<'p> {
    /// The protocol.
    pub protocol: &'p dyn BootProtocol,
    /// The result of [`BootProtocol::supports`].
    pub support: Result<Support, IncompatibleImage>,
}

impl Candidate<'_> {
    /// Whether [`select`] may choose the protocol.
    ///
    /// # Errors
    ///
    /// [`Refusal`] with the reason why not.
    pub fn check(&self) -> Result<Support, Refusal> {
        match self.support.clone()? {
            Support {
                level: SupportLevel::Contradicted,
                reason,
            } => Err(Refusal::Contradicted(reason)),
            support => Ok(support),
        }
    }
}

impl fmt::Debug for Candidate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Candidate")
            .field("protocol", &self.protocol.name())
            .field("support", &self.support)
            .finish()
    }
}

/// All protocols, the most suitable for the image first: by [`SupportLevel`], those that cannot start it last; equal ones by
/// priority, and equal priorities by name. The order of the slice does not matter.
#[must_use]
pub fn rank<'p>(protocols: &[&'p dyn BootProtocol], image: &KernelImage) -> Vec<Candidate<'p>> {
    let mut candidates: Vec<_> = protocols
        .iter()
        .map(|protocol| Candidate {
            protocol: *protocol,
            support: protocol.supports(image),
        })
        .collect();
    candidates.sort_unstable_by_key(|Candidate { protocol, support }| {
        let level = support.as_ref().map(|support| support.level).ok();
        (Reverse(level), protocol.priority(), protocol.name())
    });
    candidates
}

/// Returns the first protocol in the order of [`rank`], if it can start the image and nothing in the image contradicts it.
///
/// # Errors
///
/// [`SelectError`] with the reason of each protocol.
pub fn select<'p>(
    protocols: &[&'p dyn BootProtocol],
    image: &KernelImage,
) -> Result<&'p dyn BootProtocol, SelectError> {
    let mut refused = Vec::new();
    for candidate in rank(protocols, image) {
        match candidate.check() {
            Ok(_) => return Ok(candidate.protocol),
            Err(reason) => refused.push((candidate.protocol.name(), reason)),
        }
    }
    Err(SelectError {
        format: image.format(),
        refused,
    })
}

/// Checks a request for `protocol`, before planning: the protocol supports the image at any [level](SupportLevel), image
/// and machine have the same architecture, the request has no part that the protocol cannot
/// [hand over](BootProtocol::hands_over) to the image, and the ACPI RSDP is not in RAM, except in an additional load.
///
/// # Errors
///
/// [`PlanError::Incompatible`], [`PlanError::WrongMachine`], [`PlanError::NotAccepted`], [`PlanError::RsdpInRam`] or [`PlanError::SmbiosInRam`].
pub fn validate_request(protocol: &dyn BootProtocol, request: &BootRequest<'_>) -> Result<(), PlanError> {
    let BootRequest { image, machine, .. } = request;
    protocol
        .supports(image)
        .map_err(|reason| PlanError::Incompatible {
            protocol: protocol.name(),
            format: image.format(),
            reason,
        })?;
    if image.arch() != machine.arch {
        return Err(PlanError::WrongMachine {
            image: image.arch(),
            machine: machine.arch,
        });
    }
    let refused = |part: &RequestPart| request.has(*part) && !protocol.hands_over(*part, image);
    if let Some(part) = RequestPart::ALL.into_iter().find(refused) {
        return Err(PlanError::NotAccepted {
            protocol: protocol.name(),
            part,
        });
    }
    match (machine.acpi_rsdp, machine.smbios) {
        (Some(addr), _) if is_unprotected(request, addr) => Err(PlanError::RsdpInRam { addr }),
        (_, Some(addr)) if is_unprotected(request, addr) => Err(PlanError::SmbiosInRam { addr }),
        _ => Ok(()),
    }
}

/// Whether `addr` is in RAM where no additional load is.
fn is_unprotected(request: &BootRequest<'_>, addr: u64) -> bool {
    let is_ram = request.machine.memory.ram().any(|ram| ram.contains_addr(addr));
    let is_load = |load: &AdditionalLoad<'_>| match load.place {
        AdditionalPlace::At(start) => {
            GuestRange::new(start, load.content.len()).is_some_and(|range| range.contains_addr(addr))
        }
        AdditionalPlace::Within(_) => false,
    };
    is_ram && !request.additional_loads.iter().any(is_load)
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;
    use crate::{Cmdline, Endian, GuestRange, ImageBuilder, Machine, MemoryMap, Module, SourceRange};

    struct Fake {
        name: &'static str,
        priority: Priority,
        accepts: &'static [RequestPart],
        support: Support,
    }

    const FAKE: Fake = Fake {
        name: "fake",
        priority: Priority::STANDARD,
        accepts: &[],
        support: Support::declared("it has a PVH entry point"),
    };

    const NO_ENTRY: IncompatibleImage = IncompatibleImage::NoEntry {
        expected: &[EntryAbi::PVH, EntryAbi::ELF32],
    };

    impl BootProtocol for Fake {
        fn name(&self) -> &'static str {
            self.name
        }

        fn priority(&self) -> Priority {
            self.priority
        }

        fn accepts(&self) -> &'static [RequestPart] {
            self.accepts
        }

        fn supports(&self, image: &KernelImage) -> Result<Support, IncompatibleImage> {
            image.entry(EntryAbi::PVH).map(|_| self.support).ok_or(NO_ENTRY)
        }

        fn plan(&self, request: &BootRequest<'_>) -> Result<BootPlan, PlanError> {
            Err(validate_request(self, request).unwrap_err())
        }
    }

    fn image(abi: EntryAbi) -> KernelImage {
        ImageBuilder::new("flat", Arch::X86_64, Endian::Little, 4)
            .segment(SourceRange::whole(4), GuestRange::new(0x10_0000, 4).unwrap())
            .entry(abi, 0x10_0000)
            .build()
            .unwrap()
    }

    #[test]
    fn a_request_is_refused_with_the_reason() {
        let (pvh, elf) = (image(EntryAbi::PVH), image(EntryAbi::ELF64));
        let x86 = Machine::new(Arch::X86_64, MemoryMap::new());
        let arm = Machine::new(Arch::Aarch64, MemoryMap::new());
        let cmdline = Cmdline::new();
        let modules = [Module::new(1)];
        let check = |request: BootRequest<'_>, accepts: &'static [RequestPart], expected: Option<&str>| {
            let found = validate_request(&Fake { accepts, ..FAKE }, &request);
            assert_eq!(found.err().map(|error| error.to_string()).as_deref(), expected);
        };
        let request = |image, machine| BootRequest::new(image, machine, &cmdline);
        check(request(&pvh, &x86), &[], None);
        check(
            request(&elf, &x86),
            &[],
            Some("the protocol fake cannot start this flat file: it has no pvh or elf32 entry point"),
        );
        check(
            request(&pvh, &arm),
            &[],
            Some("the image is for x86_64, the machine is aarch64"),
        );
        let full = request(&pvh, &x86).with_initrd(1).with_modules(&modules);
        check(full, &[RequestPart::Initrd, RequestPart::Modules], None);
        check(
            full,
            &[RequestPart::Modules],
            Some("the protocol fake cannot hand over an initrd"),
        );
        check(
            full,
            &[RequestPart::Initrd],
            Some("the protocol fake cannot hand over modules"),
        );
        check(
            request(&pvh, &x86).with_device_tree(&[]),
            &[RequestPart::Initrd],
            Some("the protocol fake cannot hand over a device tree"),
        );
    }

    #[test]
    fn the_first_protocol_that_supports_the_image_is_selected() {
        let protocol = |name, priority| Fake {
            name,
            priority,
            ..FAKE
        };
        let last = protocol("a", Priority::LAST);
        let second = protocol("c", Priority::STANDARD);
        let first = protocol("b", Priority::STANDARD);
        let all: [&dyn BootProtocol; 3] = [&last, &second, &first];
        assert_eq!(select(&all, &image(EntryAbi::PVH)).unwrap().name(), "b");
        let error = select(&all[..2], &image(EntryAbi::ELF64)).err().unwrap();
        assert_eq!(
            error.refused,
            [("c", Refusal::from(NO_ENTRY)), ("a", Refusal::from(NO_ENTRY))]
        );
        assert_eq!(
            error.to_string(),
            "no boot protocol is suitable for this flat file: c: it has no pvh or elf32 entry point; \
             a: it has no pvh or elf32 entry point"
        );
        // Protocols of other architectures are listed only if there are no others.
        let other_arch = IncompatibleImage::Arch {
            expected: Arch::Riscv64,
            found: Arch::X86_64,
        };
        let mut error = error;
        error.refused.insert(0, ("d", other_arch.into()));
        let text = error.to_string();
        assert!(
            text.contains("file: c: it has no pvh") && !text.contains("d: "),
            "{text}"
        );
        error
            .refused
            .insert(1, ("e", Refusal::Contradicted("it is a program")));
        let text = error.to_string();
        assert!(text.ends_with("file: e: it is a program"), "{text}");
        error.refused.truncate(1);
        assert_eq!(
            error.to_string(),
            "no boot protocol is suitable for this flat file: d: it is for x86_64 machines, the protocol for riscv64"
        );
    }

    #[test]
    fn evidence_comes_before_priority() {
        let protocol = |name, priority, support| Fake {
            name,
            priority,
            support,
            ..FAKE
        };
        let contradicted = protocol(
            "a",
            Priority::FIRST,
            Support::contradicted("it is a user program"),
        );
        let possible = protocol("b", Priority::SPECIFIC, Support::possible("it is anything"));
        let indicated = protocol("c", Priority::STANDARD, Support::indicated("it has marks"));
        let declared = protocol("d", Priority::LAST, Support::declared("it has a header"));
        let all: [&dyn BootProtocol; 4] = [&contradicted, &possible, &indicated, &declared];
        let pvh = image(EntryAbi::PVH);
        let names = |candidates: Vec<Candidate<'_>>| {
            let names = candidates.iter().map(|candidate| candidate.protocol.name());
            names.collect::<Vec<_>>()
        };
        assert_eq!(names(rank(&all, &pvh)), ["d", "c", "b", "a"]);
        for count in 2..=4 {
            let expected = all[count - 1].name();
            assert_eq!(select(&all[..count], &pvh).unwrap().name(), expected);
        }
        // The image is not started by default, but may be.
        let error = select(&all[..1], &pvh).err().unwrap();
        assert_eq!(
            error.to_string(),
            "no boot protocol is suitable for this flat file: a: it is a user program"
        );
        let (machine, cmdline) = (Machine::new(Arch::X86_64, MemoryMap::new()), Cmdline::new());
        validate_request(&contradicted, &BootRequest::new(&pvh, &machine, &cmdline)).unwrap();
        let candidate = &rank(&all[..1], &pvh)[0];
        assert_eq!(
            std::format!("{candidate:?}"),
            "Candidate { protocol: \"a\", support: Ok(Support { level: Contradicted, reason: \"it is a user program\" }) }"
        );
    }

    #[test]
    fn a_protocol_accepts_nothing_and_has_the_standard_priority_by_default() {
        struct Defaults;

        impl BootProtocol for Defaults {
            fn name(&self) -> &'static str {
                "defaults"
            }

            fn supports(&self, _: &KernelImage) -> Result<Support, IncompatibleImage> {
                Ok(Support::declared("it is any image"))
            }

            fn plan(&self, request: &BootRequest<'_>) -> Result<BootPlan, PlanError> {
                Err(validate_request(self, request).unwrap_err())
            }
        }

        assert_eq!(Defaults.accepts(), []);
        assert_eq!(Defaults.priority(), Priority::STANDARD);
    }
}
