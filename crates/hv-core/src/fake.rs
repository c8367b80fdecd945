//! A hypervisor that runs scripts instead of guests, and fails where it is told to.
//!
//! It tests everything that is written against [`Vm`] and [`Vcpu`] on any host, and the failures a real
//! hypervisor almost never shows: [`FakeConfig::fail_at`] makes the *n*-th operation fail, so a test tries every *n*.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use boot_core::{Arch, CpuState};

use crate::{Exit, Fault, Interrupter, Operation, SystemEvent, Vcpu, Vm};

/// One thing that a scripted vCPU does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Read `count` elements of `size` bytes from an I/O port; the answer goes to [`FakeVm::answers`].
    IoRead {
        /// The port.
        port: u16,
        /// Width of one element in bytes.
        size: u8,
        /// How many elements.
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
    /// Read `len` bytes from a device address; the answer goes to [`FakeVm::answers`].
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
    /// Wait for an interrupt in user space.
    Halt,
    /// Ask the firmware interface for something.
    System(SystemEvent),
    /// Leave the guest for no reason, as after a stray signal.
    Stray,
    /// Stop with a fault.
    Fault(Fault),
    /// Execute guest code until interrupted. A script that is at its end does this too.
    Spin,
    /// Panic, as a bug in a back end would.
    Panic,
}

/// What a [`FakeVm`] does.
#[derive(Clone, Debug)]
pub struct FakeConfig {
    /// The state in which vCPUs are created. Its architecture is the machine's.
    pub reset_state: CpuState,
    /// What each vCPU does, by its number; a vCPU without a script spins.
    pub scripts: Vec<Vec<Step>>,
    /// Which operation fails, counted from 0 over the whole machine; `None` for none.
    pub fail_at: Option<usize>,
    /// How many interrupts each vCPU misses, as a real one does that is on the verge of entering the guest.
    pub lost_interrupts: u32,
}

impl FakeConfig {
    /// Runs `scripts` from `reset_state` without failures.
    #[must_use]
    pub fn new(reset_state: CpuState, scripts: Vec<Vec<Step>>) -> Self {
        Self {
            reset_state,
            scripts,
            fail_at: None,
            lost_interrupts: 0,
        }
    }
}

/// An operation of the fake failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FakeError {
    /// It was told to.
    #[error("operation {number} ({operation}) was told to fail")]
    Injected {
        /// Which operation, counted from 0.
        number: usize,
        /// What it was.
        operation: Operation,
    },
    /// The vCPU exists already.
    #[error("vCPU {index} exists already")]
    VcpuExists {
        /// The vCPU.
        index: u32,
    },
    /// The slot is in use.
    #[error("RAM slot {slot} is in use")]
    SlotInUse {
        /// The slot.
        slot: u32,
    },
    /// The slot is not in use.
    #[error("RAM slot {slot} is not in use")]
    SlotUnused {
        /// The slot.
        slot: u32,
    },
    /// The RAM overlaps another slot.
    #[error("RAM slot {slot} would overlap slot {other}")]
    SlotOverlap {
        /// The new slot.
        slot: u32,
        /// The one it overlaps.
        other: u32,
    },
    /// The state belongs to another architecture.
    #[error("a state for {found} cannot be given to a vCPU of {expected}")]
    WrongArch {
        /// The machine's architecture.
        expected: Arch,
        /// The state's architecture.
        found: Arch,
    },
}

/// RAM without memory: only the addresses count.
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

/// A virtual machine that runs scripts.
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
    answers: Vec<(u32, Vec<u8>)>,
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The fake panics on purpose (`Step::Panic`), but never while it holds a lock.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FakeVm {
    /// A machine that behaves as `config` says.
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

    /// Every operation that was begun, in order.
    #[must_use]
    pub fn operations(&self) -> Vec<Operation> {
        lock(&self.shared).operations.clone()
    }

    /// Every level that an interrupt line was set to, in order.
    #[must_use]
    pub fn irqs(&self) -> Vec<(u32, bool)> {
        lock(&self.shared).irqs.clone()
    }

    /// What the reads of the scripts were answered with, and to which vCPU, in the order in which it ran again.
    #[must_use]
    pub fn answers(&self) -> Vec<(u32, Vec<u8>)> {
        lock(&self.shared).answers.clone()
    }

    /// How many threads are inside [`Vcpu::run`] at this moment.
    #[must_use]
    pub fn running(&self) -> usize {
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
            reset_state: self.config.reset_state.clone(),
            state: self.config.reset_state.clone(),
            buffer: Vec::new(),
            read_pending: false,
            doorbell: Arc::new(Doorbell {
                state: Mutex::new(Bell {
                    rung: false,
                    lose: self.config.lost_interrupts,
                }),
                changed: Condvar::new(),
            }),
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
        shared.slots.remove(&slot).ok_or(FakeError::SlotUnused { slot })
    }

    fn set_irq(&self, line: u32, level: bool) -> Result<(), FakeError> {
        let mut shared = lock(&self.shared);
        shared.begin(Operation::SetIrq)?;
        shared.irqs.push((line, level));
        Ok(())
    }
}

