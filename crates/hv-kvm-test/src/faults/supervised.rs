//! Work whose system calls can fail on request: a thread of this process does it, with a seccomp filter that it and all threads that it starts have, and another
//! thread decides about each call.

mod call;
pub(super) mod filter;

use std::{
    io, mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, Sender, channel, sync_channel},
    },
    thread,
    time::Duration,
};

pub(super) use self::call::{Call, Family};
use self::filter::Listener;

/// Time for one run of the work, on the slowest host.
const DEADLINE: Duration = Duration::from_mins(3);

/// The largest number of calls of one run that are kept.
const MAX_CALLS: usize = 1 << 18;

/// A call that fails.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    pub(super) family: Family,
    /// Number of the call among those of its family, from 0.
    pub(super) at: usize,
    pub(super) errno: i32,
}

/// One run of the work.
pub(super) struct Attempt {
    /// Result of the work; `None` if it panicked.
    pub(super) result: Option<Result<(), String>>,
    /// The calls in their order.
    pub(super) calls: Vec<Call>,
    /// The call that failed on request.
    pub(super) failed: Option<Call>,
}

/// What the supervisor has to do, and what it saw.
#[derive(Default)]
struct Plan {
    fault: Option<Fault>,
    calls: Vec<Call>,
    /// Number of calls of the family of `fault`.
    seen: usize,
    failed: Option<Call>,
}

impl Plan {
    /// Notes a call, and returns the number of the error with which it fails. Takes no memory.
    fn decide(&mut self, call: Call) -> Option<i32> {
        if self.calls.len() < self.calls.capacity() {
            self.calls.push(call);
        }
        let fault = self.fault.filter(|fault| fault.family == call.family())?;
        let is_due = self.seen == fault.at;
        self.seen += 1;
        is_due.then(|| {
            self.failed = Some(call);
            fault.errno
        })
    }
}

fn lock(plan: &Mutex<Plan>) -> MutexGuard<'_, Plan> {
    plan.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Work on a thread with the filter. When this is dropped, the thread ends, and after it the supervisor.
pub(super) struct Supervised {
    plan: Arc<Mutex<Plan>>,
    start: Sender<()>,
    done: Receiver<Option<Result<(), String>>>,
}

impl Supervised {
    /// Work that [`run`](Self::run) does.
    ///
    /// # Errors
    ///
    /// The reason where seccomp has no user notification.
    pub(super) fn new(
        work: impl Fn() -> Result<(), String> + Send + 'static,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        if let Some(reason) = filter::skip_reason() {
            return Err(reason.into());
        }
        let plan = Arc::default();
        let (start, starts) = channel();
        let (finish, done) = channel();
        // Room for one value, so that the thread takes no memory between the filter and the start of the supervisor.
        let (send_listener, listener) = sync_channel(1);
        thread::Builder::new().name("supervised".into()).spawn(move || {
            let listener = Listener::install();
            let is_installed = listener.is_ok();
            if send_listener.send(listener).is_err() || !is_installed {
                return;
            }
            for () in starts {
                let result = catch_unwind(AssertUnwindSafe(&work)).ok();
                if finish.send(result).is_err() {
                    return;
                }
            }
        })?;
        let listener = listener.recv()??;
        let decided = Arc::clone(&plan);
        thread::Builder::new()
            .name("supervisor".into())
            .spawn(move || supervise(&listener, &decided))?;
        Ok(Self { plan, start, done })
    }

    /// Does the work once, while the call of `fault` fails.
    ///
    /// # Errors
    ///
    /// An error if the work does not end in time.
    pub(super) fn run(&self, fault: Option<Fault>) -> Result<Attempt, Box<dyn std::error::Error>> {
        let calls = Vec::with_capacity(MAX_CALLS);
        let plan = Plan {
            fault,
            calls,
            ..Plan::default()
        };
        // The previous one is dropped without the lock.
        let _previous = mem::replace(&mut *lock(&self.plan), plan);
        self.start.send(())?;
        let result = self.done.recv_timeout(DEADLINE)?;
        let Plan { calls, failed, .. } = mem::take(&mut *lock(&self.plan));
        Ok(Attempt {
            result,
            calls,
            failed,
        })
    }
}

/// Decides about all calls, until no thread has the filter.
fn supervise(listener: &Listener, plan: &Mutex<Plan>) -> io::Result<()> {
    while let Some(waiting) = listener.next()? {
        let errno = lock(plan).decide(waiting.call);
        listener.decide(&waiting, errno)?;
    }
    Ok(())
}
