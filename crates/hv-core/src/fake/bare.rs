//! Fake bare machine: the guest is a function over real memory.

mod store;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
};

use boot_core::{Arch, CpuState, GuestRange};

use super::{
    error::FakeError,
    kicker::{FakeKicker, lock},
    registers::Registers,
};
use crate::{
    AccessKind, BareAbilities, BareVcpu, BareVm, DebugRequest, DebugStop, DebugVcpu, DirtyPages, Fault,
    GuestRegisters, Operation, RegisterAccess, RegisterImage, SlotAttributes, Vcpu, VcpuExit, VcpuKicker, Vm,
};

/// Memory of a slot of a [`FakeBareVm`].
pub trait FakeMemory: Send + Sync + 'static {
    /// Guest physical addresses.
    fn range(&self) -> GuestRange;

    /// Copies the bytes from `offset` on; they are in the range.
    fn read(&self, offset: u64, bytes: &mut [u8]);

    /// Writes bytes from `offset` on; they are in the range.
    fn write(&self, offset: u64, bytes: &[u8]);
}

/// Zeroed memory in a vector. Clones share it.
#[derive(Clone, Debug)]
pub struct FakePages {
    base: u64,
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl FakePages {
    /// Memory of `len` bytes at `base`.
    #[must_use]
    pub fn new(base: u64, len: usize) -> Self {
        Self {
            base,
            bytes: Arc::new(Mutex::new(vec![0; len])),
        }
    }
}

impl FakeMemory for FakePages {
    fn range(&self) -> GuestRange {
        let len = boot_core::arith::to_u64(lock(&self.bytes).len());
        GuestRange::new(self.base, len).unwrap_or(GuestRange::EMPTY)
    }

    fn read(&self, offset: u64, bytes: &mut [u8]) {
        let memory = lock(&self.bytes);
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|offset| memory.get(offset..));
        for (to, from) in bytes.iter_mut().zip(rest.unwrap_or_default()) {
            *to = *from;
        }
    }

    fn write(&self, offset: u64, bytes: &[u8]) {
        let mut memory = lock(&self.bytes);
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|offset| memory.get_mut(offset..));
        for (to, from) in rest.unwrap_or_default().iter_mut().zip(bytes) {
            *to = *from;
        }
    }
}

/// Guest program of a [`FakeBareVcpu`].
///
/// A rewind does not rewind this value, so everything that the guest keeps between two calls is in [`FakeCpu::registers`] and in memory.
pub trait FakeGuest: Send + 'static {
    /// Runs until an exit. Called once for each [`Vcpu::run`] that is not interrupted, on its thread.
    fn enter(&mut self, cpu: &mut FakeCpu<'_>) -> FakeExit;
}

impl<F: FnMut(&mut FakeCpu<'_>) -> FakeExit + Send + 'static> FakeGuest for F {
    fn enter(&mut self, cpu: &mut FakeCpu<'_>) -> FakeExit {
        self(cpu)
    }
}

/// End of [`FakeGuest::enter`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FakeExit {
    /// Ring the doorbell.
    Doorbell(u64),
    /// Halt.
    Halt,
    /// Stop with a fault.
    Fault(Fault),
    /// A read or write without memory, or a write to a read-only slot.
    Access(FakeFault),
    /// Leave with [`VcpuExit::Interrupted`].
    Interrupted,
    /// Stop with a debug exception, which [`FakeCpu::debug`] asks for.
    Debug(DebugStop),
}

impl From<FakeFault> for FakeExit {
    fn from(fault: FakeFault) -> Self {
        Self::Access(fault)
    }
}

/// An access of a [`FakeGuest`] that memory does not allow: a device access.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at {address:#x}, where no slot allows it")]
#[non_exhaustive]
pub struct FakeFault {
    /// Read or write.
    pub kind: AccessKind,
    /// Guest physical address.
    pub address: u64,
    /// The written bytes, or zeros.
    pub data: Vec<u8>,
}

/// What a [`FakeGuest`] sees of its machine.
#[derive(Debug)]
pub struct FakeCpu<'a> {
    slots: &'a dyn Slots,
    registers: &'a mut [u64; FakeCpu::REGISTERS],
    debug: &'a DebugRequest,
    kicker: &'a FakeKicker,
}

