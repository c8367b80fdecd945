//! A machine for a handful of instructions.

use std::{error::Error, fmt::Write as _, io, sync::Arc, time::Duration};

use boot_core::{
    CpuState,
    cpu::x86_64::{AccessRights, DescriptorTable, SegmentRegister, State, cr0},
};
use guest_ram::GuestRam;
use hv_core::{Outcome, Policy};
use hv_kvm_x86::{Board, HarnessError, KvmError, KvmVm, PcDevices, Topology, board_on_kvm};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

pub(crate) type TestResult = Result<(), Box<dyn Error>>;
pub(crate) type Test = (&'static str, fn() -> TestResult);

// ```text
// 0x0500  GDT: null, 64-bit code, data, 32-bit code
// 0x1000  PML4, 0x2000 PDPT, 0x3000 four page directories: the first 4 GiB, by 2 MiB pages
// 0x7ff0  stack, downwards
// 0x8000  code, one page: also where a SIPI with vector 8 starts a vCPU
// 0x9000  IDT
// 0xa000  data, to the end of RAM at 2 MiB
// ```
const GDT: u64 = 0x500;
const PML4: u64 = 0x1000;
const PDPT: u64 = 0x2000;
const DIRECTORIES: u64 = 0x3000;
const STACK: u64 = 0x7ff0;
pub(crate) const CODE: u64 = 0x8000;
pub(crate) const DATA: u64 = 0xa000;
pub(crate) const RAM_LEN: usize = 2 << 20;

/// Bits of page table entries.
const PRESENT_WRITABLE: u64 = 3;
const LARGE: u64 = 0x80;

const CODE64: u16 = 0x08;
const DATA_SELECTOR: u16 = 0x10;
const CODE32: u16 = 0x18;

/// Why no test can run here, if so. Only the lack of a KVM counts: a KVM that misbehaves fails the tests.
pub(crate) fn obstacle() -> Option<String> {
    match KvmVm::new(Topology::new(1, 1).ok()?) {
        Err(error @ KvmError::Harness(HarnessError::Open(_))) => Some(explain(&error)),
        _ => None,
    }
}

/// An error with everything behind it.
pub(crate) fn explain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        write!(text, ": {error}").expect("a String takes everything");
        source = error.source();
    }
    text
}

/// RAM of one region.
pub(crate) fn ram(base: u64, len: usize) -> Result<GuestRam, Box<dyn Error>> {
    Ok(GuestRam::from_memory(Arc::new(GuestMemoryMmap::from_ranges(&[
        (GuestAddress(base), len),
    ])?)))
}

/// Two MiB of RAM with `code`, page tables and a GDT.
pub(crate) fn memory(code: &[u8]) -> Result<GuestRam, Box<dyn Error>> {
    let ram = ram(0, RAM_LEN)?;
    let memory = ram.memory();
    let write = |address: u64, value: u64| memory.write_obj(value, GuestAddress(address));
    let descriptors = [
        SegmentRegister::flat(CODE64, AccessRights::CODE64),
        SegmentRegister::flat(DATA_SELECTOR, AccessRights::DATA32),
        SegmentRegister::flat(CODE32, AccessRights::CODE32),
    ];
    for segment in descriptors {
        write(GDT + u64::from(segment.selector), segment.descriptor())?;
    }
    write(PML4, PDPT | PRESENT_WRITABLE)?;
    for gib in 0..4 {
        let directory = DIRECTORIES + gib * 0x1000;
        write(PDPT + gib * 8, directory | PRESENT_WRITABLE)?;
        for page in 0..512 {
            write(
                directory + page * 8,
                gib << 30 | page << 21 | LARGE | PRESENT_WRITABLE,
            )?;
        }
    }
    assert!(code.len() <= 0x1000, "the guest's code fits into its page");
    memory.write_slice(code, GuestAddress(CODE))?;
    Ok(ram)
}

/// 64-bit mode at [`CODE`].
pub(crate) fn long_mode() -> State {
    let mut state = State::long_mode(CODE, PML4, CODE64, DATA_SELECTOR);
    state.rsp = STACK;
    state.gdtr = DescriptorTable::new(GDT, 0x1f);
    state
}

/// Flat 32-bit protected mode at [`CODE`].
pub(crate) fn protected_mode() -> State {
    let mut state = State::protected_mode(0x8000, CODE32, DATA_SELECTOR);
    state.rsp = STACK;
    state.gdtr = DescriptorTable::new(GDT, 0x1f);
    state
}

/// Real mode at 0:[`CODE`].
pub(crate) fn real_mode() -> State {
    let mut state = State::protected_mode(0x8000, 0, 0);
    let segment = |rights| SegmentRegister::new(0, 0, 0xffff, AccessRights::from_bits(rights));
    state.cs = segment(0x9b);
    let data = segment(0x93);
    (state.ds, state.es, state.fs, state.gs, state.ss) = (data, data, data, data, data);
    state.cr0 &= !cr0::PE;
    state.rsp = STACK;
    state.idtr = DescriptorTable::new(0, 0x3ff);
    state
}

/// A machine of `vcpus` with `code` in its memory.
pub(crate) fn pc(
    code: &[u8],
    vcpus: u32,
    devices: PcDevices,
) -> Result<(Board<KvmVm>, GuestRam), Box<dyn Error>> {
    let memory = memory(code)?;
    let pc = board_on_kvm(&memory, Topology::new(vcpus, 1)?, devices)?;
    Ok((pc, memory))
}

/// Long enough for anything that ends, on the slowest host.
pub(crate) fn policy() -> Policy {
    Policy {
        deadline: Some(Duration::from_mins(1)),
        ..Policy::default()
    }
}

/// A deadline for guests that do not end.
pub(crate) fn short_policy() -> Policy {
    Policy {
        deadline: Some(Duration::from_millis(100)),
        ..Policy::default()
    }
}

/// Runs `code` from `state` on one vCPU with the usual devices.
pub(crate) fn run(code: &[u8], state: State) -> Result<Outcome, Box<dyn Error>> {
    let (mut pc, _memory) = pc(code, 1, PcDevices::default())?;
    Ok(pc.boot(&CpuState::from(state), &policy())?)
}

/// Checks one thing in words.
pub(crate) fn expect<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, expected: &T) -> TestResult {
    if found == expected {
        return Ok(());
    }
    Err(format!("{what}: found {found:x?}, expected {expected:x?}").into())
}

/// A console that can be read.
#[derive(Clone, Default)]
pub(crate) struct Console(Arc<std::sync::Mutex<Vec<u8>>>);

impl Console {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.lock().expect("no test panics with the lock held").clone()
    }
}

impl io::Write for Console {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .expect("no test panics with the lock held")
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
