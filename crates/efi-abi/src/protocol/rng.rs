//! `EFI_RNG_PROTOCOL`, UEFI 2.10 section 37.5: random bytes of the platform without further processing.
#![expect(unsafe_code, reason = "functions called by images")]

use efi_core::Status;
use uefi_raw::Status as RawStatus;
use uefi_raw::protocol::rng::{RngAlgorithmType, RngProtocol};

use crate::access::{bytes_mut, fill, read, reply};
use crate::state::with;

/// The interface.
pub(crate) fn interface() -> RngProtocol {
    RngProtocol { get_info, get_rng }
}

unsafe extern "efiapi" fn get_info(
    _: *mut RngProtocol,
    size: *mut usize,
    list: *mut RngAlgorithmType,
) -> RawStatus {
    let algorithm = RngAlgorithmType::ALGORITHM_RAW.0.to_bytes();
    // SAFETY: the caller passes null or valid pointers.
    reply(unsafe { fill(size, list.cast(), &algorithm) })
}

unsafe extern "efiapi" fn get_rng(
    _: *mut RngProtocol,
    algorithm: *const RngAlgorithmType,
    len: usize,
    target: *mut u8,
) -> RawStatus {
    if len == 0 {
        return reply::<()>(Err(Status::INVALID_PARAMETER));
    }
    if !algorithm.is_null() {
        // SAFETY: the caller passes a valid pointer.
        let wanted = unsafe { read(algorithm) };
        if wanted != Ok(RngAlgorithmType::ALGORITHM_RAW) {
            return reply::<()>(Err(Status::UNSUPPORTED));
        }
    }
    // SAFETY: the caller passes a buffer of this size.
    let target = unsafe { bytes_mut(target, len) };
    reply(target.and_then(|target| {
        with(|state| {
            if state.platform.random(target) {
                Ok(())
            } else {
                Err(Status::NOT_READY)
            }
        })
    }))
}
