//! The KVM back end.

mod bare;
mod convert;
mod entry;
mod groups;
mod machine;
mod msrs;
mod request;
mod rom;
mod vcpu;
mod vm;
mod xsave;

pub use bare::{BareConfig, BareState, KvmBareVcpu, KvmBareVm, MsrAccess};
pub use vcpu::KvmVcpu;
pub(crate) use vm::CAPABILITIES;
pub use vm::KvmVm;

use guest_ram::GuestRam;
use hv_core::{Board, BoardDevices, Operation, RunError};

use crate::{KvmError, Layout};

/// Builds the PC of `layout` on KVM, with all of `ram` as its RAM in slots 0, 1, …, and the ROM area of `layout` in the slots
/// after it, where `ram` has no memory.
///
/// # Errors
///
/// As [`KvmVm::new`], [`KvmVm::map_rom`] and [`Board::new`]; [`KvmError::RomMemory`] if the host cannot provide memory for the
/// ROM area.
pub fn board_on_kvm(
    ram: &GuestRam,
    layout: &Layout,
    devices: BoardDevices,
) -> Result<Board<KvmVm>, RunError<KvmError>> {
    let vm = KvmVm::new(layout.topology).map_err(RunError::create_vm)?;
    let ram: Vec<_> = ram.regions().collect();
    rom::map(&vm, layout.rom, &ram).map_err(|source| RunError::Operation {
        operation: Operation::MapRam,
        target: u32::try_from(ram.len()).unwrap_or(u32::MAX),
        source,
    })?;
    Board::new(vm, ram, layout.topology.vcpus(), |vm| {
        devices.connect(vm, &layout.devices)
    })
}
