//! Tables of functions.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use boot_core::{ByteSource, GuestRange, KernelImage, ReadError, SizedSource};
use sandbox_abi::FunctionRecord;
use zerocopy::FromBytes;

use crate::image::GuestImage;
use crate::note::{GuestTable, RECORD};
use crate::record::{self, Failure, Function, RecordError};

/// Functions that a guest offers, and those that it needs from its host. The position of a function is its number in messages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct FunctionTable {
    /// Functions that the guest offers.
    pub exports: Vec<Function>,
    /// Functions that the guest needs.
    pub imports: Vec<Function>,
}

/// Reads the functions of `image`, which was parsed from `source`. Allocates at most 300 bytes for each record.
///
/// # Errors
///
/// The image has no note of a guest program, `source` cannot be read, or a table is malformed.
pub fn read_functions(source: &dyn ByteSource, image: &KernelImage) -> Result<FunctionTable, TableError> {
    let guest = image.metadata::<GuestImage>().ok_or(TableError::NoNote)?;
    let source = SizedSource::new(source)?;
    Ok(FunctionTable {
        exports: read_table(&source, guest, GuestTable::Exports)?,
        imports: read_table(&source, guest, GuestTable::Imports)?,
    })
}

fn read_table(
    source: &SizedSource<'_>,
    guest: &GuestImage,
    table: GuestTable,
) -> Result<Vec<Function>, TableError> {
    let range = guest.note().table(table);
    if range.is_empty() {
        return Ok(Vec::new());
    }
    let content = guest
        .constant(range.start(), range.len())
        .ok_or(TableError::Outside { table, range })?;
    let len = usize::try_from(content.len()).unwrap_or(usize::MAX);
    let bytes = source.read_vec(content.offset(), len)?;
    let mut functions = Vec::new();
    for (index, bytes) in (0..).zip(bytes.chunks_exact(size_of::<FunctionRecord>())) {
        // The length of a chunk is that of a record.
        let Ok(record) = FunctionRecord::ref_from_bytes(bytes) else {
            continue;
        };
        let function = record::read(source, guest, table, record).map_err(|failure| match failure {
            Failure::Read(error) => TableError::Read(error),
            Failure::Record(source) => TableError::Record {
                table,
                index,
                addr: range.start().saturating_add(RECORD.saturating_mul(index.into())),
                source,
            },
        })?;
        functions.push(function);
    }
    check_unique(table, &functions)?;
    Ok(functions)
}

fn check_unique(table: GuestTable, functions: &[Function]) -> Result<(), TableError> {
    let mut names = BTreeMap::new();
    for (second, function) in (0u32..).zip(functions) {
        if let Some(first) = names.insert(function.name.as_str(), second) {
            let name = function.name.clone();
            return Err(TableError::Duplicate {
                table,
                name,
                first,
                second,
            });
        }
    }
    Ok(())
}

/// Error in a table of functions.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// The image is not a guest program.
    #[error(
        "the file has no note of a sandbox's guest (owner \"VMSandbox\", type 1); link the guest's runtime into it"
    )]
    NoNote,
    /// The source could not be read.
    #[error("the functions of the guest cannot be read")]
    Read(#[from] ReadError),
    /// A table is not constant data of the file.
    #[error("the table of {table} at {range} is not in the file's part of a segment that is not writable")]
    Outside {
        /// The table.
        table: GuestTable,
        /// Its virtual addresses.
        range: GuestRange,
    },
    /// A record is malformed.
    #[error("record {index} of the {table}, at {addr:#x}, is malformed")]
    Record {
        /// The table.
        table: GuestTable,
        /// Index of the record.
        index: u32,
        /// Its virtual address.
        addr: u64,
        /// What is wrong.
        source: RecordError,
    },
    /// Two functions of a table have one name.
    #[error("records {first} and {second} of the {table} have the same name, {name:?}")]
    Duplicate {
        /// The table.
        table: GuestTable,
        /// The name.
        name: String,
        /// Index of the first record.
        first: u32,
        /// Index of the second record.
        second: u32,
    },
}
