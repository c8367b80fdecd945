//! The whole state of a vCPU: written, read back, dirtied and reset.

use std::{error::Error, fmt::Write as _};

use hv_core::{Outcome, Vcpu, VcpuExit, Vm};
use hv_kvm_x86::{
    Gpr, KvmError, KvmVm, LapicRegister, MpState, Msr, Register, RegisterError, SegmentField, SegmentName,
    VcpuState,
};

use crate::{
    guest::{self, Test, TestResult, expect},
    guest_code,
};

pub(crate) const TESTS: &[Test] = &[
    ("state::boot_state_round_trip", boot_state_round_trip),
    ("state::whole_state_round_trip", whole_state_round_trip),
    ("state::single_registers", single_registers),
    ("state::register_errors", register_errors),
    ("state::guest_sees_what_was_set", guest_sees_what_was_set),
    (
        "state::reset_after_changes_by_the_guest",
        reset_after_changes_by_the_guest,
    ),
    (
        "state::reset_after_changes_by_the_harness",
        reset_after_changes_by_the_harness,
    ),
    ("state::boot_after_reset", boot_after_reset),
    ("state::access_is_complete_when_state_is_read", access_is_complete),
    (
        "state::reset_in_the_middle_of_a_string_instruction",
        reset_in_the_middle,
    ),
    ("state::mxcsr_is_kept", mxcsr_is_kept),
];

/// What differs between two states, register by register.
fn difference(found: &VcpuState, expected: &VcpuState) -> Option<String> {
    let mut text = String::new();
    let mut note = |what: String, found: String, expected: String| {
        write!(text, "{what}: found {found}, expected {expected}; ").expect("a String takes everything");
    };
    for register in Register::all() {
        let (a, b) = (found.get(register), expected.get(register));
        if a != b {
            note(format!("{register:?}"), format!("{a:x?}"), format!("{b:x?}"));
        }
    }
    for msr in expected
        .msrs
        .keys()
        .chain(found.msrs.keys())
        .filter(|msr| !msr.is_time_counter())
    {
        let (a, b) = (found.msrs.get(msr), expected.msrs.get(msr));
        if a != b {
            note(msr.to_string(), format!("{a:x?}"), format!("{b:x?}"));
        }
    }
    if found.mp_state != expected.mp_state {
        note(
            "mp_state".into(),
            format!("{:?}", found.mp_state),
            format!("{:?}", expected.mp_state),
        );
    }
    // Which instruction threw an interrupt shadow is not kept on AMD hardware; that there is one is.
    let shadow = |state: &VcpuState| {
        let mut events = state.events;
        events.interrupt_shadow = u8::from(events.interrupt_shadow != 0);
        events
    };
    if shadow(found) != shadow(expected) {
        note(
            "events".into(),
            format!("{:?}", found.events),
            format!("{:?}", expected.events),
        );
    }
    if found.xsave != expected.xsave {
        note(
            "XSAVE area".into(),
            format!("{:x?}", found.xsave),
            format!("{:x?}", expected.xsave),
        );
    }
    if found.interrupt_bitmap != expected.interrupt_bitmap {
        note(
            "interrupt bitmap".into(),
            format!("{:x?}", found.interrupt_bitmap),
            format!("{:x?}", expected.interrupt_bitmap),
        );
    }
    (!text.is_empty()).then_some(text)
}

fn expect_same(found: &VcpuState, expected: &VcpuState) -> TestResult {
    match difference(found, expected) {
        Some(text) => Err(text.into()),
        None => Ok(()),
    }
}

fn fresh_vcpu() -> Result<hv_kvm_x86::KvmVcpu, Box<dyn Error>> {
    Ok(KvmVm::new(guest::layout(1)?.topology)?.create_vcpu(0)?)
}

fn boot_state_round_trip() -> TestResult {
    let mut vcpu = fresh_vcpu()?;
    for mut state in [guest::long_mode(), guest::protected_mode(), guest::real_mode()] {
        (state.rax, state.rsi, state.r15, state.cr2) = (u64::MAX, 0x1_0000, 15, 0xdead_b000);
        let state = state.into();
        vcpu.set_state(&state)?;
        expect("state", &vcpu.state()?, &state)?;
    }
    Ok(())
}

