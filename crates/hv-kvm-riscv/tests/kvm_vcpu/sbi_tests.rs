//! SBI calls of guests that KVM forwards to user space.

use hv_core::{Outcome, Vcpu as _};
use hv_kvm_riscv::HostCapabilities;

use crate::{
    guest::{Console, DATA, Guest, Test, TestResult, expect},
    guest_code::{
        A0, A1, A2, A6, A7, Code, ECALL, S0, S1, T0, Width, ZERO, addi, jump, load, or, slli, store,
    },
};

pub(crate) const TESTS: &[Test] = &[
    ("sbi::debug_console_writes", debug_console_writes),
    ("sbi::debug_console_reads", debug_console_reads),
    (
        "sbi::debug_console_stays_inside_ram",
        debug_console_stays_inside_ram,
    ),
    ("sbi::legacy_console", legacy_console),
    ("sbi::state_contains_the_result", state_contains_the_result),
    ("sbi::power_off_and_reset", power_off_and_reset),
    ("sbi::legacy_shutdown", legacy_shutdown),
    (
        "sbi::other_calls_are_not_supported",
        other_calls_are_not_supported,
    ),
];

const DBCN: u64 = 0x4442_434e;

/// Stores the results of a call, `a0` and `a1`, at `address`. Changes `t0`.
fn store_results(code: Code, address: u64) -> Code {
    code.set(T0, address)
        .then([store(Width::Double, A0, T0, 0), store(Width::Double, A1, T0, 8)])
}

fn debug_console_writes(host: &HostCapabilities) -> TestResult {
    let code = Code::new().set(A0, 5).set(A1, DATA).set(A2, 0).call(DBCN, 0);
    let code = store_results(code, DATA + 0x100)
        .set(A0, u64::from(b'!'))
        .call(DBCN, 2);
    let code = store_results(code, DATA + 0x110).exit(ZERO);
    let console = Console::default();
    let mut guest = Guest::new(host, &code, 1, crate::guest::devices_with(&console))?;
    guest.write(DATA, b"hello, world")?;
    guest.expect_outcome("outcome", &Outcome::DebugExit(0))?;
    expect("console", &console.bytes(), &b"hello!".to_vec())?;
    let results = guest.read(DATA + 0x100, 32)?;
    let mut expected = vec![0; 32];
    expected.splice(8..9, [5]);
    expect("error and number of bytes of both calls", &results, &expected)?;
    Ok(None)
}

fn debug_console_reads(host: &HostCapabilities) -> TestResult {
    // Two reads of ten bytes. Three bytes are queued, so the second read returns none.
    let read = |code: Code| code.set(A0, 10).set(A1, DATA).set(A2, 0).call(DBCN, 1);
    let code = store_results(read(Code::new()), DATA + 0x100);
    let code = store_results(read(code), DATA + 0x110).exit(ZERO);
    let mut guest = Guest::new(host, &code, 1, crate::guest::devices())?;
    guest.write(DATA, b"..........")?;
    guest.board.vm().console().push(b"abc")?;
    guest.expect_outcome("outcome", &Outcome::DebugExit(0))?;
    expect("memory", &guest.read(DATA, 10)?, &b"abc.......".to_vec())?;
    let found = [0x100, 0x108, 0x110, 0x118].map(|offset| guest.read_u64(DATA + offset).ok());
    expect("results", &found, &[Some(0), Some(3), Some(0), Some(0)])?;
    Ok(None)
}

fn debug_console_stays_inside_ram(host: &HostCapabilities) -> TestResult {
    // The last byte of RAM; the same and one byte after it; an address of more than 64 bits.
    let end = crate::guest::CODE + crate::guest::RAM_LEN;
    let write = |code: Code, len, low, high| code.set(A0, len).set(A1, low).set(A2, high).call(DBCN, 0);
    let code = store_results(write(Code::new(), 1, end - 1, 0), DATA);
    let code = store_results(write(code, 2, end - 1, 0), DATA + 16);
    let code = store_results(write(code, 1, DATA, 1), DATA + 32).exit(ZERO);
    let console = Console::default();
    let mut guest = Guest::new(host, &code, 1, crate::guest::devices_with(&console))?;
    guest.write(end - 1, b"x")?;
    guest.expect_outcome("outcome", &Outcome::DebugExit(0))?;
    expect("console", &console.bytes(), &b"x".to_vec())?;
    let found = [0, 8, 16, 32].map(|offset| guest.read_u64(DATA + offset).ok());
    // SBI_ERR_INVALID_PARAM is -3.
    let invalid = Some(3_u64.wrapping_neg());
    expect("results", &found, &[Some(0), Some(1), invalid, invalid])?;
    Ok(None)
}

