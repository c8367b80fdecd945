//! A machine for a handful of instructions.

use std::{error::Error, fmt::Write as _, io, num::NonZeroU32, sync::Arc, time::Duration};

use boot_core::{CpuState, cpu::aarch64::State, machine::Machine};
use guest_ram::GuestRam;
use hv_core::{Outcome, Policy, virt};
use hv_kvm_arm64::{Board, BoardDevices, HarnessError, KvmError, KvmVm, Layout, VcpuFeatures, board_on_kvm};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

/// How a test ended that did not fail.
pub(crate) enum Verdict {
    Passed,
    /// The host lacks what the test is about.
    CannotRun(&'static str),
}

pub(crate) type TestResult = Result<Verdict, Box<dyn Error>>;
pub(crate) type Check = Result<(), Box<dyn Error>>;
pub(crate) type Test = (&'static str, fn() -> TestResult);

// ```text
// 0x8000_0000  code, one page; with an exception table the next two pages
// 0x8000_8000  data
// 0x8000_c000  stack, downwards
// 0x8020_0000  end of RAM
// ```
pub(crate) const CODE: u64 = virt::RAM_BASE;
pub(crate) const DATA: u64 = CODE + 0x8000;
const STACK: u64 = CODE + 0xc000;
pub(crate) const RAM_LEN: u64 = 2 << 20;

/// Why no test can run here, if so. Only the lack of a KVM counts: a KVM that misbehaves fails the tests.
pub(crate) fn obstacle() -> Option<String> {
    match KvmVm::host_support() {
        Err(error @ KvmError::Harness(HarnessError::Open(_))) => Some(explain(&error)),
        _ => None,
    }
}

/// An error with everything behind it.
pub(crate) fn explain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        write!(text, ": {error}").expect("a String takes everything");
        source = error.source();
    }
    text
}

/// The reference machine.
pub(crate) fn machine(vcpus: u32, gic: virt::Gic) -> Result<Machine, Box<dyn Error>> {
    let vcpus = NonZeroU32::new(vcpus).ok_or("a machine has vCPUs")?;
    Ok(virt::arm64_machine(RAM_LEN, vcpus, gic)?)
}

/// What the harness needs to know of it.
pub(crate) fn layout(vcpus: u32) -> Result<Layout, Box<dyn Error>> {
    Ok(Layout::of(&machine(vcpus, virt::Gic::V3WithIts)?)?)
}

/// RAM of one region.
pub(crate) fn ram(base: u64, len: u64) -> Result<GuestRam, Box<dyn Error>> {
    Ok(GuestRam::from_memory(Arc::new(GuestMemoryMmap::from_ranges(&[
        (GuestAddress(base), usize::try_from(len)?),
    ])?)))
}

/// Two MiB of RAM with `code`.
pub(crate) fn memory(code: &[u8]) -> Result<GuestRam, Box<dyn Error>> {
    let ram = ram(CODE, RAM_LEN)?;
    assert!(code.len() <= 0x8000, "the guest's code ends before its data");
    ram.memory().write_slice(code, GuestAddress(CODE))?;
    Ok(ram)
}

/// EL1 at [`CODE`].
pub(crate) fn entry() -> State {
    let mut state = State::new(CODE);
    state.sp_el1 = STACK;
    state
}

/// A machine of `vcpus` with `code` in its memory.
pub(crate) fn board(
    code: &[u8],
    vcpus: u32,
    devices: BoardDevices,
) -> Result<(Board<KvmVm>, GuestRam), Box<dyn Error>> {
    board_with(code, &layout(vcpus)?, VcpuFeatures::default(), devices)
}

/// A machine as `layout` says.
pub(crate) fn board_with(
    code: &[u8],
    layout: &Layout,
    features: VcpuFeatures,
    devices: BoardDevices,
) -> Result<(Board<KvmVm>, GuestRam), Box<dyn Error>> {
    let memory = memory(code)?;
    let board = board_on_kvm(&memory, layout, features, devices)?;
    Ok((board, memory))
}

/// Long enough for anything that ends, on the slowest host.
pub(crate) fn policy() -> Policy {
    Policy {
        deadline: Some(Duration::from_mins(1)),
        ..Policy::default()
    }
}

/// A deadline for guests that do not end.
pub(crate) fn short_policy() -> Policy {
    Policy {
        deadline: Some(Duration::from_millis(100)),
        ..Policy::default()
    }
}

/// Runs `code` from `state` on one vCPU with the usual devices.
pub(crate) fn run(code: &[u8], state: State) -> Result<Outcome, Box<dyn Error>> {
    let (mut board, _memory) = board(code, 1, BoardDevices::default())?;
    Ok(board.boot(&CpuState::from(state), &policy())?)
}

/// Checks one thing in words.
pub(crate) fn expect<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, expected: &T) -> Check {
    if found == expected {
        return Ok(());
    }
    Err(format!("{what}: found {found:x?}, expected {expected:x?}").into())
}

/// Checks how a guest ended, as a whole test.
pub(crate) fn expect_outcome(found: &Outcome, expected: &Outcome) -> TestResult {
    expect("outcome", found, expected)?;
    Ok(Verdict::Passed)
}

/// A console that can be read.
#[derive(Clone, Default)]
pub(crate) struct Console(Arc<std::sync::Mutex<Vec<u8>>>);

impl Console {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.lock().expect("no test panics with the lock held").clone()
    }
}

impl io::Write for Console {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .expect("no test panics with the lock held")
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
