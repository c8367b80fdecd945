//! Errors in notes.

/// Error in a note or a `PT_NOTE` segment.
///
/// Notes are optional: [`parse`](crate::parse()) uses the others, and returns this as a [`Warning`](crate::Warning) unless the
/// file then has no entry point. Offsets are file offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum NoteError {
    /// A `PT_NOTE` segment ends past the end of the file. The notes before the end of the file count.
    #[error(
        "the PT_NOTE segment of program header {index} ends past the end of the file: {len:#x} bytes at offset {offset:#x} of \
         a file of {file_len:#x} bytes"
    )]
    SegmentTruncated {
        /// Index of the program header.
        index: u32,
        /// File offset of the segment.
        offset: u64,
        /// Length of the segment in bytes.
        len: u64,
        /// Length of the file in bytes.
        file_len: u64,
    },
    /// A note ends past the end of its segment. The notes before it count.
    #[error("the note at byte {offset:#x} ends past its PT_NOTE segment, which ends at byte {end:#x}")]
    Truncated {
        /// File offset of the note.
        offset: u64,
        /// File offset of the end of the segment.
        end: u64,
    },
    /// More than [`MAX_NOTES`](crate::MAX_NOTES) notes. The others are not read.
    #[error(
        "the file has more than {} notes; those from byte {offset:#x} on are not read",
        crate::MAX_NOTES
    )]
    TooMany {
        /// File offset of the name of the first note beyond the limit.
        offset: u64,
    },
    /// The value of a PVH entry note is neither 32 nor 64 bits long.
    #[error("the PVH entry note at byte {offset:#x} has a value of {len} bytes, expected 4 or 8")]
    PvhEntrySize {
        /// File offset of the value.
        offset: u64,
        /// Length of the value in bytes.
        len: u64,
    },
    /// A PVH entry point lies above 4 GiB or outside every segment.
    #[error(
        "the PVH entry point {entry:#x} (note value at byte {offset:#x}) is not a physical address below 4 GiB in any \
         segment"
    )]
    InvalidPvhEntry {
        /// File offset of the value.
        offset: u64,
        /// The entry point.
        entry: u64,
    },
    /// Two PVH entry notes have different values. The first one counts.
    #[error(
        "the file has two different PVH entry points: {first:#x} and {second:#x} (note value at byte {offset:#x})"
    )]
    ConflictingPvhEntries {
        /// First entry point.
        first: u64,
        /// Second entry point.
        second: u64,
        /// File offset of the value of the second note.
        offset: u64,
    },
    /// Two PVH relocation notes have different values. The first one counts.
    #[error("there is a second PVH relocation note at byte {offset:#x} with another value")]
    ConflictingPvhRelocs {
        /// File offset of the value of the second note.
        offset: u64,
    },
    /// The alignment in a PVH relocation note is not a power of two.
    #[error(
        "the alignment in the PVH relocation note at byte {offset:#x} is {align:#x}, expected a power of two"
    )]
    PvhRelocAlign {
        /// File offset of the alignment.
        offset: u64,
        /// The alignment.
        align: u32,
    },
    /// The image does not fit between the addresses in the PVH relocation note.
    #[error("the image does not fit between {min:#x} and {max:#x}, the limits in the PVH relocation note")]
    PvhRelocTooNarrow {
        /// Lowest start.
        min: u64,
        /// Highest end, exclusive.
        max: u64,
    },
}
