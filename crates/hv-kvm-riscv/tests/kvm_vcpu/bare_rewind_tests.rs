//! Bare machines: capture and rewind.

use std::{
    error::Error,
    thread,
    time::{Duration, Instant},
};

use hv_core::{
    BareVcpu as _, BareVm as _, DebugRequest, DebugVcpu as _, Fault, SystemEvent, Vcpu as _, VcpuExit,
    Vm as _,
};
use hv_kvm_riscv::{HostCapabilities, KvmBareVm, rewind::ImageParts};

use crate::{
    bare_code,
    bare_machine::{Bare, Captured, DOORBELL, IDENTITY, REWIND_CODE, config, expect_state, ring},
    guest::{CheckResult, Test, TestResult, expect},
    guest_code::{A0, A1, Code, T0, WFI, Width, jump, load},
};

pub(crate) const TESTS: &[Test] = &[
    ("bare::rewind_brings_the_state_back", rewind),
    (
        "bare::rewind_makes_the_first_instruction_the_right_one",
        first_instruction,
    ),
    ("bare::rewind_works_on_another_machine", rewind_elsewhere),
    ("bare::rewind_survives_a_kick", rewind_and_kick),
    ("bare::rewind_survives_kicks_at_any_time", rewind_and_kicks),
    ("bare::rewind_after_a_kick_of_a_loop", rewind_from_loop),
    ("bare::rewind_after_a_kick_of_a_wait", rewind_from_wait),
    ("bare::rewind_from_and_to_user_mode", user_mode),
    ("bare::rewind_after_faults_and_accesses", rewind_after_exits),
    ("bare::rewind_after_a_system_reset", rewind_after_system_reset),
    ("bare::rewind_flushes_translations", stale_translation),
    ("bare::rewind_from_foreign_translations", foreign_translation),
    ("bare::rewind_stops_the_timer", timer),
    ("bare::reset_is_the_state_after_creation", reset),
];

/// A start in the middle of a vector.
const VSTART: u64 = 2;

/// The optional registers of this host's vCPUs.
fn parts() -> Result<ImageParts, Box<dyn Error>> {
    let parts = Bare::new(&Code::new())?.capture()?.raw().parts.get();
    Ok(ImageParts(u32::try_from(parts)?))
}

/// A machine whose guest has rung once, its state there, and the state at the second ring, with every register changed; and `vstart` to
/// this value, if there are vectors.
fn dirty_machine_with(vstart: u64) -> Result<(Bare, Captured, Captured), Box<dyn Error>> {
    let mut bare = Bare::new(&bare_code::ring_and_dirty(parts()?, vstart))?;
    bare.tables
        .write(bare_code::DATA_OFFSET, &bare_code::dirty_data())?;
    let vectors: Vec<_> = (1..=0xff).cycle().take(0x5000).collect();
    bare.memory.write(0x1000, &vectors)?;
    expect("first ring", &bare.ring()?, &1)?;
    let saved = bare.capture()?;
    expect("second ring", &bare.ring()?, &2)?;
    let dirty = bare.capture()?;
    Ok((bare, saved, dirty))
}

fn dirty_machine() -> Result<(Bare, Captured, Captured), Box<dyn Error>> {
    dirty_machine_with(VSTART)
}

