//! Runs and their outcomes.

use std::{thread, time::Duration};

use boot_core::{CpuState, cpu::riscv64::State};
use hv_core::{AddressSpace, Fault, Outcome, StopHandle, Vcpu as _, Vm as _};
use hv_kvm_riscv::{BoardDevices, HarnessError, HostCapabilities, KvmError};
use hv_kvm_test::{RecordedAccess, Recorder};

use crate::{
    guest::{
        CODE, CheckResult, DATA, DEVICE, Guest, SECONDARY_CODE, Test, TestResult, expect, run_config,
        short_run_config, state,
    },
    guest_code::{
        A0, A1, A7, Code, ECALL, S0, T0, T1, T2, WFI, Width, ZERO, add, addi, branch_unequal, jump, jump_to,
        load, store,
    },
};

pub(crate) const TESTS: &[Test] = &[
    ("run::exit_page", exit_page),
    ("run::entry_registers", entry_registers),
    ("run::first_and_last_byte_of_a_device_page", device_page),
    ("run::every_width", every_width),
    ("run::deadline_ends_a_loop", |host| deadline(host, jump(0))),
    ("run::deadline_ends_a_wait", |host| deadline(host, WFI)),
    ("run::stop_from_another_thread", stop_from_another_thread),
    ("run::execution_outside_memory_is_a_crash", outside_memory),
    ("run::four_harts_by_hsm", four_harts),
    ("run::vcpus_are_checked", vcpus_are_checked),
    ("run::slots_are_checked", slots_are_checked),
    ("run::ram_outlives_its_owners", ram_outlives_its_owners),
];

fn exit_page(host: &HostCapabilities) -> TestResult {
    let code = Code::new().set(A0, 0x1234_5678).exit(A0);
    Guest::new(host, &code, 1, crate::guest::devices())?
        .expect_outcome("outcome", &Outcome::DebugExit(0x1234_5678))?;
    Ok(None)
}

/// The guest starts with all registers of the entry state.
fn entry_registers(host: &HostCapabilities) -> TestResult {
    // The guest stores all registers except x5, the base of the stores.
    let stores = (1..32).filter(|&x| x != T0);
    let code = Code::new()
        .then(
            stores
                .clone()
                .map(|x| store(Width::Double, x, T0, 8 * x.cast_signed())),
        )
        .exit(A0);
    let mut guest = Guest::new(host, &code, 1, crate::guest::devices())?;
    let mut state = State::new(CODE);
    for (number, x) in (0_u64..).zip(&mut state.x).skip(1) {
        *x = number << 56 | 0x00de_0000_0000_0000 | number;
    }
    state.x[5] = DATA;
    let outcome = guest.board.boot(&CpuState::from(state), &run_config())?;
    expect("outcome", &outcome, &Outcome::DebugExit(10))?;
    for x in stores {
        let found = guest.read_u64(DATA + 8 * u64::from(x))?;
        expect(&format!("x{x}"), &Some(&found), &state.x.get(usize::try_from(x)?))?;
    }
    Ok(None)
}

fn device_page(host: &HostCapabilities) -> TestResult {
    let code = Code::new()
        .set(S0, DEVICE)
        .set(T2, DEVICE + 0xfff)
        .then([
            load(Width::Byte, T0, S0, 0),
            load(Width::Byte, T1, T2, 0),
            store(Width::Byte, T0, T2, 0),
            store(Width::Byte, T1, S0, 0),
            add(A0, T0, T1),
        ])
        .exit(A0);
    let mut guest = Guest::new(host, &code, 1, crate::guest::devices())?;
    let recorder = Recorder::with_pattern(0xa0);
    guest
        .board
        .bus_mut()
        .insert(AddressSpace::Mmio, DEVICE, 0x1000, recorder.clone())?;
    guest.expect_outcome("sum", &Outcome::DebugExit(0xa0 + 0x9f))?;
    let expected = [
        RecordedAccess::Read(0, 1),
        RecordedAccess::Read(0xfff, 1),
        RecordedAccess::Write(0xfff, vec![0xa0]),
        RecordedAccess::Write(0, vec![0x9f]),
    ];
    expect("accesses", &recorder.take(), &expected.to_vec())?;
    Ok(None)
}

fn every_width(host: &HostCapabilities) -> TestResult {
    let mut code = Code::new().set(S0, DEVICE);
    let widths = [Width::Byte, Width::Half, Width::Word, Width::Double];
    for (width, offset) in widths.into_iter().zip([0, 8, 16, 24]) {
        code = code.then([load(width, T0, S0, offset), store(width, T0, S0, offset + 32)]);
    }
    let mut guest = Guest::new(host, &code.exit(ZERO), 1, crate::guest::devices())?;
    let recorder = Recorder::with_pattern(0xa0);
    guest
        .board
        .bus_mut()
        .insert(AddressSpace::Mmio, DEVICE, 0x1000, recorder.clone())?;
    guest.expect_outcome("outcome", &Outcome::DebugExit(0))?;
    let mut expected = Vec::new();
    for (len, offset) in [(1_u8, 0_u8), (2, 8), (4, 16), (8, 24)] {
        expected.push(RecordedAccess::Read(offset.into(), len.into()));
        let data = (0..len).map(|byte| 0xa0 + offset + byte).collect();
        expected.push(RecordedAccess::Write(u64::from(offset) + 32, data));
    }
    expect("accesses", &recorder.take(), &expected)?;
    Ok(None)
}

