//! Runs and how they end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use boot_core::{CpuState, MemoryMap};
use guest_ram::GuestRam;
use hv_core::{
    Access, AccessKind, AddressSpace, ExitCounts, ExitReason, Fault, Outcome, ShutdownPolicy, StopHandle,
    UnhandledAccessPolicy, Vcpu, VcpuExit, Vm,
};
use hv_kvm_x86::{HarnessError, KvmError, KvmVm, RomArea, board_on_kvm};
use vm_memory::{Bytes, GuestAddress};

use crate::{
    guest::{self, Test, TestResult, expect},
    guest_code,
};

pub(crate) const TESTS: &[Test] = &[
    ("run::long_mode", || {
        mode(guest_code::long_exit(), guest::long_mode(), 0x1234_5664)
    }),
    ("run::protected_mode", || {
        mode(guest_code::protected_exit(), guest::protected_mode(), 0x1234_5632)
    }),
    ("run::real_mode", || {
        mode(guest_code::real_exit(), guest::real_mode(), 0x1234_5616)
    }),
    ("run::triple_fault_is_a_crash", triple_fault_is_a_crash),
    ("run::triple_fault_may_mean_reset", triple_fault_may_mean_reset),
    ("run::deadline_ends_a_loop", || deadline(guest_code::spin())),
    ("run::deadline_ends_a_halt", || deadline(guest_code::halt())),
    ("run::stop_from_another_thread", stop_from_another_thread),
    (
        "run::execution_outside_memory_is_an_internal_error",
        execution_outside_memory,
    ),
    (
        "run::internal_error_has_the_instruction",
        internal_error_has_the_instruction,
    ),
    (
        "run::unmapped_slot_is_device_space",
        unmapped_slot_is_device_space,
    ),
    ("run::rom_is_read_only_memory", || {
        rom(RomArea::ReadOnly, u32::MAX, &[ROM_WRITE])
    }),
    ("run::rom_may_be_writable", || {
        rom(RomArea::Writable, 0x1234_5678, &[])
    }),
    ("run::rom_may_be_absent", || {
        let reads = [0xc_0000, 0xf_0000, 0xf_fffc]
            .map(|address| Access::new(AddressSpace::Mmio, AccessKind::Read, address, 4));
        rom(
            RomArea::Absent,
            u32::MAX,
            &[reads[0], reads[1], reads[2], ROM_WRITE],
        )
    }),
    ("run::ram_outlives_its_owners", ram_outlives_its_owners),
    ("run::no_interrupt_is_lost_or_late", no_interrupt_is_lost_or_late),
    ("run::four_vcpus_by_init_and_sipi", four_vcpus),
    ("run::slots_are_checked", slots_are_checked),
    ("run::vcpus_are_checked", vcpus_are_checked),
];

fn mode(code: &[u8], state: impl Into<CpuState>, code_expected: u32) -> TestResult {
    expect(
        "outcome",
        &guest::run(code, state)?,
        &Outcome::DebugExit(code_expected),
    )
}

/// The crash of a run, or an error that says how it ended instead.
fn crash(outcome: Outcome) -> Result<hv_core::CrashReport, Box<dyn std::error::Error>> {
    match outcome {
        Outcome::Crash(report) => Ok(*report),
        outcome => Err(format!("the guest did not crash: {outcome}").into()),
    }
}

fn triple_fault_is_a_crash() -> TestResult {
    let report = crash(guest::run(guest_code::triple_fault(), guest::long_mode())?)?;
    expect("vCPU", &report.vcpu, &0)?;
    expect("fault", &report.fault, &Fault::Shutdown)
}

fn triple_fault_may_mean_reset() -> TestResult {
    let (mut pc, _memory) = guest::pc(guest_code::triple_fault(), 1, guest::devices())?;
    let run_config = hv_kvm_test::run_config().with_shutdown(ShutdownPolicy::Reset);
    expect(
        "outcome",
        &pc.boot(&guest::long_mode().into(), &run_config)?,
        &Outcome::Reset,
    )
}

/// The deadline gets the vCPU out, and it can be used again afterwards.
fn deadline(code: &[u8]) -> TestResult {
    let (mut pc, memory) = guest::pc(code, 1, guest::devices())?;
    let state = guest::long_mode().into();
    expect(
        "first run",
        &pc.boot(&state, &hv_kvm_test::short_run_config())?,
        &Outcome::Deadline,
    )?;
    memory
        .memory()
        .write_slice(guest_code::long_exit(), GuestAddress(guest::CODE))?;
    hv_core::reset_vcpus(pc.vcpus_mut())?;
    expect(
        "second run",
        &pc.boot(&state, &hv_kvm_test::run_config())?,
        &Outcome::DebugExit(0x1234_5664),
    )
}

