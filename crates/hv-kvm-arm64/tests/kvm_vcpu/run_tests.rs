//! Runs and how they end.

use std::{thread, time::Duration};

use boot_core::CpuState;
use hv_core::{
    Access, AccessKind, AddressSpace, Fault, Outcome, StopHandle, UnhandledAccessPolicy, Vcpu, VcpuExit, Vm,
};
use hv_kvm_arm64::{BoardDevices, GicLayout, HarnessError, KvmError, KvmVm, Layout, VcpuFeatures};
use hv_kvm_test::{Recorder, faults};
use vm_memory::{Bytes, GuestAddress};

use crate::{
    guest::{self, Check, Test, TestResult, expect, expect_outcome},
    guest_code,
};

pub(crate) const TESTS: &[Test] = &[
    ("run::exit_page", || {
        expect_outcome(
            &guest::run(guest_code::exit(), guest::entry())?,
            &Outcome::DebugExit(0x1234_5664),
        )
    }),
    ("run::psci_off", || {
        expect_outcome(
            &guest::run(guest_code::system_off(), guest::entry())?,
            &Outcome::PowerOff,
        )
    }),
    ("run::psci_reset", || {
        expect_outcome(
            &guest::run(guest_code::system_reset(), guest::entry())?,
            &Outcome::Reset,
        )
    }),
    ("run::deadline_ends_a_loop", || deadline(guest_code::spin())),
    ("run::deadline_ends_a_wait", || deadline(guest_code::halt())),
    ("run::stop_from_another_thread", stop_from_another_thread),
    ("run::pair_loads_from_devices_are_faults", || {
        no_syndrome(guest_code::load_pair_from_device(), 0x0a00_0008, AccessKind::Read)
    }),
    ("run::write_back_stores_to_devices_are_faults", || {
        no_syndrome(
            guest_code::store_with_write_back_to_device(),
            0x0a00_0010,
            AccessKind::Write,
        )
    }),
    (
        "run::execution_outside_memory_goes_on_until_the_deadline",
        execution_outside_memory,
    ),
    (
        "run::unmapped_slot_is_device_space",
        unmapped_slot_is_device_space,
    ),
    ("run::ram_outlives_its_owners", ram_outlives_its_owners),
    ("run::four_vcpus_by_psci", || secondaries(4)),
    ("run::eighteen_vcpus_by_psci", || secondaries(18)),
    ("run::slots_are_checked", slots_are_checked),
    ("run::vcpus_are_checked", vcpus_are_checked),
    ("run::features_are_checked", features_are_checked),
    ("run::every_call_of_all_features_fails", every_call_fails),
    ("run::gicv2", gic_v2),
];

/// The crash of a run, or an error that says how it ended instead.
fn crash(outcome: Outcome) -> Result<hv_core::CrashReport, Box<dyn std::error::Error>> {
    match outcome {
        Outcome::Crash(report) => Ok(*report),
        outcome => Err(format!("the guest did not crash: {outcome}").into()),
    }
}

/// The deadline gets the vCPU out, and it can be used again afterwards.
fn deadline(code: &[u8]) -> TestResult {
    let (mut board, memory) = guest::board(code, 1, guest::devices())?;
    let state = guest::entry().into();
    expect(
        "first run",
        &board.boot(&state, &hv_kvm_test::short_run_config())?,
        &Outcome::Deadline,
    )?;
    memory
        .memory()
        .write_slice(guest_code::exit(), GuestAddress(guest::CODE))?;
    hv_core::reset_vcpus(board.vcpus_mut())?;
    expect_outcome(
        &board.boot(&state, &hv_kvm_test::run_config())?,
        &Outcome::DebugExit(0x1234_5664),
    )
}

fn stop_from_another_thread() -> TestResult {
    for code in [guest_code::spin(), guest_code::halt()] {
        // More vCPUs than host CPUs: the others wait for CPU_ON, and have to come out as well.
        let (mut board, _memory) = guest::board(code, 4, guest::devices())?;
        let stop = StopHandle::new();
        let run_config = hv_kvm_test::run_config().with_stop(stop.clone());
        let stopper = thread::spawn(move || {
            thread::sleep(Duration::from_millis(50));
            stop.stop();
        });
        let outcome = board.boot(&guest::entry().into(), &run_config)?;
        stopper.join().ok().ok_or("the stopping thread panicked")?;
        expect("outcome", &outcome, &Outcome::Stopped)?;
        // A handle that was stopped ends the next run at once.
        expect("again", &board.resume(&run_config)?, &Outcome::Stopped)?;
    }
    Ok(None)
}

