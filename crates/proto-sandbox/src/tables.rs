//! The page tables of a guest, and layouts with space for them.

use boot_core::{Arch, GuestRange, KernelImage, arith};
use boot_paging::{PageTables, Scheme};
use boot_sandbox::GuestImage;
use sandbox_abi::layout::PAGE;
use sandbox_abi::{NoteFlags, ScratchState};

use crate::error::{LayoutError, Size};
use crate::layout::{GuestLayout, SCRATCH_HEAD};
use crate::sizes::Sizes;
use crate::{pages, rules};

/// Limit of the number of page tables: more than the largest layout needs.
const MAX_TABLES: usize = 0x400;

impl GuestLayout {
    /// The layout of the guest `image` with these sizes.
    ///
    /// # Errors
    ///
    /// The image breaks a rule, or a size is not possible.
    pub fn new(image: &KernelImage, sizes: &Sizes) -> Result<Self, LayoutError> {
        let guest = rules::check(image)?;
        let sizes = sizes.checked(guest.note())?;
        let layout = Self::place(image.arch(), guest, &sizes);
        let tables = build_within(&layout, guest, MAX_TABLES, true)?;
        Ok(layout.with_tables(tables.tables().len()))
    }
}

impl GuestLayout {
    /// The same layout for a guest that copies each page at the first write: with a scratch area for copies of at least `len` bytes.
    /// Everything but page tables and scratch area stays where it is. `image` is that of the layout.
    ///
    /// # Errors
    ///
    /// [`LayoutError::NoCopies`] if the guest does not do that, and [`LayoutError::Size`] if `len` is 0 or above [`Sizes::MAX_SCRATCH`].
    pub fn with_scratch(self, image: &KernelImage, len: u64) -> Result<Self, LayoutError> {
        let guest = rules::check(image)?;
        if !guest.note().flags.contains(NoteFlags::COPIES_PAGES) {
            return Err(LayoutError::NoCopies);
        }
        if !(1..=Sizes::MAX_SCRATCH).contains(&len) {
            return Err(LayoutError::Size {
                size: Size::Scratch,
                found: len,
                min: 1,
                max: Sizes::MAX_SCRATCH,
            });
        }
        let reserve = ScratchState::RESERVE.saturating_mul(PAGE);
        let len = len.saturating_add(SCRATCH_HEAD).saturating_add(reserve);
        let len = arith::align_up(len, rules::host_page(self.arch)).unwrap_or(len);
        let mut layout = Self {
            scratch: GuestRange::new(self.outbox.end(), len).unwrap_or(GuestRange::EMPTY),
            ..self
        };
        // The tables map themselves and the scratch area behind them.
        let mut count = 1;
        loop {
            layout = layout.with_tables(count);
            let needed = build_within(&layout, guest, MAX_TABLES, true)?.tables().len();
            if needed <= count {
                return Ok(layout);
            }
            count = needed;
        }
    }
}

/// The page tables of `guest`, whose layout is `layout`, in its space for tables.
pub(crate) fn build(
    layout: &GuestLayout,
    guest: &GuestImage,
    has_doorbell_page: bool,
) -> Result<PageTables, LayoutError> {
    build_within(layout, guest, layout.max_tables(), has_doorbell_page)
}

fn build_within(
    layout: &GuestLayout,
    guest: &GuestImage,
    max_tables: usize,
    has_doorbell_page: bool,
) -> Result<PageTables, LayoutError> {
    let scheme = scheme(layout.arch)?;
    let mut tables = PageTables::new(scheme, layout.tables.start(), max_tables)?;
    for mapping in pages::mappings(layout, guest, has_doorbell_page) {
        tables.map(&mapping)?;
    }
    Ok(tables)
}

/// The translation scheme of an architecture.
fn scheme(arch: Arch) -> Result<Scheme, LayoutError> {
    match arch {
        Arch::X86_64 => Ok(Scheme::X86_64),
        Arch::Aarch64 => Ok(Scheme::Arm64),
        Arch::Riscv64 => Ok(Scheme::Sv39),
        _ => Err(LayoutError::Arch { arch }),
    }
}