/// Whether KVM supports the legacy functions of SBI 0.1. A kernel can be built without them.
fn has_legacy(host: &HostCapabilities) -> Result<bool, Box<dyn std::error::Error>> {
    // Function 3 of the base extension, "probe SBI extension", for "console putchar".
    let code = Code::new().set(A0, 1).call(0x10, 3).exit(A1);
    match Guest::new(host, &code, 1, crate::guest::devices())?.boot()? {
        Outcome::DebugExit(found) => Ok(found != 0),
        outcome => Err(format!("the probe of the extension did not return: {outcome}").into()),
    }
}

const NO_LEGACY: &str = "this host's KVM was built without the legacy functions of SBI";

fn legacy_console(host: &HostCapabilities) -> TestResult {
    if !has_legacy(host)? {
        return Ok(Some(NO_LEGACY));
    }
    // Reads a byte and writes it, then reads again without input. The calls must not change `a1`.
    let code = Code::new()
        .set(A1, 0x1234)
        .set(A7, 2)
        .then([ECALL, addi(S0, A0, 0)])
        .set(A7, 1)
        .then([ECALL])
        .set(A7, 2)
        .then([ECALL, addi(S1, A0, 0)]);
    let code = store_results(code, DATA + 16).then([addi(A0, S0, 0), addi(A1, S1, 0)]);
    let code = store_results(code, DATA).exit(ZERO);
    let console = Console::default();
    let mut guest = Guest::new(host, &code, 1, crate::guest::devices_with(&console))?;
    guest.board.vm().console().push(b"z")?;
    guest.expect_outcome("outcome", &Outcome::DebugExit(0))?;
    expect("console", &console.bytes(), &b"z".to_vec())?;
    let found = [0, 8, 24].map(|offset| guest.read_u64(DATA + offset).ok());
    expect(
        "first byte, second byte, a1",
        &found,
        &[Some(u64::from(b'z')), Some(u64::MAX), Some(0x1234)],
    )?;
    Ok(None)
}

/// A read of the state completes the call. A state that is written after it is not changed by the call.
fn state_contains_the_result(host: &HostCapabilities) -> TestResult {
    let code = Code::new()
        .set(A0, u64::from(b'a'))
        .set(A7, DBCN)
        .set(A6, 2)
        .then([ECALL, jump(0)]);
    let at_call = crate::guest::CODE + u64::try_from(code.bytes().len())? - 8;
    let console = Console::default();
    let mut guest = Guest::new(host, &code, 1, crate::guest::devices_with(&console))?;
    let [vcpu] = guest.board.vcpus_mut() else {
        return Err("expected one vCPU".into());
    };
    vcpu.set_state(&crate::guest::state())?;
    vcpu.run()?;
    expect("console", &console.bytes(), &b"a".to_vec())?;
    let state = vcpu.state()?;
    expect("pc", &state.entry(), &(at_call + 4))?;
    let boot_core::CpuState::Riscv64(mut state) = state else {
        return Err("the state is of another architecture".into());
    };
    expect("a0", &state.x[10], &0)?;
    state.pc = at_call;
    state.x[10] = u64::from(b'b');
    vcpu.set_state(&(*state).into())?;
    vcpu.run()?;
    expect("console", &console.bytes(), &b"ab".to_vec())?;
    Ok(None)
}

fn power_off_and_reset(host: &HostCapabilities) -> TestResult {
    const SRST: u64 = 0x5352_5354;
    for (kind, expected) in [(0, Outcome::PowerOff), (1, Outcome::Reset), (2, Outcome::Reset)] {
        let code = Code::new().set(A0, kind).set(A1, 0).call(SRST, 0).exit(A0);
        let mut guest = Guest::new(host, &code, 2, crate::guest::devices())?;
        for round in 0..2 {
            guest.expect_outcome(&format!("reset type {kind}, round {round}"), &expected)?;
            // KVM has stopped all vCPUs. A reset makes the boot hart runnable.
            hv_core::reset_vcpus(guest.board.vcpus_mut())?;
        }
    }
    Ok(None)
}

fn legacy_shutdown(host: &HostCapabilities) -> TestResult {
    if !has_legacy(host)? {
        return Ok(Some(NO_LEGACY));
    }
    let code = Code::new().set(A7, 8).then([ECALL, jump(0)]);
    Guest::new(host, &code, 1, crate::guest::devices())?.expect_outcome("outcome", &Outcome::PowerOff)?;
    Ok(None)
}

/// KVM also forwards calls of experimental extensions.
fn other_calls_are_not_supported(host: &HostCapabilities) -> TestResult {
    let code = store_results(Code::new().call(0x0800_0001, 0), DATA)
        .set(S0, DATA)
        .then([load(Width::Double, A0, S0, 0), slli(A1, A0, 0), or(A0, A0, A1)])
        .exit(A0);
    // SBI_ERR_NOT_SUPPORTED is -2.
    Guest::new(host, &code, 1, crate::guest::devices())?
        .expect_outcome("result", &Outcome::DebugExit(2_u32.wrapping_neg()))?;
    Ok(None)
}
