//! The input of planning: kernel, machine, command line, initrd, modules and seeds.

use alloc::vec::Vec;
use core::fmt;
use core::num::NonZeroU64;

use crate::{
    CmdlineError, CmdlineRef, Constraints, KernelImage, Machine, PageKind, RawCmdline, RegionKind, arith,
};

/// A file that the kernel gets in addition to the initrd, with a command line of its own (Multiboot, PVH).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Module {
    /// Its length in bytes.
    pub len: u64,
    /// Its command line. Modules have no common rules for it.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serialize::display"))]
    pub cmdline: RawCmdline,
}

impl Module {
    /// A module of `len` bytes with an empty command line.
    #[must_use]
    pub const fn new(len: u64) -> Self {
        Self {
            len,
            cmdline: RawCmdline::new(),
        }
    }

    /// The same with a command line.
    #[must_use]
    pub fn with_cmdline(self, cmdline: RawCmdline) -> Self {
        Self { cmdline, ..self }
    }
}

/// The address of one piece of the boot, chosen by the caller.
///
/// The label is that of the piece in the plan ([`Load::label`](crate::Load::label)): `kernel`, `initrd`, or a piece of the
/// protocol, which its crate lists. For the kernel the address is the start of its [extent](KernelImage::extent). The address
/// must meet the constraints of the protocol, as any other address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct FixedAddress<'a> {
    /// The label of the piece.
    pub label: &'a str,
    /// Its guest physical address.
    pub addr: u64,
}

impl<'a> FixedAddress<'a> {
    /// The piece with this label at `addr`.
    #[must_use]
    pub const fn new(label: &'a str, addr: u64) -> Self {
        Self { label, addr }
    }
}

/// A load of the caller's own, placed and checked with those of the boot: ACPI tables, SMBIOS, an MP table, firmware.
///
/// The memory map that the guest gets lists it with its [`kind`](Self::kind).
///
/// ```
/// use boot_core::{AdditionalLoad, Constraints, RegionKind};
///
/// # let tables = [0; 0x240];
/// // At a fixed address, in a region of the machine's memory map that is not RAM.
/// let rsdp = AdditionalLoad::bytes("RSDP", &tables[..36]).at(0xe_0000).in_region(RegionKind::Reserved);
/// // In RAM that the guest's memory map lists as ACPI tables.
/// let tables = AdditionalLoad::bytes("ACPI tables", &tables)
///     .within(Constraints::below_4g(0x40))
///     .in_region(RegionKind::AcpiReclaimable);
/// # let _ = (rsdp, tables);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct AdditionalLoad<'a> {
    /// Its label in the plan and in errors.
    pub label: &'static str,
    /// Its content.
    pub content: AdditionalContent<'a>,
    /// Its place.
    pub place: AdditionalPlace,
    /// The kind of the region of the guest's memory map that contains it. A load of another kind than RAM lies in a region of
    /// that kind of the machine's memory map, which must have memory behind it, or in RAM; the guest's map then lists these
    /// bytes with the kind.
    pub kind: RegionKind,
    /// How its pages take part in the measurement of a confidential guest.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "PageKind::is_measured"))]
    pub page_kind: PageKind,
}

/// Content of an [`AdditionalLoad`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum AdditionalContent<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// A file of this length in bytes: [`BootFile::Additional`](crate::BootFile::Additional).
    File(u64),
    /// What the memory already contains, this many bytes: nothing is written. For a loader inside the machine, whose own memory
    /// the kernel gets after the start, and for tables that are already in place.
    Present(u64),
}

impl AdditionalContent<'_> {
    /// Its length in bytes.
    #[must_use]
    pub const fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => arith::to_u64(bytes.len()),
            Self::File(len) | Self::Present(len) => *len,
        }
    }

    /// Whether it has no bytes. Such a load is refused.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Place of an [`AdditionalLoad`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum AdditionalPlace {
    /// At this guest physical address.
    At(u64),
    /// In free RAM that meets these constraints.
    Within(Constraints),
}

impl<'a> AdditionalLoad<'a> {
    /// A load of `bytes`, page-aligned, in RAM that stays RAM for the guest.
    #[must_use]
    pub const fn bytes(label: &'static str, bytes: &'a [u8]) -> Self {
        Self::new(label, AdditionalContent::Bytes(bytes))
    }

