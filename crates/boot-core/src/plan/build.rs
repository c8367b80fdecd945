//! Building and validating a plan.

use alloc::borrow::{Cow, ToOwned};
use alloc::string::String;
use alloc::vec::Vec;

use super::{BootFile, BootPlan, Load, LoadContent};
use crate::placement::{KERNEL_LABEL, PlacedAdditional, PlacedKernel};
use crate::{
    AdditionalContent, AdditionalPlace, Arch, BootRequest, Constraints, CpuState, GuestRange, MemoryMap,
    RegionKind, SourceRange, Warning, WarningDetail, arith,
};

/// Collects loads, memory map and CPU states of a plan, and validates them as a whole.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct PlanBuilder {
    plan: BootPlan,
    machine: MemoryMap,
    /// Sorted by address, without overlaps.
    occupied_ranges: Vec<GuestRange>,
    kernel_constraints: Constraints,
    /// Labels and addresses that the request fixes.
    fixed_addresses: Vec<(String, u64)>,
}

/// Why a plan is not valid.
///
/// Most variants are bugs of the protocol crate; an image with contradictory headers can cause some of them. Nothing
/// has been written to guest memory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValidationError {
    /// A load without bytes.
    #[error("the {label} at {:#x} is empty", range.start())]
    Empty {
        /// Label of the load.
        label: Cow<'static, str>,
        /// Its range.
        range: GuestRange,
    },
    /// A load outside the machine's RAM.
    #[error("the {label} at {range} is not inside the machine's RAM")]
    NotRam {
        /// Label of the load.
        label: Cow<'static, str>,
        /// Its range.
        range: GuestRange,
    },
    /// A load, or the kernel's extent, that does not meet its constraints.
    #[error("the {label} at {range} does not meet its constraints: it must be {constraints}")]
    Constraints {
        /// Label of the load.
        label: Cow<'static, str>,
        /// Its range.
        range: GuestRange,
        /// The constraints.
        constraints: Constraints,
    },
    /// Two loads that overlap.
    #[error("the {first} at {first_range} and the {second} at {second_range} overlap")]
    Overlap {
        /// Label of the load with the lower address.
        first: Cow<'static, str>,
        /// Its range.
        first_range: GuestRange,
        /// Label of the other load.
        second: Cow<'static, str>,
        /// Its range.
        second_range: GuestRange,
    },
    /// A load that is not part of the kernel, in memory that the kernel uses.
    #[error("the {label} at {range} overlaps the memory that the kernel uses, {kernel}")]
    InKernel {
        /// Label of the load.
        label: Cow<'static, str>,
        /// Its range.
        range: GuestRange,
        /// The memory that the kernel uses.
        kernel: GuestRange,
    },
    /// Content that is longer or shorter than its load.
    #[error("the {label} has {found:#x} bytes of content in a range of {expected:#x} bytes")]
    ContentLength {
        /// Label of the load.
        label: Cow<'static, str>,
        /// The length of the load in bytes.
        expected: u64,
        /// The length of the content in bytes.
        found: u64,
    },
    /// Content past the end of its file, or of a file that the request does not have.
    #[error("the {label} needs bytes {range} of the {id}, which is shorter or not part of the boot")]
    PastEnd {
        /// Label of the load.
        label: Cow<'static, str>,
        /// The file.
        id: BootFile,
        /// The bytes.
        range: SourceRange,
    },
    /// The guest's memory map lists RAM that the machine does not have.
    #[error("the guest's memory map lists {0} as RAM, but not all of that is RAM of the machine")]
    MapNotRam(GuestRange),
    /// A load is not in a region of its kind.
    #[error("the {label} at {range} is not inside a region of kind {kind} of the guest's memory map")]
    WrongRegion {
        /// Label of the load.
        label: Cow<'static, str>,
        /// Its range.
        range: GuestRange,
        /// The kind of region that it needs.
        kind: RegionKind,
    },
    /// The plan has nothing at an address that the request fixes.
    #[error("the request fixes the {label} at {addr:#x}, but the plan has no {label} there; it has: {}", present.join(", "))]
    FixedAddress {
        /// The label of the request.
        label: String,
        /// The address of the request.
        addr: u64,
        /// The labels of the plan.
        present: Vec<Cow<'static, str>>,
    },
    /// A plan without a CPU state.
    #[error("the plan starts no CPU")]
    NoCpu,
    /// A CPU state of another architecture.
    #[error("a {found} CPU state in a plan for {expected}")]
    CpuArch {
        /// The plan's architecture.
        expected: Arch,
        /// The architecture of the state.
        found: Arch,
    },
    /// A CPU that starts outside the kernel.
    #[error("a CPU starts at {0:#x}, outside the kernel")]
    EntryOutside(u64),
}

