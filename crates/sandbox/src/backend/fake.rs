//! Sandboxes on the fake hypervisor.

use std::fmt;
use std::sync::Arc;

use boot_core::{CpuState, GuestRange, cpu::x86_64};
use guest_ram::RamRegion;
use hv_core::fake::{FakeBareConfig, FakeBareVcpu, FakeBareVm, FakeCpu, FakeError, FakeGuest, FakeMemory};
use hv_core::{BareAbilities, Doorbell};
use sandbox_abi::PORT_DOORBELL;

use super::Backend;

/// The fake hypervisor of hv-core: guests are closures that run on the caller's thread over the memory of the sandbox.
#[derive(Clone)]
pub struct Fake {
    guest: Arc<dyn Fn() -> Box<dyn FakeGuest> + Send + Sync>,
    fail_at: Option<usize>,
    features: u64,
    dirty_log: bool,
}

impl fmt::Debug for Fake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fake")
            .field("fail_at", &self.fail_at)
            .finish_non_exhaustive()
    }
}

impl Fake {
    /// A hypervisor whose machines run the guests that `guest` makes, one for each machine.
    #[must_use]
    pub fn new<G: FakeGuest>(guest: impl Fn() -> G + Send + Sync + 'static) -> Self {
        Self {
            guest: Arc::new(move || Box::new(guest())),
            fail_at: None,
            features: 0,
            dirty_log: true,
        }
    }

    /// Sets the features of the CPU, one bit each. A snapshot of a file needs those that its machine had.
    #[must_use]
    pub fn with_features(mut self, features: u64) -> Self {
        self.features = features;
        self
    }

    /// Sets whether machines have dirty logs. They have by default.
    #[must_use]
    pub fn with_dirty_log(mut self, dirty_log: bool) -> Self {
        self.dirty_log = dirty_log;
        self
    }

    /// Sets the number of the operation that fails in each machine, counted from 0.
    #[must_use]
    pub fn with_fail_at(mut self, number: Option<usize>) -> Self {
        self.fail_at = number;
        self
    }

    /// State of a CPU before a sandbox sets it.
    fn reset_state() -> CpuState {
        x86_64::State::reset().into()
    }
}

impl Backend for Fake {
    type Vm = FakeBareVm<FakeRam>;
    type Vcpu = FakeBareVcpu<FakeRam>;
    type Error = FakeError;

    fn create(&self) -> Result<Self::Vm, FakeError> {
        let abilities = BareAbilities::new(Doorbell::Port(PORT_DOORBELL), sandbox_abi::layout::PAGE)
            .with_dirty_log(self.dirty_log)
            .with_read_only(true);
        let config = FakeBareConfig::new(Self::reset_state(), abilities)
            .with_fail_at(self.fail_at)
            .with_features(self.features);
        let mut guest = (self.guest)();
        Ok(FakeBareVm::new(config, move |cpu: &mut FakeCpu<'_>| {
            guest.enter(cpu)
        }))
    }
}

/// Memory of a sandbox for the fake hypervisor.
#[derive(Clone, Debug)]
pub struct FakeRam(pub RamRegion);

impl From<RamRegion> for FakeRam {
    fn from(region: RamRegion) -> Self {
        Self(region)
    }
}

impl FakeMemory for FakeRam {
    fn range(&self) -> GuestRange {
        self.0.range()
    }

    fn read(&self, offset: u64, bytes: &mut [u8]) {
        // Addresses without memory read as what `bytes` has: the trait has no errors.
        let _unreadable = self.0.read_as_guest(offset, bytes);
    }

    fn write(&self, offset: u64, bytes: &[u8]) {
        let _unwritable = self.0.write_as_guest(offset, bytes);
    }
}
