//! Save, restore and reset of the state of a vCPU.

use std::{collections::BTreeMap, error::Error};

use boot_core::{CpuState, cpu::riscv64::State};
use hv_core::{Outcome, Vcpu as _, virt::RiscvIrqchip};
use hv_kvm::HarnessError;
use hv_kvm_riscv::{
    BoardDevices, HostCapabilities, ImsicRegister, KvmError, KvmVcpu, Layout, MpState, Register,
    RegisterGroup, RegisterValue, SbiExtension, VcpuState,
};

use crate::{
    guest::{self, CODE, CheckResult, Guest, HANDLER, Test, TestResult, expect, vcpu_without_devices},
    guest_code::{
        Code, S0, T0, WFI, Width, addi, csr, csr_set, jump, move_to_double, multiply_double, store,
    },
};

pub(crate) const TESTS: &[Test] = &[
    ("state::boot_state_round_trip", boot_state_round_trip),
    ("state::registers_have_names_and_groups", names_and_groups),
    ("state::whole_state_round_trip", whole_state_round_trip),
    ("state::single_registers", single_registers),
    ("state::register_errors", register_errors),
    ("state::debug_console_is_enabled", debug_console_is_enabled),
    (
        "state::reset_after_changes_by_the_guest",
        reset_after_changes_by_the_guest,
    ),
    (
        "state::reset_after_changes_by_the_harness",
        reset_after_changes_by_the_harness,
    ),
    ("state::boot_after_reset", boot_after_reset),
    ("state::prepared_reset", prepared_reset),
    ("state::reset_before_the_last_vcpu", reset_before_the_last_vcpu),
    ("state::interrupt_file", interrupt_file),
    (
        "state::extensions_of_the_description",
        extensions_of_the_description,
    ),
];

fn expect_same(what: &str, found: &VcpuState, expected: &VcpuState) -> CheckResult {
    let diff: Vec<_> = found
        .diff(expected)
        .map(|(register, found, expected)| format!("{register}: found {found:?}, expected {expected:?}"))
        .collect();
    if !diff.is_empty() {
        return Err(format!("{what}: {}", diff.join("; ")).into());
    }
    expect(&format!("{what}: interrupt file"), &found.imsic, &expected.imsic)?;
    expect(&format!("{what}: mp_state"), &found.mp_state, &expected.mp_state)
}

fn boot_state_round_trip(_: &HostCapabilities) -> TestResult {
    let mut vcpu = vcpu_without_devices()?;
    let mut state = State::new(0x8020_0000);
    for (number, x) in (0_u64..).zip(&mut state.x).skip(1) {
        *x = u64::MAX - number;
    }
    // Sv39, with a root at 0x8100_0000.
    state.satp = 8 << 60 | 0x8_1000;
    let state = CpuState::from(state);
    vcpu.set_state(&state)?;
    expect("state", &vcpu.state()?, &state)?;
    Ok(None)
}

/// Every register of `KVM_GET_REG_LIST` has a name, and the groups that every vCPU has are complete.
fn names_and_groups(_: &HostCapabilities) -> TestResult {
    let vcpu = vcpu_without_devices()?;
    let mut groups: BTreeMap<RegisterGroup, usize> = BTreeMap::new();
    for register in vcpu.registers() {
        let group = register
            .group()
            .ok_or_else(|| format!("{register} has no group"))?;
        *groups.entry(group).or_default() += 1;
        if register.to_string().contains("0x") {
            return Err(format!("{register} has no name").into());
        }
    }
    for (group, at_least) in [
        (RegisterGroup::CONFIG, 4),
        (RegisterGroup::CORE, 33),
        (RegisterGroup::CSR, 10),
        (RegisterGroup::TIMER, 4),
        (RegisterGroup::FP_D, 33),
        (RegisterGroup::ISA_EXTENSION, 7),
        (RegisterGroup::SBI_EXTENSION, 8),
    ] {
        let found = groups.get(&group).copied().unwrap_or(0);
        if found < at_least {
            return Err(
                format!("{group:?} has {found} registers, expected at least {at_least}: {groups:?}").into(),
            );
        }
    }
    Ok(None)
}

