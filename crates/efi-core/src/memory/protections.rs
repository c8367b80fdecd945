//! Page protections, `EFI_MEMORY_ATTRIBUTE_PROTOCOL`, UEFI 2.10 section 37.3.

use alloc::vec::Vec;

use super::types::{Attributes, PAGE_SIZE};
use crate::{Result, Status};

/// A range with at least one protection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    start: u64,
    /// Address of the last byte.
    last: u64,
    attributes: Attributes,
}

/// The protections (RP, XP, RO) of pages. Pages without one can be read, written and executed.
#[derive(Clone, Debug, Default)]
pub struct Protections {
    spans: Vec<Span>,
}

impl Protections {
    /// No page is protected.
    #[must_use]
    pub const fn new() -> Self {
        Self { spans: Vec::new() }
    }

    /// `GetMemoryAttributes`: the protections of a range.
    ///
    /// # Errors
    ///
    /// `INVALID_PARAMETER` if the range is empty, not aligned or ends past the address space; `NO_MAPPING` if its pages have
    /// different protections.
    pub fn get(&self, start: u64, len: u64) -> Result<Attributes> {
        let last = last_byte(start, len)?;
        let mut found: Option<Attributes> = None;
        let mut next = Some(start);
        let overlapping = self
            .spans
            .iter()
            .filter(|span| span.start <= last && span.last >= start);
        for span in overlapping {
            let has_gap = next.is_none_or(|next| span.start > next);
            if (has_gap && next.is_some()) || found.is_some_and(|found| found != span.attributes) {
                return Err(Status::NO_MAPPING);
            }
            found = Some(span.attributes);
            next = span.last.checked_add(1);
        }
        match (found, next) {
            (Some(_), Some(next)) if next <= last => Err(Status::NO_MAPPING),
            (found, _) => Ok(found.unwrap_or_default()),
        }
    }

    /// `SetMemoryAttributes`: adds protections to a range.
    ///
    /// # Errors
    ///
    /// `INVALID_PARAMETER` if the range is empty, not aligned or ends past the address space, or if `attributes` is empty or
    /// has other bits than RP, XP and RO.
    pub fn set(&mut self, start: u64, len: u64, attributes: Attributes) -> Result<()> {
        validate(attributes)?;
        self.change(start, len, |old| old | attributes)
    }

    /// `ClearMemoryAttributes`: removes protections from a range.
    ///
    /// # Errors
    ///
    /// Those of [`set`](Self::set).
    pub fn clear(&mut self, start: u64, len: u64, attributes: Attributes) -> Result<()> {
        validate(attributes)?;
        self.change(start, len, |old| old.difference(attributes))
    }

    /// The protections of an address, and the last address up to which all pages have the same ones.
    #[must_use]
    pub fn run(&self, address: u64) -> (Attributes, u64) {
        let next = self.spans.iter().find(|span| span.last >= address);
        match next {
            Some(span) if span.start <= address => (span.attributes, span.last),
            Some(span) => (Attributes::empty(), span.start.saturating_sub(1)),
            None => (Attributes::empty(), u64::MAX),
        }
    }

    /// The ranges with protections: start, length in bytes, protections.
    pub fn ranges(&self) -> impl Iterator<Item = (u64, u64, Attributes)> + '_ {
        self.spans.iter().map(|span| {
            let len = span.last.saturating_sub(span.start).saturating_add(1);
            (span.start, len, span.attributes)
        })
    }

    fn change(&mut self, start: u64, len: u64, change: impl Fn(Attributes) -> Attributes) -> Result<()> {
        let last = last_byte(start, len)?;
        let mut parts: Vec<Span> = Vec::new();
        let mut push = |start: u64, last: u64, attributes: Attributes| {
            if attributes.is_empty() {
                return;
            }
            match parts.last_mut() {
                Some(end) if end.attributes == attributes && end.last.checked_add(1) == Some(start) => {
                    end.last = last;
                }
                _ => parts.push(Span {
                    start,
                    last,
                    attributes,
                }),
            }
        };
        // The next address of the range that has not been changed.
        let mut next = Some(start);
        for span in &self.spans {
            if span.last < start {
                push(span.start, span.last, span.attributes);
                continue;
            }
            if let Some(from) = next.filter(|next| *next <= last && *next < span.start) {
                let to = last.min(span.start.saturating_sub(1));
                push(from, to, change(Attributes::empty()));
                next = to.checked_add(1);
            }
            if span.start < start {
                push(span.start, start.saturating_sub(1), span.attributes);
            }
            let (from, to) = (span.start.max(start), span.last.min(last));
            if from <= to {
                push(from, to, change(span.attributes));
                next = to.checked_add(1);
            }
            if span.last > last {
                let from = span.start.max(last.saturating_add(1));
                push(from, span.last, span.attributes);
            }
        }
        if let Some(from) = next.filter(|next| *next <= last) {
            push(from, last, change(Attributes::empty()));
        }
        self.spans = parts;
        Ok(())
    }
}

