//! A guest that sends arbitrary messages, while another thread changes them. Shared with the fuzz target `sandbox_window`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use boot_core::{GuestRange, cpu::x86_64};
use guest_ram::RamRegion;
use hv_core::fake::{FakeBareConfig, FakeBareVcpu, FakeBareVm, FakeCpu, FakeError, FakeExit, FakeMemory};
use hv_core::{BareAbilities, Doorbell};
use sandbox::{Backend, CallError, FakeProgram, FakeRam, SandboxBuilder, Status};
use sandbox_abi::{BootInfo, FunctionFlags, Header, MessageKind, PORT_DOORBELL, layout, signature};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

/// Largest payload that the sandbox accepts.
const MAX_PAYLOAD: u32 = 20_000;

/// Length of the window.
const WINDOW: u32 = 0x1000;

/// Bytes that decide what the guest does at each exit.
#[derive(Default)]
struct Script {
    bytes: Vec<u8>,
    at: usize,
}

impl Script {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let bytes = self.bytes.get(self.at..self.at + N)?;
        self.at += N;
        bytes.try_into().ok()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Held during a run: there is one [`MEMORY`].
static RUN: Mutex<()> = Mutex::new(());

/// The memory of the last machine.
static MEMORY: Mutex<Option<RamRegion>> = Mutex::new(None);

/// Memory that announces the slot of the outbox.
struct SharedRam(FakeRam);

impl From<RamRegion> for SharedRam {
    fn from(region: RamRegion) -> Self {
        if region.range().start() == FakeProgram::DATA {
            *lock(&MEMORY) = Some(region.clone());
        }
        Self(region.into())
    }
}

impl FakeMemory for SharedRam {
    fn range(&self) -> GuestRange {
        self.0.range()
    }

    fn read(&self, offset: u64, bytes: &mut [u8]) {
        self.0.read(offset, bytes);
    }

    fn write(&self, offset: u64, bytes: &[u8]) {
        self.0.write(offset, bytes);
    }
}

/// A fake hypervisor whose guest executes a script.
struct Hostile(Arc<Mutex<Script>>);

impl Backend for Hostile {
    type Vm = FakeBareVm<SharedRam>;
    type Vcpu = FakeBareVcpu<SharedRam>;
    type Error = FakeError;

    fn create(&self) -> Result<Self::Vm, FakeError> {
        let abilities = BareAbilities::new(Doorbell::Port(PORT_DOORBELL), layout::PAGE)
            .with_dirty_log(true)
            .with_read_only(true);
        let config = FakeBareConfig::new(x86_64::State::reset().into(), abilities);
        let script = Arc::clone(&self.0);
        Ok(FakeBareVm::new(config, move |cpu: &mut FakeCpu<'_>| {
            enter(cpu, &mut lock(&script))
        }))
    }
}

/// Address of the outbox.
fn outbox(cpu: &FakeCpu<'_>) -> u64 {
    let mut info = BootInfo::new_zeroed();
    cpu.read(layout::BOOT_INFO, info.as_mut_bytes()).unwrap();
    info.outbox.get()
}

/// One exit of the guest.
fn enter(cpu: &mut FakeCpu<'_>, script: &mut Script) -> FakeExit {
    let mut inbox = Header::new_zeroed();
    cpu.read(layout::INBOX, inbox.as_mut_bytes()).unwrap();
    let mut answer = Header::new(MessageKind::READY, inbox.sequence.get());
    let outbox = outbox(cpu);
    if cpu.registers()[0] == 0 {
        cpu.registers()[0] = 1;
        cpu.write(outbox, answer.as_bytes()).unwrap();
        return FakeExit::Doorbell(0);
    }
    // Without a script, the guest works: each function returns an empty result.
    let [choice] = script.take().unwrap_or([0]);
    let kind = |number: u8| MessageKind::read_from_bytes(&u32::from(number).to_le_bytes()).unwrap();
    match choice {
        0 => answer.kind = MessageKind::RETURN,
        // A header of arbitrary bytes.
        1 => {
            let bytes: [u8; Header::LEN] = script.take().unwrap_or([0xff; Header::LEN]);
            answer = Header::read_from_bytes(&bytes).unwrap();
        }
        2 => return FakeExit::Halt,
        3 => return FakeExit::Interrupted,
        // A message that is correct except for some fields.
        _ => {
            let [number, function, status, depth, len, extra] = script.take().unwrap_or([0; 6]);
            answer.kind = kind(number % 11);
            let len = u32::from(len) << 4;
            let total = u64::from(len) * u64::from(extra % 4);
            let [part] = script.take().unwrap_or([0]);
            answer = answer
                .with_part(len, u64::from(part) << 4, total.max(len.into()))
                .with_function((function % 3).into())
                .with_depth((depth % 3).into());
            answer.status.as_mut_bytes()[0] = status % 6;
            let body: [u8; 24] = script.take().unwrap_or([1; 24]);
            cpu.write(outbox + 64, &body).unwrap();
        }
    }
    cpu.write(outbox, answer.as_bytes()).unwrap();
    FakeExit::Doorbell(choice.into())
}