fn stop_from_another_thread() -> TestResult {
    for code in [guest_code::spin(), guest_code::halt()] {
        // More vCPUs than host CPUs: the others wait for SIPI, and have to come out as well.
        let (mut pc, _memory) = guest::pc(code, 4, guest::devices())?;
        let stop = StopHandle::new();
        let run_config = hv_kvm_test::run_config().with_stop(stop.clone());
        let stopper = thread::spawn(move || {
            thread::sleep(Duration::from_millis(50));
            stop.stop();
        });
        let outcome = pc.boot(&guest::long_mode().into(), &run_config)?;
        stopper.join().ok().ok_or("the stopping thread panicked")?;
        expect("outcome", &outcome, &Outcome::Stopped)?;
        // A handle that was stopped ends the next run at once.
        expect("again", &pc.resume(&run_config)?, &Outcome::Stopped)?;
    }
    Ok(())
}

fn execution_outside_memory() -> TestResult {
    let report = crash(guest::run(guest_code::jump_to_nowhere(), guest::long_mode())?)?;
    let Fault::InternalError { suberror, pc, .. } = report.fault else {
        return Err(format!("another fault: {}", report.fault).into());
    };
    expect("suberror", &suberror, &1)?;
    expect("pc", &pc, &Some(0xd000_0000))?;
    expect("pc in the state", &report.state.entry(), &0xd000_0000)
}

fn internal_error_has_the_instruction() -> TestResult {
    let report = crash(guest::run(guest_code::exchange_on_device(), guest::long_mode())?)?;
    let Fault::InternalError {
        suberror,
        pc,
        instruction,
        ..
    } = &report.fault
    else {
        return Err(format!("another fault: {}", report.fault).into());
    };
    expect("suberror", suberror, &1)?;
    expect("pc", pc, &Some(guest::CODE + 7))?;
    // The kernel gives as many bytes as it fetched; the instruction is the first five of them.
    expect(
        "instruction",
        &instruction.get(..5),
        &Some(&[0xf0, 0x48, 0x0f, 0xc7, 0x0b][..]),
    )?;
    let text = report.to_string();
    for part in ["suberror 1", "0x8007", "f0 48 0f c7 0b"] {
        if !text.contains(part) {
            return Err(format!("the report lacks {part:?}: {text}").into());
        }
    }
    Ok(())
}

fn unmapped_slot_is_device_space() -> TestResult {
    let (mut pc, _memory) = guest::pc(guest_code::read_second_slot(), 1, guest::devices())?;
    let second = guest::ram(0x20_0000, 0x1000)?;
    second.memory().write_obj(0x5107_u32, GuestAddress(0x20_0000))?;
    for ram in second.regions() {
        pc.vm().map_ram(1, ram)?;
    }
    let state = guest::long_mode().into();
    let run_config = hv_kvm_test::run_config().with_unhandled_access(UnhandledAccessPolicy::Crash);
    expect(
        "mapped",
        &pc.boot(&state, &run_config)?,
        &Outcome::DebugExit(0x5107),
    )?;
    let ram = pc.vm().unmap_ram(1)?;
    expect("address of the slot", &ram.range().start(), &0x20_0000)?;
    let report = crash(pc.boot(&state, &run_config)?)?;
    let access = Access::new(AddressSpace::Mmio, AccessKind::Read, 0x20_0000, 4);
    expect("unmapped", &report.fault, &Fault::UnhandledAccess(access))?;
    pc.vm().map_ram(1, ram)?;
    expect(
        "mapped again",
        &pc.boot(&state, &run_config)?,
        &Outcome::DebugExit(0x5107),
    )
}

/// The write of the guest `rom`.
const ROM_WRITE: Access = Access::new(AddressSpace::Mmio, AccessKind::Write, 0xf_0000, 4);