fn validate(attributes: Attributes) -> Result<()> {
    if attributes.is_empty() || !Attributes::ACCESS.contains(attributes) {
        return Err(Status::INVALID_PARAMETER);
    }
    Ok(())
}

/// The last byte of a range of whole pages.
fn last_byte(start: u64, len: u64) -> Result<u64> {
    let is_aligned = start.checked_rem(PAGE_SIZE) == Some(0) && len.checked_rem(PAGE_SIZE) == Some(0);
    let last = len.checked_sub(1).and_then(|len| start.checked_add(len));
    last.filter(|_| is_aligned).ok_or(Status::INVALID_PARAMETER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_are_checked() {
        let mut protections = Protections::new();
        let mut check = |start, len, attributes| {
            let refused = Err(Status::INVALID_PARAMETER);
            assert_eq!(protections.set(start, len, attributes), refused);
            assert_eq!(protections.clear(start, len, attributes), refused);
        };
        check(0, 0, Attributes::RO);
        check(1, PAGE_SIZE, Attributes::RO);
        check(0, 100, Attributes::RO);
        check(2 * PAGE_SIZE, u64::MAX - PAGE_SIZE + 1, Attributes::RO);
        check(0, PAGE_SIZE, Attributes::empty());
        check(0, PAGE_SIZE, Attributes::RO | Attributes::WB);
        assert_eq!(protections.get(0, 0), Err(Status::INVALID_PARAMETER));
        assert_eq!(protections.get(1, PAGE_SIZE), Err(Status::INVALID_PARAMETER));
    }

    proptest! {
        /// A model with one entry for each page.
        #[test]
        fn protections_are_those_of_a_model(
            changes in prop::collection::vec((any::<bool>(), 0..20_u8, 1..20_u8, 1..8_u8), 0..40),
            reads in prop::collection::vec((0..20_u8, 1..20_u8), 20),
        ) {
            let all = [Attributes::RP, Attributes::XP, Attributes::RO];
            let bytes = |pages: u8| u64::from(pages) * PAGE_SIZE;
            let mut model = [Attributes::empty(); 40];
            let mut protections = Protections::new();
            for (is_set, start, len, bits) in changes {
                let chosen = (0..3).filter(|bit| bits >> bit & 1 == 1);
                let attributes = chosen.fold(Attributes::empty(), |sum, bit| sum | all[bit]);
                if is_set {
                    protections.set(bytes(start), bytes(len), attributes).unwrap();
                } else {
                    protections.clear(bytes(start), bytes(len), attributes).unwrap();
                }
                for page in &mut model[start.into()..(start + len).into()] {
                    page.set(attributes, is_set);
                }
            }
            for (start, len) in reads {
                let pages = &model[start.into()..(start + len).into()];
                let is_equal = pages.iter().all(|page| *page == pages[0]);
                let expected = if is_equal { Ok(pages[0]) } else { Err(Status::NO_MAPPING) };
                prop_assert_eq!(protections.get(bytes(start), bytes(len)), expected);
            }
            for (page, attributes) in (0_u8..).zip(&model) {
                prop_assert_eq!(protections.run(bytes(page)).0, *attributes);
                let last = protections.run(bytes(page)).1;
                prop_assert!(last % PAGE_SIZE == PAGE_SIZE - 1 && last > bytes(page));
            }
            let sum: u64 = protections.ranges().map(|(_, len, _)| len / PAGE_SIZE).sum();
            let protected = model.iter().filter(|page| !page.is_empty()).count();
            prop_assert_eq!(usize::try_from(sum), Ok(protected));
        }
    }
}
