//! Records of functions.
#![expect(unsafe_code, reason = "records with pointers, in sections of their own")]

use core::fmt;
use core::mem::{offset_of, size_of};

use sandbox_abi::{FunctionFlags, FunctionRecord};
use zerocopy::little_endian::{U32, U64};

use crate::call::Call;
use crate::reply::Reply;

/// Entry of a guest function.
pub type Entry = fn(&mut Call<'_>) -> Reply;

/// A function that the guest offers, as a [`FunctionRecord`] in memory.
#[repr(C)]
pub struct Export {
    name: *const u8,
    name_len: U32,
    flags: FunctionFlags,
    signature: U64,
    entry: Entry,
    reserved: U64,
}

/// A function that the guest needs from its host, as a [`FunctionRecord`] in memory.
#[repr(C)]
pub struct Import {
    name: *const u8,
    name_len: U32,
    flags: FunctionFlags,
    signature: U64,
    function: U64,
    reserved: U64,
}

#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(size_of::<Export>() == size_of::<FunctionRecord>());
    assert!(offset_of!(Export, name) == offset_of!(FunctionRecord, name));
    assert!(offset_of!(Export, name_len) == offset_of!(FunctionRecord, name_len));
    assert!(offset_of!(Export, flags) == offset_of!(FunctionRecord, flags));
    assert!(offset_of!(Export, signature) == offset_of!(FunctionRecord, signature));
    assert!(offset_of!(Export, entry) == offset_of!(FunctionRecord, function));
    assert!(offset_of!(Export, reserved) == offset_of!(FunctionRecord, reserved));
    assert!(size_of::<Import>() == size_of::<FunctionRecord>());
    assert!(offset_of!(Import, signature) == offset_of!(FunctionRecord, signature));
};

// SAFETY: a record is never changed, and what its pointer refers to is a static string.
unsafe impl Sync for Export {}
// SAFETY: as above.
unsafe impl Send for Export {}
// SAFETY: as above.
unsafe impl Sync for Import {}
// SAFETY: as above.
unsafe impl Send for Import {}

/// Length of a name, in constant evaluation.
#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    reason = "checked: at most 255"
)]
const fn name_len(name: &'static str) -> U32 {
    assert!(
        !name.is_empty() && name.len() <= FunctionRecord::MAX_NAME as usize,
        "the name of a function has 1 to 255 bytes"
    );
    U32::new(name.len() as u32)
}

impl Export {
    /// A function with parameters and result in postcard's format; `signature` is [`sandbox_abi::signature`] of their types.
    ///
    /// # Panics
    ///
    /// If the name is not 1 to 255 bytes long.
    #[must_use]
    pub const fn typed(name: &'static str, signature: u64, entry: Entry) -> Self {
        Self::new(name, FunctionFlags::TYPED, signature, entry)
    }

    /// A function with bytes as its parameter and result.
    ///
    /// # Panics
    ///
    /// If the name is not 1 to 255 bytes long.
    #[must_use]
    pub const fn bytes(name: &'static str, entry: Entry) -> Self {
        Self::new(name, FunctionFlags::BYTES, 0, entry)
    }

    const fn new(name: &'static str, flags: FunctionFlags, signature: u64, entry: Entry) -> Self {
        Self {
            name: name.as_ptr(),
            name_len: name_len(name),
            flags,
            signature: U64::new(signature),
            entry,
            reserved: U64::new(0),
        }
    }

    /// Executes the function.
    pub(crate) fn call(&self, call: &mut Call<'_>) -> Reply {
        (self.entry)(call)
    }
}

impl Import {
    /// A function with parameters and result in postcard's format; `signature` is [`sandbox_abi::signature`] of their types.
    ///
    /// # Panics
    ///
    /// If the name is not 1 to 255 bytes long.
    #[must_use]
    pub const fn typed(name: &'static str, signature: u64) -> Self {
        Self::new(name, FunctionFlags::TYPED, signature)
    }

    /// A function with bytes as its parameter and result.
    ///
    /// # Panics
    ///
    /// If the name is not 1 to 255 bytes long.
    #[must_use]
    pub const fn bytes(name: &'static str) -> Self {
        Self::new(name, FunctionFlags::BYTES, 0)
    }

    const fn new(name: &'static str, flags: FunctionFlags, signature: u64) -> Self {
        Self {
            name: name.as_ptr(),
            name_len: name_len(name),
            flags,
            signature: U64::new(signature),
            function: U64::new(0),
            reserved: U64::new(0),
        }
    }
}

impl fmt::Debug for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Export")
            .field("signature", &self.signature)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Import")
            .field("signature", &self.signature)
            .finish_non_exhaustive()
    }
}

/// Puts a function into the table of exports.
#[cfg(sandbox_guest)]
#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($record:expr) => {
        #[used]
        #[unsafe(link_section = "vmsandbox_exports")]
        static RECORD: $crate::Export = $record;
    };
}

/// Puts a function into the table of exports.
#[cfg(not(sandbox_guest))]
#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($record:expr) => {
        const _: $crate::Export = $record;
    };
}

/// Puts a function into the table of imports.
#[cfg(sandbox_guest)]
#[doc(hidden)]
#[macro_export]
macro_rules! __import {
    ($name:ident, $record:expr) => {
        #[used]
        #[unsafe(link_section = "vmsandbox_imports")]
        static $name: $crate::Import = $record;
    };
}

/// Puts a function into the table of imports.
#[cfg(not(sandbox_guest))]
#[doc(hidden)]
#[macro_export]
macro_rules! __import {
    ($name:ident, $record:expr) => {
        static $name: $crate::Import = $record;
    };
}

/// Puts a function into the table of those that run before the first call.
#[cfg(sandbox_guest)]
#[doc(hidden)]
#[macro_export]
macro_rules! __init {
    ($init:path) => {
        #[used]
        #[unsafe(link_section = "vmsandbox_init")]
        static INIT: fn() = $init;
    };
}

/// Puts a function into the table of those that run before the first call.
#[cfg(not(sandbox_guest))]
#[doc(hidden)]
#[macro_export]
macro_rules! __init {
    ($init:path) => {
        const _: fn() = $init;
    };
}
