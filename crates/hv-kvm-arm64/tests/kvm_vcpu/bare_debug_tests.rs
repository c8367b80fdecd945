//! Bare machines under a debugger.

use std::error::Error;

use hv_core::{BreakOn, DebugCause, DebugRequest, DebugVcpu, Fault, HardwareBreakpoint, Vcpu, VcpuExit};
use hv_kvm_arm64::KvmError;

use crate::{
    bare::{self, Bare, CODE, PLAIN},
    bare_code,
    guest::{Test, TestResult, expect},
};

pub(crate) const TESTS: &[Test] = &[
    ("bare_debug::steps_and_breaks", steps_and_breaks),
    ("bare_debug::watchpoints_stop_before_the_access", watchpoints),
    ("bare_debug::first_step_after_a_rewind_is_the_same", first_step),
    ("bare_debug::requests_are_checked", requests_are_checked),
];

/// Where the debugged code starts.
const START: u64 = CODE + 0x400;

fn request(step: bool, breakpoint_instructions: bool, hardware: &[HardwareBreakpoint]) -> DebugRequest {
    let mut request = DebugRequest::default();
    request.step = step;
    request.breakpoint_instructions = breakpoint_instructions;
    request.hardware = hardware.into();
    request
}

/// Runs to the next debug exception.
fn stop(bare: &mut Bare) -> Result<(u64, DebugCause), Box<dyn Error>> {
    match bare.vcpu.run()? {
        VcpuExit::Debug(stop) => Ok((stop.pc, stop.cause)),
        exit => Err(format!("no debug exception: {exit:x?}").into()),
    }
}

fn steps_and_breaks() -> TestResult {
    for config in bare::configs()? {
        let mut bare = Bare::new(bare_code::debugged(), config)?;
        bare.ring()?;
        let breakpoint = [HardwareBreakpoint::execute(START)];
        bare.vcpu.set_debug(&request(false, false, &breakpoint))?;
        expect("breakpoint", &stop(&mut bare)?, &(START, DebugCause::Hardware(0)))?;
        expect("not executed", &bare.x(19)?, &0)?;
        bare.vcpu.set_debug(&request(true, true, &[]))?;
        for at in [4, 8, 12] {
            expect("step", &stop(&mut bare)?, &(START + at, DebugCause::Step))?;
        }
        expect("executed", &bare.x(19)?, &1)?;
        bare.vcpu.set_debug(&request(false, true, &[]))?;
        for _ in 0..2 {
            expect("BRK", &stop(&mut bare)?, &(START + 12, DebugCause::Breakpoint))?;
        }
        // Two breakpoints, in another order than they are met.
        let breakpoints = [4, 0].map(|at| HardwareBreakpoint::execute(START + at));
        bare.vcpu.set_state(&bare::entry(&bare.vm).into())?;
        bare.ring()?;
        bare.vcpu.set_debug(&request(false, false, &breakpoints))?;
        expect("second", &stop(&mut bare)?, &(START, DebugCause::Hardware(1)))?;
        bare.vcpu.set_debug(&request(false, false, &breakpoints[..1]))?;
        expect("first", &stop(&mut bare)?, &(START + 4, DebugCause::Hardware(0)))?;
        // Without a debugger, the guest gets the exception of BRK, for which it has no vector.
        bare.vcpu.set_debug(&DebugRequest::default())?;
        crate::bare_tests::kicked(&mut bare)?;
    }
    Ok(None)
}

fn watchpoints() -> TestResult {
    for config in bare::configs()? {
        for (watched, at) in [
            (HardwareBreakpoint::watch(PLAIN + 8, 4, BreakOn::ReadWrite), 4),
            (HardwareBreakpoint::watch(PLAIN + 8, 8, BreakOn::Write), 8),
            (HardwareBreakpoint::watch(PLAIN + 10, 1, BreakOn::Write), 8),
        ] {
            let mut bare = Bare::new(bare_code::debugged(), config)?;
            bare.ring()?;
            // One that is not hit, before.
            let unused = HardwareBreakpoint::watch(PLAIN + 16, 8, BreakOn::ReadWrite);
            bare.vcpu.set_debug(&request(false, false, &[unused, watched]))?;
            let expected = (START + at, DebugCause::Hardware(1));
            expect(&format!("{watched:x?}"), &stop(&mut bare)?, &expected)?;
        }
    }
    Ok(None)
}

/// The debugger sees neither the rewind code nor its absence.
fn first_step() -> TestResult {
    for config in bare::configs()? {
        let mut bare = Bare::new(bare_code::debugged(), config)?;
        bare.ring()?;
        let saved = bare.capture()?;
        bare.vcpu.set_debug(&request(true, false, &[]))?;
        let mut stops = Vec::new();
        for _ in 0..3 {
            let first = stop(&mut bare)?;
            stops.push((first, bare.capture()?));
            stop(&mut bare)?;
            bare.rewind(&saved, true)?;
        }
        let [first, rest @ ..] = &*stops else {
            return Err("there are stops".into());
        };
        expect("cause", &first.0.1, &DebugCause::Step)?;
        for stop in rest {
            expect("stop", stop, first)?;
        }
        // A request after a rewind.
        bare.vcpu.set_debug(&DebugRequest::default())?;
        bare.rewind(&saved, true)?;
        bare.vcpu.set_debug(&request(true, false, &[]))?;
        expect("stop", &(stop(&mut bare)?, bare.capture()?), first)?;
    }
    Ok(None)
}

fn requests_are_checked() -> TestResult {
    let [config, _] = bare::configs()?;
    let mut bare = Bare::new(bare_code::debugged(), config)?;
    let many = [HardwareBreakpoint::execute(CODE); 17];
    match bare.vcpu.set_debug(&request(false, false, &many)) {
        Err(KvmError::TooManyBreakpoints { count: 17, .. }) => {}
        result => return Err(format!("17 breakpoints: {result:?}").into()),
    }
    bare.ring()?;
    // All that the CPU has: two of each at least.
    let all = [
        HardwareBreakpoint::execute(START),
        HardwareBreakpoint::execute(START + 4),
        HardwareBreakpoint::watch(PLAIN, 1, BreakOn::Write),
        HardwareBreakpoint::watch(PLAIN + 1, 1, BreakOn::Write),
    ];
    bare.vcpu.set_debug(&request(false, false, &all))?;
    match bare.vcpu.run()? {
        VcpuExit::Debug(_) => Ok(None),
        VcpuExit::Fault(Fault::Debug { .. }) => Err("the exception was requested".into()),
        exit => Err(format!("{exit:?}").into()),
    }
}
