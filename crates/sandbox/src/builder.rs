//! Building sandboxes.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use guest_ram::MappingError;
use hv_core::{BareVcpu, BareVm, Operation, Vcpu, Vm};
use proto_sandbox::Sizes;
use sandbox_abi::Shape;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::backend::{Backend, Kvm};
use crate::base::PAGE;
use crate::contents::Contents;
use crate::copies::Copies;
use crate::copy_on_write::{CopyOnWrite, Tracking};
use crate::crash::Symbolizer;
use crate::deadline;
use crate::engine::{Engine, Parts};
use crate::error::{BackendError, CallError, HostError};
use crate::function::FunctionInfo;
use crate::host_function::{HostCall, HostFunction, Registered};
use crate::image::Image;
use crate::limits::Limits;
use crate::log::{Log, LogRecord, Sink, trace};
use crate::memory::Memory;
use crate::memory_error::MemoryFileError;
use crate::program::{GuestProgram, ProgramError};
use crate::requirements;
use crate::rewind::Rewind;
use crate::sandbox::Sandbox;
use crate::snapshot::Snapshot;
use crate::tracker::Tracker;
use crate::waiting::Registers;

/// Builds a [`Sandbox`].
pub struct SandboxBuilder<B: Backend = Kvm> {
    backend: Arc<B>,
    origin: Origin<B>,
    sizes: Sizes,
    copy_on_write: CopyOnWrite,
    scratch: Option<u64>,
    limits: Limits,
    sink: Sink,
    functions: Vec<Registered>,
    symbolizer: Option<Arc<dyn Symbolizer>>,
}

impl<B: Backend> fmt::Debug for SandboxBuilder<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SandboxBuilder")
            .field("sizes", &self.sizes)
            .field("limits", &self.limits)
            .field("functions", &self.functions)
            .finish_non_exhaustive()
    }
}

/// Where a sandbox starts.
enum Origin<B: Backend> {
    Program(GuestProgram),
    Snapshot(Snapshot<B>),
}

