//! Interrupts of devices through the PLIC and the AIA, and of the timer.

use std::{
    thread,
    time::{Duration, Instant},
};

use hv_core::virt::{self, RiscvIrqchip};
use hv_core::{Outcome, Vm as _};
use hv_kvm_riscv::{HostCapabilities, KvmError, KvmVm, Layout, SbiConsole};

use crate::{
    guest::{CODE, Console, Guest, HANDLER, Test, TestResult, expect, machine, run_config, state},
    guest_code::{
        A0, Code, S0, S1, T1, WFI, Width, ZERO, add, addi, branch_unequal, csr, csr_set, csr_write, jump,
        load, slli, srli, store,
    },
};

pub(crate) const TESTS: &[Test] = &[
    ("irq::serial_input_through_the_plic", |host| {
        serial_input(host, RiscvIrqchip::Plic)
    }),
    ("irq::serial_input_through_the_aia", |host| {
        serial_input(host, RiscvIrqchip::AplicImsic)
    }),
    ("irq::console_output", console_output),
    (
        "irq::plic_interrupt_stays_pending_after_a_reset_of_the_hart",
        plic_after_reset,
    ),
    ("irq::timer", timer),
    ("irq::machines_are_checked", machines_are_checked),
];

pub(crate) const NO_AIA: &str = "this host's KVM has no AIA in the kernel";

/// Bits of `sie` and `sstatus`.
const SEIE: u64 = 1 << 9;
const STIE: u64 = 1 << 5;
const SSTATUS_SIE: u64 = 1 << 1;
const SOURCE: u64 = 1;

fn has(host: &HostCapabilities, irqchip: RiscvIrqchip) -> bool {
    irqchip == RiscvIrqchip::Plic || host.aia_ids.is_some()
}

/// Enables source 1 for hart 0 in the interrupt controller.
fn enable_source(code: Code, irqchip: RiscvIrqchip) -> Code {
    let plic = virt::PLIC.start();
    let aplic = virt::APLIC.start();
    match irqchip {
        RiscvIrqchip::Plic => code
            .store_value(Width::Word, plic + 4 * SOURCE, 1)
            .store_value(Width::Word, plic + 0x2000, 1 << SOURCE)
            .store_value(Width::Word, plic + 0x20_0000, 0),
        // Domain: interrupts enabled, delivery by MSIs. Source: rising edge, target hart 0 with identity 5. Interrupt file of the
        // hart: delivery enabled, no threshold, identity 5 enabled.
        _ => code
            .store_value(Width::Word, aplic, 0x104)
            .store_value(Width::Word, aplic + 4 * SOURCE, 4)
            .store_value(Width::Word, aplic + 0x3000 + 4 * SOURCE, 5)
            .store_value(Width::Word, aplic + 0x1edc, SOURCE)
            .set_csr(csr::SISELECT, 0x70)
            .set_csr(csr::SIREG, 1)
            .set_csr(csr::SISELECT, 0x72)
            .set_csr(csr::SIREG, 0)
            .set_csr(csr::SISELECT, 0xc0)
            .set_csr(csr::SIREG, 1 << 5),
    }
}

/// Claims the interrupt and completes it. The number of its source (PLIC) or its identity (AIA) is then in `s0`.
fn claim(code: Code, irqchip: RiscvIrqchip) -> Code {
    match irqchip {
        RiscvIrqchip::Plic => code
            .set(T1, virt::PLIC.start() + 0x20_0004)
            .then([load(Width::Word, S0, T1, 0), store(Width::Word, S0, T1, 0)]),
        // The identity is in bits 16 and up of `stopei`.
        _ => code.then([csr_write(S0, csr::STOPEI, ZERO), srli(S0, S0, 16)]),
    }
}

/// Sets the trap handler to [`HANDLER`], and enables interrupts with these bits of `sie`.
fn enable_interrupts(code: Code, bits: u64) -> Code {
    code.set_csr(csr::STVEC, HANDLER)
        .set_csr(csr::SIE, bits)
        .set(T1, SSTATUS_SIE)
        .then([csr_set(ZERO, csr::SSTATUS, T1)])
}

