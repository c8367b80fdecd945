//! Bare machines: doorbells, slots with attributes, dirty logs, kicks.

use std::{error::Error, ops::ControlFlow, sync::Arc, thread, time::Duration};

use guest_ram::HostMapping;
use hv_core::{BareVm, DirtyPages, Doorbell, Fault, SystemEvent, Vcpu, VcpuExit, Vm, run_inline};
use hv_kvm_arm64::{BareConfig, HarnessError, KvmBareVm, KvmError, rewind};

use crate::{
    bare::{self, Bare, CODE, FUNCTION, LOGGED, REWIND_CODE},
    bare_code,
    guest::{Test, TestResult, expect},
    guest_code,
};

pub(crate) const TESTS: &[Test] = &[
    ("bare::doorbells_arrive_on_the_callers_thread", doorbells_arrive),
    (
        "bare::doorbell_at_the_ends_of_the_last_page",
        doorbell_at_the_ends,
    ),
    ("bare::other_accesses_are_no_doorbell", other_accesses),
    ("bare::other_calls_are_not_supported", other_calls),
    ("bare::firmware_calls_are_exits", firmware_calls),
    ("bare::dirty_log_has_the_written_pages", dirty_log),
    ("bare::read_only_slots_refuse_writes", read_only),
    ("bare::kick_ends_a_loop_and_a_wait", kick),
    ("bare::use_is_checked", use_is_checked),
];

fn doorbells_arrive() -> TestResult {
    for config in bare::configs()? {
        let mut bare = Bare::new(bare_code::ring_and_count(), config)?;
        let caller = thread::current().id();
        let mut rings = 0;
        let last = run_inline(&mut bare.vcpu, |exit| match exit {
            VcpuExit::Doorbell(0) if rings < 3 => {
                assert_eq!(thread::current().id(), caller);
                rings += 1;
                ControlFlow::Continue(())
            }
            exit => ControlFlow::Break(format!("{exit:?}")),
        })?;
        expect("last exit", &last.as_str(), &"Doorbell(0)")?;
        expect("count of the guest", &bare.x(19)?, &4)?;
    }
    Ok(None)
}

fn doorbell_at_the_ends() -> TestResult {
    let page = bare::last_page()?;
    for address in [page, page + 0xfff] {
        let config = BareConfig::new(FUNCTION, address).with_hvc(false);
        let mut bare = Bare::new(bare_code::ring_and_count(), config)?;
        expect(
            "doorbell",
            &bare.vm.abilities().doorbell,
            &Doorbell::Mmio(address),
        )?;
        for count in 1..4 {
            bare.ring()?;
            expect("count of the guest", &bare.x(19)?, &count)?;
        }
    }
    Ok(None)
}

fn other_accesses() -> TestResult {
    let address = bare::last_page()? + 8;
    let config = BareConfig::new(FUNCTION, address).with_hvc(false);
    let mut bare = Bare::new(bare_code::near_doorbell(), config)?;
    let mut exits = Vec::new();
    for _ in 0..4 {
        exits.push(match bare.vcpu.run()? {
            VcpuExit::MmioRead { address, data } => {
                data.fill(0x33);
                format!("read {address:#x} {}", data.len())
            }
            VcpuExit::MmioWrite { address, data } => format!("write {address:#x} {data:x?}"),
            exit => format!("{exit:x?}"),
        });
    }
    let expected = vec![
        format!("write {:#x} [11]", address - 1),
        format!("read {address:#x} 1"),
        format!("write {:#x} [34]", address - 1),
        "Doorbell(0)".into(),
    ];
    expect("exits", &exits, &expected)?;
    Ok(None)
}

/// The value of X19 when the guest rings after the call `function`.
fn result_of(function: u64, config: BareConfig) -> Result<u64, Box<dyn Error>> {
    let mut bare = Bare::new(bare_code::call(), config)?;
    let mut state = bare::entry(&bare.vm);
    state.x[0] = function;
    bare.vcpu.set_state(&state.into())?;
    bare.ring()
        .map_err(|error| format!("{function:#x} with {config:x?}: {error}"))?;
    bare.x(19)
}

