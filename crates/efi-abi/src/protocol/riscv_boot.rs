//! `RISCV_EFI_BOOT_PROTOCOL`, version 1 of its specification: the hart that boots.
#![expect(unsafe_code, reason = "a function called by images")]

use efi_core::{Result, Status};
use uefi_raw::Status as RawStatus;

use crate::access::{reply, write};
use crate::state::with;

/// The protocol.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct RiscvBootProtocol {
    revision: u64,
    get_boot_hart_id: unsafe extern "efiapi" fn(this: *mut Self, target: *mut usize) -> RawStatus,
}

/// The interface.
pub(crate) fn interface() -> RiscvBootProtocol {
    RiscvBootProtocol {
        revision: 0x1_0000,
        get_boot_hart_id,
    }
}

unsafe extern "efiapi" fn get_boot_hart_id(this: *mut RiscvBootProtocol, target: *mut usize) -> RawStatus {
    if this.is_null() {
        return reply::<()>(Err(Status::INVALID_PARAMETER));
    }
    let hart: Result<usize> = with(|state| {
        let hart = state.platform.boot_hart().ok_or(Status::UNSUPPORTED)?;
        usize::try_from(hart).or(Err(Status::UNSUPPORTED))
    });
    // SAFETY: the caller passes null or a valid pointer.
    reply(hart.and_then(|hart| unsafe { write(target, hart) }))
}
