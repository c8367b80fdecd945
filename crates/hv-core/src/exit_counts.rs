//! Counts of exits by reason and address.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Mutex, PoisonError},
};

use crate::{Access, AccessKind, AddressSpace, BackEndCall, Observer, SystemEvent, VcpuExit};

/// Reason of an exit, with the address or number that it concerns but without its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ExitReason {
    /// An access to an address without RAM. The length of a string instruction is that of all its elements.
    Access(Access),
    /// A call that the back end handled.
    Call(BackEndCall),
    /// [`VcpuExit::Interrupted`].
    Interrupted,
    /// [`VcpuExit::Halt`].
    Halt,
    /// [`VcpuExit::System`].
    System(SystemEvent),
    /// [`VcpuExit::Fault`].
    Fault,
}

impl ExitReason {
    /// The reason of `exit`.
    #[must_use]
    pub fn of(exit: &VcpuExit<'_>) -> Self {
        let access = |space, kind, address, len| Self::Access(Access::new(space, kind, address, len));
        match exit {
            VcpuExit::IoRead { port, data, .. } => {
                access(AddressSpace::Pio, AccessKind::Read, (*port).into(), data.len())
            }
            VcpuExit::IoWrite { port, data, .. } => {
                access(AddressSpace::Pio, AccessKind::Write, (*port).into(), data.len())
            }
            VcpuExit::MmioRead { address, data } => {
                access(AddressSpace::Mmio, AccessKind::Read, *address, data.len())
            }
            VcpuExit::MmioWrite { address, data } => {
                access(AddressSpace::Mmio, AccessKind::Write, *address, data.len())
            }
            VcpuExit::Halt => Self::Halt,
            VcpuExit::System(event) => Self::System(*event),
            VcpuExit::Call(call) => Self::Call(*call),
            VcpuExit::Interrupted => Self::Interrupted,
            VcpuExit::Fault(_) => Self::Fault,
        }
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Access(access) => access.fmt(f),
            Self::Call(call) => call.fmt(f),
            Self::Interrupted => f.pad("interrupted, or not started yet"),
            Self::Halt => f.pad("halt"),
            Self::System(event) => event.fmt(f),
            Self::Fault => f.pad("fault"),
        }
    }
}

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
    use crate::Fault;

    fn read(address: u64) -> ExitReason {
        ExitReason::Access(Access::new(AddressSpace::Mmio, AccessKind::Read, address, 4))
    }

    #[test]
    fn every_exit_has_its_reason() {
        let check = |exit: VcpuExit<'_>, expected: &str| {
            assert_eq!(ExitReason::of(&exit).to_string(), expected);
        };
        check(
            VcpuExit::IoRead {
                port: 0x3fd,
                size: 1,
                data: &mut [0],
            },
            "1-byte read of I/O port 0x03fd",
        );
        check(
            VcpuExit::IoWrite {
                port: 0xcf8,
                size: 2,
                data: &[0; 6],
            },
            "6-byte write to I/O port 0x0cf8",
        );
        check(
            VcpuExit::MmioRead {
                address: 0xf_0000,
                data: &mut [0; 8],
            },
            "8-byte read of guest physical address 0xf0000",
        );
        check(
            VcpuExit::MmioWrite {
                address: 0x900_0000,
                data: &[0],
            },
            "1-byte write to guest physical address 0x9000000",
        );
        check(VcpuExit::Halt, "halt");
        check(VcpuExit::Interrupted, "interrupted, or not started yet");
        check(VcpuExit::System(SystemEvent::Reset), "reset");
        check(
            VcpuExit::Call(BackEndCall::Sbi {
                extension: 0x4442_434e,
                function: 0,
            }),
            "SBI call, extension 0x4442434e, function 0",
        );
        check(
            VcpuExit::Call(BackEndCall::Csr { number: 0x15 }),
            "access to CSR 0x015",
        );
        check(VcpuExit::Fault(Fault::Shutdown), "fault");
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
