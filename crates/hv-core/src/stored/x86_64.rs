//! General and system registers of x86_64 as bytes.

use std::mem::{offset_of, size_of};

use boot_core::cpu::x86_64::{AccessRights, DescriptorTable, RFLAGS_CLEAR, SegmentRegister, State};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The registers of [`State`] except the base of the local APIC, which is a property of the machine.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawState {
    /// `RAX`, `RBX`, `RCX`, `RDX`, `RSI`, `RDI`, `RSP`, `RBP`, `R8` to `R15`.
    general: [U64; 16],
    rip: U64,
    rflags: U64,
    cr0: U64,
    cr2: U64,
    cr3: U64,
    cr4: U64,
    efer: U64,
    /// `CS`, `DS`, `ES`, `FS`, `GS`, `SS`, `TR`, `LDTR`.
    segments: [RawSegment; 8],
    /// `GDTR`, `IDTR`.
    tables: [RawTable; 2],
}

/// A segment register.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawSegment {
    base: U64,
    limit: U32,
    selector: U16,
    rights: U16,
}

/// A descriptor table register.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawTable {
    base: U64,
    limit: U16,
    /// Zero.
    reserved: [u8; 6],
}

const _: () = assert!(size_of::<RawSegment>() == 16 && offset_of!(RawSegment, rights) == 14);
const _: () = assert!(size_of::<RawTable>() == 16 && offset_of!(RawTable, limit) == 8);
const _: () = assert!(X86_STATE_LEN == 344);
const _: () = assert!(offset_of!(RawState, rip) == 128 && offset_of!(RawState, cr0) == 144);
const _: () = assert!(offset_of!(RawState, segments) == 184 && offset_of!(RawState, tables) == 312);

/// Bits that `RFLAGS` can have outside of virtual-8086 mode (SDM volume 1, 3.4.3).
const RFLAGS: u64 = 0x003d_7fd7;

/// Length of the result of [`encode_x86_state`] in bytes.
pub const X86_STATE_LEN: usize = size_of::<RawState>();

/// General and system registers of x86_64 as bytes for a stored state. The base of the local APIC is not one of them: it is a property of the
/// machine.
#[must_use]
pub fn encode_x86_state(state: &State) -> Vec<u8> {
    let segment = |segment: &SegmentRegister| RawSegment {
        base: segment.base.into(),
        limit: segment.limit.into(),
        selector: segment.selector.into(),
        rights: segment.rights.bits().into(),
    };
    let table = |table: &DescriptorTable| RawTable {
        base: table.base.into(),
        limit: table.limit.into(),
        ..RawTable::new_zeroed()
    };
    let raw = RawState {
        general: general(&mut state.clone()).map(|register| U64::new(*register)),
        rip: state.rip.into(),
        rflags: state.rflags.into(),
        cr0: state.cr0.into(),
        cr2: state.cr2.into(),
        cr3: state.cr3.into(),
        cr4: state.cr4.into(),
        efer: state.efer.into(),
        segments: segments(&mut state.clone()).map(|register| segment(register)),
        tables: [&state.gdtr, &state.idtr].map(table),
    };
    raw.as_bytes().to_vec()
}

/// The state of these bytes on a machine with this base of the local APIC. `None` for another length, and for bits that a register does
/// not have.
#[must_use]
pub fn decode_x86_state(bytes: &[u8], apic_base: u64) -> Option<State> {
    let raw = RawState::read_from_bytes(bytes).ok()?;
    let mut state = State::reset();
    for (to, from) in general(&mut state).into_iter().zip(raw.general) {
        *to = from.get();
    }
    for (to, from) in segments(&mut state).into_iter().zip(&raw.segments) {
        let rights = AccessRights::from_bits(from.rights.get());
        if rights.bits() != from.rights.get() {
            return None;
        }
        *to = SegmentRegister::new(from.selector.get(), from.base.get(), from.limit.get(), rights);
    }
    for (to, from) in [&mut state.gdtr, &mut state.idtr].into_iter().zip(&raw.tables) {
        if from.reserved != [0; 6] {
            return None;
        }
        *to = DescriptorTable::new(from.base.get(), from.limit.get());
    }
    state.rip = raw.rip.get();
    state.rflags = raw.rflags.get();
    if state.rflags & !RFLAGS != 0 || state.rflags & RFLAGS_CLEAR == 0 {
        return None;
    }
    state.cr0 = raw.cr0.get();
    state.cr2 = raw.cr2.get();
    state.cr3 = raw.cr3.get();
    state.cr4 = raw.cr4.get();
    state.efer = raw.efer.get();
    state.apic_base = apic_base;
    Some(state)
}

/// The general registers in the order of the bytes.
fn general(state: &mut State) -> [&mut u64; 16] {
    [
        &mut state.rax,
        &mut state.rbx,
        &mut state.rcx,
        &mut state.rdx,
        &mut state.rsi,
        &mut state.rdi,
        &mut state.rsp,
        &mut state.rbp,
        &mut state.r8,
        &mut state.r9,
        &mut state.r10,
        &mut state.r11,
        &mut state.r12,
        &mut state.r13,
        &mut state.r14,
        &mut state.r15,
    ]
}

/// The segment registers in the order of the bytes.
fn segments(state: &mut State) -> [&mut SegmentRegister; 8] {
    [
        &mut state.cs,
        &mut state.ds,
        &mut state.es,
        &mut state.fs,
        &mut state.gs,
        &mut state.ss,
        &mut state.tr,
        &mut state.ldtr,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A state of registers that all differ.
    fn state() -> State {
        let mut state = State::long_mode(0x1000, 0x2000, 8, 16);
        for (register, value) in general(&mut state).into_iter().zip(1..) {
            *register = value;
        }
        for (register, value) in segments(&mut state).into_iter().zip(0x20..) {
            register.base = value;
            register.selector = 8 * u16::try_from(value).unwrap();
        }
        state.gdtr = DescriptorTable::new(0x30, 0x31);
        state.idtr = DescriptorTable::new(0x32, 0x33);
        state.cr2 = 0x34;
        state
    }

    #[test]
    fn states_survive() {
        for state in [state(), State::reset(), State::protected_mode(1, 2, 3)] {
            let bytes = encode_x86_state(&state);
            assert_eq!(bytes.len(), X86_STATE_LEN);
            assert_eq!(decode_x86_state(&bytes, state.apic_base), Some(state));
            let other = decode_x86_state(&bytes, 0x1234).unwrap();
            assert_eq!(other.apic_base, 0x1234);
        }
    }

    #[test]
    fn impossible_values_are_refused() {
        let bytes = encode_x86_state(&state());
        assert!(decode_x86_state(&bytes[1..], 0).is_none());
        let with = |at: usize, value: u8| {
            let mut bytes = bytes.clone();
            bytes[at] ^= value;
            decode_x86_state(&bytes, 0)
        };
        // A reserved byte of a table, limit bits of access rights, RFLAGS.VM, bit 1 and bit 63.
        for (at, value) in [(343, 1), (199, 1), (138, 2), (136, 2), (143, 0x80)] {
            assert!(with(at, value).is_none(), "{at}");
        }
        assert!(with(0, 0xff).is_some() && with(136, 1).is_some());
    }
}
