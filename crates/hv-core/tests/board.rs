//! Boards on the fake hypervisor.

use std::sync::Arc;

use boot_core::{Arch, CpuState, cpu::aarch64::State};
use hv_core::{
    AddressSpace, Board, BoardDevices, Bus, BusError, DebugExitDevice, DeviceLayout, Operation, Outcome,
    RunConfig, RunError, SerialPort,
    fake::{FakeConfig, FakeError, FakeRam, FakeVm, Step},
    virt,
};

const RAM: FakeRam = FakeRam {
    base: virt::RAM_BASE,
    len: 0x1000,
};

fn state() -> CpuState {
    State::new(virt::RAM_BASE).into()
}

fn devices() -> BoardDevices {
    BoardDevices::new(Arch::Aarch64)
}

/// A console alone.
fn layout() -> DeviceLayout {
    DeviceLayout::new().with_serial(Some(SerialPort::mmio(virt::SERIAL, Some(virt::SERIAL_LINE))))
}

fn write(address: u64, data: &[u8]) -> Step {
    Step::MmioWrite {
        address,
        data: data.to_vec(),
    }
}

/// A machine of two vCPUs, of which the first follows `script`.
fn board(
    layout: &DeviceLayout,
    devices: BoardDevices,
    script: Vec<Step>,
    fail_at: Option<usize>,
) -> Result<Board<FakeVm>, RunError<FakeError>> {
    let vm = FakeVm::new(FakeConfig::new(state(), vec![script]).with_fail_at(fail_at));
    Board::new(vm, [RAM], 2, |vm| devices.connect(vm, layout))
}

fn run(
    layout: &DeviceLayout,
    devices: BoardDevices,
    script: Vec<Step>,
    fail_at: Option<usize>,
) -> Result<Outcome, RunError<FakeError>> {
    board(layout, devices, script, fail_at)?.boot(&state(), &RunConfig::default())
}

#[test]
fn devices_are_at_the_addresses_of_the_layout() {
    let end = 0x1234_5000;
    let check = |layout: &DeviceLayout, step: Step, expected: &Outcome| {
        // The second write, to the exit page, ends the run if the first one does not.
        let devices = devices().with_exit_page(Some(end));
        let script = vec![step.clone(), write(end, &[0xee])];
        assert_eq!(run(layout, devices, script, None).unwrap(), *expected, "{step:?}");
    };
    let (plain, missed) = (layout(), Outcome::DebugExit(0xee));
    let with_syscon = layout().with_syscon(Some(virt::syscon()));
    let off = virt::POWEROFF.value.to_le_bytes();
    check(&plain, write(end + 0xfff, &[3]), &Outcome::DebugExit(3));
    check(&plain, write(end + 0x1000, &[3]), &missed);
    check(&plain, write(end - 1, &[3]), &missed);
    check(&plain, write(virt::SYSCON.start(), &off), &missed);
    check(
        &with_syscon,
        write(virt::SYSCON.start(), &off),
        &Outcome::PowerOff,
    );
}

#[test]
fn the_console_raises_its_line_and_no_other() {
    let check = |serial: Option<SerialPort>, expected: &[(u32, bool)]| {
        let script = vec![
            // "Ready to send" interrupts are on, then a byte, then the end.
            write(virt::SERIAL.start() + 1, &[2]),
            write(virt::SERIAL.start(), b"x"),
            write(BoardDevices::EXIT_PAGE, &[1]),
        ];
        let layout = DeviceLayout::new().with_serial(serial);
        let mut board = board(&layout, devices(), script, None).unwrap();
        let outcome = board.boot(&state(), &RunConfig::default()).unwrap();
        assert_eq!(outcome, Outcome::DebugExit(1));
        assert_eq!(board.console_input().is_some(), serial.is_some());
        assert_eq!(board.vm().irqs(), expected, "{serial:?}");
    };
    let edge = [(7, true), (7, false)];
    let port = |line| Some(SerialPort::mmio(virt::SERIAL, line));
    check(port(Some(7)), &edge);
    check(port(None), &[]);
    check(None, &[]);
}

#[test]
fn a_board_takes_input_and_further_devices_and_resumes() {
    let page = 0x0910_0000;
    let read = Step::MmioRead {
        address: virt::SERIAL.start(),
        len: 1,
    };
    let script = vec![
        write(BoardDevices::EXIT_PAGE, &[1]),
        read,
        write(page, &[2]),
        write(page + 4, &[3]),
    ];
    let mut board = board(&layout(), devices(), script, None).unwrap();
    board
        .bus_mut()
        .insert(AddressSpace::Mmio, page, 8, DebugExitDevice)
        .unwrap();
    board.console_input().unwrap().push(b"q").unwrap();
    let run_config = RunConfig::default();
    assert_eq!(board.boot(&state(), &run_config).unwrap(), Outcome::DebugExit(1));
    assert_eq!(board.resume(&run_config).unwrap(), Outcome::DebugExit(2));
    assert_eq!(board.vm().read_results(), [(0, b"q".to_vec())]);
    assert_eq!(board.resume(&run_config).unwrap(), Outcome::DebugExit(3));
    assert_eq!(board.vcpus_mut().len(), 2);
}

#[test]
fn overlapping_devices_are_refused() {
    let devices = devices().with_exit_page(Some(virt::SERIAL.start()));
    let error = run(&layout(), devices, Vec::new(), None).unwrap_err();
    assert!(
        matches!(error, RunError::Bus(BusError::Overlap { .. })),
        "{error}"
    );
}

/// The devices are connected first: if that fails, no operation of the hypervisor is started.
#[test]
fn overlapping_devices_start_no_operation() {
    let vm = FakeVm::new(FakeConfig::new(state(), Vec::new()));
    let mut connected = None;
    let board = Board::new(vm, [RAM], 1, |vm| {
        connected = Some(Arc::clone(vm));
        Err(BusError::Empty {
            space: AddressSpace::Pio,
            base: 0,
        })
    });
    assert!(matches!(
        board.unwrap_err(),
        RunError::Bus(BusError::Empty { base: 0, .. })
    ));
    assert_eq!(connected.unwrap().operations(), []);
    // A bus without devices is accepted.
    let vm = FakeVm::new(FakeConfig::new(state(), Vec::new()));
    let board = Board::new(vm, [RAM], 1, |_| Ok((Bus::new(), None))).unwrap();
    assert_eq!(
        board.vm().operations(),
        [Operation::MapRam, Operation::CreateVcpu]
    );
}

#[test]
fn every_failing_operation_is_reported() {
    let mut operations = Vec::new();
    let script = || {
        vec![
            write(virt::SERIAL.start() + 1, &[2]),
            write(BoardDevices::EXIT_PAGE, &[9]),
        ]
    };
    for fail_at in 0.. {
        match run(&layout(), devices(), script(), Some(fail_at)) {
            Err(error) => operations.extend(error.operation()),
            Ok(outcome) => {
                assert_eq!(outcome, Outcome::DebugExit(9));
                break;
            }
        }
    }
    let first = [
        Operation::MapRam,
        Operation::CreateVcpu,
        Operation::CreateVcpu,
        Operation::SetState,
    ];
    assert_eq!(operations.get(..4), Some(&first[..]));
    assert!(operations.contains(&Operation::Run), "{operations:?}");
}
