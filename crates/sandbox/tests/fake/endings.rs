//! Calls that end in other ways than by a result: deadlines, interrupts, crashes, exits, panics of the host, broken messages.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use hv_core::fake::{FakeCpu, FakeExit};
use hv_core::{AccessKind, Fault};
use sandbox::{
    CallError, CallOptions, Cause, CrashKind, Fake, Frame, Location, ProtocolError, Sandbox, SandboxBuilder,
    Status, Symbolizer, UnexpectedExit,
};
use sandbox_abi::{
    CrashLocation, CrashReason, CrashRecord, GuestStatus, Header, LogLevel, LogRecord, MessageError,
    MessageKind, layout,
};
use zerocopy::{FromZeros, IntoBytes};

use crate::guest::{Action, Functions, boot_info, returns};

fn spin(cpu: &mut FakeCpu<'_>) -> Action {
    // Each kick is an exit; the guest does not stop for it.
    let exit = cpu.spin_until_kicked();
    Action::Pause(exit, Box::new(spin))
}

fn spinner() -> Functions {
    Functions::new()
        .typed::<(), ()>("spin", |cpu, ()| spin(cpu))
        .typed::<(), u32>("one", |_, ()| returns(1u32))
        .typed::<(), u32>("stray", |_, ()| {
            Action::Pause(FakeExit::Interrupted, Box::new(|_| returns(2u32)))
        })
}

#[test]
fn a_deadline_ends_a_call() {
    let functions = spinner();
    let limit = Duration::from_millis(20);
    let mut sandbox = SandboxBuilder::on(functions.fake(), functions.program())
        .deadline(limit)
        .build()
        .unwrap();
    let snapshot = sandbox.snapshot().unwrap();
    let spin = sandbox.function::<(), ()>("spin").unwrap();
    for options in [
        CallOptions::default(),
        CallOptions::default().with_deadline(Duration::from_millis(5)),
        CallOptions::default().with_deadline(Duration::from_millis(100)),
    ] {
        let start = Instant::now();
        let error = sandbox.invoke(&spin, &(), options).unwrap_err();
        let expected = options.deadline.unwrap_or(limit);
        assert!(
            matches!(error, CallError::Deadline { limit } if limit == expected),
            "{error}"
        );
        assert!(start.elapsed() >= expected);
        assert_eq!(sandbox.status(), Status::Poisoned(Cause::Deadline));
        sandbox.restore(&snapshot).unwrap();
        assert_eq!(sandbox.call::<_, u32>("one", ()).unwrap(), 1);
    }
}

#[test]
fn another_thread_interrupts_a_call() {
    let functions = spinner();
    let mut sandbox = SandboxBuilder::on(functions.fake(), functions.program())
        .no_deadline()
        .build()
        .unwrap();
    let snapshot = sandbox.snapshot().unwrap();
    let handle = sandbox.interrupt_handle();
    assert!(!handle.interrupt());
    for _ in 0..20 {
        let handle = handle.clone();
        let interrupter = thread::spawn(move || while !handle.interrupt() {});
        let error = sandbox.call::<_, ()>("spin", ()).unwrap_err();
        assert!(matches!(error, CallError::Interrupted), "{error}");
        assert_eq!(sandbox.status(), Status::Poisoned(Cause::Interrupted));
        interrupter.join().unwrap();
        sandbox.restore(&snapshot).unwrap();
        // A late kick does not end a later call.
        assert_eq!(sandbox.call::<_, u32>("one", ()).unwrap(), 1);
    }
    assert_eq!(sandbox.call::<_, u32>("stray", ()).unwrap(), 2);
    drop(sandbox);
    assert!(!handle.interrupt());
}

#[test]
fn an_interrupt_during_a_host_function_ends_the_call_after_it() {
    let functions = Functions::new()
        .bytes("call", |_, bytes| {
            Action::HostCall(0, bytes, Box::new(|cpu, _, _| spin(cpu)))
        })
        .import_bytes("wait");
    let (send, receive) = mpsc::channel::<sandbox::InterruptHandle>();
    let mut sandbox = SandboxBuilder::on(functions.fake(), functions.program())
        .register_bytes("wait", move |_, _, _| {
            assert!(receive.recv().unwrap().interrupt());
            Ok(())
        })
        .build()
        .unwrap();
    send.send(sandbox.interrupt_handle()).unwrap();
    let error = sandbox.call_bytes("call", &[], &mut Vec::new()).unwrap_err();
    assert!(matches!(error, CallError::Interrupted), "{error}");
}

