//! The files and regions that one sandbox has mapped.

mod tables;

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use boot_core::{GuestRange, arith};
use guest_ram::{HostMapping, MappingError, RamRegion};
use hv_core::{BareVm, DirtyPages, SlotAttributes};
use sandbox_abi::layout;

pub(crate) use self::tables::{MappingTables, NewTables, Pages, TABLES_SLOT};
use crate::base::PAGE;
use crate::file_truncated::FileTruncated;
use crate::mapping::{FileOptions, Mapping};
use crate::mapping_error::MapError;

/// Largest number of mappings.
pub(crate) const MAX_MAPPINGS: usize = 32;

/// Number of the slot of the first mapping; others follow.
const FIRST_SLOT: u32 = TABLES_SLOT + 1;

/// Part of a file.
#[derive(Debug)]
pub(crate) struct Backing {
    pub(crate) file: File,
    /// Offset of the first byte in the file.
    offset: u64,
}

impl Backing {
    /// The part of `file` that `options` select, and its length.
    pub(crate) fn new(file: File, options: FileOptions) -> Result<(Self, u64), MapError> {
        let offset = options.offset;
        let metadata = file.metadata().map_err(MapError::File)?;
        if !metadata.is_file() {
            return Err(MapError::NotRegular);
        }
        if !offset.is_multiple_of(layout::PAGE) {
            return Err(MapError::Offset { offset });
        }
        let file_len = metadata.len();
        let rest = file_len.saturating_sub(offset);
        let len = options.len.unwrap_or(rest);
        if len == 0 {
            return Err(MapError::Empty { offset });
        }
        if len > rest {
            return Err(MapError::PastEnd {
                offset,
                len,
                file_len,
            });
        }
        Ok((Self { file, offset }, len))
    }
}

/// Where the bytes of a mapping come from.
#[derive(Debug)]
pub(crate) enum Source {
    File(Backing),
    /// A file, with the pages that the guest may have written.
    Copy(Backing, DirtyPages),
    Region,
}

impl Source {
    /// Copies of the pages of a file, of `len` bytes.
    pub(crate) fn copy_of(backing: Backing, len: usize) -> Self {
        Self::Copy(backing, DirtyPages::new(len / PAGE))
    }
}

/// A mapping without an address.
pub(crate) struct NewMapping {
    pub(crate) len: u64,
    /// As many pages.
    pub(crate) memory: Arc<HostMapping>,
    pub(crate) attributes: SlotAttributes,
    pub(crate) source: Source,
}

/// A mapping of a sandbox.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) mapping: Mapping,
    /// Its pages.
    pub(crate) range: GuestRange,
    pub(crate) slot: u32,
    pub(crate) attributes: SlotAttributes,
    memory: Arc<HostMapping>,
    source: Source,
}

/// Addresses and slot for a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    range: GuestRange,
    slot: u32,
}

impl Entry {
    pub(crate) fn new(new: NewMapping, place: Place) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let Place { range, slot } = place;
        Self {
            mapping: Mapping {
                id: NEXT.fetch_add(1, Ordering::Relaxed),
                address: range.start(),
                len: new.len,
            },
            range,
            slot,
            attributes: new.attributes,
            memory: new.memory,
            source: new.source,
        }
    }

    fn pages(&self) -> Pages {
        Pages {
            range: self.range,
            is_writable: !self.attributes.read_only,
        }
    }

    /// The memory at its guest physical addresses.
    pub(crate) fn region(&self) -> Option<RamRegion> {
        RamRegion::from_mapping(self.range, Arc::clone(&self.memory), 0)
    }

    /// The error of an access to the page of `address`, or to any page without one, if the file is too short for it.
    fn truncated(&self, address: Option<u64>) -> Option<FileTruncated> {
        let (Source::File(backing) | Source::Copy(backing, _)) = &self.source else {
            return None;
        };
        let file_len = backing.file.metadata().ok()?.len();
        let last_page = self.range.end().saturating_sub(layout::PAGE);
        let address = match address {
            Some(address) => self.range.contains_addr(address).then_some(address)?,
            None => last_page,
        };
        let distance = (address & !(layout::PAGE - 1)).saturating_sub(self.range.start());
        let is_past = backing.offset.saturating_add(distance) >= file_len;
        is_past.then_some(FileTruncated {
            address: self.mapping.address,
            len: self.mapping.len,
            offset: backing.offset,
            file_len,
        })
    }
}

