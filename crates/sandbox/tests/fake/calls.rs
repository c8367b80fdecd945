//! Calls of functions, in both directions.

use sandbox::{
    CallError, CallOptions, FunctionError, HostError, ResolveError, Sandbox, SandboxBuilder, Status,
};
use sandbox_abi::GuestStatus;

use crate::guest::{Action, Functions, fails, returns};

fn functions() -> Functions {
    Functions::new()
        .typed::<(u32, u32), u64>("add", |_, (a, b): (u32, u32)| {
            returns(u64::from(a) + u64::from(b))
        })
        .typed::<(String,), String>("greet", |_, (name,): (String,)| returns(format!("hello, {name}")))
        .typed::<(), ()>("nothing", |_, ()| returns(()))
        .typed::<(u32,), u32>("fail", |_, (code,): (u32,)| {
            fails(GuestStatus::ERROR, code, "no luck")
        })
        .bytes("echo", |_, bytes| Action::Return(GuestStatus::OK, bytes))
        .typed::<(u8,), u8>("wrong", |_, (value,): (u8,)| returns((value, value)))
        .typed::<(u32,), ()>("status", |_, (number,): (u32,)| {
            let status = [
                GuestStatus::NO_MEMORY,
                GuestStatus::NO_FUNCTION,
                GuestStatus::BAD_PARAMETERS,
            ][number as usize];
            fails(status, 5, "text")
        })
}

/// A byte that differs from its neighbours.
fn byte(at: usize) -> u8 {
    u8::try_from(at % 251).unwrap()
}

fn build(functions: &Functions) -> Sandbox<sandbox::Fake> {
    SandboxBuilder::on(functions.fake(), functions.program())
        .window(0x1000)
        .max_payload(100_000)
        .build()
        .unwrap()
}

#[test]
fn functions_return_results() {
    let mut sandbox = build(&functions());
    assert_eq!(sandbox.status(), Status::Ready);
    let names: Vec<_> = sandbox.functions().map(|function| &function.name).collect();
    assert_eq!(names[..2], ["add", "greet"]);
    for a in 0..3u32 {
        assert_eq!(
            sandbox.call::<_, u64>("add", (a, u32::MAX)).unwrap(),
            u64::from(a) + u64::from(u32::MAX)
        );
    }
    let greeting: String = sandbox.call("greet", ("world".to_owned(),)).unwrap();
    assert_eq!(greeting, "hello, world");
    sandbox.call::<_, ()>("nothing", ()).unwrap();
    assert_eq!(sandbox.call_any::<_, u64>("add", &(1u32, 2u32)).unwrap(), 3);
    let add = sandbox.function::<(u32, u32), u64>("add").unwrap();
    let sum = sandbox.invoke(&add, &(2, 3), CallOptions::default()).unwrap();
    assert_eq!(sum, 5);
}

#[test]
fn payloads_of_every_length_go_in_parts() {
    let mut sandbox = build(&functions());
    let capacity = 0x1000 - 64;
    let mut result = vec![1, 2, 3];
    for len in [
        0,
        1,
        capacity - 1,
        capacity,
        capacity + 1,
        2 * capacity,
        2 * capacity + 1,
        100_000,
    ] {
        let bytes: Vec<u8> = (0..len).map(byte).collect();
        sandbox.call_bytes("echo", &bytes, &mut result).unwrap();
        assert!(result == bytes, "{len}");
    }
    let error = sandbox
        .call_bytes("echo", &vec![0; 100_001], &mut result)
        .unwrap_err();
    assert!(
        matches!(
            error,
            CallError::TooLarge {
                len: 100_001,
                max: 100_000
            }
        ),
        "{error}"
    );
    assert_eq!(sandbox.status(), Status::Ready);
    let functions = functions();
    let mut small = SandboxBuilder::on(functions.fake(), functions.program())
        .max_payload(100)
        .build()
        .unwrap();
    let error = small.call_bytes("echo", &[0; 101], &mut result).unwrap_err();
    assert!(
        matches!(error, CallError::TooLarge { len: 101, max: 100 }),
        "{error}"
    );
    small.call_bytes("echo", &[5; 100], &mut result).unwrap();
    assert_eq!(result, [5; 100]);
    let long = "x".repeat(50_000);
    let greeting: String = sandbox.call("greet", (long,)).unwrap();
    assert_eq!(greeting.len(), 50_007);
}

#[test]
fn errors_of_functions_leave_the_sandbox_ready() {
    let mut sandbox = build(&functions());
    let error = sandbox.call::<_, u32>("fail", (9u32,)).unwrap_err();
    let expected = FunctionError::new(9, "no luck");
    assert!(
        matches!(&error, CallError::Guest(found) if *found == expected),
        "{error}"
    );
    let error = sandbox.call::<_, u8>("wrong", (9u8,)).unwrap_err();
    assert!(matches!(error, CallError::Decode(_)), "{error}");
    let error = sandbox.call_any::<_, u64>("add", &1u8).unwrap_err();
    assert!(
        matches!(error, CallError::BadParameters(FunctionError { code: 7, .. })),
        "{error}"
    );
    let error = sandbox.call::<_, ()>("status", (0u32,)).unwrap_err();
    assert!(matches!(error, CallError::NoMemory), "{error}");
    let error = sandbox.call::<_, ()>("status", (2u32,)).unwrap_err();
    assert!(matches!(error, CallError::BadParameters(_)), "{error}");
    let error = sandbox.call::<_, ()>("missing", ()).unwrap_err();
    assert!(
        matches!(error, CallError::Resolve(ResolveError::NotFound { .. })),
        "{error}"
    );
    let error = sandbox.call::<_, u32>("add", (1u32, 2u32)).unwrap_err();
    assert!(
        matches!(error, CallError::Resolve(ResolveError::Signature { .. })),
        "{error}"
    );
    assert_eq!(sandbox.status(), Status::Ready);
    assert_eq!(sandbox.call::<_, u64>("add", (1u32, 2u32)).unwrap(), 3);
}

