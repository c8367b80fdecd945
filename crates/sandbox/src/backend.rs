//! Hypervisors on which sandboxes run.

#[cfg(feature = "fake")]
mod fake;
mod kvm;

use guest_ram::RamRegion;
use hv_core::{BareVcpu, StateStore, Vcpu};

#[cfg(feature = "fake")]
pub use fake::{Fake, FakeRam};
pub use kvm::Kvm;

/// A hypervisor on which sandboxes run: it creates bare machines.
pub trait Backend: Send + Sync + 'static {
    /// Its machines.
    type Vm: StateStore<Vcpu = Self::Vcpu, Error = Self::Error, Ram: From<RamRegion>>;
    /// The CPUs of these machines.
    type Vcpu: BareVcpu<Error = Self::Error> + Vcpu<Error = Self::Error>;
    /// Its errors.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Creates a machine without memory and CPU, with the doorbell, the code address and the register image address of
    /// [`sandbox_abi`].
    ///
    /// # Errors
    ///
    /// Errors of the hypervisor.
    fn create(&self) -> Result<Self::Vm, Self::Error>;
}
