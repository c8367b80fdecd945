//! Devices, interrupts and what the guest sees of its CPU.

use std::sync::Arc;

use hv_core::{AddressSpace, Bus, DebugExitDevice, Milestone, Outcome, Timeline};
use hv_kvm_test::Recorder;
use hv_kvm_x86::{Layout, MpState, Topology, board_on_kvm};

use crate::{
    guest::{self, Console, Test, TestResult, expect},
    guest_code,
};

pub(crate) const TESTS: &[Test] = &[
    ("device::pio_echo", pio_echo),
    ("device::mmio_first_and_last_byte_of_a_page", mmio_edges),
    ("device::mmio_across_pages_is_split", mmio_straddle),
    ("device::exit_page", exit_page),
    ("device::console_and_milestones", console),
    ("device::serial_interrupt", serial_interrupt),
    ("device::timer_interrupt_wakes_hlt", timer_interrupt),
    ("device::i8042_reset", i8042_reset),
    ("device::cpuid_is_the_vcpus_own", cpuid),
    ("device::firmware_state", firmware_state),
];

fn pio_echo() -> TestResult {
    let string: Vec<u8> = (0x40..0x50).collect();
    let mut answers = vec![0x10, 0xff, 0x20, 0xff, 0xff, 0xff, 0x30];
    answers.extend(&string);
    let recorder = Recorder::with_bytes(&answers);
    let (mut pc, _memory) = guest::pc(guest_code::pio_echo(), 1, guest::devices())?;
    pc.bus_mut()
        .insert(AddressSpace::Pio, 0x500, 4, recorder.clone())?;
    expect(
        "outcome",
        &pc.boot(&guest::long_mode().into(), &hv_kvm_test::run_config())?,
        &Outcome::DebugExit(0),
    )?;
    let mut expected = vec![vec![0x11], vec![0x00, 0x21], vec![0x00, 0x00, 0x00, 0x31]];
    expected.extend(string.chunks(2).map(<[u8]>::to_vec));
    expect("writes", &recorder.take_data(), &expected)
}

fn mmio_edges() -> TestResult {
    let page = Recorder::with_pattern(1);
    let (mut pc, _memory) = guest::pc(guest_code::mmio_edges(), 1, guest::devices())?;
    pc.bus_mut()
        .insert(AddressSpace::Mmio, 0xd000_0000, 0x1000, page.clone())?;
    // Byte 0 reads 0x01, byte 0xfff reads 0x00; bytes 8 to 11 read 09 0a 0b 0c.
    let outcome = pc.boot(&guest::long_mode().into(), &hv_kvm_test::run_config())?;
    expect("outcome", &outcome, &Outcome::DebugExit(0x0c0b_0a09))?;
    let writes = page.take_writes();
    expect("writes", &writes, &vec![(0, vec![1]), (0xfff, vec![1])])
}

fn mmio_straddle() -> TestResult {
    let (mut pc, _memory) = guest::pc(guest_code::mmio_straddle(), 1, guest::devices())?;
    // Only the first page has a device: bytes 0xffe and 0xfff read ff 00, no device has the next two.
    pc.bus_mut()
        .insert(AddressSpace::Mmio, 0xd000_0000, 0x1000, Recorder::with_pattern(1))?;
    let outcome = pc.boot(&guest::long_mode().into(), &hv_kvm_test::run_config())?;
    expect("outcome", &outcome, &Outcome::DebugExit(0xffff_00ff))
}

fn exit_page() -> TestResult {
    let devices = guest::devices().with_exit_page(Some(0xd000_0000));
    let (mut pc, _memory) = guest::pc(guest_code::exit_page(), 1, devices)?;
    let outcome = pc.boot(&guest::long_mode().into(), &hv_kvm_test::run_config())?;
    expect("outcome", &outcome, &Outcome::DebugExit(0xc0de))
}

fn console() -> TestResult {
    let console = Console::default();
    let timeline = Arc::new(Timeline::new());
    let devices = guest::devices()
        .with_console(console.clone())
        .with_observer(timeline.clone());
    let (mut pc, _memory) = guest::pc(guest_code::console(), 1, devices)?;
    let run_config = hv_kvm_test::run_config().with_observer(timeline.clone());
    expect(
        "outcome",
        &pc.boot(&guest::long_mode().into(), &run_config)?,
        &Outcome::DebugExit(0),
    )?;
    expect("console", &console.bytes(), &b"ok".to_vec())?;
    let reached: Vec<_> = timeline
        .entries()
        .into_iter()
        .map(|(milestone, _)| milestone)
        .collect();
    expect(
        "milestones",
        &reached,
        &vec![Milestone::Started, Milestone::FirstConsoleByte, Milestone::Ended],
    )
}