impl PlanBuilder {
    /// A plan of `protocol` for `request` that loads the kernel's segments. The guest's memory map is the machine's unless
    /// [`memory`](Self::memory) sets another one.
    pub fn new(protocol: &'static str, request: &BootRequest<'_>, kernel: &PlacedKernel) -> Self {
        let mut file_lens = Vec::new();
        file_lens.push((BootFile::Kernel, request.image.source_len()));
        file_lens.extend(request.initrd_len.map(|len| (BootFile::Initrd, len.get())));
        file_lens.extend(
            request
                .modules
                .iter()
                .enumerate()
                .map(|(i, module)| (BootFile::Module(i), module.len)),
        );
        for (i, load) in request.additional_loads.iter().enumerate() {
            if let AdditionalContent::File(len) = load.content {
                file_lens.push((BootFile::Additional(i), len));
            }
        }
        let plan = BootPlan {
            protocol,
            arch: request.machine.arch,
            loads: Vec::new(),
            memory: request.machine.memory.clone(),
            kernel: kernel.extent(),
            cpus: Vec::new(),
            file_lens,
            warnings: request.image.warnings().to_vec(),
        };
        let builder = Self {
            plan,
            machine: request.machine.memory.clone(),
            occupied_ranges: kernel.occupied_ranges().to_vec(),
            kernel_constraints: Constraints::NONE,
            fixed_addresses: request
                .fixed_addresses
                .iter()
                .map(|fixed| (fixed.label.to_owned(), fixed.addr))
                .collect(),
        };
        kernel.segments().iter().fold(builder, |builder, segment| {
            let content = LoadContent::File {
                id: BootFile::Kernel,
                range: segment.source,
            };
            [
                (segment.file_part(), content),
                (segment.zero_part(), LoadContent::Zeros),
            ]
            .into_iter()
            .filter(|(range, _)| !range.is_empty())
            .map(|(range, content)| Load {
                kernel: true,
                ..Load::new(range, content, KERNEL_LABEL, Constraints::NONE)
            })
            .fold(builder, Self::load)
        })
    }

    /// Adds a load.
    pub fn load(mut self, load: Load) -> Self {
        self.plan.loads.push(load);
        self
    }

    /// Sets the protocol's constraints on the kernel's runtime extent. The default is none.
    pub fn kernel_constraints(mut self, constraints: Constraints) -> Self {
        self.kernel_constraints = constraints;
        self
    }

    /// Adds a load of `bytes`, padded with zeros to the length of `range`. [`build`](Self::build) refuses longer bytes.
    pub fn bytes(
        self,
        label: &'static str,
        range: GuestRange,
        mut bytes: Vec<u8>,
        constraints: Constraints,
    ) -> Self {
        if let Ok(len) = usize::try_from(range.len()) {
            bytes.resize(len.max(bytes.len()), 0);
        }
        self.load(Load::new(range, LoadContent::Bytes(bytes), label, constraints))
    }

    /// Adds a load of a file: as many of its first bytes as `range` has.
    pub fn file(
        self,
        label: impl Into<Cow<'static, str>>,
        range: GuestRange,
        id: BootFile,
        constraints: Constraints,
    ) -> Self {
        let content = LoadContent::File {
            id,
            range: SourceRange::whole(range.len()),
        };
        self.load(Load::new(range, content, label, constraints))
    }

    /// Adds the additional loads of the request at their places, and sets the memory map that is described to the guest to
    /// that of `placed`.
    pub fn additional(self, request: &BootRequest<'_>, placed: &PlacedAdditional) -> Self {
        let loads = request.additional_loads.iter().zip(placed.ranges()).enumerate();
        loads.fold(
            self.memory(placed.memory().clone()),
            |builder, (i, (load, range))| {
                let content = match load.content {
                    AdditionalContent::Bytes(bytes) => LoadContent::Bytes(bytes.to_vec()),
                    AdditionalContent::File(len) => LoadContent::File {
                        id: BootFile::Additional(i),
                        range: SourceRange::whole(len),
                    },
                    AdditionalContent::Present(_) => LoadContent::Present,
                };
                let constraints = match load.place {
                    AdditionalPlace::At(_) => Constraints::NONE,
                    AdditionalPlace::Within(constraints) => constraints,
                };
                builder.load(
                    Load::new(*range, content, load.label, constraints)
                        .in_region(load.kind)
                        .in_pages(load.page_kind),
                )
            },
        )
    }

