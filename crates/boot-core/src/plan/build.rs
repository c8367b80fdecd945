//! Building a plan, and proving it.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use super::{BootPlan, Content, Limits, Load, SourceId};
use crate::place::{KERNEL_LABEL, PlacedKernel};
use crate::{Arch, BootRequest, CpuState, GuestRange, MemoryMap, SourceRange, num};

/// Collects what a protocol writer decided and proves it as a whole.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct PlanBuilder {
    plan: BootPlan,
    machine: MemoryMap,
    /// Sorted by address, without overlaps.
    footprint: Vec<GuestRange>,
    kernel_limits: Limits,
}

/// A promise that a plan would break.
///
/// Most of these are a protocol writer's mistake; an image with impossible wishes can cause them too. Either way
/// nothing has been written to guest memory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
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
    /// A load outside its limits.
    #[error(
        "the {label} at {range} breaks its limits: aligned to {:#x}, from {:#x}, below {:#x}",
        limits.align, limits.min, limits.max
    )]
    Limits {
        /// What it is.
        label: Cow<'static, str>,
        /// Where.
        range: GuestRange,
        /// The limits.
        limits: Limits,
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
    /// A memory map for the guest that calls something RAM which the machine does not.
    #[error("the guest would be told that {0} is RAM, which the machine has not")]
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
        source_lens.extend(request.initrd_len.map(|len| (SourceId::Initrd, len)));
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
            footprint: kernel.footprint().to_vec(),
            kernel_limits: Limits::NONE,
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
                ..Load::new(range, content, KERNEL_LABEL, Limits::NONE)
            })
            .fold(builder, Self::load)
        })
    }

    /// Adds a load.
    pub fn load(mut self, load: Load) -> Self {
        self.plan.loads.push(load);
        self
    }

    /// Sets the limits that the kernel's runtime extent has to keep, by its protocol. Without it, only the image's own
    /// placement rule counts.
    pub fn kernel_limits(mut self, limits: Limits) -> Self {
        self.kernel_limits = limits;
        self
    }

    /// Adds bytes at the start of `range`, and zeros in what they leave of it.
    pub fn bytes(self, label: &'static str, range: GuestRange, mut bytes: Vec<u8>, limits: Limits) -> Self {
        if let Ok(len) = usize::try_from(range.len())
            && bytes.len() < len
        {
            bytes.resize(len, 0);
        }
        self.load(Load::new(range, Content::Bytes(bytes), label, limits))
    }

    /// Adds the whole of a file.
    pub fn file(
        self,
        label: impl Into<Cow<'static, str>>,
        range: GuestRange,
        id: SourceId,
        limits: Limits,
    ) -> Self {
        let content = Content::Source {
            id,
            range: SourceRange::whole(range.len()),
        };
        self.load(Load::new(range, content, label, limits))
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

    /// Adds a sentence about something odd.
    pub fn warning(mut self, warning: String) -> Self {
        self.plan.warnings.push(warning);
        self
    }

    /// Proves the plan and hands it out.
    ///
    /// # Errors
    ///
    /// [`ProofError`] names the first promise of [`BootPlan`] that does not hold.
    pub fn build(self) -> Result<BootPlan, ProofError> {
        let Self {
            mut plan,
            machine,
            footprint,
            kernel_limits,
        } = self;
        plan.loads.sort_by_key(|load| load.range);
        for load in &plan.loads {
            prove_load(load, &plan, &machine)?;
            prove_outside_kernel(load, &footprint)?;
        }
        for pair in plan.loads.windows(2) {
            if let [a, b] = pair
                && a.range.overlaps(b.range)
            {
                return Err(ProofError::Overlap(
                    a.label.clone(),
                    a.range,
                    b.label.clone(),
                    b.range,
                ));
            }
        }
        if !kernel_limits.allow(plan.kernel) {
            return Err(ProofError::Limits {
                label: KERNEL_LABEL.into(),
                range: plan.kernel,
                limits: kernel_limits,
            });
        }
        for range in &footprint {
            if !machine.is_ram(*range) {
                return Err(ProofError::NotRam {
                    label: KERNEL_LABEL.into(),
                    range: *range,
                });
            }
        }
        if let Some(range) = plan.memory.ram().find(|range| !machine.is_ram(*range)) {
            return Err(ProofError::MapNotRam(range));
        }
        prove_cpus(&plan)?;
        Ok(plan)
    }
}