    /// A load of a file of `len` bytes, page-aligned, in RAM that stays RAM for the guest.
    #[must_use]
    pub const fn file(label: &'static str, len: u64) -> Self {
        Self::new(label, AdditionalContent::File(len))
    }

    /// Memory that keeps what it contains: the `len` bytes at `addr`, in RAM that stays RAM for the guest. Nothing else is placed there.
    ///
    /// Firmware reserves its own memory with it until the kernel runs.
    #[must_use]
    pub const fn present(label: &'static str, addr: u64, len: u64) -> Self {
        Self::new(label, AdditionalContent::Present(len)).at(addr)
    }

    const fn new(label: &'static str, content: AdditionalContent<'a>) -> Self {
        Self {
            label,
            content,
            place: AdditionalPlace::Within(Constraints::aligned(0x1000).between(0x1000, u64::MAX)),
            kind: RegionKind::Ram,
            page_kind: PageKind::MEASURED,
        }
    }

    /// The same in pages of this kind in place of measured ones.
    #[must_use]
    pub const fn in_pages(self, page_kind: PageKind) -> Self {
        Self { page_kind, ..self }
    }

    /// The same at the guest physical address `addr`.
    #[must_use]
    pub const fn at(self, addr: u64) -> Self {
        Self {
            place: AdditionalPlace::At(addr),
            ..self
        }
    }

    /// The same in free RAM that meets `constraints`.
    #[must_use]
    pub const fn within(self, constraints: Constraints) -> Self {
        Self {
            place: AdditionalPlace::Within(constraints),
            ..self
        }
    }

    /// The same in a region of this kind.
    #[must_use]
    pub const fn in_region(self, kind: RegionKind) -> Self {
        Self { kind, ..self }
    }
}

/// A part of a [`BootRequest`] that only some protocols can hand over to the kernel.
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
    /// The address of the SMBIOS entry point ([`Machine::smbios`]).
    Smbios,
    /// Additional loads ([`BootRequest::additional_loads`]).
    AdditionalLoads,
    /// Random bytes for the entropy pool ([`BootRequest::rng_seed`]).
    RngSeed,
    /// A random number for KASLR ([`BootRequest::kaslr_seed`]).
    KaslrSeed,
}

impl RequestPart {
    /// Every part.
    pub const ALL: [Self; 8] = [
        Self::Initrd,
        Self::Modules,
        Self::DeviceTree,
        Self::AcpiRsdp,
        Self::Smbios,
        Self::AdditionalLoads,
        Self::RngSeed,
        Self::KaslrSeed,
    ];
}

impl fmt::Display for RequestPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Initrd => "an initrd",
            Self::Modules => "modules",
            Self::DeviceTree => "a device tree",
            Self::AcpiRsdp => "the address of the ACPI RSDP",
            Self::Smbios => "the address of the SMBIOS entry point",
            Self::AdditionalLoads => "additional loads",
            Self::RngSeed => "random bytes for the entropy pool",
            Self::KaslrSeed => "a random number for KASLR",
        })
    }
}

/// The request makes room for a longer command line than the protocol or the kernel takes ([`BootRequest::cmdline_capacity`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request makes room for a command line of {found} bytes, but at most {max} are possible")]
#[non_exhaustive]
pub struct CmdlineCapacityError {
    /// The requested length in bytes, without the NUL.
    pub found: usize,
    /// The longest possible one.
    pub max: usize,
}

