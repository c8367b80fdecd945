//! The file of a snapshot: a header, the program, features of the CPU, registers, numbers of pages, pages, and a checksum. All numbers are
//! little-endian.

use std::mem::{offset_of, size_of};

use boot_core::Arch;
use sandbox_abi::DoorbellKind;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// First bytes of a file.
pub(super) const MAGIC: [u8; 8] = *b"VMSBSNAP";

/// Version of the format. Another one is refused: increment it with each change of the format or of the numbers of registers.
pub(super) const VERSION: u32 = 1;

/// The deadline of calls without one.
pub(super) const NO_DEADLINE: u64 = u64::MAX;

/// The first bytes of a file.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RawHeader {
    /// [`MAGIC`].
    pub(super) magic: [u8; 8],
    /// [`VERSION`].
    pub(super) version: U32,
    /// The architecture: [`arch_number`].
    pub(super) arch: U32,
    /// Length of the file in bytes.
    pub(super) file_len: U64,
    /// Kind of the program.
    pub(super) program_kind: U32,
    /// Length of inbox and outbox in bytes.
    pub(super) window: U32,
    /// Length of the program in bytes.
    pub(super) program_len: U64,
    /// Length of the heap in bytes, as it was asked for.
    pub(super) heap: U64,
    /// Length of the stack in bytes, as it was asked for.
    pub(super) stack: U64,
    /// First address of data, stacks and heap.
    pub(super) memory_start: U64,
    /// Length of data, stacks and heap in bytes.
    pub(super) memory_len: U64,
    /// The doorbell that the guest was told.
    pub(super) doorbell: U64,
    /// Kind of the doorbell.
    pub(super) doorbell_kind: DoorbellKind,
    /// Number of [`RawFeature`]s.
    pub(super) feature_count: U32,
    /// Number of registers.
    pub(super) register_count: U32,
    /// Limit of the number of messages of the guest in a call.
    pub(super) max_messages: U32,
    /// Length of all [`RawRegister`]s with their values in bytes.
    pub(super) registers_len: U64,
    /// Number of pages.
    pub(super) page_count: U64,
    /// Number of the last message to the guest.
    pub(super) sequence: U64,
    /// Largest payload in bytes.
    pub(super) max_payload: U64,
    /// Limit of the duration of a call in nanoseconds, or [`NO_DEADLINE`].
    pub(super) deadline: U64,
    /// Memory of the sandbox in bytes from which on a restore drops pages.
    pub(super) resident: U64,
    /// Number of log records that are accepted in a call.
    pub(super) log_records: U32,
    /// Zero.
    pub(super) reserved: U32,
}

/// A feature of the CPU.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RawFeature {
    /// Number of the feature.
    pub(super) id: U64,
    /// Its value.
    pub(super) value: U64,
}

/// A register. Its value follows.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RawRegister {
    /// Number of the register.
    pub(super) id: U64,
    /// Length of the value in bytes.
    pub(super) len: U32,
    /// Zero.
    pub(super) reserved: U32,
}

const _: () = assert!(size_of::<RawHeader>() == 152 && offset_of!(RawHeader, version) == 8);
const _: () = assert!(offset_of!(RawHeader, file_len) == 16 && offset_of!(RawHeader, window) == 28);
const _: () = assert!(offset_of!(RawHeader, program_len) == 32 && offset_of!(RawHeader, heap) == 40);
const _: () = assert!(offset_of!(RawHeader, memory_start) == 56 && offset_of!(RawHeader, doorbell) == 72);
const _: () = assert!(offset_of!(RawHeader, doorbell_kind) == 80);
const _: () = assert!(offset_of!(RawHeader, feature_count) == 84);
const _: () = assert!(offset_of!(RawHeader, register_count) == 88);
const _: () = assert!(offset_of!(RawHeader, registers_len) == 96);
const _: () = assert!(offset_of!(RawHeader, page_count) == 104 && offset_of!(RawHeader, sequence) == 112);
const _: () = assert!(offset_of!(RawHeader, max_payload) == 120 && offset_of!(RawHeader, deadline) == 128);
const _: () = assert!(offset_of!(RawHeader, resident) == 136 && offset_of!(RawHeader, log_records) == 144);
const _: () = assert!(size_of::<RawFeature>() == 16 && size_of::<RawRegister>() == 16);
const _: () = assert!(offset_of!(RawRegister, len) == 8 && offset_of!(RawRegister, reserved) == 12);

/// Length of the checksum at the end of a file in bytes.
pub(super) const CHECKSUM_LEN: u64 = 8;

/// Number of an architecture in files, that of ELF (`e_machine`); 0 for one that has none.
pub(super) fn arch_number(arch: Arch) -> u32 {
    match arch {
        Arch::X86_64 => 62,
        Arch::Aarch64 => 183,
        Arch::Riscv64 => 243,
        _ => 0,
    }
}

/// The checksum of all bytes before it: FNV-1a of 64 bits. It finds damaged files; it is no protection against changed ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checksum(u64);

impl Checksum {
    pub(super) fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    pub(super) fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    pub(super) fn get(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of the authors of the function.
    #[test]
    fn checksums() {
        for (text, expected) in [
            ("", 0xcbf2_9ce4_8422_2325),
            ("a", 0xaf63_dc4c_8601_ec8c),
            ("foobar", 0x8594_4171_f739_67e8),
        ] {
            let mut sum = Checksum::new();
            sum.add(text.as_bytes());
            assert_eq!(sum.get(), expected);
        }
    }
}
