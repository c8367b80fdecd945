//! Bare machines: capture, rewind and reset.

use std::{
    error::Error,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use hv_core::{BareVm, Doorbell, Fault, RegisterImage, SystemEvent, Vcpu, VcpuExit, Vm};
use hv_kvm_arm64::{
    BareConfig, KvmBareVm, KvmError, Register, RegisterValue,
    rewind::{self, Image, ImageRegister},
};

use crate::{
    bare::{self, Bare, Captured, FUNCTION, PLAIN, REWIND_CODE, REWIND_IMAGE},
    bare_code, bare_tests,
    guest::{Check, Test, TestResult, expect},
};

pub(crate) const TESTS: &[Test] = &[
    ("bare_rewind::code_is_what_the_assembler_makes", golden),
    ("bare_rewind::all_registers_come_back", all_registers),
    ("bare_rewind::guest_continues_after_the_doorbell", continues),
    ("bare_rewind::another_machine_continues", elsewhere),
    ("bare_rewind::translations_are_flushed", translations),
    ("bare_rewind::after_every_exit", after_every_exit),
    ("bare_rewind::pending_kick_is_not_lost", pending_kick),
    ("bare_rewind::kicks_while_registers_are_loaded", kicks),
    ("bare_rewind::state_can_be_set_after_a_rewind", set_state),
    ("bare_rewind::reset_is_the_state_after_creation", reset),
    ("bare_rewind::missing_memory_is_an_error", missing_memory),
];

/// The value of `register` in `captured`.
fn value(captured: &Captured, register: ImageRegister) -> RegisterValue {
    let bytes = captured
        .image
        .0
        .get(register.offset..register.offset + register.register.size());
    RegisterValue::from_bytes(bytes.unwrap_or_default())
}

/// The registers of every CPU, with two breakpoints and two watchpoints.
fn registers() -> impl Iterator<Item = ImageRegister> {
    Image::registers(0, 2, 2)
}

fn expect_same(what: &str, found: &Captured, expected: &Captured) -> Check {
    for register in registers() {
        let of = format!("{what}: {}", register.register);
        expect(&of, &value(found, register), &value(expected, register))?;
    }
    expect(what, found, expected)
}

fn all_registers() -> TestResult {
    for config in bare::configs()? {
        for flush in [false, true] {
            let mut bare = Bare::new(bare_code::ring_and_dirty(), config)?;
            bare.ring()?;
            let saved = bare.capture()?;
            expect("the host completes a rewind", &saved.state.needs_host(), &true)?;
            expect_same("captured again", &bare.capture()?, &saved)?;
            bare.ring()?;
            let dirty = bare.capture()?;
            for register in registers() {
                let is_fixed = [
                    Register::MDCCINT_EL1,
                    Register::AMAIR_EL1,
                    Register::AFSR0_EL1,
                    Register::AFSR1_EL1,
                    // The number and the address of the doorbell.
                    Register::x(0).ok_or("X0")?,
                    Register::x(20).ok_or("X20")?,
                    Register::x(21).ok_or("X21")?,
                ]
                .contains(&register.register);
                if !is_fixed && value(&saved, register) == value(&dirty, register) {
                    return Err(format!("the guest does not change {}", register.register).into());
                }
            }
            expect("the state differs", &(saved.state == dirty.state), &false)?;
            bare.rewind(&saved, flush)?;
            expect_same("after the rewind", &bare.capture()?, &saved)?;
            bare.rewind(&saved, flush)?;
            bare.ring()?;
            expect_same("after the second ring", &bare.capture()?, &dirty)?;
            // And forward, to values that a new vCPU does not have; twice without a run between.
            bare.rewind(&saved, flush)?;
            bare.rewind(&dirty, flush)?;
            expect_same("after the way forward", &bare.capture()?, &dirty)?;
        }
    }
    Ok(None)
}

fn continues() -> TestResult {
    for config in bare::configs()? {
        for flush in [false, true] {
            let mut bare = Bare::new(bare_code::quick_ring_and_count(), config)?;
            bare.ring()?;
            let saved = bare.capture()?;
            expect("the host completes a rewind", &saved.state.needs_host(), &false)?;
            bare.ring()?;
            let next = bare.capture()?;
            for _ in 0..3 {
                bare.ring()?;
                bare.rewind(&saved, flush)?;
                bare.ring()?;
                expect_same("the next ring", &bare.capture()?, &next)?;
            }
            bare.rewind(&saved, flush)?;
            expect_same("before a run", &bare.capture()?, &saved)?;
            bare.ring()?;
            expect_same("after a capture", &bare.capture()?, &next)?;
        }
    }
    Ok(None)
}

fn elsewhere() -> TestResult {
    for config in bare::configs()? {
        for code in [bare_code::ring_and_dirty(), bare_code::quick_ring_and_count()] {
            let mut first = Bare::new(code, config)?;
            first.ring()?;
            let saved = first.capture()?;
            first.ring()?;
            let next = first.capture()?;
            let mut second = Bare::new(code, config)?;
            second.rewind(&saved, false)?;
            second.ring()?;
            expect_same(
                "state of a vCPU that has not run before",
                &second.capture()?,
                &next,
            )?;
        }
    }
    Ok(None)
}

/// Translation tables at [`PLAIN`]: identity for 0x8000_0000 and, as device memory, 0x4000_0000; a table for 0xc000_0000 with one empty entry.
fn write_tables(bare: &Bare) -> Result<(), Box<dyn Error>> {
    const NORMAL_BLOCK: u64 = 0x701;
    const DEVICE_BLOCK: u64 = 0x405;
    const TABLE: u64 = 3;
    for (at, descriptor) in [
        (0x8, 0x4000_0000 | DEVICE_BLOCK),
        (0x10, 0x8000_0000 | NORMAL_BLOCK),
        (0x18, (PLAIN + 0x1000) | TABLE),
        (0x1000, (PLAIN + 0x2000) | TABLE),
    ] {
        bare.plain.write(at, &descriptor.to_le_bytes())?;
    }
    Ok(())
}

fn translations() -> TestResult {
    let [config, _] = bare::configs()?;
    let mmio = BareConfig::new(FUNCTION, 0x4000_0000)
        .with_hvc(false)
        .with_rewind(REWIND_CODE, REWIND_IMAGE);
    for config in [config, mmio] {
        let mut bare = Bare::new(bare_code::map_and_read(), config)?;
        write_tables(&bare)?;
        bare.plain.write(0x9000, &0x1234_5678_u64.to_le_bytes())?;
        let page = (PLAIN + 0x9000) | 0x703;
        bare.plain.write(0x8000, &page.to_le_bytes())?;
        bare.ring()?;
        let saved = bare.capture()?;
        expect("the host completes a rewind", &saved.state.needs_host(), &false)?;
        for _ in 0..3 {
            bare.plain.write(0x8000, &page.to_le_bytes())?;
            bare.ring()?;
            expect("value", &bare.x(19)?, &0x1234_5678)?;
            expect("no page is dirty", &bare.dirty()?, &vec![])?;
            // The host takes the page away again.
            bare.plain.write(0x2000, &[0; 8])?;
            bare.plain.write(0x8000, &[0; 8])?;
            bare.rewind(&saved, true)?;
            bare.ring()?;
            // ESR_EL1: data abort, a read, translation fault of level 3.
            expect("syndrome", &bare.x(19)?, &0x9600_0007)?;
            bare.rewind(&saved, true)?;
        }
    }
    Ok(None)
}

fn after_every_exit() -> TestResult {
    for config in bare::configs()? {
        let mut bare = Bare::new(bare_code::quick_ring_and_end(), config)?;
        let is_forwarded = matches!(bare.vm.abilities().doorbell, Doorbell::Hvc(_));
        bare.ring()?;
        let saved = bare.capture()?;
        for end in 0..=6_u32 {
            bare.plain.write(0, &end.to_le_bytes())?;
            if matches!((end, is_forwarded), (2, false) | (5 | 6, _)) {
                bare_tests::kicked(&mut bare)?;
            } else {
                let is_right = match (end, bare.vcpu.run()?) {
                    (0 | 2, VcpuExit::System(SystemEvent::PowerOff))
                    | (1, VcpuExit::System(SystemEvent::Reset))
                    | (
                        3,
                        VcpuExit::MmioRead {
                            address: 0x4000_0008, ..
                        },
                    )
                    | (
                        4,
                        VcpuExit::Fault(Fault::NoSyndrome {
                            address: 0x4000_0008, ..
                        }),
                    ) => true,
                    (_, exit) => return Err(format!("end {end}: {exit:?}").into()),
                };
                expect("exit", &is_right, &true)?;
            }
            // With and without a look at the state before the next run.
            bare.rewind(&saved, false)?;
            expect_same(&format!("after end {end}"), &bare.capture()?, &saved)?;
            bare.plain.write(0, &3_u32.to_le_bytes())?;
            match bare.vcpu.run()? {
                VcpuExit::MmioRead { .. } => {}
                exit => return Err(format!("the vCPU does not run after end {end}: {exit:?}").into()),
            }
            bare.rewind(&saved, false)?;
            match bare.vcpu.run()? {
                VcpuExit::MmioRead { .. } => {}
                exit => return Err(format!("the vCPU does not run after a read: {exit:?}").into()),
            }
            bare.rewind(&saved, false)?;
        }
    }
    Ok(None)
}

fn pending_kick() -> TestResult {
    for config in bare::configs()? {
        let mut bare = Bare::new(bare_code::quick_ring_and_count(), config)?;
        bare.ring()?;
        let saved = bare.capture()?;
        for captures in [false, true] {
            bare.ring()?;
            bare.rewind(&saved, true)?;
            bare.vcpu.kicker().kick();
            if captures {
                // The code runs for this, and the kick stays.
                expect_same("before the kick", &bare.capture()?, &saved)?;
            }
            match bare.vcpu.run()? {
                VcpuExit::Interrupted => {}
                exit => return Err(format!("not interrupted: {exit:?}").into()),
            }
            expect_same("after the kick", &bare.capture()?, &saved)?;
            bare.ring()?;
            expect("count", &bare.x(19)?, &1)?;
        }
    }
    Ok(None)
}

fn kicks() -> TestResult {
    for config in bare::configs()? {
        let mut bare = Bare::new(bare_code::quick_ring_and_spin(), config)?;
        bare.ring()?;
        let saved = bare.capture()?;
        let (kicker, done) = (bare.vcpu.kicker(), AtomicBool::new(false));
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut pause = 0;
                while !done.load(Ordering::Acquire) {
                    kicker.kick();
                    pause = (pause + 7) % 300;
                    thread::sleep(Duration::from_micros(pause));
                }
            });
            let mut check = || -> Check {
                for _ in 0..300 {
                    bare.rewind(&saved, true)?;
                    match bare.vcpu.run()? {
                        VcpuExit::Interrupted => {}
                        exit => return Err(format!("not interrupted: {exit:?}").into()),
                    }
                    expect_same("after a kick", &bare.capture()?, &saved)?;
                }
                Ok(())
            };
            let result = check();
            done.store(true, Ordering::Release);
            result
        })?;
    }
    Ok(None)
}

