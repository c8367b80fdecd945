//! The whole state of a vCPU: written, read back, dirtied and reset.

use std::{collections::BTreeSet, error::Error, fmt::Write as _};

use boot_core::Endian;
use hv_core::{Outcome, Vcpu, VcpuExit, Vm};
use hv_kvm::HarnessError;
use hv_kvm_arm64::{
    BoardDevices, IccRegister, KvmError, KvmVcpu, KvmVm, MpState, Register, RegisterGroup, RegisterValue,
    VcpuFeatures, VcpuState,
};

use crate::{
    guest::{self, Check, Test, TestResult, expect},
    guest_code,
};

pub(crate) const TESTS: &[Test] = &[
    ("state::boot_state_round_trip", boot_state_round_trip),
    ("state::whole_state_round_trip", whole_state_round_trip),
    ("state::single_registers", single_registers),
    ("state::register_errors", register_errors),
    (
        "state::reset_after_changes_by_the_guest",
        reset_after_changes_by_the_guest,
    ),
    ("state::reset_after_changes_by_the_harness", || {
        reset_after_changes_by_the_harness(VcpuFeatures::default())
    }),
    (
        "state::reset_after_changes_by_the_harness_with_all_features",
        || reset_after_changes_by_the_harness(KvmVm::host_capabilities()?.features),
    ),
    ("state::boot_after_reset", boot_after_reset),
    ("state::prepared_reset", prepared_reset),
    ("state::access_is_complete_when_state_is_read", access_is_complete),
    ("state::reset_in_the_middle_of_an_access", reset_in_the_middle),
];

/// What differs between two states, register by register.
fn difference(found: &VcpuState, expected: &VcpuState) -> Option<String> {
    let mut text = String::new();
    let mut note = |what: String, found: String, expected: String| {
        write!(text, "{what}: found {found}, expected {expected}; ").expect("a String takes everything");
    };
    let ids: BTreeSet<_> = found.registers.keys().chain(expected.registers.keys()).collect();
    for id in ids.into_iter().filter(|id| !id.is_time_counter()) {
        let (a, b) = (found.registers.get(id), expected.registers.get(id));
        if a != b {
            note(id.to_string(), format!("{a:x?}"), format!("{b:x?}"));
        }
    }
    if found.mp_state != expected.mp_state {
        note(
            "mp_state".into(),
            format!("{:?}", found.mp_state),
            format!("{:?}", expected.mp_state),
        );
    }
    if found.events != expected.events {
        note(
            "events".into(),
            format!("{:?}", found.events),
            format!("{:?}", expected.events),
        );
    }
    let icc: BTreeSet<_> = found.gic.icc.keys().chain(expected.gic.icc.keys()).collect();
    for id in icc {
        let (a, b) = (found.gic.icc.get(id), expected.gic.icc.get(id));
        if a != b {
            note(format!("{id:?}"), format!("{a:x?}"), format!("{b:x?}"));
        }
    }
    let offsets: BTreeSet<_> = found
        .gic
        .registers
        .keys()
        .chain(expected.gic.registers.keys())
        .collect();
    for offset in offsets {
        let (a, b) = (
            found.gic.registers.get(offset),
            expected.gic.registers.get(offset),
        );
        if a != b {
            note(
                format!("redistributor {offset:#x}"),
                format!("{a:x?}"),
                format!("{b:x?}"),
            );
        }
    }
    (!text.is_empty()).then_some(text)
}

fn expect_same(what: &str, found: &VcpuState, expected: &VcpuState) -> Check {
    match difference(found, expected) {
        Some(text) => Err(format!("{what}: {text}").into()),
        None => Ok(()),
    }
}

fn fresh_vcpu_with(features: VcpuFeatures) -> Result<KvmVcpu, Box<dyn Error>> {
    Ok(KvmVm::new(&guest::layout(1)?.with_features(features))?.create_vcpu(0)?)
}

fn vcpu_reset_state() -> Result<KvmVcpu, Box<dyn Error>> {
    fresh_vcpu_with(VcpuFeatures::default())
}

fn number(id: Register, value: u128) -> Result<RegisterValue, Box<dyn Error>> {
    Ok(RegisterValue::from_number(id, value).ok_or(format!("{value:#x} does not fit {id}"))?)
}

