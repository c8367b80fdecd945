//! Bare machines: doorbells, slots with attributes, dirty logs, capture and rewind.

use std::{error::Error, ops::ControlFlow, sync::Arc, thread};

use boot_core::GuestRange;
use guest_ram::{HostMapping, HugePages, Memfd, MemfdSharing, RamRegion};
use hv_core::{
    BareVcpu, BareVm, DebugRequest, DebugVcpu, DirtyPages, Doorbell, Fault, RegisterImage, SlotAttributes,
    Vcpu, VcpuExit, Vm, run_inline,
};
use hv_kvm_x86::{BareConfig, BareState, HarnessError, KvmBareVcpu, KvmBareVm, KvmError, Msr, MsrAccess};

use crate::{
    guest::{self, CODE, PML4, Test, TestResult, expect},
    guest_code,
};

pub(crate) const TESTS: &[Test] = &[
    ("bare::doorbells_arrive_on_the_callers_thread", doorbells_arrive),
    ("bare::other_accesses_are_no_doorbell", other_accesses),
    ("bare::dirty_log_has_the_written_pages", dirty_log),
    ("bare::read_only_slot_refuses_writes", read_only),
    ("bare::rewind_brings_the_state_back", rewind),
    ("bare::first_step_after_a_rewind_is_the_same", first_step),
    ("bare::rewind_brings_the_clock_back", clock),
    ("bare::rewind_works_on_another_machine", rewind_elsewhere),
    ("bare::rewind_survives_a_kick", rewind_and_kick),
    (
        "bare::rewind_in_the_middle_of_a_string_instruction",
        rewind_in_the_middle,
    ),
    ("bare::rewind_flushes_translations", stale_translation),
    ("bare::reset_is_the_state_after_creation", reset),
    ("bare::guest_sees_its_own_hypervisor", hypervisor_leaf),
    ("bare::kvm_writes_no_guest_memory", paravirtual_clock),
    ("bare::msrs_are_denied", denied_msrs),
    ("bare::use_is_checked", use_is_checked),
];

/// The doorbell of the guests.
const PORT: u16 = 0x6c;

// ```text
// 0x0000   slot 0: page tables, GDT, stack
// 0x8000   slot 1: code, read-only, a sealed memory file
// 0x9000   slot 2: a page of parameters, one without use, and a second root of the page tables at 0xb000
// 0xc000   slot 4: a page of the host, read-only for the guest
// 0x10000  slot 3: 130 pages of memory with a dirty log
// ```
const PARAMETERS: u64 = 0x9000;
const ROOT: u64 = 0xb000;
const FIXED: u64 = 0xc000;
const MEMORY: u64 = 0x1_0000;
const PAGES: usize = 130;
const LOGGED: u32 = 3;

pub(crate) struct Bare {
    vm: KvmBareVm,
    pub(crate) vcpu: KvmBareVcpu,
    parameters: Arc<HostMapping>,
    memory: Arc<HostMapping>,
}

fn region(start: u64, mapping: &Arc<HostMapping>) -> Result<RamRegion, Box<dyn Error>> {
    let range = GuestRange::new(start, mapping.len().try_into()?).ok_or("range")?;
    RamRegion::from_mapping(range, Arc::clone(mapping), 0).ok_or("region".into())
}

/// A machine with `code`, ready to run it.
///
/// It may access MSRs, so that a test can change all of them.
pub(crate) fn bare(code: &[u8]) -> Result<Bare, Box<dyn Error>> {
    bare_with(code, BareConfig::new(PORT).with_msrs(MsrAccess::Allowed))
}