impl FakeCpu<'_> {
    /// Number of registers.
    pub const REGISTERS: usize = 64;

    /// Reads memory.
    ///
    /// # Errors
    ///
    /// [`FakeFault`] if a part is not in a slot, or the bytes are in more than one slot.
    pub fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), FakeFault> {
        self.slots.access(address, Bytes::Read(bytes))
    }

    /// Writes memory, and marks its pages in the dirty log of the slot.
    ///
    /// # Errors
    ///
    /// [`FakeFault`] if a part is not in a slot, the bytes are in more than one slot, or the slot is read-only; nothing is written then.
    pub fn write(&self, address: u64, bytes: &[u8]) -> Result<(), FakeFault> {
        self.slots.access(address, Bytes::Write(bytes))
    }

    /// The registers.
    pub fn registers(&mut self) -> &mut [u64; FakeCpu::REGISTERS] {
        self.registers
    }

    /// The requested debug exceptions.
    #[must_use]
    pub fn debug(&self) -> &DebugRequest {
        self.debug
    }

    /// Executes an endless loop until the vCPU is kicked.
    #[must_use]
    pub fn spin_until_kicked(&self) -> FakeExit {
        self.kicker.wait();
        FakeExit::Interrupted
    }
}

/// Bytes of an access.
enum Bytes<'a> {
    Read(&'a mut [u8]),
    Write(&'a [u8]),
}

/// The slots of a machine, with any type of memory.
trait Slots: fmt::Debug {
    fn access(&self, address: u64, bytes: Bytes<'_>) -> Result<(), FakeFault>;
}

/// Configuration of a [`FakeBareVm`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FakeBareConfig {
    /// Reset state of the vCPU, which determines the architecture.
    pub reset_state: CpuState,
    /// What the machine reports as its abilities. The page size applies to dirty logs.
    pub abilities: BareAbilities,
    /// Number of the operation that fails, counted from 0 over the whole machine.
    pub fail_at: Option<usize>,
    /// Features of the CPU, of which a stored state needs those that it was captured with.
    pub features: u64,
}

impl FakeBareConfig {
    /// A machine without failures.
    #[must_use]
    pub fn new(reset_state: CpuState, abilities: BareAbilities) -> Self {
        Self {
            reset_state,
            abilities,
            fail_at: None,
            features: 0,
        }
    }

    /// Sets the features of the CPU.
    #[must_use]
    pub fn with_features(mut self, features: u64) -> Self {
        self.features = features;
        self
    }

    /// Sets the number of the operation that fails, counted from 0 over the whole machine.
    #[must_use]
    pub fn with_fail_at(mut self, number: Option<usize>) -> Self {
        self.fail_at = number;
        self
    }
}

/// Fake bare machine over memory of type `R`.
pub struct FakeBareVm<R> {
    config: FakeBareConfig,
    shared: Arc<Shared<R>>,
}

impl<R> fmt::Debug for FakeBareVm<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeBareVm")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

struct Shared<R>(Mutex<State<R>>);

impl<R> fmt::Debug for Shared<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

struct State<R> {
    fail_at: Option<usize>,
    operations: Vec<Operation>,
    /// The guest, until the vCPU is created.
    guest: Option<Box<dyn FakeGuest>>,
    page_size: u64,
    slots: BTreeMap<u32, Slot<R>>,
}

struct Slot<R> {
    memory: R,
    attributes: SlotAttributes,
    dirty: DirtyPages,
}

impl<R> Shared<R> {
    fn begin(&self, operation: Operation) -> Result<(), FakeError> {
        let mut state = lock(&self.0);
        let number = state.operations.len();
        state.operations.push(operation);
        if state.fail_at == Some(number) {
            Err(FakeError::Injected { number, operation })
        } else {
            Ok(())
        }
    }
}

impl<R: FakeMemory> Slots for Shared<R> {
    fn access(&self, address: u64, bytes: Bytes<'_>) -> Result<(), FakeFault> {
        let mut state = lock(&self.0);
        let page_size = state.page_size;
        let (kind, data) = match &bytes {
            Bytes::Read(bytes) => (AccessKind::Read, vec![0; bytes.len()]),
            Bytes::Write(bytes) => (AccessKind::Write, bytes.to_vec()),
        };
        let len = boot_core::arith::to_u64(data.len());
        let slot = GuestRange::new(address, len).and_then(|range| {
            let contains = |slot: &&mut Slot<R>| slot.memory.range().contains(range);
            state.slots.values_mut().find(contains)
        });
        let Some(slot) = slot else {
            return Err(FakeFault { kind, address, data });
        };
        let offset = address.saturating_sub(slot.memory.range().start());
        match bytes {
            Bytes::Read(bytes) => slot.memory.read(offset, bytes),
            Bytes::Write(_) if slot.attributes.read_only => {
                return Err(FakeFault { kind, address, data });
            }
            Bytes::Write(bytes) => {
                slot.memory.write(offset, bytes);
                let last = offset.saturating_add(len.saturating_sub(1));
                let page = |offset: u64| usize::try_from(offset / page_size.max(1)).unwrap_or(usize::MAX);
                if slot.attributes.log_dirty && len > 0 {
                    for page in page(offset)..=page(last) {
                        slot.dirty.insert(page);
                    }
                }
            }
        }
        Ok(())
    }
}

impl<R: FakeMemory> FakeBareVm<R> {
    /// A machine whose vCPU runs `guest`.
    #[must_use]
    pub fn new(config: FakeBareConfig, guest: impl FakeGuest) -> Self {
        let state = State {
            fail_at: config.fail_at,
            operations: Vec::new(),
            guest: Some(Box::new(guest)),
            page_size: config.abilities.page_size,
            slots: BTreeMap::new(),
        };
        Self {
            config,
            shared: Arc::new(Shared(Mutex::new(state))),
        }
    }

    /// All operations so far, failed ones included, in order.
    #[must_use]
    pub fn operations(&self) -> Vec<Operation> {
        lock(&self.shared.0).operations.clone()
    }
}

impl<R: FakeMemory> Vm for FakeBareVm<R> {
    type Error = FakeError;
    type Vcpu = FakeBareVcpu<R>;
    type Ram = R;

    fn arch(&self) -> Arch {
        self.config.reset_state.arch()
    }

    fn create_vcpu(&self, index: u32) -> Result<FakeBareVcpu<R>, FakeError> {
        self.shared.begin(Operation::CreateVcpu)?;
        // A bare machine has one vCPU.
        let guest = lock(&self.shared.0).guest.take();
        let guest = guest.ok_or(FakeError::VcpuExists { index })?;
        Ok(FakeBareVcpu {
            index,
            guest,
            registers: [0; FakeCpu::REGISTERS],
            state: Registers::new(&self.config.reset_state),
            debug: DebugRequest::default(),
            buffer: Vec::new(),
            kicker: Arc::default(),
            shared: Arc::clone(&self.shared),
        })
    }

    fn map_ram(&self, slot: u32, ram: R) -> Result<(), FakeError> {
        self.map_slot(slot, ram, SlotAttributes::default())
    }

    fn unmap_ram(&self, slot: u32) -> Result<R, FakeError> {
        self.shared.begin(Operation::UnmapRam)?;
        let slots = &mut lock(&self.shared.0).slots;
        let removed = slots.remove(&slot).ok_or(FakeError::SlotNotInUse { slot })?;
        Ok(removed.memory)
    }

    /// Always fails: the machine has no interrupt controller.
    fn set_irq(&self, line: u32, _level: bool) -> Result<(), FakeError> {
        self.shared.begin(Operation::SetIrq)?;
        Err(FakeError::NoIrq { line })
    }
}

impl<R: FakeMemory> BareVm for FakeBareVm<R> {
    fn map_slot(&self, slot: u32, ram: R, attributes: SlotAttributes) -> Result<(), FakeError> {
        self.shared.begin(Operation::MapRam)?;
        let mut state = lock(&self.shared.0);
        if state.slots.contains_key(&slot) {
            return Err(FakeError::SlotInUse { slot });
        }
        let range = ram.range();
        let overlaps = |other: &(&u32, &Slot<R>)| other.1.memory.range().overlaps(range);
        if let Some((&other, _)) = state.slots.iter().find(overlaps) {
            return Err(FakeError::SlotOverlap { slot, other });
        }
        let pages = range.len().div_ceil(state.page_size.max(1));
        let dirty = DirtyPages::new(usize::try_from(pages).unwrap_or(usize::MAX));
        let slot_of = Slot {
            memory: ram,
            attributes,
            dirty,
        };
        state.slots.insert(slot, slot_of);
        Ok(())
    }

    fn take_dirty_before(&self, slot: u32, end: usize, dirty: &mut DirtyPages) -> Result<(), FakeError> {
        self.shared.begin(Operation::DirtyLog)?;
        let mut state = lock(&self.shared.0);
        let found = state
            .slots
            .get_mut(&slot)
            .ok_or(FakeError::SlotNotInUse { slot })?;
        if !found.attributes.log_dirty {
            return Err(FakeError::NoDirtyLog { slot });
        }
        dirty.clone_from(&found.dirty);
        found.dirty.remove_before(end);
        Ok(())
    }

    fn abilities(&self) -> BareAbilities {
        self.config.abilities
    }
}

/// vCPU of a [`FakeBareVm`].
pub struct FakeBareVcpu<R> {
    index: u32,
    guest: Box<dyn FakeGuest>,
    registers: [u64; FakeCpu::REGISTERS],
    state: Registers,
    debug: DebugRequest,
    buffer: Vec<u8>,
    kicker: Arc<FakeKicker>,
    shared: Arc<Shared<R>>,
}

impl<R> fmt::Debug for FakeBareVcpu<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeBareVcpu")
            .field("registers", &self.registers)
            .finish_non_exhaustive()
    }
}