fn prove_load(load: &Load, plan: &BootPlan, machine: &MemoryMap) -> Result<(), ProofError> {
    let Load {
        range,
        content,
        label,
        limits,
        ..
    } = load;
    let (range, limits, label) = (*range, *limits, label.clone());
    if range.is_empty() {
        return Err(ProofError::Empty { label, range });
    }
    if !machine.is_ram(range) {
        return Err(ProofError::NotRam { label, range });
    }
    if !limits.allow(range) {
        return Err(ProofError::Limits { label, range, limits });
    }
    let found = match content {
        Content::Source { id, range } => {
            let inside = plan
                .source_lens
                .iter()
                .any(|(known, len)| known == id && range.end() <= *len);
            if !inside {
                return Err(ProofError::PastEnd {
                    label,
                    id: *id,
                    range: *range,
                });
            }
            range.len()
        }
        Content::Bytes(bytes) => num::to_u64(bytes.len()),
        Content::Zeros => range.len(),
    };
    if found == range.len() {
        Ok(())
    } else {
        Err(ProofError::ContentLength {
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
fn prove_outside_kernel(load: &Load, footprint: &[GuestRange]) -> Result<(), ProofError> {
    if load.is_kernel() {
        return Ok(());
    }
    let first = footprint.partition_point(|kernel| kernel.end() <= load.range.start());
    match footprint.get(first) {
        Some(kernel) if kernel.overlaps(load.range) => Err(ProofError::InKernel {
            label: load.label.clone(),
            range: load.range,
            kernel: *kernel,
        }),
        _ => Ok(()),
    }
}

fn prove_cpus(plan: &BootPlan) -> Result<(), ProofError> {
    if plan.cpus.is_empty() {
        return Err(ProofError::NoCpu);
    }
    for cpu in &plan.cpus {
        if cpu.arch() != plan.arch {
            return Err(ProofError::CpuArch {
                expected: plan.arch,
                found: cpu.arch(),
            });
        }
        let entry = cpu.entry();
        let in_kernel = |load: &Load| load.is_kernel() && load.range.contains_addr(entry);
        if !plan.loads.iter().any(in_kernel) {
            return Err(ProofError::EntryOutside(entry));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::x86_64;
    use crate::{Cmdline, Endian, EntryAbi, ImageBuilder, Machine, Placer};

    #[test]
    fn the_kernel_keeps_its_protocols_limits() {
        let check = |limits: Limits, kept: bool| {
            let range = GuestRange::new(0x10_1000, 0x1000).unwrap();
            let image = ImageBuilder::new("test", Arch::X86_64, Endian::Little, 4)
                .segment(SourceRange::whole(4), range)
                .entry(EntryAbi::Elf32, range.start())
                .build()
                .unwrap();
            let machine = Machine::new(Arch::X86_64, MemoryMap::pc(2 << 20).unwrap());
            let cmdline = Cmdline::new();
            let kernel = PlacedKernel::place(&image, &mut Placer::new(&machine.memory)).unwrap();
            let plan = PlanBuilder::new("test", &BootRequest::new(&image, &machine, &cmdline), &kernel)
                .cpu(x86_64::State::protected_mode(0x10_1000, 8, 16))
                .kernel_limits(limits)
                .build();
            assert_eq!(plan.is_ok(), kept, "{limits:?}: {plan:?}");
            assert!(plan.is_ok() || matches!(plan, Err(ProofError::Limits { .. })));
        };
        let limits = |align, min, max| Limits { align, min, max };
        check(Limits::NONE, true);
        check(limits(0x1000, 0x10_1000, 0x10_2000), true);
        check(limits(0x2000, 0, u64::MAX), false);
        check(limits(1, 0x10_1001, u64::MAX), false);
        check(limits(1, 0, 0x10_1fff), false);
    }
}