/// As [`bare`], for a machine of `config`.
fn bare_with(code: &[u8], config: BareConfig) -> Result<Bare, Box<dyn Error>> {
    let vm = KvmBareVm::new(config)?;
    let tables = HostMapping::anonymous(0x8000)?;
    guest::write_tables(|address, value| {
        tables.write(usize::try_from(address).unwrap(), &value.to_le_bytes())
    })?;
    let text = Memfd::create(c"text", 0x1000)?;
    HostMapping::shared(&text)?.write(0, code)?;
    text.seal()?;
    let mut image = HostMapping::reserve(0x1000)?;
    image.place_memfd(0..0x1000, &text, 0, MemfdSharing::SharedReadOnly)?;
    let parameters = Arc::new(HostMapping::anonymous(0x3000)?);
    let mut root = [0; 8];
    tables.read(usize::try_from(PML4)?, &mut root)?;
    parameters.write(usize::try_from(ROOT - PARAMETERS)?, &root)?;
    let base = Memfd::create(c"base", PAGES * 0x1000)?;
    let memory = Arc::new(HostMapping::private(&base)?);
    memory.advise_huge_pages(HugePages::Avoid);
    let plain = SlotAttributes::default();
    vm.map_slot(0, region(0, &Arc::new(tables))?, plain)?;
    vm.map_slot(1, region(CODE, &Arc::new(image))?, plain.with_read_only(true))?;
    vm.map_slot(2, region(PARAMETERS, &parameters)?, plain)?;
    let fixed = Arc::new(HostMapping::anonymous(0x1000)?);
    fixed.write(0, b"host")?;
    vm.map_slot(4, region(FIXED, &fixed)?, plain.with_read_only(true))?;
    vm.map_slot(LOGGED, region(MEMORY, &memory)?, plain.with_log_dirty(true))?;
    let mut vcpu = vm.create_vcpu(0)?;
    vcpu.set_state(&guest::long_mode().into())?;
    Ok(Bare {
        vm,
        vcpu,
        parameters,
        memory,
    })
}

impl Bare {
    /// Runs to the next doorbell.
    pub(crate) fn ring(&mut self) -> Result<u64, Box<dyn Error>> {
        match self.vcpu.run()? {
            VcpuExit::Doorbell(value) => Ok(value),
            exit => Err(format!("no doorbell: {exit:?}").into()),
        }
    }

    fn capture(&mut self) -> Result<BareState, KvmError> {
        self.vcpu.capture(&mut RegisterImage::default())
    }

    fn dirty(&self) -> Result<Vec<usize>, KvmError> {
        let mut dirty = DirtyPages::default();
        self.vm.take_dirty(LOGGED, &mut dirty)?;
        assert_eq!(dirty.pages(), PAGES);
        Ok(dirty.iter().collect())
    }
}

fn doorbells_arrive() -> TestResult {
    let mut bare = bare(guest_code::ring())?;
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
    expect("last exit", &last.as_str(), &"Doorbell(3)")
}

fn other_accesses() -> TestResult {
    let mut bare = bare(guest_code::no_ring())?;
    let mut exits = Vec::new();
    for _ in 0..5 {
        exits.push(match bare.vcpu.run()? {
            VcpuExit::IoWrite { port, size, .. } => format!("write {port:#x} {size}"),
            VcpuExit::IoRead { port, size, data } => {
                data.copy_from_slice(&0xfeed_f00d_u32.to_le_bytes());
                format!("read {port:#x} {size}")
            }
            exit => format!("{exit:x?}"),
        });
    }
    let expected = [
        "write 0x6c 1",
        "write 0x6d 4",
        "read 0x6c 4",
        "Doorbell(feedf00d)",
        "Halt",
    ];
    expect("exits", &exits, &expected.map(String::from).to_vec())
}

fn dirty_log() -> TestResult {
    let mut bare = bare(guest_code::write_pages())?;
    expect("before the first run", &bare.dirty()?, &vec![])?;
    for round in 0..3 {
        bare.ring()?;
        // Writes of the host are not logged.
        bare.memory.write(5 * 0x1000, b"host")?;
        expect("written pages", &bare.dirty()?, &vec![0, 1, 64, 129])?;
        expect("logged once", &bare.dirty()?, &vec![])?;
        let mut found = [0; 6];
        bare.memory.read(0xffd, &mut found)?;
        expect(
            &format!("bytes in round {round}"),
            &found,
            &[0, 0x11, 0x11, 0x11, 0x11, 0],
        )?;
    }
    Ok(())
}