/// The body of a crash message.
fn crash_record(cpu: &FakeCpu<'_>, reason: CrashReason, text: &str, file: Option<&str>) -> Vec<u8> {
    let stack = boot_info(cpu).stack.get();
    for (offset, value) in [
        (0x100, stack + 0x200),
        (0x108, layout::IMAGE + 0x10),
        (0x200, 0),
        (0x208, layout::IMAGE + 0x20),
    ] {
        cpu.write(stack + offset, &u64::to_le_bytes(value)).unwrap();
    }
    let mut record = CrashRecord::new_zeroed();
    record.reason = reason;
    record.message_len.set(u32::try_from(text.len()).unwrap());
    record.pc.set(layout::IMAGE + 4);
    record.fp.set(stack + 0x100);
    record.fault_address.set(stack - 8);
    record.vector.set(14);
    record.general[3].set(33);
    let mut body = record.as_bytes().to_vec();
    body.extend(text.as_bytes());
    if let Some(file) = file {
        let mut location = CrashLocation::new_zeroed();
        location.line.set(7);
        location.column.set(3);
        location.file_len.set(u16::try_from(file.len()).unwrap());
        body.extend(location.as_bytes());
        body.extend(file.as_bytes());
    }
    body
}

struct Names;

impl Symbolizer for Names {
    fn symbolize(&self, backtrace: &mut Vec<Frame>) {
        for frame in &mut *backtrace {
            frame.function = Some(format!("f{:x}", frame.address - layout::IMAGE));
            frame.location = Some(Location::new("lib.rs", 1, 0));
        }
    }
}

#[test]
fn a_crash_has_message_location_registers_and_backtrace() {
    let functions = Functions::new()
        .bytes("panic", |cpu, _| {
            Action::Crash(crash_record(cpu, CrashReason::PANIC, "no way", Some("main.rs")))
        })
        .bytes("overflow", |cpu, _| {
            Action::Crash(crash_record(cpu, CrashReason::EXCEPTION, "", None))
        })
        .bytes("oom", |cpu, _| {
            Action::Crash(crash_record(cpu, CrashReason::OUT_OF_MEMORY, "", None))
        })
        .bytes("short", |cpu, _| {
            let mut body = crash_record(cpu, CrashReason::PANIC, "text", Some("main.rs"));
            body.pop();
            Action::Crash(body)
        });
    let mut sandbox = SandboxBuilder::on(functions.fake(), functions.program())
        .symbolizer(Arc::new(Names))
        .build()
        .unwrap();
    let snapshot = sandbox.snapshot().unwrap();
    let mut crash = |name: &str| {
        sandbox.restore(&snapshot).unwrap();
        let error = sandbox.call_bytes(name, &[], &mut Vec::new()).unwrap_err();
        (error, sandbox.status())
    };
    let (error, status) = crash("panic");
    assert_eq!(status, Status::Poisoned(Cause::Crash));
    let CallError::Crashed(found) = error else {
        panic!("{error}")
    };
    assert_eq!((&found.kind, &*found.message), (&CrashKind::Panic, "no way"));
    assert_eq!(found.location, Some(Location::new("main.rs", 7, 3)));
    assert_eq!(found.registers.general[3], 33);
    let names: Vec<_> = found
        .backtrace
        .iter()
        .map(|frame| frame.function.as_deref().unwrap())
        .collect();
    assert_eq!(names, ["f4", "f10", "f20"]);
    assert_eq!(
        found.to_string(),
        "the guest panicked: no way, main.rs:7:3, at 0x40000004"
    );
    let (error, _) = crash("overflow");
    assert!(
        matches!(&error, CallError::Crashed(crash) if crash.kind == CrashKind::StackOverflow),
        "{error}"
    );
    let (error, _) = crash("oom");
    assert!(
        matches!(&error, CallError::Crashed(crash) if crash.kind == CrashKind::OutOfMemory),
        "{error}"
    );
    let (error, status) = crash("short");
    assert_eq!(status, Status::Poisoned(Cause::Protocol));
    assert!(
        matches!(error, CallError::Protocol(ProtocolError::CrashRecord { .. })),
        "{error}"
    );
}

