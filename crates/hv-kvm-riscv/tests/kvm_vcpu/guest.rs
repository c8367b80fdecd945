//! A machine for a handful of instructions.

use std::{
    error::Error,
    fmt::Write as _,
    io,
    num::NonZeroU32,
    sync::{Arc, Mutex},
    time::Duration,
};

use boot_core::{CpuState, Machine, cpu::riscv64::State};
use guest_ram::GuestRam;
use hv_core::{
    Device, DeviceError, Ignore, Outcome, Policy, Verdict, Vm as _,
    virt::{self, RiscvIrqchip},
};
use hv_kvm_riscv::{
    Board, BoardDevices, HarnessError, Host, KvmError, KvmVcpu, KvmVm, Layout, SbiConsole, board_on_kvm,
};
use vm_memory::{Bytes as _, GuestAddress};

use crate::asm::Code;

/// `Ok(Some(reason))`: this host lacks what the test is about.
pub(crate) type TestResult = Result<Option<&'static str>, Box<dyn Error>>;
pub(crate) type Test = (&'static str, fn(&Host) -> TestResult);
pub(crate) type CheckResult = Result<(), Box<dyn Error>>;

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
pub(crate) fn host() -> Result<Host, String> {
    match hv_kvm_riscv::host() {
        Ok(host) => Ok(host),
        Err(error @ KvmError::Harness(HarnessError::Open(_))) => Err(explain(&error)),
        Err(error) => panic!("{}", explain(&error)),
    }
}

/// An error with everything behind it.
pub(crate) fn explain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        write!(text, ": {error}").expect("a String takes everything");
        source = error.source();
    }
    text
}

pub(crate) fn machine(host: &Host, vcpus: u32, irqchip: RiscvIrqchip) -> Result<Machine, Box<dyn Error>> {
    let vcpus = NonZeroU32::new(vcpus).ok_or("a machine has vCPUs")?;
    Ok(host.machine(RAM_LEN, vcpus, irqchip)?)
}

/// A machine with code in its memory.
pub(crate) struct Guest {
    pub(crate) board: Board<KvmVm>,
    pub(crate) ram: GuestRam,
}

impl Guest {
    /// A machine of `vcpus` with the host's best interrupt controller.
    pub(crate) fn new(
        host: &Host,
        code: &Code,
        vcpus: u32,
        devices: BoardDevices,
    ) -> Result<Self, Box<dyn Error>> {
        Self::with_irqchip(host, code, vcpus, devices, host.irqchip())
    }

    pub(crate) fn with_irqchip(
        host: &Host,
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
        Ok(self.board.boot(&state(), &policy())?)
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
    let console = SbiConsole::new(Box::new(io::sink()), Arc::new(Ignore));
    Ok(KvmVm::new(&Layout::bare(1), console)?.create_vcpu(0)?)
}

/// Long enough for anything that ends, on the slowest host.
pub(crate) fn policy() -> Policy {
    Policy {
        deadline: Some(Duration::from_mins(1)),
        ..Policy::default()
    }
}

/// A deadline for guests that do not end.
pub(crate) fn short_policy() -> Policy {
    Policy {
        deadline: Some(Duration::from_millis(200)),
        ..Policy::default()
    }
}

/// Checks one thing in words.
pub(crate) fn expect<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, expected: &T) -> CheckResult {
    if found == expected {
        return Ok(());
    }
    Err(format!("{what}: found {found:x?}, expected {expected:x?}").into())
}

/// A console that can be read.
#[derive(Clone, Default)]
pub(crate) struct Console(Arc<Mutex<Vec<u8>>>);

impl Console {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.lock().expect("no test panics with the lock held").clone()
    }

    /// Devices with this console.
    pub(crate) fn devices(&self) -> BoardDevices {
        BoardDevices {
            console: Some(Box::new(self.clone())),
            ..BoardDevices::default()
        }
    }
}

impl io::Write for Console {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .expect("no test panics with the lock held")
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An access that the recorder saw: its offset, and what was written or how much was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Read(u64, usize),
    Write(u64, Vec<u8>),
}

/// A device that notes every access and answers reads with the bytes 0xa0, 0xa1, … by their offset.
#[derive(Clone, Default)]
pub(crate) struct Recorder(Arc<Mutex<Vec<Seen>>>);

impl Recorder {
    pub(crate) fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.0.lock().expect("no test panics with the lock held"))
    }
}

impl Device for Recorder {
    fn read(&mut self, offset: u64, data: &mut [u8]) -> Result<(), DeviceError> {
        self.0
            .lock()
            .expect("no test panics with the lock held")
            .push(Seen::Read(offset, data.len()));
        for (at, byte) in (offset..).zip(data) {
            let [low, ..] = at.to_le_bytes();
            *byte = low.wrapping_add(0xa0);
        }
        Ok(())
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> Result<Verdict, DeviceError> {
        self.0
            .lock()
            .expect("no test panics with the lock held")
            .push(Seen::Write(offset, data.to_vec()));
        Ok(Verdict::Continue)
    }
}
