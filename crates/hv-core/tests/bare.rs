//! Bare machines: slots, dirty logs, doorbells and rewinds, on the fake hypervisor.

use std::{error::Error, ops::ControlFlow, thread};

use boot_core::{
    Arch, CpuState,
    cpu::{riscv64, x86_64},
};
use hv_core::{
    AccessKind, BareAbilities, BareVcpu, BareVm, DebugCause, DebugRequest, DebugStop, DebugVcpu, DirtyPages,
    Doorbell, GuestRegisters, Operation, RegisterAccess, RegisterImage, SlotAttributes, Vcpu, VcpuExit, Vm,
    fake::{FakeBareConfig, FakeBareVm, FakeCpu, FakeError, FakeExit, FakeFault, FakeMemory, FakePages},
    run_inline,
};

const FIXED: u64 = 0x3fe0_0000;
const MEMORY: u64 = 0x4000_0000;
const PAGE: u64 = 0x1000;

fn config() -> FakeBareConfig {
    let abilities = BareAbilities::new(Doorbell::Port(0x6c), PAGE)
        .with_dirty_log(true)
        .with_read_only(true);
    FakeBareConfig::new(x86_64::State::long_mode(MEMORY, 0, 8, 16).into(), abilities)
}

/// A guest that writes its call number to the page with that number and rings, with the call number as the value.
fn counter(cpu: &mut FakeCpu<'_>) -> FakeExit {
    let count = cpu.registers()[0];
    let result = cpu.write(MEMORY + count * PAGE, &count.to_le_bytes());
    cpu.registers()[0] = count + 1;
    result.map_or_else(FakeExit::from, |()| FakeExit::Doorbell(count))
}

