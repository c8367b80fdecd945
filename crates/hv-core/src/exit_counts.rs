//! Counts of exits by reason and address.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Mutex, PoisonError},
};

use crate::{AccessKind, AddressSpace, ExitReason, Observer};

/// An observer that counts the exits of all vCPUs by reason and address.
///
/// Exits that the hypervisor handles itself are not counted: on KVM those of the in-kernel interrupt controllers and timers,
/// and page faults.
///
/// `Display` is a table, the most frequent reasons first. Where the guest accessed more than [`ROWS_OF_A_PAGE`] addresses of a
/// 4 KiB page, the page has one row for reads and one for writes.
///
/// [`ROWS_OF_A_PAGE`]: Self::ROWS_OF_A_PAGE
#[derive(Debug, Default)]
pub struct ExitCounts(Mutex<BTreeMap<ExitReason, u64>>);

impl ExitCounts {
    /// Largest number of addresses of one page that have rows of their own in the table.
    pub const ROWS_OF_A_PAGE: usize = 16;

    /// Counts of zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The counts, in the order of the reasons.
    #[must_use]
    pub fn entries(&self) -> Vec<(ExitReason, u64)> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.iter().map(|(reason, count)| (*reason, *count)).collect()
    }

    /// Number of all exits.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.entries()
            .iter()
            .fold(0, |sum: u64, (_, count)| sum.saturating_add(*count))
    }

    /// The rows of the table: counts and reasons, the highest counts first.
    fn rows(&self) -> Vec<(u64, String)> {
        let entries = self.entries();
        let mut addresses: BTreeMap<(AccessKind, u64), BTreeSet<u64>> = BTreeMap::new();
        for (reason, _) in &entries {
            if let Some((page, address)) = page_of(*reason) {
                addresses.entry(page).or_default().insert(address);
            }
        }
        let mut rows = Vec::new();
        let mut pages: BTreeMap<(AccessKind, u64), u64> = BTreeMap::new();
        for (reason, count) in entries {
            let crowded = page_of(reason).map(|(page, _)| page).filter(|page| {
                let addresses = addresses.get(page).map_or(0, BTreeSet::len);
                addresses > Self::ROWS_OF_A_PAGE
            });
            match crowded {
                Some(page) => {
                    let sum = pages.entry(page).or_default();
                    *sum = sum.saturating_add(count);
                }
                None => rows.push((count, reason.to_string())),
            }
        }
        for (page, count) in pages {
            let addresses = addresses.get(&page).map_or(0, BTreeSet::len);
            let (kind, page) = page;
            let end = page.saturating_add(PAGE);
            rows.push((
                count,
                format!("{kind} of {addresses} guest physical addresses in {page:#x}..{end:#x}"),
            ));
        }
        // Equal counts keep the order of the reasons.
        rows.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
        rows
    }
}

/// Size of the pages of the table.
const PAGE: u64 = 0x1000;

/// The page and the address of a memory-mapped access.
fn page_of(reason: ExitReason) -> Option<((AccessKind, u64), u64)> {
    match reason {
        ExitReason::Access(access) if access.space == AddressSpace::Mmio => {
            Some(((access.kind, access.address & !(PAGE - 1)), access.address))
        }
        _ => None,
    }
}

impl Observer for ExitCounts {
    fn exit(&self, _: u32, reason: ExitReason) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(reason).or_default();
        *count = count.saturating_add(1);
    }
}

impl fmt::Display for ExitCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>10} exits", self.total())?;
        for (count, reason) in self.rows() {
            writeln!(f, "{count:>10} {reason}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Access;

    fn read(address: u64) -> ExitReason {
        ExitReason::Access(Access::new(AddressSpace::Mmio, AccessKind::Read, address, 4))
    }

    #[test]
    fn the_table_is_sorted_and_joins_crowded_pages() {
        let counts = ExitCounts::new();
        let some = u64::try_from(ExitCounts::ROWS_OF_A_PAGE).unwrap();
        // One address more than rows of a page, each twice; the next page is not crowded.
        for address in (0..=some).map(|i| 0xf_0000 + 8 * i) {
            counts.exit(0, read(address));
            counts.exit(1, read(address));
        }
        for address in (0..some).map(|i| 0xf_1000 + 8 * i) {
            counts.exit(0, read(address));
        }
        for _ in 0..3 {
            counts.exit(0, ExitReason::Interrupted);
        }
        assert_eq!(counts.total(), 34 + 16 + 3);
        let text = counts.to_string();
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        assert_eq!(
            lines[..4],
            [
                "53 exits",
                "34 read of 17 guest physical addresses in 0xf0000..0xf1000",
                "3 interrupted, or not started yet",
                "1 4-byte read of guest physical address 0xf1000",
            ]
        );
        assert_eq!(lines.len(), 3 + 16);
    }

    #[test]
    fn a_pair_of_observers_passes_events_to_both() {
        let pair = (ExitCounts::new(), ExitCounts::new());
        pair.exit(0, ExitReason::Halt);
        assert_eq!((pair.0.total(), pair.1.total()), (1, 1));
    }
}