/// Registers of every group that can be written at any time, each with a value other than that after a reset.
fn changed_values(vcpu: &KvmVcpu) -> Vec<(Register, RegisterValue)> {
    let mut values = vec![
        (Register::PC, RegisterValue::from(0x1234_5678_u64)),
        // FS is Dirty; SPIE and SPP are set.
        (Register::SSTATUS, RegisterValue::from(0x2_0000_6120_u64)),
        (Register::SIE, RegisterValue::from(0x222_u64)),
        (Register::STVEC, RegisterValue::from(0xffff_ffff_8000_1000_u64)),
        (Register::SSCRATCH, RegisterValue::from(0x5c5c_u64)),
        (Register::SEPC, RegisterValue::from(0xffff_ffff_8000_2000_u64)),
        (Register::SCAUSE, RegisterValue::from(13_u64)),
        (Register::STVAL, RegisterValue::from(0xdead_beef_u64)),
        // A software interrupt is pending.
        (Register::SIP, RegisterValue::from(2_u64)),
        (Register::SATP, RegisterValue::from(8_u64 << 60 | 0x8_1000)),
        (Register::SCOUNTEREN, RegisterValue::from(5_u64)),
        (Register::TIMER_COMPARE, RegisterValue::from(u64::MAX >> 1)),
        (Register::FCSR_D, RegisterValue::from(0x61_u32)),
        (Register::STEAL_TIME_LO, RegisterValue::from(0x8000_0000_u64)),
        (Register::SISELECT, RegisterValue::from(0x70_u64)),
        (Register::SSTATEEN0, RegisterValue::from(1_u64 << 63)),
        (Register::VSTART, RegisterValue::from(1_u64)),
        (Register::VCSR, RegisterValue::from(6_u64)),
    ];
    values
        .extend((1..32).filter_map(|n| Some((Register::x(n)?, RegisterValue::from(0x1000 + u64::from(n))))));
    values.extend((0..32).filter_map(|n| {
        let bits = 0x3ff0_0000_0000_0000 | u64::from(n);
        Some((Register::f64(n)?, RegisterValue::from(bits)))
    }));
    for register in vcpu.registers() {
        if register.group() == Some(RegisterGroup::VECTOR) && register.index() >= 6 {
            let bytes = (1..=u8::MAX).cycle().take(register.size()).collect();
            values.push((*register, RegisterValue::from_bytes(bytes)));
        }
    }
    values.retain(|(register, _)| vcpu.has(*register));
    values
}

fn changed_state(vcpu: &mut KvmVcpu) -> Result<VcpuState, Box<dyn Error>> {
    let mut state = vcpu.save_state()?;
    state.registers.extend(changed_values(vcpu));
    state.mp_state = MpState::STOPPED;
    Ok(state)
}

fn whole_state_round_trip(_: &HostCapabilities) -> TestResult {
    let mut vcpu = vcpu_without_devices()?;
    let reset_state = vcpu.save_state()?;
    vcpu.restore_state(&reset_state)?;
    expect_same("after creation", &vcpu.save_state()?, &reset_state)?;
    let changed = changed_state(&mut vcpu)?;
    vcpu.restore_state(&changed)?;
    expect_same("after a restore", &vcpu.save_state()?, &changed)?;
    // The state can be restored on another vCPU with the same extensions.
    let mut other = vcpu_without_devices()?;
    other.restore_state(&changed)?;
    expect_same("on another vCPU", &other.save_state()?, &changed)?;
    Ok(None)
}

fn single_registers(_: &HostCapabilities) -> TestResult {
    let mut vcpu = vcpu_without_devices()?;
    let values = changed_values(&vcpu);
    for (register, value) in &values {
        vcpu.set_register(*register, value)?;
        expect(&register.to_string(), &vcpu.register(*register)?, value)?;
    }
    // A write of one register has not changed another one.
    for (register, value) in &values {
        expect(
            &format!("{register} after all writes"),
            &vcpu.register(*register)?,
            value,
        )?;
    }
    Ok(None)
}

