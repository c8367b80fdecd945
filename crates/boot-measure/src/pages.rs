//! The loads of a plan as whole pages.

use alloc::borrow::Cow;

use boot_core::{BootPlan, GuestRange, PageKind, Sources, arith};

use crate::MeasureError;
use crate::pieces::{Content, PAGE_LEN, PAGE_SIZE, Piece, for_each_piece};

/// Content of pages of a plan.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PageContent<'a> {
    /// One page of bytes. Bytes that no load writes are zero.
    Data(&'a [u8; PAGE_LEN]),
    /// Pages in which loads write zeros only.
    Zeros,
    /// Pages with bytes that keep what the memory contains.
    Present,
}

/// Consecutive pages of a plan.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pages<'a> {
    /// Guest physical address of the first.
    pub(crate) start: u64,
    /// Number; one for [`PageContent::Data`].
    pub(crate) count: u64,
    /// Kind of the loads.
    pub(crate) kind: PageKind,
    /// Label of a load with bytes in them, for messages.
    pub(crate) label: &'a Cow<'static, str>,
    /// Content.
    pub(crate) content: PageContent<'a>,
}

impl Pages<'_> {
    /// The guest physical addresses of the pages.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = u64> {
        let start = self.start;
        (0..self.count).map(move |i| start.saturating_add(i.saturating_mul(PAGE_SIZE)))
    }

    /// The range, for messages.
    pub(crate) fn range(&self) -> GuestRange {
        GuestRange::new(self.start, self.count.saturating_mul(PAGE_SIZE)).unwrap_or(GuestRange::EMPTY)
    }
}

/// The page that is being filled.
struct Page {
    start: u64,
    label: Cow<'static, str>,
    kind: PageKind,
    has_data: bool,
    has_present: bool,
    bytes: [u8; PAGE_LEN],
}

/// Calls `f` with all pages of a plan, in the order of their addresses.
pub(crate) fn for_each_page(
    plan: &BootPlan,
    sources: &Sources<'_>,
    f: &mut dyn FnMut(&Pages<'_>) -> Result<(), MeasureError>,
) -> Result<(), MeasureError> {
    let mut page: Option<Page> = None;
    for_each_piece(plan, sources, &mut |piece| {
        let start = arith::align_down(piece.addr, PAGE_SIZE);
        if page.as_ref().is_some_and(|page| page.start != start) {
            if let Some(page) = page.take() {
                emit(&page, f)?;
            }
        }
        match piece.content {
            Content::Zeros | Content::Present if piece.len >= PAGE_SIZE => f(&Pages {
                start,
                count: piece.len / PAGE_SIZE,
                kind: piece.load.page_kind(),
                label: &piece.load.label,
                content: match piece.content {
                    Content::Present => PageContent::Present,
                    _ => PageContent::Zeros,
                },
            }),
            _ => fill(&mut page, start, piece),
        }
    })?;
    match &page {
        Some(page) => emit(page, f),
        None => Ok(()),
    }
}

/// Adds a piece to its page.
fn fill(page: &mut Option<Page>, start: u64, piece: &Piece<'_>) -> Result<(), MeasureError> {
    let kind = piece.load.page_kind();
    let page = page.get_or_insert_with(|| Page {
        start,
        label: piece.load.label.clone(),
        kind,
        has_data: false,
        has_present: false,
        bytes: [0; PAGE_LEN],
    });
    if page.kind != kind {
        return Err(MeasureError::MixedPage {
            page: start,
            first: page.label.clone(),
            first_kind: page.kind,
            second: piece.load.label.clone(),
            second_kind: kind,
        });
    }
    match piece.content {
        Content::Bytes(bytes) => {
            let offset = usize::try_from(piece.addr.saturating_sub(start)).unwrap_or(PAGE_LEN);
            for (to, from) in page.bytes.iter_mut().skip(offset).zip(bytes) {
                *to = *from;
            }
            page.has_data = true;
        }
        Content::Zeros => {}
        Content::Present => {
            // For messages: this load is the one whose content is unknown.
            page.label.clone_from(&piece.load.label);
            page.has_present = true;
        }
    }
    Ok(())
}

fn emit(page: &Page, f: &mut dyn FnMut(&Pages<'_>) -> Result<(), MeasureError>) -> Result<(), MeasureError> {
    let content = match page {
        Page {
            has_present: true, ..
        } => PageContent::Present,
        Page { has_data: true, .. } => PageContent::Data(&page.bytes),
        _ => PageContent::Zeros,
    };
    f(&Pages {
        start: page.start,
        count: 1,
        kind: page.kind,
        label: &page.label,
        content,
    })
}