#[test]
fn an_exit_without_a_message_poisons_the_sandbox() {
    let functions = Functions::new()
        .bytes("halt", |_, _| Action::Exit(FakeExit::Halt))
        .bytes("fault", |_, _| Action::Exit(FakeExit::Fault(Fault::Shutdown)))
        .bytes("text", |cpu, _| {
            Action::Exit(cpu.write(layout::IMAGE, &[0]).unwrap_err().into())
        })
        .bytes("inbox", |cpu, _| {
            Action::Exit(cpu.write(layout::INBOX, &[0]).unwrap_err().into())
        })
        .bytes("null", |cpu, _| {
            Action::Exit(cpu.read(0, &mut [0; 2]).unwrap_err().into())
        });
    let mut sandbox = SandboxBuilder::on(functions.fake(), functions.program())
        .build()
        .unwrap();
    let snapshot = sandbox.snapshot().unwrap();
    let mut exit = |name: &str| {
        sandbox.restore(&snapshot).unwrap();
        let error = sandbox.call_bytes(name, &[], &mut Vec::new()).unwrap_err();
        assert_eq!(sandbox.status(), Status::Poisoned(Cause::Exit), "{name}");
        let CallError::Crashed(crash) = error else {
            panic!("{error}")
        };
        let CrashKind::Exit(exit) = crash.kind else {
            panic!("{crash}")
        };
        exit
    };
    assert_eq!(exit("halt"), UnexpectedExit::Halt);
    assert_eq!(exit("fault"), UnexpectedExit::Fault(Fault::Shutdown));
    for (name, kind, address) in [
        ("text", AccessKind::Write, layout::IMAGE),
        ("inbox", AccessKind::Write, layout::INBOX),
        ("null", AccessKind::Read, 0),
    ] {
        let UnexpectedExit::Access(access) = exit(name) else {
            panic!("{name}")
        };
        assert_eq!((access.kind, access.address), (kind, address));
    }
}

#[test]
fn a_panic_of_a_host_function_poisons_the_sandbox() {
    let functions = Functions::new()
        .bytes("call", |_, bytes| {
            Action::HostCall(
                0,
                bytes,
                Box::new(|_, status, bytes| Action::Return(status, bytes)),
            )
        })
        .import_bytes("panic");
    let mut sandbox = SandboxBuilder::on(functions.fake(), functions.program())
        .register_bytes("panic", |_, bytes, _| {
            assert!(bytes.is_empty(), "a host function panics");
            Ok(())
        })
        .build()
        .unwrap();
    let snapshot = sandbox.snapshot().unwrap();
    let handle = sandbox.interrupt_handle();
    let mut result = Vec::new();
    let panic = catch_unwind(AssertUnwindSafe(|| sandbox.call_bytes("call", &[1], &mut result)));
    assert_eq!(
        panic.unwrap_err().downcast_ref::<&str>(),
        Some(&"a host function panics")
    );
    assert_eq!(sandbox.status(), Status::Poisoned(Cause::HostPanic));
    assert!(!handle.interrupt());
    sandbox.restore(&snapshot).unwrap();
    sandbox.call_bytes("call", &[], &mut result).unwrap();
}

#[test]
fn a_failed_call_of_a_host_function_ends_the_outer_one() {
    let functions = Functions::new()
        .bytes("call", |_, bytes| {
            Action::HostCall(
                0,
                bytes,
                Box::new(|_, status, bytes| Action::Return(status, bytes)),
            )
        })
        .bytes("halt", |_, _| Action::Exit(FakeExit::Halt))
        .import_bytes("back");
    let mut sandbox = SandboxBuilder::on(functions.fake(), functions.program())
        .register_bytes("back", |call, bytes, result| {
            let error = call.call_bytes("halt", &[], result);
            assert!(matches!(error, Err(CallError::Crashed(_))));
            let again = call.call_bytes("halt", &[], result);
            assert!(matches!(again, Err(CallError::Nested(Cause::Exit))));
            if bytes.is_empty() {
                error?;
            }
            Ok(())
        })
        .build()
        .unwrap();
    let snapshot = sandbox.snapshot().unwrap();
    let error = sandbox.call_bytes("call", &[], &mut Vec::new()).unwrap_err();
    assert!(matches!(error, CallError::Crashed(_)), "{error}");
    assert_eq!(sandbox.status(), Status::Poisoned(Cause::Exit));
    sandbox.restore(&snapshot).unwrap();
    // The host function hides the error, but the guest cannot go on.
    let error = sandbox.call_bytes("call", &[1], &mut Vec::new()).unwrap_err();
    assert!(matches!(error, CallError::Nested(Cause::Exit)), "{error}");
    assert_eq!(sandbox.status(), Status::Poisoned(Cause::Exit));
}