fn register_errors(_: &HostCapabilities) -> TestResult {
    let mut vcpu = vcpu_without_devices()?;
    let unknown = Register(0x8030_0000_0200_0fff);
    match vcpu.register(unknown) {
        Err(KvmError::GetRegister { register, .. }) if register == unknown => {}
        result => return Err(format!("reading {unknown}: {result:?}").into()),
    }
    match vcpu.set_register(Register::PC, &RegisterValue::from(1_u32)) {
        Err(KvmError::ValueSize {
            register: Register::PC,
            found: 4,
            expected: 8,
        }) => {}
        result => return Err(format!("writing four bytes to pc: {result:?}").into()),
    }
    match vcpu.set_register(Register::TIMER_FREQUENCY, &RegisterValue::from(1_u64)) {
        Err(KvmError::SetRegister {
            register: Register::TIMER_FREQUENCY,
            ..
        }) => {}
        result => return Err(format!("writing the timer frequency: {result:?}").into()),
    }
    let mut state = vcpu.save_state()?;
    state.registers.insert(unknown, RegisterValue::from(0_u64));
    match vcpu.restore_state(&state) {
        Err(KvmError::MissingRegister { register }) if register == unknown => Ok(None),
        result => Err(format!("restoring a state with {unknown}: {result:?}").into()),
    }
}

fn debug_console_is_enabled(_: &HostCapabilities) -> TestResult {
    let mut vcpu = vcpu_without_devices()?;
    for extension in [SbiExtension::DBCN, SbiExtension::HSM, SbiExtension::SRST] {
        let value = vcpu.register(Register::sbi(extension))?;
        expect(&format!("{extension:?}"), &value, &RegisterValue::from(1_u64))?;
    }
    Ok(None)
}

/// A reset restores integer registers, floating-point registers and CSRs that the guest has changed.
fn reset_after_changes_by_the_guest(host: &HostCapabilities) -> TestResult {
    // Enables floating point.
    let mut code = Code::new()
        .set(T0, 0x6000)
        .then([csr_set(0, csr::SSTATUS, T0)])
        .set(S0, 0x4009_21fb_5444_2d18)
        .then((0..32).map(|f| move_to_double(f, S0)));
    for (csr, value) in [
        (csr::STVEC, HANDLER),
        (csr::SSCRATCH, 0x1111),
        (csr::SEPC, 0x2222),
        (csr::SCAUSE, 0x3),
        (csr::STVAL, 0x4444),
        (csr::SIE, 0x222),
        (csr::SCOUNTEREN, 2),
    ] {
        code = code.set_csr(csr, value);
    }
    if host.isa.has("sstc") {
        code = code.set_csr(csr::STIMECMP, u64::MAX >> 1);
    }
    // The product is inexact, which sets a flag in fcsr. A CSR instruction must not write fcsr here: in VS-mode, QEMU
    // (seen in 7.2 and 10.0) sets FS to Dirty for it in vsstatus only. KVM reads FS in the HS-level sstatus to decide
    // whether to save the guest's floating-point state. If that FS is Clean, because the vCPU's thread was scheduled out
    // after the moves above, KVM does not save fcsr. A floating-point instruction sets both fields.
    code = code.then([multiply_double(0, 0, 0)]);
    // Changes all registers except x5, the base of the last store.
    code = code
        .then(
            (1..32)
                .filter(|&x| x != T0)
                .map(|x| addi(x, 0, x.cast_signed() + 0x100)),
        )
        .set(T0, BoardDevices::EXIT_PAGE)
        .then([store(Width::Word, S0, T0, 0), jump(0)]);
    let mut guest = Guest::new(host, &code, 1, guest::devices())?;
    let reset_state = first(&mut guest)?.save_state()?;
    guest.expect_outcome("outcome", &Outcome::DebugExit(0x108))?;
    let vcpu = first(&mut guest)?;
    let dirty = vcpu.save_state()?;
    let changed: Vec<Register> = dirty.diff(&reset_state).map(|(register, ..)| register).collect();
    let mut must_differ: Vec<_> = (1..32).filter_map(Register::x).collect();
    must_differ.extend((0..32).filter_map(Register::f64));
    must_differ.extend([
        Register::PC,
        Register::FCSR_D,
        Register::SSTATUS,
        Register::STVEC,
        Register::SSCRATCH,
        Register::SEPC,
        Register::SCAUSE,
        Register::STVAL,
        Register::SIE,
        Register::SCOUNTEREN,
    ]);
    for register in must_differ {
        if !changed.contains(&register) {
            return Err(format!("the guest did not change {register}").into());
        }
    }
    vcpu.reset()?;
    expect_same("after a reset", &vcpu.save_state()?, &reset_state)?;
    // The state is also that of a vCPU of a new machine.
    let mut other = Guest::new(host, &code, 1, guest::devices())?;
    let other = first(&mut other)?.save_state()?;
    expect_same(
        "compared with a new vCPU",
        &first(&mut guest)?.save_state()?,
        &other,
    )?;
    Ok(None)
}

