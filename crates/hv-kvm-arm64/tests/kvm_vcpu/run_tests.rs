//! Runs and how they end.

use std::{thread, time::Duration};

use boot_core::CpuState;
use hv_core::{Access, Direction, Exit, Fault, OnUnclaimed, Outcome, Policy, Space, StopHandle, Vcpu, Vm};
use hv_kvm_arm64::{BoardDevices, Gic, HarnessError, KvmError, KvmVm, Layout, VcpuFeatures};
use vm_memory::{Bytes, GuestAddress};

use crate::{
    asm,
    device_tests::Recorder,
    guest::{self, Check, Test, TestResult, Verdict, expect, expect_outcome},
};

pub(crate) const TESTS: &[Test] = &[
    ("run::exit_page", || {
        expect_outcome(
            &guest::run(asm::exit(), guest::entry())?,
            &Outcome::DebugExit(0x1234_5664),
        )
    }),
    ("run::psci_off", || {
        expect_outcome(
            &guest::run(asm::system_off(), guest::entry())?,
            &Outcome::PowerOff,
        )
    }),
    ("run::psci_reset", || {
        expect_outcome(&guest::run(asm::system_reset(), guest::entry())?, &Outcome::Reset)
    }),
    ("run::deadline_ends_a_loop", || deadline(asm::spin())),
    ("run::deadline_ends_a_wait", || deadline(asm::halt())),
    ("run::stop_from_another_thread", stop_from_another_thread),
    ("run::pair_loads_from_devices_are_faults", || {
        undecoded(asm::load_pair_from_device(), 0x0a00_0008, Direction::Read)
    }),
    ("run::write_back_stores_to_devices_are_faults", || {
        undecoded(
            asm::store_with_write_back_to_device(),
            0x0a00_0010,
            Direction::Write,
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
    let (mut board, memory) = guest::board(code, 1, BoardDevices::default())?;
    let state = guest::entry().into();
    expect(
        "first run",
        &board.boot(&state, &guest::short_policy())?,
        &Outcome::Deadline,
    )?;
    memory
        .memory()
        .write_slice(asm::exit(), GuestAddress(guest::CODE))?;
    hv_core::reset(board.vcpus())?;
    expect_outcome(
        &board.boot(&state, &guest::policy())?,
        &Outcome::DebugExit(0x1234_5664),
    )
}

fn stop_from_another_thread() -> TestResult {
    for code in [asm::spin(), asm::halt()] {
        // More vCPUs than host CPUs: the others wait for CPU_ON, and have to come out as well.
        let (mut board, _memory) = guest::board(code, 4, BoardDevices::default())?;
        let stop = StopHandle::new();
        let policy = Policy {
            stop: stop.clone(),
            ..guest::policy()
        };
        let stopper = thread::spawn(move || {
            thread::sleep(Duration::from_millis(50));
            stop.stop();
        });
        let outcome = board.boot(&guest::entry().into(), &policy)?;
        stopper.join().ok().ok_or("the stopping thread panicked")?;
        expect("outcome", &outcome, &Outcome::Stopped)?;
        // A handle that was stopped ends the next run at once.
        expect("again", &board.resume(&policy)?, &Outcome::Stopped)?;
    }
    Ok(Verdict::Passed)
}

/// An access without instruction syndrome names its address, direction and instruction.
fn undecoded(code: &[u8], at: u64, towards: Direction) -> TestResult {
    let report = crash(guest::run(code, guest::entry())?)?;
    let Fault::Undecoded {
        address,
        direction,
        syndrome,
    } = report.fault
    else {
        return Err(format!("another fault: {}", report.fault).into());
    };
    expect("address", &address, &at)?;
    expect("direction", &direction, &towards)?;
    // Translation fault at level 1, 2 or 3 of the second stage.
    expect("fault status", &(syndrome & 0x3c), &0x04)?;
    expect("pc", &report.state.entry(), &(guest::CODE + 4))?;
    Ok(Verdict::Passed)
}

/// KVM gives the guest an abort where there are no instructions, and again for its vectors: it never ends by itself.
fn execution_outside_memory() -> TestResult {
    let (mut board, _memory) = guest::board(asm::jump_to_nowhere(), 1, BoardDevices::default())?;
    expect(
        "outcome",
        &board.boot(&guest::entry().into(), &guest::short_policy())?,
        &Outcome::Deadline,
    )?;
    let [vcpu] = board.vcpus() else {
        return Err("there is one vCPU".into());
    };
    // The vector for a synchronous exception from EL1 with its own stack pointer.
    expect("pc", &vcpu.state()?.entry(), &0x4000_0200)?;
    Ok(Verdict::Passed)
}

fn unmapped_slot_is_device_space() -> TestResult {
    let (mut board, _memory) = guest::board(asm::read_second_slot(), 1, BoardDevices::default())?;
    let base = guest::CODE + guest::RAM_LEN;
    let second = guest::ram(base, 0x1_0000)?;
    second.memory().write_obj(0x5107_u32, GuestAddress(base))?;
    for ram in second.regions() {
        board.vm().map_ram(1, ram)?;
    }
    let state = guest::entry().into();
    let policy = Policy {
        on_unclaimed: OnUnclaimed::Crash,
        ..guest::policy()
    };
    expect(
        "mapped",
        &board.boot(&state, &policy)?,
        &Outcome::DebugExit(0x5107),
    )?;
    let ram = board.vm().unmap_ram(1)?;
    expect("address of the slot", &ram.range().start(), &base)?;
    let report = crash(board.boot(&state, &policy)?)?;
    let access = Access {
        space: Space::Mmio,
        direction: Direction::Read,
        address: base,
        len: 4,
    };
    expect("unmapped", &report.fault, &Fault::Unclaimed(access))?;
    board.vm().map_ram(1, ram)?;
    expect_outcome(&board.boot(&state, &policy)?, &Outcome::DebugExit(0x5107))
}

/// A vCPU can run when everybody else has dropped the machine and the memory.
fn ram_outlives_its_owners() -> TestResult {
    let memory = guest::memory(asm::write_ram())?;
    let vm = KvmVm::new(&guest::layout(1)?, VcpuFeatures::default())?;
    let mut vcpus = hv_core::assemble(&vm, memory.regions(), 1)?;
    drop((vm, memory));
    let [vcpu] = vcpus.as_mut_slice() else {
        return Err("there is one vCPU".into());
    };
    vcpu.set_state(&guest::entry().into())?;
    match vcpu.run()? {
        Exit::MmioRead {
            address: 0x0a00_0000,
            data,
        } => data.copy_from_slice(&0xcafe_u32.to_le_bytes()),
        exit => return Err(format!("expected a read of the device page: {exit:?}").into()),
    }
    match vcpu.run()? {
        Exit::MmioWrite {
            address: BoardDevices::EXIT_PAGE,
            data,
        } => expect("value", &data.to_vec(), &0xcafe_u32.to_le_bytes().to_vec())?,
        exit => return Err(format!("expected a write to the exit page: {exit:?}").into()),
    }
    Ok(Verdict::Passed)
}

/// The guest starts all others with PSCI, after creation and after a reset.
fn secondaries(vcpus: u32) -> TestResult {
    let (mut board, memory) = guest::board(asm::start_others(), vcpus, BoardDevices::default())?;
    let recorder = Recorder::default();
    board
        .bus()
        .insert(Space::Mmio, 0x0a00_0000, 0x1000, recorder.clone())?;
    let mut state = guest::entry();
    if let Some(x0) = state.x.first_mut() {
        *x0 = vcpus.into();
    }
    let state = state.into();
    for round in ["first", "after a reset"] {
        memory.memory().write_obj(0_u32, GuestAddress(guest::DATA))?;
        expect(
            round,
            &board.boot(&state, &guest::policy())?,
            &Outcome::DebugExit(vcpus - 1),
        )?;
        let affinities: Vec<_> = recorder
            .take()
            .iter()
            .map(|write| {
                write
                    .iter()
                    .rev()
                    .fold(0_u64, |word, &byte| word << 8 | u64::from(byte))
            })
            .map(|mpidr| mpidr & boot_core::machine::Arm64Cpu::AFFINITY)
            .collect();
        let expected: Vec<_> = (1..vcpus)
            .map(boot_core::machine::Arm64Cpu::affinity_of)
            .collect();
        expect("affinities", &affinities, &expected)?;
        hv_core::reset(board.vcpus())?;
        board.vm().reset_gic()?;
    }
    Ok(Verdict::Passed)
}

fn slots_are_checked() -> TestResult {
    let vm = KvmVm::new(&guest::layout(1)?, VcpuFeatures::default())?;
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
    let bits = KvmVm::host_support()?.address_bits;
    check(1, (1 << bits) - 0x1_0000, 0x2_0000, |e| {
        matches!(e, KvmError::Harness(HarnessError::RamBeyondAddresses { .. }))
    })?;
    map(1, (1 << bits) - 0x1_0000, 0x1_0000)??;
    match vm.unmap_ram(3) {
        Err(KvmError::Harness(HarnessError::SlotUnused { slot: 3 })) => {}
        result => return Err(format!("unmapping a slot that is not there: {result:?}").into()),
    }
    expect(
        "unmapped base",
        &vm.unmap_ram(1)?.range().start(),
        &((1 << bits) - 0x1_0000),
    )?;
    Ok(Verdict::Passed)
}

fn vcpus_are_checked() -> TestResult {
    let vm = KvmVm::new(&guest::layout(2)?, VcpuFeatures::default())?;
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
        Err(KvmError::Unfinished { created: 1, count: 2 }) => {}
        result => return Err(format!("a run before all vCPUs exist: {result:?}").into()),
    }
    match vm.reset_gic() {
        Err(KvmError::Unfinished { .. }) => {}
        result => return Err(format!("a reset before all vCPUs exist: {result:?}").into()),
    }
    let second = vm.create_vcpu(1)?;
    expect("number", &second.index(), &1)?;
    match vm.set_irq(960, true) {
        Err(KvmError::NoSuchLine { line: 960 }) => {}
        result => return Err(format!("a line that is not there: {result:?}").into()),
    }
    vm.set_irq(959, true)?;
    let foreign = CpuState::from(boot_core::cpu::riscv64::State::new(0x8000_0000));
    match first.set_state(&foreign) {
        Err(KvmError::Harness(HarnessError::WrongArch {
            expected: boot_core::Arch::Aarch64,
            found: boot_core::Arch::Riscv64,
        })) => Ok(Verdict::Passed),
        result => Err(format!("a state of another architecture: {result:?}").into()),
    }
}

/// What the host has can be had, and what it lacks is refused by name.
fn features_are_checked() -> TestResult {
    let host = KvmVm::host_support()?.features;
    let layout = guest::layout(2)?;
    for (has, features) in [
        (
            host.pmu,
            VcpuFeatures {
                pmu: true,
                ..VcpuFeatures::default()
            },
        ),
        (
            host.sve,
            VcpuFeatures {
                sve: true,
                ..VcpuFeatures::default()
            },
        ),
        (
            host.pointer_auth,
            VcpuFeatures {
                pointer_auth: true,
                ..VcpuFeatures::default()
            },
        ),
        (true, host),
    ] {
        if has {
            let (mut board, _memory) =
                guest::board_with(asm::exit(), &layout, features, BoardDevices::default())?;
            expect(
                &format!("{features:?}"),
                &board.boot(&guest::entry().into(), &guest::policy())?,
                &Outcome::DebugExit(0x1234_5664),
            )?;
            hv_core::reset(board.vcpus())?;
            expect(
                &format!("{features:?} after a reset"),
                &board.boot(&guest::entry().into(), &guest::policy())?,
                &Outcome::DebugExit(0x1234_5664),
            )?;
        } else {
            match KvmVm::new(&layout, features) {
                Err(KvmError::Harness(HarnessError::MissingCapability { .. })) => {}
                result => return Err(format!("{features:?}: {result:?}").into()),
            }
        }
    }
    Ok(Verdict::Passed)
}

fn gic_v2() -> TestResult {
    use hv_core::virt;

    let layout = Layout::of(&guest::machine(2, virt::Gic::V2)?)?;
    if !KvmVm::host_support()?.gic_v2 {
        // The refusal is part of the test.
        let vm = KvmVm::new(&layout, VcpuFeatures::default())?;
        let _first = vm.create_vcpu(0)?;
        return match vm.create_vcpu(1).map(drop) {
            Err(KvmError::Harness(HarnessError::Request {
                request: "KVM_CREATE_DEVICE (GICv2)",
                ..
            })) => Ok(Verdict::CannotRun("this host has no GICv2, which KVM says")),
            result => Err(format!("a GICv2 where there is none: {result:?}").into()),
        };
    }
    expect("version", &matches!(layout.gic, Gic::V2 { .. }), &true)?;
    let (mut board, _memory) = guest::board_with(
        asm::exit(),
        &layout,
        VcpuFeatures::default(),
        BoardDevices::default(),
    )?;
    let shared = board.vm().gic_state()?;
    for _ in 0..2 {
        for vcpu in board.vcpus() {
            let fresh = vcpu.whole_state()?;
            let mut dirty = fresh.clone();
            // Enabled, pending from the first vCPU, a priority; the CPU interface's priority mask.
            dirty
                .gic
                .frame
                .extend([(0x100, 0x0800_ffff), (0xf20, 1), (0x400, 0x1020_3040), (4, 0x1e)]);
            vcpu.set_whole_state(&dirty)?;
            let found = vcpu.whole_state()?.gic.frame;
            for offset in [0x100, 0xf20, 0x400, 4] {
                expect(
                    &format!("GICv2 {offset:#x}"),
                    &found.get(&offset),
                    &dirty.gic.frame.get(&offset),
                )?;
            }
            vcpu.reset()?;
            expect("GICv2 after a reset", &vcpu.whole_state()?.gic, &fresh.gic)?;
        }
        expect(
            "outcome",
            &board.boot(&guest::entry().into(), &guest::policy())?,
            &Outcome::DebugExit(0x1234_5664),
        )?;
        hv_core::reset(board.vcpus())?;
        board.vm().reset_gic()?;
        expect("distributor", &board.vm().gic_state()?, &shared)?;
    }
    Ok(Verdict::Passed)
}