/// A function that calls host function `number` with its own parameters and returns its result.
fn forward(number: u32) -> impl Fn(&mut hv_core::fake::FakeCpu<'_>, Vec<u8>) -> Action + Send + Sync {
    move |_, bytes| {
        Action::HostCall(
            number,
            bytes,
            Box::new(|_, status, bytes| Action::Return(status, bytes)),
        )
    }
}

#[test]
fn the_guest_calls_host_functions() {
    let functions = Functions::new()
        .bytes("first", forward(0))
        .bytes("second", forward(1))
        .bytes("third", forward(2))
        .import::<(u32, u32), u32>("multiply")
        .import_bytes("reverse");
    let mut calls = 0u32;
    let mut sandbox = SandboxBuilder::on(functions.fake(), functions.program())
        .window(0x1000)
        .register_bytes("reverse", |_, bytes, result| {
            if bytes.is_empty() {
                return Err(HostError::new(3, "nothing to reverse"));
            }
            result.extend(bytes.iter().rev());
            Ok(())
        })
        .register("multiply", move |a: u32, b: u32| {
            calls += 1;
            a * b + calls
        })
        .build()
        .unwrap();
    let mut result = Vec::new();
    for expected in [7u8, 8, 9] {
        sandbox.call_bytes("first", &[2, 3], &mut result).unwrap();
        assert_eq!(result, [expected]);
    }
    let bytes: Vec<u8> = (0..10_000).map(byte).collect();
    sandbox.call_bytes("second", &bytes, &mut result).unwrap();
    assert!(result.iter().eq(bytes.iter().rev()));
    let error = sandbox.call_bytes("second", &[], &mut result).unwrap_err();
    assert!(
        matches!(&error, CallError::Guest(error) if *error == FunctionError::new(3, "nothing to reverse")),
        "{error}"
    );
    // Parameters that the handler cannot decode, and a function that the host does not have.
    let error = sandbox.call_bytes("first", &[2], &mut result).unwrap_err();
    assert!(
        matches!(&error, CallError::Guest(error) if error.code == HostError::CODE),
        "{error}"
    );
    let error = sandbox.call_bytes("third", &[2], &mut result).unwrap_err();
    assert!(matches!(error, CallError::Protocol(_)), "{error}");
}

#[test]
fn host_functions_call_the_guest() {
    let functions = Functions::new()
        .typed::<(u32,), u32>("down", |_, (n,): (u32,)| {
            if n == 0 {
                return returns(100u32);
            }
            let bytes = postcard::to_allocvec(&(n,)).unwrap();
            Action::HostCall(
                n % 2,
                bytes,
                Box::new(|_, status, bytes| Action::Return(status, bytes)),
            )
        })
        .import::<(u32,), u32>("even")
        .import::<(u32,), u32>("odd");
    let mut sandbox = SandboxBuilder::on(functions.fake(), functions.program())
        .register_with("even", |call, (n,): (u32,)| {
            Ok(call.call::<(u32,), u32>("down", (n - 1,))? + 1)
        })
        .register_with("odd", |call, (n,): (u32,)| {
            assert!(call.remaining().unwrap().as_secs() < 100);
            Ok(call.call::<(u32,), u32>("down", (n - 1,))? + 10)
        })
        .build()
        .unwrap();
    assert_eq!(sandbox.call::<_, u32>("down", (0u32,)).unwrap(), 100);
    assert_eq!(sandbox.call::<_, u32>("down", (1u32,)).unwrap(), 110);
    assert_eq!(sandbox.call::<_, u32>("down", (2u32,)).unwrap(), 111);
    // The handler of odd numbers is already running.
    let error = sandbox.call::<_, u32>("down", (3u32,)).unwrap_err();
    assert!(
        matches!(&error, CallError::Guest(error) if error.message.contains("running")),
        "{error}"
    );
    assert_eq!(sandbox.status(), Status::Ready);
    assert_eq!(sandbox.call::<_, u32>("down", (2u32,)).unwrap(), 111);
}

/// Sandboxes move between threads, and snapshots are shared by them.
#[test]
fn values_are_as_threads_need_them() {
    fn send<T: Send>() {}
    fn share<T: Send + Sync>() {}
    send::<Sandbox<sandbox::Kvm>>();
    send::<sandbox::Pooled<sandbox::Kvm>>();
    send::<SandboxBuilder<sandbox::Kvm>>();
    share::<sandbox::Snapshot<sandbox::Kvm>>();
    share::<sandbox::Pool<sandbox::Kvm>>();
    share::<sandbox::InterruptHandle>();
    share::<CallError>();
}
