//! Boards with the devices of a PC, on the fake hypervisor.

use boot_core::{Arch, CpuState, cpu::x86_64::State};
use hv_core::{
    AddressSpace, Board, BoardDevices, BusError, DebugExitDevice, DeviceLayout, Outcome, RunConfig, RunError,
    fake::{FakeConfig, FakeError, FakeRam, FakeVm, Step},
};

const RAM: FakeRam = FakeRam { base: 0, len: 0x1000 };

fn state() -> CpuState {
    State::protected_mode(0x10_0000, 0x10, 0x18).into()
}

fn devices() -> BoardDevices {
    BoardDevices::new(Arch::X86_64)
}

fn out(port: u16, value: u8) -> Step {
    Step::IoWrite {
        port,
        size: 1,
        data: vec![value],
    }
}

fn pc(
    layout: &DeviceLayout,
    devices: BoardDevices,
    script: Vec<Step>,
) -> Result<Board<FakeVm>, RunError<FakeError>> {
    let vm = FakeVm::new(FakeConfig::new(state(), vec![script]));
    Board::new(vm, [RAM], 1, |vm| devices.connect(vm, layout))
}

#[test]
fn devices_are_at_their_addresses() {
    let check = |layout: &DeviceLayout, devices, step: Step, expected: &Outcome| {
        // The second write, to another debug-exit device, ends the run if the first one does not.
        let script = vec![step.clone(), out(0x701, 0xee)];
        let mut pc = pc(layout, devices, script).unwrap();
        pc.bus_mut()
            .insert(AddressSpace::Pio, 0x701, 1, DebugExitDevice)
            .unwrap();
        assert_eq!(
            pc.boot(&state(), &RunConfig::default()).unwrap(),
            *expected,
            "{step:?}"
        );
    };
    let (layout, none) = (DeviceLayout::pc(), DeviceLayout::new());
    let no_exit = || devices().with_exit_port(None);
    let missed = Outcome::DebugExit(0xee);
    check(&layout, devices(), out(0xf4, 1), &Outcome::DebugExit(1));
    check(
        &layout,
        devices(),
        Step::IoWrite {
            port: 0xf4,
            size: 4,
            data: vec![1, 2, 3, 4],
        },
        &Outcome::DebugExit(0x0403_0201),
    );
    check(
        &none,
        devices().with_exit_port(Some(0x501)),
        out(0x501, 2),
        &Outcome::DebugExit(2),
    );
    check(&none, no_exit(), out(0xf4, 1), &missed);
    check(&layout, devices(), out(0x64, 0xfe), &Outcome::Reset);
    check(&none, no_exit(), out(0x64, 0xfe), &missed);
    // Sleep type 5 and the bit that starts the transition.
    let off = 5 << 2 | 1 << 5;
    check(&layout, devices(), out(0x600, off), &Outcome::PowerOff);
    check(&layout, devices(), out(0x601, off), &missed);
    check(&none, no_exit(), out(0x600, off), &missed);
    let page = |address| Step::MmioWrite {
        address,
        data: vec![3, 0, 0, 0],
    };
    let with_page = || no_exit().with_exit_page(Some(0xd000_0000));
    check(&none, with_page(), page(0xd000_0ffc), &Outcome::DebugExit(3));
    check(&none, with_page(), page(0xd000_1000), &missed);
}

#[test]
fn overlapping_devices_are_refused() {
    let devices = devices().with_exit_port(Some(0x3fa));
    let error = pc(&DeviceLayout::pc(), devices, Vec::new()).unwrap_err();
    assert!(
        matches!(
            error,
            RunError::Bus(BusError::Overlap {
                other_base: 0x3f8,
                ..
            })
        ),
        "{error}"
    );
}
