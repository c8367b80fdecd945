//! Page tables for guests that copy the pages that they write.

use boot_core::GuestRange;
use boot_paging::{Access, Attributes, MapError, Mapping, PageTables, Scheme};
use sandbox_abi::layout;

/// Length of the page tables in bytes, with space.
pub(super) const TABLES_LEN: u64 = 0x1_0000;

/// Length of the scratch area before the pages for copies: the state, and the stack of exception handlers.
pub(super) const HEAD_LEN: u64 = layout::PAGE + layout::FAULT_STACK;

/// Page tables behind the outbox that map `memory` for copies, the outbox, and themselves with a scratch area with `len` bytes for copies.
/// Without some of that if there is no space; a guest of a test then finds out.
pub(super) fn page_tables(
    outbox: GuestRange,
    memory: [GuestRange; 3],
    fault_stack: GuestRange,
    len: u64,
) -> Vec<u8> {
    let start = outbox.end();
    let max = usize::try_from(TABLES_LEN / layout::PAGE).unwrap_or_default();
    let Ok(mut tables) = PageTables::new(Scheme::X86_64, start, max) else {
        return Vec::new();
    };
    let write = Attributes::normal(Access::WRITE);
    let copy = Attributes::normal(Access::COPY_ON_WRITE);
    let own = TABLES_LEN.saturating_add(HEAD_LEN).saturating_add(len);
    let of = |range: GuestRange, attributes| Mapping::identity(range.start(), range.len(), attributes);
    let stack = Mapping {
        phys: start.saturating_add(TABLES_LEN).saturating_add(layout::PAGE),
        ..of(fault_stack, write)
    };
    let fixed = [of(outbox, write), Mapping::identity(start, own, write), stack];
    let memory = memory.into_iter().map(|range| of(range, copy));
    let mut mappings = memory.chain(fixed).filter(|mapping| mapping.len != 0);
    let mapped: Result<(), MapError> = mappings.try_for_each(|mapping| tables.map(&mapping));
    debug_assert_eq!(mapped, Ok(()), "there is space for the tables of tests");
    tables.to_bytes()
}
