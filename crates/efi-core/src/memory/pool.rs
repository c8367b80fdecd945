//! Pool allocations: pages divided into pieces of one size class.

use alloc::vec::Vec;

use super::map::MemoryMap;
use super::types::{MemoryType, PAGE_SIZE};
use crate::sorted_map::SortedMap;
use crate::{Result, Status};

/// Sizes of pieces in bytes; larger allocations are whole pages.
const CLASSES: [u64; 8] = [16, 32, 64, 128, 256, 512, 1024, 2048];

/// Pages with pieces of one class.
#[derive(Clone, Debug)]
struct Slab {
    kind: MemoryType,
    class: u64,
    pages: u64,
    /// Bits of used pieces.
    used: Vec<u64>,
    /// Number of used pieces.
    count: u64,
}

impl Slab {
    fn pieces(&self) -> u64 {
        self.pages
            .saturating_mul(PAGE_SIZE)
            .checked_div(self.class)
            .unwrap_or(0)
    }

    /// Takes a free piece and returns its number.
    fn take(&mut self) -> Option<u64> {
        let pieces = self.pieces();
        for (word, bits) in (0_u64..).step_by(64).zip(&mut self.used) {
            let free = u64::from(bits.trailing_ones());
            let piece = word.saturating_add(free);
            if free < 64 && piece < pieces {
                *bits |= 1_u64.checked_shl(bits.trailing_ones())?;
                self.count = self.count.saturating_add(1);
                return Some(piece);
            }
        }
        None
    }

    /// Gives a piece back; false if it was free.
    fn give(&mut self, piece: u64) -> bool {
        let word = piece.checked_div(64).and_then(|word| usize::try_from(word).ok());
        let Some(bits) = word.and_then(|word| self.used.get_mut(word)) else {
            return false;
        };
        let bit = 1_u64.rotate_left(u32::try_from(piece & 63).unwrap_or(0));
        let was_used = *bits & bit != 0;
        *bits &= !bit;
        if was_used {
            self.count = self.count.saturating_sub(1);
        }
        was_used
    }
}

/// An allocation of whole pages.
#[derive(Clone, Copy, Debug)]
struct Large {
    pages: u64,
}

/// `AllocatePool` and `FreePool`: addresses of pieces. The bookkeeping is outside of the pieces, so that no write of a caller
/// past its buffer damages it.
///
/// Pieces of one memory type and size class share pages; larger allocations have pages of their own. Every address is a
/// multiple of 16. Pages without used pieces go back to the map at once.
#[derive(Clone, Debug, Default)]
pub struct Pool {
    /// Slabs by the address of their first page.
    slabs: SortedMap<u64, Slab>,
    /// Slabs with free pieces: type, class, address.
    partial: SortedMap<(MemoryType, u64, u64), ()>,
    large: SortedMap<u64, Large>,
}

impl Pool {
    /// A pool without allocations.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            slabs: SortedMap::new(),
            partial: SortedMap::new(),
            large: SortedMap::new(),
        }
    }

    /// `AllocatePool`: the address of at least `size` bytes, which the bookkeeping never touches. A size of 0 is a piece of
    /// the smallest class.
    ///
    /// # Errors
    ///
    /// `INVALID_PARAMETER` if the type cannot be allocated; `OUT_OF_RESOURCES` if the map has no room.
    pub fn allocate(&mut self, map: &mut MemoryMap, kind: MemoryType, size: u64) -> Result<u64> {
        if !kind.is_allocatable() {
            return Err(Status::INVALID_PARAMETER);
        }
        let Some(class) = CLASSES.into_iter().find(|class| *class >= size) else {
            let pages = size.div_ceil(PAGE_SIZE);
            let start = map.allocate_pool_pages(kind, pages)?;
            self.large.insert(start, Large { pages });
            return Ok(start);
        };
        let start = match self.partial.first_from(&(kind, class, 0)) {
            Some(((of, size, start), ())) if (*of, *size) == (kind, class) => *start,
            _ => self.add_slab(map, kind, class)?,
        };
        let slab = self.slabs.get_mut(&start).ok_or(Status::OUT_OF_RESOURCES)?;
        let piece = slab.take().ok_or(Status::OUT_OF_RESOURCES)?;
        if slab.count >= slab.pieces() {
            self.partial.remove(&(kind, class, start));
        }
        Ok(start.saturating_add(piece.saturating_mul(class)))
    }

    fn add_slab(&mut self, map: &mut MemoryMap, kind: MemoryType, class: u64) -> Result<u64> {
        let pages = map.granularity(kind);
        let start = map.allocate_pool_pages(kind, pages)?;
        let mut slab = Slab {
            kind,
            class,
            pages,
            used: Vec::new(),
            count: 0,
        };
        let words = usize::try_from(slab.pieces().div_ceil(64)).unwrap_or(0);
        slab.used.resize(words, 0);
        self.slabs.insert(start, slab);
        self.partial.insert((kind, class, start), ());
        Ok(start)
    }

    /// `FreePool`.
    ///
    /// # Errors
    ///
    /// `INVALID_PARAMETER` if the address is not one that [`allocate`](Self::allocate) returned, or was freed since.
    pub fn free(&mut self, map: &mut MemoryMap, address: u64) -> Result<()> {
        if let Some(large) = self.large.get(&address).copied() {
            map.free_pool_pages(address, large.pages)?;
            self.large.remove(&address);
            return Ok(());
        }
        let (start, slab) = self.slab_of(address).ok_or(Status::INVALID_PARAMETER)?;
        let offset = address.saturating_sub(start);
        if offset.checked_rem(slab.class) != Some(0) {
            return Err(Status::INVALID_PARAMETER);
        }
        let piece = offset.checked_div(slab.class).ok_or(Status::INVALID_PARAMETER)?;
        if !slab.give(piece) {
            return Err(Status::INVALID_PARAMETER);
        }
        let (kind, class, pages, count) = (slab.kind, slab.class, slab.pages, slab.count);
        // Pages that the map cannot take back, because it has too many regions, stay for later pieces.
        if count == 0 && map.free_pool_pages(start, pages).is_ok() {
            self.slabs.remove(&start);
            self.partial.remove(&(kind, class, start));
        } else {
            self.partial.insert((kind, class, start), ());
        }
        Ok(())
    }

    /// Bytes from the address to the end of its allocation, or `None` if the address is in no allocation of the pool.
    #[must_use]
    pub fn room(&self, address: u64) -> Option<u64> {
        if let Some((start, large)) = self.large.last_to(&address) {
            let end = start.checked_add(large.pages.checked_mul(PAGE_SIZE)?)?;
            if address < end {
                return end.checked_sub(address);
            }
        }
        let (start, slab) = self.slabs.last_to(&address)?;
        let offset = address.checked_sub(*start)?;
        let piece = offset.checked_div(slab.class)?;
        let word = slab.used.get(usize::try_from(piece.checked_div(64)?).ok()?)?;
        let is_used = word.checked_shr(u32::try_from(piece & 63).ok()?)? & 1 == 1;
        is_used.then(|| {
            slab.class
                .saturating_sub(offset.checked_rem(slab.class).unwrap_or(0))
        })
    }

    fn slab_of(&mut self, address: u64) -> Option<(u64, &mut Slab)> {
        let (start, slab) = self.slabs.last_to(&address)?;
        let (start, len) = (*start, slab.pages.checked_mul(PAGE_SIZE)?);
        if address.checked_sub(start)? >= len {
            return None;
        }
        Some((start, self.slabs.get_mut(&start)?))
    }
}

