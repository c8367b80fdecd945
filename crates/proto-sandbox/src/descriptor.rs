//! Descriptor tables of x86_64 (Intel SDM volume 3A, 3.4.5, 6.14.1, 8.2.3 and 8.7).
//!
//! The guest cannot write them, so accessed and busy bits are set in advance: the CPU then writes nothing.

use alloc::vec::Vec;
use core::mem::{offset_of, size_of};

use boot_core::cpu::x86_64::{AccessRights, DescriptorTable, SegmentRegister};
use sandbox_abi::layout::{GDT, IDT, PAGE};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{Immutable, IntoBytes, Unaligned};

/// Selector of the code segment.
pub(crate) const CODE: u16 = 0x08;
/// Selector of the data segments.
pub(crate) const DATA: u16 = 0x10;
/// Selector of the task state segment.
const TASK: u16 = 0x18;

/// Address of the task state segment, in the page of the GDT.
const TSS: u64 = GDT + 0x400;

/// Number of interrupt vectors: those of exceptions.
const VECTORS: u16 = 32;
/// Distance of the handlers in bytes.
const HANDLER: u64 = 16;

/// Task state segment in 64-bit mode (figure 8-11).
#[derive(Clone, Copy, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
struct TaskState {
    reserved0: U32,
    rsp: [U64; 3],
    reserved1: U64,
    /// Interrupt stacks 1 to 7.
    ist: [U64; 7],
    reserved2: U64,
    reserved3: U16,
    /// Offset of the I/O permission bitmap: behind the segment, so there is none.
    io_map_base: U16,
}

/// Gate of the IDT in 64-bit mode (figure 6-8).
#[derive(Clone, Copy, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
struct Gate {
    offset_low: U16,
    selector: U16,
    /// Number of the interrupt stack.
    ist: u8,
    kind: u8,
    offset_middle: U16,
    offset_high: U32,
    reserved: U32,
}

const _: () = {
    assert!(size_of::<TaskState>() == 104 && offset_of!(TaskState, ist) == 36);
    assert!(offset_of!(TaskState, io_map_base) == 102);
    assert!(size_of::<Gate>() == 16 && offset_of!(Gate, offset_high) == 8);
    assert!(TSS + 104 <= GDT + PAGE);
};

/// A present interrupt gate of ring 0.
const INTERRUPT_GATE: u8 = 0x8e;

/// The register of the task state segment.
pub(crate) const fn task_register() -> SegmentRegister {
    SegmentRegister::new(TASK, TSS, 103, AccessRights::TSS64_BUSY)
}

/// The register of the GDT: a null descriptor, code, data, and two entries for the task state segment.
pub(crate) const fn gdtr() -> DescriptorTable {
    DescriptorTable::new(GDT, 5 * 8 - 1)
}

/// The register of the IDT.
pub(crate) const fn idtr() -> DescriptorTable {
    DescriptorTable::new(IDT, VECTORS * 16 - 1)
}

/// Ends of the stacks of exception handlers.
#[derive(Clone, Copy)]
pub(crate) struct Stacks {
    pub(crate) exceptions: u64,
    /// That of page faults, if it is another one.
    pub(crate) page_faults: Option<u64>,
}

/// The vector of page faults.
const PAGE_FAULT: u16 = 14;

/// The page of GDT and task state segment.
pub(crate) fn gdt(stacks: Stacks) -> Vec<u8> {
    let descriptors = [
        0,
        SegmentRegister::flat(CODE, AccessRights::CODE64).descriptor(),
        SegmentRegister::flat(DATA, AccessRights::DATA32).descriptor(),
        task_register().descriptor(),
        // The upper half of the base.
        TSS >> 32,
    ];
    let mut page: Vec<u8> = descriptors.into_iter().flat_map(u64::to_le_bytes).collect();
    page.resize(usize::try_from(TSS - GDT).unwrap_or_default(), 0);
    let mut ist = [U64::ZERO; 7];
    let [first, second, ..] = &mut ist;
    first.set(stacks.exceptions);
    second.set(stacks.page_faults.unwrap_or(0));
    let state = TaskState {
        reserved0: U32::ZERO,
        rsp: [U64::ZERO; 3],
        reserved1: U64::ZERO,
        ist,
        reserved2: U64::ZERO,
        reserved3: U16::ZERO,
        io_map_base: U16::new(104),
    };
    page.extend(state.as_bytes());
    page
}

/// The IDT. `vectors` is the address of the first handler.
pub(crate) fn idt(vectors: u64, stacks: Stacks) -> Vec<u8> {
    let gate = |vector: u16| {
        let handler = vectors.saturating_add(HANDLER.saturating_mul(vector.into()));
        let [a, b, c, d, high @ ..] = handler.to_le_bytes();
        Gate {
            offset_low: U16::from_bytes([a, b]),
            selector: CODE.into(),
            ist: if vector == PAGE_FAULT && stacks.page_faults.is_some() {
                2
            } else {
                1
            },
            kind: INTERRUPT_GATE,
            offset_middle: U16::from_bytes([c, d]),
            offset_high: U32::from_bytes(high),
            reserved: U32::ZERO,
        }
    };
    (0..VECTORS)
        .flat_map(|vector| gate(vector).as_bytes().to_vec())
        .collect()
}
