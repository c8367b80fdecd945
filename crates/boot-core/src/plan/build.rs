//! Building a plan, and proving it.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use super::{BootPlan, Content, Load, SourceId};
use crate::placement::{KERNEL_LABEL, PlacedKernel};
use crate::{
    Arch, BootRequest, Constraints, CpuState, GuestRange, MemoryMap, SourceRange, Warning, WarningDetail,
    arith,
};

/// Collects what a protocol writer decided and proves it as a whole.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct PlanBuilder {
    plan: BootPlan,
    machine: MemoryMap,
    /// Sorted by address, without overlaps.
    occupied_ranges: Vec<GuestRange>,
    kernel_constraints: Constraints,
}

/// A promise that a plan would break.
///
/// Most of these are a protocol writer's mistake; an image with impossible wishes can cause them too. Either way
/// nothing has been written to guest memory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValidationError {
    /// A load without bytes.
    #[error("the {label} at {:#x} is empty", range.start())]
    Empty {
        /// What it is.
        label: Cow<'static, str>,
        /// Where.
        range: GuestRange,
    },
    /// A load outside the machine's RAM.
    #[error("the {label} at {range} is not inside the machine's RAM")]
    NotRam {
        /// What it is.
        label: Cow<'static, str>,
        /// Where.
        range: GuestRange,
    },
    /// A load that does not meet its constraints.
    #[error("the {label} at {range} does not meet its constraints: it must be{constraints}")]
    Constraints {
        /// What it is.
        label: Cow<'static, str>,
        /// Where.
        range: GuestRange,
        /// The constraints.
        constraints: Constraints,
    },
    /// Two loads in one place.
    #[error("the {0} at {1} and the {2} at {3} overlap")]
    Overlap(Cow<'static, str>, GuestRange, Cow<'static, str>, GuestRange),
    /// A load in memory that the kernel uses.
    #[error("the {label} at {range} lies in what the kernel uses, {kernel}")]
    InKernel {
        /// What it is.
        label: Cow<'static, str>,
        /// Where.
        range: GuestRange,
        /// What the kernel uses.
        kernel: GuestRange,
    },
    /// Content that is longer or shorter than its place.
    #[error("the {label} has {found:#x} bytes for a place of {expected:#x}")]
    ContentLength {
        /// What it is.
        label: Cow<'static, str>,
        /// The length of the place.
        expected: u64,
        /// The length of the content.
        found: u64,
    },
    /// Content outside its file.
    #[error("the {label} is bytes {range} of the {id}, which is not that long")]
    PastEnd {
        /// What it is.
        label: Cow<'static, str>,
        /// The file.
        id: SourceId,
        /// The bytes.
        range: SourceRange,
    },
    /// The guest's memory map lists RAM that the machine does not have.
    #[error("the guest's memory map lists {0} as RAM, but the machine has none there")]
    MapNotRam(GuestRange),
    /// No CPU to start.
    #[error("the plan starts no CPU")]
    NoCpu,
    /// A CPU of another architecture.
    #[error("a {found} CPU state in a plan for {expected}")]
    CpuArch {
        /// The plan's architecture.
        expected: Arch,
        /// The state's.
        found: Arch,
    },
    /// A CPU that starts outside the kernel.
    #[error("a CPU starts at {0:#x}, where no part of the kernel is")]
    EntryOutside(u64),
}

impl PlanBuilder {
    /// A plan of `protocol` for `request`, with the kernel's segments as its first loads. The guest is given the
    /// machine's memory map unless [`memory`](Self::memory) says otherwise.
    pub fn new(protocol: &'static str, request: &BootRequest<'_>, kernel: &PlacedKernel) -> Self {
        let mut source_lens = Vec::new();
        source_lens.push((SourceId::Kernel, request.image.source_len()));
        source_lens.extend(request.initrd_len.map(|len| (SourceId::Initrd, len.get())));
        source_lens.extend(
            request
                .modules
                .iter()
                .enumerate()
                .map(|(i, module)| (SourceId::Module(i), module.len)),
        );
        let plan = BootPlan {
            protocol,
            arch: request.machine.arch,
            loads: Vec::new(),
            memory: request.machine.memory.clone(),
            kernel: kernel.extent(),
            cpus: Vec::new(),
            source_lens,
            warnings: request.image.warnings().to_vec(),
        };
        let builder = Self {
            plan,
            machine: request.machine.memory.clone(),
            occupied_ranges: kernel.occupied_ranges().to_vec(),
            kernel_constraints: Constraints::NONE,
        };
        kernel.segments().iter().fold(builder, |builder, segment| {
            let content = Content::Source {
                id: SourceId::Kernel,
                range: segment.source,
            };
            [
                (segment.file_part(), content),
                (segment.zero_part(), Content::Zeros),
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

    /// Sets the constraints that the kernel's runtime extent has to keep, by its protocol. Without it, only the image's own
    /// placement rule counts.
    pub fn kernel_constraints(mut self, constraints: Constraints) -> Self {
        self.kernel_constraints = constraints;
        self
    }

    /// Adds bytes at the start of `range`, and zeros in what they leave of it.
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
        self.load(Load::new(range, Content::Bytes(bytes), label, constraints))
    }

    /// Adds the whole of a file.
    pub fn file(
        self,
        label: impl Into<Cow<'static, str>>,
        range: GuestRange,
        id: SourceId,
        constraints: Constraints,
    ) -> Self {
        let content = Content::Source {
            id,
            range: SourceRange::whole(range.len()),
        };
        self.load(Load::new(range, content, label, constraints))
    }

    /// Gives the guest another memory map than the machine's.
    pub fn memory(mut self, memory: MemoryMap) -> Self {
        self.plan.memory = memory;
        self
    }

    /// Adds a CPU to start; the first is the boot CPU.
    pub fn cpu(mut self, state: impl Into<CpuState>) -> Self {
        self.plan.cpus.push(state.into());
        self
    }

    /// Adds a warning of the protocol's own type.
    pub fn warning<W: WarningDetail>(mut self, warning: W) -> Self {
        self.plan.warnings.push(Warning::new(warning));
        self
    }

    /// Proves the plan and hands it out.
    ///
    /// # Errors
    ///
    /// [`ValidationError`] names the first promise of [`BootPlan`] that does not hold.
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
                    return Err(ValidationError::Overlap(
                        a.label.clone(),
                        a.range,
                        b.label.clone(),
                        b.range,
                    ));
                }
                _ => {}
            }
        }
        if !kernel_constraints.allow(plan.kernel) {
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
    if !constraints.allow(range) {
        return Err(ValidationError::Constraints {
            label,
            range,
            constraints,
        });
    }
    let found = match content {
        Content::Source { id, range } => {
            let inside = plan
                .source_lens
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
        Content::Bytes(bytes) => arith::to_u64(bytes.len()),
        Content::Zeros => range.len(),
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

/// A load is either part of the kernel, and then inside what the kernel uses, or wholly outside of that.
///
/// There can be very many segments: so those of the kernel are not compared with each other here, and the others, which
/// are few, find their place among them by halving.
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
    use crate::{Cmdline, Endian, EntryAbi, ImageBuilder, Machine, RamAllocator};

    #[test]
    fn the_kernel_meets_its_protocols_constraints() {
        let check = |constraints: Constraints, kept: bool| {
            let range = GuestRange::new(0x10_1000, 0x1000).unwrap();
            let image = ImageBuilder::new("test", Arch::X86_64, Endian::Little, 4)
                .segment(SourceRange::whole(4), range)
                .entry(EntryAbi::ELF32, range.start())
                .build()
                .unwrap();
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