/// Captured state of a [`FakeBareVcpu`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FakeSaved {
    /// The registers of the guest.
    pub registers: Vec<u64>,
    /// The state that [`Vcpu::set_state`] wrote.
    pub state: CpuState,
    /// The state that [`RegisterAccess::write_registers`] wrote.
    pub debug_registers: Option<GuestRegisters>,
}

impl<R: FakeMemory> Vcpu for FakeBareVcpu<R> {
    type Error = FakeError;

    fn index(&self) -> u32 {
        self.index
    }

    fn state(&mut self) -> Result<CpuState, FakeError> {
        self.shared.begin(Operation::GetState)?;
        Ok(self.state.current.clone())
    }

    fn set_state(&mut self, state: &CpuState) -> Result<(), FakeError> {
        self.shared.begin(Operation::SetState)?;
        self.state.set(state)
    }

    fn reset(&mut self) -> Result<(), FakeError> {
        self.shared.begin(Operation::Reset)?;
        self.registers = [0; FakeCpu::REGISTERS];
        self.state.reset();
        Ok(())
    }

    fn run(&mut self) -> Result<VcpuExit<'_>, FakeError> {
        self.shared.begin(Operation::Run)?;
        if self.kicker.take() {
            return Ok(VcpuExit::Interrupted);
        }
        let mut cpu = FakeCpu {
            slots: &*self.shared,
            registers: &mut self.registers,
            debug: &self.debug,
            kicker: &self.kicker,
        };
        Ok(match self.guest.enter(&mut cpu) {
            FakeExit::Doorbell(value) => VcpuExit::Doorbell(value),
            FakeExit::Halt => VcpuExit::Halt,
            FakeExit::Fault(fault) => VcpuExit::Fault(fault),
            FakeExit::Interrupted => VcpuExit::Interrupted,
            FakeExit::Debug(stop) => VcpuExit::Debug(stop),
            FakeExit::Access(FakeFault { kind, address, data }) => {
                self.buffer = data;
                match kind {
                    AccessKind::Read => VcpuExit::MmioRead {
                        address,
                        data: &mut self.buffer,
                    },
                    AccessKind::Write => VcpuExit::MmioWrite {
                        address,
                        data: &self.buffer,
                    },
                }
            }
        })
    }

    fn kicker(&self) -> Arc<dyn VcpuKicker> {
        Arc::clone(&self.kicker) as Arc<dyn VcpuKicker>
    }
}