/// The deadline ends a run of a guest that does not end, and the vCPU can run again.
fn deadline(host: &HostCapabilities, endless: u32) -> TestResult {
    let code = Code::new().then([endless, jump(-4)]);
    let mut guest = Guest::new(host, &code, 1, crate::guest::devices())?;
    expect(
        "first run",
        &guest.board.boot(&state(), &short_run_config())?,
        &Outcome::Deadline,
    )?;
    guest.write(CODE, &Code::new().set(A0, 7).exit(A0).bytes())?;
    hv_core::reset_vcpus(guest.board.vcpus_mut())?;
    guest.expect_outcome("second run", &Outcome::DebugExit(7))?;
    Ok(None)
}

fn stop_from_another_thread(host: &HostCapabilities) -> TestResult {
    for endless in [jump(0), WFI] {
        // The secondary vCPUs wait until they are started. They must also leave `run`.
        let code = Code::new().then([endless, jump(-4)]);
        let mut guest = Guest::new(host, &code, 4, crate::guest::devices())?;
        let stop = StopHandle::new();
        let run_config = run_config().with_stop(stop.clone());
        let stopper = thread::spawn(move || {
            thread::sleep(Duration::from_millis(50));
            stop.stop();
        });
        let outcome = guest.board.boot(&state(), &run_config)?;
        stopper.join().ok().ok_or("the stopping thread panicked")?;
        expect("outcome", &outcome, &Outcome::Stopped)?;
        // A handle that was stopped ends the next run at once.
        expect("second run", &guest.board.resume(&run_config)?, &Outcome::Stopped)?;
    }
    Ok(None)
}

fn outside_memory(host: &HostCapabilities) -> TestResult {
    let code = Code::new().set(T0, DEVICE).then([jump_to(T0)]);
    let outcome = Guest::new(host, &code, 1, crate::guest::devices())?.boot()?;
    let Outcome::Crash(report) = outcome else {
        return Err(format!("the guest did not crash: {outcome}").into());
    };
    let Fault::InternalError { pc, .. } = report.fault else {
        return Err(format!("expected an internal error, found: {}", report.fault).into());
    };
    expect("pc", &pc, &Some(DEVICE))?;
    expect("pc in the state", &report.state.entry(), &DEVICE)?;
    Ok(None)
}

/// The boot hart starts three others, each with its hart id in `a0` and an opaque value in `a1`. Each of them stores both values,
/// and the boot hart waits until all have done so.
fn four_harts(host: &HostCapabilities) -> TestResult {
    let mut code = Code::new();
    for hart in 1..4 {
        // hart_start(hart, SECONDARY_CODE, 0x100 + hart), extension "HSM".
        code = code
            .set(A0, hart)
            .set(A1, SECONDARY_CODE)
            .set(12, 0x100 + hart)
            .set(A7, 0x48_534d)
            .set(16, 0)
            .then([ECALL]);
    }
    // Waits until each hart has stored its values.
    for hart in 1..4 {
        code = code
            .set(S0, DATA + 16 * hart + 8)
            .set(T1, 0x100 + hart)
            .then([load(Width::Double, T0, S0, 0), branch_unequal(T0, T1, -4)]);
    }
    let others = Code::new().set(T0, DATA).then([
        // t1 = a0 * 16
        addi(T1, A0, 0),
        add(T1, T1, T1),
        add(T1, T1, T1),
        add(T1, T1, T1),
        add(T1, T1, T1),
        add(T0, T0, T1),
        store(Width::Double, A0, T0, 0),
        store(Width::Double, A1, T0, 8),
        WFI,
        jump(-4),
    ]);
    let mut guest = Guest::new(host, &code.exit(ZERO), 4, crate::guest::devices())?;
    guest.write(SECONDARY_CODE, &others.bytes())?;
    for round in ["first run", "after a reset"] {
        guest.write(DATA, &[0xff; 64])?;
        guest.expect_outcome(round, &Outcome::DebugExit(0))?;
        for hart in 1..4 {
            expect("hart id", &guest.read_u64(DATA + 16 * hart)?, &hart)?;
        }
        hv_core::reset_vcpus(guest.board.vcpus_mut())?;
        guest.board.vm().reset_irqchip()?;
    }
    Ok(None)
}

