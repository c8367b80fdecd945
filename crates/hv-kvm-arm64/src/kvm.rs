//! The back end itself: KVM's requests.

mod attribute;
mod gic;
mod vcpu;
mod vm;

pub use vcpu::KvmVcpu;
pub use vm::KvmVm;

use guest_ram::GuestRam;
use hv_core::{Board, BoardDevices, RunError};
use hv_kvm::HarnessError;

use crate::{KvmError, Layout, VcpuFeatures};

/// A machine on KVM: `layout`, with all of `ram` as its RAM.
///
/// # Errors
///
/// [`RunError`] with the operation that failed; [`Operation::CreateVm`](hv_core::Operation::CreateVm) where there is no
/// KVM.
pub fn board_on_kvm(
    ram: &GuestRam,
    layout: &Layout,
    features: VcpuFeatures,
    devices: BoardDevices,
) -> Result<Board<KvmVm>, RunError<KvmError>> {
    let vm = KvmVm::new(layout, features).map_err(RunError::create_vm)?;
    Board::assemble(vm, ram.regions(), layout.vcpus, |vm| {
        devices.connect(vm, &layout.devices)
    })
}

/// Names the request that KVM refused.
fn refused(request: &'static str) -> impl FnOnce(kvm_ioctls::Error) -> KvmError {
    move |error| HarnessError::refused(request, error).into()
}
