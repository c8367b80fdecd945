//! The run loop: one thread per vCPU, and a supervisor that determines the outcome.
//!
//! ```text
//!   vCPU 0 ──┐  decisions, end of the thread
//!   vCPU 1 ──┼──────────────▶ supervisor ──▶ Outcome
//!   stop() ──┘                  │  ▲ deadline
//!                               └──┴─▶ one kick of every vCPU
//! ```
//!
//! The first decision is the outcome. The threads are scoped: all have ended when [`run`] returns.

use std::{
    fmt,
    ops::ControlFlow,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    Access, AccessKind, AddressSpace, Bus, CrashReport, DeviceAction, ExitReason, Fault, Milestone,
    NullObserver, Observer, Operation, Outcome, RunError, SystemEvent, Vcpu, VcpuExit, VcpuKicker,
};

/// Configuration of a run: time limit, handling of guest faults, stop handle and observer.
#[derive(Clone)]
#[non_exhaustive]
pub struct RunConfig {
    /// Time limit, counted from the start of each run; `None` for no limit.
    pub deadline: Option<Duration>,
    /// Handling of a CPU shutdown (on x86: a triple fault).
    pub shutdown: ShutdownPolicy,
    /// Handling of accesses to addresses without RAM and without a device.
    pub unhandled_access: UnhandledAccessPolicy,
    /// Handle that stops the run. Keep a clone to stop it from another thread.
    pub stop: StopHandle,
    /// Observer of all events except [`Milestone::FirstConsoleByte`].
    pub observer: Arc<dyn Observer>,
}

impl Default for RunConfig {
    /// No deadline; a shutdown is a crash; unhandled reads give all ones; events are not observed.
    fn default() -> Self {
        Self {
            deadline: None,
            shutdown: ShutdownPolicy::default(),
            unhandled_access: UnhandledAccessPolicy::default(),
            stop: StopHandle::default(),
            observer: Arc::new(NullObserver),
        }
    }
}

impl RunConfig {
    /// Sets the time limit, counted from the start of each run.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Sets the handling of a CPU shutdown.
    #[must_use]
    pub fn with_shutdown(mut self, shutdown: ShutdownPolicy) -> Self {
        self.shutdown = shutdown;
        self
    }

    /// Sets the handling of accesses to addresses without RAM and without a device.
    #[must_use]
    pub fn with_unhandled_access(mut self, unhandled_access: UnhandledAccessPolicy) -> Self {
        self.unhandled_access = unhandled_access;
        self
    }

    /// Sets the handle that stops the run, usually a clone of the caller's.
    #[must_use]
    pub fn with_stop(mut self, stop: StopHandle) -> Self {
        self.stop = stop;
        self
    }

    /// Sets the observer of the run.
    #[must_use]
    pub fn with_observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = observer;
        self
    }
}

impl fmt::Debug for RunConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunConfig")
            .field("deadline", &self.deadline)
            .field("shutdown", &self.shutdown)
            .field("unhandled_access", &self.unhandled_access)
            .finish_non_exhaustive()
    }
}

/// Handling of [`Fault::Shutdown`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ShutdownPolicy {
    /// The run ends with [`Outcome::Crash`].
    #[default]
    Crash,
    /// The run ends with [`Outcome::Reset`], because the chipset of a PC resets the machine. Linux with `reboot=t` resets this
    /// way.
    Reset,
}

/// Handling of accesses to addresses without RAM and without a device. The observer is notified in every case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnhandledAccessPolicy {
    /// Reads give all ones and writes are ignored, as on a PC.
    #[default]
    Ignore,
    /// The run ends with [`Outcome::Crash`] and [`Fault::UnhandledAccess`].
    Crash,
}

/// Handle that stops the runs whose [`RunConfig`] contains it or a clone of it. It can be used from any thread.
///
/// A stop is permanent: a later run with the same handle ends at once.
#[derive(Clone, Default)]
pub struct StopHandle(Arc<Mutex<StopState>>);

