//! Building and validating a plan.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use super::{BootFile, BootPlan, Load, LoadContent};
use crate::placement::{KERNEL_LABEL, PlacedKernel};
use crate::{
    Arch, BootRequest, Constraints, CpuState, GuestRange, MemoryMap, SourceRange, Warning, WarningDetail,
    arith,
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
        } = self;
        plan.loads.sort_by_key(|load| load.range);
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
        if !kernel_constraints.allows(plan.kernel) {
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
    if !machine.is_ram(range) {
        return Err(ValidationError::NotRam { label, range });
    }
    if !constraints.allows(range) {
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
        LoadContent::Zeros => range.len(),
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
    use super::*;
    use crate::cpu::x86_64;
    use crate::{Cmdline, EntryAbi, Machine, RamAllocator, testing};

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
}
