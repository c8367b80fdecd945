//! A guest for the fake hypervisor: functions in Rust over the messages of `sandbox_abi`.

use std::cell::Cell;
use std::sync::Arc;

use hv_core::fake::{FakeCpu, FakeExit, FakeGuest};
use sandbox::{Fake, FakeProgram};
use sandbox_abi::{BootInfo, FunctionFlags, GuestStatus, Header, MessageKind, Shape, layout, signature};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zerocopy::{FromBytes, FromZeros, IntoBytes};

/// What a function of the guest does next.
pub(crate) enum Action {
    /// Returns these bytes.
    Return(GuestStatus, Vec<u8>),
    /// Calls a host function, and continues with its status and result.
    HostCall(u32, Vec<u8>, Continuation),
    /// Sends log records, and continues.
    Log(Vec<u8>, Step),
    /// Sends a crash record.
    Crash(Vec<u8>),
    /// Leaves the CPU.
    Exit(FakeExit),
    /// Sends a message that may be wrong. The answer is dispatched as usual.
    Raw(Box<dyn FnOnce(Header) -> Header + Send>, Vec<u8>),
    /// Leaves the CPU, and continues if it is entered again.
    Pause(FakeExit, Step),
}

/// What the guest does when it is entered again.
pub(crate) type Step = Box<dyn FnOnce(&mut FakeCpu<'_>) -> Action + Send>;
pub(crate) type Continuation = Box<dyn FnOnce(&mut FakeCpu<'_>, GuestStatus, Vec<u8>) -> Action + Send>;
type Function = Arc<dyn Fn(&mut FakeCpu<'_>, Vec<u8>) -> Action + Send + Sync>;

/// A result in postcard's format.
pub(crate) fn returns(value: impl Serialize) -> Action {
    Action::Return(GuestStatus::OK, postcard::to_allocvec(&value).unwrap())
}

/// An error of a function.
pub(crate) fn fails(status: GuestStatus, code: u32, text: &str) -> Action {
    Action::Return(status, postcard::to_allocvec(&(code, text)).unwrap())
}

/// The functions of a guest, and those that it needs.
#[derive(Clone, Default)]
pub(crate) struct Functions {
    functions: Vec<Function>,
    program: FakeProgram,
}

impl Functions {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A function with typed parameters.
    pub(crate) fn typed<Args, Ret>(
        mut self,
        name: &str,
        function: impl Fn(&mut FakeCpu<'_>, Args) -> Action + Send + Sync + 'static,
    ) -> Self
    where
        Args: DeserializeOwned + Shape,
        Ret: Shape,
    {
        self.program = self
            .program
            .export(name, signature::<Args, Ret>(), FunctionFlags::TYPED);
        self.functions
            .push(Arc::new(move |cpu, bytes| match postcard::from_bytes(&bytes) {
                Ok(parameters) => function(cpu, parameters),
                Err(error) => fails(GuestStatus::BAD_PARAMETERS, 7, &error.to_string()),
            }));
        self
    }

    /// A function that takes bytes.
    pub(crate) fn bytes(
        mut self,
        name: &str,
        function: impl Fn(&mut FakeCpu<'_>, Vec<u8>) -> Action + Send + Sync + 'static,
    ) -> Self {
        self.program = self.program.export(name, 0, FunctionFlags::BYTES);
        self.functions.push(Arc::new(function));
        self
    }

    /// A host function with typed parameters.
    pub(crate) fn import<Args: Shape, Ret: Shape>(mut self, name: &str) -> Self {
        self.program = self
            .program
            .import(name, signature::<Args, Ret>(), FunctionFlags::TYPED);
        self
    }

    /// A host function that takes bytes.
    pub(crate) fn import_bytes(mut self, name: &str) -> Self {
        self.program = self.program.import(name, 0, FunctionFlags::BYTES);
        self
    }

    pub(crate) fn data(mut self, bytes: &[u8]) -> Self {
        self.program = self.program.data(bytes);
        self
    }

    pub(crate) fn program(&self) -> FakeProgram {
        self.program.clone()
    }

    pub(crate) fn fake(&self) -> Fake {
        let functions = self.functions.clone();
        let fake = Fake::new(move || Guest {
            functions: functions.clone(),
            ..Guest::default()
        });
        fake.with_dirty_log(!are_copied())
    }
}

thread_local! {
    static COPIES: Cell<bool> = const { Cell::new(false) };
}

/// Whether guests of this thread copy pages, because their hypervisors have no dirty logs.
pub(crate) fn are_copied() -> bool {
    COPIES.get()
}

/// Runs tests without dirty logs.
pub(crate) fn with_copies(tests: &[fn()]) {
    COPIES.set(true);
    for test in tests {
        test();
    }
    COPIES.set(false);
}

/// Register with the state of the guest: 0 before the start, 1 while it waits for a call from outside, 2 in a call.
const STATE: usize = 0;

/// The guest. Its fields live in a call, so a rewind need not change them: a guest that waits drops them.
#[derive(Default)]
struct Guest {
    functions: Vec<Function>,
    /// What calls wait for, the innermost last.
    stack: Vec<Option<Continuation>>,
    incoming: Option<(Header, Vec<u8>)>,
    outgoing: Option<(Header, Vec<u8>, usize)>,
    next: Option<Step>,
}

pub(crate) fn boot_info(cpu: &FakeCpu<'_>) -> BootInfo {
    let mut info = BootInfo::new_zeroed();
    cpu.read(layout::BOOT_INFO, info.as_mut_bytes()).unwrap();
    info
}

fn inbox(cpu: &FakeCpu<'_>) -> Header {
    let mut bytes = [0; Header::LEN];
    cpu.read(layout::INBOX, &mut bytes).unwrap();
    Header::read_from_bytes(&bytes).unwrap()
}

impl FakeGuest for Guest {
    fn enter(&mut self, cpu: &mut FakeCpu<'_>) -> FakeExit {
        match cpu.registers()[STATE] {
            0 => {
                assert_eq!(boot_info(cpu).magic, BootInfo::MAGIC);
                cpu.registers()[STATE] = 1;
                return send(cpu, Header::new(MessageKind::READY, 0), &[]);
            }
            1 => {
                *self = Self {
                    functions: std::mem::take(&mut self.functions),
                    ..Self::default()
                };
                cpu.registers()[STATE] = 2;
            }
            _ => {}
        }
        if let Some(next) = self.next.take() {
            let action = next(cpu);
            return self.perform(cpu, action);
        }
        if let Some((header, payload, sent)) = self.outgoing.take() {
            assert_eq!(inbox(cpu).kind, MessageKind::CONTINUE);
            return self.send_part(cpu, header, payload, sent);
        }
        self.receive(cpu)
    }
}

impl Guest {
    fn receive(&mut self, cpu: &mut FakeCpu<'_>) -> FakeExit {
        let header = inbox(cpu);
        let mut body = vec![0; usize::try_from(header.len.get()).unwrap()];
        cpu.read(layout::INBOX + 64, &mut body).unwrap();
        let (first, payload) = match self.incoming.take() {
            Some((first, mut payload)) => {
                assert_eq!(header.kind, MessageKind::MORE);
                payload.extend(body);
                (first, payload)
            }
            None => (header, body),
        };
        if (payload.len() as u64) < header.total.get() {
            self.incoming = Some((first, payload));
            return send(cpu, Header::new(MessageKind::CONTINUE, 0), &[]);
        }
        let action = match first.kind {
            MessageKind::CALL => {
                self.stack.push(None);
                assert_eq!(first.depth.get() as usize + 1, self.stack.len());
                let function = self.functions.get(first.function.get() as usize).map(Arc::clone);
                function.map_or(Action::Return(GuestStatus::NO_FUNCTION, vec![]), |f| {
                    f(cpu, payload)
                })
            }
            MessageKind::HOST_REPLY => {
                let next = self.stack.last_mut().unwrap().take().unwrap();
                next(cpu, first.status, payload)
            }
            kind => panic!("{kind}"),
        };
        self.perform(cpu, action)
    }

    fn perform(&mut self, cpu: &mut FakeCpu<'_>, action: Action) -> FakeExit {
        let depth = u32::try_from(self.stack.len().saturating_sub(1)).unwrap();
        let header = |kind| Header::new(kind, 0).with_depth(depth);
        match action {
            Action::Return(status, payload) => {
                self.stack.pop();
                if self.stack.is_empty() {
                    cpu.registers()[STATE] = 1;
                }
                let header = header(MessageKind::RETURN).with_status(status);
                self.send_part(cpu, header, payload, 0)
            }
            Action::HostCall(number, payload, next) => {
                *self.stack.last_mut().unwrap() = Some(next);
                let header = header(MessageKind::HOST_CALL).with_function(number);
                self.send_part(cpu, header, payload, 0)
            }
            Action::Log(body, next) => {
                self.next = Some(next);
                send(cpu, header(MessageKind::LOG), &body)
            }
            Action::Crash(body) => send(cpu, header(MessageKind::CRASH), &body),
            Action::Exit(exit) => exit,
            Action::Pause(exit, next) => {
                self.next = Some(next);
                exit
            }
            Action::Raw(change, body) => {
                let sequence = inbox(cpu).sequence.get();
                let len = u32::try_from(body.len()).unwrap();
                let header = change(Header::new(MessageKind::RETURN, sequence).with_body(len));
                write(cpu, &header, &body)
            }
        }
    }

    fn send_part(
        &mut self,
        cpu: &mut FakeCpu<'_>,
        header: Header,
        payload: Vec<u8>,
        sent: usize,
    ) -> FakeExit {
        let capacity = boot_info(cpu).window_len.get() as usize - Header::LEN;
        let part = &payload[sent..payload.len().min(sent + capacity)];
        let end = sent + part.len();
        let sequence = inbox(cpu).sequence.get();
        let mut message = header.with_part(
            u32::try_from(part.len()).unwrap(),
            sent as u64,
            payload.len() as u64,
        );
        message.sequence.set(sequence);
        if sent > 0 {
            message.kind = MessageKind::MORE;
            message.status = GuestStatus::OK;
            message.function.set(0);
        }
        let exit = write(cpu, &message, part);
        if end < payload.len() {
            // A call from outside ends with the last part.
            cpu.registers()[STATE] = 2;
            self.outgoing = Some((header, payload, end));
        } else if self.stack.is_empty() {
            cpu.registers()[STATE] = 1;
        }
        exit
    }
}

/// Sends a message with this body, which answers the last one.
fn send(cpu: &FakeCpu<'_>, header: Header, body: &[u8]) -> FakeExit {
    let mut header = header.with_body(u32::try_from(body.len()).unwrap());
    header.sequence = inbox(cpu).sequence;
    write(cpu, &header, body)
}

fn write(cpu: &FakeCpu<'_>, header: &Header, body: &[u8]) -> FakeExit {
    let outbox = boot_info(cpu).outbox.get();
    cpu.write(outbox + 64, body).unwrap();
    cpu.write(outbox, header.as_bytes()).unwrap();
    FakeExit::Doorbell(0)
}