fn boot_state_round_trip() -> TestResult {
    let mut vcpu = vcpu_reset_state()?;
    let mut state = guest::entry();
    for (value, x) in (0x1001..).zip(&mut state.x) {
        *x = value;
    }
    for endian in [Endian::Big, Endian::Little] {
        state.data_endian = endian;
        state.pstate ^= 1 << 31;
        let state = state.into();
        vcpu.set_state(&state)?;
        expect("state", &vcpu.state()?, &state)?;
    }
    Ok(None)
}

/// Registers of every group, each with a value that no reset leaves there and every CPU accepts.
fn unusual() -> Result<Vec<(Register, RegisterValue)>, Box<dyn Error>> {
    let mut values = Vec::new();
    for n in 0..=30 {
        let id = Register::x(n).ok_or("X registers")?;
        values.push((id, number(id, 0x1001 + u128::from(n))?));
    }
    for n in 0..=31 {
        let id = Register::v(n).ok_or("V registers")?;
        values.push((id, number(id, u128::from(n) << 120 | 0x5a00 | u128::from(n))?));
    }
    for (id, value) in [
        (Register::SP_EL0, 0x8000_1000),
        (Register::SP_EL1, 0x8000_2000),
        (Register::PC, 0x8000_3000),
        (Register::PSTATE, 0x8000_03c5),
        (Register::ELR_EL1, 0x8000_4000),
        (Register::SPSR_EL1, 0x3c4),
        (Register::SPSR_ABT, 0x1d7),
        (Register::SPSR_UND, 0x1db),
        (Register::SPSR_IRQ, 0x1d2),
        (Register::SPSR_FIQ, 0x1d1),
        (Register::FPSR, 0x0800_001f),
        (Register::FPCR, 0x0300_0000),
        (Register::TTBR0_EL1, 0x8010_0000),
        (Register::TTBR1_EL1, 0x8011_0000),
        (Register::TCR_EL1, 0x10),
        (Register::MAIR_EL1, 0xff44),
        (Register::VBAR_EL1, 0x8012_0000),
        (Register::ESR_EL1, 0x9600_0007),
        (Register::FAR_EL1, 0xdead_b000),
        (Register::AFSR0_EL1, 0),
        (Register::PAR_EL1, 0x8014_0000),
        (Register::CPACR_EL1, 0x30_0000),
        (Register::CONTEXTIDR_EL1, 0x77),
        (Register::TPIDR_EL0, 0x1111_2222),
        (Register::TPIDRRO_EL0, 0x3333_4444),
        (Register::TPIDR_EL1, 0xffff_8000_5555_6666),
        (Register::CNTKCTL_EL1, 3),
        (Register::TIMER_CVAL, 0x00ff_ffff_ffff_fff0),
        (Register::PTIMER_CVAL, 0x00ff_ffff_ffff_ffe0),
        // With compare values that far away, the timers' status bits are clear.
        (Register::TIMER_CTL, 2),
        (Register::PTIMER_CTL, 2),
    ] {
        values.push((id, number(id, value)?));
    }
    for n in 0..16 {
        for (id, value) in [
            (Register::dbgbvr(n), 0x8000_0000 + 4 * u128::from(n)),
            (Register::dbgwvr(n), 0x9000_0000 + 8 * u128::from(n)),
        ] {
            let id = id.ok_or("sixteen of each")?;
            values.push((id, number(id, value)?));
        }
    }
    Ok(values)
}

/// A state that differs from a fresh one in every group.
fn unusual_state(vcpu: &mut KvmVcpu) -> Result<VcpuState, Box<dyn Error>> {
    let mut state = vcpu.save_state()?;
    for (id, value) in unusual()? {
        state.set(id, value)?;
    }
    state.mp_state = MpState::STOPPED;
    state.events.serror_pending = true;
    state.gic.icc.insert(IccRegister::PMR_EL1, 0xf0);
    state.gic.icc.insert(IccRegister::IGRPEN1_EL1, 1);
    // The redistributor's second frame: groups, enables, pending state, priorities.
    for (offset, value) in [
        (0x1_0080, u32::MAX),
        (0x1_0100, 0x0800_ffff),
        (0x1_0200, 0x0000_0006),
        (0x1_0400, 0x1020_3040),
        (0x1_041c, 0x5060_7080),
        // Message interrupts: their tables, whose addresses are fixed once they are enabled, and enabled; the other bits
        // of the control register say what the redistributor can do.
        (0x70, 0x8010_028d),
        (0x78, 0x8012_0280),
        (0x00, 7),
    ] {
        state.gic.registers.insert(offset, value);
    }
    Ok(state)
}

