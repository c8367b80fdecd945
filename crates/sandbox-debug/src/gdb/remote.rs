//! The protocol's side of a session: a target that passes all accesses to the thread of the vCPU.

use std::{
    collections::VecDeque,
    fmt,
    io::{self, BufWriter, Write},
    sync::mpsc::{self, Receiver, Sender},
};

use boot_core::Arch;
use gdbstub::{
    common::Signal,
    conn::Connection,
    stub::{
        DisconnectReason, GdbStub, GdbStubError, SingleThreadStopReason, state_machine::GdbStubStateMachine,
    },
    target::{
        Target, TargetError, TargetResult,
        ext::{
            base::{
                BaseOps,
                singlethread::{
                    SingleThreadBase, SingleThreadResume, SingleThreadResumeOps, SingleThreadSingleStep,
                    SingleThreadSingleStepOps,
                },
            },
            breakpoints::{
                Breakpoints, BreakpointsOps, HwBreakpoint, HwBreakpointOps, HwWatchpoint, HwWatchpointOps,
                SwBreakpoint, SwBreakpointOps, WatchKind,
            },
            target_description_xml_override::{
                TargetDescriptionXmlOverride, TargetDescriptionXmlOverrideOps,
            },
        },
    },
};
use hv_core::{BreakOn, HardwareBreakpoint};

use super::{
    registers::{self, AnyArch, RegisterBlock},
    stream::GdbStream,
};
use crate::{debuggee::Debuggee, target::Resume};

/// Error numbers of gdb's protocol ("Errno Values").
const EIO: u8 = 5;
const EFAULT: u8 = 14;

/// An access to the stopped guest, on the thread of its vCPU.
type Access = Box<dyn FnOnce(&mut Debuggee<'_>) + Send>;

/// What the protocol asks the thread of the vCPU for.
pub(super) enum Command {
    Access(Access),
    Resume { step: bool },
    End(Resume),
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Access(_) => f.write_str("Access"),
            Self::Resume { step } => f.debug_struct("Resume").field("step", step).finish(),
            Self::End(end) => f.debug_tuple("End").field(end).finish(),
        }
    }
}

/// What happened.
#[derive(Debug)]
pub(super) enum Event {
    Data(Vec<u8>),
    Closed,
    Stopped(SingleThreadStopReason<u64>),
}

/// Speaks the protocol until gdb goes.
pub(super) fn serve(
    stream: GdbStream,
    arch: Arch,
    events: &Receiver<Event>,
    commands: &Sender<Command>,
    interrupt: &dyn Fn(),
) -> Resume {
    let mut remote = Remote {
        arch,
        commands: commands.clone(),
    };
    // An error of the protocol or of the connection ends the session; the guest continues.
    speak(stream, &mut remote, events, interrupt).unwrap_or(Resume::Detached)
}

fn speak(
    stream: GdbStream,
    remote: &mut Remote,
    events: &Receiver<Event>,
    interrupt: &dyn Fn(),
) -> Result<Resume, GdbStubError<Gone, io::Error>> {
    let mut pending = VecDeque::new();
    let connection = Connected(BufWriter::new(stream));
    let mut machine = GdbStub::new(connection).run_state_machine(remote)?;
    loop {
        machine = match machine {
            GdbStubStateMachine::Disconnected(machine) => {
                return Ok(match machine.get_reason() {
                    DisconnectReason::Kill => Resume::Killed,
                    _ => Resume::Detached,
                });
            }
            GdbStubStateMachine::CtrlCInterrupt(machine) => {
                interrupt();
                machine.interrupt_handled(remote, None::<SingleThreadStopReason<u64>>)?
            }
            GdbStubStateMachine::Idle(machine) => match next(&mut pending, events) {
                Some(Next::Byte(byte)) => machine.incoming_data(remote, byte)?,
                // A stop comes only while the guest runs.
                Some(Next::Stopped(_)) => machine.into(),
                None => return Ok(Resume::Detached),
            },
            GdbStubStateMachine::Running(machine) => match next(&mut pending, events) {
                Some(Next::Byte(byte)) => machine.incoming_data(remote, byte)?,
                Some(Next::Stopped(reason)) => machine.report_stop(remote, reason)?,
                None => return Ok(Resume::Detached),
            },
        };
    }
}