fn read_only() -> TestResult {
    let mut bare = bare(guest_code::write_read_only())?;
    // A mapping that the host cannot write either, and one that it can.
    for (address, contents) in [(CODE + 0x800, [0; 4]), (FIXED, *b"host")] {
        match bare.vcpu.run()? {
            VcpuExit::MmioWrite { address: found, data } => {
                expect("address", &found, &address)?;
                expect("data", &data, &&[0x78, 0x56, 0x34, 0x12][..])?;
            }
            exit => return Err(format!("no device access: {exit:?}").into()),
        }
        let found = bare.ring()?;
        expect(
            "what the guest reads",
            &found,
            &u32::from_le_bytes(contents).into(),
        )?;
    }
    match bare.vcpu.run()? {
        VcpuExit::Halt => Ok(()),
        exit => Err(format!("no halt: {exit:?}").into()),
    }
}

fn rewind() -> TestResult {
    for flush in [false, true] {
        let mut bare = bare(guest_code::ring_and_dirty())?;
        expect("first ring", &bare.ring()?, &1)?;
        let saved = bare.capture()?;
        expect("second ring", &bare.ring()?, &2)?;
        let dirty = bare.capture()?;
        for msr in [
            Msr::STAR,
            Msr::LSTAR,
            Msr::SYSCALL_MASK,
            Msr::SYSENTER_CS,
            Msr::PAT,
        ] {
            let values = [&saved, &dirty].map(|state| state.msr(msr));
            if values[0].is_none() || values[0] == values[1] {
                return Err(format!("{msr} is not captured: {values:x?}").into());
            }
        }
        // SWAPGS exchanged it with the base of GS.
        expect("KERNEL_GS_BASE", &dirty.msr(Msr::KERNEL_GS_BASE), &Some(0))?;
        // The address register of machine check bank 0; there is no bank 1.
        let banks = [0x402, 0x406].map(|number| saved.msr(Msr(number)).is_some());
        expect("machine check banks", &banks, &[true, false])?;
        expect("time is no state", &saved.msr(Msr::TSC), &None)?;
        expect("address", &(saved.rip() < dirty.rip()), &true)?;
        bare.vcpu.rewind(&saved, flush)?;
        expect("state after the rewind", &bare.capture()?, &saved)?;
        bare.vcpu.rewind(&saved, flush)?;
        expect("second ring after the rewind", &bare.ring()?, &2)?;
        expect("state after the second ring", &bare.capture()?, &dirty)?;
        // After another exit than the doorbell.
        match bare.vcpu.run()? {
            VcpuExit::Halt => {}
            exit => return Err(format!("no halt: {exit:?}").into()),
        }
        bare.vcpu.rewind(&saved, flush)?;
        expect("second ring after the halt", &bare.ring()?, &2)?;
        expect("state after that", &bare.capture()?, &dirty)?;
        // And forward, to values that a new vCPU does not have.
        bare.vcpu.rewind(&saved, flush)?;
        bare.vcpu.rewind(&dirty, flush)?;
        expect("state after the way forward", &bare.capture()?, &dirty)?;
    }
    Ok(())
}

/// Registers that a run takes from elsewhere than a capture does, such as CR8, are rewound, too.
fn first_step() -> TestResult {
    let mut bare = bare(guest_code::ring_and_dirty())?;
    bare.ring()?;
    let saved = bare.capture()?;
    let mut step = DebugRequest::default();
    step.step = true;
    let mut states = Vec::new();
    for _ in 0..2 {
        bare.vcpu.set_debug(&step)?;
        match bare.vcpu.run()? {
            VcpuExit::Debug(_) => {}
            exit => return Err(format!("no step: {exit:?}").into()),
        }
        states.push(bare.capture()?);
        bare.vcpu.set_debug(&DebugRequest::default())?;
        expect("second ring", &bare.ring()?, &2)?;
        bare.vcpu.rewind(&saved, false)?;
    }
    expect("state after a step", &states[1], &states[0])
}