/// Registers of every group, each with a value that no reset leaves there and every CPU accepts.
fn unusual() -> Vec<(Register, u64)> {
    let mut values: Vec<_> = (0x1001..)
        .zip(Gpr::ALL)
        .map(|(value, gpr)| (Register::Gpr(gpr), value))
        .collect();
    values.extend([
        (Register::Rip, 0x1234_5678),
        (Register::Rflags, 0x446),
        (Register::Cr2, 0xdead_b000),
        (Register::Cr3, 0x1000),
        (Register::Cr8, 5),
        (Register::Dr(0), 0x1000),
        (Register::Dr(1), 0x2000),
        (Register::Dr(2), 0x3000),
        (Register::Dr(3), 0x4000),
        (Register::Dr6, 0xffff_0ff1),
        (Register::Dr7, 0x401),
        (
            Register::Segment(SegmentName::Fs, SegmentField::Base),
            0x7fff_0000,
        ),
        (
            Register::Segment(SegmentName::Gs, SegmentField::Base),
            0xffff_8000_0000_0000,
        ),
        (Register::FpuControl, 0x27f),
        (Register::FpuStatus, 0x4000),
        (Register::Mxcsr, 0x1fa0),
        (Register::Fpr(0), 0x8000_0000_0000_0001),
        (Register::Fpr(7), 0x8000_0000_0000_0007),
        (Register::Lapic(LapicRegister::SVR), 0x1ff),
        (Register::Lapic(LapicRegister::LVT_ERROR), 0xfe),
        (Register::Lapic(LapicRegister::TDCR), 0xb),
    ]);
    for n in 0..16 {
        values.push((Register::XmmLow(n), 0x0101_0101_0101_0101 * (u64::from(n) + 1)));
        values.push((Register::XmmHigh(n), 0x1010_1010_1010_1010 ^ u64::from(n)));
    }
    for (value, msr) in [
        (0x0023_0010_0000_0000, Msr::STAR),
        (0xffff_8000_0000_1000, Msr::LSTAR),
        (0xffff_8000_0000_2000, Msr::CSTAR),
        (0x4700, Msr::SYSCALL_MASK),
        (0xffff_8000_0000_3000, Msr::KERNEL_GS_BASE),
        (0x10, Msr::SYSENTER_CS),
        (0x5000, Msr::SYSENTER_ESP),
        (0x6000, Msr::SYSENTER_EIP),
        (0x0007_0406_0007_0406, Msr::PAT),
        (0xc06, Msr::MTRR_DEF_TYPE),
    ] {
        values.push((Register::Msr(msr), value));
    }
    values
}

/// A 64-bit state that differs from a fresh one in every group.
fn unusual_state(vcpu: &mut hv_kvm_x86::KvmVcpu) -> Result<VcpuState, Box<dyn Error>> {
    let mut state = vcpu.save_state()?;
    let mut cpu = guest::long_mode();
    cpu.ldtr.rights = state.cpu.ldtr.rights;
    state.cpu = cpu;
    for (register, value) in unusual() {
        state.set(register, value)?;
    }
    // The task priority is the same register seen from two sides, and the processor priority follows it.
    state.set(Register::Lapic(LapicRegister::TPR), 0x50)?;
    state.set(Register::Lapic(LapicRegister::PPR), 0x50)?;
    state.mp_state = MpState::HALTED;
    state.events.nmi_masked = true;
    state.events.interrupt_shadow = 1;
    Ok(state)
}

fn whole_state_round_trip() -> TestResult {
    let mut vcpu = fresh_vcpu()?;
    let reset_state = vcpu.save_state()?;
    vcpu.restore_state(&reset_state)?;
    expect_same(&vcpu.save_state()?, &reset_state)?;
    let unusual = unusual_state(&mut vcpu)?;
    vcpu.restore_state(&unusual)?;
    expect_same(&vcpu.save_state()?, &unusual)?;
    // The state goes over to another vCPU of the same kind.
    let mut other = fresh_vcpu()?;
    other.restore_state(&unusual)?;
    expect_same(&other.save_state()?, &unusual)
}

fn single_registers() -> TestResult {
    let mut vcpu = fresh_vcpu()?;
    vcpu.set_state(&guest::long_mode().into())?;
    for (register, value) in unusual() {
        vcpu.set_register(register, value)?;
        expect(&format!("{register:?}"), &vcpu.register(register)?, &value)?;
    }
    // Setting one has not changed another.
    for (register, value) in unusual() {
        expect(&format!("{register:?}, later"), &vcpu.register(register)?, &value)?;
    }
    Ok(())
}

