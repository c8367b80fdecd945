//! Fake hypervisor for tests: vCPUs follow scripts, and chosen operations fail.
//!
//! Code that uses [`Vm`] and [`Vcpu`] can be tested with it on any host: write a [`Step`] list for each vCPU, and create a
//! [`FakeVm`] from a [`FakeConfig`]. [`FakeBareVm`] is a bare machine whose guest is a function over real memory.
//! [`FakeConfig::fail_at`] and [`FakeBareConfig::fail_at`] make the *n*-th operation fail, so a test can try every *n*.

mod bare;
mod error;
mod kicker;
mod registers;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex},
};

use boot_core::{Arch, CpuState};

pub use self::{
    bare::{
        FakeBareConfig, FakeBareVcpu, FakeBareVm, FakeCpu, FakeExit, FakeFault, FakeGuest, FakeMemory,
        FakePages, FakeSaved,
    },
    error::FakeError,
};
use self::{
    kicker::{FakeKicker, lock},
    registers::Registers,
};
use crate::{Fault, Operation, SystemEvent, Vcpu, VcpuExit, VcpuKicker, Vm};

/// Step of a vCPU script.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Read `count` elements of `size` bytes from an I/O port; the result goes to [`FakeVm::read_results`].
    IoRead {
        /// The port.
        port: u16,
        /// Width of one element in bytes.
        size: u8,
        /// Number of elements.
        count: usize,
    },
    /// Write to an I/O port.
    IoWrite {
        /// The port.
        port: u16,
        /// Width of one element in bytes.
        size: u8,
        /// The elements.
        data: Vec<u8>,
    },
    /// Read `len` bytes from a device address; the result goes to [`FakeVm::read_results`].
    MmioRead {
        /// Guest physical address.
        address: u64,
        /// Length in bytes.
        len: usize,
    },
    /// Write to a device address.
    MmioWrite {
        /// Guest physical address.
        address: u64,
        /// The bytes.
        data: Vec<u8>,
    },
    /// Exit with [`VcpuExit::Halt`].
    Halt,
    /// Ring the doorbell with this value.
    Doorbell(u64),
    /// Make a call to the firmware interface.
    System(SystemEvent),
    /// Exit with [`VcpuExit::Interrupted`], although the vCPU was not kicked.
    SpuriousExit,
    /// Exit with a fault.
    Fault(Fault),
    /// Execute guest code until the vCPU is kicked. The end of a script has the same effect.
    Spin,
    /// Panic, like a back end with a bug.
    Panic,
}

/// Configuration of a [`FakeVm`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FakeConfig {
    /// Reset state of the vCPUs, which determines the architecture of the machine.
    pub reset_state: CpuState,
    /// Scripts of the vCPUs, by vCPU number; a vCPU without a script spins.
    pub scripts: Vec<Vec<Step>>,
    /// Number of the operation that fails, counted from 0 over the whole machine.
    pub fail_at: Option<usize>,
}

impl FakeConfig {
    /// A machine that runs `scripts` without failures.
    #[must_use]
    pub fn new(reset_state: CpuState, scripts: Vec<Vec<Step>>) -> Self {
        Self {
            reset_state,
            scripts,
            fail_at: None,
        }
    }

    /// Sets the number of the operation that fails, counted from 0 over the whole machine.
    #[must_use]
    pub fn with_fail_at(mut self, number: Option<usize>) -> Self {
        self.fail_at = number;
        self
    }
}

/// RAM of a [`FakeVm`]: a range of guest physical addresses without memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FakeRam {
    /// First guest physical address.
    pub base: u64,
    /// Length in bytes.
    pub len: u64,
}

impl FakeRam {
    fn overlaps(&self, other: &Self) -> bool {
        let end = |ram: &Self| u128::from(ram.base) + u128::from(ram.len);
        u128::from(self.base) < end(other) && u128::from(other.base) < end(self)
    }
}

/// Fake virtual machine, which records all operations.
#[derive(Debug)]
pub struct FakeVm {
    config: FakeConfig,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    fail_at: Option<usize>,
    operations: Vec<Operation>,
    vcpus: BTreeSet<u32>,
    inside: usize,
    slots: BTreeMap<u32, FakeRam>,
    irqs: Vec<(u32, bool)>,
    read_results: Vec<(u32, Vec<u8>)>,
}

impl Shared {
    fn begin(&mut self, operation: Operation) -> Result<(), FakeError> {
        let number = self.operations.len();
        self.operations.push(operation);
        if self.fail_at == Some(number) {
            Err(FakeError::Injected { number, operation })
        } else {
            Ok(())
        }
    }
}

impl FakeVm {
    /// A machine with this configuration.
    #[must_use]
    pub fn new(config: FakeConfig) -> Self {
        let shared = Shared {
            fail_at: config.fail_at,
            ..Shared::default()
        };
        Self {
            config,
            shared: Arc::new(Mutex::new(shared)),
        }
    }

    /// All operations so far, failed ones included, in order.
    #[must_use]
    pub fn operations(&self) -> Vec<Operation> {
        lock(&self.shared).operations.clone()
    }

    /// All changes of interrupt lines (line and new level), in order.
    #[must_use]
    pub fn irqs(&self) -> Vec<(u32, bool)> {
        lock(&self.shared).irqs.clone()
    }

    /// Results of the scripts' reads, each with its vCPU number. A result is recorded when its vCPU runs again.
    #[must_use]
    pub fn read_results(&self) -> Vec<(u32, Vec<u8>)> {
        lock(&self.shared).read_results.clone()
    }

    /// Number of threads that are inside [`Vcpu::run`].
    #[must_use]
    pub fn running_vcpus(&self) -> usize {
        lock(&self.shared).inside
    }
}

