//! The guest, and the host functions that it needs.

use std::env::consts::ARCH;
use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use hv_kvm_test::{explain, fixture, has_virtualisation};
use sandbox::{CallError, CopyOnWrite, Crash, HostError, Sandbox, SandboxBuilder};

pub(crate) type TestResult = Result<(), Box<dyn Error>>;
pub(crate) type Test = (&'static str, fn() -> TestResult);

/// The file of a guest below the directory of fixtures. Without hardware virtualisation, KVM of x86_64 executes integer instructions only; `cargo xtask guests`
/// builds guests without others.
pub(crate) fn program(name: &str) -> String {
    let kind = if ARCH == "x86_64" && !has_virtualisation() {
        "-softfloat"
    } else {
        ""
    };
    format!("guests/{ARCH}/{name}{kind}.elf")
}

fn file() -> String {
    program("sandbox-tests")
}

/// Reason why no test can run on this host. With `hardware`, exceptions and floating-point instructions of the guest are needed.
pub(crate) fn skip_reason(hardware: bool) -> Option<String> {
    hv_kvm_test::skip_reason(&[file()], hardware && ARCH == "x86_64")
}

/// A builder with all host functions.
pub(crate) fn builder() -> SandboxBuilder {
    with_functions(load())
}

/// A builder without host functions.
pub(crate) fn load() -> SandboxBuilder {
    SandboxBuilder::from_file(fixture(&file())).copy_on_write(copy_on_write())
}

/// Whether sandboxes of this process have guests that copy the pages that they write. Tests run one after the other.
static COPIES: AtomicBool = AtomicBool::new(false);

/// Who keeps the pages apart that a guest writes, in the test that runs.
pub(crate) fn copy_on_write() -> CopyOnWrite {
    if COPIES.load(Ordering::Relaxed) {
        CopyOnWrite::Guest
    } else {
        CopyOnWrite::Auto
    }
}

/// Runs a test with guests that copy the pages that they write.
pub(crate) fn with_copies<T>(test: impl FnOnce() -> T) -> T {
    COPIES.store(true, Ordering::Relaxed);
    let result = test();
    COPIES.store(false, Ordering::Relaxed);
    result
}

/// Adds all host functions.
pub(crate) fn with_functions(builder: SandboxBuilder) -> SandboxBuilder {
    let builder = builder
        .register("increment", |value: u64| value + 1)
        .register_bytes("reverse", |_, bytes, result| {
            result.extend(bytes.iter().rev());
            Ok(())
        });
    with_other_functions(builder)
}

/// Adds all host functions but `increment` and `reverse`.
pub(crate) fn with_other_functions(builder: SandboxBuilder) -> SandboxBuilder {
    let builder = builder.register_with("fail", |_, (text,): (String,)| {
        Err::<(), _>(HostError::new(7, text))
    });
    (0..10).fold(builder, |builder, n| {
        builder.register_with(&format!("call_back_{n}"), |guest, (n,): (u32,)| match n {
            0 => Ok(0),
            n => Ok(guest.call::<_, u32>("nested", (n - 1,))? + 1),
        })
    })
}

pub(crate) fn sandbox() -> Result<Sandbox, Box<dyn Error>> {
    Ok(builder().build()?)
}

/// The records of a log: level, text.
#[derive(Clone, Default)]
pub(crate) struct Records(Arc<Mutex<Vec<(String, String)>>>);

impl Records {
    pub(crate) fn push(&self, record: &sandbox::LogRecord<'_>) {
        let record = (record.level.to_string(), record.message.to_owned());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(record);
    }

    pub(crate) fn take(&self) -> Vec<(String, String)> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The crash of a call that failed with one.
pub(crate) fn crash<T>(result: Result<T, CallError>) -> Result<Box<Crash>, Box<dyn Error>> {
    match result {
        Err(CallError::Crashed(crash)) => Ok(crash),
        Err(error) => Err(format!("no crash: {}", explain(&error)).into()),
        Ok(_) => Err("no crash: the function returned".into()),
    }
}
