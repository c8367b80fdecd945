//! Functions, and their records in a table.

use alloc::string::String;
use core::str::Utf8Error;

use boot_core::{ReadError, SizedSource};
use sandbox_abi::{FunctionFlags, FunctionRecord};

use crate::image::GuestImage;
use crate::note::GuestTable;

/// A function that a guest offers, or needs from its host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Function {
    /// Its name, unique in its table: 1 to [`FunctionRecord::MAX_NAME`] bytes.
    pub name: String,
    /// Hash of the types of parameters and result; 0 for functions of bytes.
    pub signature: u64,
    /// How it takes its parameters.
    pub flags: FunctionFlags,
    /// Exports: virtual address of its code or data. Imports: 0.
    pub address: u64,
}

/// Error in a record of a table of functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The name is empty or too long.
    #[error("its name has {found} bytes, expected 1 to {}", FunctionRecord::MAX_NAME)]
    NameLength {
        /// Length of the name in bytes.
        found: u32,
    },
    /// The name is not constant data of the file.
    #[error(
        "its name at {addr:#x} ({len} bytes) is not in the file's part of a segment that is not writable"
    )]
    NameOutside {
        /// Address of the name.
        addr: u64,
        /// Length of the name in bytes.
        len: u32,
    },
    /// The name is not UTF-8.
    #[error("its name at {addr:#x} is not UTF-8")]
    NameNotUtf8 {
        /// Address of the name.
        addr: u64,
        /// The error.
        source: Utf8Error,
    },
    /// The function has flags without a meaning in this version.
    #[error("it has the unknown flags {unknown:#x}")]
    Flags {
        /// The unknown bits.
        unknown: u32,
    },
    /// A function of bytes has a signature.
    #[error("its parameters are bytes, but its signature is {found:#x}, expected 0")]
    BytesSignature {
        /// The signature.
        found: u64,
    },
    /// The function is not in the file.
    #[error("its function at {addr:#x} is not in the file's part of a segment that is not writable")]
    FunctionOutside {
        /// Address of the function.
        addr: u64,
    },
    /// An import has a function.
    #[error("it is an import, but its function is {addr:#x}, expected 0")]
    ImportedFunction {
        /// Address of the function.
        addr: u64,
    },
    /// Reserved bytes are not zero.
    #[error("its reserved bytes are not zero")]
    Reserved,
}

/// Why a function was not read.
pub(crate) enum Failure {
    Record(RecordError),
    Read(ReadError),
}

impl From<RecordError> for Failure {
    fn from(error: RecordError) -> Self {
        Self::Record(error)
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

/// Checks a record and reads its name.
pub(crate) fn read(
    source: &SizedSource<'_>,
    image: &GuestImage,
    table: GuestTable,
    record: &FunctionRecord,
) -> Result<Function, Failure> {
    let unknown = record.flags.unknown();
    if unknown != 0 {
        return Err(RecordError::Flags { unknown }.into());
    }
    if record.reserved.get() != 0 {
        return Err(RecordError::Reserved.into());
    }
    let signature = record.signature.get();
    if record.flags == FunctionFlags::BYTES && signature != 0 {
        return Err(RecordError::BytesSignature { found: signature }.into());
    }
    let address = record.function.get();
    match table {
        GuestTable::Exports if image.constant(address, 1).is_none() => {
            return Err(RecordError::FunctionOutside { addr: address }.into());
        }
        GuestTable::Imports if address != 0 => {
            return Err(RecordError::ImportedFunction { addr: address }.into());
        }
        _ => {}
    }
    Ok(Function {
        name: name(source, image, record)?,
        signature,
        flags: record.flags,
        address,
    })
}

fn name(source: &SizedSource<'_>, image: &GuestImage, record: &FunctionRecord) -> Result<String, Failure> {
    let (addr, len) = (record.name.get(), record.name_len.get());
    if !(1..=FunctionRecord::MAX_NAME).contains(&len) {
        return Err(RecordError::NameLength { found: len }.into());
    }
    let range = image
        .constant(addr, len.into())
        .ok_or(RecordError::NameOutside { addr, len })?;
    let bytes = source.read_vec(range.offset(), usize::try_from(len).unwrap_or_default())?;
    String::from_utf8(bytes).map_err(|error| {
        let source = error.utf8_error();
        RecordError::NameNotUtf8 { addr, source }.into()
    })
}
