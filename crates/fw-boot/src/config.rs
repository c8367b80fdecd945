//! The machine and the parts of a boot that do not depend on the disk.

use boot_core::{AdditionalLoad, BootProtocol, KernelFormat, Machine};

/// What a boot needs besides disks and memory.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct BootConfig<'a> {
    /// The machine.
    pub machine: &'a Machine,
    /// Formats of kernels.
    pub formats: &'a [&'a dyn KernelFormat],
    /// Boot protocols.
    pub protocols: &'a [&'a dyn BootProtocol],
    /// Memory of the loader itself, which nothing may be loaded to: see [`AdditionalLoad::present`].
    pub own: &'a [AdditionalLoad<'a>],
    /// Device tree of the machine, where it has one.
    pub device_tree: Option<&'a [u8]>,
    /// Options for the end of the kernel's command line, such as `virtio_mmio.device=…`.
    pub options: &'a [&'a str],
    /// Random bytes for the kernel, where the machine has any.
    pub rng_seed: Option<&'a [u8]>,
    /// Random number for the kernel's address space layout, where the machine has one.
    pub kaslr_seed: Option<u64>,
}

impl<'a> BootConfig<'a> {
    /// A boot of `machine` with these formats and protocols.
    #[must_use]
    pub const fn new(
        machine: &'a Machine,
        formats: &'a [&'a dyn KernelFormat],
        protocols: &'a [&'a dyn BootProtocol],
    ) -> Self {
        Self {
            machine,
            formats,
            protocols,
            own: &[],
            device_tree: None,
            options: &[],
            rng_seed: None,
            kaslr_seed: None,
        }
    }

    /// The same with memory of the loader.
    #[must_use]
    pub const fn with_own(self, own: &'a [AdditionalLoad<'a>]) -> Self {
        Self { own, ..self }
    }

    /// The same with a device tree.
    #[must_use]
    pub const fn with_device_tree(self, tree: &'a [u8]) -> Self {
        Self {
            device_tree: Some(tree),
            ..self
        }
    }

    /// The same with options for the end of the command line.
    #[must_use]
    pub const fn with_options(self, options: &'a [&'a str]) -> Self {
        Self { options, ..self }
    }

    /// The same with random bytes.
    #[must_use]
    pub const fn with_rng_seed(self, seed: &'a [u8]) -> Self {
        Self {
            rng_seed: Some(seed),
            ..self
        }
    }

    /// The same with a random number for the kernel's address space layout.
    #[must_use]
    pub const fn with_kaslr_seed(self, seed: u64) -> Self {
        Self {
            kaslr_seed: Some(seed),
            ..self
        }
    }
}