fn vcpus_are_checked(host: &HostCapabilities) -> TestResult {
    let mut guest = Guest::new(host, &Code::new(), 2, crate::guest::devices())?;
    let check = |result: Result<_, KvmError>, is_expected: fn(&KvmError) -> bool| -> CheckResult {
        match result {
            Err(error) if is_expected(&error) => Ok(()),
            Err(error) => Err(error.into()),
            Ok(()) => Err("expected an error".into()),
        }
    };
    let vm = guest.board.vm();
    check(vm.create_vcpu(2).map(drop), |error| {
        matches!(
            error,
            KvmError::Harness(HarnessError::NoSuchVcpu { index: 2, count: 2 })
        )
    })?;
    check(vm.create_vcpu(0).map(drop), |error| {
        matches!(
            error,
            KvmError::Harness(HarnessError::Request {
                request: "KVM_CREATE_VCPU",
                ..
            })
        )
    })?;
    let foreign = CpuState::from(boot_core::cpu::aarch64::State::new(0));
    let [first, ..] = guest.board.vcpus_mut() else {
        return Err("the board has no vCPU".into());
    };
    check(first.set_state(&foreign), |error| {
        matches!(
            error,
            KvmError::Harness(HarnessError::ArchMismatch {
                expected: boot_core::Arch::Riscv64,
                found: boot_core::Arch::Aarch64,
            })
        )
    })?;
    Ok(None)
}

fn slots_are_checked(host: &HostCapabilities) -> TestResult {
    use guest_ram::GuestRam;
    use hv_core::virt;
    use vm_memory::{GuestAddress, GuestMemoryMmap};

    let guest = Guest::new(host, &Code::new(), 1, crate::guest::devices())?;
    let vm = guest.board.vm();
    let map = |slot, base, len| {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(base), len)])?;
        let ram: GuestRam = GuestRam::from_memory(memory.into());
        Ok::<_, Box<dyn std::error::Error>>(ram.regions().try_for_each(|ram| vm.map_ram(slot, ram)))
    };
    let check = |slot, base, len, is_expected: fn(&KvmError) -> bool| -> CheckResult {
        match map(slot, base, len)? {
            Err(error) if is_expected(&error) => Ok(()),
            result => Err(format!("slot {slot} at {base:#x}+{len:#x}: {result:?}").into()),
        }
    };
    let free = 0x9000_0000;
    check(0, free, 0x1000, |e| {
        matches!(e, KvmError::Harness(HarnessError::SlotInUse { slot: 0 }))
    })?;
    check(1, CODE, 0x1000, |e| {
        matches!(e, KvmError::Harness(HarnessError::RamOverlap { other: 0, .. }))
    })?;
    check(1, free + 0x800, 0x1000, |e| {
        matches!(e, KvmError::Harness(HarnessError::RamUnaligned { .. }))
    })?;
    check(1, free, 0x800, |e| {
        matches!(e, KvmError::Harness(HarnessError::RamUnaligned { .. }))
    })?;
    let controller = if host.aia_ids.is_some() {
        virt::APLIC
    } else {
        virt::PLIC
    };
    check(1, controller.start(), 0x1000, |e| {
        matches!(e, KvmError::Harness(HarnessError::RamReserved { .. }))
    })?;
    map(1, free, 0x1000)??;
    match vm.unmap_ram(2) {
        Err(KvmError::Harness(HarnessError::SlotNotInUse { slot: 2 })) => {}
        result => return Err(format!("unmapping a slot that is not in use: {result:?}").into()),
    }
    expect("unmapped base", &vm.unmap_ram(1)?.range().start(), &free)?;
    map(1, free, 0x1000)??;
    Ok(None)
}

/// A vCPU can run after the handles of the machine and the memory were dropped.
fn ram_outlives_its_owners(host: &HostCapabilities) -> TestResult {
    use guest_ram::GuestRam;
    use hv_core::VcpuExit;
    use hv_kvm_riscv::{KvmVm, Layout, SbiConsole};
    use vm_memory::{Bytes as _, GuestAddress};

    let machine = crate::guest::machine(host, 1, host.irqchip())?;
    let ram = GuestRam::new(&machine.memory)?;
    let code = Code::new()
        .set(S0, DATA)
        .set(T1, 0x5107)
        .then([store(Width::Word, T1, S0, 0), load(Width::Word, A0, S0, 0)])
        .exit(A0);
    ram.memory().write_slice(&code.bytes(), GuestAddress(CODE))?;
    let console = SbiConsole::new(
        Box::new(std::io::sink()),
        std::sync::Arc::new(hv_core::NullObserver),
    );
    let vm = KvmVm::new(&Layout::of(&machine)?, console)?;
    let mut vcpus = hv_core::init_vm(&vm, ram.regions(), 1)?;
    drop((vm, ram));
    let [vcpu] = vcpus.as_mut_slice() else {
        return Err("expected one vCPU".into());
    };
    vcpu.set_state(&state())?;
    match vcpu.run()? {
        VcpuExit::MmioWrite {
            address: BoardDevices::EXIT_PAGE,
            data,
        } => expect("value", &data.to_vec(), &0x5107_u32.to_le_bytes().to_vec())?,
        exit => return Err(format!("expected a write to the exit page: {exit:?}").into()),
    }
    Ok(None)
}