/// A vCPU that follows a script.
#[derive(Debug)]
pub struct FakeVcpu {
    index: u32,
    script: VecDeque<Step>,
    reset_state: CpuState,
    state: CpuState,
    buffer: Vec<u8>,
    read_pending: bool,
    doorbell: Arc<Doorbell>,
    shared: Arc<Mutex<Shared>>,
}

impl FakeVcpu {
    fn step(&mut self, step: Step) -> Exit<'_> {
        match step {
            Step::IoRead { port, size, count } => {
                self.expect_answer(usize::from(size).saturating_mul(count));
                Exit::IoRead {
                    port,
                    size,
                    data: &mut self.buffer,
                }
            }
            Step::IoWrite { port, size, data } => {
                self.buffer = data;
                Exit::IoWrite {
                    port,
                    size,
                    data: &self.buffer,
                }
            }
            Step::MmioRead { address, len } => {
                self.expect_answer(len);
                Exit::MmioRead {
                    address,
                    data: &mut self.buffer,
                }
            }
            Step::MmioWrite { address, data } => {
                self.buffer = data;
                Exit::MmioWrite {
                    address,
                    data: &self.buffer,
                }
            }
            Step::Halt => Exit::Halt,
            Step::System(event) => Exit::System(event),
            Step::Stray => Exit::Interrupted,
            Step::Fault(fault) => Exit::Fault(fault),
            Step::Spin => {
                self.doorbell.wait();
                Exit::Interrupted
            }
            #[expect(clippy::panic, reason = "panicking is what this step is for")]
            Step::Panic => panic!("the script of vCPU {} says so", self.index),
        }
    }

    fn expect_answer(&mut self, len: usize) {
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
        lock(&self.shared).begin(Operation::State)?;
        Ok(self.state.clone())
    }

    fn set_state(&mut self, state: &CpuState) -> Result<(), FakeError> {
        lock(&self.shared).begin(Operation::SetState)?;
        let (expected, found) = (self.reset_state.arch(), state.arch());
        if expected != found {
            return Err(FakeError::WrongArch { expected, found });
        }
        self.state = state.clone();
        Ok(())
    }

    fn reset(&mut self) -> Result<(), FakeError> {
        lock(&self.shared).begin(Operation::Reset)?;
        self.state = self.reset_state.clone();
        Ok(())
    }

    fn run(&mut self) -> Result<Exit<'_>, FakeError> {
        {
            let mut shared = lock(&self.shared);
            shared.begin(Operation::Run)?;
            if std::mem::take(&mut self.read_pending) {
                shared
                    .answers
                    .push((self.index, std::mem::take(&mut self.buffer)));
            }
            shared.inside = shared.inside.saturating_add(1);
        }
        let _inside = Inside(Arc::clone(&self.shared));
        if self.doorbell.take() {
            return Ok(Exit::Interrupted);
        }
        let step = self.script.pop_front().unwrap_or(Step::Spin);
        Ok(self.step(step))
    }

    fn interrupter(&self) -> Arc<dyn Interrupter> {
        Arc::clone(&self.doorbell) as Arc<dyn Interrupter>
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

#[derive(Debug)]
struct Doorbell {
    state: Mutex<Bell>,
    changed: Condvar,
}

#[derive(Debug)]
struct Bell {
    rung: bool,
    lose: u32,
}

impl Doorbell {
    fn take(&self) -> bool {
        std::mem::take(&mut lock(&self.state).rung)
    }

    fn wait(&self) {
        let mut bell = lock(&self.state);
        while !std::mem::take(&mut bell.rung) {
            bell = self.changed.wait(bell).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Interrupter for Doorbell {
    fn interrupt(&self) {
        let mut bell = lock(&self.state);
        if let Some(rest) = bell.lose.checked_sub(1) {
            bell.lose = rest;
            return;
        }
        bell.rung = true;
        self.changed.notify_all();
    }
}