/// Runs the guest `rom` on a PC with `area`: it ends with `value`, and `exits` are its memory-mapped accesses.
fn rom(area: RomArea, value: u32, exits: &[Access]) -> TestResult {
    let ram = GuestRam::new(&MemoryMap::pc(2 << 20)?)?;
    let memory = guest::with_code(ram, guest_code::rom())?;
    let layout = guest::layout(1)?.with_rom(area);
    let mut pc = board_on_kvm(&memory, &layout, guest::devices())?;
    let counts = Arc::new(ExitCounts::new());
    let run_config = hv_kvm_test::run_config().with_observer(Arc::clone(&counts) as _);
    let outcome = pc.boot(&guest::long_mode().into(), &run_config)?;
    expect("outcome", &outcome, &Outcome::DebugExit(value))?;
    let mut found: Vec<_> = counts
        .entries()
        .into_iter()
        .filter_map(|(reason, count)| match reason {
            ExitReason::Access(access) if access.space == AddressSpace::Mmio => Some((access, count)),
            _ => None,
        })
        .collect();
    let mut expected: Vec<_> = exits.iter().map(|access| (*access, 1)).collect();
    found.sort_unstable();
    expected.sort_unstable();
    expect("exits", &found, &expected)
}

/// A vCPU can run when everybody else has dropped the machine and the memory.
fn ram_outlives_its_owners() -> TestResult {
    let memory = guest::memory(guest_code::write_ram())?;
    let vm = KvmVm::new(guest::layout(1)?.topology)?;
    let mut vcpus = hv_core::init_vm(&vm, memory.regions(), 1)?;
    drop((vm, memory));
    let [vcpu] = vcpus.as_mut_slice() else {
        return Err("there is one vCPU".into());
    };
    vcpu.set_state(&guest::long_mode().into())?;
    match vcpu.run()? {
        VcpuExit::IoRead {
            port: 0x500,
            size: 4,
            data,
        } => data.copy_from_slice(&0xcafe_u32.to_le_bytes()),
        exit => return Err(format!("expected a read of port 0x500: {exit:?}").into()),
    }
    match vcpu.run()? {
        VcpuExit::IoWrite {
            port: 0xf4,
            size: 4,
            data,
        } => expect("value", &data.to_vec(), &0xcafe_u32.to_le_bytes().to_vec()),
        exit => Err(format!("expected a write to port 0xf4: {exit:?}").into()),
    }
}

/// Number of interrupts, unless the environment variable `VMBOOT_INTERRUPTS` has another.
const INTERRUPTS: u64 = 5_000;

/// Interrupts a vCPU that enters and leaves the guest all the time. Each interrupt ends the entry at the time of the request, or
/// the next one.
fn no_interrupt_is_lost_or_late() -> TestResult {
    let interrupts = match std::env::var("VMBOOT_INTERRUPTS") {
        Ok(number) => number.parse()?,
        Err(_) => INTERRUPTS,
    };
    let memory = guest::memory(guest_code::leave_and_spin())?;
    let vm = KvmVm::new(guest::layout(1)?.topology)?;
    let mut vcpus = hv_core::init_vm(&vm, memory.regions(), 1)?;
    let [vcpu] = vcpus.as_mut_slice() else {
        return Err("there is one vCPU".into());
    };
    vcpu.set_state(&guest::long_mode().into())?;
    let kicker = vcpu.kicker();
    let (entries, seen, stopped) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let running = scope.spawn(|| {
            while !stopped.load(Ordering::SeqCst) {
                match vcpu.run() {
                    Ok(VcpuExit::IoWrite { port: 0x500, .. }) => {}
                    Ok(VcpuExit::Interrupted) => {
                        // The number of the entry that was interrupted, from 1 up.
                        seen.store(entries.load(Ordering::SeqCst) + 1, Ordering::SeqCst);
                    }
                    exit => return Err(format!("unexpected exit {exit:?}")),
                }
                entries.fetch_add(1, Ordering::SeqCst);
            }
            Ok(())
        });
        let (mut latest, mut failure) = (0, None);
        for number in 0..interrupts {
            // Different times between the interrupts, so that they meet every point of an entry.
            for _ in 0..number % 512 {
                std::hint::spin_loop();
            }
            seen.store(0, Ordering::SeqCst);
            kicker.kick();
            let completed = entries.load(Ordering::SeqCst);
            let deadline = Instant::now() + Duration::from_secs(20);
            while seen.load(Ordering::SeqCst) == 0 && Instant::now() < deadline && !running.is_finished() {
                // On a host with one CPU, the vCPU's thread needs this one's time.
                thread::yield_now();
            }
            match seen.load(Ordering::SeqCst) {
                0 => failure = Some(format!("interrupt {number} is lost")),
                entry => latest = latest.max(entry.saturating_sub(completed)),
            }
            if failure.is_some() {
                break;
            }
        }
        stopped.store(true, Ordering::SeqCst);
        kicker.kick();
        match running.join() {
            Ok(result) => result?,
            Err(panic) => std::panic::resume_unwind(panic),
        }
        if let Some(failure) = failure {
            return Err(failure.into());
        }
        // 1: the entry at the time of the request; 2: the next one.
        if latest > 2 {
            return Err(format!("an interrupt came {latest} entries after the request").into());
        }
        Ok(())
    })
}

