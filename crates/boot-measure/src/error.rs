//! Errors of measurements of plans.

use alloc::borrow::Cow;

use boot_core::{Arch, BootFile, GuestRange, PageKind, ReadError};

/// Why a plan cannot be measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MeasureError {
    /// A file of the plan is missing from the sources.
    #[error("the plan loads the {0}, but it is not among the sources")]
    Missing(BootFile),
    /// A file cannot be read.
    #[error("the {id} cannot be read")]
    Read {
        /// The file.
        id: BootFile,
        /// The error of the source.
        source: ReadError,
    },
    /// A file has another length than at planning time.
    #[error("the {id} has {found:#x} bytes, but the plan is for {expected:#x}: plan again")]
    Changed {
        /// The file.
        id: BootFile,
        /// Its length at planning time, in bytes.
        expected: u64,
        /// Its length now, in bytes.
        found: u64,
    },
    /// A load has content that this version of the crate does not support.
    #[error("the content of the {label} at {range} is of a kind that cannot be measured")]
    UnknownContent {
        /// Label of the load.
        label: Cow<'static, str>,
        /// Its range.
        range: GuestRange,
    },
    /// A measured load keeps what the memory contains, which the plan does not state.
    #[error("the {label} at {range} keeps what the memory contains, so its content cannot be measured")]
    Present {
        /// Label of the load.
        label: Cow<'static, str>,
        /// Its range.
        range: GuestRange,
    },
    /// Two loads of different kinds have bytes in the same page.
    #[error(
        "the page at {page:#x} has bytes of the {first} ({first_kind}) and of the {second} ({second_kind}): \
         the pages of a load of another kind must be its own"
    )]
    MixedPage {
        /// Guest physical address of the page.
        page: u64,
        /// Label of the load with the lower address.
        first: Cow<'static, str>,
        /// Its kind.
        first_kind: PageKind,
        /// Label of the other load.
        second: Cow<'static, str>,
        /// Its kind.
        second_kind: PageKind,
    },
    /// The launch has no pages of this kind.
    #[error("the {label} at {range} has pages of the kind {kind}, which this launch does not have")]
    UnknownKind {
        /// Label of the load.
        label: Cow<'static, str>,
        /// Its range.
        range: GuestRange,
        /// The kind.
        kind: PageKind,
    },
    /// The name of a kind has more than 255 bytes.
    #[error("the name of the page kind {0} has more than 255 bytes")]
    KindName(PageKind),
    /// The plan is for another architecture.
    #[error("the plan is for {found}, but the launch is for {expected}")]
    Arch {
        /// The architecture of the launch.
        expected: Arch,
        /// The architecture of the plan.
        found: Arch,
    },
    /// The plan starts more CPUs than the launch has.
    #[error("the plan starts {found} CPUs, but the launch has {expected}")]
    CpuCount {
        /// CPUs of the launch.
        expected: u32,
        /// CPUs that the plan starts.
        found: usize,
    },
    /// A CPU state of an architecture that this version of the crate does not support.
    #[error("the CPU state of an unsupported architecture, {0}, cannot be measured")]
    UnknownCpu(Arch),
}
