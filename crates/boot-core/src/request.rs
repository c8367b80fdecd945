//! What a boot is planned from: kernel, machine, command line, initrd, modules and seeds.

use core::num::NonZeroU64;

use crate::{Cmdline, KernelImage, Machine};

/// A file handed to the kernel beside the initrd, with its own command line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Module {
    /// Its length in bytes.
    pub len: u64,
    /// Its command line.
    pub cmdline: Cmdline,
}

impl Module {
    /// A module of `len` bytes with an empty command line.
    #[must_use]
    pub const fn new(len: u64) -> Self {
        Self {
            len,
            cmdline: Cmdline::new(),
        }
    }

    /// The same with a command line.
    #[must_use]
    pub fn with_cmdline(self, cmdline: Cmdline) -> Self {
        Self { cmdline, ..self }
    }
}

/// Everything that a boot is planned from.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct BootRequest<'a> {
    /// The kernel.
    pub image: &'a KernelImage,
    /// The machine.
    pub machine: &'a Machine,
    /// The kernel's command line.
    pub cmdline: &'a Cmdline,
    /// Length of the initrd in bytes, if there is one.
    pub initrd_len: Option<NonZeroU64>,
    /// Further files, for protocols that hand over more than an initrd.
    pub modules: &'a [Module],
    /// Random bytes for the guest's entropy pool, for protocols that can hand them over. The
    /// caller draws them: equal requests give equal plans.
    pub rng_seed: Option<&'a [u8]>,
    /// A random number for the kernel to choose its own addresses by, for protocols that can hand it over.
    pub kaslr_seed: Option<u64>,
    /// A flattened device tree that describes the machine, for protocols that hand one over: it is checked, and only
    /// what depends on this boot is changed in it. Without it the protocol writes one for
    /// [`Machine::platform`](crate::Machine::platform).
    pub device_tree: Option<&'a [u8]>,
}

impl<'a> BootRequest<'a> {
    /// A boot without initrd and modules.
    #[must_use]
    pub const fn new(image: &'a KernelImage, machine: &'a Machine, cmdline: &'a Cmdline) -> Self {
        Self {
            image,
            machine,
            cmdline,
            initrd_len: None,
            modules: &[],
            rng_seed: None,
            kaslr_seed: None,
            device_tree: None,
        }
    }

    /// The same with an initrd of `len` bytes. An empty initrd is none.
    #[must_use]
    pub const fn with_initrd(self, len: u64) -> Self {
        Self {
            initrd_len: NonZeroU64::new(len),
            ..self
        }
    }

    /// The same with modules.
    #[must_use]
    pub const fn with_modules(self, modules: &'a [Module]) -> Self {
        Self { modules, ..self }
    }

    /// The same with random bytes for the guest's entropy pool.
    #[must_use]
    pub const fn with_rng_seed(self, seed: &'a [u8]) -> Self {
        Self {
            rng_seed: Some(seed),
            ..self
        }
    }

    /// The same with a random number for the kernel to choose its own addresses by.
    #[must_use]
    pub const fn with_kaslr_seed(self, seed: u64) -> Self {
        Self {
            kaslr_seed: Some(seed),
            ..self
        }
    }

    /// The same with the caller's own device tree.
    #[must_use]
    pub const fn with_device_tree(self, dtb: &'a [u8]) -> Self {
        Self {
            device_tree: Some(dtb),
            ..self
        }
    }
}