fn clock() -> TestResult {
    const MOVED: u64 = 0x4000_0000;
    let mut bare = bare(guest_code::move_clock())?;
    bare.ring()?;
    let saved = bare.capture()?;
    for _ in 0..2 {
        expect("the clock is not moved", &(bare.ring()? < MOVED), &true)?;
        // Some hypervisors below this one ignore writes of the counter; then there is nothing to rewind.
        bare.ring()?;
        bare.vcpu.rewind(&saved, false)?;
    }
    Ok(())
}

fn rewind_elsewhere() -> TestResult {
    let code = guest_code::ring_and_dirty();
    let mut first = bare(code)?;
    first.ring()?;
    let saved = first.capture()?;
    first.ring()?;
    let dirty = first.capture()?;
    let mut second = bare(code)?;
    second.vcpu.rewind(&saved, false)?;
    expect("ring of a vCPU that has not run", &second.ring()?, &2)?;
    expect("state", &second.capture()?, &dirty)
}

fn rewind_and_kick() -> TestResult {
    let mut bare = bare(guest_code::ring_and_dirty())?;
    bare.ring()?;
    let saved = bare.capture()?;
    bare.ring()?;
    bare.vcpu.rewind(&saved, true)?;
    bare.vcpu.kicker().kick();
    match bare.vcpu.run()? {
        VcpuExit::Interrupted => {}
        exit => return Err(format!("not interrupted: {exit:?}").into()),
    }
    expect("state after the kick", &bare.capture()?, &saved)?;
    expect("ring after the kick", &bare.ring()?, &2)
}

fn rewind_in_the_middle() -> TestResult {
    let mut bare = bare(guest_code::ring_and_string())?;
    bare.ring()?;
    let saved = bare.capture()?;
    match bare.vcpu.run()? {
        VcpuExit::IoWrite { port: 0x500, .. } => {}
        exit => return Err(format!("no access: {exit:?}").into()),
    }
    bare.vcpu.rewind(&saved, false)?;
    expect("state", &bare.capture()?, &saved)?;
    let mut bytes = 0;
    let value = run_inline(&mut bare.vcpu, |exit| match exit {
        VcpuExit::IoWrite {
            port: 0x500, data, ..
        } => {
            bytes += data.len();
            ControlFlow::Continue(())
        }
        VcpuExit::Doorbell(value) => ControlFlow::Break(Ok(value)),
        exit => ControlFlow::Break(Err(format!("{exit:?}"))),
    })??;
    expect("ring and bytes", &(value, bytes), &(2, 2000))
}

fn stale_translation() -> TestResult {
    let mut bare = bare(guest_code::stale_translation())?;
    bare.ring()?;
    let saved = bare.capture()?;
    expect("ring after the translation was used", &bare.ring()?, &2)?;
    expect("no page is dirty", &bare.dirty()?, &vec![])?;
    bare.parameters.write(0, &[1])?;
    bare.vcpu.rewind(&saved, true)?;
    match bare.vcpu.run()? {
        VcpuExit::MmioRead {
            address: 0xc000_8000, ..
        } => Ok(()),
        exit => Err(format!("the translation was still there: {exit:x?}").into()),
    }
}

fn reset() -> TestResult {
    let mut bare = bare(guest_code::ring_and_dirty())?;
    let fresh = bare.vm.clone();
    drop(fresh);
    bare.ring()?;
    bare.ring()?;
    bare.vcpu.reset()?;
    let after = bare.capture()?;
    let vm = KvmBareVm::new(BareConfig::new(PORT).with_msrs(MsrAccess::Allowed))?;
    let mut vcpu = vm.create_vcpu(0)?;
    expect("state", &after, &vcpu.capture(&mut RegisterImage(vec![1]))?)
}