/// Every register that the guest can change differs, so that the tests mean something.
fn expect_dirty(saved: &Captured, dirty: &Captured) -> CheckResult {
    let parts = ImageParts(u32::try_from(saved.raw().parts.get())?);
    let (old, new) = (saved.raw(), dirty.raw());
    // `a0` has the result of the call, and `a6` and `a7` its number.
    for (number, (old, new)) in (1..).zip(old.x.iter().zip(&new.x)) {
        let is_same = [10, 16, 17].contains(&number);
        expect(&format!("x{number} is unchanged"), &(old == new), &is_same)?;
    }
    let changed = |name: &str, old, new| match old == new {
        true => Err(format!("{name} is unchanged: {new:x?}")),
        false => Ok(()),
    };
    changed("pc", old.pc, new.pc)?;
    changed("sstatus", old.sstatus, new.sstatus)?;
    changed("sie", old.sie, new.sie)?;
    changed("stvec", old.stvec, new.stvec)?;
    changed("sscratch", old.sscratch, new.sscratch)?;
    changed("sepc", old.sepc, new.sepc)?;
    changed("scause", old.scause, new.scause)?;
    changed("stval", old.stval, new.stval)?;
    changed("sip", old.sip, new.sip)?;
    changed("satp", old.satp, new.satp)?;
    changed("scounteren", old.scounteren, new.scounteren)?;
    changed("senvcfg", old.senvcfg, new.senvcfg)?;
    if parts.contains(ImageParts::TIMER) {
        changed("stimecmp", old.stimecmp, new.stimecmp)?;
    }
    if parts.contains(ImageParts::SELECT) {
        changed("siselect", old.siselect, new.siselect)?;
        expect(
            "other registers are unchanged",
            &(saved.state == dirty.state),
            &false,
        )?;
    }
    if parts.contains(ImageParts::FLOAT) {
        for (number, (old, new)) in old.f.iter().zip(&new.f).enumerate() {
            changed(&format!("f{number}"), *old, *new)?;
        }
        changed("fcsr", old.fcsr, new.fcsr)?;
    }
    if parts.contains(ImageParts::VECTOR) {
        changed("vstart", old.vstart, new.vstart)?;
        changed("vl", old.vl, new.vl)?;
        changed("vtype", old.vtype, new.vtype)?;
        changed("vcsr", old.vcsr, new.vcsr)?;
        let (old, new) = (&saved.image.0[768..], &dirty.image.0[768..]);
        expect("vector registers", &(old.len() >= 32 * 16), &true)?;
        expect(
            "changed bytes of vectors",
            &old.iter().zip(new).all(|(a, b)| a != b),
            &true,
        )?;
    }
    Ok(())
}

fn rewind(_: &HostCapabilities) -> TestResult {
    let (mut bare, saved, dirty) = dirty_machine()?;
    expect_dirty(&saved, &dirty)?;
    expect(
        "both states are fast",
        &(saved.state.is_fast(), dirty.state.is_fast()),
        &(true, true),
    )?;
    for flush in [false, true, false] {
        bare.rewind(&saved, flush)?;
        expect_state("state after the rewind", &bare.capture()?, &saved)?;
        bare.rewind(&saved, flush)?;
        expect("ring after the rewind", &bare.ring()?, &2)?;
        expect_state("state after that ring", &bare.capture()?, &dirty)?;
        // Without the completion of the call, which is the way of a caller that does not capture.
        bare.rewind(&saved, flush)?;
        expect("ring", &bare.ring()?, &2)?;
        bare.rewind(&saved, flush)?;
        expect("ring again", &bare.ring()?, &2)?;
        expect_state("state", &bare.capture()?, &dirty)?;
        // And forward, to values that a new vCPU does not have. The guest rings with 0 for ever after this.
        bare.rewind(&saved, flush)?;
        bare.rewind(&dirty, flush)?;
        expect_state("state after the way forward", &bare.capture()?, &dirty)?;
        bare.rewind(&dirty, flush)?;
        expect("ring after the way forward", &bare.ring()?, &0)?;
        let mut again = bare.capture()?;
        again.image.0[80..88].copy_from_slice(&dirty.image.0[80..88]);
        expect_state("state after that ring", &again, &dirty)?;
    }
    Ok(None)
}

/// A breakpoint instruction is the first one after the ring.
fn first_instruction(_: &HostCapabilities) -> TestResult {
    let mut bare = Bare::new(&bare_code::ring_and_break())?;
    let mut request = DebugRequest::default();
    request.breakpoint_instructions = true;
    bare.vcpu.set_debug(&request)?;
    bare.ring()?;
    let saved = bare.capture()?;
    for _ in 0..3 {
        let pc = match bare.vcpu.run()? {
            VcpuExit::Debug(stop) => stop.pc,
            exit => return Err(format!("no stop: {exit:?}").into()),
        };
        expect("address", &pc, &saved.raw().pc.get())?;
        expect_state("state", &bare.capture()?, &saved)?;
        bare.rewind(&saved, false)?;
    }
    Ok(None)
}

fn rewind_elsewhere(_: &HostCapabilities) -> TestResult {
    let (_first, saved, dirty) = dirty_machine()?;
    let (mut second, ..) = dirty_machine()?;
    second.rewind(&saved, false)?;
    expect("ring", &second.ring()?, &2)?;
    expect_state("state", &second.capture()?, &dirty)?;
    // A vCPU that has not run.
    let mut third = Bare::new(&bare_code::ring_and_dirty(parts()?, VSTART))?;
    third
        .tables
        .write(bare_code::DATA_OFFSET, &bare_code::dirty_data())?;
    third.rewind(&saved, false)?;
    expect_state("state of a vCPU that has not run", &third.capture()?, &saved)?;
    Ok(None)
}

