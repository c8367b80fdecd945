//! The boot plan: everything a boot puts into guest memory and registers, computed before anything is written.

mod build;
mod draw;
mod load;

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt;

pub use build::{PlanBuilder, ValidationError};
pub use load::{LoadError, Sources};

use crate::{Arch, Constraints, CpuState, GuestRange, MemoryMap, SourceRange, Warning};

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

/// One contiguous write to guest memory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Load {
    /// Where. Never empty.
    pub range: GuestRange,
    /// What.
    pub content: Content,
    /// What it is, in the words of the protocol: `zero page`, `initrd`, `kernel`.
    pub label: Cow<'static, str>,
    /// Constraints of the protocol that the range meets.
    pub constraints: Constraints,
    kernel: bool,
}

impl Load {
    /// A load that is no part of the kernel.
    #[must_use]
    pub fn new(
        range: GuestRange,
        content: Content,
        label: impl Into<Cow<'static, str>>,
        constraints: Constraints,
    ) -> Self {
        Self {
            range,
            content,
            label: label.into(),
            constraints,
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
/// - every load lies in the machine's RAM and meets its constraints;
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
    warnings: Vec<Warning>,
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

    /// Findings of the format and the protocol that do not stop this boot.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }
}
