//! Traits of a bare machine: one vCPU and memory slots, without interrupt controllers, timers and devices.

use std::fmt;

use crate::{DirtyPages, SlotAttributes, Vcpu, Vm};

/// How the guest of a bare machine rings the doorbell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Doorbell {
    /// x86_64: a write of `EAX` to this I/O port.
    Port(u16),
    /// arm64: `HVC #0` with this function number in `X0`.
    Hvc(u32),
    /// arm64: a write to this guest physical address, which has no memory.
    Mmio(u64),
    /// riscv64: `ECALL` with this SBI extension id in `a7`.
    Sbi(u64),
}

/// What the back end of a bare machine can do on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct BareAbilities {
    /// The doorbell.
    pub doorbell: Doorbell,
    /// [`SlotAttributes::log_dirty`] is supported.
    pub dirty_log: bool,
    /// [`SlotAttributes::read_only`] is supported.
    pub read_only: bool,
    /// Page size of the host in bytes: the unit of slots and dirty logs.
    pub page_size: u64,
    /// Code of the host that loads registers inside the guest on a [`rewind`](BareVcpu::rewind).
    pub rewind_code: Option<RewindCode>,
    /// x86_64: bits of `CR4` for features that the guest's CPU has on this host, which a guest starts with.
    pub cr4: u64,
}

/// Code of a back end that runs inside the guest on a [`rewind`](BareVcpu::rewind) and loads a [`RegisterImage`].
///
/// The owner of the machine places code and image in memory that the guest cannot write, at the addresses of the machine's configuration,
/// and writes the image before a rewind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RewindCode {
    /// The instructions. Their address is a multiple of the page size.
    pub code: &'static [u8],
    /// Largest length of a [`RegisterImage`] in bytes. Its address is a multiple of the page size.
    pub image_len: u64,
}

impl BareAbilities {
    /// A back end with `doorbell` and pages of `page_size` bytes that supports no attribute of slots.
    #[must_use]
    pub const fn new(doorbell: Doorbell, page_size: u64) -> Self {
        Self {
            doorbell,
            dirty_log: false,
            read_only: false,
            page_size,
            rewind_code: None,
            cr4: 0,
        }
    }

    /// Sets the bits of `CR4` that a guest of x86_64 starts with.
    #[must_use]
    pub const fn with_cr4(mut self, cr4: u64) -> Self {
        self.cr4 = cr4;
        self
    }

    /// Sets whether slots can have a dirty log.
    #[must_use]
    pub const fn with_dirty_log(mut self, dirty_log: bool) -> Self {
        self.dirty_log = dirty_log;
        self
    }

    /// Sets the code that loads registers inside the guest.
    #[must_use]
    pub const fn with_rewind_code(mut self, code: RewindCode) -> Self {
        self.rewind_code = Some(code);
        self
    }

    /// Sets whether slots can be read-only.
    #[must_use]
    pub const fn with_read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }
}

/// A virtual machine with one vCPU and without the devices, interrupt controllers and timers of a reference machine.
pub trait BareVm: Vm<Vcpu: BareVcpu> {
    /// Maps `ram` as slot number `slot` with `attributes`.
    ///
    /// # Errors
    ///
    /// As [`map_ram`](Vm::map_ram); attributes that the back end does not support.
    fn map_slot(&self, slot: u32, ram: Self::Ram, attributes: SlotAttributes) -> Result<(), Self::Error>;

    /// Replaces `dirty` by the pages of `slot` that the guest wrote since the last call, or since the slot was mapped. Call it while the
    /// vCPU is not running.
    ///
    /// If a page is returned, translations that the guest's CPU cached are flushed. Writes of the host are not logged.
    ///
    /// # Errors
    ///
    /// Errors of the back end, among them a slot that is not in use or has no dirty log.
    fn take_dirty(&self, slot: u32, dirty: &mut DirtyPages) -> Result<(), Self::Error> {
        self.take_dirty_before(slot, usize::MAX, dirty)
    }