/// The mappings of a sandbox.
#[derive(Debug, Default)]
pub(crate) struct Mappings {
    /// In the order of their addresses.
    entries: Vec<Entry>,
    /// From the first mapping on.
    pub(crate) tables: Option<MappingTables>,
    /// The guest may have cached translations of mappings that are gone.
    needs_flush: bool,
}

impl Mappings {
    /// The mappings, in the order of their addresses.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Mapping> {
        self.entries.iter().map(|entry| entry.mapping)
    }

    /// Number of mappings.
    pub(crate) fn count(&self) -> usize {
        self.entries.len()
    }

    /// Page tables and mappings at their guest physical addresses, in the order of these.
    #[cfg(feature = "debug")]
    pub(crate) fn regions(&self) -> impl Iterator<Item = RamRegion> {
        let tables = self.tables.as_ref().and_then(MappingTables::region);
        tables
            .into_iter()
            .chain(self.entries.iter().filter_map(Entry::region))
    }

    /// Free addresses for `len` bytes, with a page that is not mapped before the next mapping, and a free slot.
    pub(crate) fn place(&self, len: u64) -> Result<Place, MapError> {
        let max = MAX_MAPPINGS;
        let mut slots = (FIRST_SLOT..).take(max);
        let slot = slots.find(|slot| self.entries.iter().all(|entry| entry.slot != *slot));
        let slot = slot.ok_or(MapError::TooMany { max })?;
        let no_space = || MapError::NoSpace { len };
        let pages = arith::align_up(len, layout::PAGE).ok_or_else(no_space)?;
        let mut start = layout::REGIONS;
        let ends = self.entries.iter().map(|entry| Some(entry.range));
        for next in ends.chain([None]) {
            let end = start.checked_add(pages).ok_or_else(no_space)?;
            let fits = match next {
                Some(next) => end < next.start(),
                None => end <= layout::REGIONS_END,
            };
            if fits {
                let range = GuestRange::from_bounds(start, end).ok_or_else(no_space)?;
                return Ok(Place { range, slot });
            }
            let after = next.map_or(end, GuestRange::end).saturating_add(layout::PAGE);
            start = arith::align_up(after, layout::REGION_ALIGN).ok_or_else(no_space)?;
        }
        Err(no_space())
    }

    /// Pages of all mappings and of `new`.
    pub(crate) fn pages_with(&self, new: &Entry) -> impl Iterator<Item = Pages> {
        self.entries.iter().map(Entry::pages).chain([new.pages()])
    }

    /// Pages of all mappings but `mapping`.
    pub(crate) fn pages_without(&self, mapping: Mapping) -> impl Iterator<Item = Pages> {
        let others = self.entries.iter().filter(move |entry| entry.mapping != mapping);
        others.map(Entry::pages)
    }

    pub(crate) fn get(&self, mapping: Mapping) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.mapping == mapping)
    }

    pub(crate) fn insert(&mut self, entry: Entry) {
        let start = entry.range.start();
        let at = self.entries.partition_point(|other| other.range.start() < start);
        self.entries.insert(at, entry);
    }

    /// Forgets `mapping`.
    pub(crate) fn remove(&mut self, mapping: Mapping) {
        self.entries.retain(|entry| entry.mapping != mapping);
        self.needs_flush = true;
    }

    /// Whether the guest's translations must be flushed before it runs.
    pub(crate) fn needs_flush(&self) -> bool {
        self.needs_flush
    }

    /// The guest's translations are flushed before it runs.
    pub(crate) fn set_flushed(&mut self) {
        self.needs_flush = false;
    }

    /// Asks the hypervisor for the pages that the guest wrote.
    pub(crate) fn collect<V: BareVm>(&mut self, vm: &V) -> Result<(), V::Error> {
        if let Some(tables) = &mut self.tables {
            tables.collect(vm)?;
        }
        for entry in &mut self.entries {
            let log_dirty = entry.attributes.log_dirty;
            match &mut entry.source {
                Source::Copy(_, written) if log_dirty => {
                    let mut taken = DirtyPages::default();
                    vm.take_dirty(entry.slot, &mut taken)?;
                    written.union(&taken);
                }
                Source::Copy(_, written) => insert_all(written),
                Source::File(_) | Source::Region => {}
            }
        }
        Ok(())
    }

    /// Drops copies of pages that the guest wrote, and makes the page tables those of the host, after [`collect`](Self::collect).
    pub(crate) fn restore(&mut self) -> Result<(), MappingError> {
        if let Some(tables) = &mut self.tables {
            tables.restore();
        }
        for entry in &mut self.entries {
            if let Source::Copy(_, written) = &mut entry.source {
                for run in runs(written.iter()) {
                    entry
                        .memory
                        .dont_need(run.start.saturating_mul(PAGE)..run.end.saturating_mul(PAGE))?;
                }
                written.clear();
            }
        }
        Ok(())
    }

    /// The error of an access at guest physical address `address`, or at any address without one, if a file is too short for it.
    pub(crate) fn truncated(&self, address: Option<u64>) -> Option<FileTruncated> {
        self.entries.iter().find_map(|entry| entry.truncated(address))
    }

    /// Reads bytes of page tables or of a mapping; false if one is elsewhere, or past the end of a file. The kernel copies, because that causes
    /// no `SIGBUS`.
    #[cfg(feature = "debug")]
    pub(crate) fn read(&self, address: u64, bytes: &mut [u8]) -> bool {
        let mut regions = self.regions();
        let region = regions.find(|region| region.range().contains_addr(address));
        region.is_some_and(|region| {
            let offset = address.saturating_sub(region.range().start());
            region.read_as_guest(offset, bytes).is_ok()
        })
    }
}