/// Why a request has no [command line in bytes](BootRequest::cmdline_bytes).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestCmdlineError {
    /// The command line is too long.
    #[error(transparent)]
    Cmdline(#[from] CmdlineError),
    /// The room for a longer one is too large.
    #[error(transparent)]
    Capacity(#[from] CmdlineCapacityError),
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
    /// The kernel's command line: by the rules of Linux, or raw.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serialize::display"))]
    pub cmdline: CmdlineRef<'a>,
    /// Length of the initrd in bytes, if there is one.
    pub initrd_len: Option<NonZeroU64>,
    /// Modules, for protocols that have them.
    pub modules: &'a [Module],
    /// Random bytes for the guest's entropy pool, for protocols that have them.
    pub rng_seed: Option<&'a [u8]>,
    /// Random number for KASLR, for protocols that have it.
    pub kaslr_seed: Option<u64>,
    /// Number that chooses the address of a relocatable kernel among all that its constraints and those of the protocol allow: the physical part
    /// of KASLR. Equal numbers give equal plans. A kernel that is not relocatable stays at its address.
    pub placement_seed: Option<u64>,
    /// A flattened device tree of the machine. The protocol validates it and sets command line, initrd, seeds and memory in
    /// it. Without one, the protocol creates it from [`Machine::platform`](crate::Machine::platform).
    pub device_tree: Option<&'a [u8]>,
    /// Addresses of pieces of the boot that the caller chooses. An address for a label that the plan does not have is an
    /// error.
    pub fixed_addresses: &'a [FixedAddress<'a>],
    /// Loads of the caller's own, in addition to those of the protocol.
    pub additional_loads: &'a [AdditionalLoad<'a>],
    /// Length of the longest command line to make room for, in bytes without the NUL. Plans of requests that differ
    /// only in command lines up to this length have the same ranges, so that a kernel can be loaded before the command line is
    /// complete ([`BootPlan::load_if`](crate::BootPlan::load_if)).
    pub cmdline_capacity: usize,
}

