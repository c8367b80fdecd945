//! A machine for a handful of instructions.

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
// 0x8000_8000  code of the others
// 0x8000_a000  data, to the end of RAM at 2 MiB
// ```
pub(crate) const CODE: u64 = virt::RAM_BASE;
pub(crate) const HANDLER: u64 = virt::RAM_BASE + 0x4000;
pub(crate) const OTHERS: u64 = virt::RAM_BASE + 0x8000;
pub(crate) const DATA: u64 = virt::RAM_BASE + 0xa000;
pub(crate) const RAM_LEN: u64 = 2 << 20;

/// A page of device addresses that the recorder is put on.
pub(crate) const DEVICE: u64 = 0x0910_0000;

/// What the host can do, or why no test can run here. Only the lack of a KVM counts as that: a KVM that misbehaves fails
/// the tests.
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
    let vcpus = NonZeroU32::new(vcpus).ok_or("a machine has vCPUs")?;
    Ok(host.machine(RAM_LEN, vcpus, irqchip)?)
}

/// The usual devices.
pub(crate) fn devices() -> BoardDevices {
    BoardDevices::new(Arch::Riscv64)
}

/// The usual devices with `console` as their output.
pub(crate) fn devices_with(console: &Console) -> BoardDevices {
    devices().with_console(console.clone())
}

/// A machine with code in its memory.
pub(crate) struct Guest {
    pub(crate) board: Board<KvmVm>,
    pub(crate) ram: GuestRam,
}

impl Guest {
    /// A machine of `vcpus` with the host's best interrupt controller.
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

    /// Boots and expects a certain end.
    pub(crate) fn ends(&mut self, what: &str, expected: &Outcome) -> CheckResult {
        expect(what, &self.boot()?, expected)
    }
}

/// The entry state: at [`CODE`].
pub(crate) fn state() -> CpuState {
    State::new(CODE).into()
}

/// A vCPU as KVM gives it, with no machine around it.
pub(crate) fn bare_vcpu() -> Result<KvmVcpu, Box<dyn Error>> {
    let console = SbiConsole::new(Box::new(io::sink()), Arc::new(NullObserver));
    Ok(KvmVm::new(&Layout::vcpus_only(1), console)?.create_vcpu(0)?)
}
