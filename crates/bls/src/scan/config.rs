//! Configuration of a scan.

use boot_core::Arch;

/// Configuration of a scan.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ScanConfig {
    /// Architecture of the machine. Entries for others are left out.
    pub arch: Arch,
    /// True if EFI programs can be started. Otherwise entries that have nothing else are left out.
    pub has_efi: bool,
    /// True if only verified code may run. This crate verifies nothing, so addons are left out, and `options` of entries of type 1
    /// do not replace the command line of a unified kernel image.
    pub is_secure_boot: bool,
    /// Maximum number of entries; 1,024 by default.
    pub max_entries: usize,
    /// Maximum number of names that are read from directories, in total; 16,384 by default.
    pub max_names: usize,
    /// Maximum number of bytes of texts that are read, in total; 4 MiB by default.
    pub max_text: usize,
    /// Maximum number of warnings; 256 by default. Later ones are dropped.
    pub max_warnings: usize,
}

impl ScanConfig {
    /// Configuration without EFI and Secure Boot, with the default limits.
    #[must_use]
    pub const fn new(arch: Arch) -> Self {
        Self {
            arch,
            has_efi: false,
            is_secure_boot: false,
            max_entries: 1024,
            max_names: 16_384,
            max_text: 4 << 20,
            max_warnings: 256,
        }
    }
}
