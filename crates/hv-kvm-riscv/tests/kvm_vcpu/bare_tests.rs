//! Bare machines: doorbells, slots with attributes, dirty logs, debug exceptions.

use std::{error::Error, ops::ControlFlow, sync::Arc, thread};

use guest_ram::HostMapping;
use hv_core::{
    BackEndCall, BareVcpu as _, BareVm as _, DebugCause, DebugRequest, DebugVcpu as _, DirtyPages, Doorbell,
    Fault, HardwareBreakpoint, RegisterImage, Vcpu as _, VcpuExit, Vm as _, run_inline,
};
use hv_kvm_riscv::{BareConfig, HarnessError, HostCapabilities, KvmBareVm, KvmError, rewind, seed_csr};

use crate::{
    bare_code,
    bare_machine::{Bare, CODE, DOORBELL, LOGGED, REWIND_CODE, REWIND_IMAGE, config, region, ring},
    guest::{Test, TestResult, expect},
    guest_code::Code,
};

pub(crate) const TESTS: &[Test] = &[
    ("bare::doorbells_arrive_on_the_callers_thread", doorbells_arrive),
    ("bare::other_calls_are_no_doorbell", other_calls),
    ("bare::sbi_extensions_are_disabled", disabled_extensions),
    ("bare::dirty_log_has_the_written_pages", dirty_log),
    ("bare::read_only_slot_refuses_writes", read_only),
    ("bare::seed_is_a_fault_unless_configured", seed),
    ("bare::debugger_stops_at_breakpoint_instructions", debug),
    ("bare::rewind_code_is_what_an_assembler_makes", assembled),
    ("bare::use_is_checked", use_is_checked),
];

fn doorbells_arrive(_: &HostCapabilities) -> TestResult {
    let mut bare = Bare::new(&bare_code::count())?;
    let caller = thread::current().id();
    let mut values = Vec::new();
    let last = run_inline(&mut bare.vcpu, |exit| match exit {
        VcpuExit::Doorbell(value) if value < 3 => {
            assert_eq!(thread::current().id(), caller);
            values.push(value);
            ControlFlow::Continue(())
        }
        exit => ControlFlow::Break(format!("{exit:?}")),
    })?;
    expect("values", &values, &vec![0, 1, 2])?;
    expect("last exit", &last.as_str(), &"Doorbell(3)")?;
    Ok(None)
}

/// Other vendor extensions, and other functions of the doorbell's.
fn other_calls(_: &HostCapabilities) -> TestResult {
    for (extension, function) in [(DOORBELL + 1, 0), (DOORBELL, 1)] {
        let mut bare = Bare::new(&bare_code::call(extension, function))?;
        match bare.vcpu.run()? {
            VcpuExit::Fault(fault) => expect(
                "fault",
                &fault,
                &Fault::UnexpectedCall(BackEndCall::Sbi { extension, function }),
            )?,
            exit => return Err(format!("no fault: {exit:?}").into()),
        }
        // SBI_ERR_NOT_SUPPORTED is -2.
        expect("result of the call", &bare.ring()?, &2_u64.wrapping_neg())?;
    }
    Ok(None)
}

fn disabled_extensions(_: &HostCapabilities) -> TestResult {
    for extension in [
        1,           // legacy console
        8,           // legacy shutdown
        0x5449_4d45, // TIME
        0x0073_5049, // IPI
        0x5246_4e43, // RFENCE
        0x0048_534d, // HSM
        0x5352_5354, // SRST
        0x0050_4d55, // PMU
        0x4442_434e, // DBCN
        0x0053_5441, // STA
        0x5355_5350, // SUSP
        0x0800_0000, // experimental
    ] {
        let result = Bare::new(&bare_code::call(extension, 0))?.ring()?;
        expect(
            &format!("result of extension {extension:#x}"),
            &result,
            &2_u64.wrapping_neg(),
        )?;
    }
    // An experimental doorbell is in place of the vendor extensions.
    let config = BareConfig::new(0x0800_0000, REWIND_CODE, REWIND_IMAGE);
    let code = bare_code::call(DOORBELL, 0);
    let code = Code::new().then(code.words()).call(0x0800_0000, 0);
    let result = Bare::with(config, &code, &Code::new())?.ring()?;
    expect("result of a vendor extension", &result, &2_u64.wrapping_neg())?;
    Ok(None)
}

