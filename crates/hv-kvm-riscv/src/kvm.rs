//! The KVM back end.

mod aia;
mod bare;
mod exits;
mod host;
mod machine;
mod memory;
mod one_reg;
mod request;
mod vcpu;
mod vm;

pub use bare::{KvmBareVcpu, KvmBareVm};
pub(crate) use host::{host_capabilities, probe};
pub use vcpu::KvmVcpu;
pub use vm::KvmVm;

use std::sync::Arc;

use guest_ram::GuestRam;
use hv_core::{AddressSpace, Board, BoardDevices, NullObserver, RunError};

use crate::{IrqchipLayout, KvmError, Layout, SbiConsole, SharedConsole};

/// Builds the machine of `layout` on KVM, with all of `ram` as its RAM. The SBI consoles and the serial port share the
/// console output.
///
/// # Errors
///
/// As [`KvmVm::new`] and [`Board::new`].
pub fn board_on_kvm(
    ram: &GuestRam,
    layout: &Layout,
    mut devices: BoardDevices,
) -> Result<Board<KvmVm>, RunError<KvmError>> {
    let output = SharedConsole::new(devices.console.take(), devices.observer);
    let console = SbiConsole::new(Box::new(output.clone()), Arc::new(NullObserver));
    devices.console = Some(Box::new(output));
    devices.observer = Arc::new(NullObserver);
    let vm = KvmVm::new(layout, console).map_err(RunError::create_vm)?;
    Board::new(vm, ram.regions(), layout.vcpus, |vm| {
        let (mut bus, input) = devices.connect(vm, &layout.devices)?;
        if let (Some(plic), IrqchipLayout::Plic { range, .. }) = (vm.plic(), layout.irqchip) {
            bus.insert(AddressSpace::Mmio, range.start(), range.len(), plic)?;
        }
        Ok((bus, input))
    })
}
