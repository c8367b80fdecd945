//! A machine for a handful of instructions.

use std::{error::Error, sync::Arc};

use boot_core::{
    Arch, CpuState,
    cpu::x86_64::{AccessRights, DescriptorTable, SegmentRegister, State, cr0},
};
use guest_ram::GuestRam;
use hv_core::Outcome;
pub(crate) use hv_kvm_test::{Console, expect};
use hv_kvm_test::{explain, run_config};
use hv_kvm_x86::{Board, BoardDevices, HarnessError, KvmError, KvmVm, Layout, Topology, board_on_kvm};
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
pub(crate) const PML4: u64 = 0x1000;
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

/// Reason why no test can run on this host. Only a missing KVM is one: other errors fail the tests.
pub(crate) fn skip_reason() -> Option<String> {
    match KvmVm::new(layout(1).ok()?.topology) {
        Err(error @ KvmError::Harness(HarnessError::Open(_))) => Some(explain(&error)),
        _ => None,
    }
}

/// A PC of `vcpus` cores with one thread each.
pub(crate) fn layout(vcpus: u32) -> Result<Layout, Box<dyn Error>> {
    Ok(Layout::new(Topology::new(vcpus, 1)?))
}

/// The usual devices.
pub(crate) fn devices() -> BoardDevices {
    BoardDevices::new(Arch::X86_64)
}

/// RAM of one region.
pub(crate) fn ram(base: u64, len: usize) -> Result<GuestRam, Box<dyn Error>> {
    Ok(GuestRam::from_memory(Arc::new(GuestMemoryMmap::from_ranges(&[
        (GuestAddress(base), len),
    ])?)))
}

/// Two MiB of RAM with `code`, page tables and a GDT.
pub(crate) fn memory(code: &[u8]) -> Result<GuestRam, Box<dyn Error>> {
    with_code(ram(0, RAM_LEN)?, code)
}

/// Writes page tables and a GDT with `write`.
pub(crate) fn write_tables<E>(mut write: impl FnMut(u64, u64) -> Result<(), E>) -> Result<(), E> {
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
    Ok(())
}

/// `ram` with `code`, page tables and a GDT.
pub(crate) fn with_code(ram: GuestRam, code: &[u8]) -> Result<GuestRam, Box<dyn Error>> {
    let memory = ram.memory();
    let write = |address: u64, value: u64| memory.write_obj(value, GuestAddress(address));
    write_tables(write)?;
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
    devices: BoardDevices,
) -> Result<(Board<KvmVm>, GuestRam), Box<dyn Error>> {
    let memory = memory(code)?;
    let pc = board_on_kvm(&memory, &layout(vcpus)?, devices)?;
    Ok((pc, memory))
}

/// Runs `code` from `state` on one vCPU with the usual devices.
pub(crate) fn run(code: &[u8], state: impl Into<CpuState>) -> Result<Outcome, Box<dyn Error>> {
    let (mut pc, _memory) = pc(code, 1, devices())?;
    Ok(pc.boot(&state.into(), &run_config())?)
}