fn first(guest: &mut Guest) -> Result<&mut KvmVcpu, Box<dyn Error>> {
    guest
        .board
        .vcpus_mut()
        .first_mut()
        .ok_or("the board has no vCPU".into())
}

fn reset_after_changes_by_the_harness(host: &HostCapabilities) -> TestResult {
    let code = Code::new().then([WFI, jump(-4)]);
    for has_run in [false, true] {
        let mut guest = Guest::new(host, &code, 1, guest::devices())?;
        let reset_state = first(&mut guest)?.save_state()?;
        if has_run {
            let outcome = guest
                .board
                .boot(&guest::state(), &hv_kvm_test::short_run_config())?;
            expect("outcome", &outcome, &Outcome::Deadline)?;
        }
        let vcpu = first(&mut guest)?;
        let changed = changed_state(vcpu)?;
        vcpu.restore_state(&changed)?;
        vcpu.reset()?;
        expect_same(
            &format!("after a reset, vCPU has run: {has_run}"),
            &vcpu.save_state()?,
            &reset_state,
        )?;
    }
    Ok(None)
}

/// With an AIA, there are no interrupt files then.
fn reset_before_the_last_vcpu(host: &HostCapabilities) -> TestResult {
    let layout = Layout::of(&guest::machine(host, 2, host.irqchip())?)?;
    let mut vcpu = guest::first_vcpu(&layout)?;
    let reset_state = vcpu.save_state()?;
    let x10 = Register::x(10).ok_or("x10")?;
    vcpu.set_register(x10, &RegisterValue::from(0x1234_u64))?;
    vcpu.reset()?;
    expect_same("after a reset", &vcpu.save_state()?, &reset_state)?;
    Ok(None)
}

/// A reset opens `/dev/kvm`, unless it was prepared.
fn prepared_reset(host: &HostCapabilities) -> TestResult {
    let mut guest = Guest::new(host, &Code::new(), 1, guest::devices())?;
    let vcpu = first(&mut guest)?;
    let reset_state = vcpu.save_state()?;
    let changed = changed_state(vcpu)?;
    vcpu.restore_state(&changed)?;
    let changed = vcpu.save_state()?;
    match hv_kvm_test::without_new_descriptors(|| vcpu.reset())? {
        Err(KvmError::Harness(HarnessError::Open(_))) => {}
        result => return Err(format!("a reset without /dev/kvm: {result:?}").into()),
    }
    expect_same("after a reset that failed", &vcpu.save_state()?, &changed)?;
    guest.board.vm().prepare_reset()?;
    let vcpu = first(&mut guest)?;
    hv_kvm_test::without_new_descriptors(|| vcpu.reset())??;
    expect_same("after a prepared reset", &vcpu.save_state()?, &reset_state)?;
    Ok(None)
}

fn boot_after_reset(host: &HostCapabilities) -> TestResult {
    // Counts the runs in memory.
    let code = Code::new()
        .set(S0, guest::DATA)
        .then([
            crate::guest_code::load(Width::Word, crate::guest_code::A0, S0, 0),
            addi(crate::guest_code::A0, crate::guest_code::A0, 1),
            store(Width::Word, crate::guest_code::A0, S0, 0),
        ])
        .exit(crate::guest_code::A0);
    let mut guest = Guest::new(host, &code, 1, guest::devices())?;
    for round in 1..4 {
        guest.expect_outcome("number of runs", &Outcome::DebugExit(round))?;
        hv_core::reset_vcpus(guest.board.vcpus_mut())?;
        let state = first(&mut guest)?.state()?;
        expect(
            "pc is the entry point after a reset",
            &(state.entry() == CODE),
            &false,
        )?;
    }
    Ok(None)
}

