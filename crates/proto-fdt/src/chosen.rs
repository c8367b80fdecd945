//! The properties of `/chosen` that depend on the boot.

use alloc::vec::Vec;

use boot_core::GuestRange;

use crate::efi::EfiHandover;

/// Boot parameters in `/chosen` (Devicetree Specification, "/chosen Node"; `chosen.yaml` of dt-schema), for
/// [`create_fdt`](crate::create_fdt) and [`update_fdt`](crate::update_fdt).
///
/// ```
/// use boot_core::GuestRange;
/// use proto_fdt::Chosen;
///
/// let chosen = Chosen::new()
///     .with_bootargs(b"console=ttyS0\0")
///     .with_initrd(GuestRange::new(0x8800_0000, 0x1000).unwrap());
/// assert_eq!(chosen.kaslr_seed, None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Chosen<'a> {
    /// `bootargs`: the kernel command line with its terminating NUL, as
    /// [`Cmdline::to_bytes`](boot_core::Cmdline::to_bytes) returns it. An empty slice omits the property.
    pub bootargs: &'a [u8],
    /// `linux,initrd-start` and `linux,initrd-end`: the addresses of the initrd.
    pub initrd: Option<GuestRange>,
    /// `rng-seed`: random bytes for the guest's entropy pool.
    pub rng_seed: Option<&'a [u8]>,
    /// `kaslr-seed`: a random number for kernel address space layout randomization.
    pub kaslr_seed: Option<u64>,
    /// `linux,uefi-*`: EFI tables, by which the kernel finds ACPI tables.
    pub efi: Option<EfiHandover>,
}

impl<'a> Chosen<'a> {
    /// No boot parameters.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bootargs: &[],
            initrd: None,
            rng_seed: None,
            kaslr_seed: None,
            efi: None,
        }
    }

    /// Sets `bootargs`: the command line with its terminating NUL.
    #[must_use]
    pub const fn with_bootargs(self, bootargs: &'a [u8]) -> Self {
        Self { bootargs, ..self }
    }

    /// Sets `linux,initrd-start` and `linux,initrd-end`: the addresses of the initrd.
    #[must_use]
    pub const fn with_initrd(self, initrd: GuestRange) -> Self {
        Self {
            initrd: Some(initrd),
            ..self
        }
    }

    /// Sets `rng-seed`: random bytes for the guest's entropy pool.
    #[must_use]
    pub const fn with_rng_seed(self, seed: &'a [u8]) -> Self {
        Self {
            rng_seed: Some(seed),
            ..self
        }
    }

    /// Sets `kaslr-seed`: a random number for KASLR.
    #[must_use]
    pub const fn with_kaslr_seed(self, seed: u64) -> Self {
        Self {
            kaslr_seed: Some(seed),
            ..self
        }
    }

    /// Sets `linux,uefi-*`: EFI tables, by which the kernel finds ACPI tables.
    #[must_use]
    pub const fn with_efi(self, efi: EfiHandover) -> Self {
        Self {
            efi: Some(efi),
            ..self
        }
    }

    /// The names of all properties that a [`Chosen`] may have.
    pub(crate) const NAMES: [&'static str; 11] = [
        "bootargs",
        "linux,initrd-start",
        "linux,initrd-end",
        "rng-seed",
        "kaslr-seed",
        "linux,uefi-system-table",
        "linux,uefi-mmap-start",
        "linux,uefi-mmap-size",
        "linux,uefi-mmap-desc-size",
        "linux,uefi-mmap-desc-ver",
        "linux,uefi-secure-boot",
    ];
    /// Without Secure Boot (`efi_secureboot_mode_disabled` in Linux `include/linux/efi.h`). Kernels with a patch for lockdown, such as those of Debian,
    /// ignore all EFI properties if this one is missing.
    const SECURE_BOOT_DISABLED: u32 = 2;

    /// The properties that are set, with their values.
    pub(crate) fn properties(&self) -> Vec<(&'static str, Vec<u8>)> {
        let number = |value: u64| value.to_be_bytes().to_vec();
        let cell = |value: u32| value.to_be_bytes().to_vec();
        let [
            bootargs,
            start,
            end,
            rng,
            kaslr,
            table,
            map,
            map_len,
            size,
            version,
            secure_boot,
        ] = Self::NAMES;
        // The binding has one cell for the length of the map.
        let len = |efi: EfiHandover| u32::try_from(efi.memory_map.len()).unwrap_or(u32::MAX);
        [
            (!self.bootargs.is_empty()).then(|| (bootargs, self.bootargs.to_vec())),
            self.initrd.map(|initrd| (start, number(initrd.start()))),
            self.initrd.map(|initrd| (end, number(initrd.end()))),
            self.rng_seed.map(|seed| (rng, seed.to_vec())),
            self.kaslr_seed.map(|seed| (kaslr, number(seed))),
            self.efi.map(|efi| (table, number(efi.system_table))),
            self.efi.map(|efi| (map, number(efi.memory_map.start()))),
            self.efi.map(|efi| (map_len, cell(len(efi)))),
            self.efi.map(|efi| (size, cell(efi.descriptor_size))),
            self.efi.map(|efi| (version, cell(efi.descriptor_version))),
            self.efi.map(|_| (secure_boot, cell(Self::SECURE_BOOT_DISABLED))),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}
