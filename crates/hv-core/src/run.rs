//! The run loop: one thread per vCPU, one supervisor, one outcome.
//!
//! ```text
//!   vCPU 0 ──┐  decisions, "I am out"
//!   vCPU 1 ──┼──────────────▶ supervisor ──▶ Outcome
//!   stop() ──┘                  │  ▲ deadline
//!                               └──┴─▶ interrupts, repeated until every vCPU is out
//! ```
//!
//! The first decision wins. The threads are scoped: when [`run`] returns, none is left.

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
    Access, Bus, CrashReport, Direction, Exit, Fault, Ignore, Interrupter, Milestone, Observer, Operation,
    Outcome, RunError, Space, SystemEvent, Vcpu, Verdict,
};

/// How long the supervisor waits before it interrupts a vCPU that has not answered once more.
const KICK_INTERVAL: Duration = Duration::from_millis(1);

/// What a run does about the things a guest may do.
#[derive(Clone)]
pub struct Policy {
    /// The longest time the run may take; without one it may take forever.
    pub deadline: Option<Duration>,
    /// What a CPU shutdown (on x86: a triple fault) means.
    pub on_shutdown: OnShutdown,
    /// What an access means that neither RAM nor a device has.
    pub on_unclaimed: OnUnclaimed,
    /// Ends the run from outside.
    pub stop: StopHandle,
    /// Told what happens.
    pub observer: Arc<dyn Observer>,
}

impl Default for Policy {
    /// No deadline, a shutdown is a crash, unclaimed accesses read as all ones.
    fn default() -> Self {
        Self {
            deadline: None,
            on_shutdown: OnShutdown::default(),
            on_unclaimed: OnUnclaimed::default(),
            stop: StopHandle::default(),
            observer: Arc::new(Ignore),
        }
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("deadline", &self.deadline)
            .field("on_shutdown", &self.on_shutdown)
            .field("on_unclaimed", &self.on_unclaimed)
            .finish_non_exhaustive()
    }
}

/// What [`Fault::Shutdown`] means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnShutdown {
    /// The guest crashed.
    #[default]
    Crash,
    /// The guest resets the machine, as a PC's chipset does. Linux does this on purpose with `reboot=t`.
    Reset,
}

/// What an access to an address means that neither RAM nor a device has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnUnclaimed {
    /// Reads give all ones, writes are dropped, the observer is told. This is what a PC does.
    #[default]
    Ignore,
    /// The run ends with [`Fault::Unclaimed`].
    Crash,
}

/// Ends runs from another thread.
///
/// A stop is final: a run with a handle that was stopped before ends at once.
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
    /// A handle that has not been stopped.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends every run that uses this handle, now and later, with [`Outcome::Stopped`].
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

    /// Calls `notify` when the handle is stopped, at once if it already is, until the subscription is dropped.
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

/// What the supervisor hears.
enum Message<E> {
    /// A vCPU decided how the run ends.
    Decided(Result<Outcome, RunError<E>>),
    /// The thread of a vCPU ends: it will not enter the guest again.
    Out(usize),
    /// Somebody called [`StopHandle::stop`].
    Stop,
}