#[derive(Default)]
struct StopState {
    requested: bool,
    subscribers: Vec<(u64, Box<dyn Fn() + Send>)>,
    next_id: u64,
}

impl fmt::Debug for StopHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StopHandle").field(&self.is_stopped()).finish()
    }
}

impl StopHandle {
    /// A handle on which [`stop`](Self::stop) was not called.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends all current and later runs that use this handle with [`Outcome::Stopped`].
    pub fn stop(&self) {
        self.with(|state| {
            state.requested = true;
            for (_, notify) in &state.subscribers {
                notify();
            }
        });
    }

    /// Whether [`stop`](Self::stop) was called.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.with(|state| state.requested)
    }

    /// Calls `notify` when the handle is stopped (at once if it is stopped already), until the subscription is dropped.
    fn subscribe(&self, notify: impl Fn() + Send + 'static) -> Subscription {
        let id = self.with(|state| {
            if state.requested {
                notify();
            }
            let id = state.next_id;
            state.next_id = state.next_id.wrapping_add(1);
            state.subscribers.push((id, Box::new(notify)));
            id
        });
        Subscription {
            handle: self.clone(),
            id,
        }
    }

    fn with<R>(&self, f: impl FnOnce(&mut StopState) -> R) -> R {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Subscription {
    handle: StopHandle,
    id: u64,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.handle
            .with(|state| state.subscribers.retain(|(id, _)| *id != self.id));
    }
}

/// Message to the supervisor.
enum Message<E> {
    /// A vCPU decided the outcome.
    Decided(Result<Outcome, RunError<E>>),
    /// The thread of a vCPU ends; it does not enter the guest again.
    Out(usize),
    /// [`StopHandle::stop`] was called.
    Stop,
}

/// Runs each of `vcpus` on its own thread until the guest, a failure, the deadline or the stop handle ends the run, or all
/// vCPUs have halted.
///
/// On return, with any result, every vCPU has left the guest and every thread has ended. The registers of the vCPUs can then
/// be read, and the vCPUs can be reset and run again.
///
/// # Errors
///
/// [`RunError`] for failures of the host: an operation of the back end, a device, or the start of a thread.
///
/// # Panics
///
/// A panic in a device or in the back end ends the run and is propagated.
pub fn run<V: Vcpu>(vcpus: &mut [V], bus: &Bus, config: &RunConfig) -> Result<Outcome, RunError<V::Error>> {
    if vcpus.is_empty() {
        return Err(RunError::NoVcpus);
    }
    let (sender, receiver) = mpsc::channel();
    let stopping = AtomicBool::new(false);
    let notify = sender.clone();
    let subscription = config.stop.subscribe(move || {
        // The receiver is gone if the run has just ended.
        let _ = notify.send(Message::Stop);
    });
    config.observer.milestone(Milestone::Started, Instant::now());
    let result = thread::scope(|scope| {
        let mut running: Vec<Option<Arc<dyn VcpuKicker>>> = Vec::new();
        for (slot, vcpu) in vcpus.iter_mut().enumerate() {
            let index = vcpu.index();
            let kicker = vcpu.kicker();
            let guard = OutGuard {
                sender: sender.clone(),
                slot,
            };
            let stopping = &stopping;
            let spawned =
                thread::Builder::new()
                    .name(format!("vcpu-{index}"))
                    .spawn_scoped(scope, move || {
                        if let Some(decision) = run_vcpu(vcpu, bus, config, stopping) {
                            // The supervisor receives until every guard is dropped.
                            let _ = guard.sender.send(Message::Decided(decision));
                        }
                    });
            match spawned {
                Ok(_) => running.push(Some(kicker)),
                Err(source) => {
                    let _ = sender.send(Message::Decided(Err(RunError::Thread { vcpu: index, source })));
                    break;
                }
            }
        }
        supervise(&receiver, &mut running, config, &stopping)
    });
    drop(subscription);
    result
}