#[test]
fn host_functions_call_the_guest_at_most_eight_deep() {
    let functions = Functions::new()
        .bytes("call", |_, bytes| {
            let number = u32::from(bytes[0] % 10);
            Action::HostCall(
                number,
                bytes,
                Box::new(|_, status, bytes| Action::Return(status, bytes)),
            )
        })
        .import_bytes("0")
        .import_bytes("1")
        .import_bytes("2")
        .import_bytes("3")
        .import_bytes("4")
        .import_bytes("5")
        .import_bytes("6")
        .import_bytes("7")
        .import_bytes("8")
        .import_bytes("9");
    let mut builder = SandboxBuilder::on(functions.fake(), functions.program());
    for number in 0..10 {
        builder = builder.register_bytes(&number.to_string(), move |call, bytes, result| {
            let error = call.call_bytes("call", &[bytes[0] + 1], result);
            if let Err(CallError::TooDeep { max: 8 }) = error {
                result.clear();
                result.push(bytes[0]);
                return Ok(());
            }
            Ok(error?)
        });
    }
    let mut sandbox = builder.build().unwrap();
    let mut result = Vec::new();
    sandbox.call_bytes("call", &[0], &mut result).unwrap();
    assert_eq!((result, sandbox.status()), (vec![8], Status::Ready));
}

fn log_record(level: LogLevel, target: &str, text: &[u8]) -> Vec<u8> {
    let mut record = LogRecord::new_zeroed();
    record.level = level;
    record.target_len = u8::try_from(target.len()).unwrap();
    record.message_len.set(u32::try_from(text.len()).unwrap());
    record.line.set(5);
    let mut bytes = record.as_bytes().to_vec();
    bytes.extend(target.as_bytes());
    bytes.extend(text);
    bytes
}

#[test]
fn log_records_arrive_within_their_budget() {
    let functions = Functions::new()
        .typed::<(u32,), u32>("log", |_, (count,): (u32,)| {
            let body =
                (0..count).flat_map(|at| log_record(LogLevel::INFO, "app", format!("{at}\u{e9}").as_bytes()));
            Action::Log(body.collect(), Box::new(move |_| returns(count)))
        })
        .bytes("odd", |_, _| {
            let body = log_record(LogLevel::ERROR, "", b"a\xffb");
            Action::Log(body, Box::new(|_| Action::Return(GuestStatus::OK, vec![])))
        })
        .bytes("bad", |_, bytes| {
            let mut body = log_record(LogLevel::WARN, "app", b"text");
            body.truncate(body.len() - usize::from(bytes[0]));
            body[1] += bytes[1];
            Action::Log(body, Box::new(|_| Action::Return(GuestStatus::OK, vec![])))
        });
    let records = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&records);
    let mut sandbox = SandboxBuilder::on(functions.fake(), functions.program())
        .log_to(
            move |record| {
                let text = format!(
                    "{} {} {} {:?}",
                    record.level, record.target, record.message, record.line
                );
                sink.lock().unwrap().push(text);
            },
            3,
        )
        .build()
        .unwrap();
    let snapshot = sandbox.snapshot().unwrap();
    for _ in 0..2 {
        assert_eq!(sandbox.call::<_, u32>("log", (5u32,)).unwrap(), 5);
        let found = std::mem::take(&mut *records.lock().unwrap());
        let expected: Vec<_> = (0..3).map(|at| format!("INFO app {at}\u{e9} Some(5)")).collect();
        assert_eq!(found, expected);
    }
    assert_eq!(sandbox.dropped_log_records(), 4);
    sandbox.call_bytes("odd", &[], &mut Vec::new()).unwrap();
    assert_eq!(*records.lock().unwrap(), ["ERROR  ab Some(5)"]);
    for bytes in [[1, 0], [8, 0], [0, 5]] {
        let error = sandbox.call_bytes("bad", &bytes, &mut Vec::new()).unwrap_err();
        assert!(
            matches!(error, CallError::Protocol(ProtocolError::LogRecord { offset: 0 })),
            "{error}"
        );
        sandbox.restore(&snapshot).unwrap();
    }
}

