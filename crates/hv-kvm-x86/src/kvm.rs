//! The back end itself: KVM's requests.

mod convert;
mod vcpu;
mod vm;

pub use vcpu::KvmVcpu;
pub use vm::KvmVm;

use crate::KvmError;

/// Names the request that KVM refused.
fn refused(request: &'static str) -> impl FnOnce(kvm_ioctls::Error) -> KvmError {
    move |error| KvmError::Request {
        request,
        source: error.into(),
    }
}