    /// Sets the memory map that is described to the guest.
    pub fn memory(mut self, memory: MemoryMap) -> Self {
        self.plan.memory = memory;
        self
    }

    /// Adds the entry state of a CPU that the VMM starts; the first is the boot CPU.
    pub fn cpu(mut self, state: impl Into<CpuState>) -> Self {
        self.plan.cpus.push(state.into());
        self
    }

    /// Adds a warning of the protocol's own type.
    pub fn warning<W: WarningDetail>(mut self, warning: W) -> Self {
        self.plan.warnings.push(Warning::new(warning));
        self
    }

    /// Validates the plan.
    ///
    /// # Errors
    ///
    /// [`ValidationError`] with the first check of [`BootPlan`] that fails.
    pub fn build(self) -> Result<BootPlan, ValidationError> {
        let Self {
            mut plan,
            machine,
            occupied_ranges,
            kernel_constraints,
            fixed_addresses,
        } = self;
        plan.loads.sort_unstable_by_key(|load| load.range);
        for load in &plan.loads {
            validate_load(load, &plan, &machine)?;
            validate_outside_kernel(load, &occupied_ranges)?;
        }
        for pair in plan.loads.windows(2) {
            match pair {
                [a, b] if a.range.overlaps(b.range) => {
                    return Err(ValidationError::Overlap {
                        first: a.label.clone(),
                        first_range: a.range,
                        second: b.label.clone(),
                        second_range: b.range,
                    });
                }
                _ => {}
            }
        }
        if !kernel_constraints.allows_in(plan.kernel, &machine) {
            return Err(ValidationError::Constraints {
                label: KERNEL_LABEL.into(),
                range: plan.kernel,
                constraints: kernel_constraints,
            });
        }
        for range in &occupied_ranges {
            if !machine.is_ram(*range) {
                return Err(ValidationError::NotRam {
                    label: KERNEL_LABEL.into(),
                    range: *range,
                });
            }
        }
        if let Some(range) = plan.memory.ram().find(|range| !machine.is_ram(*range)) {
            return Err(ValidationError::MapNotRam(range));
        }
        validate_fixed_addresses(&plan, fixed_addresses)?;
        validate_cpus(&plan)?;
        Ok(plan)
    }
}

fn validate_load(load: &Load, plan: &BootPlan, machine: &MemoryMap) -> Result<(), ValidationError> {
    let Load {
        range,
        content,
        label,
        constraints,
        ..
    } = load;
    let (range, constraints, label) = (*range, *constraints, label.clone());
    if range.is_empty() {
        return Err(ValidationError::Empty { label, range });
    }
    let kind = load.region();
    if !machine.is_ram(range) && (kind == RegionKind::Ram || !machine.is_kind(range, kind)) {
        return Err(ValidationError::NotRam { label, range });
    }
    if kind != RegionKind::Ram && !plan.memory.is_kind(range, kind) {
        return Err(ValidationError::WrongRegion { label, range, kind });
    }
    if !constraints.allows_in(range, machine) {
        return Err(ValidationError::Constraints {
            label,
            range,
            constraints,
        });
    }
    let found = match content {
        LoadContent::File { id, range } => {
            let inside = plan
                .file_lens
                .iter()
                .any(|(known, len)| known == id && range.end() <= *len);
            if !inside {
                return Err(ValidationError::PastEnd {
                    label,
                    id: *id,
                    range: *range,
                });
            }
            range.len()
        }
        LoadContent::Bytes(bytes) => arith::to_u64(bytes.len()),
        LoadContent::Zeros | LoadContent::Present => range.len(),
    };
    if found == range.len() {
        Ok(())
    } else {
        Err(ValidationError::ContentLength {
            label,
            expected: range.len(),
            found,
        })
    }
}

