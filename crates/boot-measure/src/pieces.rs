//! The loads of a plan in pieces that do not cross page boundaries.

use boot_core::{BootPlan, ByteSource, Load, LoadContent, Sources, arith};

use crate::MeasureError;

/// Size of a page in bytes.
pub(crate) const PAGE_SIZE: u64 = 4096;
/// The same as a length in memory.
pub(crate) const PAGE_LEN: usize = 4096;

/// Content of a piece.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Content<'a> {
    /// These bytes, of one page.
    Bytes(&'a [u8]),
    /// Zeros: of one page, or any number of whole pages.
    Zeros,
    /// What the memory contains: of one page, or any number of whole pages.
    Present,
}

/// A part of a load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece<'a> {
    /// Guest physical address.
    pub(crate) addr: u64,
    /// Length in bytes.
    pub(crate) len: u64,
    /// The load.
    pub(crate) load: &'a Load,
    /// Content.
    pub(crate) content: Content<'a>,
}

impl Piece<'_> {
    /// The address after the piece.
    pub(crate) fn end(&self) -> u64 {
        // The ranges of loads end at most at `u64::MAX`.
        self.addr.saturating_add(self.len)
    }
}

/// Calls `f` with all pieces of a plan, in the order of their addresses. At most one page of a file is in memory.
///
/// The length of every file is checked first, as [`BootPlan::load`] does.
pub(crate) fn for_each_piece(
    plan: &BootPlan,
    sources: &Sources<'_>,
    f: &mut dyn FnMut(&Piece<'_>) -> Result<(), MeasureError>,
) -> Result<(), MeasureError> {
    check_files(plan, sources)?;
    let mut buf = [0; PAGE_LEN];
    for load in plan.loads() {
        let (start, end) = (load.range.start(), load.range.end());
        let mut addr = start;
        while addr < end {
            let rest = end.saturating_sub(addr);
            let to_boundary = PAGE_SIZE.saturating_sub(addr % PAGE_SIZE);
            let in_page = rest.min(to_boundary);
            let is_whole = to_boundary == PAGE_SIZE && rest >= PAGE_SIZE;
            let whole_pages = if is_whole {
                arith::align_down(rest, PAGE_SIZE)
            } else {
                in_page
            };
            let done = addr.saturating_sub(start);
            let (len, content) = match &load.content {
                LoadContent::File { id, range } => {
                    let source = sources.get(*id).ok_or(MeasureError::Missing(*id))?;
                    let bytes = page_part(&mut buf, in_page);
                    source
                        .read_exact_at(range.offset().saturating_add(done), bytes)
                        .map_err(|source| MeasureError::Read { id: *id, source })?;
                    (in_page, Content::Bytes(bytes))
                }
                LoadContent::Bytes(bytes) => {
                    let part = usize::try_from(done)
                        .ok()
                        .and_then(|done| bytes.get(done..))
                        .and_then(|rest| rest.get(..usize::try_from(in_page).ok()?));
                    // The plan is validated: its bytes are as long as their range.
                    (in_page, Content::Bytes(part.unwrap_or_default()))
                }
                LoadContent::Zeros => (whole_pages, Content::Zeros),
                LoadContent::Present => (whole_pages, Content::Present),
                _ => {
                    return Err(MeasureError::UnknownContent {
                        label: load.label.clone(),
                        range: load.range,
                    });
                }
            };
            f(&Piece {
                addr,
                len,
                load,
                content,
            })?;
            addr = addr.saturating_add(len);
        }
    }
    Ok(())
}

/// The first `len` bytes of a page, or all of it.
fn page_part(page: &mut [u8; PAGE_LEN], len: u64) -> &mut [u8] {
    let len = usize::try_from(len).unwrap_or(PAGE_LEN).min(PAGE_LEN);
    page.split_at_mut(len).0
}

fn check_files(plan: &BootPlan, sources: &Sources<'_>) -> Result<(), MeasureError> {
    for &(id, expected) in plan.file_lens() {
        let is_used = |load: &Load| matches!(load.content, LoadContent::File { id: used, .. } if used == id);
        if !plan.loads().iter().any(is_used) {
            continue;
        }
        let source = sources.get(id).ok_or(MeasureError::Missing(id))?;
        let found = ByteSource::len(source).map_err(|source| MeasureError::Read { id, source })?;
        if found != expected {
            return Err(MeasureError::Changed { id, expected, found });
        }
    }
    Ok(())
}
