//! Upper bounds on the tables that this crate reads.

/// Maximum number of program headers. Files with more are unsupported.
///
/// Kernels have fewer than twenty. The bound admits every count that fits `e_phnum` and some that need `PN_XNUM`. A table
/// of that size takes 4 MiB of a 32-bit file and 7 MiB of a 64-bit one; parsing it allocates less than 10 MiB.
pub const MAX_PROGRAM_HEADERS: u32 = 1 << 17;

/// Maximum number of notes in all `PT_NOTE` segments of a file. Linux has fewer than twenty. Further notes are not read.
pub const MAX_NOTES: u32 = 4096;