/// An access without instruction syndrome names its address, direction and instruction.
fn no_syndrome(code: &[u8], at: u64, kind: AccessKind) -> TestResult {
    let report = crash(guest::run(code, guest::entry())?)?;
    let Fault::NoSyndrome {
        address,
        kind: found,
        syndrome,
    } = report.fault
    else {
        return Err(format!("another fault: {}", report.fault).into());
    };
    expect("address", &address, &at)?;
    expect("kind", &found, &kind)?;
    // Translation fault at level 1, 2 or 3 of the second stage.
    expect("fault status", &(syndrome & 0x3c), &0x04)?;
    expect("pc", &report.state.entry(), &(guest::CODE + 4))?;
    Ok(None)
}

/// KVM gives the guest an abort where there are no instructions, and again for its vectors: it never ends by itself.
fn execution_outside_memory() -> TestResult {
    let (mut board, _memory) = guest::board(guest_code::jump_to_nowhere(), 1, guest::devices())?;
    expect(
        "outcome",
        &board.boot(&guest::entry().into(), &hv_kvm_test::short_run_config())?,
        &Outcome::Deadline,
    )?;
    let [vcpu] = board.vcpus_mut() else {
        return Err("there is one vCPU".into());
    };
    // The vector for a synchronous exception from EL1 with its own stack pointer.
    expect("pc", &vcpu.state()?.entry(), &0x4000_0200)?;
    Ok(None)
}

fn unmapped_slot_is_device_space() -> TestResult {
    let (mut board, _memory) = guest::board(guest_code::read_second_slot(), 1, guest::devices())?;
    let base = guest::CODE + guest::RAM_LEN;
    let second = guest::ram(base, 0x1_0000)?;
    second.memory().write_obj(0x5107_u32, GuestAddress(base))?;
    for ram in second.regions() {
        board.vm().map_ram(1, ram)?;
    }
    let state = guest::entry().into();
    let run_config = hv_kvm_test::run_config().with_unhandled_access(UnhandledAccessPolicy::Crash);
    expect(
        "mapped",
        &board.boot(&state, &run_config)?,
        &Outcome::DebugExit(0x5107),
    )?;
    let ram = board.vm().unmap_ram(1)?;
    expect("address of the slot", &ram.range().start(), &base)?;
    let report = crash(board.boot(&state, &run_config)?)?;
    let access = Access::new(AddressSpace::Mmio, AccessKind::Read, base, 4);
    expect("unmapped", &report.fault, &Fault::UnhandledAccess(access))?;
    board.vm().map_ram(1, ram)?;
    expect_outcome(&board.boot(&state, &run_config)?, &Outcome::DebugExit(0x5107))
}

/// A vCPU can run when everybody else has dropped the machine and the memory.
fn ram_outlives_its_owners() -> TestResult {
    let memory = guest::memory(guest_code::write_ram())?;
    let vm = KvmVm::new(&guest::layout(1)?)?;
    let mut vcpus = hv_core::init_vm(&vm, memory.regions(), 1)?;
    drop((vm, memory));
    let [vcpu] = vcpus.as_mut_slice() else {
        return Err("there is one vCPU".into());
    };
    vcpu.set_state(&guest::entry().into())?;
    match vcpu.run()? {
        VcpuExit::MmioRead {
            address: 0x0a00_0000,
            data,
        } => data.copy_from_slice(&0xcafe_u32.to_le_bytes()),
        exit => return Err(format!("expected a read of the device page: {exit:?}").into()),
    }
    match vcpu.run()? {
        VcpuExit::MmioWrite {
            address: BoardDevices::EXIT_PAGE,
            data,
        } => expect("value", &data.to_vec(), &0xcafe_u32.to_le_bytes().to_vec())?,
        exit => return Err(format!("expected a write to the exit page: {exit:?}").into()),
    }
    Ok(None)
}

/// The guest starts all others with PSCI, after creation and after a reset.
fn secondaries(vcpus: u32) -> TestResult {
    let (mut board, memory) = guest::board(guest_code::start_others(), vcpus, guest::devices())?;
    let recorder = Recorder::default();
    board
        .bus_mut()
        .insert(AddressSpace::Mmio, 0x0a00_0000, 0x1000, recorder.clone())?;
    let mut state = guest::entry();
    if let Some(x0) = state.x.first_mut() {
        *x0 = vcpus.into();
    }
    let state = state.into();
    for round in ["first", "after a reset"] {
        memory.memory().write_obj(0_u32, GuestAddress(guest::DATA))?;
        expect(
            round,
            &board.boot(&state, &hv_kvm_test::run_config())?,
            &Outcome::DebugExit(vcpus - 1),
        )?;
        let affinities: Vec<_> = recorder
            .take_data()
            .iter()
            .map(|write| {
                write
                    .iter()
                    .rev()
                    .fold(0_u64, |word, &byte| word << 8 | u64::from(byte))
            })
            .map(|mpidr| mpidr & boot_core::machine::Arm64Cpu::AFFINITY_MASK)
            .collect();
        let expected: Vec<_> = (1..vcpus)
            .map(boot_core::machine::Arm64Cpu::affinity_of)
            .collect();
        expect("affinities", &affinities, &expected)?;
        hv_core::reset_vcpus(board.vcpus_mut())?;
        board.vm().reset_irqchip()?;
    }
    Ok(None)
}