fn dirty_log(_: &HostCapabilities) -> TestResult {
    let mut bare = Bare::new(&bare_code::write_pages())?;
    expect("before the first run", &bare.dirty()?, &vec![])?;
    for round in 0..3 {
        bare.ring()?;
        // Writes of the host are not logged.
        bare.memory.write(5 * 0x1000, b"host")?;
        expect("written pages", &bare.dirty()?, &vec![0, 1, 64, 129])?;
        expect("logged once", &bare.dirty()?, &vec![])?;
        let mut found = [0; 4];
        bare.memory.read(0xff7, &mut found)?;
        expect(&format!("bytes in round {round}"), &found, &[0, 0x11, 0x11, 0])?;
    }
    Ok(None)
}

fn read_only(_: &HostCapabilities) -> TestResult {
    // The guest's code, the rewind code and the register image.
    let addresses = [CODE + 0xc00, REWIND_CODE + 8, REWIND_IMAGE];
    let mut bare = Bare::new(&bare_code::write_and_read(&addresses))?;
    for address in addresses {
        match bare.vcpu.run()? {
            VcpuExit::MmioWrite { address: found, data } => {
                expect("address", &found, &address)?;
                expect("data", &data, &&[0x78, 0x56, 0x34, 0x12][..])?;
            }
            exit => return Err(format!("no device access: {exit:?}").into()),
        }
        let found = bare.ring()?;
        expect("the guest reads something else", &(found != 0x1234_5678), &true)?;
    }
    let mut code = vec![0; rewind::CODE.len()];
    bare.host.read(0, &mut code)?;
    expect("rewind code", &code.as_slice(), &&rewind::CODE[..])?;
    Ok(None)
}

fn seed(_: &HostCapabilities) -> TestResult {
    const ILLEGAL_INSTRUCTION: u64 = 2;
    for entropy in [false, true] {
        let config = config().with_entropy(entropy);
        let mut bare = Bare::with(config, &bare_code::read_seed(), &bare_code::ring_cause())?;
        let number = seed_csr::NUMBER;
        match (bare.vcpu.run()?, entropy) {
            (VcpuExit::Doorbell(ILLEGAL_INSTRUCTION), _) => {
                return Ok(Some("this host's KVM does not have the extension Zkr"));
            }
            (VcpuExit::Fault(Fault::UnexpectedCall(BackEndCall::Csr { number: found })), false)
            | (VcpuExit::Call(BackEndCall::Csr { number: found }), true) => {
                expect("register", &found, &number)?;
            }
            (exit, _) => return Err(format!("entropy {entropy}: {exit:?}").into()),
        }
        expect("the guest continues", &bare.ring()?, &2)?;
    }
    Ok(None)
}

fn debug(_: &HostCapabilities) -> TestResult {
    const BREAKPOINT: u64 = 3;
    let handler = bare_code::ring_cause();
    let code = bare_code::ring_and_break();
    let breakpoint = bare_code::here(&code) - 8;
    let mut bare = Bare::with(config(), &code, &handler)?;
    let mut request = DebugRequest::default();
    request.breakpoint_instructions = true;
    bare.vcpu.set_debug(&request)?;
    expect("ring", &bare.ring()?, &1)?;
    for _ in 0..2 {
        match bare.vcpu.run()? {
            VcpuExit::Debug(stop) => {
                expect("address", &stop.pc, &breakpoint)?;
                expect("cause", &stop.cause, &DebugCause::Breakpoint)?;
            }
            exit => return Err(format!("no stop: {exit:?}").into()),
        }
    }
    // Without a debugger, the guest gets the exception. Its trap vector is that of reset, 0.
    bare.vcpu.set_debug(&DebugRequest::default())?;
    match bare.vcpu.run()? {
        VcpuExit::Fault(Fault::InternalError { pc, .. }) => expect("address of the fault", &pc, &Some(0))?,
        exit => return Err(format!("no fault: {exit:?}").into()),
    }
    let cause = bare.capture()?.raw().scause.get();
    expect("cause that the guest got", &cause, &BREAKPOINT)?;
    let refused = |request: &DebugRequest, bare: &mut Bare| match bare.vcpu.set_debug(request) {
        Err(KvmError::UnsupportedDebug { .. }) => Ok(()),
        result => Err(format!("{request:?}: {result:?}")),
    };
    let mut step = DebugRequest::default();
    step.step = true;
    refused(&step, &mut bare)?;
    let mut hardware = DebugRequest::default();
    hardware.hardware = vec![HardwareBreakpoint::execute(CODE)];
    refused(&hardware, &mut bare)?;
    Ok(None)
}

