//! Attributes and dirty logs of memory slots.

/// Attributes of a memory slot. The default is memory that the guest can write, without a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct SlotAttributes {
    /// The guest can read and execute the memory; its writes are device accesses and do not change it.
    pub read_only: bool,
    /// The back end logs the pages that the guest writes: [`BareVm::take_dirty`](crate::BareVm::take_dirty).
    pub log_dirty: bool,
}

impl SlotAttributes {
    /// Sets whether the guest cannot write the memory.
    #[must_use]
    pub const fn with_read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    /// Sets whether the back end logs the pages that the guest writes.
    #[must_use]
    pub const fn with_log_dirty(mut self, log_dirty: bool) -> Self {
        self.log_dirty = log_dirty;
        self
    }
}

/// A set of pages of a memory slot, numbered from 0: one bit for each page of the host.
///
/// It is made for reuse: [`reset`](Self::reset) allocates only if the number of pages grows. A new set takes memory from the first page on
/// that is added.
#[derive(Clone, Debug, Default)]
pub struct DirtyPages {
    /// Bit `n % 64` of word `n / 64` is page `n`. Bits from `pages` on are zero. Without any word, there are no pages.
    words: Vec<u64>,
    pages: usize,
}

impl PartialEq for DirtyPages {
    fn eq(&self, other: &Self) -> bool {
        self.pages == other.pages && self.iter().eq(other.iter())
    }
}

impl Eq for DirtyPages {}

/// Number of pages in one word.
const WORD: usize = 64;

impl DirtyPages {
    /// No pages, of a slot of `pages` pages.
    #[must_use]
    pub fn new(pages: usize) -> Self {
        let words = Vec::new();
        Self { words, pages }
    }

    /// Number of pages of the slot.
    #[must_use]
    pub fn pages(&self) -> usize {
        self.pages
    }

    /// Makes this the empty set for a slot of `pages` pages.
    pub fn reset(&mut self, pages: usize) {
        self.pages = pages;
        self.words.clear();
        self.words.resize(pages.div_ceil(WORD), 0);
    }

    /// Makes this the set that `fill` writes for a slot of `pages` pages: bit `n % 64` of word `n / 64` is page `n`, and all words are zero
    /// at first. Bits past the last page are ignored.
    ///
    /// # Errors
    ///
    /// The error of `fill`; the set is then empty.
    pub fn fill_with<E>(
        &mut self,
        pages: usize,
        fill: impl FnOnce(&mut [u64]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.reset(pages);
        let result = fill(&mut self.words);
        if result.is_err() {
            self.clear();
        }
        let used = pages % WORD;
        if used != 0
            && let Some(last) = self.words.last_mut()
        {
            *last &= (1 << used) - 1;
        }
        result
    }

    /// The words: bit `n % 64` of word `n / 64` is page `n`. Bits past the last page are zero. A set to which nothing was added since
    /// [`new`](Self::new) may have none.
    #[must_use]
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// Removes the pages before `end`.
    pub fn remove_before(&mut self, end: usize) {
        let whole = (end / WORD).min(self.words.len());
        let (before, rest) = self.words.split_at_mut(whole);
        before.fill(0);
        if let Some(word) = rest.first_mut() {
            *word &= u64::MAX << (end % WORD);
        }
    }

    /// Adds `page`; false if the slot has no such page.
    pub fn insert(&mut self, page: usize) -> bool {
        let is_page = page < self.pages;
        if is_page && self.words.is_empty() {
            self.words.resize(self.pages.div_ceil(WORD), 0);
        }
        if let Some(word) = self.words.get_mut(page / WORD).filter(|_| is_page) {
            *word |= 1 << (page % WORD);
        }
        is_page
    }

    /// Whether the set has `page`.
    #[must_use]
    pub fn contains(&self, page: usize) -> bool {
        let word = self.words.get(page / WORD).copied().unwrap_or(0);
        word >> (page % WORD) & 1 != 0
    }

    /// Adds the pages of `other`. The number of pages becomes the larger one of both.
    pub fn union(&mut self, other: &Self) {
        self.pages = self.pages.max(other.pages);
        self.words.resize(self.pages.div_ceil(WORD), 0);
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word |= other;
        }
    }