/// A boot state after a rewind changes the registers it has, and no other.
fn set_state() -> TestResult {
    for config in bare::configs()? {
        let mut bare = Bare::new(bare_code::ring_and_dirty(), config)?;
        bare.ring()?;
        let saved = bare.capture()?;
        bare.ring()?;
        bare.rewind(&saved, true)?;
        let before = bare.vcpu.state()?;
        bare.rewind(&saved, true)?;
        bare.vcpu.set_state(&before)?;
        expect_same("the same state", &bare.capture()?, &saved)?;
        bare.vcpu.set_state(&bare::entry(&bare.vm).into())?;
        bare.ring()?;
        expect_same("from the start", &bare.capture()?, &saved)?;
    }
    Ok(None)
}

fn reset() -> TestResult {
    for config in bare::configs()? {
        let mut bare = Bare::new(bare_code::ring_and_dirty(), config)?;
        bare.ring()?;
        bare.ring()?;
        let dirty = bare.capture()?;
        let vm = KvmBareVm::new(config)?;
        let mut image = RegisterImage(vec![1]);
        let state = hv_core::BareVcpu::capture(&mut vm.create_vcpu(0)?, &mut image)?;
        let fresh = Captured { state, image };
        bare.vcpu.reset()?;
        expect_same("after a reset", &bare.capture()?, &fresh)?;
        bare.rewind(&dirty, true)?;
        bare.vcpu.reset()?;
        expect_same("after a reset of a rewind", &bare.capture()?, &fresh)?;
        bare.vcpu.set_state(&bare::entry(&bare.vm).into())?;
        bare.ring()?;
    }
    Ok(None)
}