fn register_errors() -> TestResult {
    let mut vcpu = fresh_vcpu()?;
    let register = Register::Dr(4);
    match vcpu.register(register) {
        Err(KvmError::Register(RegisterError::Missing { .. })) => {}
        result => return Err(format!("{register:?}: {result:?}").into()),
    }
    let msr = Msr(0xdead_beef);
    match vcpu.register(Register::Msr(msr)) {
        Err(KvmError::GetMsr { msr: found }) if found == msr => {}
        result => return Err(format!("reading {msr}: {result:?}").into()),
    }
    // Bits 1 and 2 of the default memory type are no type at all.
    match vcpu.set_register(Register::Msr(Msr::MTRR_DEF_TYPE), 0x807) {
        Err(KvmError::SetMsr {
            msr: Msr::MTRR_DEF_TYPE,
            value: 0x807,
        }) => {}
        result => return Err(format!("an invalid memory type: {result:?}").into()),
    }
    let mut foreign = vcpu.save_state()?;
    foreign.msrs.insert(msr, 0);
    match vcpu.restore_state(&foreign) {
        Err(KvmError::MissingRegister { msr: found }) if found == msr => Ok(()),
        result => Err(format!("a state with a foreign register: {result:?}").into()),
    }
}

fn guest_sees_what_was_set() -> TestResult {
    let (mut pc, _memory) = guest::pc(guest_code::firmware_state(), 1, guest::devices())?;
    let recorder = hv_kvm_test::Recorder::default();
    pc.bus_mut()
        .insert(hv_core::AddressSpace::Pio, 0x500, 4, recorder.clone())?;
    let [vcpu] = pc.vcpus_mut() else {
        return Err("there is one vCPU".into());
    };
    vcpu.set_register(Register::Msr(Msr::MTRR_DEF_TYPE), 0xc06)?;
    vcpu.set_register(Register::Lapic(LapicRegister::LVT_LINT0), 0x1_0700)?;
    pc.boot(&guest::long_mode().into(), &hv_kvm_test::run_config())?;
    let words: Vec<_> = recorder.take_data();
    expect(
        "MTRR_DEF_TYPE",
        &words.first(),
        &Some(&0xc06_u32.to_le_bytes().to_vec()),
    )?;
    expect(
        "LINT0",
        &words.get(2),
        &Some(&0x1_0700_u32.to_le_bytes().to_vec()),
    )
}

fn reset_after_changes_by_the_guest() -> TestResult {
    let (mut pc, _memory) = guest::pc(guest_code::dirty(), 1, guest::devices())?;
    let [vcpu] = pc.vcpus_mut() else {
        return Err("there is one vCPU".into());
    };
    let reset_state = vcpu.save_state()?;
    let outcome = pc.boot(&guest::long_mode().into(), &hv_kvm_test::run_config())?;
    expect("outcome", &outcome, &Outcome::DebugExit(2))?;
    let [vcpu] = pc.vcpus_mut() else {
        return Err("there is one vCPU".into());
    };
    let dirty = vcpu.save_state()?;
    // The guest did what it was there for: these registers are dirty now.
    for (register, value) in [
        (Register::Gpr(Gpr::R15), 15),
        (Register::Dr(3), 0x1111_1111_1111_1111),
        (Register::Cr2, 0x1111_1111_1111_1111),
        (Register::Cr8, 5),
        (Register::Msr(Msr::STAR), 0x2222_2222_1111_1111),
        (Register::Msr(Msr::PAT), 0x0007_0406_0007_0406),
        (Register::Msr(Msr::KVM_SYSTEM_TIME_NEW), 0xa041),
        (Register::Msr(Msr::KVM_STEAL_TIME), 0xa081),
        (Register::ApicBase, 0xfee0_0d00),
        (Register::Lapic(LapicRegister::LVT_LINT0), 0x1_0000),
        (Register::Lapic(LapicRegister::TMICT), 0x7fff_ffff),
    ] {
        expect(&format!("dirty {register:?}"), &dirty.get(register), &Some(value))?;
    }
    vcpu.reset()?;
    expect_same(&vcpu.save_state()?, &reset_state)
}

