//! The run loop on the fake hypervisor.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use boot_core::cpu::{riscv64, x86_64::State};
use hv_core::{
    Access, AccessKind, AddressSpace, Bus, CrashReport, DebugExitDevice, Device, DeviceAction, DeviceError,
    Fault, I8042, Milestone, Observer, Operation, Outcome, RunConfig, RunError, Serial, SerialConfig,
    ShutdownPolicy, StopHandle, SystemEvent, Timeline, UnhandledAccessPolicy, Vcpu, Vm, VmIrqLine, boot,
    fake::{FakeConfig, FakeError, FakeRam, FakeVm, Step},
    init_vm, reset_vcpus, run,
};

fn entry() -> boot_core::CpuState {
    State::protected_mode(0x10_0000, 0x10, 0x18).into()
}

fn reset_state() -> boot_core::CpuState {
    State::protected_mode(0xfff0, 0, 0).into()
}

fn ram(base: u64, len: u64) -> FakeRam {
    FakeRam { base, len }
}

fn out(port: u16, value: u8) -> Step {
    Step::IoWrite {
        port,
        size: 1,
        data: vec![value],
    }
}

/// A machine with one RAM slot, a serial port, the exit port and the reset port.
struct Setup {
    vm: Arc<FakeVm>,
    bus: Bus,
    console: Console,
}

#[derive(Clone, Default)]
struct Console(Arc<Mutex<Vec<u8>>>);

impl io::Write for Console {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Setup {
    fn new(config: FakeConfig) -> Self {
        let vm = Arc::new(FakeVm::new(config));
        let console = Console::default();
        let mut bus = Bus::new();
        let serial = Serial::new(SerialConfig::new(
            Box::new(VmIrqLine::new(Arc::clone(&vm), Serial::COM1_IRQ)),
            Box::new(console.clone()),
        ));
        bus.insert(AddressSpace::Pio, Serial::COM1_BASE.into(), Serial::LEN, serial)
            .unwrap();
        bus.insert(AddressSpace::Pio, 0xf4, 1, DebugExitDevice).unwrap();
        bus.insert(AddressSpace::Pio, I8042::PORT.into(), 1, I8042)
            .unwrap();
        Self { vm, bus, console }
    }

    fn scripts(scripts: Vec<Vec<Step>>) -> Self {
        Self::new(FakeConfig::new(reset_state(), scripts))
    }

