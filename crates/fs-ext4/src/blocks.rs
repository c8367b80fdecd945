//! Blocks of a volume, as they are after its journal was replayed.

use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::vec;
use core::cell::RefCell;

use boot_core::{ByteSource, ReadError};

use crate::geometry::Geometry;
use crate::overlay::Overlay;
use crate::raw::JOURNAL_MAGIC;

/// Number of blocks that stay in memory.
const CACHED: usize = 16;

/// The blocks of a volume.
pub(crate) struct Blocks<S> {
    pub(crate) source: S,
    pub(crate) geometry: Geometry,
    /// Blocks that are in the journal.
    pub(crate) overlay: Overlay,
    /// The blocks that were read last; the newest is the last.
    cache: RefCell<VecDeque<(u64, Rc<[u8]>)>>,
}

impl<S: ByteSource> Blocks<S> {
    pub(crate) const fn new(source: S, geometry: Geometry) -> Self {
        Self {
            source,
            geometry,
            overlay: Overlay::new(),
            cache: RefCell::new(VecDeque::new()),
        }
    }

    /// Replaces blocks.
    pub(crate) fn set_overlay(&mut self, overlay: Overlay) {
        self.overlay = overlay;
        self.cache.get_mut().clear();
    }

    /// The bytes of a block; `None` if it is outside of the volume.
    pub(crate) fn block(&self, number: u64) -> Result<Option<Rc<[u8]>>, ReadError> {
        let Some(offset) = self.geometry.offset_of(number, 1) else {
            return Ok(None);
        };
        if let Some(found) = self.cached(number) {
            return Ok(Some(found));
        }
        let copy = self.overlay.get(number);
        let mut bytes = vec![0; usize::try_from(self.geometry.block_size).unwrap_or_default()];
        self.source
            .read_exact_at(copy.map_or(offset, |copy| copy.offset), &mut bytes)?;
        let start = bytes
            .first_chunk_mut()
            .filter(|_| copy.is_some_and(|copy| copy.is_escaped));
        if let Some(start) = start {
            *start = JOURNAL_MAGIC.to_be_bytes();
        }
        let bytes: Rc<[u8]> = bytes.into();
        if let Ok(mut cache) = self.cache.try_borrow_mut() {
            if cache.len() >= CACHED {
                cache.pop_front();
            }
            cache.push_back((number, Rc::clone(&bytes)));
        }
        Ok(Some(bytes))
    }

    fn cached(&self, number: u64) -> Option<Rc<[u8]>> {
        let cache = self.cache.try_borrow().ok()?;
        let found = cache.iter().find(|(known, _)| *known == number);
        found.map(|(_, bytes)| Rc::clone(bytes))
    }
}
