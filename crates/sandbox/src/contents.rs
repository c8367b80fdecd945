//! Contents of a sandbox's memory at a snapshot: layers of pages over a base.

use std::sync::Arc;

use guest_ram::{HostMapping, MappingError};
use hv_core::DirtyPages;

use crate::base::{Base, PAGE};
use crate::memory_error::MemoryFileError;

/// Largest number of layers over a base.
const MAX_DEPTH: u32 = 16;

/// Part of a base's pages in a layer from which on a new base is made.
const MAX_PART: usize = 4;

/// Contents of a sandbox's memory: pages that differ from the parent, or from the base.
#[derive(Debug)]
pub(crate) struct Contents {
    base: Arc<Base>,
    parent: Option<Arc<Contents>>,
    /// Number of layers, this one included; 0 for the base itself.
    depth: u32,
    pages: Pages,
}

/// Pages with their numbers.
#[derive(Debug, Default)]
struct Pages {
    /// In ascending order.
    numbers: Vec<usize>,
    /// The bytes, one page after the other.
    bytes: Vec<u8>,
}

impl Pages {
    /// The pages `numbers`; `append` appends the bytes of one.
    fn copy(
        numbers: &DirtyPages,
        mut append: impl FnMut(usize, &mut Vec<u8>) -> Result<(), MappingError>,
    ) -> Result<Self, MappingError> {
        let numbers: Vec<usize> = numbers.iter().collect();
        let mut bytes = Vec::with_capacity(numbers.len().saturating_mul(PAGE));
        for number in &numbers {
            append(*number, &mut bytes)?;
        }
        Ok(Self { numbers, bytes })
    }

    fn get(&self, number: usize) -> Option<&[u8]> {
        let at = self.numbers.binary_search(&number).ok()?;
        self.bytes.chunks_exact(PAGE).nth(at)
    }
}

impl Contents {
    /// The contents of a base.
    pub(crate) fn of(base: Arc<Base>) -> Self {
        Self {
            base,
            parent: None,
            depth: 0,
            pages: Pages::default(),
        }
    }

    /// The base.
    pub(crate) fn base(&self) -> &Arc<Base> {
        &self.base
    }

    /// The contents of `memory`, which differs from `parent` in `dirty` at most.
    pub(crate) fn take(
        parent: &Arc<Self>,
        dirty: &DirtyPages,
        memory: &HostMapping,
    ) -> Result<Arc<Self>, MemoryFileError> {
        Self::take_with(parent, dirty, |page, bytes| {
            memory.append_to(page.saturating_mul(PAGE), PAGE, bytes)
        })
    }

    /// As [`take`](Self::take); `append` appends the bytes of a page.
    pub(crate) fn take_with(
        parent: &Arc<Self>,
        dirty: &DirtyPages,
        append: impl FnMut(usize, &mut Vec<u8>) -> Result<(), MappingError>,
    ) -> Result<Arc<Self>, MemoryFileError> {
        if dirty.is_empty() {
            return Ok(Arc::clone(parent));
        }
        let contents = Self {
            base: Arc::clone(&parent.base),
            parent: Some(Arc::clone(parent)),
            depth: parent.depth.saturating_add(1),
            pages: Pages::copy(dirty, append)?,
        };
        let count = contents.pages.numbers.len();
        let is_large = count > dirty.pages() / MAX_PART;
        if is_large || contents.depth > MAX_DEPTH {
            return contents.flattened().map(Arc::new);
        }
        Ok(Arc::new(contents))
    }

    /// The contents of `base` with other `pages`: their numbers, in ascending order and inside of the memory, and their bytes, one page after
    /// the other.
    pub(crate) fn with_pages(
        base: Arc<Base>,
        numbers: Vec<usize>,
        bytes: Vec<u8>,
    ) -> Result<Arc<Self>, MemoryFileError> {
        let pages = base.present().pages();
        let parent = Arc::new(Self::of(Arc::clone(&base)));
        if numbers.is_empty() {
            return Ok(parent);
        }
        let is_large = numbers.len() > pages / MAX_PART;
        let contents = Self {
            base,
            parent: Some(parent),
            depth: 1,
            pages: Pages { numbers, bytes },
        };
        let contents = if is_large { contents.flattened()? } else { contents };
        Ok(Arc::new(contents))
    }

