//! What a guest sees of its CPU after a restore.

use std::collections::BTreeMap;
use std::time::Duration;

use hv_kvm_test::{TestResult, expect};
use sandbox::{CallError, CallOptions, Cause, Sandbox, SandboxBuilder, Status};

use crate::guest::{sandbox, with_functions};

/// A test, which may find that the CPU of the host lacks something.
pub(crate) type Test = (&'static str, fn() -> TestResult);

pub(crate) const TESTS: &[Test] = &[
    (
        "sandbox::restore::probe_sees_nothing_of_a_disturbance",
        probe_sees_nothing,
    ),
    (
        "sandbox::restore::probe_sees_nothing_of_an_interrupted_disturbance",
        probe_sees_nothing_of_an_interrupted_one,
    ),
    #[cfg(target_arch = "x86_64")]
    ("sandbox::call::avx", avx_products),
    #[cfg(target_arch = "x86_64")]
    ("sandbox::restore::avx", avx),
];

/// Tests whose guest goes on with other vectors or another stack for exceptions, with which it cannot copy pages.
pub(crate) const WITHOUT_COPIES: &[&str] = &[
    "sandbox::restore::probe_sees_nothing_of_a_disturbance",
    "sandbox::restore::avx",
];

type Error = Box<dyn std::error::Error>;

/// Values of registers by their names.
type Registers = BTreeMap<String, Vec<u64>>;

/// Registers in which the guest sees what it changed. Others change only on some CPUs, or the code that calls `probe` overwrites them.
#[cfg(target_arch = "x86_64")]
const VISIBLE: &[&str] = &[
    "RFLAGS",
    "CR0",
    "CR2",
    "CR3",
    "CR4",
    "CR8",
    "DR0",
    "DR1",
    "DR2",
    "DR3",
    "DR6",
    "DR7",
    "DS",
    "ES",
    "FS",
    "GS",
    "GDTR base",
    "GDTR limit",
    "IDTR base",
    "IDTR limit",
    "FCW, FSW, FTW, FOP",
    "MXCSR",
    "ST0",
    "XMM8",
    "XMM9",
    "XMM10",
    "XMM11",
    "XMM12",
    "XMM13",
    "XMM14",
    "XMM15",
    "a static",
    "a block of the heap",
];
#[cfg(target_arch = "aarch64")]
const VISIBLE: &[&str] = &[
    "SCTLR_EL1",
    "TTBR1_EL1",
    "TCR_EL1",
    "MAIR_EL1",
    "VBAR_EL1",
    "TPIDR_EL0",
    "TPIDR_EL1",
    "TPIDRRO_EL0",
    "CONTEXTIDR_EL1",
    "SP_EL0",
    "PAR_EL1",
    "ESR_EL1",
    "FAR_EL1",
    "MDSCR_EL1",
    "DBGBVR0_EL1",
    "DBGBCR0_EL1",
    "DBGWVR0_EL1",
    "DBGWCR0_EL1",
    "CNTKCTL_EL1",
    "CNTV_CTL_EL0",
    "CNTV_CVAL_EL0",
    "CSSELR_EL1",
    "FPCR",
    "FPSR",
    "V16",
    "V17",
    "V18",
    "V19",
    "V20",
    "V21",
    "V22",
    "V23",
    "V24",
    "V25",
    "V26",
    "V27",
    "V28",
    "V29",
    "V30",
    "V31",
    "a static",
    "a block of the heap",
];
#[cfg(target_arch = "riscv64")]
const VISIBLE: &[&str] = &[
    "sstatus",
    "sie",
    "sip",
    "stvec",
    "sscratch",
    "sepc",
    "scause",
    "stval",
    "scounteren",
    "fcsr",
    "f0",
    "f1",
    "f2",
    "f3",
    "f4",
    "f5",
    "f6",
    "f7",
    "f10",
    "f11",
    "f12",
    "f13",
    "f14",
    "f15",
    "f16",
    "f17",
    "f28",
    "f29",
    "f30",
    "f31",
    "a static",
    "a block of the heap",
];

/// What a probe has of the guest's memory.
const MEMORY: &[&str] = &["a static", "a block of the heap"];

/// Registers that the guest sees if the CPU has them.
const VISIBLE_IF_PRESENT: &[&str] = &[
    "base of FS",
    "base of GS",
    "IA32_KERNEL_GS_BASE",
    "upper halves of YMM0 to YMM15",
    "stimecmp",
];

fn probe(sandbox: &mut Sandbox) -> Result<Registers, Error> {
    let registers: Vec<(String, Vec<u64>)> = sandbox.call("probe", ())?;
    Ok(registers.into_iter().collect())
}

/// The names of registers that only one of two probes has, or that have different values, with both values.
fn differences(left: &Registers, right: &Registers) -> BTreeMap<String, [Option<Vec<u64>>; 2]> {
    left.keys()
        .chain(right.keys())
        .map(|name| (name.clone(), [left.get(name).cloned(), right.get(name).cloned()]))
        .filter(|(_, [left, right])| left != right)
        .collect()
}

/// Checks that two probes are equal.
fn expect_equal(what: &str, found: &Registers, expected: &Registers) -> Result<(), Error> {
    let differences = differences(found, expected);
    if differences.is_empty() {
        return Ok(());
    }
    Err(format!("{what}: found and expected values differ: {differences:x?}").into())
}

/// Changes everything and checks that the guest sees it.
fn disturb(sandbox: &mut Sandbox, pattern: u64, before: &Registers) -> Result<(), Error> {
    sandbox.call::<_, ()>("disturb", (pattern,))?;
    let disturbed = probe(sandbox)?;
    let seen = differences(before, &disturbed);
    let present = VISIBLE_IF_PRESENT
        .iter()
        .filter(|name| before.contains_key(**name));
    let unseen: Vec<_> = VISIBLE
        .iter()
        .chain(present)
        .filter(|name| !seen.contains_key(**name))
        .collect();
    // XCR0 is not among them: where QEMU emulates the host, it is back after the first exit.
    expect("changes that the guest does not see", &unseen, &Vec::new())
}

const PATTERNS: [u64; 2] = [0x5a3c_96e1_7b24_d80e, 0x2d1e_4b70_c3f5_986b];

fn probe_sees_nothing() -> TestResult {
    let mut sandbox = sandbox()?;
    // The second snapshot has other memory. The registers of both are those of the first moment at which the guest waited, so the guest has
    // them from the first restore on.
    for round in 0..2 {
        let snapshot = sandbox.snapshot()?;
        sandbox.restore(&snapshot)?;
        let before = probe(&mut sandbox)?;
        sandbox.restore(&snapshot)?;
        expect_equal("after a probe", &probe(&mut sandbox)?, &before)?;
        for pattern in PATTERNS {
            disturb(&mut sandbox, pattern, &before)?;
            // A clone of the snapshot, which exists beside the disturbed sandbox.
            let mut clone = with_functions(SandboxBuilder::from_snapshot(&snapshot)).build()?;
            expect_equal("in a clone", &probe(&mut clone)?, &before)?;
            disturb(&mut clone, pattern, &before)?;
            clone.restore(&snapshot)?;
            expect_equal("in a clone after a restore", &probe(&mut clone)?, &before)?;
            sandbox.restore(&snapshot)?;
            expect_equal("after a restore", &probe(&mut sandbox)?, &before)?;
            // A snapshot keeps what the guest did to its memory. Its registers are those of the first moment at which the guest waited.
            disturb(&mut sandbox, pattern, &before)?;
            let of_disturbed = sandbox.snapshot()?;
            let mut expected = before.clone();
            let disturbed = probe(&mut sandbox)?;
            expected.extend(
                disturbed
                    .into_iter()
                    .filter(|(name, _)| MEMORY.contains(&name.as_str())),
            );
            sandbox.restore(&snapshot)?;
            sandbox.restore(&of_disturbed)?;
            expect_equal("of a disturbed snapshot", &probe(&mut sandbox)?, &expected)?;
            sandbox.restore(&snapshot)?;
        }
        sandbox.call::<_, u64>("count", ())?;
        expect(
            "a count",
            &sandbox.call::<_, u64>("count", ())?,
            &(2 * (round + 1)),
        )?;
    }
    Ok(None)
}

fn probe_sees_nothing_of_an_interrupted_one() -> TestResult {
    let mut sandbox = sandbox()?;
    let snapshot = sandbox.snapshot()?;
    sandbox.restore(&snapshot)?;
    let before = probe(&mut sandbox)?;
    let function = sandbox.function::<(u64,), ()>("disturb_and_spin")?;
    for pattern in PATTERNS {
        sandbox.restore(&snapshot)?;
        let options = CallOptions::default().with_deadline(Duration::from_millis(100));
        match sandbox.invoke(&function, &(pattern,), options) {
            Err(CallError::Deadline { .. }) => {}
            other => return Err(format!("no deadline: {other:?}").into()),
        }
        expect("status", &sandbox.status(), &Status::Poisoned(Cause::Deadline))?;
        sandbox.restore(&snapshot)?;
        expect_equal("after a restore", &probe(&mut sandbox)?, &before)?;
    }
    Ok(None)
}

/// Reason why there is no AVX, or none.
#[cfg(target_arch = "x86_64")]
fn check_avx(sandbox: &mut Sandbox) -> TestResult {
    let left: Vec<f64> = (1..=64).map(f64::from).collect();
    let right: Vec<f64> = (1..=64).map(|number| 1.0 / f64::from(number + 2)).collect();
    let expected: Vec<f64> = left
        .iter()
        .zip(&right)
        .map(|(left, right)| left * right)
        .collect();
    let has_avx = std::arch::is_x86_feature_detected!("avx");
    let products: Option<Vec<f64>> = sandbox.call("avx_products", (left, right))?;
    expect("whether the guest has AVX", &products.is_some(), &has_avx)?;
    let Some(products) = products else {
        return Ok(Some("the CPU has no AVX"));
    };
    expect("products", &products, &expected)?;
    Ok(None)
}

#[cfg(target_arch = "x86_64")]
fn avx_products() -> TestResult {
    let mut sandbox = sandbox()?;
    let snapshot = sandbox.snapshot()?;
    for _ in 0..3 {
        let missing = check_avx(&mut sandbox)?;
        if missing.is_some() {
            return Ok(missing);
        }
        sandbox.restore(&snapshot)?;
    }
    Ok(None)
}

#[cfg(target_arch = "x86_64")]
fn avx() -> TestResult {
    const UPPER: &str = "upper halves of YMM0 to YMM15";
    let mut sandbox = sandbox()?;
    let snapshot = sandbox.snapshot()?;
    let missing = check_avx(&mut sandbox)?;
    if missing.is_some() {
        return Ok(missing);
    }
    sandbox.restore(&snapshot)?;
    let before = probe(&mut sandbox)?;
    for pattern in PATTERNS.map(|pattern| pattern & !1) {
        sandbox.call::<_, ()>("disturb", (pattern,))?;
        let disturbed = probe(&mut sandbox)?;
        let is_set = disturbed
            .get(UPPER)
            .is_some_and(|words| words.iter().all(|word| *word != 0));
        expect("upper halves that the guest wrote", &is_set, &true)?;
        sandbox.restore(&snapshot)?;
        expect(
            "upper halves after a restore",
            &probe(&mut sandbox)?.get(UPPER),
            &before.get(UPPER),
        )?;
    }
    Ok(None)
}
