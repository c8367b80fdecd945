//! The input of planning: kernel, machine, command line, initrd, modules and seeds.

use core::fmt;
use core::num::NonZeroU64;

use crate::{Cmdline, KernelImage, Machine};

/// A file that the kernel gets in addition to the initrd, with a command line of its own (Multiboot, PVH).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Module {
    /// Its length in bytes.
    pub len: u64,
    /// Its command line.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serialize::display"))]
    pub cmdline: Cmdline,
}

impl Module {
    /// A module of `len` bytes with an empty command line.
    #[must_use]
    pub const fn new(len: u64) -> Self {
        Self {
            len,
            cmdline: Cmdline::new(),
        }
    }

    /// The same with a command line.
    #[must_use]
    pub fn with_cmdline(self, cmdline: Cmdline) -> Self {
        Self { cmdline, ..self }
    }
}

/// A part of a [`BootRequest`] that only some protocols can hand over to the kernel.
///
/// The random seeds are not among them: kernels do not depend on them, so a protocol may ignore them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum RequestPart {
    /// The initrd ([`BootRequest::initrd_len`]).
    Initrd,
    /// Modules ([`BootRequest::modules`]).
    Modules,
    /// A device tree of the caller ([`BootRequest::device_tree`]).
    DeviceTree,
    /// The address of the ACPI RSDP ([`Machine::acpi_rsdp`]).
    AcpiRsdp,
}

impl RequestPart {
    /// Every part.
    pub const ALL: [Self; 4] = [Self::Initrd, Self::Modules, Self::DeviceTree, Self::AcpiRsdp];
}

impl fmt::Display for RequestPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Initrd => "an initrd",
            Self::Modules => "modules",
            Self::DeviceTree => "a device tree",
            Self::AcpiRsdp => "the address of the ACPI RSDP",
        })
    }
}

/// The input of [`BootProtocol::plan`](crate::BootProtocol::plan).
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct BootRequest<'a> {
    /// The kernel.
    pub image: &'a KernelImage,
    /// The machine.
    pub machine: &'a Machine,
    /// The kernel's command line.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serialize::display"))]
    pub cmdline: &'a Cmdline,
    /// Length of the initrd in bytes, if there is one.
    pub initrd_len: Option<NonZeroU64>,
    /// Modules, for protocols that have them.
    pub modules: &'a [Module],
    /// Random bytes for the guest's entropy pool. The device tree protocols use them, the others ignore them.
    pub rng_seed: Option<&'a [u8]>,
    /// Random number for KASLR. The device tree protocols use it, the others ignore it.
    pub kaslr_seed: Option<u64>,
    /// A flattened device tree of the machine. The protocol validates it and sets command line, initrd, seeds and memory in
    /// it. Without one, the protocol creates it from [`Machine::platform`](crate::Machine::platform).
    pub device_tree: Option<&'a [u8]>,
}

impl<'a> BootRequest<'a> {
    /// A request without optional parts.
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

    /// Whether the request has this part.
    #[must_use]
    pub const fn has(&self, part: RequestPart) -> bool {
        match part {
            RequestPart::Initrd => self.initrd_len.is_some(),
            RequestPart::Modules => !self.modules.is_empty(),
            RequestPart::DeviceTree => self.device_tree.is_some(),
            RequestPart::AcpiRsdp => self.machine.acpi_rsdp.is_some(),
        }
    }

    /// The same with an initrd of `len` bytes. A length of zero means no initrd.
    #[must_use]
    pub const fn with_initrd(self, len: u64) -> Self {
        Self {
            initrd_len: NonZeroU64::new(len),
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

    /// The same with a random number for KASLR.
    #[must_use]
    pub const fn with_kaslr_seed(self, seed: u64) -> Self {
        Self {
            kaslr_seed: Some(seed),
            ..self
        }
    }

    /// The same with a flattened device tree.
    #[must_use]
    pub const fn with_device_tree(self, dtb: &'a [u8]) -> Self {
        Self {
            device_tree: Some(dtb),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;
    use crate::{Arch, EntryAbi, GuestRange, MemoryMap, testing};

    fn image() -> KernelImage {
        testing::image(GuestRange::new(0x10_0000, 4).unwrap(), EntryAbi::ELF64)
    }

    #[test]
    fn a_request_has_the_parts_that_were_set() {
        let image = image();
        let bare = Machine::new(Arch::X86_64, MemoryMap::new());
        let mut acpi = bare.clone();
        acpi.acpi_rsdp = Some(0xe_0000);
        let cmdline = Cmdline::new();
        let modules = [Module::new(1)];
        let request = |machine| BootRequest::new(&image, machine, &cmdline);
        let check = |request: BootRequest<'_>, expected: &[RequestPart]| {
            let found: std::vec::Vec<_> = RequestPart::ALL
                .into_iter()
                .filter(|part| request.has(*part))
                .collect();
            assert_eq!(found, expected);
        };
        check(request(&bare), &[]);
        check(request(&bare).with_initrd(0), &[]);
        check(request(&bare).with_initrd(1), &[RequestPart::Initrd]);
        check(request(&bare).with_modules(&modules), &[RequestPart::Modules]);
        check(request(&bare).with_device_tree(&[]), &[RequestPart::DeviceTree]);
        check(request(&acpi), &[RequestPart::AcpiRsdp]);
        check(request(&bare).with_rng_seed(&[1]).with_kaslr_seed(1), &[]);
    }

    #[test]
    fn setters_keep_what_was_set_before() {
        let (image, cmdline) = (image(), Cmdline::parse("quiet").unwrap());
        let machine = Machine::new(Arch::X86_64, MemoryMap::new());
        let modules = [Module::new(7).with_cmdline(cmdline.clone())];
        let request = BootRequest::new(&image, &machine, &cmdline)
            .with_initrd(5)
            .with_modules(&modules)
            .with_rng_seed(&[1, 2])
            .with_kaslr_seed(3)
            .with_device_tree(&[4]);
        assert_eq!(request.initrd_len, NonZeroU64::new(5));
        assert_eq!(
            (request.modules[0].len, &request.modules[0].cmdline),
            (7, &cmdline)
        );
        assert_eq!(request.rng_seed, Some(&[1, 2][..]));
        assert_eq!(request.kaslr_seed, Some(3));
        assert_eq!(request.device_tree, Some(&[4][..]));
        assert_eq!(request.cmdline, &cmdline);
    }

    #[test]
    fn parts_print_as_objects_of_a_sentence() {
        assert_eq!(
            RequestPart::ALL.map(|part| part.to_string()),
            [
                "an initrd",
                "modules",
                "a device tree",
                "the address of the ACPI RSDP"
            ]
        );
    }
}