    /// Removes all pages.
    pub fn clear(&mut self) {
        self.words.fill(0);
    }

    /// Whether the set has no pages.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Number of pages in the set.
    #[must_use]
    pub fn len(&self) -> usize {
        let ones = |word: &u64| usize::try_from(word.count_ones()).unwrap_or_default();
        self.words.iter().map(ones).sum()
    }

    /// The pages, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        Words {
            rest: &self.words,
            next: 0,
        }
        .flat_map(|(first, word)| Bits(word).map(move |bit| first + bit))
    }
}

/// Words that are not zero, each with the number of its first page.
struct Words<'a> {
    rest: &'a [u64],
    /// Number of the first page of `rest`.
    next: usize,
}

impl Iterator for Words<'_> {
    type Item = (usize, u64);

    fn next(&mut self) -> Option<(usize, u64)> {
        /// Most words are zero: one test skips as many.
        const STRIDE: usize = 8;
        loop {
            while let Some((words, rest)) = self.rest.split_first_chunk::<STRIDE>()
                && words.iter().fold(0, |all, word| all | word) == 0
            {
                self.rest = rest;
                self.next += STRIDE * WORD;
            }
            let (&word, rest) = self.rest.split_first()?;
            let first = self.next;
            self.rest = rest;
            self.next += WORD;
            if word != 0 {
                return Some((first, word));
            }
        }
    }
}

/// Numbers of the bits of a word that are set, in ascending order.
struct Bits(u64);

impl Iterator for Bits {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let bit = usize::try_from(self.0.trailing_zeros()).ok()?;
        // Removes the lowest bit; nothing is left of zero.
        self.0 &= self.0.checked_sub(1)?;
        Some(bit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(pages: usize, of: &[usize]) -> DirtyPages {
        let mut set = DirtyPages::new(pages);
        for &page in of {
            assert!(set.insert(page), "{page}");
        }
        set
    }

    #[test]
    fn pages_come_back_in_order() {
        let set = set(130, &[129, 0, 64, 63, 0]);
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 63, 64, 129]);
        assert_eq!((set.len(), set.is_empty(), set.pages()), (4, false, 130));
        assert!(set.contains(129) && !set.contains(1) && !set.contains(1000));
    }

    #[test]
    fn pages_past_the_slot_are_refused() {
        let mut set = DirtyPages::new(65);
        assert!(!set.insert(65) && !set.insert(usize::MAX));
        assert!(set.is_empty());
    }

    #[test]
    fn filled_words_are_pages_of_the_slot() {
        let mut dirty = set(65, &[3]);
        dirty
            .fill_with(65, |words| {
                assert_eq!(words, [0, 0], "words start as zeros");
                words.copy_from_slice(&[1 << 7, u64::MAX]);
                Ok::<_, ()>(())
            })
            .unwrap();
        assert_eq!(dirty, set(65, &[7, 64]));
        let failed = dirty.fill_with(64, |words| {
            words.fill(u64::MAX);
            Err("failed")
        });
        assert_eq!((failed, dirty), (Err("failed"), DirtyPages::new(64)));
    }

    #[test]
    fn a_union_has_the_pages_of_both() {
        let mut union = set(64, &[5]);
        union.union(&set(200, &[5, 199]));
        assert_eq!(union, set(200, &[5, 199]));
        union.union(&set(10, &[9]));
        assert_eq!(union, set(200, &[5, 9, 199]));
        assert_eq!(union.words(), [1 << 5 | 1 << 9, 0, 0, 1 << 7]);
        for (end, expected) in [(0, &[5, 9, 199][..]), (6, &[9, 199]), (64, &[199]), (199, &[199])] {
            union.remove_before(end);
            assert_eq!(union, set(200, expected), "{end}");
        }
        union.remove_before(200);
        assert_eq!(union, DirtyPages::new(200));
        union.remove_before(usize::MAX);
        union.insert(3);
        union.clear();
        assert_eq!(union, DirtyPages::new(200));
        union.reset(3);
        assert_eq!(union, DirtyPages::new(3));
    }
}