/// A machine with `guest`, a read-only slot of a page at [`FIXED`], and a logged slot of four pages at [`MEMORY`].
fn machine(
    config: FakeBareConfig,
    guest: impl FnMut(&mut FakeCpu<'_>) -> FakeExit + Send + 'static,
) -> Result<(FakeBareVm<FakePages>, FakePages), FakeError> {
    let vm = FakeBareVm::new(config, guest);
    let memory = FakePages::new(MEMORY, 0x4000);
    vm.map_slot(
        0,
        FakePages::new(FIXED, 0x1000),
        SlotAttributes::default().with_read_only(true),
    )?;
    vm.map_slot(2, memory.clone(), SlotAttributes::default().with_log_dirty(true))?;
    Ok((vm, memory))
}

fn doorbell(vcpu: &mut impl Vcpu<Error = FakeError>) -> Result<u64, FakeError> {
    run_inline(vcpu, |exit| match exit {
        VcpuExit::Doorbell(value) => ControlFlow::Break(value),
        exit => panic!("{exit:?}"),
    })
}

#[test]
fn exits_arrive_on_the_callers_thread_until_the_handler_breaks() {
    let (vm, _) = machine(config(), counter).unwrap();
    let mut vcpu = vm.create_vcpu(0).unwrap();
    let caller = thread::current().id();
    let mut values = Vec::new();
    let last = run_inline(&mut vcpu, |exit| {
        assert_eq!(thread::current().id(), caller);
        let VcpuExit::Doorbell(value) = exit else {
            panic!("{exit:?}")
        };
        values.push(value);
        if value == 2 {
            ControlFlow::Break(value)
        } else {
            ControlFlow::Continue(())
        }
    });
    assert_eq!((last, values), (Ok(2), vec![0, 1, 2]));
}

#[test]
fn a_kick_is_an_exit() {
    let (vm, _) = machine(config(), |cpu: &mut FakeCpu<'_>| cpu.spin_until_kicked()).unwrap();
    let mut vcpu = vm.create_vcpu(0).unwrap();
    let kicker = vcpu.kicker();
    thread::scope(|scope| {
        scope.spawn(move || kicker.kick());
        let exit = run_inline(&mut vcpu, |exit| {
            ControlFlow::Break(matches!(exit, VcpuExit::Interrupted))
        });
        assert_eq!(exit, Ok(true));
    });
}

#[test]
fn an_error_of_the_back_end_ends_the_run() {
    // Two slots, one vCPU, one run, and then the second run.
    let (vm, _) = machine(config().with_fail_at(Some(4)), counter).unwrap();
    let mut vcpu = vm.create_vcpu(0).unwrap();
    let mut exits = 0;
    let result = run_inline(&mut vcpu, |_| -> ControlFlow<()> {
        exits += 1;
        ControlFlow::Continue(())
    });
    let operation = Operation::Run;
    assert_eq!(result, Err(FakeError::Injected { number: 4, operation }));
    assert_eq!(exits, 1);
}

#[test]
fn the_dirty_log_has_the_written_pages_once() {
    let (vm, memory) = machine(config(), |cpu: &mut FakeCpu<'_>| {
        // The end of page 0 and the start of page 1, and page 3.
        cpu.write(MEMORY + PAGE - 2, b"over").unwrap();
        cpu.write(MEMORY + 3 * PAGE, &[1]).unwrap();
        FakeExit::Doorbell(0)
    })
    .unwrap();
    let mut vcpu = vm.create_vcpu(0).unwrap();
    let mut dirty = DirtyPages::new(1);
    vm.take_dirty(2, &mut dirty).unwrap();
    assert_eq!((dirty.pages(), dirty.is_empty()), (4, true));
    doorbell(&mut vcpu).unwrap();
    // Writes of the host are not logged.
    memory.write(2 * PAGE, b"host");
    vm.take_dirty(2, &mut dirty).unwrap();
    assert_eq!(dirty.iter().collect::<Vec<_>>(), [0, 1, 3]);
    vm.take_dirty(2, &mut dirty).unwrap();
    assert!(dirty.is_empty());
    doorbell(&mut vcpu).unwrap();
    for expected in [&[0, 1, 3][..], &[1, 3]] {
        vm.take_dirty_before(2, 1, &mut dirty).unwrap();
        assert_eq!(dirty.iter().collect::<Vec<_>>(), expected);
    }
    assert_eq!(
        vm.take_dirty(0, &mut dirty),
        Err(FakeError::NoDirtyLog { slot: 0 })
    );
    assert_eq!(
        vm.take_dirty(1, &mut dirty),
        Err(FakeError::SlotNotInUse { slot: 1 })
    );
}

#[test]
fn writes_to_read_only_slots_and_holes_are_device_accesses() {
    let (vm, _) = machine(config(), |cpu: &mut FakeCpu<'_>| {
        let step = cpu.registers()[0];
        cpu.registers()[0] += 1;
        let mut found = [0xff];
        cpu.read(FIXED, &mut found).unwrap();
        assert_eq!(found, [0], "the refused write changed nothing");
        let result = match step {
            0 => cpu.write(FIXED, &[7]),
            1 => cpu.read(0x1000, &mut [0; 2]),
            _ => cpu.write(MEMORY + 0x3fff, &[1, 2]),
        };
        let error: FakeFault = result.unwrap_err();
        error.into()
    })
    .unwrap();
    let mut vcpu = vm.create_vcpu(0).unwrap();
    for expected in [
        (AccessKind::Write, FIXED, vec![7]),
        (AccessKind::Read, 0x1000, vec![0, 0]),
        (AccessKind::Write, MEMORY + 0x3fff, vec![1, 2]),
    ] {
        let found = match vcpu.run().unwrap() {
            VcpuExit::MmioRead { address, data } => (AccessKind::Read, address, data.to_vec()),
            VcpuExit::MmioWrite { address, data } => (AccessKind::Write, address, data.to_vec()),
            exit => panic!("{exit:?}"),
        };
        assert_eq!(found, expected);
    }
}

#[test]
fn a_rewind_brings_the_captured_state_back() {
    let (vm, _) = machine(config(), counter).unwrap();
    let mut vcpu = vm.create_vcpu(0).unwrap();
    doorbell(&mut vcpu).unwrap();
    let mut image = RegisterImage(vec![1]);
    let saved = vcpu.capture(&mut image).unwrap();
    assert!(image.0.is_empty());
    assert_eq!(doorbell(&mut vcpu), Ok(1));
    let state: CpuState = x86_64::State::protected_mode(0, 8, 16).into();
    vcpu.set_state(&state).unwrap();
    assert_ne!(vcpu.capture(&mut image).unwrap(), saved);
    vcpu.rewind(&saved, true).unwrap();
    assert_eq!(vcpu.capture(&mut image).unwrap(), saved);
    assert_eq!(doorbell(&mut vcpu), Ok(1));
    vcpu.reset().unwrap();
    assert_eq!(doorbell(&mut vcpu), Ok(0));
}