fn missing_memory() -> TestResult {
    let [config, _] = bare::configs()?;
    let mut bare = Bare::new(bare_code::quick_ring_and_count(), config)?;
    bare.ring()?;
    let saved = bare.capture()?;
    let image = bare.vm.unmap_ram(4)?;
    match bare.rewind(&saved, true) {
        Err(error)
            if matches!(
                error.downcast_ref(),
                Some(KvmError::RewindImageMissing {
                    address: REWIND_IMAGE
                })
            ) => {}
        result => return Err(format!("no image: {result:?}").into()),
    }
    bare.vm.map_ram(4, image)?;
    // A vCPU looks at the code once.
    let mut bare = Bare::new(
        bare_code::quick_ring_and_count(),
        config.with_rewind(PLAIN, REWIND_IMAGE),
    )?;
    match bare.rewind(&saved, true) {
        Err(error)
            if matches!(
                error.downcast_ref(),
                Some(KvmError::RewindCodeMissing { address: PLAIN })
            ) => {}
        result => return Err(format!("no code: {result:?}").into()),
    }
    bare.plain.write(0, &rewind::CODE)?;
    bare.rewind(&saved, true)?;
    bare.ring()?;
    expect("count", &bare.x(19)?, &1)?;
    Ok(None)
}

/// The code as text.
fn golden() -> TestResult {
    expect("code", &bare_code::rewind_code(), &&rewind::CODE[..])?;
    Ok(None)
}
