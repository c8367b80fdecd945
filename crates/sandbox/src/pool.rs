//! Sandboxes that wait for use.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use crate::backend::{Backend, Kvm};
use crate::builder::{BuildError, SandboxBuilder};
use crate::sandbox::Sandbox;
use crate::snapshot::Snapshot;

/// Makes the builder of one sandbox, with its host functions.
type Configure<B> = dyn Fn(SandboxBuilder<B>) -> SandboxBuilder<B> + Send + Sync;

/// Sandboxes at one snapshot that wait for use: to take one costs no more than a look into a list, and it returns to the snapshot when it is
/// dropped. Clones are the same pool.
///
/// ```no_run
/// use sandbox::{Pool, SandboxBuilder};
///
/// let snapshot = SandboxBuilder::from_file("guest").build()?.snapshot()?;
/// let pool = Pool::new(&snapshot, |builder| builder, 16);
/// let mut sandbox = pool.take()?;
/// let sum: u32 = sandbox.call("add", (1u32, 2u32))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Pool<B: Backend = Kvm>(Arc<Shared<B>>);

struct Shared<B: Backend> {
    snapshot: Snapshot<B>,
    configure: Box<Configure<B>>,
    idle: Mutex<Vec<Idle<B>>>,
    max_idle: usize,
}

/// A sandbox that waits, and the thread on which it ran last.
struct Idle<B: Backend> {
    sandbox: Sandbox<B>,
    thread: ThreadId,
}

impl<B: Backend> Clone for Pool<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B: Backend> fmt::Debug for Pool<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("idle", &self.idle())
            .field("max_idle", &self.0.max_idle)
            .finish_non_exhaustive()
    }
}

impl<B: Backend> Shared<B> {
    fn lock(&self) -> MutexGuard<'_, Vec<Idle<B>>> {
        // Nothing panics while it holds the lock.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn create(&self) -> Result<Sandbox<B>, BuildError> {
        (self.configure)(SandboxBuilder::from_snapshot(&self.snapshot)).build()
    }
}

impl<B: Backend> Pool<B> {
    /// A pool of sandboxes that start from `snapshot`. `configure` registers the host functions of each; at most `max_idle` sandboxes wait.
    #[must_use]
    pub fn new(
        snapshot: &Snapshot<B>,
        configure: impl Fn(SandboxBuilder<B>) -> SandboxBuilder<B> + Send + Sync + 'static,
        max_idle: usize,
    ) -> Self {
        Self(Arc::new(Shared {
            snapshot: snapshot.clone(),
            configure: Box::new(configure),
            idle: Mutex::default(),
            max_idle,
        }))
    }

    /// Makes sandboxes until `count` of them wait, or as many as may.
    ///
    /// # Errors
    ///
    /// As [`SandboxBuilder::build`].
    pub fn fill(&self, count: usize) -> Result<(), BuildError> {
        while self.idle() < count.min(self.0.max_idle) {
            let sandbox = self.0.create()?;
            let thread = thread::current().id();
            self.0.lock().push(Idle { sandbox, thread });
        }
        Ok(())
    }

    /// Number of sandboxes that wait.
    #[must_use]
    pub fn idle(&self) -> usize {
        self.0.lock().len()
    }

    /// Takes a sandbox: one that ran on this thread, otherwise another one that waits, otherwise a new one.
    ///
    /// # Errors
    ///
    /// As [`SandboxBuilder::build`].
    pub fn take(&self) -> Result<Pooled<B>, BuildError> {
        let thread = thread::current().id();
        let waiting = {
            let mut idle = self.0.lock();
            let own = idle.iter().rposition(|idle| idle.thread == thread);
            let at = own.or(idle.len().checked_sub(1));
            at.map(|at| idle.swap_remove(at).sandbox)
        };
        let sandbox = match waiting {
            Some(sandbox) => sandbox,
            None => self.0.create()?,
        };
        Ok(Pooled {
            sandbox: Some(sandbox),
            pool: Arc::clone(&self.0),
        })
    }
}

/// A sandbox of a [`Pool`], to which it returns when it is dropped.
pub struct Pooled<B: Backend = Kvm> {
    /// None while it is dropped.
    sandbox: Option<Sandbox<B>>,
    pool: Arc<Shared<B>>,
}

impl<B: Backend> fmt::Debug for Pooled<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pooled").field(&self.sandbox).finish()
    }
}

impl<B: Backend> Deref for Pooled<B> {
    type Target = Sandbox<B>;

    fn deref(&self) -> &Sandbox<B> {
        match &self.sandbox {
            Some(sandbox) => sandbox,
            None => unreachable!("only the drop takes the sandbox"),
        }
    }
}

impl<B: Backend> DerefMut for Pooled<B> {
    fn deref_mut(&mut self) -> &mut Sandbox<B> {
        match &mut self.sandbox {
            Some(sandbox) => sandbox,
            None => unreachable!("only the drop takes the sandbox"),
        }
    }
}

impl<B: Backend> Drop for Pooled<B> {
    fn drop(&mut self) {
        let Some(mut sandbox) = self.sandbox.take() else {
            return;
        };
        #[cfg(feature = "debug")]
        if sandbox.is_debugged() {
            // Its code may be another, and the debugger is one of this user.
            return;
        }
        // What this user mapped is nothing for the next one.
        if sandbox.unmap_all().is_err() || sandbox.restore(&self.pool.snapshot).is_err() {
            // A later `take` makes a new one.
            return;
        }
        let thread = thread::current().id();
        let mut idle = self.pool.lock();
        if idle.len() < self.pool.max_idle {
            idle.push(Idle { sandbox, thread });
        } else {
            // To drop a machine takes long.
            drop(idle);
            drop(sandbox);
        }
    }
}