fn whole_state_round_trip() -> TestResult {
    let mut vcpu = vcpu_reset_state()?;
    let reset_state = vcpu.save_state()?;
    vcpu.restore_state(&reset_state)?;
    expect_same("unchanged", &vcpu.save_state()?, &reset_state)?;
    let unusual = unusual_state(&mut vcpu)?;
    vcpu.restore_state(&unusual)?;
    expect_same("changed", &vcpu.save_state()?, &unusual)?;
    // The state goes over to another vCPU of the same kind.
    let mut other = vcpu_reset_state()?;
    other.restore_state(&unusual)?;
    expect_same("another", &other.save_state()?, &unusual)?;
    Ok(None)
}

fn single_registers() -> TestResult {
    let mut vcpu = vcpu_reset_state()?;
    for (id, value) in unusual()? {
        vcpu.set_register(id, &value)?;
        expect(&id.to_string(), &vcpu.register(id)?, &value)?;
    }
    // Setting one has not changed another.
    for (id, value) in unusual()? {
        expect(&format!("{id}, later"), &vcpu.register(id)?, &value)?;
    }
    Ok(None)
}

fn register_errors() -> TestResult {
    let mut vcpu = vcpu_reset_state()?;
    let missing = Register::system(3, 7, 15, 15, 7);
    match vcpu.register(missing) {
        Err(KvmError::GetRegister { register, .. }) if register == missing => {}
        result => return Err(format!("reading {missing}: {result:?}").into()),
    }
    match vcpu.set_register(Register::PC, &number(Register::FPCR, 0)?) {
        Err(KvmError::State(_)) => {}
        result => return Err(format!("a value that is too short: {result:?}").into()),
    }
    // EL3 does not exist here.
    match vcpu.set_register(Register::PSTATE, &number(Register::PSTATE, 0x3cd)?) {
        Err(KvmError::SetRegister {
            register: Register::PSTATE,
            ..
        }) => {}
        result => return Err(format!("an exception level that is not there: {result:?}").into()),
    }
    let mut foreign = vcpu.save_state()?;
    foreign.registers.insert(missing, RegisterValue::zero(missing));
    match vcpu.restore_state(&foreign) {
        Err(KvmError::MissingRegister { register }) if register == missing => Ok(None),
        result => Err(format!("a state with a foreign register: {result:?}").into()),
    }
}