fn other_calls() -> TestResult {
    const NOT_SUPPORTED: u64 = u64::MAX;
    for config in bare::configs()? {
        for function in [
            // TRNG_VERSION, stolen time, features and clock of KVM, the number before the doorbell.
            0x8400_0050,
            0xc500_0020,
            0x8600_0000,
            0x8600_0001,
            0xc600_5341,
            // SYSTEM_SUSPEND.
            0xc400_000e,
        ] {
            let result = result_of(function, config)?;
            expect(&format!("{function:#x}"), &result, &NOT_SUPPORTED)?;
        }
        // Numbers have 32 bits; PSCI_VERSION is 1.0 at least.
        let version = result_of(0x8400_0000, config)?;
        expect("PSCI version", &(version >> 16), &1)?;
        // TRNG_VERSION, where the kernel has random numbers.
        let version = result_of(0x8400_0050, config.with_entropy(true))?;
        if version != NOT_SUPPORTED {
            expect("TRNG version", &version, &0x1_0000)?;
        }
    }
    Ok(None)
}

fn firmware_calls() -> TestResult {
    for config in bare::configs()? {
        for (function, expected) in [
            (0x8400_0008, SystemEvent::PowerOff),
            (0x8400_0009, SystemEvent::Reset),
            (0x8400_0002, SystemEvent::PowerOff),
        ] {
            let mut bare = Bare::new(bare_code::call(), config)?;
            let is_forwarded = matches!(bare.vm.abilities().doorbell, Doorbell::Hvc(_));
            let mut state = bare::entry(&bare.vm);
            state.x[0] = function;
            bare.vcpu.set_state(&state.into())?;
            if function == 0x8400_0002 && !is_forwarded {
                kicked(&mut bare)?;
                continue;
            }
            match bare.vcpu.run()? {
                VcpuExit::System(event) if event == expected => {}
                exit => return Err(format!("{function:#x}: {exit:?}").into()),
            }
        }
    }
    Ok(None)
}

fn dirty_log() -> TestResult {
    for config in bare::configs()? {
        let mut bare = Bare::new(bare_code::write_pages(), config)?;
        let page = usize::try_from(bare.vm.abilities().page_size)?;
        let mut expected: Vec<_> = [0, 0x1000, 0x4_0000, 0x8_1000].map(|at| at / page).into();
        expected.dedup();
        expect("before the first run", &bare.dirty()?, &vec![])?;
        for round in 0..3 {
            bare.ring()?;
            // Writes of the host are not logged.
            bare.memory.write(0x2_0000, b"host")?;
            expect("written pages", &bare.dirty()?, &expected)?;
            expect("logged once", &bare.dirty()?, &vec![])?;
            let mut found = [0; 4];
            bare.memory.read(0xffe, &mut found)?;
            expect(&format!("bytes in round {round}"), &found, &[0, 0x11, 0x11, 0])?;
        }
    }
    Ok(None)
}

fn read_only() -> TestResult {
    for config in bare::configs()? {
        let mut bare = Bare::new(bare_code::write_read_only(), config)?;
        // A mapping that the host cannot write either, and one that it can.
        let [b0, b1, b2, b3, ..] = rewind::CODE;
        for (address, contents) in [(CODE + 0x800, [0; 4]), (REWIND_CODE, [b0, b1, b2, b3])] {
            match bare.vcpu.run()? {
                VcpuExit::MmioWrite { address: found, data } => {
                    expect("address", &found, &address)?;
                    expect("data", &data, &&[0x78, 0x56, 0x34, 0x12][..])?;
                }
                exit => return Err(format!("no device access: {exit:?}").into()),
            }
            bare.ring()?;
            let expected = u32::from_le_bytes(contents).into();
            expect("what the guest reads", &bare.x(19)?, &expected)?;
        }
        bare.ring()?;
        expect("after cache maintenance", &bare.x(19)?, &7)?;
        match bare.vcpu.run()? {
            VcpuExit::Fault(Fault::NoSyndrome { address, .. }) => expect("address", &address, &REWIND_CODE)?,
            exit => return Err(format!("no fault: {exit:?}").into()),
        }
    }
    Ok(None)
}