/// What the protocol has to handle next.
enum Next {
    Byte(u8),
    Stopped(SingleThreadStopReason<u64>),
}

/// Waits for the next byte or stop; `None` at the end of the connection. `pending` has bytes that were received.
fn next(pending: &mut VecDeque<u8>, events: &Receiver<Event>) -> Option<Next> {
    loop {
        if let Some(byte) = pending.pop_front() {
            return Some(Next::Byte(byte));
        }
        match events.recv() {
            Ok(Event::Data(data)) => pending.extend(data),
            Ok(Event::Stopped(reason)) => return Some(Next::Stopped(reason)),
            Ok(Event::Closed) | Err(mpsc::RecvError) => return None,
        }
    }
}

/// The output of a connection, which is collected until the end of a packet.
struct Connected(BufWriter<GdbStream>);

impl Connection for Connected {
    type Error = io::Error;

    fn write(&mut self, byte: u8) -> io::Result<()> {
        self.0.write_all(&[byte])
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The thread of the vCPU has dropped the session.
#[derive(Debug)]
struct Gone;

/// The guest, as the protocol sees it.
struct Remote {
    arch: Arch,
    commands: Sender<Command>,
}

impl Remote {
    /// Makes the thread of the vCPU access the guest.
    fn access<R: Send + 'static>(
        &self,
        access: impl FnOnce(&mut Debuggee<'_>) -> R + Send + 'static,
    ) -> Result<R, Gone> {
        let (to, result) = mpsc::sync_channel(1);
        let job = move |debuggee: &mut Debuggee<'_>| {
            // Without a receiver the session has ended.
            let _ = to.send(access(debuggee));
        };
        let command = Command::Access(Box::new(job));
        self.commands.send(command).ok().ok_or(Gone)?;
        result.recv().ok().ok_or(Gone)
    }

    fn resume_with(&self, step: bool) -> Result<(), Gone> {
        self.commands.send(Command::Resume { step }).ok().ok_or(Gone)
    }
}

/// The result of an access whose failure gdb reports as an error number.
fn reported<T, E>(result: Result<Result<T, E>, Gone>, number: u8) -> TargetResult<T, Remote> {
    match result {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(_)) => Err(TargetError::Errno(number)),
        Err(gone) => Err(TargetError::Fatal(gone)),
    }
}

impl Target for Remote {
    type Arch = AnyArch;
    type Error = Gone;

    fn base_ops(&mut self) -> BaseOps<'_, AnyArch, Gone> {
        BaseOps::SingleThread(self)
    }

    fn support_breakpoints(&mut self) -> Option<BreakpointsOps<'_, Self>> {
        Some(self)
    }

    fn support_target_description_xml_override(
        &mut self,
    ) -> Option<TargetDescriptionXmlOverrideOps<'_, Self>> {
        Some(self)
    }
}

impl TargetDescriptionXmlOverride for Remote {
    fn target_description_xml(
        &self,
        annex: &[u8],
        offset: u64,
        length: usize,
        buf: &mut [u8],
    ) -> TargetResult<usize, Self> {
        if annex != b"target.xml" {
            return Err(TargetError::NonFatal);
        }
        let xml = registers::description(self.arch);
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|offset| xml.as_bytes().get(offset..));
        let rest = rest.unwrap_or_default();
        let len = rest.len().min(length).min(buf.len());
        buf.iter_mut()
            .zip(rest.iter().take(len))
            .for_each(|(to, from)| *to = *from);
        Ok(len)
    }
}

impl SingleThreadBase for Remote {
    fn read_registers(&mut self, block: &mut RegisterBlock) -> TargetResult<(), Self> {
        let read = self.access(|debuggee| debuggee.target.read_registers());
        let found = reported(read, EIO)?;
        *block = registers::encode(&found);
        Ok(())
    }

    fn write_registers(&mut self, block: &RegisterBlock) -> TargetResult<(), Self> {
        let block = block.clone();
        let write = self.access(move |debuggee| {
            let mut found = debuggee.target.read_registers()?;
            registers::decode(&block, &mut found);
            debuggee.target.write_registers(&found)
        });
        reported(write, EIO)
    }