/// Runs all `vcpus`, each on a thread of its own, until one of them, the deadline or the stop handle ends the run.
///
/// Every vCPU is out of the guest and every thread has ended when this returns, whatever it returns, so the vCPUs
/// can be looked at, reset and run again.
///
/// # Errors
///
/// [`RunError`] when the host fails: an operation of the back end, a device, or a thread that cannot be started.
///
/// # Panics
///
/// A panic in a device or in the back end ends the run and is passed on.
pub fn run<V: Vcpu>(vcpus: &mut [V], bus: &Bus, policy: &Policy) -> Result<Outcome, RunError<V::Error>> {
    if vcpus.is_empty() {
        return Err(RunError::NoVcpus);
    }
    let (sender, receiver) = mpsc::channel();
    let stopping = AtomicBool::new(false);
    let notify = sender.clone();
    let subscription = policy.stop.subscribe(move || {
        // Nobody listens any more when the run has just ended by itself.
        let _ = notify.send(Message::Stop);
    });
    policy.observer.milestone(Milestone::Started, Instant::now());
    let result = thread::scope(|scope| {
        let mut running: Vec<Option<Arc<dyn Interrupter>>> = Vec::new();
        for (slot, vcpu) in vcpus.iter_mut().enumerate() {
            let index = vcpu.index();
            let interrupter = vcpu.interrupter();
            let guard = OutGuard {
                sender: sender.clone(),
                slot,
            };
            let stopping = &stopping;
            let spawned =
                thread::Builder::new()
                    .name(format!("vcpu-{index}"))
                    .spawn_scoped(scope, move || {
                        if let Some(decision) = drive(vcpu, bus, policy, stopping) {
                            // The supervisor listens until every guard is dropped.
                            let _ = guard.sender.send(Message::Decided(decision));
                        }
                    });
            match spawned {
                Ok(_) => running.push(Some(interrupter)),
                Err(source) => {
                    let _ = sender.send(Message::Decided(Err(RunError::Thread { vcpu: index, source })));
                    break;
                }
            }
        }
        supervise(&receiver, &mut running, policy, &stopping)
    });
    drop(subscription);
    result
}

/// Tells the supervisor that a vCPU's thread ends, even when it ends by a panic.
struct OutGuard<E> {
    sender: Sender<Message<E>>,
    slot: usize,
}

impl<E> Drop for OutGuard<E> {
    fn drop(&mut self) {
        if thread::panicking() {
            // The others are stopped; `thread::scope` then passes the panic on in place of this outcome.
            let _ = self.sender.send(Message::Stop);
        }
        let _ = self.sender.send(Message::Out(self.slot));
    }
}

/// Waits for the first decision, then gets every vCPU out.
fn supervise<E>(
    receiver: &Receiver<Message<E>>,
    running: &mut [Option<Arc<dyn Interrupter>>],
    policy: &Policy,
    stopping: &AtomicBool,
) -> Result<Outcome, RunError<E>> {
    // A deadline too far away to be expressed is none.
    let deadline = policy
        .deadline
        .and_then(|limit| Instant::now().checked_add(limit));
    let mut decision = None;
    let mut ended = None;
    while running.iter().any(Option::is_some) {
        let timeout = if decision.is_some() {
            Some(KICK_INTERVAL)
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
            // `run` holds a sender, so the channel cannot be disconnected: this is the timeout. After the
            // decision it means that it is time to kick again, which happens below.
            Err(_) => Some(Ok(Outcome::Deadline)),
        };
        if let (Some(decided), None) = (decided, &decision) {
            decision = Some(decided);
            ended = Some(Instant::now());
            stopping.store(true, Ordering::Release);
        }
        if decision.is_some() {
            for interrupter in running.iter().flatten() {
                interrupter.interrupt();
            }
        }
    }
    // Told when every vCPU is out, so that an observer that panics leaves none of them running.
    policy
        .observer
        .milestone(Milestone::Ended, ended.unwrap_or_else(Instant::now));
    decision.unwrap_or_else(|| {
        // Every thread ended without a decision, so every vCPU halted. A decision that a thread sent on its way
        // out was received before its `Out`; only a failure to start the very first thread can still wait here.
        let last = receiver.try_iter().find_map(|message| match message {
            Message::Decided(result) => Some(result),
            Message::Stop => Some(Ok(Outcome::Stopped)),
            Message::Out(_) => None,
        });
        last.unwrap_or(Ok(Outcome::Halted))
    })
}