/// Why a sandbox could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The program cannot be loaded.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The guest needs a host function that is not registered.
    #[error("the guest needs the host function {name:?}, which is not registered")]
    MissingImport {
        /// Name of the function.
        name: String,
    },
    /// A host function has other types than the guest expects.
    #[error(
        "the guest expects signature {expected:#018x} of the host function {name:?}, registered is {found:#018x}; \
         0 stands for bytes"
    )]
    ImportSignature {
        /// Name of the function.
        name: String,
        /// Signature in the guest's table.
        expected: u64,
        /// Signature of the registered function.
        found: u64,
    },
    /// Two host functions have one name.
    #[error("two host functions have the name {name:?}")]
    DuplicateFunction {
        /// The name.
        name: String,
    },
    /// The hypervisor lacks something that sandboxes need.
    #[error("the hypervisor has no {what}")]
    Unsupported {
        /// What it lacks.
        what: &'static str,
    },
    /// The memory of the guest cannot be made.
    #[error(transparent)]
    Memory(#[from] MemoryFileError),
    /// The thread of deadlines cannot be started.
    #[error("the thread of deadlines cannot be started")]
    Thread(#[source] io::Error),
    /// The hypervisor failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The guest failed before it was ready for calls.
    #[error("the guest failed before it was ready for calls")]
    Start(#[source] CallError),
}

impl SandboxBuilder {
    /// A sandbox on KVM for the ELF file at `path`.
    #[must_use]
    pub fn from_file(path: impl AsRef<Path>) -> Self {
        Self::on(Kvm, GuestProgram::file(path))
    }

    /// A sandbox on KVM for an ELF file in memory.
    #[must_use]
    pub fn from_bytes(elf: impl Into<Arc<[u8]>>) -> Self {
        Self::on(Kvm, GuestProgram::bytes(elf))
    }
}

impl<B: Backend> SandboxBuilder<B> {
    /// A sandbox on `backend` for `program`.
    #[must_use]
    pub fn on(backend: B, program: impl Into<GuestProgram>) -> Self {
        Self {
            backend: Arc::new(backend),
            origin: Origin::Program(program.into()),
            sizes: Sizes::default(),
            copy_on_write: CopyOnWrite::Auto,
            scratch: None,
            limits: Limits::default(),
            sink: Box::new(trace),
            functions: Vec::new(),
            symbolizer: None,
        }
    }

    /// A sandbox that starts from `snapshot`, with its limits and its sizes, which cannot be changed. Host functions are registered again.
    #[must_use]
    pub fn from_snapshot(snapshot: &Snapshot<B>) -> Self {
        let state = &*snapshot.0;
        Self {
            backend: Arc::clone(&state.backend),
            origin: Origin::Snapshot(snapshot.clone()),
            sizes: Sizes::default(),
            copy_on_write: CopyOnWrite::Auto,
            scratch: None,
            limits: state.limits,
            sink: Box::new(trace),
            functions: Vec::new(),
            symbolizer: None,
        }
    }

    /// Sets the length of the heap in bytes. It takes memory of the host only where the guest wrote it. The default is 4 MiB, the largest
    /// 32 GiB.
    #[must_use]
    pub fn heap(mut self, bytes: u64) -> Self {
        self.sizes.heap = bytes;
        self
    }

    /// Sets the length of the stack in bytes. The default is 256 KiB.
    #[must_use]
    pub fn stack(mut self, bytes: u64) -> Self {
        self.sizes.stack = bytes;
        self
    }

    /// Sets the length of the window in bytes: that of messages in each direction, 4 KiB to 1 MiB. Longer payloads go in parts. The default
    /// is 64 KiB.
    #[must_use]
    pub fn window(mut self, bytes: u32) -> Self {
        self.sizes.window = bytes;
        self
    }

    /// Sets who keeps the pages that the guest writes apart from those that sandboxes share. The default is [`CopyOnWrite::Auto`]. A sandbox
    /// that starts from a snapshot does it as that of the snapshot.
    #[must_use]
    pub fn copy_on_write(mut self, copy_on_write: CopyOnWrite) -> Self {
        self.copy_on_write = copy_on_write;
        self
    }

    /// Sets the bytes for copies of pages, and for the page tables that this takes, one page for each 2 MiB with a copy, of a guest that
    /// [copies](CopyOnWrite::Guest) the pages that it writes. They take memory of the host only where the guest wrote them. A guest that
    /// needs more between two restores crashes with [`CrashKind::OutOfCopies`](crate::CrashKind::OutOfCopies). The default is enough
    /// for all of its memory, but for at most 64 MiB of it.
    #[must_use]
    pub fn scratch(mut self, bytes: u64) -> Self {
        self.scratch = Some(bytes);
        self
    }

    /// Sets the largest length of parameters and of results in bytes. The default is 64 MiB.
    #[must_use]
    pub fn max_payload(mut self, bytes: u64) -> Self {
        self.limits.max_payload = bytes;
        self
    }

    /// Sets the limit of the duration of a call, and of the guest's start. The default is 10 seconds.
    #[must_use]
    pub fn deadline(mut self, limit: Duration) -> Self {
        self.limits.deadline = Some(limit);
        self
    }

    /// Calls have no deadline, except with [`CallOptions::deadline`](crate::CallOptions::deadline).
    #[must_use]
    pub fn no_deadline(mut self) -> Self {
        self.limits.deadline = None;
        self
    }

    /// Sets the limit of the number of messages of the guest in one call: results, calls of host functions, log records and parts. The
    /// default is 2^20.
    #[must_use]
    pub fn max_messages(mut self, messages: u32) -> Self {
        self.limits.max_messages = messages;
        self
    }

    /// Sets the receiver of log records, and the largest number of records in one call; others are dropped. The default is `tracing`, and
    /// 1000 records.
    #[must_use]
    pub fn log_to(mut self, sink: impl FnMut(LogRecord<'_>) + Send + 'static, max_per_call: u32) -> Self {
        self.sink = Box::new(sink);
        self.limits.log_records = max_per_call;
        self
    }

    /// Sets the memory in bytes above which a restore drops pages instead of copying them. Dropped pages take no memory, but more time when
    /// the guest writes them again. The default is 64 MiB.
    #[must_use]
    pub fn resident_budget(mut self, bytes: u64) -> Self {
        self.limits.resident = bytes;
        self
    }

    /// Sets what finds the names of functions in backtraces.
    #[must_use]
    pub fn symbolizer(mut self, symbolizer: Arc<dyn Symbolizer>) -> Self {
        self.symbolizer = Some(symbolizer);
        self
    }

    /// A function that the guest may call: a closure of up to twelve parameters.
    #[must_use]
    pub fn register<Args, Ret, F>(self, name: &str, mut function: F) -> Self
    where
        Args: DeserializeOwned + Shape,
        Ret: Serialize + Shape,
        F: HostFunction<Args, Ret>,
    {
        self.register_with(name, move |_, parameters| Ok(function.call(parameters)))
    }

    /// A function that the guest may call, which can fail and can call the guest: a closure of a [`HostCall`] and the tuple of its
    /// parameters.
    #[must_use]
    pub fn register_with<Args, Ret>(
        mut self,
        name: &str,
        function: impl FnMut(&mut HostCall<'_>, Args) -> Result<Ret, HostError> + Send + 'static,
    ) -> Self
    where
        Args: DeserializeOwned + Shape,
        Ret: Serialize + Shape,
    {
        self.functions.push(Registered::typed(name, function));
        self
    }

    /// A function that the guest may call with bytes. It appends its result to the vector.
    #[must_use]
    pub fn register_bytes(
        mut self,
        name: &str,
        function: impl FnMut(&mut HostCall<'_>, &[u8], &mut Vec<u8>) -> Result<(), HostError> + Send + 'static,
    ) -> Self {
        self.functions.push(Registered::bytes(name, function));
        self
    }

    /// Loads the program and runs it until it is ready for the first call, or makes a copy of the snapshot.
    ///
    /// # Errors
    ///
    /// [`BuildError`].
    pub fn build(self) -> Result<Sandbox<B>, BuildError> {
        let vm = self
            .backend
            .create()
            .map_err(BackendError::at(Operation::CreateVm))?;
        let abilities = vm.abilities();
        if let Some(what) = requirements::missing(&abilities) {
            return Err(BuildError::Unsupported { what });
        }
        let (image, contents, snapshot) = match self.origin {
            Origin::Program(program) => {
                let tracking = self.copy_on_write.tracking(&abilities, self.scratch);
                let tracking = tracking.map_err(|what| BuildError::Unsupported { what })?;
                let (image, base) =
                    program.load(&self.sizes, tracking, &abilities, self.limits.max_payload)?;
                (Arc::new(image), Arc::new(Contents::of(Arc::new(base))), None)
            }
            Origin::Snapshot(snapshot) => {
                let state = &*snapshot.0;
                (Arc::clone(&state.image), state.flat()?, Some(snapshot))
            }
        };
        let handlers = imports(&image.imports, self.functions)?;
        let (registers, host) = match &snapshot {
            None => (Registers::default(), &image.host),
            Some(Snapshot(state)) => (Registers::of(&state.waiting), state.waiting.host(&image)?),
        };
        let (memory, window) = Memory::new(&image, contents.base(), host).map_err(MemoryFileError::from)?;
        let max_resident = usize::try_from(self.limits.resident).unwrap_or(usize::MAX) / PAGE;
        let tracker = way_back(&image, contents, &memory, max_resident).map_err(MemoryFileError::from)?;
        memory.map(&vm, &image)?;
        let vcpu = vm
            .create_vcpu(0)
            .map_err(BackendError::at(Operation::CreateVcpu))?;
        let mut engine = Engine::<B>::new(Parts {
            vcpu,
            vm,
            window,
            memory,
            image,
            log: Log::new(self.sink, self.limits.log_records),
            handlers,
            limits: self.limits,
            symbolizer: self.symbolizer,
        });
        deadline::watch(&engine.slot).map_err(BuildError::Thread)?;
        match snapshot {
            None => {
                engine
                    .vcpu
                    .set_state(&engine.image.entry)
                    .map_err(BackendError::at(Operation::SetState))?;
                engine.start().map_err(BuildError::Start)?;
            }
            Some(snapshot) => {
                let state = &*snapshot.0;
                engine.sequence = state.sequence;
                engine
                    .vcpu
                    .rewind(&state.waiting.saved, true)
                    .map_err(BackendError::at(Operation::Rewind))?;
            }
        }
        Ok(Sandbox {
            engine,
            tracker,
            registers,
            backend: self.backend,
        })
    }
}

impl<B: Backend> Sandbox<B> {
    /// A new sandbox that starts from `snapshot`, for guests that need no host functions; otherwise
    /// [`SandboxBuilder::from_snapshot`].
    ///
    /// # Errors
    ///
    /// As [`SandboxBuilder::build`].
    pub fn clone_from(snapshot: &Snapshot<B>) -> Result<Self, BuildError> {
        SandboxBuilder::from_snapshot(snapshot).build()
    }
}

/// How the memory of a new sandbox of `image` returns to snapshots; it is a mapping of the base of `at`.
fn way_back<B: Backend>(
    image: &Image,
    at: Arc<Contents>,
    memory: &Memory,
    max_resident: usize,
) -> Result<Box<dyn Rewind<B>>, MappingError> {
    Ok(match image.origin.tracking {
        Tracking::DirtyLog => Box::new(Tracker::new(at, &memory.data, max_resident)?),
        Tracking::Copies { .. } => Box::new(Copies::new(at, &memory.data, max_resident)?),
    })
}

/// The registered functions that the guest imports, in the order of its table.
fn imports(imports: &[FunctionInfo], mut registered: Vec<Registered>) -> Result<Vec<Registered>, BuildError> {
    for (at, function) in registered.iter().enumerate() {
        if registered
            .iter()
            .skip(at.saturating_add(1))
            .any(|other| other.name == function.name)
        {
            let name = function.name.clone();
            return Err(BuildError::DuplicateFunction { name });
        }
    }
    let mut found = Vec::with_capacity(imports.len());
    for import in imports {
        let name = || import.name.clone();
        let at = registered
            .iter()
            .position(|function| function.name == import.name);
        let function = registered.swap_remove(at.ok_or_else(|| BuildError::MissingImport { name: name() })?);
        if (function.signature, function.flags) != (import.signature, import.flags) {
            return Err(BuildError::ImportSignature {
                name: name(),
                expected: import.signature,
                found: function.signature,
            });
        }
        found.push(function);
    }
    Ok(found)
}
