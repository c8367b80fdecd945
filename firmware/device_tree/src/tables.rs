//! Page tables with the mappings of [`Layout`].

use core::fmt;

use boot_core::GuestRange;
use boot_paging::{MapError, Mapping, PageSize, PageTables, Scheme, TablesError};

use crate::hardware::Hardware;
use crate::layout::Layout;

/// Reason why memory cannot be mapped.
#[derive(Debug)]
pub enum PagingError {
    /// The tables have no valid place.
    Tables(TablesError),
    /// Memory cannot be mapped.
    Map {
        /// The memory.
        range: GuestRange,
        /// Cause.
        source: MapError,
    },
}

impl fmt::Display for PagingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tables(_) => f.write_str("the page tables cannot be placed"),
            Self::Map { range, .. } => write!(f, "memory at {range} cannot be mapped"),
        }
    }
}

impl core::error::Error for PagingError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Tables(error) => Some(error),
            Self::Map { source, .. } => Some(source),
        }
    }
}

/// At most `max_tables` tables of `scheme`, with the root at physical address `root`, that map the firmware and the machine at their physical
/// addresses.
///
/// # Errors
///
/// [`PagingError`] if `root` is not valid, or the mappings need more tables or addresses than there are.
pub fn page_tables(
    scheme: Scheme,
    root: u64,
    max_tables: usize,
    layout: &Layout,
    hardware: &Hardware,
) -> Result<PageTables, PagingError> {
    let tables = PageTables::new(scheme, root, max_tables).map_err(PagingError::Tables)?;
    let mut tables = tables.with_max_page_size(PageSize::Size1G);
    for (range, attributes) in layout.mappings(hardware) {
        let mapping = Mapping::identity(range.start(), range.len(), attributes);
        tables
            .map(&mapping)
            .map_err(|source| PagingError::Map { range, source })?;
    }
    Ok(tables)
}
