//! Configuration of a bare machine.

/// Configuration of a bare machine, `KvmBareVm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct BareConfig {
    /// The doorbell where KVM can forward calls: `HVC` with this function number in `W0` (SMC Calling Convention, Arm DEN 0028). KVM refuses
    /// numbers of Arm Architecture Calls and numbers that it uses itself.
    pub doorbell_function: u32,
    /// The doorbell elsewhere: a write to this guest physical address, of any width. Its page is reserved then.
    pub doorbell_address: u64,
    /// The doorbell may be a call.
    pub hvc: bool,
    /// Guest physical address of the rewind code ([`rewind`](crate::rewind)), a multiple of the page size. The guest cannot write the memory, and
    /// its owner does not change it after the first rewind.
    pub rewind_code: u64,
    /// Guest physical address of the register image, a multiple of the page size. The guest cannot write the memory.
    pub rewind_image: u64,
    /// The guest has the random numbers of the firmware (`TRNG`, Arm DEN 0098).
    pub entropy: bool,
}

impl BareConfig {
    /// A machine with these doorbells, without rewind code and without random numbers.
    #[must_use]
    pub const fn new(doorbell_function: u32, doorbell_address: u64) -> Self {
        Self {
            doorbell_function,
            doorbell_address,
            hvc: true,
            rewind_code: 0,
            rewind_image: 0,
            entropy: false,
        }
    }

    /// Sets whether the doorbell may be a call.
    #[must_use]
    pub const fn with_hvc(mut self, hvc: bool) -> Self {
        self.hvc = hvc;
        self
    }

    /// Sets the guest physical addresses of the rewind code and the register image.
    #[must_use]
    pub const fn with_rewind(mut self, code: u64, image: u64) -> Self {
        self.rewind_code = code;
        self.rewind_image = image;
        self
    }

    /// Sets whether the guest has the random numbers of the firmware.
    #[must_use]
    pub const fn with_entropy(mut self, entropy: bool) -> Self {
        self.entropy = entropy;
        self
    }
}
