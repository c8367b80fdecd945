//! The boot plan: everything a boot puts into guest memory and registers, computed before anything is written.

mod build;
mod draw;
mod load;

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

pub use build::{PlanBuilder, ProofError};
pub use load::{LoadError, Sources};

use crate::{Arch, CpuState, GuestRange, MemoryMap, SourceRange, num};

/// One of the files that a plan takes bytes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum SourceId {
    /// The kernel image.
    Kernel,
    /// The initrd.
    Initrd,
    /// A module, by its index in the request.
    Module(usize),
}

impl fmt::Display for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel => f.pad("kernel"),
            Self::Initrd => f.pad("initrd"),
            Self::Module(index) => write!(f, "module {index}"),
        }
    }
}

/// What fills a load.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Content {
    /// Bytes of a file, as many as the load's range is long.
    Source {
        /// The file.
        id: SourceId,
        /// The bytes.
        range: SourceRange,
    },
    /// These bytes, as many as the load's range is long.
    Bytes(Vec<u8>),
    /// Zeros.
    Zeros,
}

/// The limits a load has to keep, by its protocol; the finished plan proves that it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// The start is a multiple of this power of two.
    pub align: u64,
    /// The lowest address allowed.
    pub min: u64,
    /// The address that the load may end at, at the highest: exclusive.
    pub max: u64,
}

impl Limits {
    /// Anywhere.
    pub const NONE: Self = Self {
        align: 1,
        min: 0,
        max: u64::MAX,
    };

    /// Anywhere below 4 GiB, aligned to `align`.
    #[must_use]
    pub const fn below_4g(align: u64) -> Self {
        Self {
            align,
            min: 0,
            max: 1 << 32,
        }
    }

    /// Whether `range` keeps them. Nothing keeps an alignment that is no power of two.
    #[must_use]
    pub const fn allow(self, range: GuestRange) -> bool {
        self.align.is_power_of_two()
            && num::align_down(range.start(), self.align) == range.start()
            && range.start() >= self.min
            && range.end() <= self.max
    }
}

/// One contiguous write to guest memory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Load {
    /// Where. Never empty.
    pub range: GuestRange,
    /// What.
    pub content: Content,
    /// What it is, in the words of the protocol: `zero page`, `initrd`, `kernel`.
    pub label: Cow<'static, str>,
    /// The limits it keeps.
    pub limits: Limits,
    kernel: bool,
}

impl Load {
    /// A load that is no part of the kernel.
    #[must_use]
    pub fn new(
        range: GuestRange,
        content: Content,
        label: impl Into<Cow<'static, str>>,
        limits: Limits,
    ) -> Self {
        Self {
            range,
            content,
            label: label.into(),
            limits,
            kernel: false,
        }
    }

    /// Whether this is a part of the kernel image, which may lie in the kernel's extent; nothing else may.
    #[must_use]
    pub fn is_kernel(&self) -> bool {
        self.kernel
    }
}

/// A finished, proved plan of a boot.
///
/// Only a [`PlanBuilder`] makes one, and it has proved that
///
/// - every load lies in the machine's RAM, and in its limits;
/// - no two loads overlap, and nothing but the kernel's own segments lies in what the kernel uses;
/// - every load's content is exactly as long as the load, and inside its file;
/// - what the guest is told is RAM is RAM of the machine;
/// - every CPU starts inside the kernel.
///
/// Equal requests give equal plans. [`Display`](fmt::Display) draws the guest's memory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BootPlan {
    protocol: &'static str,
    arch: Arch,
    loads: Vec<Load>,
    memory: MemoryMap,
    kernel: GuestRange,
    cpus: Vec<CpuState>,
    source_lens: Vec<(SourceId, u64)>,
    warnings: Vec<String>,
}

impl BootPlan {
    /// The name of the protocol that made the plan.
    #[must_use]
    pub fn protocol(&self) -> &'static str {
        self.protocol
    }

    /// The machine's architecture.
    #[must_use]
    pub fn arch(&self) -> Arch {
        self.arch
    }

    /// What is written to guest memory, sorted by address.
    #[must_use]
    pub fn loads(&self) -> &[Load] {
        &self.loads
    }

    /// The memory map that the guest is given.
    #[must_use]
    pub fn memory(&self) -> &MemoryMap {
        &self.memory
    }

    /// The kernel's runtime extent at its final place.
    #[must_use]
    pub fn kernel(&self) -> GuestRange {
        self.kernel
    }

    /// The entry states of the CPUs that the harness starts; the first is the boot CPU. CPUs beyond these wait, as
    /// their architecture does at reset, until the guest starts them.
    #[must_use]
    pub fn cpus(&self) -> &[CpuState] {
        &self.cpus
    }

    /// The files the plan takes bytes from, with the length each had when the plan was made.
    #[must_use]
    pub fn source_lens(&self) -> &[(SourceId, u64)] {
        &self.source_lens
    }

    /// What is odd about this boot without being wrong, one sentence each.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}