    /// Bytes of the pages in this layer.
    pub(crate) fn layer_len(&self) -> usize {
        self.pages.bytes.len()
    }

    /// Whether there are no layers over the base.
    pub(crate) fn is_flat(&self) -> bool {
        self.parent.is_none()
    }

    /// The same contents as a new base.
    pub(crate) fn flattened(&self) -> Result<Self, MemoryFileError> {
        let pages = self.base.present().pages();
        let mut present = DirtyPages::new(pages);
        self.add_pages(&mut present);
        let (file, memory) = self.base.empty_file()?;
        for page in present.iter() {
            self.copy(page, &memory)?;
        }
        // The writable mapping prevents the seal.
        drop(memory);
        let exchange = Arc::clone(self.base.exchange());
        Ok(Self::of(Arc::new(Base::seal(file, present, exchange)?)))
    }

    /// This one and its parents.
    fn layers(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |contents| contents.parent.as_deref())
    }

    /// Whether `page` is that of the base.
    pub(crate) fn is_of_base(&self, page: usize) -> bool {
        self.layers().all(|layer| layer.pages.get(page).is_none())
    }

    /// Reads page `page`.
    pub(crate) fn read(&self, page: usize, bytes: &mut [u8; PAGE]) -> Result<(), MappingError> {
        match self.layers().find_map(|layer| layer.pages.get(page)) {
            Some(found) => {
                bytes.copy_from_slice(found);
                Ok(())
            }
            None => self.base.read(page, bytes),
        }
    }

    /// Copies page `page` to the same page of `memory`.
    pub(crate) fn copy(&self, page: usize, memory: &HostMapping) -> Result<(), MappingError> {
        match self.layers().find_map(|layer| layer.pages.get(page)) {
            Some(bytes) => memory.write(page.saturating_mul(PAGE), bytes),
            None => self.base.copy(page, memory),
        }
    }

    /// Adds the pages that layers over the base have.
    pub(crate) fn add_layers(&self, pages: &mut DirtyPages) {
        for layer in self.layers() {
            for &page in &layer.pages.numbers {
                pages.insert(page);
            }
        }
    }

    /// Adds all pages that may have a byte that is not zero.
    pub(crate) fn add_pages(&self, pages: &mut DirtyPages) {
        pages.union(self.base.present());
        self.add_layers(pages);
    }

    /// Adds the pages in which the two may differ.
    pub(crate) fn add_difference(self: &Arc<Self>, other: &Arc<Self>, pages: &mut DirtyPages) {
        if !Arc::ptr_eq(&self.base, &other.base) {
            self.add_pages(pages);
            other.add_pages(pages);
            return;
        }
        let [mut a, mut b] = [self, other];
        // Of two different contents of one base, the deeper one is not an ancestor of the other.
        while !Arc::ptr_eq(a, b) {
            let deeper = if a.depth >= b.depth { &mut a } else { &mut b };
            let Some(parent) = &deeper.parent else {
                // Both are the base.
                break;
            };
            for &page in &deeper.pages.numbers {
                pages.insert(page);
            }
            *deeper = parent;
        }
    }
}

#[cfg(test)]
mod tests {
    use guest_ram::Memfd;

    use super::*;
    use crate::base::Exchange;

    const PAGES: usize = 100;

    /// A base whose page 1 has ones, and a private mapping of it.
    fn base() -> (Arc<Contents>, HostMapping) {
        let file = Memfd::create(c"test", PAGES * PAGE).unwrap();
        HostMapping::shared(&file)
            .unwrap()
            .write(PAGE, &[1; PAGE])
            .unwrap();
        let base = Base::seal(file, set(&[1]), Arc::new(Exchange::default())).unwrap();
        let memory = HostMapping::private(base.file()).unwrap();
        (Arc::new(Contents::of(Arc::new(base))), memory)
    }

