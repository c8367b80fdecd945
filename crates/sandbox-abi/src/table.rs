//! Records of the functions that a guest offers and needs.

use core::mem::{offset_of, size_of};

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// How a function takes its parameters.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(transparent)]
pub struct FunctionFlags(U32);

impl FunctionFlags {
    /// Parameters and result are in postcard's format, and the signature is a hash of their types.
    pub const TYPED: Self = Self(U32::new(0));
    /// Parameter and result are bytes without a format; the signature is 0.
    pub const BYTES: Self = Self(U32::new(1));

    /// The bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0.get()
    }

    /// Bits without a meaning in this version.
    #[must_use]
    pub const fn unknown(self) -> u32 {
        self.bits() & !Self::BYTES.bits()
    }
}

/// A function in the table of exports or imports. Its position in the table is its number in messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct FunctionRecord {
    /// Address of the name, which is UTF-8.
    pub name: U64,
    /// Length of the name in bytes: 1 to [`FunctionRecord::MAX_NAME`].
    pub name_len: U32,
    /// How the function takes its parameters.
    pub flags: FunctionFlags,
    /// Hash of the types of parameters and result: [`signature`](crate::signature).
    pub signature: U64,
    /// Exports: address of a function for the guest's own use. Imports: 0.
    pub function: U64,
    /// Reserved, zero.
    pub reserved: U64,
}

impl FunctionRecord {
    /// Largest length of a name in bytes.
    pub const MAX_NAME: u32 = 255;
    /// Largest number of records in a table.
    pub const MAX_RECORDS: u64 = 4096;
}

const _: () = {
    assert!(size_of::<FunctionRecord>() == 40);
    assert!(offset_of!(FunctionRecord, name_len) == 8 && offset_of!(FunctionRecord, flags) == 12);
    assert!(offset_of!(FunctionRecord, signature) == 16 && offset_of!(FunctionRecord, function) == 24);
    assert!(offset_of!(FunctionRecord, reserved) == 32);
};
