//! Errors of ioctls.

use hv_kvm::HarnessError;

use crate::KvmError;

/// Converts the error of the ioctl `request`.
pub(crate) fn failed_request(request: &'static str) -> impl FnOnce(kvm_ioctls::Error) -> KvmError {
    move |error| HarnessError::request(request, error).into()
}