fn rewind_and_kick(_: &HostCapabilities) -> TestResult {
    let (mut bare, saved, dirty) = dirty_machine()?;
    for with_capture in [false, true, false] {
        bare.rewind(&saved, true)?;
        bare.vcpu.kicker().kick();
        match bare.vcpu.run()? {
            VcpuExit::Interrupted => {}
            exit => return Err(format!("not interrupted: {exit:?}").into()),
        }
        if with_capture {
            expect_state("state after the kick", &bare.capture()?, &saved)?;
        }
        expect("ring after the kick", &bare.ring()?, &2)?;
        expect_state("state after the ring", &bare.capture()?, &dirty)?;
        // A kick before the call is completed; and the writes of registers, which need a flush, do not lose a kick.
        bare.rewind(&saved, true)?;
        bare.ring()?;
        bare.vcpu.kicker().kick();
        bare.vcpu.reset()?;
        match bare.vcpu.run()? {
            VcpuExit::Interrupted => {}
            exit => return Err(format!("the kick is lost: {exit:?}").into()),
        }
    }
    Ok(None)
}

/// Kicks that arrive before, in and after the rewind code.
fn rewind_and_kicks(_: &HostCapabilities) -> TestResult {
    // QEMU does not note that a write of `vstart` alone changes the state: after a kick before it, the write is lost.
    let (mut bare, saved, dirty) = dirty_machine_with(0)?;
    let kicker = bare.vcpu.kicker();
    let mut interrupted = 0;
    for round in 0..200_u32 {
        bare.rewind(&saved, false)?;
        let kicker = kicker.clone();
        let delay = Duration::from_micros(u64::from(round) * 5 % 300);
        let thread = thread::spawn(move || {
            let start = Instant::now();
            while start.elapsed() < delay {
                std::hint::spin_loop();
            }
            kicker.kick();
        });
        let value = loop {
            match bare.vcpu.run()? {
                VcpuExit::Doorbell(value) => break value,
                VcpuExit::Interrupted => interrupted += 1,
                exit => return Err(format!("round {round}: {exit:?}").into()),
            }
            if round % 2 == 0 {
                let state = bare.capture()?;
                if state.raw().pc == saved.raw().pc {
                    expect_state("state after a kick", &state, &saved)?;
                }
            }
        };
        thread.join().expect("the kicking thread does not panic");
        expect("ring", &value, &2)?;
        expect_state("state", &bare.capture()?, &dirty)?;
    }
    expect("a kick arrived", &(interrupted > 0), &true)?;
    Ok(None)
}

/// Runs until a kick from another thread.
fn run_until_kick(bare: &mut Bare) -> CheckResult {
    let kicker = bare.vcpu.kicker();
    let thread = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        kicker.kick();
    });
    let result = match bare.vcpu.run()? {
        VcpuExit::Interrupted => Ok(()),
        exit => Err(format!("not interrupted: {exit:?}").into()),
    };
    thread.join().expect("the kicking thread does not panic");
    result
}

fn rewind_from_loop(_: &HostCapabilities) -> TestResult {
    let mut bare = Bare::new(&bare_code::ring_or_loop())?;
    bare.ring()?;
    let saved = bare.capture()?;
    run_until_kick(&mut bare)?;
    let in_loop = bare.capture()?;
    expect(
        "a state outside of the doorbell is not fast",
        &in_loop.state.is_fast(),
        &false,
    )?;
    for flush in [false, true] {
        bare.parameter(1)?;
        bare.rewind(&saved, flush)?;
        expect("ring after the rewind", &bare.ring()?, &3)?;
        bare.parameter(0)?;
        bare.rewind(&in_loop, flush)?;
        expect_state("state in the loop", &bare.capture()?, &in_loop)?;
        bare.rewind(&in_loop, flush)?;
        run_until_kick(&mut bare)?;
        expect_state("state in the loop after a run", &bare.capture()?, &in_loop)?;
    }
    Ok(None)
}

