//! The back end itself: KVM's requests.

mod convert;
mod vcpu;
mod vm;

pub use vcpu::KvmVcpu;
pub use vm::KvmVm;

use guest_ram::GuestRam;
use hv_core::{Board, RunError};
use hv_kvm::HarnessError;

use crate::{KvmError, PcDevices, Topology};

/// A PC on KVM, with all of `ram` as its RAM and the vCPUs of `topology`.
///
/// # Errors
///
/// [`RunError`] with the operation that failed; [`Operation::CreateVm`](hv_core::Operation::CreateVm) where there is no
/// KVM.
pub fn board_on_kvm(
    ram: &GuestRam,
    topology: Topology,
    devices: PcDevices,
) -> Result<Board<KvmVm>, RunError<KvmError>> {
    let vm = KvmVm::new(topology).map_err(RunError::create_vm)?;
    Board::assemble(vm, ram.regions(), topology.vcpus(), |vm| devices.connect(vm))
}

/// Names the request that KVM refused.
fn refused(request: &'static str) -> impl FnOnce(kvm_ioctls::Error) -> KvmError {
    move |error| HarnessError::refused(request, error).into()
}