/// Refuses a load that is not part of the kernel but overlaps memory that the kernel uses. There may be many occupied
/// ranges, so the search is binary.
fn validate_outside_kernel(load: &Load, occupied_ranges: &[GuestRange]) -> Result<(), ValidationError> {
    if load.is_kernel() {
        return Ok(());
    }
    let first = occupied_ranges.partition_point(|kernel| kernel.end() <= load.range.start());
    match occupied_ranges.get(first) {
        Some(kernel) if kernel.overlaps(load.range) => Err(ValidationError::InKernel {
            label: load.label.clone(),
            range: load.range,
            kernel: *kernel,
        }),
        _ => Ok(()),
    }
}

/// Checks that the plan has each piece whose address the request fixes, at that address.
fn validate_fixed_addresses(plan: &BootPlan, fixed: Vec<(String, u64)>) -> Result<(), ValidationError> {
    for (label, addr) in fixed {
        let is_there = if label == KERNEL_LABEL {
            plan.kernel.start() == addr
        } else {
            let mut loads = plan.loads.iter();
            loads.any(|load| !load.is_kernel() && load.label == label && load.range.start() == addr)
        };
        if !is_there {
            let mut present: Vec<_> = plan.loads.iter().map(|load| load.label.clone()).collect();
            present.sort_unstable();
            present.dedup();
            return Err(ValidationError::FixedAddress { label, addr, present });
        }
    }
    Ok(())
}