/// The error of a guest that sends the header that `change` makes.
#[track_caller]
fn check_message(
    change: impl Fn(Header) -> Header + Clone + Send + Sync + 'static,
    body: usize,
    expected: &ProtocolError,
) {
    let functions = Functions::new().bytes("send", move |_, _| {
        Action::Raw(Box::new(change.clone()), vec![0; body])
    });
    let mut sandbox: Sandbox<Fake> = SandboxBuilder::on(functions.fake(), functions.program())
        .max_payload(0x2_0000)
        .max_messages(100)
        .build()
        .unwrap();
    let error = sandbox.call_bytes("send", &[], &mut Vec::new()).unwrap_err();
    let CallError::Protocol(found) = error else {
        panic!("{error}")
    };
    assert_eq!(found, *expected);
    assert_eq!(sandbox.status(), Status::Poisoned(Cause::Protocol));
}

#[test]
fn broken_messages_poison_the_sandbox() {
    let capacity: u32 = 0x1_0000 - 64;
    let message = ProtocolError::Message;
    check_message(
        |mut header| {
            header.sequence.set(77);
            header
        },
        0,
        &message(MessageError::Sequence {
            found: 77,
            expected: 1,
        }),
    );
    check_message(
        move |header| header.with_body(capacity + 1),
        0,
        &message(MessageError::Length {
            found: capacity + 1,
            max: capacity,
        }),
    );
    check_message(
        |header| header.with_part(0, 0, 0x2_0001),
        0,
        &message(MessageError::Total {
            found: 0x2_0001,
            min: 0,
            max: 0x2_0000,
        }),
    );
    check_message(
        |header| header.with_part(0, 0, 100),
        0,
        &ProtocolError::EmptyPart {
            received: 0,
            total: 100,
        },
    );
    check_message(
        |header| header.with_depth(1),
        0,
        &ProtocolError::Depth {
            found: 1,
            expected: 0,
        },
    );
    for kind in [
        MessageKind::CALL,
        MessageKind::HOST_REPLY,
        MessageKind::MORE,
        MessageKind::CONTINUE,
        MessageKind::READY,
    ] {
        check_message(
            move |mut header| {
                header.kind = kind;
                header
            },
            0,
            &message(MessageError::Kind { found: kind }),
        );
    }
    check_message(
        |header| header.with_status(GuestStatus::NO_FUNCTION),
        0,
        &ProtocolError::NoFunction { function: 0 },
    );
    check_message(
        |header| header.with_status(GuestStatus::ERROR),
        1,
        &ProtocolError::Error,
    );
    // A log record in parts.
    check_message(
        |mut header| {
            header.kind = MessageKind::LOG;
            header.with_part(1, 0, 2)
        },
        1,
        &message(MessageError::Total {
            found: 2,
            min: 1,
            max: capacity.into(),
        }),
    );
}

#[test]
fn the_number_of_messages_is_limited() {
    let functions = Functions::new()
        .bytes("loop", |_, bytes| call_forever(bytes))
        .import_bytes("nothing");
    let mut sandbox = SandboxBuilder::on(functions.fake(), functions.program())
        .register_bytes("nothing", |_, _, _| Ok(()))
        .max_messages(1000)
        .no_deadline()
        .build()
        .unwrap();
    let error = sandbox.call_bytes("loop", &[], &mut Vec::new()).unwrap_err();
    assert!(
        matches!(
            error,
            CallError::Protocol(ProtocolError::TooManyMessages { max: 1000 })
        ),
        "{error}"
    );
}

fn call_forever(bytes: Vec<u8>) -> Action {
    Action::HostCall(0, bytes, Box::new(|_, _, bytes| call_forever(bytes)))
}
