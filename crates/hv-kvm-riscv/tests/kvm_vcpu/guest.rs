//! Machines whose guests are a few instructions.

use std::{error::Error, io, num::NonZeroU32, sync::Arc};

use boot_core::{Arch, CpuState, Machine, cpu::riscv64::State};
use guest_ram::GuestRam;
use hv_core::{
    NullObserver, Outcome, Vm as _,
    virt::{self, RiscvIrqchip},
};
use hv_kvm_riscv::{
    Board, BoardDevices, HarnessError, HostCapabilities, KvmError, KvmVcpu, KvmVm, Layout, SbiConsole,
    board_on_kvm,
};
use hv_kvm_test::explain;
pub(crate) use hv_kvm_test::{CheckResult, Console, TestResult, expect, run_config, short_run_config};
use vm_memory::{Bytes as _, GuestAddress};

use crate::guest_code::Code;

pub(crate) type Test = (&'static str, fn(&HostCapabilities) -> TestResult);

// ```text
// 0x8000_0000  code of the boot hart
// 0x8000_4000  its trap handler
// 0x8000_8000  code of the secondary harts
// 0x8000_a000  data, to the end of RAM at 2 MiB
// ```
pub(crate) const CODE: u64 = virt::RAM_BASE;
pub(crate) const HANDLER: u64 = virt::RAM_BASE + 0x4000;
pub(crate) const SECONDARY_CODE: u64 = virt::RAM_BASE + 0x8000;
pub(crate) const DATA: u64 = virt::RAM_BASE + 0xa000;
pub(crate) const RAM_LEN: u64 = 2 << 20;

/// Address of the page of the recorder device.
pub(crate) const DEVICE: u64 = 0x0910_0000;

/// Capabilities of the host, or the reason to skip all tests. The only such reason is a host without KVM; other errors of KVM
/// are failures.
pub(crate) fn host() -> Result<HostCapabilities, String> {
    match hv_kvm_riscv::host_capabilities() {
        Ok(host) => Ok(host),
        Err(error @ KvmError::Harness(HarnessError::Open(_))) => Err(explain(&error)),
        Err(error) => panic!("{}", explain(&error)),
    }
}

pub(crate) fn machine(
    host: &HostCapabilities,
    vcpus: u32,
    irqchip: RiscvIrqchip,
) -> Result<Machine, Box<dyn Error>> {
    let vcpus = NonZeroU32::new(vcpus).ok_or("the machine has no vCPUs")?;
    Ok(host.machine(RAM_LEN, vcpus, irqchip)?)
}

/// The devices of all guests, without console output.
pub(crate) fn devices() -> BoardDevices {
    BoardDevices::new(Arch::Riscv64)
}

/// The devices of all guests, with `console` as the console output.
pub(crate) fn devices_with(console: &Console) -> BoardDevices {
    devices().with_console(console.clone())
}

/// A machine with code in its RAM.
pub(crate) struct Guest {
    pub(crate) board: Board<KvmVm>,
    pub(crate) ram: GuestRam,
}

impl Guest {
    /// A machine with `vcpus` vCPUs and the preferred interrupt controller of the host.
    pub(crate) fn new(
        host: &HostCapabilities,
        code: &Code,
        vcpus: u32,
        devices: BoardDevices,
    ) -> Result<Self, Box<dyn Error>> {
        Self::with_irqchip(host, code, vcpus, devices, host.irqchip())
    }

    pub(crate) fn with_irqchip(
        host: &HostCapabilities,
        code: &Code,
        vcpus: u32,
        devices: BoardDevices,
        irqchip: RiscvIrqchip,
    ) -> Result<Self, Box<dyn Error>> {
        let machine = machine(host, vcpus, irqchip)?;
        let ram = GuestRam::new(&machine.memory)?;
        let board = board_on_kvm(&ram, &Layout::of(&machine)?, devices)?;
        let guest = Self { board, ram };
        guest.write(CODE, &code.bytes())?;
        Ok(guest)
    }

    pub(crate) fn write(&self, address: u64, data: &[u8]) -> CheckResult {
        Ok(self.ram.memory().write_slice(data, GuestAddress(address))?)
    }

    pub(crate) fn read(&self, address: u64, len: usize) -> Result<Vec<u8>, Box<dyn Error>> {
        let mut data = vec![0; len];
        self.ram.memory().read_slice(&mut data, GuestAddress(address))?;
        Ok(data)
    }

    pub(crate) fn read_u64(&self, address: u64) -> Result<u64, Box<dyn Error>> {
        Ok(self.ram.memory().read_obj(GuestAddress(address))?)
    }

    pub(crate) fn boot(&mut self) -> Result<Outcome, Box<dyn Error>> {
        Ok(self.board.boot(&state(), &run_config())?)
    }

    /// Boots and checks the outcome. `what` names the run in the message.
    pub(crate) fn expect_outcome(&mut self, what: &str, expected: &Outcome) -> CheckResult {
        expect(what, &self.boot()?, expected)
    }
}

/// The entry state, with the program counter at [`CODE`].
pub(crate) fn state() -> CpuState {
    State::new(CODE).into()
}

/// The vCPU of a machine without interrupt controller, devices and RAM, with the default extensions of KVM.
pub(crate) fn vcpu_without_devices() -> Result<KvmVcpu, Box<dyn Error>> {
    first_vcpu(&Layout::vcpus_only(1))
}

/// The first vCPU of a machine, which has no other yet and no RAM.
pub(crate) fn first_vcpu(layout: &Layout) -> Result<KvmVcpu, Box<dyn Error>> {
    let console = SbiConsole::new(Box::new(io::sink()), Arc::new(NullObserver));
    Ok(KvmVm::new(layout, console)?.create_vcpu(0)?)
}