    fn read_addrs(&mut self, address: u64, bytes: &mut [u8]) -> TargetResult<usize, Self> {
        let mut buffer = vec![0; bytes.len()];
        let read = self.access(move |debuggee| {
            let len = debuggee.read(address, &mut buffer)?;
            buffer.truncate(len);
            Ok::<_, crate::target::TargetError>(buffer)
        });
        let found = reported(read, EFAULT)?;
        if found.is_empty() && !bytes.is_empty() {
            return Err(TargetError::Errno(EFAULT));
        }
        bytes.iter_mut().zip(&found).for_each(|(to, from)| *to = *from);
        Ok(found.len())
    }

    fn write_addrs(&mut self, address: u64, bytes: &[u8]) -> TargetResult<(), Self> {
        let bytes = bytes.to_vec();
        let write = self.access(move |debuggee| debuggee.write(address, &bytes));
        reported(write, EFAULT)
    }

    fn support_resume(&mut self) -> Option<SingleThreadResumeOps<'_, Self>> {
        Some(self)
    }
}

impl SingleThreadResume for Remote {
    /// Continues. The guest has no signals, so one that gdb passes on is ignored.
    fn resume(&mut self, _signal: Option<Signal>) -> Result<(), Gone> {
        self.resume_with(false)
    }

    fn support_single_step(&mut self) -> Option<SingleThreadSingleStepOps<'_, Self>> {
        Some(self)
    }
}

impl SingleThreadSingleStep for Remote {
    fn step(&mut self, _signal: Option<Signal>) -> Result<(), Gone> {
        self.resume_with(true)
    }
}

impl Breakpoints for Remote {
    fn support_sw_breakpoint(&mut self) -> Option<SwBreakpointOps<'_, Self>> {
        Some(self)
    }

    fn support_hw_breakpoint(&mut self) -> Option<HwBreakpointOps<'_, Self>> {
        Some(self)
    }

    fn support_hw_watchpoint(&mut self) -> Option<HwWatchpointOps<'_, Self>> {
        Some(self)
    }
}

impl SwBreakpoint for Remote {
    fn add_sw_breakpoint(&mut self, address: u64, _kind: usize) -> TargetResult<bool, Self> {
        let add = self.access(move |debuggee| debuggee.add_software(address));
        reported(add, EIO)
    }

    fn remove_sw_breakpoint(&mut self, address: u64, _kind: usize) -> TargetResult<bool, Self> {
        let remove = self.access(move |debuggee| debuggee.remove_software(address));
        reported(remove, EIO)
    }
}

impl HwBreakpoint for Remote {
    fn add_hw_breakpoint(&mut self, address: u64, _kind: usize) -> TargetResult<bool, Self> {
        let breakpoint = HardwareBreakpoint::execute(address);
        self.access(move |debuggee| debuggee.add_hardware(breakpoint))
            .map_err(TargetError::Fatal)
    }

    fn remove_hw_breakpoint(&mut self, address: u64, _kind: usize) -> TargetResult<bool, Self> {
        let breakpoint = HardwareBreakpoint::execute(address);
        self.access(move |debuggee| debuggee.remove_hardware(breakpoint))
            .map_err(TargetError::Fatal)
    }
}

impl HwWatchpoint for Remote {
    fn add_hw_watchpoint(&mut self, address: u64, len: u64, kind: WatchKind) -> TargetResult<bool, Self> {
        let Some(breakpoint) = watchpoint(address, len, kind) else {
            return Ok(false);
        };
        self.access(move |debuggee| debuggee.add_hardware(breakpoint))
            .map_err(TargetError::Fatal)
    }

    fn remove_hw_watchpoint(&mut self, address: u64, len: u64, kind: WatchKind) -> TargetResult<bool, Self> {
        let Some(breakpoint) = watchpoint(address, len, kind) else {
            return Ok(false);
        };
        self.access(move |debuggee| debuggee.remove_hardware(breakpoint))
            .map_err(TargetError::Fatal)
    }
}

/// The watchpoint that gdb asks for. No hardware stops at reads only.
fn watchpoint(address: u64, len: u64, kind: WatchKind) -> Option<HardwareBreakpoint> {
    let on = match kind {
        WatchKind::Write => BreakOn::Write,
        WatchKind::ReadWrite => BreakOn::ReadWrite,
        WatchKind::Read => return None,
    };
    Some(HardwareBreakpoint::watch(address, u8::try_from(len).ok()?, on))
}