fn reset_after_changes_by_the_guest() -> TestResult {
    let (mut board, _memory) = guest::board(guest_code::dirty(), 1, guest::devices())?;
    let [vcpu] = board.vcpus_mut() else {
        return Err("there is one vCPU".into());
    };
    let reset_state = vcpu.save_state()?;
    let shared = board.vm().save_distributor()?;
    let outcome = board.boot(&guest::entry().into(), &hv_kvm_test::run_config())?;
    expect("outcome", &outcome, &Outcome::DebugExit(2))?;
    let [vcpu] = board.vcpus_mut() else {
        return Err("there is one vCPU".into());
    };
    let dirty = vcpu.save_state()?;
    // The guest did what it was there for: these registers are dirty now.
    for (id, value) in [
        (Register::x(30).ok_or("X30")?, 30),
        (Register::FPCR, 0x0300_0000),
        (Register::FPSR, 0x0800_0000),
        (Register::TTBR0_EL1, 0x8000_0000),
        (Register::TTBR1_EL1, 0x8000_1000),
        (Register::TPIDR_EL1, 0x1234),
        (Register::dbgbvr(0).ok_or("DBGBVR0")?, 0x4000),
        (Register::dbgwcr(0).ok_or("DBGWCR0")?, 0x1e4),
        (Register::TIMER_CVAL, u64::MAX >> 8),
        (Register::PTIMER_CVAL, u64::MAX >> 8),
    ] {
        expect(&format!("dirty {id}"), &dirty.get(id), &Some(value))?;
    }
    let v31 = Register::v(31).ok_or("V31")?;
    expect(
        "dirty V31",
        &dirty.registers.get(&v31),
        &Some(&RegisterValue::from_bytes(&[0x33; 16])),
    )?;
    expect(
        "dirty PMR",
        &dirty.gic.icc.get(&IccRegister::PMR_EL1),
        &Some(&0xf0),
    )?;
    // SGI 0 is pending.
    expect(
        "pending",
        &dirty.gic.registers.get(&0x1_0200).map(|word| word & 1),
        &Some(1),
    )?;
    let dirty_shared = board.vm().save_distributor()?;
    expect("SPI 1 pending", &dirty_shared.get(&0x204), &Some(&2))?;

    hv_core::reset_vcpus(board.vcpus_mut())?;
    board.vm().reset_irqchip()?;
    expect("distributor", &board.vm().save_distributor()?, &shared)?;
    let [vcpu] = board.vcpus_mut() else {
        return Err("there is one vCPU".into());
    };
    expect_same("after the reset", &vcpu.save_state()?, &reset_state)?;
    // What was read of the distributor can be put back.
    board.vm().restore_distributor(&dirty_shared)?;
    expect(
        "distributor, put back",
        &board.vm().save_distributor()?,
        &dirty_shared,
    )?;
    board.vm().reset_irqchip()?;
    expect(
        "distributor, reset again",
        &board.vm().save_distributor()?,
        &shared,
    )?;
    Ok(None)
}

/// Writes the opposite of every register that there is, and where the kernel does not take that, some of its bits.
fn reset_after_changes_by_the_harness(features: VcpuFeatures) -> TestResult {
    let mut vcpu = fresh_vcpu_with(features)?;
    let reset_state = vcpu.save_state()?;
    let (mut dirty, mut clean) = (0, Vec::new());
    for (&id, value) in &reset_state.registers {
        // What the CPU is, is not its state.
        if id.is_time_counter() || id.is_identification() || id.group() == RegisterGroup::FIRMWARE_FEATURES {
            continue;
        }
        // All bytes, and the lowest one alone: some registers have a single bit that may change.
        let flipped = |(mask, bytes): (u8, usize)| {
            let mut candidate = value.clone();
            candidate
                .bytes_mut()
                .iter_mut()
                .take(bytes)
                .for_each(|byte| *byte ^= mask);
            candidate
        };
        let everywhere = [0xff, 0x0f, 0x03, 0x01, 0x10, 0x04].map(|mask| (mask, usize::MAX));
        let is_dirty = everywhere
            .into_iter()
            .chain([(0x01, 1), (0x02, 1)])
            .map(flipped)
            .any(|candidate| {
                vcpu.set_register(id, &candidate).is_ok()
                    && vcpu.register(id).is_ok_and(|found| found != *value)
            });
        if is_dirty {
            dirty += 1;
        } else {
            clean.push(id);
        }
    }
    // These have no bits to change: one reads as zero, one is fixed with the vector lengths, and the others tell which
    // of the host's workarounds for its CPU a guest needs.
    clean.retain(|&id| {
        let workaround = id.group() == RegisterGroup::FIRMWARE && id != Register::PSCI_VERSION;
        !(workaround || matches!(id, Register::PMSWINC_EL0 | Register::SVE_VLS))
    });
    if dirty < 160 || !clean.is_empty() {
        return Err(format!("{dirty} registers are dirty, and these are not: {clean:?}").into());
    }
    vcpu.reset()?;
    expect_same("after the reset", &vcpu.save_state()?, &reset_state)?;
    // A vCPU that was reset is like one that was just created.
    expect_same(
        "a fresh one",
        &vcpu.save_state()?,
        &fresh_vcpu_with(features)?.save_state()?,
    )?;
    if features != VcpuFeatures::default() {
        return Ok(None);
    }
    let unusual = unusual_state(&mut vcpu)?;
    vcpu.restore_state(&unusual)?;
    vcpu.reset()?;
    expect_same("after the second reset", &vcpu.save_state()?, &reset_state)?;
    Ok(None)
}

