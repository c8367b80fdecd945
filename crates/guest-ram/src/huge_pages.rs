//! Transparent huge pages.

/// Size in bytes of a huge page of x86_64, arm64 and riscv64 with pages of 4 KiB.
pub(crate) const HUGE_PAGE: u64 = 0x20_0000;

/// The same as a length of host memory.
pub(crate) const HUGE_PAGE_LEN: usize = 0x20_0000;

/// The distance from the host address `host` to the next one at the same offset in a huge page as the guest address `guest`.
pub(crate) fn distance(guest: u64, host: usize) -> usize {
    // 21 bits fit.
    let guest = usize::try_from(guest & 0x1f_ffff).unwrap_or_default();
    guest.wrapping_sub(host) % HUGE_PAGE_LEN
}

/// Use of transparent huge pages of the host for guest memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HugePages {
    /// Ask for them (`MADV_HUGEPAGE`).
    ///
    /// A guest boots and runs faster: one page fault of the host and one entry of the second-stage page table replace 512 of
    /// each. The cost is that the first access to a page takes up to 2 MiB of host memory.
    #[default]
    Advise,
    /// Ask for small pages (`MADV_NOHUGEPAGE`): uses the least host memory, for hosts with many idle guests.
    Avoid,
    /// Give no advice: the host's setting applies (`/sys/kernel/mm/transparent_hugepage/enabled`).
    HostDefault,
}