/// Checks that a guest that does not end is interrupted by a kick.
pub(crate) fn kicked(bare: &mut Bare) -> Result<(), Box<dyn Error>> {
    let kicker = bare.vcpu.kicker();
    thread::scope(|scope| {
        scope.spawn(move || {
            thread::sleep(Duration::from_millis(100));
            kicker.kick();
        });
        match bare.vcpu.run()? {
            VcpuExit::Interrupted => Ok(()),
            exit => Err(format!("not interrupted: {exit:?}").into()),
        }
    })
}

fn kick() -> TestResult {
    for code in [guest_code::spin(), guest_code::halt()] {
        let [config, _] = bare::configs()?;
        let mut bare = Bare::new(code, config)?;
        kicked(&mut bare)?;
        bare.vcpu.kicker().kick();
        match bare.vcpu.run()? {
            VcpuExit::Interrupted => {}
            exit => return Err(format!("not interrupted: {exit:?}").into()),
        }
        kicked(&mut bare)?;
    }
    Ok(None)
}

fn use_is_checked() -> TestResult {
    let [config, mmio] = bare::configs()?;
    let Bare { vm, .. } = Bare::new(bare_code::ring_at_once(), config)?;
    let failed = |what: &str, is_right: bool, error: &KvmError| {
        if is_right {
            Ok(())
        } else {
            Err(format!("{what}: {error:?}"))
        }
    };
    let error = vm.create_vcpu(1).err().ok_or("vCPU 1")?;
    let is_right = matches!(
        error,
        KvmError::Harness(HarnessError::NoSuchVcpu { index: 1, count: 1 })
    );
    failed("vCPU 1", is_right, &error)?;
    let take = |slot| vm.take_dirty(slot, &mut DirtyPages::default()).err();
    let error = take(1).ok_or("dirty log")?;
    let is_right = matches!(
        error,
        KvmError::Harness(HarnessError::Request {
            request: "KVM_GET_DIRTY_LOG",
            ..
        })
    );
    failed("slot without a log", is_right, &error)?;
    let error = take(9).ok_or("no slot")?;
    let is_right = matches!(error, KvmError::Harness(HarnessError::SlotNotInUse { slot: 9 }));
    failed("unused slot", is_right, &error)?;
    let error = vm.set_irq(4, true).err().ok_or("interrupt")?;
    let is_right = matches!(error, KvmError::Harness(HarnessError::Request { .. }));
    failed("interrupt line", is_right, &error)?;
    vm.unmap_ram(LOGGED)?;
    // The page of the doorbell, if it is an address.
    let page = Arc::new(HostMapping::anonymous(0x1_0000)?);
    let start = bare::last_page()? & !0xffff;
    let with_address = KvmBareVm::new(mmio)?;
    let error = with_address
        .map_ram(0, bare::region(start, &page)?)
        .err()
        .ok_or("reserved")?;
    let is_right = matches!(error, KvmError::Harness(HarnessError::RamReserved { .. }));
    failed("page of the doorbell", is_right, &error)?;
    if let Doorbell::Hvc(_) = vm.abilities().doorbell {
        vm.map_ram(0x10, bare::region(start, &page)?)?;
        // SMCCC_VERSION is a call that KVM does not forward.
        let error = KvmBareVm::new(BareConfig::new(0x8000_0000, 0))
            .err()
            .ok_or("doorbell")?;
        let is_right = matches!(error, KvmError::Harness(HarnessError::Request { .. }));
        failed("call that KVM handles", is_right, &error)?;
    }
    Ok(None)
}
