//! Sandboxes.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sandbox_abi::Shape;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::backend::{Backend, Kvm};
use crate::base::PAGE;
use crate::encode;
use crate::engine::Engine;
use crate::error::{CallError, ResolveError};
use crate::function::{Function, FunctionInfo};
use crate::interrupt::InterruptHandle;
use crate::rewind::Rewind;
use crate::status::Status;
use crate::waiting::Registers;

/// How a function is called. The default takes everything from the sandbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallOptions {
    /// Limit of the duration of the call in place of that of the sandbox.
    pub deadline: Option<Duration>,
}

impl CallOptions {
    /// Sets the limit of the duration.
    #[must_use]
    pub const fn with_deadline(mut self, limit: Duration) -> Self {
        self.deadline = Some(limit);
        self
    }
}

/// Memory of the host that a sandbox takes, without mapped files and regions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryUse {
    /// Bytes of the guest's memory that this sandbox does not share with others: pages that the guest wrote, as far as it is known from
    /// the last snapshot or restore. Where the guest [copies](crate::CopyOnWrite::Guest) them, these are its copies and their stack of exception
    /// handlers, but not the page tables that it made for them.
    pub resident: u64,
    /// Bytes that the guest can write: data, stacks and heap.
    pub limit: u64,
}

/// A micro-VM without an operating system, whose functions can be called. Built by a [`SandboxBuilder`](crate::SandboxBuilder).
///
/// Everything that the guest returns is untrusted. Calls run on the caller's thread, one at a time. A call by another thread than the last
/// one takes longer, because hypervisors keep the state of a CPU per thread.
pub struct Sandbox<B: Backend = Kvm> {
    pub(crate) engine: Engine<B>,
    pub(crate) tracker: Box<dyn Rewind<B>>,
    pub(crate) registers: Registers<B>,
    pub(crate) backend: Arc<B>,
}

impl<B: Backend> fmt::Debug for Sandbox<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sandbox")
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

impl<B: Backend> Sandbox<B> {
    /// Calls a function. `parameters` is the tuple of its parameters: `(1, 2)`, `(1,)` or `()`. The name is looked up in each call;
    /// [`function`](Self::function) does it once.
    ///
    /// # Errors
    ///
    /// [`CallError`]; [`CallError::poisons`] tells which errors leave the sandbox [poisoned](Status::Poisoned).
    pub fn call<Args, Ret>(&mut self, name: &str, parameters: Args) -> Result<Ret, CallError>
    where
        Args: Serialize + Shape,
        Ret: DeserializeOwned + Shape,
    {
        let function = self.function::<Args, Ret>(name)?;
        self.invoke(&function, &parameters, CallOptions::default())
    }

    /// Calls a function whose types were checked before.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    #[inline]
    pub fn invoke<Args, Ret>(
        &mut self,
        function: &Function<Args, Ret>,
        parameters: &Args,
        options: CallOptions,
    ) -> Result<Ret, CallError>
    where
        Args: Serialize,
        Ret: DeserializeOwned,
    {
        let number = function.number(self.engine.image.exports.image())?;
        self.call_number(number, parameters, options)
    }

    /// Calls a function without a comparison of the types: types that differ are an error of decoding, of the guest or here.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub fn call_any<Args, Ret>(&mut self, name: &str, parameters: &Args) -> Result<Ret, CallError>
    where
        Args: Serialize,
        Ret: DeserializeOwned,
    {
        let number = self.engine.image.exports.typed(name)?;
        self.call_number(number, parameters, CallOptions::default())
    }

    #[inline]
    fn call_number<Args, Ret>(
        &mut self,
        number: u32,
        parameters: &Args,
        options: CallOptions,
    ) -> Result<Ret, CallError>
    where
        Args: Serialize,
        Ret: DeserializeOwned,
    {
        let mut buffer = self.engine.buffer();
        encode::to(parameters, &mut buffer).map_err(CallError::Encode)?;
        let limit = options.deadline.or(self.engine.default_limit());
        self.engine.call(number, limit, &mut buffer)?;
        let result = encode::from(&buffer).map_err(CallError::Decode);
        self.engine.recycle(buffer);
        result
    }

    /// Calls a function that takes bytes. `result` is replaced by its result.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub fn call_bytes(
        &mut self,
        name: &str,
        parameter: &[u8],
        result: &mut Vec<u8>,
    ) -> Result<(), CallError> {
        let number = self.engine.image.exports.bytes(name)?;
        let limit = self.engine.default_limit();
        self.engine.call_from(number, limit, parameter, result)
    }

    /// The function `name`, whose types are checked here and not in each call.
    ///
    /// # Errors
    ///
    /// [`ResolveError`].
    pub fn function<Args: Shape, Ret: Shape>(&self, name: &str) -> Result<Function<Args, Ret>, ResolveError> {
        self.engine.image.exports.resolve(name)
    }

    /// The functions that the guest offers.
    pub fn functions(&self) -> impl Iterator<Item = &FunctionInfo> {
        self.engine.image.exports.iter()
    }

    /// A handle that ends calls from other threads.
    #[must_use]
    pub fn interrupt_handle(&self) -> InterruptHandle {
        InterruptHandle::new(&self.engine.slot)
    }

    /// What can be done with the sandbox.
    #[must_use]
    pub fn status(&self) -> Status {
        self.engine.status
    }

    /// Number of times that the guest left the CPU since the sandbox was created: once for each message, and once for each interruption.
    #[must_use]
    pub fn exits(&self) -> u64 {
        self.engine.exits
    }

    /// Number of log records that were dropped since the sandbox was built: by the guest, as far as it tells, and above the limit.
    #[must_use]
    pub fn dropped_log_records(&self) -> u64 {
        self.engine.log.dropped()
    }

    /// Memory of the host that the sandbox takes.
    #[must_use]
    pub fn memory(&self) -> MemoryUse {
        let resident = self.tracker.resident().saturating_mul(PAGE);
        MemoryUse {
            resident: boot_core::arith::to_u64(resident),
            limit: self.engine.image.areas.memory.len(),
        }
    }
}