impl<'a> BootRequest<'a> {
    /// A request without optional parts. `cmdline` is a reference to a [`Cmdline`](crate::Cmdline) or [`RawCmdline`].
    #[must_use]
    pub fn new(image: &'a KernelImage, machine: &'a Machine, cmdline: impl Into<CmdlineRef<'a>>) -> Self {
        Self {
            image,
            machine,
            cmdline: cmdline.into(),
            initrd_len: None,
            modules: &[],
            rng_seed: None,
            kaslr_seed: None,
            placement_seed: None,
            device_tree: None,
            fixed_addresses: &[],
            additional_loads: &[],
            cmdline_capacity: 0,
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
            RequestPart::Smbios => self.machine.smbios.is_some(),
            RequestPart::AdditionalLoads => !self.additional_loads.is_empty(),
            RequestPart::RngSeed => self.rng_seed.is_some(),
            RequestPart::KaslrSeed => self.kaslr_seed.is_some(),
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

    /// The same with a number that chooses the kernel's address.
    #[must_use]
    pub const fn with_placement_seed(self, seed: u64) -> Self {
        Self {
            placement_seed: Some(seed),
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

    /// The same with pieces at addresses that the caller chooses.
    #[must_use]
    pub const fn with_fixed_addresses(self, fixed_addresses: &'a [FixedAddress<'a>]) -> Self {
        Self {
            fixed_addresses,
            ..self
        }
    }

    /// The same with loads of the caller's own.
    #[must_use]
    pub const fn with_additional_loads(self, additional_loads: &'a [AdditionalLoad<'a>]) -> Self {
        Self {
            additional_loads,
            ..self
        }
    }

    /// The same with room for a command line of up to `len` bytes.
    #[must_use]
    pub const fn with_cmdline_capacity(self, len: usize) -> Self {
        Self {
            cmdline_capacity: len,
            ..self
        }
    }

    /// The command line with its terminating NUL, and with more NULs up to the requested
    /// [capacity](Self::cmdline_capacity).
    ///
    /// # Errors
    ///
    /// [`RequestCmdlineError::Cmdline`] for a command line of more than `max` bytes without the NUL, and
    /// [`RequestCmdlineError::Capacity`] for such a capacity, or one of more than 1 MiB.
    pub fn cmdline_bytes(&self, max: usize) -> Result<Vec<u8>, RequestCmdlineError> {
        const MAX_CAPACITY: usize = 1 << 20;
        let mut bytes = self.cmdline.to_bytes(max)?;
        let max = max.min(MAX_CAPACITY);
        if self.cmdline_capacity > max {
            let found = self.cmdline_capacity;
            return Err(CmdlineCapacityError { found, max }.into());
        }
        bytes.resize(bytes.len().max(self.cmdline_capacity.saturating_add(1)), 0);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;
    use crate::{Arch, Cmdline, EntryAbi, GuestRange, MemoryMap, testing};

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
            let found: Vec<_> = RequestPart::ALL
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
        let mut smbios = acpi.clone();
        smbios.acpi_rsdp = None;
        smbios.smbios = Some(0xf_0000);
        check(request(&smbios), &[RequestPart::Smbios]);
        let loads = [AdditionalLoad::file("firmware", 1)];
        let with_load = request(&bare).with_additional_loads(&loads);
        check(with_load, &[RequestPart::AdditionalLoads]);
        check(request(&bare).with_rng_seed(&[]), &[RequestPart::RngSeed]);
        check(request(&bare).with_kaslr_seed(0), &[RequestPart::KaslrSeed]);
    }

    #[test]
    fn setters_keep_what_was_set_before() {
        let (image, cmdline) = (image(), Cmdline::parse("quiet").unwrap());
        let machine = Machine::new(Arch::X86_64, MemoryMap::new());
        let modules = [Module::new(7).with_cmdline(RawCmdline::from(&cmdline))];
        let request = BootRequest::new(&image, &machine, &cmdline)
            .with_initrd(5)
            .with_modules(&modules)
            .with_rng_seed(&[1, 2])
            .with_kaslr_seed(3)
            .with_device_tree(&[4]);
        assert_eq!(request.initrd_len, NonZeroU64::new(5));
        assert_eq!(
            (request.modules[0].len, request.modules[0].cmdline.as_bytes()),
            (7, &b"quiet"[..])
        );
        assert_eq!(request.rng_seed, Some(&[1, 2][..]));
        assert_eq!(request.kaslr_seed, Some(3));
        assert_eq!(request.device_tree, Some(&[4][..]));
        assert_eq!(request.cmdline, CmdlineRef::Linux(&cmdline));
        let raw = RawCmdline::new();
        let request = BootRequest::new(&image, &machine, &raw);
        assert_eq!(request.cmdline, CmdlineRef::Raw(&raw));
    }

    #[test]
    fn the_command_line_has_room_for_a_longer_one() {
        let (image, cmdline) = (image(), Cmdline::parse("quiet").unwrap());
        let machine = Machine::new(Arch::X86_64, MemoryMap::new());
        let bytes = |capacity, max| {
            BootRequest::new(&image, &machine, &cmdline)
                .with_cmdline_capacity(capacity)
                .cmdline_bytes(max)
        };
        assert_eq!(bytes(0, 5).unwrap(), b"quiet\0");
        assert_eq!(bytes(3, 5).unwrap(), b"quiet\0");
        assert_eq!(bytes(8, 8).unwrap(), b"quiet\0\0\0\0");
        assert!(matches!(
            bytes(0, 4),
            Err(RequestCmdlineError::Cmdline(CmdlineError::TooLong {
                len: 5,
                max: 4
            }))
        ));
        let check = |found, max, expected: &str| {
            assert_eq!(bytes(found, max).unwrap_err().to_string(), expected);
        };
        check(
            9,
            8,
            "the request makes room for a command line of 9 bytes, but at most 8 are possible",
        );
        check(
            usize::MAX,
            usize::MAX,
            &std::format!(
                "the request makes room for a command line of {} bytes, but at most 1048576 are possible",
                usize::MAX
            ),
        );
    }

    #[test]
    fn additional_loads_are_what_was_set() {
        let load = AdditionalLoad::bytes("tables", &[1, 2]);
        assert_eq!((load.content.len(), load.kind), (2, RegionKind::Ram));
        assert_eq!(
            load.place,
            AdditionalPlace::Within(Constraints::aligned(0x1000).between(0x1000, u64::MAX))
        );
        let load = load.at(0x9000).in_region(RegionKind::AcpiNvs);
        assert_eq!(
            (load.place, load.kind),
            (AdditionalPlace::At(0x9000), RegionKind::AcpiNvs)
        );
        let file = AdditionalLoad::file("firmware", 0);
        assert!(file.content.is_empty() && !load.content.is_empty());
    }

    #[test]
    fn parts_print_as_objects_of_a_sentence() {
        assert_eq!(
            RequestPart::ALL.map(|part| part.to_string()),
            [
                "an initrd",
                "modules",
                "a device tree",
                "the address of the ACPI RSDP",
                "the address of the SMBIOS entry point",
                "additional loads",
                "random bytes for the entropy pool",
                "a random number for KASLR"
            ]
        );
    }
}