/// The kernel blocks a vCPU that waits for an interrupt.
fn rewind_from_wait(_: &HostCapabilities) -> TestResult {
    let mut bare = Bare::new(&bare_code::ring_or(&Code::new().then([WFI, jump(-4)])))?;
    bare.ring()?;
    let saved = bare.capture()?;
    for _ in 0..3 {
        bare.parameter(0)?;
        run_until_kick(&mut bare)?;
        bare.parameter(1)?;
        bare.rewind(&saved, true)?;
        expect("ring after the rewind", &bare.ring()?, &3)?;
        bare.rewind(&saved, true)?;
    }
    expect_state("state", &bare.capture()?, &saved)?;
    Ok(None)
}

fn user_mode(_: &HostCapabilities) -> TestResult {
    let mut bare = Bare::new(&bare_code::ring_or_user_mode())?;
    bare.ring()?;
    let saved = bare.capture()?;
    run_until_kick(&mut bare)?;
    let in_user_mode = bare.capture()?;
    expect("the modes differ", &(in_user_mode.state == saved.state), &false)?;
    for _ in 0..2 {
        bare.parameter(1)?;
        bare.rewind(&saved, true)?;
        // A ring in user mode would be an exception of the guest.
        expect("ring in supervisor mode", &bare.ring()?, &3)?;
        bare.parameter(0)?;
        bare.rewind(&in_user_mode, true)?;
        run_until_kick(&mut bare)?;
        expect_state("state in user mode", &bare.capture()?, &in_user_mode)?;
    }
    Ok(None)
}

/// A rewind after exits that are not the doorbell.
fn rewind_after_exits(_: &HostCapabilities) -> TestResult {
    const NOWHERE: u64 = 0x1000_0000;
    let read = Code::new()
        .set(T0, NOWHERE)
        .then([load(Width::Double, A0, T0, 0)]);
    let write = Code::new().store_value(Width::Word, NOWHERE, 1);
    let call = Code::new().set(A0, 0).call(DOORBELL + 5, 0);
    // A load of the rewind code on its own, without an image: what a guest can do, too.
    let into_rewind_code = Code::new()
        .set(A0, NOWHERE)
        .then(bare_code::go(REWIND_CODE).words());
    for (name, last) in [
        ("jump to nowhere", bare_code::go(NOWHERE)),
        ("read", read),
        ("write", write),
        ("call", call),
        ("jump into the rewind code", into_rewind_code),
    ] {
        let mut bare = Bare::new(&bare_code::ring_or(&last))?;
        bare.ring()?;
        let saved = bare.capture()?;
        for _ in 0..3 {
            bare.parameter(0)?;
            let exit = format!("{:x?}", bare.vcpu.run()?);
            let is_right = match name {
                "jump to nowhere" => exit.starts_with("Fault(InternalError"),
                "read" | "jump into the rewind code" => exit.starts_with("MmioRead"),
                "write" => exit.starts_with("MmioWrite"),
                _ => exit.starts_with("Fault(UnexpectedCall"),
            };
            expect(&format!("{name}: {exit}"), &is_right, &true)?;
            bare.parameter(1)?;
            bare.rewind(&saved, false)?;
            expect(&format!("ring after {name}"), &bare.ring()?, &3)?;
            bare.rewind(&saved, false)?;
        }
        bare.parameter(0)?;
        bare.vcpu.run()?;
        bare.rewind(&saved, true)?;
        expect_state(&format!("state after {name}"), &bare.capture()?, &saved)?;
    }
    Ok(None)
}

fn rewind_after_system_reset(_: &HostCapabilities) -> TestResult {
    const SRST: u64 = 0x5352_5354;
    for (kind, expected) in [(0, SystemEvent::PowerOff), (1, SystemEvent::Reset)] {
        let last = Code::new().set(A0, kind).set(A1, 0).call(SRST, 0);
        let config = config().with_system_reset(true);
        let mut bare = Bare::with(config, &bare_code::ring_or(&last), &Code::new())?;
        bare.ring()?;
        let saved = bare.capture()?;
        for _ in 0..2 {
            bare.parameter(0)?;
            match bare.vcpu.run()? {
                VcpuExit::System(event) => expect("event", &event, &expected)?,
                exit => return Err(format!("no system event: {exit:?}").into()),
            }
            let stopped = bare.capture()?;
            expect(
                "the stopped vCPU has another state",
                &(stopped.state == saved.state),
                &false,
            )?;
            bare.parameter(1)?;
            bare.rewind(&saved, true)?;
            expect("ring", &bare.ring()?, &3)?;
            bare.rewind(&saved, true)?;
        }
        bare.parameter(0)?;
        bare.vcpu.run()?;
        bare.vcpu.reset()?;
    }
    Ok(None)
}