#[cfg(test)]
mod tests {
    use super::super::map::MapConfig;
    use super::super::types::Descriptor;
    use super::*;

    fn map(config: MapConfig) -> MemoryMap {
        let mut map = MemoryMap::new(config);
        map.add(&Descriptor::ram(MemoryType::CONVENTIONAL, 0x10_0000, 64))
            .unwrap();
        map
    }

    #[test]
    fn pieces_of_a_class_share_pages_and_pages_go_back() {
        let mut map = map(MapConfig::default());
        let before: Vec<_> = map.descriptors().collect();
        let mut pool = Pool::new();
        let kind = MemoryType::LOADER_DATA;
        let first: Vec<_> = (0..128)
            .map(|_| pool.allocate(&mut map, kind, 20).unwrap())
            .collect();
        assert_eq!(map.descriptors().last().unwrap().pages, 1);
        let more = pool.allocate(&mut map, kind, 32).unwrap();
        assert_eq!(map.descriptors().last().unwrap().pages, 2);
        let other = pool
            .allocate(&mut map, MemoryType::RUNTIME_SERVICES_DATA, 32)
            .unwrap();
        assert_eq!(map.at(other).unwrap().0.kind, MemoryType::RUNTIME_SERVICES_DATA);
        assert_eq!(pool.room(first[3] + 12), Some(20));
        assert_eq!(pool.free(&mut map, first[3] + 16), Err(Status::INVALID_PARAMETER));
        for address in first.iter().chain([&more, &other]) {
            assert_eq!(address % 16, 0);
            assert_eq!(pool.free(&mut map, *address), Ok(()));
            assert_eq!(pool.room(*address), None);
            assert_eq!(pool.free(&mut map, *address), Err(Status::INVALID_PARAMETER));
        }
        assert_eq!(map.descriptors().collect::<Vec<_>>(), before);
    }

    #[test]
    fn large_allocations_are_pages_that_free_pages_refuses() {
        let mut map = map(MapConfig::default());
        let mut pool = Pool::new();
        let large = pool.allocate(&mut map, MemoryType::LOADER_DATA, 4097).unwrap();
        assert_eq!(large, 0x10_0000 + 62 * PAGE_SIZE);
        assert_eq!(pool.room(large + 4096), Some(4096));
        assert_eq!(map.free(large, 2), Err(Status::NOT_FOUND));
        assert_eq!(pool.free(&mut map, large + 4096), Err(Status::INVALID_PARAMETER));
        assert_eq!(pool.free(&mut map, large), Ok(()));
        let full = pool.allocate(&mut map, MemoryType::LOADER_DATA, 64 * PAGE_SIZE + 1);
        assert_eq!(full, Err(Status::OUT_OF_RESOURCES));
        let huge = pool.allocate(&mut map, MemoryType::LOADER_DATA, u64::MAX);
        assert_eq!(huge, Err(Status::OUT_OF_RESOURCES));
        let wrong = pool.allocate(&mut map, MemoryType::CONVENTIONAL, 8);
        assert_eq!(wrong, Err(Status::INVALID_PARAMETER));
    }

    #[test]
    fn pieces_of_runtime_types_fill_a_whole_unit() {
        let mut map = map(MapConfig::default().with_runtime_granularity(16));
        let mut pool = Pool::new();
        let kind = MemoryType::RUNTIME_SERVICES_DATA;
        let all: std::collections::BTreeSet<_> = (0..32)
            .map(|_| pool.allocate(&mut map, kind, 2048).unwrap())
            .collect();
        assert_eq!(all.len(), 32);
        assert_eq!(map.descriptors().last().unwrap().pages, 16);
        assert!(all.iter().all(|address| pool.free(&mut map, *address) == Ok(())));
        assert_eq!(map.descriptors().count(), 1);
    }
}