    fn boot(&self, vcpus: u32, run_config: &RunConfig) -> Result<Outcome, RunError<FakeError>> {
        let mut vcpus = init_vm(&*self.vm, [ram(0, 0x1000_0000)], vcpus)?;
        let result = boot(&mut vcpus, &entry(), &self.bus, run_config);
        assert_eq!(self.vm.running_vcpus(), 0, "a vCPU is still running");
        result
    }
}

/// Runs one script per vCPU with the default configuration.
fn check(scripts: &[Vec<Step>], expected: &Outcome) {
    let vcpus = u32::try_from(scripts.len()).unwrap();
    let outcome = Setup::scripts(scripts.to_vec())
        .boot(vcpus, &RunConfig::default())
        .unwrap();
    assert_eq!(outcome, *expected, "{scripts:?}");
}

fn crash(vcpu: u32, fault: Fault, state: boot_core::CpuState) -> Outcome {
    Outcome::Crash(Box::new(CrashReport::new(vcpu, fault, state)))
}

#[test]
fn guests_end_runs() {
    check(&[vec![out(0xf4, 42)]], &Outcome::DebugExit(42));
    check(&[vec![out(0x64, 0xfe)]], &Outcome::Reset);
    check(&[vec![Step::System(SystemEvent::PowerOff)]], &Outcome::PowerOff);
    check(&[vec![Step::System(SystemEvent::Reset)]], &Outcome::Reset);
    check(&[vec![Step::Halt]], &Outcome::Halted);
    check(&[vec![Step::Halt], vec![Step::Halt]], &Outcome::Halted);
    check(&[vec![Step::Halt], vec![out(0xf4, 1)]], &Outcome::DebugExit(1));
    check(&[vec![], vec![out(0xf4, 2)], vec![]], &Outcome::DebugExit(2));
    check(
        &[vec![Step::SpuriousExit, Step::SpuriousExit, out(0xf4, 3)]],
        &Outcome::DebugExit(3),
    );
    // What no device has is ignored by default.
    check(
        &[vec![
            out(0x80, 0),
            Step::MmioWrite {
                address: 0,
                data: vec![0; 8],
            },
            out(0xf4, 4),
        ]],
        &Outcome::DebugExit(4),
    );
}

#[test]
fn faults_end_runs_with_a_report() {
    for fault in [
        Fault::Shutdown,
        Fault::EntryFailed {
            reason: 0x8000_0021,
            cpu: 1,
        },
        Fault::Unsupported {
            reason: 27,
            name: None,
        },
    ] {
        check(&[vec![Step::Fault(fault.clone())]], &crash(0, fault, entry()));
    }
    let event = SystemEvent::Crash;
    check(
        &[vec![], vec![Step::System(event)]],
        &crash(1, Fault::System(event), reset_state()),
    );
    let event = SystemEvent::Other(9);
    check(
        &[vec![Step::System(event)]],
        &crash(0, Fault::System(event), entry()),
    );
    check(
        &[vec![Step::Doorbell(7), out(0xf4, 1)]],
        &crash(0, Fault::UnexpectedDoorbell { value: 7 }, entry()),
    );
}

#[test]
fn policies_change_what_events_mean() {
    let shutdown = vec![vec![Step::Fault(Fault::Shutdown)]];
    let run_config = RunConfig::default().with_shutdown(ShutdownPolicy::Reset);
    assert_eq!(
        Setup::scripts(shutdown).boot(1, &run_config).unwrap(),
        Outcome::Reset
    );

    let run_config = RunConfig::default().with_unhandled_access(UnhandledAccessPolicy::Crash);
    let read = Step::MmioRead {
        address: 0xd000_0000,
        len: 4,
    };
    let access = Access::new(AddressSpace::Mmio, AccessKind::Read, 0xd000_0000, 4);
    let outcome = Setup::scripts(vec![vec![read]]).boot(1, &run_config).unwrap();
    assert_eq!(outcome, crash(0, Fault::UnhandledAccess(access), entry()));
}

#[test]
fn accesses_are_answered_element_by_element() {
    /// Counts reads.
    struct Counter(u8);

    impl Device for Counter {
        fn read(&mut self, _offset: u64, data: &mut [u8]) -> Result<(), DeviceError> {
            self.0 += 1;
            data.fill(self.0);
            Ok(())
        }

        fn write(&mut self, _offset: u64, _data: &[u8]) -> Result<DeviceAction, DeviceError> {
            Ok(DeviceAction::Continue)
        }
    }

    let mut setup = Setup::scripts(vec![vec![
        Step::IoRead {
            port: 0x500,
            size: 2,
            count: 3,
        },
        Step::IoRead {
            port: 0x501,
            size: 1,
            count: 1,
        },
        Step::MmioRead {
            address: 0x1000,
            len: 4,
        },
        Step::MmioRead {
            address: 0x2000,
            len: 2,
        },
        Step::IoWrite {
            port: 0x3f8,
            size: 1,
            data: b"string".to_vec(),
        },
        out(0xf4, 0),
    ]]);
    setup.bus.insert(AddressSpace::Pio, 0x500, 2, Counter(0)).unwrap();
    setup
        .bus
        .insert(AddressSpace::Mmio, 0x1000, 4, Counter(0x10))
        .unwrap();
    assert_eq!(
        setup.boot(1, &RunConfig::default()).unwrap(),
        Outcome::DebugExit(0)
    );
    let answers: Vec<Vec<u8>> = setup
        .vm
        .read_results()
        .into_iter()
        .map(|(_, answer)| answer)
        .collect();
    assert_eq!(
        answers,
        [vec![1, 1, 2, 2, 3, 3], vec![4], vec![0x11; 4], vec![0xff; 2]]
    );
    assert_eq!(*setup.console.0.lock().unwrap(), b"string");
}

#[test]
fn the_deadline_gets_every_vcpu_out() {
    let run_config = RunConfig::default().with_deadline(Duration::from_millis(5));
    assert_eq!(
        Setup::scripts(Vec::new()).boot(4, &run_config).unwrap(),
        Outcome::Deadline
    );
    // A deadline beyond all time is none, one that has passed already ends the run at once.
    let run_config = RunConfig::default().with_deadline(Duration::MAX);
    assert_eq!(
        Setup::scripts(vec![vec![out(0xf4, 1)]])
            .boot(1, &run_config)
            .unwrap(),
        Outcome::DebugExit(1)
    );
    let run_config = RunConfig::default().with_deadline(Duration::ZERO);
    assert_eq!(
        Setup::scripts(Vec::new()).boot(1, &run_config).unwrap(),
        Outcome::Deadline
    );
}

#[test]
fn a_stop_from_outside_gets_every_vcpu_out() {
    let setup = Setup::scripts(Vec::new());
    let stop = StopHandle::new();
    let run_config = RunConfig::default().with_stop(stop.clone());
    thread::scope(|scope| {
        scope.spawn(|| {
            while setup.vm.running_vcpus() < 3 {
                thread::yield_now();
            }
            stop.stop();
        });
        assert_eq!(setup.boot(3, &run_config).unwrap(), Outcome::Stopped);
    });
    // A stop is final, and it also counts when it comes before the run.
    assert!(run_config.stop.is_stopped());
    assert_eq!(
        Setup::scripts(Vec::new()).boot(1, &run_config).unwrap(),
        Outcome::Stopped
    );
}

#[test]
fn vcpus_can_be_reset_and_run_again() {
    let setup = Setup::scripts(vec![vec![out(0xf4, 1), out(0xf4, 2)]]);
    let mut vcpus = init_vm(&*setup.vm, [], 2).unwrap();
    for code in [1, 2] {
        let outcome = boot(&mut vcpus, &entry(), &setup.bus, &RunConfig::default()).unwrap();
        assert_eq!(outcome, Outcome::DebugExit(code));
        assert_eq!(vcpus[0].state().unwrap(), entry());
        reset_vcpus(&mut vcpus).unwrap();
        assert_eq!(vcpus[0].state().unwrap(), reset_state());
    }
}

#[test]
fn there_must_be_a_vcpu() {
    let none: &mut [hv_core::fake::FakeVcpu] = &mut [];
    assert!(matches!(
        run(none, &Bus::new(), &RunConfig::default()),
        Err(RunError::NoVcpus)
    ));
    assert!(matches!(
        boot(none, &entry(), &Bus::new(), &RunConfig::default()),
        Err(RunError::NoVcpus)
    ));
}

#[test]
fn back_ends_refuse_what_makes_no_sense() {
    let vm = FakeVm::new(FakeConfig::new(reset_state(), Vec::new()));
    let mut vcpu = vm.create_vcpu(0).unwrap();
    assert_eq!(vm.create_vcpu(0).unwrap_err(), FakeError::VcpuExists { index: 0 });
    vm.map_ram(0, ram(0, 0x1000)).unwrap();
    assert_eq!(
        vm.map_ram(0, ram(0x1000, 0x1000)),
        Err(FakeError::SlotInUse { slot: 0 })
    );
    assert_eq!(
        vm.map_ram(1, ram(0xfff, 0x1001)),
        Err(FakeError::SlotOverlap { slot: 1, other: 0 })
    );
    assert_eq!(vm.unmap_ram(1), Err(FakeError::SlotNotInUse { slot: 1 }));
    assert_eq!(vm.unmap_ram(0), Ok(ram(0, 0x1000)));
    vm.map_ram(1, ram(0xfff, 0x1001)).unwrap();
    let foreign = riscv64::State::new(0x8000_0000).into();
    assert!(matches!(
        vcpu.set_state(&foreign),
        Err(FakeError::ArchMismatch { .. })
    ));
}

#[test]
fn a_panic_ends_the_run_and_is_passed_on() {
    let setup = Setup::scripts(vec![vec![out(0x80, 0), Step::Panic], vec![]]);
    let result = catch_unwind(AssertUnwindSafe(|| setup.boot(2, &RunConfig::default())));
    assert!(result.is_err(), "{result:?}");
    assert_eq!(setup.vm.running_vcpus(), 0);
}

/// A script in which every operation of a run happens: console output with its interrupt, and a fault that has
/// the registers read.
fn eventful() -> Vec<Vec<Step>> {
    vec![
        vec![
            // The transmit interrupt on: the port raises it at once.
            out(0x3f9, 2),
            out(0x3f8, b'a'),
            Step::IoRead {
                port: 0x3fd,
                size: 1,
                count: 1,
            },
            Step::Fault(Fault::Shutdown),
        ],
        vec![],
    ]
}

/// Lets each operation of a machine's life fail in turn, until there is none left, and returns those that did.
///
/// Whichever fails, the result is an error that names it, and no vCPU is left running.
fn fail_each(vcpus: u32) -> Vec<Operation> {
    let mut failed = Vec::new();
    for fail_at in 0.. {
        let config = FakeConfig::new(reset_state(), eventful()).with_fail_at(Some(fail_at));
        let setup = Setup::new(config);
        let result = (|| {
            let mut vcpus = init_vm(&*setup.vm, [ram(0, 0x1000), ram(0x1000, 0x1000)], vcpus)?;
            let outcome = boot(&mut vcpus, &entry(), &setup.bus, &RunConfig::default())?;
            reset_vcpus(&mut vcpus)?;
            Ok::<_, RunError<FakeError>>(outcome)
        })();
        assert_eq!(setup.vm.running_vcpus(), 0, "operation {fail_at}");
        let Some(&operation) = setup.vm.operations().get(fail_at) else {
            assert_eq!(result.unwrap(), crash(0, Fault::Shutdown, entry()));
            break;
        };
        match result {
            Err(error) => {
                assert_eq!(error.operation(), Some(operation), "operation {fail_at}: {error}");
                let innermost = innermost(&error);
                assert!(
                    innermost.contains(&operation.to_string()),
                    "{innermost:?} does not name {operation}"
                );
                failed.push(operation);
            }
            // The other vCPU may be asked to run once more when the crash is decided already: the first
            // decision is the one that counts.
            Ok(outcome) => {
                assert_eq!(
                    (vcpus, operation),
                    (2, Operation::Run),
                    "the failure of operation {fail_at} is lost"
                );
                assert_eq!(outcome, crash(0, Fault::Shutdown, entry()));
            }
        }
    }
    failed
}

#[test]
fn every_failing_operation_is_reported() {
    use Operation::{CreateVcpu, GetState, MapRam, Reset, Run, SetIrq, SetState};
    // The guest does not acknowledge the port's interrupt, so the byte it sends raises no second one.
    let expected = [
        MapRam, MapRam, CreateVcpu, SetState, Run, SetIrq, SetIrq, Run, Run, Run, GetState, Reset,
    ];
    assert_eq!(fail_each(1), expected);
    // Two vCPUs race, so which operation the n-th is differs from run to run once they are started.
    let failed = fail_each(2);
    assert!(
        failed.starts_with(&[MapRam, MapRam, CreateVcpu, CreateVcpu, SetState]),
        "{failed:?}"
    );
    assert!(failed.contains(&Run) && failed.contains(&Reset), "{failed:?}");
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[test]
fn observers_receive_milestones_and_unhandled_accesses() {
    #[derive(Default)]
    struct Log(Timeline, Mutex<Vec<(u32, Access)>>);

    impl Observer for Log {
        fn milestone(&self, milestone: Milestone, at: Instant) {
            self.0.milestone(milestone, at);
        }

        fn unhandled_access(&self, vcpu: u32, access: Access) {
            self.1.lock().unwrap().push((vcpu, access));
        }
    }

    let log = Arc::new(Log::default());
    let setup = Setup::scripts(vec![vec![out(0x80, 7), out(0xf4, 0)]]);
    let run_config = RunConfig::default().with_observer(log.clone());
    setup.boot(1, &run_config).unwrap();
    assert!(log.0.at(Milestone::Started).unwrap() <= log.0.at(Milestone::Ended).unwrap());
    let access = Access::new(AddressSpace::Pio, AccessKind::Write, 0x80, 1);
    assert_eq!(*log.1.lock().unwrap(), [(0, access)]);
}

#[test]
fn interrupts_are_edges_on_the_right_line() {
    let setup = Setup::scripts(vec![vec![out(0x3f9, 2), out(0xf4, 0)]]);
    setup.boot(1, &RunConfig::default()).unwrap();
    assert_eq!(setup.vm.irqs(), [(4, true), (4, false)]);
}
