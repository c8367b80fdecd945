//! The page tables of a guest, and layouts with space for them.

use boot_core::{Arch, KernelImage};
use boot_paging::{PageTables, Scheme};
use boot_sandbox::GuestImage;

use crate::error::LayoutError;
use crate::layout::GuestLayout;
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
