//! The back end itself: KVM's requests.

mod aia;
mod host;
mod memory;
mod vcpu;
mod vm;

pub(crate) use host::host;
pub use vcpu::KvmVcpu;
pub use vm::KvmVm;

use std::sync::Arc;

use guest_ram::GuestRam;
use hv_core::{Board, BoardDevices, Ignore, RunError, Space};
use hv_kvm::HarnessError;

use crate::{KvmError, Layout, SbiConsole, SharedSink, layout::Controller};

/// A machine on KVM: `layout`, with all of `ram` as its RAM. The consoles of SBI are its console as well.
///
/// # Errors
///
/// [`RunError`] with the operation that failed; [`Operation::CreateVm`](hv_core::Operation::CreateVm) where there is no
/// KVM.
pub fn board_on_kvm(
    ram: &GuestRam,
    layout: &Layout,
    devices: BoardDevices,
) -> Result<Board<KvmVm>, RunError<KvmError>> {
    let sink = SharedSink::new(devices.console, devices.observer);
    let console = SbiConsole::new(Box::new(sink.clone()), Arc::new(Ignore));
    let devices = BoardDevices {
        console: Some(Box::new(sink)),
        observer: Arc::new(Ignore),
        ..devices
    };
    let vm = KvmVm::new(layout, console).map_err(RunError::create_vm)?;
    Board::assemble(vm, ram.regions(), layout.vcpus, |vm| {
        let (mut bus, input) = devices.connect(vm, &layout.devices)?;
        if let (Some(plic), Controller::Plic { range, .. }) = (vm.plic(), layout.controller) {
            bus.insert(Space::Mmio, range.start(), range.len(), plic)?;
        }
        Ok((bus, input))
    })
}

/// Names the request that KVM refused.
fn refused(request: &'static str) -> impl FnOnce(kvm_ioctls::Error) -> KvmError {
    move |error| HarnessError::refused(request, error).into()
}
