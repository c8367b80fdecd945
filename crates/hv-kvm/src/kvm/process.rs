//! `/dev/kvm`, opened once per process.

use std::sync::OnceLock;

use kvm_ioctls::Kvm;

use super::{open_device, query};
use crate::{Capability, HarnessError};

/// `/dev/kvm`, for machines that are created often: it is opened once per process. Checks the API version and the required capabilities,
/// those of every harness and those in `capabilities`, at each call, so the caller keeps the result.
///
/// # Errors
///
/// As [`open`](super::open).
pub fn shared(capabilities: &[Capability]) -> Result<&'static Kvm, HarnessError> {
    static SHARED: OnceLock<Kvm> = OnceLock::new();
    let kvm = if let Some(kvm) = SHARED.get() {
        kvm
    } else {
        let kvm = open_device()?;
        // Of several threads, one wins; the others close their descriptors.
        SHARED.get_or_init(|| kvm)
    };
    query(kvm, capabilities)?.check()?;
    Ok(kvm)
}