fn validate_cpus(plan: &BootPlan) -> Result<(), ValidationError> {
    if plan.cpus.is_empty() {
        return Err(ValidationError::NoCpu);
    }
    for cpu in &plan.cpus {
        if cpu.arch() != plan.arch {
            return Err(ValidationError::CpuArch {
                expected: plan.arch,
                found: cpu.arch(),
            });
        }
        let entry = cpu.entry();
        let in_kernel = |load: &Load| load.is_kernel() && load.range.contains_addr(entry);
        if !plan.loads.iter().any(in_kernel) {
            return Err(ValidationError::EntryOutside(entry));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;
    use crate::cpu::x86_64;
    use crate::{AdditionalLoad, Cmdline, EntryAbi, FixedAddress, Machine, RamAllocator, testing};

    #[test]
    fn the_first_cpu_is_the_boot_cpu() {
        let range = GuestRange::new(0x10_1000, 0x1000).unwrap();
        let image = testing::image(range, EntryAbi::ELF32);
        let machine = Machine::new(Arch::X86_64, MemoryMap::pc(2 << 20).unwrap());
        let cmdline = Cmdline::new();
        let kernel = PlacedKernel::place(&image, &mut RamAllocator::new(&machine.memory)).unwrap();
        let request = BootRequest::new(&image, &machine, &cmdline);
        let states = [0x10_1000, 0x10_1800].map(|entry| x86_64::State::protected_mode(entry, 8, 16));
        let [first, second] = states;
        let plan = PlanBuilder::new("test", &request, &kernel).cpu(first).cpu(second);
        let plan = plan.build().unwrap();
        assert_eq!(plan.boot_cpu().x86_64(), Ok(&first));
        assert_eq!(plan.cpus(), states.map(CpuState::from));
    }

    /// VMMs plan on one thread and load on another.
    #[test]
    fn plans_and_requests_can_change_threads() {
        fn check<T: Send + Sync>() {}
        check::<BootPlan>();
        check::<BootRequest<'_>>();
        check::<PlanBuilder>();
        check::<ValidationError>();
    }

    #[test]
    fn the_kernel_meets_its_protocols_constraints() {
        let check = |constraints: Constraints, kept: bool| {
            let range = GuestRange::new(0x10_1000, 0x1000).unwrap();
            let image = testing::image(range, EntryAbi::ELF32);
            let machine = Machine::new(Arch::X86_64, MemoryMap::pc(2 << 20).unwrap());
            let cmdline = Cmdline::new();
            let kernel = PlacedKernel::place(&image, &mut RamAllocator::new(&machine.memory)).unwrap();
            let plan = PlanBuilder::new("test", &BootRequest::new(&image, &machine, &cmdline), &kernel)
                .cpu(x86_64::State::protected_mode(0x10_1000, 8, 16))
                .kernel_constraints(constraints)
                .build();
            assert_eq!(plan.is_ok(), kept, "{constraints:?}: {plan:?}");
            assert!(plan.is_ok() || matches!(plan, Err(ValidationError::Constraints { .. })));
        };
        let constraints = |align, min, max| Constraints::aligned(align).between(min, max);
        check(Constraints::NONE, true);
        check(constraints(0x1000, 0x10_1000, 0x10_2000), true);
        check(constraints(0x2000, 0, u64::MAX), false);
        check(constraints(1, 0x10_1001, u64::MAX), false);
        check(constraints(1, 0, 0x10_1fff), false);
    }

    #[test]
    fn pieces_are_where_the_request_fixes_them() {
        let range = GuestRange::new(0x10_1000, 0x1000).unwrap();
        let image = testing::image(range, EntryAbi::ELF32);
        let machine = Machine::new(Arch::X86_64, MemoryMap::pc(2 << 20).unwrap());
        let cmdline = Cmdline::new();
        let check = |label: &str, addr, expected: Option<&str>| {
            let fixed = [FixedAddress::new(label, addr)];
            let request = BootRequest::new(&image, &machine, &cmdline).with_fixed_addresses(&fixed);
            let kernel = PlacedKernel::place(&image, &mut RamAllocator::new(&machine.memory)).unwrap();
            let plan = PlanBuilder::new("test", &request, &kernel)
                .bytes(
                    "table",
                    GuestRange::new(0x1000, 1).unwrap(),
                    Vec::new(),
                    Constraints::NONE,
                )
                .cpu(x86_64::State::protected_mode(0x10_1000, 8, 16))
                .build();
            let error = plan.err().map(|error| error.to_string());
            assert_eq!(error.as_deref(), expected);
        };
        check("table", 0x1000, None);
        check("kernel", 0x10_1000, None);
        check(
            "table",
            0x1001,
            Some(
                "the request fixes the table at 0x1001, but the plan has no table there; it has: kernel, table",
            ),
        );
        check(
            "GDT",
            0x1000,
            Some("the request fixes the GDT at 0x1000, but the plan has no GDT there; it has: kernel, table"),
        );
        check(
            "kernel",
            0x10_1001,
            Some(
                "the request fixes the kernel at 0x101001, but the plan has no kernel there; it has: kernel, table",
            ),
        );
    }

    #[test]
    fn additional_loads_are_part_of_the_plan() {
        let image = testing::image(GuestRange::new(0x10_0000, 4).unwrap(), EntryAbi::ELF32);
        let machine = Machine::new(Arch::X86_64, MemoryMap::pc(2 << 20).unwrap());
        let cmdline = Cmdline::new();
        let loads = [
            AdditionalLoad::bytes("tables", b"RSD PTR ")
                .at(0xe_0000)
                .in_region(RegionKind::Reserved),
            AdditionalLoad::file("firmware", 3),
        ];
        let request = BootRequest::new(&image, &machine, &cmdline).with_additional_loads(&loads);
        let mut allocator = RamAllocator::for_request(&request).unwrap();
        let kernel = PlacedKernel::place(&image, &mut allocator).unwrap();
        let placed = PlacedAdditional::place(&mut allocator, &loads).unwrap();
        let builder =
            PlanBuilder::new("test", &request, &kernel).cpu(x86_64::State::protected_mode(0x10_0000, 8, 16));
        let plan = builder.clone().additional(&request, &placed).build().unwrap();
        let found: Vec<_> = plan
            .loads()
            .iter()
            .map(|load| (&*load.label, load.range.start(), load.region()))
            .collect();
        assert_eq!(
            found,
            [
                ("firmware", 0x1000, RegionKind::Ram),
                ("tables", 0xe_0000, RegionKind::Reserved),
                ("kernel", 0x10_0000, RegionKind::Ram),
            ]
        );
        assert_eq!(
            plan.file_lens(),
            [(BootFile::Kernel, 4), (BootFile::Additional(1), 3)]
        );
        let wrong = |at, kind| {
            let range = GuestRange::new(at, 1).unwrap();
            let load = Load::new(range, LoadContent::Zeros, "table", Constraints::NONE).in_region(kind);
            builder.clone().load(load).build().unwrap_err()
        };
        // Not memory of the machine; RAM that the guest's map lists as such; reserved memory for a load in RAM.
        assert!(matches!(
            wrong(0xe_0000, RegionKind::AcpiNvs),
            ValidationError::NotRam { .. }
        ));
        assert!(matches!(
            wrong(0x1000, RegionKind::AcpiNvs),
            ValidationError::WrongRegion { .. }
        ));
        assert!(matches!(
            wrong(0xe_0000, RegionKind::Ram),
            ValidationError::NotRam { .. }
        ));
    }
}