/// Notifies the supervisor when a vCPU's thread ends, also by a panic.
struct OutGuard<E> {
    sender: Sender<Message<E>>,
    slot: usize,
}

impl<E> Drop for OutGuard<E> {
    fn drop(&mut self) {
        if thread::panicking() {
            // Stops the other vCPUs; `thread::scope` then propagates the panic in place of this outcome.
            let _ = self.sender.send(Message::Stop);
        }
        let _ = self.sender.send(Message::Out(self.slot));
    }
}

/// Waits for the first decision, then makes every vCPU leave the guest.
fn supervise<E>(
    receiver: &Receiver<Message<E>>,
    running: &mut [Option<Arc<dyn VcpuKicker>>],
    config: &RunConfig,
    stopping: &AtomicBool,
) -> Result<Outcome, RunError<E>> {
    // A deadline that `Instant` cannot represent is no deadline.
    let deadline = config
        .deadline
        .and_then(|limit| Instant::now().checked_add(limit));
    let mut decision = None;
    let mut ended = None;
    while running.iter().any(Option::is_some) {
        let timeout = if decision.is_some() {
            // Every vCPU was kicked; their threads end.
            None
        } else {
            deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
        };
        let message = match timeout {
            Some(timeout) => receiver.recv_timeout(timeout),
            None => receiver.recv().map_err(RecvTimeoutError::from),
        };
        let decided = match message {
            Ok(Message::Decided(result)) => Some(result),
            Ok(Message::Stop) => Some(Ok(Outcome::Stopped)),
            Ok(Message::Out(slot)) => {
                if let Some(entry) = running.get_mut(slot) {
                    *entry = None;
                }
                None
            }
            // `run` holds a sender, so the channel is never disconnected and this is the timeout.
            Err(_) => Some(Ok(Outcome::Deadline)),
        };
        if let (Some(decided), None) = (decided, &decision) {
            decision = Some(decided);
            ended = Some(Instant::now());
            stopping.store(true, Ordering::Release);
            for kicker in running.iter().flatten() {
                kicker.kick();
            }
        }
    }
    // Reported after every vCPU has left the guest: an observer that panics then leaves none of them running.
    config
        .observer
        .milestone(Milestone::Ended, ended.unwrap_or_else(Instant::now));
    decision.unwrap_or_else(|| {
        // Every thread ended without a decision, so every vCPU halted. A decision of a thread was received before its
        // `Out`; only a failure to start the first thread can still be in the channel.
        let last = receiver.try_iter().find_map(|message| match message {
            Message::Decided(result) => Some(result),
            Message::Stop => Some(Ok(Outcome::Stopped)),
            Message::Out(_) => None,
        });
        last.unwrap_or(Ok(Outcome::Halted))
    })
}

