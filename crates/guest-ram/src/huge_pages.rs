//! Transparent huge pages.

/// Use of transparent huge pages of the host for guest memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HugePages {
    /// Ask for them (`MADV_HUGEPAGE`).
    ///
    /// A guest boots and runs faster: one page fault of the host instead of 512, and one entry of the second-stage page
    /// table instead of 512. In return, the first access takes up to 2 MiB of host memory. Regions are split into
    /// mappings at the first and the last boundary of 2 MiB, which huge pages need.
    #[default]
    Advise,
    /// Ask for small pages (`MADV_NOHUGEPAGE`): the least memory, for hosts that pack many idle guests.
    Avoid,
    /// Give no advice: the default of the host.
    HostDefault,
}