fn hypervisor_leaf() -> TestResult {
    let mut bare = bare(guest_code::bare_cpuid())?;
    let mut signature = Vec::new();
    for _ in 0..3 {
        signature.extend_from_slice(&u32::try_from(bare.ring()?)?.to_le_bytes());
    }
    expect("signature", &signature.as_slice(), &&b"KVMKVMKVM\0\0\0"[..])?;
    expect("features of KVM", &bare.ring()?, &0)
}

fn paravirtual_clock() -> TestResult {
    let mut bare = bare(guest_code::system_time())?;
    bare.ring()?;
    // The general protection exception has no handler.
    match bare.vcpu.run()? {
        VcpuExit::Fault(Fault::Shutdown | Fault::InternalError { .. }) => {}
        exit => return Err(format!("the register exists: {exit:?}").into()),
    }
    let mut found = [0xff; 32];
    bare.memory.read(0, &mut found)?;
    expect("memory", &found, &[0; 32])
}

/// The guest that changes everything ends at its first MSR, since it has no handler of exceptions. The other register that MSRs and other
/// instructions change comes back.
fn denied_msrs() -> TestResult {
    let mut denied = bare_with(guest_code::ring_and_dirty(), BareConfig::new(PORT))?;
    denied.ring()?;
    let saved = denied.vcpu.capture(&mut RegisterImage::default())?;
    expect("KERNEL_GS_BASE", &saved.msr(Msr::KERNEL_GS_BASE), &Some(0))?;
    expect("other MSRs", &saved.msr(Msr::LSTAR), &None)?;
    match denied.vcpu.run()? {
        VcpuExit::Fault(Fault::Shutdown | Fault::InternalError { .. }) => {}
        exit => return Err(format!("no fault: {exit:?}").into()),
    }
    denied.vcpu.rewind(&saved, true)?;
    expect(
        "state after the fault",
        &denied.vcpu.capture(&mut RegisterImage::default())?,
        &saved,
    )?;
    // The state of a machine with other access is not complete here.
    let mut allowed = bare(guest_code::ring())?;
    match allowed.vcpu.rewind(&saved, true) {
        Err(KvmError::OtherState) => Ok(()),
        result => Err(format!("a state of another kind: {result:?}").into()),
    }
}

fn use_is_checked() -> TestResult {
    let Bare { vm, .. } = bare(guest_code::ring())?;
    expect("doorbell", &vm.abilities().doorbell, &Doorbell::Port(PORT))?;
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
    let error = vm
        .take_dirty(9, &mut DirtyPages::default())
        .err()
        .ok_or("no slot")?;
    let is_right = matches!(error, KvmError::Harness(HarnessError::SlotNotInUse { slot: 9 }));
    failed("unused slot", is_right, &error)?;
    let reserved = Arc::new(HostMapping::anonymous(0x1000)?);
    let reserved = region(KvmBareVm::RESERVED.start(), &reserved)?;
    let error = vm.map_ram(9, reserved).err().ok_or("reserved")?;
    let is_right = matches!(error, KvmError::Harness(HarnessError::RamReserved { .. }));
    failed("reserved addresses", is_right, &error)?;
    let error = vm.set_irq(4, true).err().ok_or("interrupt")?;
    let is_right = matches!(error, KvmError::Harness(HarnessError::Request { .. }));
    failed("interrupt line", is_right, &error)?;
    vm.unmap_ram(LOGGED)?;
    // A fault of the guest, which has no memory.
    let vm = KvmBareVm::new(BareConfig::new(PORT).with_entropy(true))?;
    let mut vcpu = vm.create_vcpu(0)?;
    vcpu.set_state(&guest::long_mode().into())?;
    match vcpu.run()? {
        VcpuExit::Fault(Fault::Shutdown | Fault::InternalError { .. }) => Ok(()),
        exit => Err(format!("no fault: {exit:?}").into()),
    }
}
