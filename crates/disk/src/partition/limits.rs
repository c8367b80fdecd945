//! Limits of the readers of tables.

/// Maximum length of the entry array of a GPT in bytes: 8,192 entries of 128 bytes.
pub const MAX_ARRAY_LEN: u32 = 1 << 20;

/// Maximum `SizeOfPartitionEntry` of a GPT in bytes.
pub const MAX_ENTRY_SIZE: u32 = 4096;

/// Maximum number of extended boot records of an extended partition.
pub const MAX_LOGICAL: usize = 128;