/// Runs one vCPU until it decides the outcome; `None` if it was stopped or halted.
fn run_vcpu<V: Vcpu>(
    vcpu: &mut V,
    bus: &Bus,
    config: &RunConfig,
    stopping: &AtomicBool,
) -> Option<Result<Outcome, RunError<V::Error>>> {
    let index = vcpu.index();
    while !stopping.load(Ordering::Acquire) {
        let exit = match vcpu.run() {
            Ok(exit) => exit,
            Err(source) => {
                return Some(Err(RunError::Operation {
                    operation: Operation::Run,
                    target: index,
                    source,
                }));
            }
        };
        config.observer.exit(index, ExitReason::of(&exit));
        let dispatcher = AccessDispatcher {
            bus,
            config,
            vcpu: index,
        };
        let step = match exit {
            VcpuExit::IoRead { port, size, data } => dispatcher.pio_read(port, size, data),
            VcpuExit::IoWrite { port, size, data } => dispatcher.pio_write(port, size, data),
            VcpuExit::MmioRead { address, data } => dispatcher.read(AddressSpace::Mmio, address, data),
            VcpuExit::MmioWrite { address, data } => dispatcher.write(AddressSpace::Mmio, address, data),
            VcpuExit::Halt => return None,
            VcpuExit::Doorbell(value) => ControlFlow::Break(End::Fault(Fault::UnexpectedDoorbell { value })),
            VcpuExit::Debug(stop) => ControlFlow::Break(End::Fault(Fault::UnexpectedDebug(stop))),
            VcpuExit::Call(_) | VcpuExit::Interrupted => ControlFlow::Continue(()),
            VcpuExit::System(SystemEvent::PowerOff) => ControlFlow::Break(End::Outcome(Outcome::PowerOff)),
            VcpuExit::System(SystemEvent::Reset) => ControlFlow::Break(End::Outcome(Outcome::Reset)),
            VcpuExit::System(event) => ControlFlow::Break(End::Fault(Fault::System(event))),
            VcpuExit::Fault(Fault::Shutdown) if config.shutdown == ShutdownPolicy::Reset => {
                ControlFlow::Break(End::Outcome(Outcome::Reset))
            }
            VcpuExit::Fault(fault) => ControlFlow::Break(End::Fault(fault)),
        };
        let ControlFlow::Break(end) = step else { continue };
        return Some(match end {
            End::Outcome(outcome) => Ok(outcome),
            End::Device(access, source) => Err(RunError::Device {
                vcpu: index,
                access,
                source,
            }),
            End::Fault(fault) => match vcpu.state() {
                Ok(state) => Ok(Outcome::Crash(Box::new(CrashReport::new(index, fault, state)))),
                Err(source) => Err(RunError::CrashState {
                    vcpu: index,
                    fault: Box::new(fault),
                    source,
                }),
            },
        });
    }
    None
}

/// Reason why a vCPU ends the run.
enum End {
    Outcome(Outcome),
    Fault(Fault),
    Device(Access, crate::DeviceError),
}

/// Dispatches the accesses of one vCPU to the bus, and handles those without a device.
struct AccessDispatcher<'a> {
    bus: &'a Bus,
    config: &'a RunConfig,
    vcpu: u32,
}

impl AccessDispatcher<'_> {
    fn pio_read(&self, port: u16, size: u8, data: &mut [u8]) -> ControlFlow<End> {
        for element in data.chunks_mut(usize::from(size.max(1))) {
            self.read(AddressSpace::Pio, port.into(), element)?;
        }
        ControlFlow::Continue(())
    }

    fn pio_write(&self, port: u16, size: u8, data: &[u8]) -> ControlFlow<End> {
        for element in data.chunks(usize::from(size.max(1))) {
            self.write(AddressSpace::Pio, port.into(), element)?;
        }
        ControlFlow::Continue(())
    }

    fn read(&self, space: AddressSpace, address: u64, data: &mut [u8]) -> ControlFlow<End> {
        let access = Access::new(space, AccessKind::Read, address, data.len());
        match self.bus.read(space, address, data) {
            Ok(true) => ControlFlow::Continue(()),
            Ok(false) => self.unhandled(access),
            Err(error) => ControlFlow::Break(End::Device(access, error)),
        }
    }

    fn write(&self, space: AddressSpace, address: u64, data: &[u8]) -> ControlFlow<End> {
        let access = Access::new(space, AccessKind::Write, address, data.len());
        match self.bus.write(space, address, data) {
            Ok(Some(DeviceAction::Continue)) => ControlFlow::Continue(()),
            Ok(Some(DeviceAction::End(outcome))) => ControlFlow::Break(End::Outcome(outcome)),
            Ok(None) => self.unhandled(access),
            Err(error) => ControlFlow::Break(End::Device(access, error)),
        }
    }

    fn unhandled(&self, access: Access) -> ControlFlow<End> {
        self.config.observer.unhandled_access(self.vcpu, access);
        match self.config.unhandled_access {
            UnhandledAccessPolicy::Ignore => ControlFlow::Continue(()),
            UnhandledAccessPolicy::Crash => ControlFlow::Break(End::Fault(Fault::UnhandledAccess(access))),
        }
    }
}
