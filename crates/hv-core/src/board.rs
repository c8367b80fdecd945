//! Complete machines: RAM, vCPUs and devices.

mod devices;

use std::sync::Arc;

use boot_core::CpuState;

pub use self::devices::{BoardDevices, DeviceLayout, SerialPort};
use crate::{Bus, BusError, Outcome, Policy, RunError, SerialInput, Vm, boot, init_vm, run};

/// A complete machine: RAM, vCPUs and devices.
///
/// Generic over the [`Vm`], so code that uses boards can be tested with [`fake`](crate::fake). The harness of each
/// architecture has a function that builds one on its hypervisor.
#[derive(Debug)]
pub struct Board<V: Vm> {
    // Dropped before the virtual machine.
    vcpus: Vec<V::Vcpu>,
    bus: Bus,
    input: Option<SerialInput>,
    vm: Arc<V>,
}

impl<V: Vm> Board<V> {
    /// Builds a machine of `ram` in slots 0, 1, …, vCPUs 0 to `vcpus` - 1, and devices.
    ///
    /// `connect` creates the bus with the devices and returns it with the console's input, if there is a console. Its
    /// argument is the virtual machine, for interrupt lines. [`BoardDevices::connect`] does this for the usual devices.
    ///
    /// # Errors
    ///
    /// [`RunError`] with the operation or the device that failed. The devices are connected before RAM and vCPUs are created.
    pub fn new(
        vm: V,
        ram: impl IntoIterator<Item = V::Ram>,
        vcpus: u32,
        connect: impl FnOnce(&Arc<V>) -> Result<(Bus, Option<SerialInput>), BusError>,
    ) -> Result<Self, RunError<V::Error>> {
        let vm = Arc::new(vm);
        let (bus, input) = connect(&vm)?;
        let vcpus = init_vm(&*vm, ram, vcpus)?;
        Ok(Self {
            vcpus,
            bus,
            input,
            vm,
        })
    }

    /// Sets the registers of the first vCPU to `state` and runs the machine until the guest, `policy` or a failure ends the
    /// run.
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

    /// Continues the machine from its current state after [`boot`](Self::boot) or `resume` returned.
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

    /// The virtual machine.
    #[must_use]
    pub fn vm(&self) -> &Arc<V> {
        &self.vm
    }

    /// The vCPUs, in order of their numbers.
    #[must_use]
    pub fn vcpus_mut(&mut self) -> &mut [V::Vcpu] {
        &mut self.vcpus
    }

    /// The bus, for further devices.
    #[must_use]
    pub fn bus_mut(&mut self) -> &mut Bus {
        &mut self.bus
    }

    /// Input of the console, if there is a console.
    #[must_use]
    pub fn console_input(&self) -> Option<SerialInput> {
        self.input.clone()
    }
}
