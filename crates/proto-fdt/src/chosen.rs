//! The properties of `/chosen` that depend on the boot.

use alloc::vec::Vec;

use boot_core::GuestRange;

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

    /// The names of all properties that a [`Chosen`] may have.
    pub(crate) const NAMES: [&'static str; 5] = [
        "bootargs",
        "linux,initrd-start",
        "linux,initrd-end",
        "rng-seed",
        "kaslr-seed",
    ];

    /// The properties that are set, with their values.
    pub(crate) fn properties(&self) -> Vec<(&'static str, Vec<u8>)> {
        let number = |value: u64| value.to_be_bytes().to_vec();
        let [bootargs, start, end, rng, kaslr] = Self::NAMES;
        [
            (!self.bootargs.is_empty()).then(|| (bootargs, self.bootargs.to_vec())),
            self.initrd.map(|initrd| (start, number(initrd.start()))),
            self.initrd.map(|initrd| (end, number(initrd.end()))),
            self.rng_seed.map(|seed| (rng, seed.to_vec())),
            self.kaslr_seed.map(|seed| (kaslr, number(seed))),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}