fn reset_after_changes_by_the_harness() -> TestResult {
    let mut vcpu = fresh_vcpu()?;
    let reset_state = vcpu.save_state()?;
    let unusual = unusual_state(&mut vcpu)?;
    vcpu.restore_state(&unusual)?;
    if difference(&vcpu.save_state()?, &reset_state).is_none() {
        return Err("the vCPU is not dirty".into());
    }
    vcpu.reset()?;
    expect_same(&vcpu.save_state()?, &reset_state)?;
    // A vCPU that was reset is like one that was just created.
    expect_same(&vcpu.save_state()?, &fresh_vcpu()?.save_state()?)
}

fn boot_after_reset() -> TestResult {
    let (mut pc, _memory) = guest::pc(guest_code::timer_irq(), 1, guest::devices())?;
    let state = guest::long_mode().into();
    for round in ["first", "second", "third"] {
        // The interrupt is in service when the guest ends: without a reset no other would come.
        expect(
            round,
            &pc.boot(&state, &hv_kvm_test::run_config())?,
            &Outcome::DebugExit(0x71),
        )?;
        hv_core::reset_vcpus(pc.vcpus_mut())?;
        pc.vm().reset_irqchip()?;
    }
    Ok(())
}

/// One vCPU with `code`, at its first instruction.
fn at_code(code: &[u8]) -> Result<hv_kvm_x86::KvmVcpu, Box<dyn Error>> {
    let vm = KvmVm::new(guest::layout(1)?.topology)?;
    let mut vcpus = hv_core::init_vm(&vm, guest::memory(code)?.regions(), 1)?;
    let mut vcpu = vcpus.pop().ok_or("there is one vCPU")?;
    vcpu.set_state(&guest::long_mode().into())?;
    Ok(vcpu)
}

/// After an exit for an access, the state is the one behind the instruction.
fn access_is_complete() -> TestResult {
    let mut vcpu = at_code(guest_code::write_ram())?;
    match vcpu.run()? {
        VcpuExit::IoRead {
            port: 0x500,
            size: 4,
            data,
        } => data.copy_from_slice(&0xfeed_u32.to_le_bytes()),
        exit => return Err(format!("expected a read of port 0x500: {exit:?}").into()),
    }
    expect("RAX", &vcpu.register(Register::Gpr(Gpr::Rax))?, &0xfeed)?;
    // `mov edx, imm32` is five bytes long, `in eax, dx` one.
    expect("RIP", &vcpu.state()?.entry(), &(guest::CODE + 6))?;
    match vcpu.run()? {
        VcpuExit::IoWrite {
            port: 0xf4,
            size: 4,
            data,
        } => expect("value", &data.to_vec(), &0xfeed_u32.to_le_bytes().to_vec()),
        exit => Err(format!("expected a write to port 0xf4: {exit:?}").into()),
    }
}

/// A new state replaces what the kernel still had to finish.
fn reset_in_the_middle() -> TestResult {
    let mut vcpu = at_code(guest_code::pio_echo())?;
    let reset_state = fresh_vcpu()?.save_state()?;
    // Three echoes are three reads and three writes; then comes the first exit of `rep insw`.
    for _ in 0..6 {
        vcpu.run()?;
    }
    match vcpu.run()? {
        VcpuExit::IoRead {
            port: 0x500, size: 2, ..
        } => {}
        exit => return Err(format!("expected a string read of port 0x500: {exit:?}").into()),
    }
    vcpu.reset()?;
    expect_same(&vcpu.save_state()?, &reset_state)?;
    vcpu.set_state(&guest::long_mode().into())?;
    match vcpu.run()? {
        VcpuExit::IoRead {
            port: 0x500, size: 1, ..
        } => Ok(()),
        exit => Err(format!("expected the first read again: {exit:?}").into()),
    }
}

/// `KVM_SET_FPU` would lose it.
fn mxcsr_is_kept() -> TestResult {
    let mut vcpu = fresh_vcpu()?;
    expect("after creation", &vcpu.register(Register::Mxcsr)?, &0x1f80)?;
    vcpu.set_register(Register::Mxcsr, 0x1fbf)?;
    expect("after it was set", &vcpu.register(Register::Mxcsr)?, &0x1fbf)?;
    vcpu.reset()?;
    expect("after a reset", &vcpu.register(Register::Mxcsr)?, &0x1f80)
}