/// Adds all pages, for hypervisors without dirty logs.
fn insert_all(pages: &mut DirtyPages) {
    for page in 0..pages.pages() {
        pages.insert(page);
    }
}

/// Consecutive numbers as ranges.
fn runs(numbers: impl Iterator<Item = usize>) -> impl Iterator<Item = Range<usize>> {
    let mut numbers = numbers.peekable();
    std::iter::from_fn(move || {
        let start = numbers.next()?;
        let mut end = start.saturating_add(1);
        while numbers.next_if_eq(&end).is_some() {
            end = end.saturating_add(1);
        }
        Some(start..end)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_ranges() {
        let check = |numbers: &[usize], expected: &[(usize, usize)]| {
            let found = runs(numbers.iter().copied());
            let found: Vec<_> = found.map(|run| (run.start, run.end)).collect();
            assert_eq!(found, expected);
        };
        check(&[], &[]);
        check(&[3], &[(3, 4)]);
        check(&[0, 1, 2, 4, 6, 7], &[(0, 3), (4, 5), (6, 8)]);
    }

    fn entry(place: Place) -> Entry {
        let new = NewMapping {
            len: place.range.len(),
            memory: Arc::new(HostMapping::anonymous(PAGE).unwrap()),
            attributes: SlotAttributes::default(),
            source: Source::Region,
        };
        Entry::new(new, place)
    }

    #[test]
    fn places_are_the_first_free_ones_with_a_page_between_them() {
        const ALIGN: u64 = layout::REGION_ALIGN;
        let mut mappings = Mappings::default();
        let mut added = Vec::new();
        for (len, start) in [
            (1, 0),
            (ALIGN - layout::PAGE, ALIGN),
            (ALIGN, 2 * ALIGN),
            (ALIGN + 1, 4 * ALIGN),
            (layout::PAGE, 6 * ALIGN),
        ] {
            let place = mappings.place(len).unwrap();
            assert_eq!(place.range.start(), layout::REGIONS + start, "{len:#x}");
            assert!(place.range.len() - len < layout::PAGE);
            let entry = entry(place);
            added.push(entry.mapping);
            mappings.insert(entry);
        }
        mappings.remove(added[2]);
        // Two times 2 MiB are free: as many bytes leave no page before the next mapping.
        for (len, start) in [
            (2 * ALIGN, 7),
            (2 * ALIGN - layout::PAGE, 2),
            (2 * ALIGN - layout::PAGE + 1, 7),
        ] {
            let place = mappings.place(len).unwrap();
            assert_eq!(place.range.start(), layout::REGIONS + start * ALIGN, "{len:#x}");
            assert_eq!(place.slot, FIRST_SLOT + 2);
        }
        let rest = layout::REGIONS_END - layout::REGIONS - 7 * ALIGN;
        assert_eq!(mappings.place(rest).unwrap().range.end(), layout::REGIONS_END);
        for len in [rest + 1, u64::MAX - layout::PAGE, u64::MAX] {
            let error = mappings.place(len).unwrap_err();
            assert!(
                matches!(error, MapError::NoSpace { len: found } if found == len),
                "{error}"
            );
        }
    }

    #[test]
    fn the_number_of_slots_is_limited() {
        let mut mappings = Mappings::default();
        for number in 0..MAX_MAPPINGS {
            let place = mappings.place(1).unwrap();
            assert_eq!(place.slot, FIRST_SLOT + u32::try_from(number).unwrap());
            mappings.insert(entry(place));
        }
        let error = mappings.place(1).unwrap_err();
        assert!(
            matches!(error, MapError::TooMany { max: MAX_MAPPINGS }),
            "{error}"
        );
        let seventh = mappings.iter().nth(7).unwrap();
        mappings.remove(seventh);
        assert_eq!(mappings.place(1).unwrap().slot, FIRST_SLOT + 7);
    }

    #[cfg(feature = "fake")]
    #[test]
    fn a_hypervisor_without_dirty_logs() {
        use boot_core::cpu::x86_64;
        use guest_ram::Memfd;
        use hv_core::fake::{FakeBareConfig, FakeBareVm, FakeCpu, FakeExit};
        use hv_core::{BareAbilities, Doorbell};

        let file = Memfd::create(c"test", 4 * PAGE).unwrap();
        let options = FileOptions::copy_on_write();
        let (backing, len) = Backing::new(file.file().try_clone().unwrap(), options).unwrap();
        let mut mappings = Mappings::default();
        let new = NewMapping {
            len,
            memory: Arc::new(HostMapping::copy_on_write(&file, 0, 4 * PAGE).unwrap()),
            attributes: SlotAttributes::default(),
            source: Source::copy_of(backing, 4 * PAGE),
        };
        let entry = Entry::new(new, mappings.place(len).unwrap());
        let region = entry.region().unwrap();
        mappings.insert(entry);

        let abilities = BareAbilities::new(Doorbell::Port(0), layout::PAGE);
        let config = FakeBareConfig::new(x86_64::State::reset().into(), abilities);
        let vm = FakeBareVm::<crate::FakeRam>::new(config, |_: &mut FakeCpu<'_>| FakeExit::Halt);
        for page in [0, 3] {
            region.write_as_guest(page * layout::PAGE, b"copy").unwrap();
        }
        mappings.collect(&vm).unwrap();
        mappings.restore().unwrap();
        let mut bytes = [1; 4 * PAGE];
        region.read_as_guest(0, &mut bytes).unwrap();
        assert!(bytes.iter().all(|byte| *byte == 0));
    }
}
