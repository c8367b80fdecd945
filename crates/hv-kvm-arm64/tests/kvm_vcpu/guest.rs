//! A machine for a handful of instructions.

use std::{error::Error, num::NonZeroU32, sync::Arc};

use boot_core::{Arch, CpuState, cpu::aarch64::State, machine::Machine};
use guest_ram::GuestRam;
use hv_core::{Outcome, virt};
use hv_kvm_arm64::{Board, BoardDevices, HarnessError, KvmError, KvmVm, Layout, VcpuFeatures, board_on_kvm};
pub(crate) use hv_kvm_test::{CheckResult as Check, Console, TestResult, expect};
use hv_kvm_test::{explain, run_config};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

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

/// Reason why no test can run on this host. Only a missing KVM is one: other errors fail the tests.
pub(crate) fn skip_reason() -> Option<String> {
    match KvmVm::host_capabilities() {
        Err(error @ KvmError::Harness(HarnessError::Open(_))) => Some(explain(&error)),
        _ => None,
    }
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

/// The usual devices.
pub(crate) fn devices() -> BoardDevices {
    BoardDevices::new(Arch::Aarch64)
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
    let board = board_on_kvm(&memory, &layout.clone().with_features(features), devices)?;
    Ok((board, memory))
}

/// Runs `code` from `state` on one vCPU with the usual devices.
pub(crate) fn run(code: &[u8], state: impl Into<CpuState>) -> Result<Outcome, Box<dyn Error>> {
    let (mut board, _memory) = board(code, 1, devices())?;
    Ok(board.boot(&state.into(), &run_config())?)
}

/// Checks how a guest ended, as a whole test.
pub(crate) fn expect_outcome(found: &Outcome, expected: &Outcome) -> TestResult {
    expect("outcome", found, expected)?;
    Ok(None)
}