#[test]
fn the_machine_checks_its_use() {
    let (vm, _) = machine(config(), counter).unwrap();
    assert_eq!(vm.arch(), Arch::X86_64);
    assert_eq!(vm.abilities(), config().abilities);
    let map = |slot, base| vm.map_ram(slot, FakePages::new(base, 0x1000));
    assert_eq!(map(2, 0), Err(FakeError::SlotInUse { slot: 2 }));
    assert_eq!(
        map(3, MEMORY + 0x3000),
        Err(FakeError::SlotOverlap { slot: 3, other: 2 })
    );
    assert_eq!(vm.unmap_ram(2).unwrap().range().start(), MEMORY);
    assert_eq!(vm.unmap_ram(2).unwrap_err(), FakeError::SlotNotInUse { slot: 2 });
    map(3, MEMORY + 0x3000).unwrap();
    assert_eq!(vm.set_irq(4, true), Err(FakeError::NoIrq { line: 4 }));
    vm.create_vcpu(0).unwrap();
    assert_eq!(vm.create_vcpu(0).unwrap_err(), FakeError::VcpuExists { index: 0 });
}

#[test]
fn every_operation_can_fail() {
    let script = |fail_at: Option<usize>| -> Result<Vec<Operation>, FakeError> {
        let (vm, _) = machine(config().with_fail_at(fail_at), counter)?;
        let mut vcpu = vm.create_vcpu(0)?;
        let saved = vcpu.capture(&mut RegisterImage::default())?;
        doorbell(&mut vcpu)?;
        vm.take_dirty(2, &mut DirtyPages::default())?;
        vcpu.rewind(&saved, false)?;
        vcpu.state()?;
        vm.unmap_ram(2)?;
        Ok(vm.operations())
    };
    let operations = script(None).unwrap();
    assert_eq!(operations.len(), 9);
    for (number, operation) in operations.into_iter().enumerate() {
        assert_eq!(
            script(Some(number)),
            Err(FakeError::Injected { number, operation })
        );
    }
}

#[test]
fn a_debugger_reads_and_writes_registers() -> Result<(), Box<dyn Error>> {
    let (vm, _) = machine(config(), |cpu: &mut FakeCpu<'_>| {
        if cpu.debug().step {
            FakeExit::Debug(DebugStop::new(7, DebugCause::Step))
        } else {
            FakeExit::Halt
        }
    })?;
    let mut vcpu = vm.create_vcpu(0)?;
    let saved = vcpu.capture(&mut RegisterImage::default())?;
    let before = vcpu.read_registers()?;
    assert_eq!(before.pc(), MEMORY);
    let GuestRegisters::X86_64(mut changed) = before.clone() else {
        return Err("x86_64".into());
    };
    changed.cpu.rip = 7;
    changed.set_fxsave(&[0x55; 512]);
    let changed = GuestRegisters::X86_64(changed);
    vcpu.write_registers(&changed)?;
    assert_eq!(vcpu.state()?, changed.cpu_state());
    assert_eq!(vcpu.read_registers()?, changed);
    // A boot state leaves the others as they are.
    vcpu.set_state(&before.cpu_state())?;
    let GuestRegisters::X86_64(mixed) = vcpu.read_registers()? else {
        return Err("x86_64".into());
    };
    assert_eq!((mixed.cpu.rip, mixed.fxsave()), (MEMORY, [0x55; 512]));
    vcpu.rewind(&saved, false)?;
    assert_eq!(vcpu.read_registers()?, before);
    let other = GuestRegisters::new(&riscv64::State::new(0).into()).ok_or("riscv64")?;
    let error = vcpu.write_registers(&other).unwrap_err();
    assert!(matches!(error, FakeError::ArchMismatch { .. }), "{error}");
    assert!(matches!(vcpu.run()?, VcpuExit::Halt));
    let mut step = DebugRequest::default();
    step.step = true;
    vcpu.set_debug(&step)?;
    match vcpu.run()? {
        VcpuExit::Debug(stop) => assert_eq!(stop, DebugStop::new(7, DebugCause::Step)),
        exit => return Err(format!("no step: {exit:?}").into()),
    }
    Ok(())
}