/// A reset opens `/dev/kvm`, unless it was prepared.
fn prepared_reset() -> TestResult {
    let vm = KvmVm::new(&guest::layout(1)?)?;
    let mut vcpu = vm.create_vcpu(0)?;
    let (reset_state, distributor) = (vcpu.save_state()?, vm.save_distributor()?);
    let changed = unusual_state(&mut vcpu)?;
    vcpu.restore_state(&changed)?;
    let changed = vcpu.save_state()?;
    match hv_kvm_test::without_new_descriptors(|| vcpu.reset())? {
        Err(KvmError::Harness(HarnessError::Open(_))) => {}
        result => return Err(format!("a reset without /dev/kvm: {result:?}").into()),
    }
    expect_same("after a reset that failed", &vcpu.save_state()?, &changed)?;
    vm.prepare_reset()?;
    hv_kvm_test::without_new_descriptors(|| {
        vcpu.reset()?;
        vm.reset_irqchip()
    })??;
    expect_same("after a prepared reset", &vcpu.save_state()?, &reset_state)?;
    expect("distributor", &vm.save_distributor()?, &distributor)?;
    Ok(None)
}

fn boot_after_reset() -> TestResult {
    let (mut board, _memory) = guest::board(guest_code::interrupt(), 1, guest::devices())?;
    let mut state = guest::entry();
    let [x0, x1, ..] = &mut state.x;
    (*x0, *x1) = (27, 2);
    let state = state.into();
    for round in ["first", "second", "third"] {
        // The interrupt is active when the guest ends: without a reset no other would come.
        expect(
            round,
            &board.boot(&state, &hv_kvm_test::run_config())?,
            &Outcome::DebugExit(27),
        )?;
        hv_core::reset_vcpus(board.vcpus_mut())?;
        board.vm().reset_irqchip()?;
    }
    Ok(None)
}

/// One vCPU with `code`, at its first instruction.
fn at_code(code: &[u8]) -> Result<KvmVcpu, Box<dyn Error>> {
    let vm = KvmVm::new(&guest::layout(1)?)?;
    let mut vcpus = hv_core::init_vm(&vm, guest::memory(code)?.regions(), 1)?;
    let mut vcpu = vcpus.pop().ok_or("there is one vCPU")?;
    vcpu.set_state(&guest::entry().into())?;
    Ok(vcpu)
}

/// After an exit for an access, the state is the one behind the instruction.
fn access_is_complete() -> TestResult {
    let mut vcpu = at_code(guest_code::write_ram())?;
    match vcpu.run()? {
        VcpuExit::MmioRead {
            address: 0x0a00_0000,
            data,
        } => data.copy_from_slice(&0xfeed_u32.to_le_bytes()),
        exit => return Err(format!("expected a read of the device page: {exit:?}").into()),
    }
    let x0 = Register::x(0).ok_or("X0")?;
    expect("X0", &vcpu.register(x0)?.to_u64(), &Some(0xfeed))?;
    expect("PC", &vcpu.state()?.entry(), &(guest::CODE + 8))?;
    match vcpu.run()? {
        VcpuExit::MmioWrite {
            address: BoardDevices::EXIT_PAGE,
            data,
        } => expect("value", &data.to_vec(), &0xfeed_u32.to_le_bytes().to_vec())?,
        exit => return Err(format!("expected a write to the exit page: {exit:?}").into()),
    }
    Ok(None)
}

/// A new state replaces what the kernel still had to finish.
fn reset_in_the_middle() -> TestResult {
    let mut vcpu = at_code(guest_code::mmio_widths())?;
    let reset_state = vcpu_reset_state()?.save_state()?;
    match vcpu.run()? {
        VcpuExit::MmioRead { data, .. } => data.fill(0xee),
        exit => return Err(format!("expected a read: {exit:?}").into()),
    }
    vcpu.reset()?;
    expect_same("after the reset", &vcpu.save_state()?, &reset_state)?;
    vcpu.set_state(&guest::entry().into())?;
    match vcpu.run()? {
        VcpuExit::MmioRead {
            address: 0x0a00_0000,
            data: [_],
        } => Ok(None),
        exit => Err(format!("expected the first read again: {exit:?}").into()),
    }
}