impl<R: FakeMemory> BareVcpu for FakeBareVcpu<R> {
    type Saved = FakeSaved;

    fn capture(&mut self, image: &mut RegisterImage) -> Result<FakeSaved, FakeError> {
        self.shared.begin(Operation::Capture)?;
        image.0.clear();
        Ok(FakeSaved {
            registers: self.registers.to_vec(),
            state: self.state.current.clone(),
            debug_registers: self.state.others.clone(),
        })
    }

    fn rewind(&mut self, saved: &FakeSaved, _flush: bool) -> Result<(), FakeError> {
        self.shared.begin(Operation::Rewind)?;
        for (to, from) in self.registers.iter_mut().zip(&saved.registers) {
            *to = *from;
        }
        self.state.current.clone_from(&saved.state);
        self.state.others.clone_from(&saved.debug_registers);
        Ok(())
    }
}

impl<R: FakeMemory> DebugVcpu for FakeBareVcpu<R> {
    fn set_debug(&mut self, request: &DebugRequest) -> Result<(), FakeError> {
        self.shared.begin(Operation::SetDebug)?;
        self.debug.clone_from(request);
        Ok(())
    }
}

/// The registers that [`Vcpu::set_state`] and [`RegisterAccess::write_registers`] wrote; those of [`FakeCpu::registers`] are others.
impl<R: FakeMemory> RegisterAccess for FakeBareVcpu<R> {
    fn read_registers(&mut self) -> Result<GuestRegisters, FakeError> {
        self.shared.begin(Operation::GetState)?;
        self.state.read()
    }

    fn write_registers(&mut self, registers: &GuestRegisters) -> Result<(), FakeError> {
        self.shared.begin(Operation::SetState)?;
        self.state.write(registers)
    }
}
