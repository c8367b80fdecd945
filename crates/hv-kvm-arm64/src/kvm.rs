//! The KVM back end.

mod attribute;
mod bare;
mod entry;
mod gic;
mod host;
mod machine;
mod request;
mod retry_budget;
mod vcpu;
mod vm;

pub use bare::{BareState, KvmBareVcpu, KvmBareVm};
pub use vcpu::KvmVcpu;
pub(crate) use vm::CAPABILITIES;
pub use vm::KvmVm;

use guest_ram::GuestRam;
use hv_core::{Board, BoardDevices, RunError};

use crate::{KvmError, Layout};

/// Builds the machine of `layout` on KVM, with all of `ram` as its RAM.
///
/// # Errors
///
/// As [`KvmVm::new`] and [`Board::new`].
pub fn board_on_kvm(
    ram: &GuestRam,
    layout: &Layout,
    devices: BoardDevices,
) -> Result<Board<KvmVm>, RunError<KvmError>> {
    let vm = KvmVm::new(layout).map_err(RunError::create_vm)?;
    Board::new(vm, ram.regions(), layout.vcpus, |vm| {
        devices.connect(vm, &layout.devices)
    })
}