/// The interrupt file of an IMSIC can be saved, restored on this and another machine, and reset.
fn interrupt_file(host: &HostCapabilities) -> TestResult {
    if host.aia_ids.is_none() {
        return Ok(Some(crate::irq_tests::NO_AIA));
    }
    let code = Code::new().then([WFI, jump(-4)]);
    let guest = || Guest::with_irqchip(host, &code, 2, guest::devices(), RiscvIrqchip::AplicImsic);
    let mut guests = [guest()?, guest()?];
    let values = [
        (ImsicRegister::EIDELIVERY, 1),
        (ImsicRegister::EITHRESHOLD, 3),
        (ImsicRegister::pending(0), 0x20),
        (ImsicRegister::enabled(0), 0x30),
        (ImsicRegister::enabled(1), u64::MAX),
    ];
    let [first_guest, second_guest] = &mut guests;
    let vcpus = first_guest.board.vcpus_mut();
    let [boot, secondary] = vcpus else {
        return Err("expected two vCPUs".into());
    };
    let reset_state = boot.save_state()?;
    if reset_state.imsic.is_empty() || reset_state.imsic.values().any(|&value| value != 0) {
        return Err(format!(
            "expected a new interrupt file of zeros, found {:?}",
            reset_state.imsic
        )
        .into());
    }
    let mut state = reset_state.clone();
    state.imsic.extend(values);
    boot.restore_state(&state)?;
    let found = boot.save_state()?;
    expect("interrupt file", &found.imsic, &state.imsic)?;
    expect(
        "interrupt file of the other vCPU",
        &secondary.save_state()?.imsic,
        &reset_state.imsic,
    )?;
    let other = first(second_guest)?;
    other.restore_state(&found)?;
    expect(
        "interrupt file on another machine",
        &other.save_state()?.imsic,
        &state.imsic,
    )?;
    boot.reset()?;
    expect_same("after a reset", &boot.save_state()?, &reset_state)?;
    match vcpu_without_devices()?.restore_state(&state) {
        Err(KvmError::NoImsic | KvmError::MissingRegister { .. }) => Ok(None),
        result => Err(format!("restoring an interrupt file on a vCPU without one: {result:?}").into()),
    }
}

/// A vCPU has the extensions of its description. Others are disabled if KVM can disable them.
fn extensions_of_the_description(host: &HostCapabilities) -> TestResult {
    use boot_core::machine::Isa;
    use hv_kvm_riscv::IsaExtension;

    let mut layout = Layout::of(&guest::machine(host, 1, RiscvIrqchip::Plic)?)?;
    // KVM can disable floating point.
    let kept: Vec<String> = host
        .isa
        .extensions()
        .filter(|name| !matches!(*name, "d" | "f" | "zfa" | "zfh" | "zfhmin" | "v" | "zcd"))
        .filter(|name| !name.starts_with("zv"))
        .map(ToOwned::to_owned)
        .collect();
    let isa = Isa::new(kept)?;
    for hart in &mut layout.harts {
        hart.isa = isa.clone();
    }
    let mut vcpu = guest::first_vcpu(&layout)?;
    for name in isa.extensions() {
        let extension = IsaExtension::from_name(name).ok_or("an extension without a number")?;
        expect(
            name,
            &vcpu.register(Register::isa(extension))?,
            &RegisterValue::from(1_u64),
        )?;
    }
    for disabled in [IsaExtension::D, IsaExtension::F] {
        expect(
            "floating-point extension",
            &vcpu.register(Register::isa(disabled))?,
            &RegisterValue::from(0_u64),
        )?;
    }
    expect(
        "vCPU has f0",
        &vcpu.has(Register::f64(0).ok_or("f0 has no id")?),
        &false,
    )?;
    Ok(None)
}
