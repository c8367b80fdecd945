//! Devices, interrupts and what the guest sees of its CPU.

use std::sync::Arc;

use boot_core::{Endian, cpu::aarch64::PSTATE_EL1H_DAIF};
use hv_core::{AddressSpace, Milestone, Outcome, Timeline, virt};
use hv_kvm_arm64::{Layout, VcpuFeatures};
use hv_kvm_test::Recorder;
use vm_memory::{Bytes, GuestAddress};

use crate::{
    guest::{self, Console, Test, TestResult, expect, expect_outcome},
    guest_code,
};

pub(crate) const TESTS: &[Test] = &[
    ("device::mmio_in_every_width", mmio_widths),
    ("device::mmio_first_and_last_byte_of_a_page", mmio_edges),
    ("device::exit_page_first_byte", || {
        expect_outcome(
            &guest::run(guest_code::exit_first_byte(), guest::entry())?,
            &Outcome::DebugExit(0x11),
        )
    }),
    ("device::exit_page_last_byte", || {
        expect_outcome(
            &guest::run(guest_code::exit_last_byte(), guest::entry())?,
            &Outcome::DebugExit(0x22),
        )
    }),
    ("device::cache_maintenance_without_ram_is_stepped_over", || {
        expect_outcome(
            &guest::run(guest_code::cache_maintenance(), guest::entry())?,
            &Outcome::DebugExit(0xcc),
        )
    }),
    ("device::big_endian_data", big_endian),
    ("device::entry_state_as_the_guest_sees_it", entry_state),
    ("device::psci_is_version_1", psci_version),
    ("device::console_and_milestones", console),
    ("device::serial_interrupt_by_spi", serial_interrupt),
    ("device::timer_interrupt_wakes_wfi", timer_interrupt),
    ("device::interrupts_without_its", interrupts_without_its),
];

/// A machine with the page at 0x0a00_0000, run to its end.
fn run_with_page(
    code: &[u8],
    state: boot_core::cpu::aarch64::State,
) -> Result<(Outcome, Recorder), Box<dyn std::error::Error>> {
    let page = Recorder::with_pattern(1);
    let (mut board, _memory) = guest::board(code, 1, guest::devices())?;
    board
        .bus_mut()
        .insert(AddressSpace::Mmio, 0x0a00_0000, 0x1000, page.clone())?;
    let outcome = board.boot(&state.into(), &hv_kvm_test::run_config())?;
    Ok((outcome, page))
}

fn mmio_widths() -> TestResult {
    let (outcome, page) = run_with_page(guest_code::mmio_widths(), guest::entry())?;
    let expected = vec![
        (0, vec![0x02]),
        (2, vec![0x04, 0x04]),
        (4, vec![0x06, 0x06, 0x07, 0x08]),
        (8, vec![0x0a, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x10]),
    ];
    expect("writes", &page.take_writes(), &expected)?;
    expect_outcome(&outcome, &Outcome::DebugExit(0))
}

fn mmio_edges() -> TestResult {
    // Byte 0 reads 0x01, byte 0xfff reads 0x00; bytes 0xffc to 0xfff read fd fe ff 00.
    let (outcome, page) = run_with_page(guest_code::mmio_edges(), guest::entry())?;
    let expected = vec![(0, vec![1]), (0xfff, vec![1])];
    expect("writes", &page.take_writes(), &expected)?;
    expect_outcome(&outcome, &Outcome::DebugExit(0x00ff_fefd))
}

/// `data_endian` takes effect on RAM and on devices: a big-endian guest has the most significant byte first.
fn big_endian() -> TestResult {
    for (endian, bytes, last) in [
        (Endian::Little, [0x44, 0x33, 0x22, 0x11], 0x05),
        (Endian::Big, [0x11, 0x22, 0x33, 0x44], 0x08),
    ] {
        let page = Recorder::with_pattern(1);
        let (mut board, memory) = guest::board(guest_code::big_endian(), 1, guest::devices())?;
        board
            .bus_mut()
            .insert(AddressSpace::Mmio, 0x0a00_0000, 0x1000, page.clone())?;
        let mut state = guest::entry();
        state.data_endian = endian;
        let outcome = board.boot(&state.into(), &hv_kvm_test::run_config())?;
        let in_ram: [u8; 4] = memory.memory().read_obj(GuestAddress(guest::DATA))?;
        expect("in RAM", &in_ram, &bytes)?;
        let writes = vec![(0, bytes.to_vec())];
        expect("on the device", &page.take_writes(), &writes)?;
        // Bytes 4 to 7 of the device read 05 06 07 08, and the lowest byte of that word is what the guest ends with.
        expect("outcome", &outcome, &Outcome::DebugExit(last))?;
    }
    Ok(None)
}

