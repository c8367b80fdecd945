//! Bare machines under a debugger: steps, breakpoints, watchpoints and registers.

use std::{arch::x86_64::__cpuid, error::Error};

use hv_core::{
    BareVcpu, BreakOn, DebugCause, DebugRequest, DebugVcpu, GuestRegisters, HardwareBreakpoint,
    RegisterAccess, RegisterImage, Vcpu, VcpuExit, X86Registers,
};
use hv_kvm_test::{TestResult, has_virtualisation};

use crate::{
    bare_tests::{Bare, bare},
    guest::{CODE, expect},
    guest_code,
};

/// A test that may be skipped: its name, and what it does.
type DebugTest = (&'static str, fn() -> TestResult);

pub(crate) const TESTS: &[DebugTest] = &[
    ("bare::debug::steps", steps),
    ("bare::debug::steps_over_the_doorbell", steps_over_the_doorbell),
    ("bare::debug::breakpoint_instruction", breakpoint_instruction),
    ("bare::debug::hardware_breakpoint", hardware_breakpoint),
    ("bare::debug::hardware_watchpoints", hardware_watchpoints),
    ("bare::debug::registers", registers),
];

/// What KVM lacks on hosts without VMX and SVM, where it interprets small guests.
const NO_INT3: &str = "the CPU has neither VMX nor SVM, and what KVM uses in their place cannot execute INT3";
const NO_WATCHPOINTS: &str =
    "the CPU has neither VMX nor SVM, and what KVM uses in their place has no watchpoints";
const LATE_STEP: &str =
    "the CPU has neither VMX nor SVM, and what KVM uses in their place stops one instruction after an I/O";

/// What QEMU's emulation of SVM lacks.
const TCG_INT3: &str = "QEMU's emulation of SVM (TCG) does not intercept the exception of INT3";
const TCG_DR7: &str =
    "QEMU's emulation of SVM (TCG) loads DR7 from the VMCB, but does not arm its breakpoints";

/// Whether the CPU of this host is emulated by QEMU.
fn is_tcg() -> bool {
    let leaf = __cpuid(0x4000_0000);
    [leaf.ebx, leaf.ecx, leaf.edx]
        .map(u32::to_le_bytes)
        .as_flattened()
        == b"TCGTCGTCGTCG"
}

/// Where the vCPU stopped: the address of the next instruction and the cause, or the value of the doorbell.
type Stop = (u64, Option<DebugCause>);

fn stop(bare: &mut Bare) -> Result<Stop, Box<dyn Error>> {
    Ok(match bare.vcpu.run()? {
        VcpuExit::Debug(stop) => (stop.pc, Some(stop.cause)),
        VcpuExit::Doorbell(value) => (value, None),
        exit => return Err(format!("{exit:?}").into()),
    })
}

fn stops(bare: &mut Bare, count: usize) -> Result<Vec<Stop>, Box<dyn Error>> {
    (0..count).map(|_| stop(bare)).collect()
}

fn x86(bare: &mut Bare) -> Result<Box<X86Registers>, Box<dyn Error>> {
    match bare.vcpu.read_registers()? {
        GuestRegisters::X86_64(registers) => Ok(registers),
        other => Err(format!("{other:?}").into()),
    }
}

fn steps() -> TestResult {
    let mut bare = bare(guest_code::watched())?;
    let mut request = DebugRequest::default();
    request.step = true;
    bare.vcpu.set_debug(&request)?;
    // mov ebx, 0x13008; mov [rbx], 1; mov eax, [rbx]; out 0x6c, eax
    let step = |offset| (CODE + offset, Some(DebugCause::Step));
    let expected = vec![step(5), step(11), step(13)];
    expect("stops", &stops(&mut bare, 3)?, &expected)?;
    bare.vcpu.set_debug(&DebugRequest::default())?;
    expect("ring without a debugger", &bare.ring()?, &1)?;
    Ok(None)
}

fn steps_over_the_doorbell() -> TestResult {
    if !has_virtualisation() {
        return Ok(Some(LATE_STEP));
    }
    let mut bare = bare(guest_code::ring())?;
    let mut request = DebugRequest::default();
    request.step = true;
    bare.vcpu.set_debug(&request)?;
    // xor eax, eax; out 0x6c, eax; inc eax; jmp
    let step = |offset| (CODE + offset, Some(DebugCause::Step));
    let expected = vec![step(2), (0, None), step(4), step(6), step(2), (1, None), step(4)];
    expect("stops", &stops(&mut bare, 7)?, &expected)?;
    bare.vcpu.set_debug(&DebugRequest::default())?;
    expect("ring without a debugger", &bare.ring()?, &2)?;
    Ok(None)
}

fn breakpoint_instruction() -> TestResult {
    if !has_virtualisation() {
        return Ok(Some(NO_INT3));
    }
    if is_tcg() {
        return Ok(Some(TCG_INT3));
    }
    let mut bare = bare(guest_code::breakpoint())?;
    let mut request = DebugRequest::default();
    request.breakpoint_instructions = true;
    bare.vcpu.set_debug(&request)?;
    let breakpoint = (CODE, Some(DebugCause::Breakpoint));
    expect("stop", &stop(&mut bare)?, &breakpoint)?;
    // It is where it was, until someone moves on.
    expect("stop again", &stop(&mut bare)?, &breakpoint)?;
    let mut registers = x86(&mut bare)?;
    expect("address", &registers.cpu.rip, &CODE)?;
    registers.cpu.rip += 1;
    registers.cpu.rax = 0x1234_5678;
    bare.vcpu.write_registers(&GuestRegisters::X86_64(registers))?;
    expect("ring", &bare.ring()?, &0x1234_5678)?;
    Ok(None)
}

fn hardware_breakpoint() -> TestResult {
    if is_tcg() {
        return Ok(Some(TCG_DR7));
    }
    let mut bare = bare(guest_code::ring())?;
    let mut request = DebugRequest::default();
    request.hardware = vec![HardwareBreakpoint::execute(CODE + 4)];
    bare.vcpu.set_debug(&request)?;
    let expected = [(0, None), (CODE + 4, Some(DebugCause::Hardware(0)))];
    expect("stops", &stops(&mut bare, 2)?, &expected.to_vec())?;
    // A step from the breakpoint does not stop at it again.
    request.step = true;
    request.hardware.clear();
    bare.vcpu.set_debug(&request)?;
    expect("step", &stop(&mut bare)?, &(CODE + 6, Some(DebugCause::Step)))?;
    Ok(None)
}

fn hardware_watchpoints() -> TestResult {
    if !has_virtualisation() {
        return Ok(Some(NO_WATCHPOINTS));
    }
    if is_tcg() {
        return Ok(Some(TCG_DR7));
    }
    // mov ebx, …; mov [rbx], 1 (6 bytes); mov eax, [rbx] (2 bytes); out
    for (on, expected) in [
        (
            BreakOn::Write,
            vec![(CODE + 11, Some(DebugCause::Hardware(1))), (1, None)],
        ),
        (
            BreakOn::ReadWrite,
            vec![
                (CODE + 11, Some(DebugCause::Hardware(1))),
                (CODE + 13, Some(DebugCause::Hardware(1))),
                (1, None),
            ],
        ),
    ] {
        let mut bare = bare(guest_code::watched())?;
        let mut request = DebugRequest::default();
        request.hardware = vec![
            HardwareBreakpoint::watch(0x1_300c, 4, BreakOn::ReadWrite),
            HardwareBreakpoint::watch(0x1_3008, 4, on),
        ];
        bare.vcpu.set_debug(&request)?;
        expect("stops", &stops(&mut bare, expected.len())?, &expected)?;
    }
    Ok(None)
}

fn registers() -> TestResult {
    let mut bare = bare(guest_code::breakpoint())?;
    let mut registers = x86(&mut bare)?;
    expect("address", &registers.cpu.rip, &CODE)?;
    // Past the breakpoint instruction.
    registers.cpu.rip = CODE + 1;
    registers.cpu.rax = 0xfeed_f00d;
    // CR4.OSFXSR: the guest can use SSE.
    registers.cpu.cr4 |= 1 << 9;
    let mut area = registers.fxsave();
    // XMM3 (SDM 1, table 10-2).
    area[160 + 3 * 16..][..4].copy_from_slice(&0x0bad_cafe_u32.to_le_bytes());
    registers.set_fxsave(&area);
    let written = GuestRegisters::X86_64(registers);
    bare.vcpu.write_registers(&written)?;
    expect("read back", &bare.vcpu.read_registers()?, &written)?;
    expect("EAX", &bare.ring()?, &0xfeed_f00d)?;
    // Reading completes the doorbell.
    expect("address after the ring", &x86(&mut bare)?.cpu.rip, &(CODE + 3))?;
    // Values that a rewind deferred are read, too.
    let saved = bare.vcpu.capture(&mut RegisterImage::default())?;
    let before = bare.vcpu.read_registers()?;
    bare.vcpu.reset()?;
    bare.vcpu.rewind(&saved, true)?;
    expect("after a rewind", &bare.vcpu.read_registers()?, &before)?;
    if has_virtualisation() {
        expect("XMM3", &bare.ring()?, &0x0bad_cafe)?;
    } else {
        // What KVM uses in the place of VMX and SVM cannot execute SSE.
        let mut last = x86(&mut bare)?;
        last.cpu.rip = CODE + 9;
        bare.vcpu.write_registers(&GuestRegisters::X86_64(last))?;
    }
    expect("last ring", &bare.ring()?, &0xffff_ffff)?;
    Ok(None)
}
