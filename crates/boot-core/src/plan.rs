//! The boot plan: everything a boot puts into guest memory and registers, computed before anything is written.

mod build;
mod draw;
mod load;

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt;

pub use build::{PlanBuilder, ValidationError};
pub use load::{LoadError, Sources};

use crate::{Arch, Constraints, CpuState, GuestRange, MemoryMap, PageKind, RegionKind, SourceRange, Warning};

/// Identifies one of the files of a boot, from which a plan loads bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum BootFile {
    /// The kernel image.
    Kernel,
    /// The initrd.
    Initrd,
    /// A module, by its index in [`BootRequest::modules`](crate::BootRequest::modules).
    Module(usize),
    /// The file of the additional load with this index in
    /// [`BootRequest::additional_loads`](crate::BootRequest::additional_loads).
    Additional(usize),
}

impl fmt::Display for BootFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel => f.pad("kernel"),
            Self::Initrd => f.pad("initrd"),
            Self::Module(index) => write!(f, "module {index}"),
            Self::Additional(index) => write!(f, "file of additional load {index}"),
        }
    }
}

/// Content of a load.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum LoadContent {
    /// Bytes of a file, as many as the range of the load.
    File {
        /// The file.
        id: BootFile,
        /// The bytes.
        range: SourceRange,
    },
    /// These bytes, as many as the range of the load.
    Bytes(Vec<u8>),
    /// Zeros.
    Zeros,
    /// What the memory already contains; it is not written.
    Present,
}

/// One contiguous write to guest memory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Load {
    /// Guest physical range; not empty.
    pub range: GuestRange,
    /// Content.
    pub content: LoadContent,
    /// Name in messages and drawings: `zero page`, `initrd`, `kernel`.
    pub label: Cow<'static, str>,
    /// Constraints of the protocol on the range, which [`PlanBuilder::build`] checks.
    pub constraints: Constraints,
    region: RegionKind,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "PageKind::is_measured"))]
    page_kind: PageKind,
    kernel: bool,
}

impl Load {
    /// A load that is not part of the kernel.
    #[must_use]
    pub fn new(
        range: GuestRange,
        content: LoadContent,
        label: impl Into<Cow<'static, str>>,
        constraints: Constraints,
    ) -> Self {
        Self {
            range,
            content,
            label: label.into(),
            constraints,
            region: RegionKind::Ram,
            page_kind: PageKind::MEASURED,
            kernel: false,
        }
    }

    /// The same in a region of this kind in place of RAM.
    #[must_use]
    pub fn in_region(self, region: RegionKind) -> Self {
        Self { region, ..self }
    }

    /// The same in pages of this kind in place of measured ones.
    #[must_use]
    pub fn in_pages(self, page_kind: PageKind) -> Self {
        Self { page_kind, ..self }
    }

    /// How its pages take part in the measurement of a confidential guest. [`BootPlan::load`] does not use it.
    #[must_use]
    pub fn page_kind(&self) -> PageKind {
        self.page_kind
    }

    /// The kind of region of the guest's memory map that contains it.
    #[must_use]
    pub fn region(&self) -> RegionKind {
        self.region
    }

    /// Whether this is a segment of the kernel image. Only these may be in the memory that the kernel uses.
    #[must_use]
    pub fn is_kernel(&self) -> bool {
        self.kernel
    }
}

/// A validated plan of a boot.
///
/// Only [`PlanBuilder::build`] creates one. It checks that
///
/// - every load is not empty, in the machine's RAM, and meets its constraints;
/// - loads do not overlap, and only the kernel's segments are in the memory that the kernel uses;
/// - the content of every load is exactly as long as its range, and inside its file;
/// - the memory that the kernel uses is RAM of the machine, and its extent meets the protocol's constraints;
/// - all RAM in the guest's memory map is RAM of the machine;
/// - there is at least one CPU; every CPU has the machine's architecture and starts inside the kernel.
///
/// Equal requests give equal plans. [`Display`](fmt::Display) draws the guest's memory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct BootPlan {
    protocol: &'static str,
    arch: Arch,
    loads: Vec<Load>,
    memory: MemoryMap,
    kernel: GuestRange,
    cpus: Vec<CpuState>,
    file_lens: Vec<(BootFile, u64)>,
    warnings: Vec<Warning>,
}

impl BootPlan {
    /// The name of the protocol that computed the plan.
    #[must_use]
    pub fn protocol(&self) -> &'static str {
        self.protocol
    }

    /// The machine's architecture.
    #[must_use]
    pub fn arch(&self) -> Arch {
        self.arch
    }

    /// The writes to guest memory, sorted by address.
    #[must_use]
    pub fn loads(&self) -> &[Load] {
        &self.loads
    }

    /// The memory map that is described to the guest.
    #[must_use]
    pub fn memory(&self) -> &MemoryMap {
        &self.memory
    }

    /// The kernel's runtime extent ([`KernelImage::extent`](crate::KernelImage::extent)) at its final addresses.
    #[must_use]
    pub fn kernel(&self) -> GuestRange {
        self.kernel
    }

    /// The entry states of the CPUs that the VMM starts; the first is the boot CPU. The machine's other CPUs stay off until
    /// the guest starts them.
    #[must_use]
    pub fn cpus(&self) -> &[CpuState] {
        &self.cpus
    }

    /// The entry state of the boot CPU.
    #[must_use]
    #[expect(
        clippy::indexing_slicing,
        reason = "`PlanBuilder::build` refuses a plan without CPUs"
    )]
    pub fn boot_cpu(&self) -> &CpuState {
        &self.cpus[0]
    }

    /// The files of the boot, with the length of each at planning time.
    #[must_use]
    pub fn file_lens(&self) -> &[(BootFile, u64)] {
        &self.file_lens
    }

    /// Warnings of the format and of the protocol.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn files_print_their_names() {
        let files = [
            BootFile::Kernel,
            BootFile::Initrd,
            BootFile::Module(2),
            BootFile::Additional(3),
        ];
        assert_eq!(
            files.map(|file| file.to_string()),
            ["kernel", "initrd", "module 2", "file of additional load 3"]
        );
        assert_eq!(std::format!("{:>7}|", BootFile::Kernel), " kernel|");
    }

    #[test]
    fn a_load_outside_the_kernel_keeps_its_parts() {
        let range = GuestRange::new(0x1000, 4).unwrap();
        let load = Load::new(range, LoadContent::Zeros, "table", Constraints::aligned(8));
        assert_eq!(
            (load.range, &load.content, &*load.label),
            (range, &LoadContent::Zeros, "table")
        );
        assert_eq!(load.constraints, Constraints::aligned(8));
        assert_eq!(load.region(), RegionKind::Ram);
        assert_eq!(load.page_kind(), PageKind::MEASURED);
        assert_eq!(
            load.clone().in_pages(PageKind::CPUID).page_kind(),
            PageKind::CPUID
        );
        assert!(!load.is_kernel());
    }
}
