//! Addresses of the guests.

/// Virtual address of the code. With page tables, it is mapped to another physical address; the guest of arm64 has none.
pub(crate) const CODE: u64 = if cfg!(target_arch = "aarch64") {
    CODE_PHYS
} else {
    0x4000_0000
};
pub(crate) const CODE_PHYS: u64 = 0x20_0000;

/// Stack, and memory in general: 64 KiB.
pub(crate) const MEMORY: u64 = 0x30_0000;
pub(crate) const MEMORY_LEN: usize = 0x1_0000;
pub(crate) const STACK: u64 = MEMORY + 0x8000;

/// Address of the word to which the function writes the counter.
pub(crate) const DATA: u64 = MEMORY;

pub(crate) const TABLES: u64 = 0x10_0000;