fn four_vcpus() -> TestResult {
    use hv_kvm_test::Recorder;

    let (mut pc, memory) = guest::pc(guest_code::start_others(), 4, guest::devices())?;
    memory
        .memory()
        .write_slice(guest_code::secondary(), GuestAddress(0xb000))?;
    memory.memory().write_obj(3_u32, GuestAddress(guest::DATA + 4))?;
    let recorder = Recorder::default();
    pc.bus_mut()
        .insert(AddressSpace::Pio, 0x500, 4, recorder.clone())?;
    let state = guest::long_mode().into();
    for round in ["first", "after a reset"] {
        memory.memory().write_obj(0_u32, GuestAddress(guest::DATA))?;
        expect(
            round,
            &pc.boot(&state, &hv_kvm_test::run_config())?,
            &Outcome::DebugExit(3),
        )?;
        let mut ids = recorder.take_data();
        ids.sort();
        expect("APIC ids", &ids, &vec![vec![1], vec![2], vec![3]])?;
        hv_core::reset_vcpus(pc.vcpus_mut())?;
        pc.vm().reset_irqchip()?;
    }
    Ok(())
}

fn slots_are_checked() -> TestResult {
    let vm = KvmVm::new(guest::layout(1)?.topology)?;
    let map = |slot, base, len| {
        let ram = guest::ram(base, len)?;
        Ok::<_, Box<dyn std::error::Error>>(ram.regions().try_for_each(|ram| vm.map_ram(slot, ram)))
    };
    map(0, 0, 0x10_0000)??;
    let check = |slot, base, len, right: fn(&KvmError) -> bool| -> TestResult {
        match map(slot, base, len)? {
            Err(error) if right(&error) => Ok(()),
            result => Err(format!("slot {slot} at {base:#x}+{len:#x}: {result:?}").into()),
        }
    };
    check(0, 0x20_0000, 0x1000, |e| {
        matches!(e, KvmError::Harness(HarnessError::SlotInUse { slot: 0 }))
    })?;
    check(1, 0xf_f000, 0x2000, |e| {
        matches!(e, KvmError::Harness(HarnessError::RamOverlap { other: 0, .. }))
    })?;
    check(
        1,
        0x20_0800,
        0x1000,
        |e| matches!(e, KvmError::Harness(HarnessError::RamUnaligned { range, .. }) if range.start() == 0x20_0800),
    )?;
    check(
        1,
        0x20_0000,
        0x800,
        |e| matches!(e, KvmError::Harness(HarnessError::RamUnaligned { range, .. }) if range.len() == 0x800),
    )?;
    check(1, 0xfebf_f000, 0x2000, |e| {
        matches!(e, KvmError::Harness(HarnessError::RamReserved { .. }))
    })?;
    check(1, 0xffff_f000, 0x2000, |e| {
        matches!(e, KvmError::Harness(HarnessError::RamReserved { .. }))
    })?;
    map(1, 0xfebf_f000, 0x1000)??;
    map(2, 0x1_0000_0000, 0x1000)??;
    match vm.unmap_ram(3) {
        Err(KvmError::Harness(HarnessError::SlotNotInUse { slot: 3 })) => {}
        result => return Err(format!("unmapping a slot that is not there: {result:?}").into()),
    }
    expect("unmapped base", &vm.unmap_ram(2)?.range().start(), &0x1_0000_0000)
}

fn vcpus_are_checked() -> TestResult {
    let vm = KvmVm::new(guest::layout(2)?.topology)?;
    let mut first = vm.create_vcpu(0)?;
    match vm.create_vcpu(2) {
        Err(KvmError::Harness(HarnessError::NoSuchVcpu { index: 2, count: 2 })) => {}
        result => return Err(format!("a vCPU too many: {result:?}").into()),
    }
    match vm.create_vcpu(0) {
        Err(KvmError::Harness(HarnessError::Request {
            request: "KVM_CREATE_VCPU",
            ..
        })) => {}
        result => return Err(format!("the same vCPU twice: {result:?}").into()),
    }
    let foreign = CpuState::from(boot_core::cpu::riscv64::State::new(0x8000_0000));
    match first.set_state(&foreign) {
        Err(KvmError::Harness(HarnessError::ArchMismatch {
            expected: boot_core::Arch::X86_64,
            found: boot_core::Arch::Riscv64,
        })) => Ok(()),
        result => Err(format!("a state of another architecture: {result:?}").into()),
    }
}
