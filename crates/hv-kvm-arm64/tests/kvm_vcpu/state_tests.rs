//! The whole state of a vCPU: written, read back, dirtied and reset.

use std::{collections::BTreeSet, error::Error, fmt::Write as _};

use boot_core::Endian;
use hv_core::{Exit, Outcome, Vcpu, Vm};
use hv_kvm_arm64::{
    Activity, BoardDevices, Events, IccRegister, KvmError, KvmVcpu, KvmVm, RegGroup, RegId, RegValue,
    VcpuFeatures, VcpuState,
};

use crate::{
    asm,
    guest::{self, Check, Test, TestResult, Verdict, expect},
};

pub(crate) const TESTS: &[Test] = &[
    ("state::boot_state_round_trip", boot_state_round_trip),
    ("state::whole_state_round_trip", whole_state_round_trip),
    ("state::single_registers", single_registers),
    ("state::register_errors", register_errors),
    ("state::dirty_by_guest_reset_compare", dirty_by_guest),
    ("state::dirty_every_register_reset_compare", || {
        dirty_by_harness(VcpuFeatures::default())
    }),
    ("state::dirty_every_register_of_every_feature", || {
        dirty_by_harness(KvmVm::host_support()?.features)
    }),
    ("state::reset_starts_again", reset_starts_again),
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
    for id in ids.into_iter().filter(|id| !id.is_clock()) {
        let (a, b) = (found.registers.get(id), expected.registers.get(id));
        if a != b {
            note(id.to_string(), format!("{a:x?}"), format!("{b:x?}"));
        }
    }
    if found.activity != expected.activity {
        note(
            "activity".into(),
            format!("{:?}", found.activity),
            format!("{:?}", expected.activity),
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
    let offsets: BTreeSet<_> = found.gic.frame.keys().chain(expected.gic.frame.keys()).collect();
    for offset in offsets {
        let (a, b) = (found.gic.frame.get(offset), expected.gic.frame.get(offset));
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
    Ok(KvmVm::new(&guest::layout(1)?, features)?.create_vcpu(0)?)
}

fn fresh_vcpu() -> Result<KvmVcpu, Box<dyn Error>> {
    fresh_vcpu_with(VcpuFeatures::default())
}

fn number(id: RegId, value: u128) -> Result<RegValue, Box<dyn Error>> {
    Ok(RegValue::number(id, value).ok_or(format!("{value:#x} does not fit {id}"))?)
}

fn boot_state_round_trip() -> TestResult {
    let mut vcpu = fresh_vcpu()?;
    let mut state = guest::entry();
    for (value, x) in (0x1001..).zip(&mut state.x) {
        *x = value;
    }
    for endian in [Endian::Big, Endian::Little] {
        state.data_endian = endian;
        state.pstate ^= 1 << 31;
        let state = state.clone().into();
        vcpu.set_state(&state)?;
        expect("state", &vcpu.state()?, &state)?;
    }
    Ok(Verdict::Passed)
}

/// Registers of every group, each with a value that no reset leaves there and every CPU accepts.
fn unusual() -> Result<Vec<(RegId, RegValue)>, Box<dyn Error>> {
    let mut values = Vec::new();
    for n in 0..=30 {
        let id = RegId::x(n).ok_or("X registers")?;
        values.push((id, number(id, 0x1001 + u128::from(n))?));
    }
    for n in 0..=31 {
        let id = RegId::v(n).ok_or("V registers")?;
        values.push((id, number(id, u128::from(n) << 120 | 0x5a00 | u128::from(n))?));
    }
    for (id, value) in [
        (RegId::SP_EL0, 0x8000_1000),
        (RegId::SP_EL1, 0x8000_2000),
        (RegId::PC, 0x8000_3000),
        (RegId::PSTATE, 0x8000_03c5),
        (RegId::ELR_EL1, 0x8000_4000),
        (RegId::SPSR_EL1, 0x3c4),
        (RegId::SPSR_ABT, 0x1d7),
        (RegId::SPSR_UND, 0x1db),
        (RegId::SPSR_IRQ, 0x1d2),
        (RegId::SPSR_FIQ, 0x1d1),
        (RegId::FPSR, 0x0800_001f),
        (RegId::FPCR, 0x0300_0000),
        (RegId::TTBR0_EL1, 0x8010_0000),
        (RegId::TTBR1_EL1, 0x8011_0000),
        (RegId::TCR_EL1, 0x10),
        (RegId::MAIR_EL1, 0xff44),
        (RegId::VBAR_EL1, 0x8012_0000),
        (RegId::ESR_EL1, 0x9600_0007),
        (RegId::FAR_EL1, 0xdead_b000),
        (RegId::AFSR0_EL1, 0),
        (RegId::PAR_EL1, 0x8014_0000),
        (RegId::CPACR_EL1, 0x30_0000),
        (RegId::CONTEXTIDR_EL1, 0x77),
        (RegId::TPIDR_EL0, 0x1111_2222),
        (RegId::TPIDRRO_EL0, 0x3333_4444),
        (RegId::TPIDR_EL1, 0xffff_8000_5555_6666),
        (RegId::CNTKCTL_EL1, 3),
        (RegId::TIMER_CVAL, 0x00ff_ffff_ffff_fff0),
        (RegId::PTIMER_CVAL, 0x00ff_ffff_ffff_ffe0),
        // With compare values that far away, the timers' status bits are clear.
        (RegId::TIMER_CTL, 2),
        (RegId::PTIMER_CTL, 2),
    ] {
        values.push((id, number(id, value)?));
    }
    for n in 0..16 {
        for (id, value) in [
            (RegId::dbgbvr(n), 0x8000_0000 + 4 * u128::from(n)),
            (RegId::dbgwvr(n), 0x9000_0000 + 8 * u128::from(n)),
        ] {
            let id = id.ok_or("sixteen of each")?;
            values.push((id, number(id, value)?));
        }
    }
    Ok(values)
}

/// A state that differs from a fresh one in every group.
fn unusual_state(vcpu: &mut KvmVcpu) -> Result<VcpuState, Box<dyn Error>> {
    let mut state = vcpu.whole_state()?;
    for (id, value) in unusual()? {
        state.set(id, value)?;
    }
    state.activity = Activity::STOPPED;
    state.events = Events {
        serror_pending: true,
        serror_esr: state.events.serror_esr,
    };
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
        state.gic.frame.insert(offset, value);
    }
    Ok(state)
}

fn whole_state_round_trip() -> TestResult {
    let mut vcpu = fresh_vcpu()?;
    let fresh = vcpu.whole_state()?;
    vcpu.set_whole_state(&fresh)?;
    expect_same("unchanged", &vcpu.whole_state()?, &fresh)?;
    let unusual = unusual_state(&mut vcpu)?;
    vcpu.set_whole_state(&unusual)?;
    expect_same("changed", &vcpu.whole_state()?, &unusual)?;
    // The state goes over to another vCPU of the same kind.
    let mut other = fresh_vcpu()?;
    other.set_whole_state(&unusual)?;
    expect_same("another", &other.whole_state()?, &unusual)?;
    Ok(Verdict::Passed)
}

fn single_registers() -> TestResult {
    let mut vcpu = fresh_vcpu()?;
    for (id, value) in unusual()? {
        vcpu.set_register(id, &value)?;
        expect(&id.to_string(), &vcpu.register(id)?, &value)?;
    }
    // Setting one has not changed another.
    for (id, value) in unusual()? {
        expect(&format!("{id}, later"), &vcpu.register(id)?, &value)?;
    }
    Ok(Verdict::Passed)
}

fn register_errors() -> TestResult {
    let mut vcpu = fresh_vcpu()?;
    let missing = RegId::system(3, 7, 15, 15, 7);
    match vcpu.register(missing) {
        Err(KvmError::GetRegister { register, .. }) if register == missing => {}
        result => return Err(format!("reading {missing}: {result:?}").into()),
    }
    match vcpu.set_register(RegId::PC, &number(RegId::FPCR, 0)?) {
        Err(KvmError::State(_)) => {}
        result => return Err(format!("a value that is too short: {result:?}").into()),
    }
    // EL3 does not exist here.
    match vcpu.set_register(RegId::PSTATE, &number(RegId::PSTATE, 0x3cd)?) {
        Err(KvmError::SetRegister {
            register: RegId::PSTATE,
            ..
        }) => {}
        result => return Err(format!("an exception level that is not there: {result:?}").into()),
    }
    let mut foreign = vcpu.whole_state()?;
    foreign.registers.insert(missing, RegValue::zero(missing));
    match vcpu.set_whole_state(&foreign) {
        Err(KvmError::ForeignState { register }) if register == missing => Ok(Verdict::Passed),
        result => Err(format!("a state with a foreign register: {result:?}").into()),
    }
}

fn dirty_by_guest() -> TestResult {
    let (mut board, _memory) = guest::board(asm::dirty(), 1, BoardDevices::default())?;
    let [vcpu] = board.vcpus() else {
        return Err("there is one vCPU".into());
    };
    let fresh = vcpu.whole_state()?;
    let shared = board.vm().gic_state()?;
    let outcome = board.boot(&guest::entry().into(), &guest::policy())?;
    expect("outcome", &outcome, &Outcome::DebugExit(2))?;
    let [vcpu] = board.vcpus() else {
        return Err("there is one vCPU".into());
    };
    let dirty = vcpu.whole_state()?;
    // The guest did what it was there for: these registers are dirty now.
    for (id, value) in [
        (RegId::x(30).ok_or("X30")?, 30),
        (RegId::FPCR, 0x0300_0000),
        (RegId::FPSR, 0x0800_0000),
        (RegId::TTBR0_EL1, 0x8000_0000),
        (RegId::TTBR1_EL1, 0x8000_1000),
        (RegId::TPIDR_EL1, 0x1234),
        (RegId::dbgbvr(0).ok_or("DBGBVR0")?, 0x4000),
        (RegId::dbgwcr(0).ok_or("DBGWCR0")?, 0x1e4),
        (RegId::TIMER_CVAL, u64::MAX >> 8),
        (RegId::PTIMER_CVAL, u64::MAX >> 8),
    ] {
        expect(&format!("dirty {id}"), &dirty.get(id), &Some(value))?;
    }
    let v31 = RegId::v(31).ok_or("V31")?;
    expect(
        "dirty V31",
        &dirty.registers.get(&v31),
        &Some(&RegValue::from_bytes(&[0x33; 16])),
    )?;
    expect(
        "dirty PMR",
        &dirty.gic.icc.get(&IccRegister::PMR_EL1),
        &Some(&0xf0),
    )?;
    // SGI 0 is pending.
    expect(
        "pending",
        &dirty.gic.frame.get(&0x1_0200).map(|word| word & 1),
        &Some(1),
    )?;
    let dirty_shared = board.vm().gic_state()?;
    expect("SPI 1 pending", &dirty_shared.get(&0x204), &Some(&2))?;

    hv_core::reset(board.vcpus())?;
    board.vm().reset_gic()?;
    expect("distributor", &board.vm().gic_state()?, &shared)?;
    let [vcpu] = board.vcpus() else {
        return Err("there is one vCPU".into());
    };
    expect_same("after the reset", &vcpu.whole_state()?, &fresh)?;
    // What was read of the distributor can be put back.
    board.vm().set_gic_state(&dirty_shared)?;
    expect("distributor, put back", &board.vm().gic_state()?, &dirty_shared)?;
    board.vm().reset_gic()?;
    expect("distributor, reset again", &board.vm().gic_state()?, &shared)?;
    Ok(Verdict::Passed)
}

/// Writes the opposite of every register that there is, and where the kernel does not take that, some of its bits.
fn dirty_by_harness(features: VcpuFeatures) -> TestResult {
    let mut vcpu = fresh_vcpu_with(features)?;
    let fresh = vcpu.whole_state()?;
    let (mut dirty, mut clean) = (0, Vec::new());
    for (&id, value) in &fresh.registers {
        // What the CPU is, is not its state.
        if id.is_clock() || id.is_identification() || id.group() == RegGroup::FIRMWARE_FEATURES {
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
        let workaround = id.group() == RegGroup::FIRMWARE && id != RegId::PSCI_VERSION;
        !(workaround || matches!(id, RegId::PMSWINC_EL0 | RegId::SVE_VLS))
    });
    if dirty < 160 || !clean.is_empty() {
        return Err(format!("{dirty} registers are dirty, and these are not: {clean:?}").into());
    }
    vcpu.reset()?;
    expect_same("after the reset", &vcpu.whole_state()?, &fresh)?;
    // A vCPU that was reset is like one that was just created.
    expect_same(
        "a fresh one",
        &vcpu.whole_state()?,
        &fresh_vcpu_with(features)?.whole_state()?,
    )?;
    if features != VcpuFeatures::default() {
        return Ok(Verdict::Passed);
    }
    let unusual = unusual_state(&mut vcpu)?;
    vcpu.set_whole_state(&unusual)?;
    vcpu.reset()?;
    expect_same("after the second reset", &vcpu.whole_state()?, &fresh)?;
    Ok(Verdict::Passed)
}

fn reset_starts_again() -> TestResult {
    let (mut board, _memory) = guest::board(asm::interrupt(), 1, BoardDevices::default())?;
    let mut state = guest::entry();
    let [x0, x1, ..] = &mut state.x;
    (*x0, *x1) = (27, 2);
    let state = state.into();
    for round in ["first", "second", "third"] {
        // The interrupt is active when the guest ends: without a reset no other would come.
        expect(
            round,
            &board.boot(&state, &guest::policy())?,
            &Outcome::DebugExit(27),
        )?;
        hv_core::reset(board.vcpus())?;
        board.vm().reset_gic()?;
    }
    Ok(Verdict::Passed)
}

/// One vCPU with `code`, at its first instruction.
fn at_code(code: &[u8]) -> Result<KvmVcpu, Box<dyn Error>> {
    let vm = KvmVm::new(&guest::layout(1)?, VcpuFeatures::default())?;
    let mut vcpus = hv_core::assemble(&vm, guest::memory(code)?.regions(), 1)?;
    let mut vcpu = vcpus.pop().ok_or("there is one vCPU")?;
    vcpu.set_state(&guest::entry().into())?;
    Ok(vcpu)
}

/// After an exit for an access, the state is the one behind the instruction.
fn access_is_complete() -> TestResult {
    let mut vcpu = at_code(asm::write_ram())?;
    match vcpu.run()? {
        Exit::MmioRead {
            address: 0x0a00_0000,
            data,
        } => data.copy_from_slice(&0xfeed_u32.to_le_bytes()),
        exit => return Err(format!("expected a read of the device page: {exit:?}").into()),
    }
    let x0 = RegId::x(0).ok_or("X0")?;
    expect("X0", &vcpu.register(x0)?.to_u64(), &Some(0xfeed))?;
    expect("PC", &vcpu.state()?.entry(), &(guest::CODE + 8))?;
    match vcpu.run()? {
        Exit::MmioWrite {
            address: BoardDevices::EXIT_PAGE,
            data,
        } => expect("value", &data.to_vec(), &0xfeed_u32.to_le_bytes().to_vec())?,
        exit => return Err(format!("expected a write to the exit page: {exit:?}").into()),
    }
    Ok(Verdict::Passed)
}

/// A new state replaces what the kernel still had to finish.
fn reset_in_the_middle() -> TestResult {
    let mut vcpu = at_code(asm::mmio_widths())?;
    let fresh = fresh_vcpu()?.whole_state()?;
    match vcpu.run()? {
        Exit::MmioRead { data, .. } => data.fill(0xee),
        exit => return Err(format!("expected a read: {exit:?}").into()),
    }
    vcpu.reset()?;
    expect_same("after the reset", &vcpu.whole_state()?, &fresh)?;
    vcpu.set_state(&guest::entry().into())?;
    match vcpu.run()? {
        Exit::MmioRead {
            address: 0x0a00_0000,
            data: [_],
        } => Ok(Verdict::Passed),
        exit => Err(format!("expected the first read again: {exit:?}").into()),
    }
}