fn serial_interrupt() -> TestResult {
    let (mut pc, _memory) = guest::pc(guest_code::serial_irq(), 1, guest::devices())?;
    let input = pc.console_input().ok_or("the machine has a console")?;
    input.push(b"q")?;
    let outcome = pc.boot(&guest::long_mode().into(), &hv_kvm_test::run_config())?;
    expect("outcome", &outcome, &Outcome::DebugExit(b'q'.into()))
}

fn timer_interrupt() -> TestResult {
    expect(
        "outcome",
        &guest::run(guest_code::timer_irq(), guest::long_mode())?,
        &Outcome::DebugExit(0x71),
    )
}

fn i8042_reset() -> TestResult {
    expect(
        "outcome",
        &guest::run(guest_code::i8042_reset(), guest::long_mode())?,
        &Outcome::Reset,
    )
}

/// Every vCPU sees its own APIC id and the topology it was made with, in leaf 1 and leaf 0xb.
fn cpuid() -> TestResult {
    let memory = guest::memory(guest_code::cpuid())?;
    let mut pc = board_on_kvm(&memory, &Layout::new(Topology::new(4, 2)?), guest::devices())?;
    let questions: [u32; 9] = [1, 0, 0xb, 0, 0xb, 1, 0xb, 2, u32::MAX];
    let answers: Vec<u8> = questions.iter().flat_map(|word| word.to_le_bytes()).collect();
    for index in 0..4_u32 {
        let recorder = Recorder::with_bytes(&answers);
        let mut bus = Bus::new();
        bus.insert(AddressSpace::Pio, 0x500, 4, recorder.clone())?;
        bus.insert(AddressSpace::Pio, 0xf4, 1, DebugExitDevice)?;
        let at = usize::try_from(index)?;
        let vcpu = pc.vcpus_mut().get_mut(at..=at).ok_or("the vCPU is there")?;
        if let [vcpu] = &mut *vcpu {
            // A secondary vCPU is started by hand instead of by SIPI.
            let mut state = vcpu.save_state()?;
            state.mp_state = MpState::RUNNABLE;
            vcpu.restore_state(&state)?;
        }
        let outcome = hv_core::boot(vcpu, &guest::long_mode().into(), &bus, &hv_kvm_test::run_config())?;
        expect("outcome", &outcome, &Outcome::DebugExit(0xff))?;
        let words: Vec<u32> = recorder
            .take_data()
            .iter()
            .map(|bytes| {
                bytes
                    .iter()
                    .rev()
                    .fold(0, |word, &byte| word << 8 | u32::from(byte))
            })
            .collect();
        let [_, leaf1_ebx, leaf1_ecx, leaf1_edx, rest @ ..] = words.as_slice() else {
            return Err(format!("too few answers: {words:x?}").into());
        };
        expect("APIC id and thread count", &(leaf1_ebx >> 16), &(index << 8 | 4))?;
        expect("hypervisor bit", &(leaf1_ecx >> 31), &1)?;
        expect("HTT bit", &(leaf1_edx >> 28 & 1), &1)?;
        let topology = [1, 2, 0x100, index, 2, 4, 0x201, index, 0, 0, 2, index];
        expect("leaf 0xb", &rest, &&topology[..])?;
    }
    Ok(())
}

fn firmware_state() -> TestResult {
    let recorder = Recorder::default();
    let (mut pc, _memory) = guest::pc(guest_code::firmware_state(), 1, guest::devices())?;
    pc.bus_mut()
        .insert(AddressSpace::Pio, 0x500, 4, recorder.clone())?;
    pc.boot(&guest::long_mode().into(), &hv_kvm_test::run_config())?;
    let written = recorder.take_data();
    let expected: Vec<Vec<u8>> = [0x806_u32, 1, 0x700, 0x400]
        .iter()
        .map(|word| word.to_le_bytes().to_vec())
        .collect();
    expect("MTRR_DEF_TYPE, MISC_ENABLE, LINT0, LINT1", &written, &expected)
}