fn stale_translation(_: &HostCapabilities) -> TestResult {
    const LOAD_PAGE_FAULT: u64 = 13;
    let code = bare_code::stale_translation();
    let mut bare = Bare::with(config(), &code, &bare_code::ring_cause())?;
    bare.ring()?;
    let saved = bare.capture()?;
    for _ in 0..3 {
        bare.parameter(0)?;
        expect("ring after the translation was used", &bare.ring()?, &2)?;
        expect("no page is dirty", &bare.dirty()?, &vec![])?;
        let mut entry = [0; 8];
        bare.tables.read(3 * 8, &mut entry)?;
        expect("entry of the guest", &u64::from_le_bytes(entry), &IDENTITY)?;
        bare.tables.write(3 * 8, &[0; 8])?;
        bare.parameter(1)?;
        bare.rewind(&saved, true)?;
        expect("cause of the trap", &bare.ring()?, &LOAD_PAGE_FAULT)?;
        bare.rewind(&saved, true)?;
    }
    Ok(None)
}

/// The guest's own translation does not have the rewind code.
fn foreign_translation(_: &HostCapabilities) -> TestResult {
    let mut bare = Bare::new(&bare_code::move_away())?;
    bare.ring()?;
    let saved = bare.capture()?;
    for capture in [false, true, false] {
        bare.parameter(0)?;
        bare.tables.write(2 * 8, &IDENTITY.to_le_bytes())?;
        expect("ring elsewhere", &bare.ring()?, &2)?;
        if capture {
            let pc = bare.capture()?.raw().pc.get();
            expect("the guest is elsewhere", &(pc > 0xc000_0000), &true)?;
        }
        bare.parameter(1)?;
        bare.rewind(&saved, false)?;
        expect("ring after the rewind", &bare.ring()?, &3)?;
        bare.rewind(&saved, false)?;
    }
    Ok(None)
}

/// A timer interrupt that becomes pending between the ring and the rewind does not arrive in the rewind code or after it.
fn timer(host: &HostCapabilities) -> TestResult {
    if !parts()?.contains(ImageParts::TIMER) {
        return Ok(Some("this host does not have Sstc"));
    }
    let bad = ring(Code::new(), 0xbad);
    // Long enough for a ring on a busy machine.
    let half_a_second = u64::from(host.timebase_frequency) / 2;
    for ticks in [0, half_a_second] {
        let code = bare_code::ring_and_set_timer(ticks);
        let mut bare = Bare::with(config(), &code, &bad)?;
        bare.ring()?;
        let saved = bare.capture()?;
        for _ in 0..2 {
            bare.parameter(0)?;
            let expected = if ticks == 0 { 0xbad } else { 2 };
            expect("ring with a timer", &bare.ring()?, &expected)?;
            thread::sleep(Duration::from_millis(600));
            bare.parameter(1)?;
            bare.rewind(&saved, false)?;
            expect("ring after the rewind", &bare.ring()?, &3)?;
            bare.rewind(&saved, false)?;
            expect_state("state", &bare.capture()?, &saved)?;
        }
    }
    Ok(None)
}

fn reset(_: &HostCapabilities) -> TestResult {
    let (mut bare, ..) = dirty_machine()?;
    let vm = KvmBareVm::new(config())?;
    let mut image = hv_core::RegisterImage::default();
    let fresh = vm.create_vcpu(0)?.capture(&mut image)?;
    let fresh = Captured { state: fresh, image };
    expect(
        "length",
        &vm.abilities().rewind_code.map(|code| code.image_len),
        &Some(fresh.image.0.len().try_into()?),
    )?;
    for _ in 0..2 {
        bare.vcpu.reset()?;
        expect_state("state", &bare.capture()?, &fresh)?;
        // The vCPU is at address 0, where there is no memory.
        match bare.vcpu.run()? {
            VcpuExit::Fault(Fault::InternalError { .. }) => {}
            exit => return Err(format!("no fault: {exit:?}").into()),
        }
    }
    Ok(None)
}