/// The host sends two bytes to the serial port, the second one after the guest's output for the first. The guest writes each
/// byte plus one, and ends with the numbers of both interrupts.
fn serial_input(host: &HostCapabilities, irqchip: RiscvIrqchip) -> TestResult {
    if !has(host, irqchip) {
        return Ok(Some(NO_AIA));
    }
    let serial = virt::SERIAL.start();
    // IER: enables the interrupt for received data. s1 collects the numbers of the interrupts.
    let code = enable_source(Code::new().set(S1, 0), irqchip).store_value(Width::Byte, serial + 1, 1);
    let code = enable_interrupts(code, SEIE).then([WFI, jump(-4)]);
    let handler = claim(Code::new(), irqchip)
        .set(T1, serial)
        .then([
            load(Width::Byte, A0, T1, 0),
            addi(A0, A0, 1),
            store(Width::Byte, A0, T1, 0),
            // s1 = s1 << 8 | s0
            slli(S1, S1, 8),
            add(S1, S1, S0),
            // Returns after the first interrupt.
            addi(T1, ZERO, 0xff),
        ])
        .then(sret_unless_greater(S1, T1))
        .exit(S1);
    let console = Console::default();
    let mut guest = Guest::with_irqchip(host, &code, 1, crate::guest::devices_with(&console), irqchip)?;
    guest.write(HANDLER, &handler.bytes())?;
    let input = guest.board.console_input().ok_or("the board has no console")?;
    let output = console.clone();
    let sender = thread::spawn(move || {
        let start = Instant::now();
        let mut result = input.push(b"a");
        while output.bytes().is_empty() && start.elapsed() < Duration::from_secs(30) {
            thread::sleep(Duration::from_millis(1));
        }
        if result.is_ok() {
            result = input.push(b"m");
        }
        result
    });
    let outcome = guest.boot()?;
    sender.join().ok().ok_or("the sending thread panicked")??;
    let number = match irqchip {
        RiscvIrqchip::Plic => 0x0101,
        _ => 0x0505,
    };
    expect("interrupt numbers", &outcome, &Outcome::DebugExit(number))?;
    expect("console", &console.bytes(), &b"bn".to_vec())?;
    Ok(None)
}

/// `sret` unless `left > right` (unsigned): a branch over `sret`.
fn sret_unless_greater(left: u32, right: u32) -> [u32; 2] {
    const SRET: u32 = 0x1020_0073;
    // bltu right, left, +8
    [left << 20 | right << 15 | 6 << 12 | 8 << 7 | 0x63, SRET]
}

fn console_output(host: &HostCapabilities) -> TestResult {
    let serial = virt::SERIAL.start();
    let mut code = Code::new();
    for byte in b"ok" {
        code = code.store_value(Width::Byte, serial, (*byte).into());
    }
    let console = Console::default();
    let mut guest = Guest::new(host, &code.exit(ZERO), 1, crate::guest::devices_with(&console))?;
    guest.expect_outcome("outcome", &Outcome::DebugExit(0))?;
    expect("console", &console.bytes(), &b"ok".to_vec())?;
    Ok(None)
}

/// A hart that is reset while the output of the PLIC is high is still interrupted.
fn plic_after_reset(host: &HostCapabilities) -> TestResult {
    let irqchip = RiscvIrqchip::Plic;
    let code = enable_source(Code::new(), irqchip).exit(ZERO);
    let mut guest = Guest::with_irqchip(host, &code, 1, crate::guest::devices(), irqchip)?;
    guest.expect_outcome("first run", &Outcome::DebugExit(0))?;
    guest.board.vm().set_irq(1, true)?;
    hv_core::reset_vcpus(guest.board.vcpus_mut())?;
    let code = enable_interrupts(Code::new(), SEIE).then([WFI, jump(-4)]);
    guest.write(CODE, &code.bytes())?;
    guest.write(HANDLER, &claim(Code::new(), irqchip).exit(S0).bytes())?;
    let outcome = guest.board.boot(&state(), &run_config())?;
    expect("interrupt source", &outcome, &Outcome::DebugExit(1))?;
    // The line is still high, but a reset of the controller disables all sources.
    guest.board.vm().reset_irqchip()?;
    hv_core::reset_vcpus(guest.board.vcpus_mut())?;
    let outcome = guest.board.boot(&state(), &hv_kvm_test::short_run_config())?;
    expect("after a reset of hart and PLIC", &outcome, &Outcome::Deadline)?;
    Ok(None)
}

