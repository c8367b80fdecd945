//! Devices, interrupts and what the guest sees of its CPU.

use std::{
    mem,
    sync::{Arc, Mutex},
};

use hv_core::{Bus, Device, DeviceError, ExitPort, Milestone, Outcome, Policy, Space, Timeline, Verdict};
use hv_kvm_x86::{Activity, PcDevices, SerialPort, Topology, board_on_kvm};

use crate::{
    asm,
    guest::{self, Console, Test, TestResult, expect},
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

/// Answers reads from a list, then with zeros, and records writes.
#[derive(Clone, Default)]
pub(crate) struct Recorder(Arc<Mutex<Record>>);

#[derive(Default)]
struct Record {
    answers: Vec<u8>,
    writes: Vec<Vec<u8>>,
}

impl Recorder {
    fn answering(answers: &[u8]) -> Self {
        Self(Arc::new(Mutex::new(Record {
            answers: answers.to_vec(),
            writes: Vec::new(),
        })))
    }

    pub(crate) fn take(&self) -> Vec<Vec<u8>> {
        mem::take(&mut self.0.lock().expect("no test panics with the lock held").writes)
    }
}

impl Device for Recorder {
    fn read(&mut self, _offset: u64, data: &mut [u8]) -> Result<(), DeviceError> {
        let answers = &mut self.0.lock().expect("no test panics with the lock held").answers;
        let known = data.len().min(answers.len());
        for (byte, answer) in data.iter_mut().zip(answers.drain(..known)) {
            *byte = answer;
        }
        Ok(())
    }

    fn write(&mut self, _offset: u64, data: &[u8]) -> Result<Verdict, DeviceError> {
        self.0
            .lock()
            .expect("no test panics with the lock held")
            .writes
            .push(data.to_vec());
        Ok(Verdict::Continue)
    }
}

/// Remembers the offset of every access to a page of which every byte reads as its offset's low byte plus one.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<Writes>>);

type Writes = Vec<(u64, Vec<u8>)>;

impl Device for Page {
    fn read(&mut self, offset: u64, data: &mut [u8]) -> Result<(), DeviceError> {
        for (at, byte) in (offset..).zip(data) {
            *byte = at.to_le_bytes()[0].wrapping_add(1);
        }
        Ok(())
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> Result<Verdict, DeviceError> {
        self.0
            .lock()
            .expect("no test panics with the lock held")
            .push((offset, data.to_vec()));
        Ok(Verdict::Continue)
    }
}

fn pio_echo() -> TestResult {
    let string: Vec<u8> = (0x40..0x50).collect();
    let mut answers = vec![0x10, 0xff, 0x20, 0xff, 0xff, 0xff, 0x30];
    answers.extend(&string);
    let recorder = Recorder::answering(&answers);
    let (mut pc, _memory) = guest::pc(asm::pio_echo(), 1, PcDevices::default())?;
    pc.bus().insert(Space::Pio, 0x500, 4, recorder.clone())?;
    expect(
        "outcome",
        &pc.boot(&guest::long_mode().into(), &guest::policy())?,
        &Outcome::DebugExit(0),
    )?;
    let mut expected = vec![vec![0x11], vec![0x00, 0x21], vec![0x00, 0x00, 0x00, 0x31]];
    expected.extend(string.chunks(2).map(<[u8]>::to_vec));
    expect("writes", &recorder.take(), &expected)
}

fn mmio_edges() -> TestResult {
    let page = Page::default();
    let (mut pc, _memory) = guest::pc(asm::mmio_edges(), 1, PcDevices::default())?;
    pc.bus().insert(Space::Mmio, 0xd000_0000, 0x1000, page.clone())?;
    // Byte 0 reads 0x01, byte 0xfff reads 0x00; bytes 8 to 11 read 09 0a 0b 0c.
    let outcome = pc.boot(&guest::long_mode().into(), &guest::policy())?;
    expect("outcome", &outcome, &Outcome::DebugExit(0x0c0b_0a09))?;
    let writes = page.0.lock().expect("no test panics with the lock held").clone();
    expect("writes", &writes, &vec![(0, vec![1]), (0xfff, vec![1])])
}

fn mmio_straddle() -> TestResult {
    let (mut pc, _memory) = guest::pc(asm::mmio_straddle(), 1, PcDevices::default())?;
    // Only the first page has a device: bytes 0xffe and 0xfff read ff 00, nobody answers for the next two.
    pc.bus()
        .insert(Space::Mmio, 0xd000_0000, 0x1000, Page::default())?;
    let outcome = pc.boot(&guest::long_mode().into(), &guest::policy())?;
    expect("outcome", &outcome, &Outcome::DebugExit(0xffff_00ff))
}

fn exit_page() -> TestResult {
    let devices = PcDevices {
        exit_page: Some(0xd000_0000),
        ..PcDevices::default()
    };
    let (mut pc, _memory) = guest::pc(asm::exit_page(), 1, devices)?;
    let outcome = pc.boot(&guest::long_mode().into(), &guest::policy())?;
    expect("outcome", &outcome, &Outcome::DebugExit(0xc0de))
}

fn console() -> TestResult {
    let console = Console::default();
    let timeline = Arc::new(Timeline::new());
    let devices = PcDevices {
        serial: Some(SerialPort::com1(console.clone())),
        observer: timeline.clone(),
        ..PcDevices::default()
    };
    let (mut pc, _memory) = guest::pc(asm::console(), 1, devices)?;
    let policy = Policy {
        observer: timeline.clone(),
        ..guest::policy()
    };
    expect(
        "outcome",
        &pc.boot(&guest::long_mode().into(), &policy)?,
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
    let (mut pc, _memory) = guest::pc(asm::serial_irq(), 1, PcDevices::default())?;
    let input = pc.input().ok_or("the machine has a console")?;
    input.push(b"q")?;
    let outcome = pc.boot(&guest::long_mode().into(), &guest::policy())?;
    expect("outcome", &outcome, &Outcome::DebugExit(b'q'.into()))
}

fn timer_interrupt() -> TestResult {
    expect(
        "outcome",
        &guest::run(asm::timer_irq(), guest::long_mode())?,
        &Outcome::DebugExit(0x71),
    )
}

fn i8042_reset() -> TestResult {
    expect(
        "outcome",
        &guest::run(asm::i8042_reset(), guest::long_mode())?,
        &Outcome::Reset,
    )
}

/// Every vCPU sees its own APIC id and the topology it was made with, in leaf 1 and leaf 0xb.
fn cpuid() -> TestResult {
    let memory = guest::memory(asm::cpuid())?;
    let mut pc = board_on_kvm(&memory, Topology::new(4, 2)?, PcDevices::default())?;
    let questions: [u32; 9] = [1, 0, 0xb, 0, 0xb, 1, 0xb, 2, u32::MAX];
    let answers: Vec<u8> = questions.iter().flat_map(|word| word.to_le_bytes()).collect();
    for index in 0..4_u32 {
        let recorder = Recorder::answering(&answers);
        let mut bus = Bus::new();
        bus.insert(Space::Pio, 0x500, 4, recorder.clone())?;
        bus.insert(Space::Pio, 0xf4, 1, ExitPort)?;
        let at = usize::try_from(index)?;
        let vcpu = pc.vcpus().get_mut(at..=at).ok_or("the vCPU is there")?;
        if let [vcpu] = &mut *vcpu {
            // A secondary vCPU is started by hand instead of by SIPI.
            let mut state = vcpu.whole_state()?;
            state.activity = Activity::RUNNABLE;
            vcpu.set_whole_state(&state)?;
        }
        let outcome = hv_core::boot(vcpu, &guest::long_mode().into(), &bus, &guest::policy())?;
        expect("outcome", &outcome, &Outcome::DebugExit(0xff))?;
        let words: Vec<u32> = recorder
            .take()
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
    let (mut pc, _memory) = guest::pc(asm::firmware_state(), 1, PcDevices::default())?;
    pc.bus().insert(Space::Pio, 0x500, 4, recorder.clone())?;
    pc.boot(&guest::long_mode().into(), &guest::policy())?;
    let written = recorder.take();
    let expected: Vec<Vec<u8>> = [0x806_u32, 1, 0x700, 0x400]
        .iter()
        .map(|word| word.to_le_bytes().to_vec())
        .collect();
    expect("MTRR_DEF_TYPE, MISC_ENABLE, LINT0, LINT1", &written, &expected)
}