fn slots_are_checked() -> TestResult {
    let vm = KvmVm::new(&guest::layout(1)?)?;
    let map = |slot, base, len| {
        let ram = guest::ram(base, len)?;
        Ok::<_, Box<dyn std::error::Error>>(ram.regions().try_for_each(|ram| vm.map_ram(slot, ram)))
    };
    // Sizes and distances that are whole pages for every page size of arm64.
    map(0, 0x8000_0000, 0x10_0000)??;
    let check = |slot, base, len, right: fn(&KvmError) -> bool| -> Check {
        match map(slot, base, len)? {
            Err(error) if right(&error) => Ok(()),
            result => Err(format!("slot {slot} at {base:#x}+{len:#x}: {result:?}").into()),
        }
    };
    check(0, 0x9000_0000, 0x1_0000, |e| {
        matches!(e, KvmError::Harness(HarnessError::SlotInUse { slot: 0 }))
    })?;
    check(1, 0x800f_0000, 0x2_0000, |e| {
        matches!(e, KvmError::Harness(HarnessError::RamOverlap { other: 0, .. }))
    })?;
    check(
        1,
        0x9000_0800,
        0x1_0000,
        |e| matches!(e, KvmError::Harness(HarnessError::RamUnaligned { range, .. }) if range.start() == 0x9000_0800),
    )?;
    check(
        1,
        0x9000_0000,
        0x800,
        |e| matches!(e, KvmError::Harness(HarnessError::RamUnaligned { range, .. }) if range.len() == 0x800),
    )?;
    // The distributor, the ITS, and the last page of the redistributors.
    for base in [0x07ff_0000, 0x0803_0000, 0x0c01_0000] {
        check(1, base, 0x2_0000, |e| {
            matches!(e, KvmError::Harness(HarnessError::RamReserved { .. }))
        })?;
    }
    let bits = KvmVm::host_capabilities()?.address_bits;
    check(1, (1 << bits) - 0x1_0000, 0x2_0000, |e| {
        matches!(e, KvmError::Harness(HarnessError::RamOutOfRange { .. }))
    })?;
    map(1, (1 << bits) - 0x1_0000, 0x1_0000)??;
    match vm.unmap_ram(3) {
        Err(KvmError::Harness(HarnessError::SlotNotInUse { slot: 3 })) => {}
        result => return Err(format!("unmapping a slot that is not there: {result:?}").into()),
    }
    expect(
        "unmapped base",
        &vm.unmap_ram(1)?.range().start(),
        &((1 << bits) - 0x1_0000),
    )?;
    Ok(None)
}

fn vcpus_are_checked() -> TestResult {
    let vm = KvmVm::new(&guest::layout(2)?)?;
    let mut first = vm.create_vcpu(0)?;
    match vm.create_vcpu(2).map(drop) {
        Err(KvmError::Harness(HarnessError::NoSuchVcpu { index: 2, count: 2 })) => {}
        result => return Err(format!("a vCPU too many: {result:?}").into()),
    }
    match vm.create_vcpu(0).map(drop) {
        Err(KvmError::Harness(HarnessError::Request {
            request: "KVM_CREATE_VCPU",
            ..
        })) => {}
        result => return Err(format!("the same vCPU twice: {result:?}").into()),
    }
    match first.run().map(drop) {
        Err(KvmError::VcpusNotCreated { created: 1, count: 2 }) => {}
        result => return Err(format!("a run before all vCPUs exist: {result:?}").into()),
    }
    match vm.reset_irqchip() {
        Err(KvmError::VcpusNotCreated { .. }) => {}
        result => return Err(format!("a reset before all vCPUs exist: {result:?}").into()),
    }
    let second = vm.create_vcpu(1)?;
    expect("number", &second.index(), &1)?;
    match vm.set_irq(960, true) {
        Err(KvmError::NoSuchInterruptLine { line: 960 }) => {}
        result => return Err(format!("a line that is not there: {result:?}").into()),
    }
    vm.set_irq(959, true)?;
    let foreign = CpuState::from(boot_core::cpu::riscv64::State::new(0x8000_0000));
    match first.set_state(&foreign) {
        Err(KvmError::Harness(HarnessError::ArchMismatch {
            expected: boot_core::Arch::Aarch64,
            found: boot_core::Arch::Riscv64,
        })) => Ok(None),
        result => Err(format!("a state of another architecture: {result:?}").into()),
    }
}