impl Vm for FakeVm {
    type Error = FakeError;
    type Vcpu = FakeVcpu;
    type Ram = FakeRam;

    fn arch(&self) -> Arch {
        self.config.reset_state.arch()
    }

    fn create_vcpu(&self, index: u32) -> Result<FakeVcpu, FakeError> {
        let mut shared = lock(&self.shared);
        shared.begin(Operation::CreateVcpu)?;
        if !shared.vcpus.insert(index) {
            return Err(FakeError::VcpuExists { index });
        }
        let script = usize::try_from(index)
            .ok()
            .and_then(|index| self.config.scripts.get(index));
        Ok(FakeVcpu {
            index,
            script: script.cloned().unwrap_or_default().into(),
            state: Registers::new(&self.config.reset_state),
            buffer: Vec::new(),
            read_pending: false,
            kicker: Arc::default(),
            shared: Arc::clone(&self.shared),
        })
    }

    fn map_ram(&self, slot: u32, ram: FakeRam) -> Result<(), FakeError> {
        let mut shared = lock(&self.shared);
        shared.begin(Operation::MapRam)?;
        if shared.slots.contains_key(&slot) {
            return Err(FakeError::SlotInUse { slot });
        }
        if let Some((&other, _)) = shared.slots.iter().find(|(_, other)| other.overlaps(&ram)) {
            return Err(FakeError::SlotOverlap { slot, other });
        }
        shared.slots.insert(slot, ram);
        Ok(())
    }

    fn unmap_ram(&self, slot: u32) -> Result<FakeRam, FakeError> {
        let mut shared = lock(&self.shared);
        shared.begin(Operation::UnmapRam)?;
        shared.slots.remove(&slot).ok_or(FakeError::SlotNotInUse { slot })
    }

    fn set_irq(&self, line: u32, level: bool) -> Result<(), FakeError> {
        let mut shared = lock(&self.shared);
        shared.begin(Operation::SetIrq)?;
        shared.irqs.push((line, level));
        Ok(())
    }
}

/// Fake vCPU that follows a script.
#[derive(Debug)]
pub struct FakeVcpu {
    index: u32,
    script: VecDeque<Step>,
    state: Registers,
    buffer: Vec<u8>,
    read_pending: bool,
    kicker: Arc<FakeKicker>,
    shared: Arc<Mutex<Shared>>,
}

impl FakeVcpu {
    fn step(&mut self, step: Step) -> VcpuExit<'_> {
        match step {
            Step::IoRead { port, size, count } => {
                self.begin_read(usize::from(size).saturating_mul(count));
                VcpuExit::IoRead {
                    port,
                    size,
                    data: &mut self.buffer,
                }
            }
            Step::IoWrite { port, size, data } => {
                self.buffer = data;
                VcpuExit::IoWrite {
                    port,
                    size,
                    data: &self.buffer,
                }
            }
            Step::MmioRead { address, len } => {
                self.begin_read(len);
                VcpuExit::MmioRead {
                    address,
                    data: &mut self.buffer,
                }
            }
            Step::MmioWrite { address, data } => {
                self.buffer = data;
                VcpuExit::MmioWrite {
                    address,
                    data: &self.buffer,
                }
            }
            Step::Halt => VcpuExit::Halt,
            Step::Doorbell(value) => VcpuExit::Doorbell(value),
            Step::System(event) => VcpuExit::System(event),
            Step::SpuriousExit => VcpuExit::Interrupted,
            Step::Fault(fault) => VcpuExit::Fault(fault),
            Step::Spin => {
                self.kicker.wait();
                VcpuExit::Interrupted
            }
            #[expect(clippy::panic, reason = "panicking is what this step is for")]
            Step::Panic => panic!("scripted panic of vCPU {}", self.index),
        }
    }

    fn begin_read(&mut self, len: usize) {
        self.buffer = vec![0; len];
        self.read_pending = true;
    }
}

impl Vcpu for FakeVcpu {
    type Error = FakeError;

    fn index(&self) -> u32 {
        self.index
    }

    fn state(&mut self) -> Result<CpuState, FakeError> {
        lock(&self.shared).begin(Operation::GetState)?;
        Ok(self.state.current.clone())
    }

    fn set_state(&mut self, state: &CpuState) -> Result<(), FakeError> {
        lock(&self.shared).begin(Operation::SetState)?;
        self.state.set(state)
    }

    fn reset(&mut self) -> Result<(), FakeError> {
        lock(&self.shared).begin(Operation::Reset)?;
        self.state.reset();
        Ok(())
    }

    fn run(&mut self) -> Result<VcpuExit<'_>, FakeError> {
        {
            let mut shared = lock(&self.shared);
            shared.begin(Operation::Run)?;
            if std::mem::take(&mut self.read_pending) {
                shared
                    .read_results
                    .push((self.index, std::mem::take(&mut self.buffer)));
            }
            shared.inside = shared.inside.saturating_add(1);
        }
        let _inside = Inside(Arc::clone(&self.shared));
        if self.kicker.take() {
            return Ok(VcpuExit::Interrupted);
        }
        let step = self.script.pop_front().unwrap_or(Step::Spin);
        Ok(self.step(step))
    }

    fn kicker(&self) -> Arc<dyn VcpuKicker> {
        Arc::clone(&self.kicker) as Arc<dyn VcpuKicker>
    }
}

/// Counts a thread as inside [`Vcpu::run`] until it is dropped.
struct Inside(Arc<Mutex<Shared>>);

impl Drop for Inside {
    fn drop(&mut self) {
        let mut shared = lock(&self.0);
        shared.inside = shared.inside.saturating_sub(1);
    }
}