    /// As [`take_dirty`](Self::take_dirty), but pages from number `end` on stay in the log: `dirty` has those that the guest wrote since the
    /// slot was mapped, and no write to them leaves the guest again. This is for pages that the guest writes in almost every run.
    ///
    /// If a page before `end` is returned, translations that the guest's CPU cached are flushed. A back end that cannot keep pages in the log
    /// takes all of them.
    ///
    /// # Errors
    ///
    /// As [`take_dirty`](Self::take_dirty).
    fn take_dirty_before(&self, slot: u32, end: usize, dirty: &mut DirtyPages) -> Result<(), Self::Error>;

    /// What the back end can do on this host.
    fn abilities(&self) -> BareAbilities;
}

/// Registers in guest memory that code of the host inside the guest loads on a [`rewind`](BareVcpu::rewind), where writing them one by one
/// would take longer. Its layout is that of the architecture; empty if no code loads it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RegisterImage(pub Vec<u8>);

/// The vCPU of a bare machine.
pub trait BareVcpu: Vcpu {
    /// All state of the vCPU that the guest can change, as plain data. Clocks are not part of it: they always run.
    type Saved: Clone + PartialEq + fmt::Debug + Send + Sync + 'static;

    /// Completes the access that the last [`run`](Vcpu::run) reported, if any, and captures the state. `image` receives what the guest loads
    /// itself on a rewind.
    ///
    /// # Errors
    ///
    /// Errors of the back end, among them an access that cannot be completed in one step.
    fn capture(&mut self, image: &mut RegisterImage) -> Result<Self::Saved, Self::Error>;

    /// Makes the next [`run`](Vcpu::run) continue from `saved`, which a vCPU of the same kind of machine captured. Discards the access that
    /// the last `run` reported, if any.
    ///
    /// `flush`: flushes translations that the guest's CPU cached. It is needed unless [`take_dirty`](BareVm::take_dirty) returned a page
    /// since the last `run`.
    ///
    /// A back end may write registers only in the next `run`, which then reports values that the hypervisor does not accept.
    ///
    /// # Errors
    ///
    /// Errors of the back end. The state of the vCPU is then undefined until a rewind succeeds.
    fn rewind(&mut self, saved: &Self::Saved, flush: bool) -> Result<(), Self::Error>;
}

/// A hardware breakpoint or watchpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct HardwareBreakpoint {
    /// Guest virtual address, a multiple of `len`.
    pub address: u64,
    /// Length in bytes: 1, 2, 4 or 8; 1 for [`BreakOn::Execute`].
    pub len: u8,
    /// Kind of access.
    pub on: BreakOn,
}

impl HardwareBreakpoint {
    /// A stop before the instruction at `address`.
    #[must_use]
    pub const fn execute(address: u64) -> Self {
        let (len, on) = (1, BreakOn::Execute);
        Self { address, len, on }
    }

    /// A stop after an access `on` to `len` bytes at `address`.
    #[must_use]
    pub const fn watch(address: u64, len: u8, on: BreakOn) -> Self {
        Self { address, len, on }
    }
}

/// Access that a [`HardwareBreakpoint`] waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BreakOn {
    /// Execution of the instruction at the address.
    Execute,
    /// A write.
    Write,
    /// A read or a write.
    ReadWrite,
}

/// Debug exceptions that make the vCPU exit with [`VcpuExit::Debug`](crate::VcpuExit::Debug). The default is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DebugRequest {
    /// Stop after every instruction.
    pub step: bool,
    /// Stop at breakpoint instructions, which the guest then does not see.
    pub breakpoint_instructions: bool,
    /// Hardware breakpoints and watchpoints: up to 4 on x86_64, up to 16 of each kind on arm64, none on riscv64.
    pub hardware: Vec<HardwareBreakpoint>,
}

/// A vCPU of a bare machine under a debugger.
pub trait DebugVcpu: BareVcpu {
    /// Replaces the requested debug exceptions. While any are requested, those that the guest configured itself do not occur.
    ///
    /// # Errors
    ///
    /// Errors of the back end, among them more or other breakpoints than the hardware has.
    fn set_debug(&mut self, request: &DebugRequest) -> Result<(), Self::Error>;
}
