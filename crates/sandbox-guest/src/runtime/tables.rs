//! Tables of functions, which the linker collects from sections of the same name.
#![expect(unsafe_code, reason = "symbols of the linker")]

use core::ptr;

use crate::function::{Export, Import};

/// The sections exist also in a program without such functions.
#[used]
#[unsafe(link_section = "vmsandbox_exports")]
static NO_EXPORTS: [Export; 0] = [];
#[used]
#[unsafe(link_section = "vmsandbox_imports")]
static NO_IMPORTS: [Import; 0] = [];
#[used]
#[unsafe(link_section = "vmsandbox_init")]
static NO_INIT: [fn(); 0] = [];

unsafe extern "Rust" {
    #[link_name = "__start_vmsandbox_exports"]
    pub(super) static EXPORTS: Export;
    #[link_name = "__stop_vmsandbox_exports"]
    pub(super) static EXPORTS_END: Export;
    #[link_name = "__start_vmsandbox_imports"]
    pub(super) static IMPORTS: Import;
    #[link_name = "__stop_vmsandbox_imports"]
    pub(super) static IMPORTS_END: Import;
    #[link_name = "__start_vmsandbox_init"]
    static INIT: fn();
    #[link_name = "__stop_vmsandbox_init"]
    static INIT_END: fn();
}

/// The functions that the program offers.
#[inline]
pub(super) fn exports() -> &'static [Export] {
    // SAFETY: the linker defines the symbols as start and end of the section, in which there are only such records.
    unsafe { table(&raw const EXPORTS, &raw const EXPORTS_END) }
}

/// The functions that run before the first call.
pub(super) fn init_functions() -> &'static [fn()] {
    // SAFETY: as above.
    unsafe { table(&raw const INIT, &raw const INIT_END) }
}

/// Number of an import: its position in the table.
pub(crate) fn number(import: &'static Import) -> u32 {
    // SAFETY: every `Import` of the program is in the table.
    let position = unsafe { ptr::from_ref(import).offset_from_unsigned(&raw const IMPORTS) };
    u32::try_from(position).unwrap_or(u32::MAX)
}

/// The values from `start` to `end`.
///
/// # Safety
///
/// There are only values of the type between both, and they never change.
unsafe fn table<T>(start: *const T, end: *const T) -> &'static [T] {
    // SAFETY: the caller guarantees it.
    let len = unsafe { end.offset_from_unsigned(start) };
    // SAFETY: as above.
    unsafe { core::slice::from_raw_parts(start, len) }
}