/// The timer of SBI, which every host has, interrupts the guest.
///
/// On a host with Sstc, KVM (seen in Linux 6.12) writes the time of `set_timer` to `vstimecmp` only. If the vCPU's
/// thread is scheduled out before the guest runs again, KVM restores `vstimecmp` from the copy of the last exit, and the
/// new time is lost. A time that the guest reads back from `stimecmp` is safe, because every exit copies it. So the guest
/// repeats the call until `stimecmp` has its time.
fn timer(host: &HostCapabilities) -> TestResult {
    let mut code = enable_interrupts(Code::new(), STIE);
    let before = code.bytes().len();
    // set_timer(now + 1000), extension "TIME"; rdtime is a read of CSR 0xc01. The call returns its error in a0.
    code = code
        .then([csr_set(S0, 0xc01, ZERO), addi(S0, S0, 1000), addi(A0, S0, 0)])
        .call(0x5449_4d45, 0);
    if host.isa.has("sstc") {
        code = code.then([csr_set(T1, csr::STIMECMP, ZERO)]);
        let length = i32::try_from(code.bytes().len() - before)?;
        code = code.then([branch_unequal(T1, S0, -length)]);
    }
    let mut guest = Guest::new(host, &code.then([WFI, jump(-4)]), 1, crate::guest::devices())?;
    let handler = Code::new().then([csr_set(A0, csr::SCAUSE, ZERO)]).exit(A0);
    guest.write(HANDLER, &handler.bytes())?;
    // Interrupt 5. The exit code does not contain the top bit of the cause.
    guest.expect_outcome("cause", &Outcome::DebugExit(5))?;
    Ok(None)
}

fn machines_are_checked(host: &HostCapabilities) -> TestResult {
    let console = || {
        SbiConsole::new(
            Box::new(std::io::sink()),
            std::sync::Arc::new(hv_core::NullObserver),
        )
    };
    let check = |what: &str, change: &dyn Fn(&mut Layout), is_expected: fn(&KvmError) -> bool| {
        let mut layout = Layout::of(&machine(host, 1, host.irqchip())?)?;
        change(&mut layout);
        let result = KvmVm::new(&layout, console()).and_then(|vm| vm.create_vcpu(0).map(drop));
        match result {
            Err(error) if is_expected(&error) => Ok(()),
            Err(error) => Err(Box::<dyn std::error::Error>::from(error)),
            Ok(()) => Err(format!("{what} was accepted").into()),
        }
    };
    check(
        "a wrong timer frequency",
        &|layout| layout.timebase_frequency = Some(1),
        |error| matches!(error, KvmError::HostMismatch { found: 1, .. }),
    )?;
    check(
        "a wrong block size",
        &|layout| layout.harts[0].cboz_block_size = Some(7),
        |error| matches!(error, KvmError::HostMismatch { found: 7, .. }),
    )?;
    check(
        "an unknown extension",
        &|layout| {
            layout.harts[0].isa =
                boot_core::machine::Isa::new(["i", "xnothing"]).expect("a well-formed instruction set");
        },
        |error| matches!(error, KvmError::MissingIsaExtension { name } if name == "xnothing"),
    )?;
    check("a million vCPUs", &|layout| layout.vcpus = 1_000_000, |error| {
        matches!(error, KvmError::HostMismatch { found: 1_000_000, .. })
    })?;
    // Sources that the PLIC does not have.
    let mut layout = Layout::of(&machine(host, 1, RiscvIrqchip::Plic)?)?;
    let vm = KvmVm::new(&layout, console())?;
    for source in [0, 96, u32::MAX] {
        match vm.set_irq(source, true) {
            Err(KvmError::Irq(error)) if error.line == source => {}
            result => return Err(format!("source {source}: {result:?}").into()),
        }
    }
    layout.irqchip = hv_kvm_riscv::IrqchipLayout::None;
    match KvmVm::new(&layout, console())?.set_irq(1, true) {
        Err(KvmError::Irq(_)) => {}
        result => return Err(format!("without an interrupt controller: {result:?}").into()),
    }
    Ok(None)
}
