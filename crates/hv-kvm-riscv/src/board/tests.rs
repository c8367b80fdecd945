use std::{io::Write as _, num::NonZeroU32};

use boot_core::{
    Machine,
    cpu::riscv64::State,
    machine::{Isa, virt},
};
use hv_core::{
    Operation,
    fake::{FakeConfig, FakeError, FakeRam, FakeVm, Step},
};

use super::*;

const RAM: FakeRam = FakeRam {
    base: virt::RAM_BASE,
    len: 0x1000,
};

fn state() -> CpuState {
    State::new(virt::RAM_BASE).into()
}

fn layout() -> Layout {
    let vcpus = NonZeroU32::new(2).unwrap();
    let isa = Isa::rv64gc();
    let machine = Machine::riscv64_virt(1 << 20, vcpus, &isa, 10_000_000, virt::RiscvIrqchip::Plic).unwrap();
    Layout::of(&machine).unwrap()
}

fn write(address: u64, data: &[u8]) -> Step {
    Step::MmioWrite {
        address,
        data: data.to_vec(),
    }
}

fn run(
    layout: &Layout,
    devices: BoardDevices,
    script: Vec<Step>,
    fail_at: Option<usize>,
) -> Result<Outcome, RunError<FakeError>> {
    let vm = FakeVm::new(FakeConfig {
        fail_at,
        ..FakeConfig::new(state(), vec![script])
    });
    Board::assemble(vm, [RAM], layout, devices)?.boot(&state(), &Policy::default())
}

#[test]
fn devices_are_where_the_layout_says() {
    let end = 0x1234_5000;
    let check = |layout: &Layout, step: Step, expected: &Outcome| {
        // What no device takes ends up at the other exit page.
        let devices = BoardDevices {
            exit_page: Some(end),
            ..BoardDevices::default()
        };
        let script = vec![step.clone(), write(end, &[0xee])];
        assert_eq!(run(layout, devices, script, None).unwrap(), *expected, "{step:?}");
    };
    let (plain, missed) = (layout(), Outcome::DebugExit(0xee));
    let with_syscon = Layout {
        syscon: Some(virt::syscon()),
        ..layout()
    };
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

/// The console with "ready to send" interrupts on, then a byte, then the end.
fn console_irqs(layout: &Layout) -> Vec<(u32, bool)> {
    let script = vec![
        write(virt::SERIAL.start() + 1, &[2]),
        write(virt::SERIAL.start(), b"x"),
        write(BoardDevices::EXIT_PAGE, &[1]),
    ];
    let vm = FakeVm::new(FakeConfig::new(state(), vec![script]));
    let mut board = Board::assemble(vm, [RAM], layout, BoardDevices::default()).unwrap();
    let outcome = board.boot(&state(), &Policy::default()).unwrap();
    assert_eq!(outcome, Outcome::DebugExit(1));
    assert_eq!(board.input().is_some(), layout.serial.is_some());
    board.vm().irqs()
}

#[test]
fn the_console_raises_its_source() {
    let irqs = console_irqs(&layout());
    assert_eq!(irqs.first(), Some(&(virt::SERIAL_LINE, true)));
    assert!(irqs.iter().all(|(line, _)| *line == virt::SERIAL_LINE));
    let mut polled = layout();
    if let Some(serial) = &mut polled.serial {
        serial.source = None;
    }
    assert_eq!(console_irqs(&polled), []);
    let silent = Layout {
        serial: None,
        ..layout()
    };
    assert_eq!(console_irqs(&silent), []);
}

#[test]
fn overlapping_devices_are_refused() {
    let devices = BoardDevices {
        exit_page: Some(virt::SERIAL.start()),
        ..BoardDevices::default()
    };
    let error = run(&layout(), devices, Vec::new(), None).unwrap_err();
    assert!(
        matches!(error, RunError::Bus(BusError::Overlap { .. })),
        "{error}"
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
        match run(&layout(), BoardDevices::default(), script(), Some(fail_at)) {
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

struct Sent(std::sync::mpsc::Sender<Vec<u8>>);
impl io::Write for Sent {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send(bytes.to_vec()).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn writers_share_a_sink() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let mut first = SharedSink::new(Some(Box::new(Sent(sender))));
    let mut second = first.clone();
    first.write_all(b"a").unwrap();
    second.write_all(b"b").unwrap();
    assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [b"a", b"b"]);
    drop(receiver);
    assert!(first.write_all(b"c").is_err());
    SharedSink::new(None).write_all(b"d").unwrap();
}