/// What the host has can be had, and what it lacks is refused by name.
fn features_are_checked() -> TestResult {
    let host = KvmVm::host_capabilities()?.features;
    let layout = guest::layout(2)?;
    for (has, features) in [
        (host.pmu, VcpuFeatures::default().with_pmu(true)),
        (host.sve, VcpuFeatures::default().with_sve(true)),
        (host.pointer_auth, VcpuFeatures::default().with_pointer_auth(true)),
        (true, host),
    ] {
        if has {
            let (mut board, _memory) =
                guest::board_with(guest_code::exit(), &layout, features, guest::devices())?;
            expect(
                &format!("{features:?}"),
                &board.boot(&guest::entry().into(), &hv_kvm_test::run_config())?,
                &Outcome::DebugExit(0x1234_5664),
            )?;
            hv_core::reset_vcpus(board.vcpus_mut())?;
            expect(
                &format!("{features:?} after a reset"),
                &board.boot(&guest::entry().into(), &hv_kvm_test::run_config())?,
                &Outcome::DebugExit(0x1234_5664),
            )?;
        } else {
            match KvmVm::new(&layout.clone().with_features(features)) {
                Err(KvmError::Harness(HarnessError::MissingCapability { .. })) => {}
                result => return Err(format!("{features:?}: {result:?}").into()),
            }
        }
    }
    Ok(None)
}

/// Errors of KVM reach the caller, also those of the PMU and of SVE, which other tests do not have.
fn every_call_fails() -> TestResult {
    if faults::skip_reason().is_some() {
        return Ok(Some("seccomp of this host has no user notification"));
    }
    let features = KvmVm::host_capabilities()?.features;
    let layout = guest::layout(1)?;
    faults::every_call_fails(move || {
        let (mut board, _memory) =
            guest::board_with(guest_code::exit(), &layout, features, guest::devices())?;
        expect(
            "outcome",
            &board.boot(&guest::entry().into(), &hv_kvm_test::run_config())?,
            &Outcome::DebugExit(0x1234_5664),
        )
    })?;
    Ok(None)
}

fn gic_v2() -> TestResult {
    use hv_core::virt;

    let layout = Layout::of(&guest::machine(2, virt::Gic::V2)?)?;
    if !KvmVm::host_capabilities()?.gic_v2 {
        // The refusal is part of the test.
        let vm = KvmVm::new(&layout)?;
        let _first = vm.create_vcpu(0)?;
        return match vm.create_vcpu(1).map(drop) {
            Err(KvmError::Harness(HarnessError::Request {
                request: "KVM_CREATE_DEVICE (GICv2)",
                ..
            })) => Ok(Some("this host has no GICv2, which KVM says")),
            result => Err(format!("a GICv2 where there is none: {result:?}").into()),
        };
    }
    expect("version", &matches!(layout.gic, GicLayout::V2 { .. }), &true)?;
    let (mut board, _memory) = guest::board_with(
        guest_code::exit(),
        &layout,
        VcpuFeatures::default(),
        guest::devices(),
    )?;
    let shared = board.vm().save_distributor()?;
    for _ in 0..2 {
        for vcpu in board.vcpus_mut() {
            let reset_state = vcpu.save_state()?;
            let mut dirty = reset_state.clone();
            // Enabled, pending from the first vCPU, a priority; the CPU interface's priority mask.
            dirty
                .gic
                .registers
                .extend([(0x100, 0x0800_ffff), (0xf20, 1), (0x400, 0x1020_3040), (4, 0x1e)]);
            vcpu.restore_state(&dirty)?;
            let found = vcpu.save_state()?.gic.registers;
            for offset in [0x100, 0xf20, 0x400, 4] {
                expect(
                    &format!("GICv2 {offset:#x}"),
                    &found.get(&offset),
                    &dirty.gic.registers.get(&offset),
                )?;
            }
            vcpu.reset()?;
            expect("GICv2 after a reset", &vcpu.save_state()?.gic, &reset_state.gic)?;
        }
        expect(
            "outcome",
            &board.boot(&guest::entry().into(), &hv_kvm_test::run_config())?,
            &Outcome::DebugExit(0x1234_5664),
        )?;
        hv_core::reset_vcpus(board.vcpus_mut())?;
        board.vm().reset_irqchip()?;
        expect("distributor", &board.vm().save_distributor()?, &shared)?;
    }
    Ok(None)
}