/// Runs one vCPU until it decides how the run ends, or until it is told to stop or halts for good: `None`.
fn drive<V: Vcpu>(
    vcpu: &mut V,
    bus: &Bus,
    policy: &Policy,
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
        let step = match exit {
            Exit::IoRead { port, size, data } => Accessor {
                bus,
                policy,
                vcpu: index,
            }
            .pio_read(port, size, data),
            Exit::IoWrite { port, size, data } => Accessor {
                bus,
                policy,
                vcpu: index,
            }
            .pio_write(port, size, data),
            Exit::MmioRead { address, data } => Accessor {
                bus,
                policy,
                vcpu: index,
            }
            .read(Space::Mmio, address, data),
            Exit::MmioWrite { address, data } => Accessor {
                bus,
                policy,
                vcpu: index,
            }
            .write(Space::Mmio, address, data),
            Exit::Halt => return None,
            Exit::Interrupted => ControlFlow::Continue(()),
            Exit::System(SystemEvent::PowerOff) => ControlFlow::Break(End::Outcome(Outcome::PowerOff)),
            Exit::System(SystemEvent::Reset) => ControlFlow::Break(End::Outcome(Outcome::Reset)),
            Exit::System(event) => ControlFlow::Break(End::Fault(Fault::System(event))),
            Exit::Fault(Fault::Shutdown) if policy.on_shutdown == OnShutdown::Reset => {
                ControlFlow::Break(End::Outcome(Outcome::Reset))
            }
            Exit::Fault(fault) => ControlFlow::Break(End::Fault(fault)),
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
                Ok(state) => Ok(Outcome::Crash(Box::new(CrashReport {
                    vcpu: index,
                    fault,
                    state,
                }))),
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

/// Why a vCPU's access ends the run.
enum End {
    Outcome(Outcome),
    Fault(Fault),
    Device(Access, crate::DeviceError),
}

/// Takes the accesses of one vCPU to the bus and applies the policy.
struct Accessor<'a> {
    bus: &'a Bus,
    policy: &'a Policy,
    vcpu: u32,
}

impl Accessor<'_> {
    fn pio_read(&self, port: u16, size: u8, data: &mut [u8]) -> ControlFlow<End> {
        for element in data.chunks_mut(usize::from(size.max(1))) {
            self.read(Space::Pio, port.into(), element)?;
        }
        ControlFlow::Continue(())
    }

    fn pio_write(&self, port: u16, size: u8, data: &[u8]) -> ControlFlow<End> {
        for element in data.chunks(usize::from(size.max(1))) {
            self.write(Space::Pio, port.into(), element)?;
        }
        ControlFlow::Continue(())
    }

    fn read(&self, space: Space, address: u64, data: &mut [u8]) -> ControlFlow<End> {
        let access = Access {
            space,
            direction: Direction::Read,
            address,
            len: data.len(),
        };
        match self.bus.read(space, address, data) {
            Ok(true) => ControlFlow::Continue(()),
            Ok(false) => self.unclaimed(access),
            Err(error) => ControlFlow::Break(End::Device(access, error)),
        }
    }

    fn write(&self, space: Space, address: u64, data: &[u8]) -> ControlFlow<End> {
        let access = Access {
            space,
            direction: Direction::Write,
            address,
            len: data.len(),
        };
        match self.bus.write(space, address, data) {
            Ok(Some(Verdict::Continue)) => ControlFlow::Continue(()),
            Ok(Some(Verdict::End(outcome))) => ControlFlow::Break(End::Outcome(outcome)),
            Ok(None) => self.unclaimed(access),
            Err(error) => ControlFlow::Break(End::Device(access, error)),
        }
    }

    fn unclaimed(&self, access: Access) -> ControlFlow<End> {
        self.policy.observer.unclaimed(self.vcpu, access);
        match self.policy.on_unclaimed {
            OnUnclaimed::Ignore => ControlFlow::Continue(()),
            OnUnclaimed::Crash => ControlFlow::Break(End::Fault(Fault::Unclaimed(access))),
        }
    }
}