/// Calls functions of a guest that executes `script`, while another thread changes the outbox if `is_raced`, and then returns to a snapshot.
pub(crate) fn run(script: &[u8], is_raced: bool) {
    let _only_run = lock(&RUN);
    let program = FakeProgram::new()
        .export("bytes", 0, FunctionFlags::BYTES)
        .export("typed", signature::<(String,), ()>(), FunctionFlags::TYPED)
        .import("host", 0, FunctionFlags::BYTES)
        .import("back", signature::<(u8,), Vec<u32>>(), FunctionFlags::TYPED);
    let shared = Arc::new(Mutex::new(Script::default()));
    let mut records = 0;
    let mut sandbox = SandboxBuilder::on(Hostile(Arc::clone(&shared)), program)
        .window(WINDOW)
        .max_payload(MAX_PAYLOAD.into())
        .max_messages(300)
        .no_deadline()
        .log_to(
            move |record| {
                records += record.message.len() + record.target.len();
                assert!(records < 1000 * WINDOW as usize);
            },
            100,
        )
        .register_bytes("host", |_, bytes, result| {
            assert!(bytes.len() <= MAX_PAYLOAD as usize);
            result.extend(bytes);
            Ok(())
        })
        .register_with("back", |call, (value,): (u8,)| {
            let mut result = Vec::new();
            call.call_bytes("bytes", &[value; 100], &mut result)?;
            Ok(vec![u32::from(value)])
        })
        .build()
        .unwrap();
    let snapshot = sandbox.snapshot().unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        if is_raced {
            let memory = lock(&MEMORY).clone().unwrap();
            let stop = &stop;
            scope.spawn(move || race(&memory, script, stop));
        }
        *lock(&shared) = Script {
            bytes: script.to_vec(),
            at: 0,
        };
        let mut result = Vec::new();
        for round in 0..8 {
            let called = if round % 2 == 0 {
                let parameter = vec![1; 1000 * round];
                let called = sandbox.call_bytes("bytes", &parameter, &mut result);
                assert!(result.len() <= MAX_PAYLOAD as usize);
                called
            } else {
                sandbox.call::<_, ()>("typed", ("text",))
            };
            let status = match called.as_ref().map_err(CallError::poisons) {
                Ok(()) | Err(None) => Status::Ready,
                Err(Some(cause)) => Status::Poisoned(cause),
            };
            assert_eq!(sandbox.status(), status, "{called:?}");
            if status != Status::Ready {
                sandbox.restore(&snapshot).unwrap();
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    // Nothing of it is left.
    lock(&shared).bytes.clear();
    sandbox.restore(&snapshot).unwrap();
    let mut result = vec![1];
    sandbox.call_bytes("bytes", &[], &mut result).unwrap();
    assert!(result.is_empty());
}

/// Changes bytes of the outbox until `stop`.
fn race(memory: &RamRegion, script: &[u8], stop: &AtomicBool) {
    let outbox = memory.range().len() - FakeProgram::TABLES_LEN - u64::from(WINDOW);
    let mut bytes = script.iter().cycle();
    while !stop.load(Ordering::Relaxed) {
        let [mut at, mut value] = [0, 0];
        for byte in [&mut at, &mut value] {
            *byte = bytes.next().copied().unwrap_or(0x55);
        }
        // Mostly fields of the header, which is 64 bytes long.
        memory
            .write_as_guest(outbox + u64::from(at) % 96, &[value])
            .unwrap();
    }
}
