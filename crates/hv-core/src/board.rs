//! A whole machine: RAM, vCPUs and devices, ready to boot.

mod devices;

use std::sync::Arc;

use boot_core::CpuState;

pub use self::devices::{BoardDevices, DeviceLayout, SerialPort};
use crate::{Bus, BusError, Outcome, Policy, RunError, SerialInput, Vm, assemble, boot, run};

/// A machine with RAM, vCPUs and devices, ready to boot.
///
/// It works with every [`Vm`], so that what is built on it can be tested with [`fake`](crate::fake); the harness of each
/// architecture has a function that makes one on its hypervisor in one step.
#[derive(Debug)]
pub struct Board<V: Vm> {
    // The vCPUs go before the machine whose parts they are.
    vcpus: Vec<V::Vcpu>,
    bus: Bus,
    input: Option<SerialInput>,
    vm: Arc<V>,
}

impl<V: Vm> Board<V> {
    /// Puts a machine together: `ram` in slots 0, 1, …, vCPUs 0 to `vcpus` - 1, and the devices that `connect` puts on a
    /// bus. It is given the machine, for their interrupt lines, and returns the console's input if there is a console;
    /// [`BoardDevices::connect`] does this for the devices that most machines have.
    ///
    /// # Errors
    ///
    /// [`RunError`] with the operation or the device that failed.
    pub fn assemble(
        vm: V,
        ram: impl IntoIterator<Item = V::Ram>,
        vcpus: u32,
        connect: impl FnOnce(&Arc<V>) -> Result<(Bus, Option<SerialInput>), BusError>,
    ) -> Result<Self, RunError<V::Error>> {
        let vm = Arc::new(vm);
        let (bus, input) = connect(&vm)?;
        let vcpus = assemble(&*vm, ram, vcpus)?;
        Ok(Self {
            vcpus,
            bus,
            input,
            vm,
        })
    }

    /// Starts the first vCPU at `state` and runs the machine until `policy`, the guest or a failure ends it.
    ///
    /// # Errors
    ///
    /// As [`boot()`].
    ///
    /// # Panics
    ///
    /// As [`run()`].
    pub fn boot(&mut self, state: &CpuState, policy: &Policy) -> Result<Outcome, RunError<V::Error>> {
        boot(&mut self.vcpus, state, &self.bus, policy)
    }

    /// Goes on after [`boot`](Self::boot) or this ended, from where the vCPUs are.
    ///
    /// # Errors
    ///
    /// As [`run()`].
    ///
    /// # Panics
    ///
    /// As [`run()`].
    pub fn resume(&mut self, policy: &Policy) -> Result<Outcome, RunError<V::Error>> {
        run(&mut self.vcpus, &self.bus, policy)
    }

    /// The machine.
    #[must_use]
    pub fn vm(&self) -> &Arc<V> {
        &self.vm
    }

    /// The vCPUs, in order of their numbers.
    #[must_use]
    pub fn vcpus(&mut self) -> &mut [V::Vcpu] {
        &mut self.vcpus
    }

    /// The bus, for further devices.
    #[must_use]
    pub fn bus(&mut self) -> &mut Bus {
        &mut self.bus
    }

    /// Types into the console, if there is one.
    #[must_use]
    pub fn input(&self) -> Option<SerialInput> {
        self.input.clone()
    }
}