fn assembled(_: &HostCapabilities) -> TestResult {
    let assembled = crate::bare_assembly::code();
    for (index, (found, expected)) in rewind::CODE.chunks(4).zip(assembled.chunks(4)).enumerate() {
        expect(&format!("instruction {index}"), &found, &expected)?;
    }
    expect("length", &rewind::CODE.len(), &assembled.len())?;
    Ok(None)
}

fn failed(what: &str, is_right: bool, error: &KvmError) -> Result<(), Box<dyn Error>> {
    if is_right {
        Ok(())
    } else {
        Err(format!("{what}: {error:?}").into())
    }
}

fn use_is_checked(_: &HostCapabilities) -> TestResult {
    let Bare { vm, .. } = Bare::new(&bare_code::count())?;
    expect("doorbell", &vm.abilities().doorbell, &Doorbell::Sbi(DOORBELL))?;
    let error = vm.create_vcpu(1).err().ok_or("vCPU 1")?;
    let is_right = matches!(
        error,
        KvmError::Harness(HarnessError::NoSuchVcpu { index: 1, count: 1 })
    );
    failed("vCPU 1", is_right, &error)?;
    let error = vm
        .take_dirty(1, &mut DirtyPages::default())
        .err()
        .ok_or("dirty log")?;
    let is_right = matches!(
        error,
        KvmError::Harness(HarnessError::Request {
            request: "KVM_GET_DIRTY_LOG",
            ..
        })
    );
    failed("slot without a log", is_right, &error)?;
    let error = vm.set_irq(4, true).err().ok_or("interrupt")?;
    failed("interrupt line", matches!(error, KvmError::Irq(_)), &error)?;
    vm.unmap_ram(LOGGED)?;
    let error = KvmBareVm::new(BareConfig::new(0x10, 0, 0))
        .err()
        .ok_or("doorbell")?;
    failed(
        "doorbell",
        matches!(error, KvmError::Doorbell { extension: 0x10 }),
        &error,
    )?;
    // A machine whose owner has not placed the rewind code and the image.
    let vm = KvmBareVm::new(config())?;
    let memory = Arc::new(HostMapping::anonymous(0x1000)?);
    memory.write(0, &ring(Code::new(), 7).bytes())?;
    vm.map_ram(0, region(CODE, &memory)?)?;
    let mut vcpu = vm.create_vcpu(0)?;
    vcpu.set_state(&boot_core::cpu::riscv64::State::new(CODE).into())?;
    match vcpu.run()? {
        VcpuExit::Doorbell(7) => {}
        exit => return Err(format!("no doorbell: {exit:?}").into()),
    }
    let saved = vcpu.capture(&mut RegisterImage::default())?;
    vcpu.rewind(&saved, true)?;
    let error = vcpu.state().err().ok_or("no image")?;
    let is_right = matches!(
        error,
        KvmError::NoRegisterImage {
            address: REWIND_IMAGE
        }
    );
    failed("no register image", is_right, &error)?;
    let error = vcpu.reset().err().ok_or("no code")?;
    let is_right = matches!(
        error,
        KvmError::NoRewindCode {
            address: REWIND_CODE,
            ..
        }
    );
    failed("no rewind code", is_right, &error)?;
    Ok(None)
}
