//! Sandboxes of the demo guest.

use std::env;
use std::error::Error;
use std::fs;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sandbox::{CallError, Cause, CopyOnWrite, Crash, Sandbox, SandboxBuilder, Snapshot, Status};
use sandbox_abi::{BootInfo, Shape, layout};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zerocopy::FromBytes;

use crate::guest::{copy_on_write, program};

/// Result of a step of a test.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Limit of a call that ends by itself: sufficient in an emulated machine that shares its CPU.
pub(crate) const LIMIT: Duration = Duration::from_mins(1);

/// Size of a page.
pub(crate) const PAGE: usize = 4096;

fn file() -> String {
    program("sandbox-demo")
}

/// Reason why tests cannot run.
pub(crate) fn skip_reason() -> Option<String> {
    hv_kvm_test::skip_reason(&[file()], false)
}

/// Reason why guests cannot copy pages on this host.
///
/// QEMU with one emulated CPU executes an atomic access of riscv64 as a load and a store. Version 10.0, not 7.2, reports a fault of that load in the second
/// translation stage as one of a store, before the page tables of the guest are asked for a store. KVM refuses that in a read-only slot. The
/// specification has the fault of the guest's page tables first (RISC-V Privileged Architecture, "Two-Stage Address Translation").
pub(crate) fn copies_skip_reason() -> Option<String> {
    let skip = skip_reason();
    if skip.is_some() || cfg!(not(target_arch = "riscv64")) {
        return skip;
    }
    let add = || -> Result<Option<String>> {
        let builder = load()?.copy_on_write(CopyOnWrite::Guest);
        let mut sandbox = with_increment(builder).build()?;
        let info = peek(&mut sandbox, layout::BOOT_INFO, size_of::<BootInfo>())?;
        let info = BootInfo::read_from_bytes(&info).map_err(|error| error.to_string())?;
        // Not at the end of the heap, where the allocator writes. A neighbour makes the pages ones of 4 KiB.
        let page = info.heap.get() + info.heap_len.get() - 0x10_0000;
        poke(&mut sandbox, page, b"x")?;
        Ok(match sandbox.call::<_, u64>("add_atomically", (page + 0x8008,)) {
            Err(CallError::Crashed(crash))
                if crash.is_exit() && crash.to_string().contains("suberror 95") =>
            {
                let reason =
                    "the emulator reports the load of an atomic access as a store, before the page fault";
                Some(reason.to_owned())
            }
            _ => None,
        })
    };
    // Other errors are those of the tests.
    add().unwrap_or(None)
}

/// Registers the host function of the guest: it adds 1.
pub(crate) fn with_increment(builder: SandboxBuilder) -> SandboxBuilder {
    builder.register("increment", |value: u64| value + 1)
}

/// A sandbox that starts at the entry of the program.
pub(crate) fn load() -> Result<SandboxBuilder> {
    let elf = fs::read(hv_kvm_test::fixture(&file()))?;
    let builder = SandboxBuilder::from_bytes(elf).deadline(LIMIT);
    Ok(builder.copy_on_write(copy_on_write()))
}

/// The first state in which the guest waits for a call. All sandboxes start from it, so they share one image.
pub(crate) fn start() -> Result<Snapshot> {
    static START: [Mutex<Option<Snapshot>>; 2] = [const { Mutex::new(None) }; 2];
    let start = &START[usize::from(copy_on_write() == CopyOnWrite::Guest)];
    let mut start = start.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(snapshot) = &*start {
        return Ok(snapshot.clone());
    }
    let snapshot = with_increment(load()?).build()?.snapshot()?;
    Ok(start.insert(snapshot).clone())
}

/// The builder of a sandbox without host functions.
pub(crate) fn builder() -> Result<SandboxBuilder> {
    Ok(SandboxBuilder::from_snapshot(&start()?))
}

/// A sandbox.
pub(crate) fn sandbox() -> Result<Sandbox> {
    Ok(with_increment(builder()?).build()?)
}

/// Fails with a text, unless `holds`.
pub(crate) fn check(holds: bool, text: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(text().into()) }
}

/// The number in an environment variable, which makes a test longer, or `default`.
pub(crate) fn repetitions<N>(variable: &str, default: N) -> Result<N>
where
    N: FromStr<Err: Into<Box<dyn Error>>>,
{
    match env::var(variable) {
        Ok(number) => number.parse().map_err(Into::into),
        Err(_) => Ok(default),
    }
}

/// Checks that two values are equal.
pub(crate) use hv_kvm_test::expect;

/// Checks that a call works.
pub(crate) fn works(sandbox: &mut Sandbox) -> Result<()> {
    expect("status", &sandbox.status(), &Status::Ready)?;
    let sum: u32 = sandbox.call("add", (40u32, 2u32))?;
    expect("a sum", &sum, &42)?;
    let value: u64 = sandbox.call("host_loop", (3u64,))?;
    expect("calls of the host function", &value, &3)
}

/// The error of a call that has to fail.
pub(crate) fn error_of<Args, Ret>(sandbox: &mut Sandbox, name: &str, parameters: Args) -> Result<CallError>
where
    Args: Serialize + Shape,
    Ret: DeserializeOwned + Shape,
{
    match sandbox.call::<Args, Ret>(name, parameters) {
        Ok(_) => Err(format!("the call of {name} returned").into()),
        Err(error) => Ok(error),
    }
}

/// The report of a call that has to crash the guest. The sandbox is poisoned after it.
pub(crate) fn crash_of<Args, Ret>(sandbox: &mut Sandbox, name: &str, parameters: Args) -> Result<Crash>
where
    Args: Serialize + Shape,
    Ret: DeserializeOwned + Shape,
{
    let error = error_of::<Args, Ret>(sandbox, name, parameters)?;
    let CallError::Crashed(crash) = error else {
        return Err(format!("{name} did not crash: {}", hv_kvm_test::explain(&error)).into());
    };
    let cause = if crash.is_exit() {
        Cause::Exit
    } else {
        Cause::Crash
    };
    expect(
        "status after a crash",
        &sandbox.status(),
        &Status::Poisoned(cause),
    )?;
    Ok(*crash)
}

/// Calls `count`, which returns how often it was called.
pub(crate) fn count(sandbox: &mut Sandbox) -> Result<u64> {
    Ok(sandbox.call("count", ())?)
}

/// The bytes at an address of the guest.
pub(crate) fn peek(sandbox: &mut Sandbox, address: u64, len: usize) -> Result<Vec<u8>> {
    Ok(sandbox.call("peek", (address, u64::try_from(len)?))?)
}

/// Writes to the guest's memory.
pub(crate) fn poke(sandbox: &mut Sandbox, address: u64, bytes: &[u8]) -> Result<()> {
    Ok(sandbox.call("poke", (address, bytes))?)
}

/// Bytes that differ from place to place.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| (at.wrapping_mul(0x9e37) >> 8).to_le_bytes()[0])
        .collect()
}
