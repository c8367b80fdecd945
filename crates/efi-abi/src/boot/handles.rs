//! Handles of callers.

use efi_core::handles::Handle as CoreHandle;
use uefi_raw::Handle;

use crate::access::address;

/// A handle that is not null.
pub(super) fn some(handle: Handle) -> Option<CoreHandle> {
    (!handle.is_null()).then(|| CoreHandle(address(handle)))
}

/// A handle; null is invalid.
pub(super) fn handle(handle: Handle) -> CoreHandle {
    CoreHandle(address(handle))
}
