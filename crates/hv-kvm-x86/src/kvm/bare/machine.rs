//! State of a bare machine that its handle and its vCPU share.

use hv_kvm::VmFile;

use super::process::Process;

/// Configuration of a [`KvmBareVm`](super::KvmBareVm).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct BareConfig {
    /// The doorbell: a write of `EAX` to this I/O port.
    pub doorbell_port: u16,
    /// The guest has `RDRAND` and `RDSEED`, if the host has them.
    pub entropy: bool,
}

impl BareConfig {
    /// A machine with its doorbell at I/O port `doorbell_port` and without random numbers.
    #[must_use]
    pub const fn new(doorbell_port: u16) -> Self {
        Self {
            doorbell_port,
            entropy: false,
        }
    }

    /// Sets whether the guest has `RDRAND` and `RDSEED`, if the host has them.
    #[must_use]
    pub const fn with_entropy(mut self, entropy: bool) -> Self {
        self.entropy = entropy;
        self
    }
}

/// State that the handle of the machine and its vCPU share. The memory of the guest stays mapped while one of them exists.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) file: VmFile,
    pub(super) process: &'static Process,
    pub(super) config: BareConfig,
}