fn entry_state() -> TestResult {
    let (mut board, memory) = guest::board(guest_code::entry_state(), 1, guest::devices())?;
    let mut state = guest::entry();
    let [x0, x1, x2, x3, ..] = &mut state.x;
    (*x0, *x1, *x2, *x3) = (0x8100_0000, 1, 2, u64::MAX);
    let (sp, pstate) = (state.sp_el1, state.pstate);
    expect(
        "outcome",
        &board.boot(&state.into(), &hv_kvm_test::run_config())?,
        &Outcome::DebugExit(0),
    )?;
    let found: [u64; 10] = memory.memory().read_obj(GuestAddress(guest::DATA))?;
    let [current_el, daif, sctlr, mpidr, sp_sel, found_sp, x @ ..] = found;
    expect("CurrentEL", &current_el, &(1 << 2))?;
    expect("DAIF", &daif, &(PSTATE_EL1H_DAIF & 0x3c0))?;
    expect("PSTATE asked for", &pstate, &PSTATE_EL1H_DAIF)?;
    // MMU, data cache, instruction cache, big-endian data.
    expect(
        "SCTLR_EL1.{M,C,I,EE}",
        &(sctlr & (1 | 1 << 2 | 1 << 12 | 1 << 25)),
        &0,
    )?;
    expect("MPIDR_EL1", &(mpidr & 0xff_00ff_ffff), &0)?;
    expect("SPSel", &sp_sel, &1)?;
    expect("SP", &found_sp, &sp)?;
    expect("X0 to X3", &x, &[0x8100_0000, 1, 2, u64::MAX])?;
    Ok(None)
}

fn psci_version() -> TestResult {
    match guest::run(guest_code::psci_version(), guest::entry())? {
        Outcome::DebugExit(version) if version >= 0x1_0000 => Ok(None),
        outcome => Err(format!("expected PSCI 1.0 or later: {outcome}").into()),
    }
}

fn console() -> TestResult {
    let console = Console::default();
    let timeline = Arc::new(Timeline::new());
    let devices = guest::devices()
        .with_console(console.clone())
        .with_observer(timeline.clone());
    let (mut board, _memory) = guest::board(guest_code::console(), 1, devices)?;
    let run_config = hv_kvm_test::run_config().with_observer(timeline.clone());
    expect(
        "outcome",
        &board.boot(&guest::entry().into(), &run_config)?,
        &Outcome::DebugExit(0),
    )?;
    expect("console", &console.bytes(), &b"ok".to_vec())?;
    let reached: Vec<_> = timeline
        .entries()
        .into_iter()
        .map(|(milestone, _)| milestone)
        .collect();
    expect(
        "milestones",
        &reached,
        &vec![Milestone::Started, Milestone::FirstConsoleByte, Milestone::Ended],
    )?;
    Ok(None)
}

/// The entry state of the interrupt guest: the INTID to wait for, and which of the two it is.
fn interrupt_entry(intid: u64, kind: u64) -> boot_core::CpuState {
    let mut state = guest::entry();
    let [x0, x1, ..] = &mut state.x;
    (*x0, *x1) = (intid, kind);
    state.into()
}

const SERIAL: u64 = 1;
const TIMER: u64 = 2;

fn serial_interrupt() -> TestResult {
    let (mut board, _memory) = guest::board(guest_code::interrupt(), 1, guest::devices())?;
    let input = board.console_input().ok_or("the machine has a console")?;
    input.push(b"q")?;
    let intid = virt::SERIAL_LINE + 32;
    let outcome = board.boot(&interrupt_entry(intid.into(), SERIAL), &hv_kvm_test::run_config())?;
    expect_outcome(&outcome, &Outcome::DebugExit(u32::from(b'q') << 16 | intid))
}

fn timer_interrupt() -> TestResult {
    let (mut board, _memory) = guest::board(guest_code::interrupt(), 1, guest::devices())?;
    let outcome = board.boot(&interrupt_entry(27, TIMER), &hv_kvm_test::run_config())?;
    expect_outcome(&outcome, &Outcome::DebugExit(27))
}

/// A GICv3 without an ITS, with two redistributor regions.
fn interrupts_without_its() -> TestResult {
    use boot_core::{GuestRange, machine::InterruptController};

    let mut machine = guest::machine(2, virt::Gic::V3)?;
    if let InterruptController::GicV3(gic) = &mut machine.platform.interrupt_controller {
        let region = |start| GuestRange::new(start, 0x2_0000).ok_or("a region");
        gic.redistributors = vec![region(0x0c00_0000)?, region(0x0d00_0000)?];
    }
    let layout = Layout::of(&machine)?;
    let (mut board, _memory) = guest::board_with(
        guest_code::interrupt(),
        &layout,
        VcpuFeatures::default(),
        guest::devices(),
    )?;
    expect(
        "first vCPU",
        &board.boot(&interrupt_entry(27, TIMER), &hv_kvm_test::run_config())?,
        &Outcome::DebugExit(27),
    )?;
    Ok(None)
}