    fn set(of: &[usize]) -> DirtyPages {
        let mut set = DirtyPages::new(PAGES);
        for &page in of {
            assert!(set.insert(page));
        }
        set
    }

    /// Writes `value` to pages, and takes the contents.
    fn write(parent: &Arc<Contents>, memory: &HostMapping, pages: &[usize], value: u8) -> Arc<Contents> {
        for page in pages {
            memory.write(page * PAGE, &[value; PAGE]).unwrap();
        }
        Contents::take(parent, &set(pages), memory).unwrap()
    }

    /// The first byte of each page of `pages`.
    fn bytes(contents: &Contents, pages: &[usize]) -> Vec<u8> {
        let mut found = Vec::new();
        let memory = HostMapping::anonymous(PAGES * PAGE).unwrap();
        for &page in pages {
            memory.write(page * PAGE, &[0xee; PAGE]).unwrap();
            contents.copy(page, &memory).unwrap();
            let mut bytes = [0; PAGE];
            memory.read(page * PAGE, &mut bytes).unwrap();
            assert!(bytes.iter().all(|byte| *byte == bytes[0]));
            found.push(bytes[0]);
        }
        found
    }

    fn difference(a: &Arc<Contents>, b: &Arc<Contents>) -> Vec<usize> {
        let [mut ab, mut ba] = [set(&[]), set(&[])];
        a.add_difference(b, &mut ab);
        b.add_difference(a, &mut ba);
        assert_eq!(ab, ba);
        ab.iter().collect()
    }

    #[test]
    fn layers_hide_their_parents() {
        let (base, memory) = base();
        let first = write(&base, &memory, &[1, 2], 5);
        let second = write(&first, &memory, &[2, 3], 6);
        assert_eq!(bytes(&base, &[0, 1, 2, 3]), [0, 1, 0, 0]);
        assert_eq!(bytes(&first, &[0, 1, 2, 3]), [0, 5, 5, 0]);
        assert_eq!(bytes(&second, &[0, 1, 2, 3]), [0, 5, 6, 6]);
        assert!(second.is_of_base(0) && !second.is_of_base(1) && first.is_of_base(3));
        let same = Contents::take(&second, &set(&[]), &memory).unwrap();
        assert!(Arc::ptr_eq(&same, &second));
    }

    #[test]
    fn contents_differ_in_the_layers_up_to_the_common_one() {
        let (base, memory) = base();
        let first = write(&base, &memory, &[1, 2], 5);
        let left = write(&first, &memory, &[3], 6);
        let right = write(&first, &memory, &[4], 7);
        let deep = write(&right, &memory, &[5], 8);
        assert!(difference(&base, &base).is_empty());
        assert_eq!(difference(&base, &first), [1, 2]);
        assert_eq!(difference(&left, &deep), [3, 4, 5]);
        assert_eq!(difference(&right, &deep), [5]);
        assert_eq!(difference(&base, &deep), [1, 2, 4, 5]);
    }

    #[test]
    fn many_layers_and_large_ones_become_a_base() {
        let (base, memory) = base();
        let mut contents = Arc::clone(&base);
        for value in 0..40 {
            contents = write(&contents, &memory, &[value + 2], 9);
            assert!(contents.layers().count() <= 17);
            let expected: Vec<u8> = (0..100)
                .map(|page| [0, 1, 9][usize::from(page >= 1) + usize::from(page > 1)])
                .collect();
            assert_eq!(
                bytes(&contents, &(0..value + 3).collect::<Vec<_>>()),
                expected[..value + 3]
            );
        }
        assert!(!Arc::ptr_eq(&contents.base, &base.base));
        // Pages of both bases.
        assert_eq!(difference(&base, &contents), (1..42).collect::<Vec<_>>());
        let large = write(&base, &memory, &(10..36).collect::<Vec<_>>(), 3);
        assert_eq!(
            (large.depth, bytes(&large, &[1, 9, 10, 35, 36])),
            (0, vec![1, 0, 3, 3, 0])
        );
        let small = write(&base, &memory, &(10..35).collect::<Vec<_>>(), 3);
        assert_eq!(small.depth, 1);
    }
}
