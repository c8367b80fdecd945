//! Complete machines: RAM, vCPUs and devices.

mod devices;

use std::sync::Arc;

use boot_core::CpuState;

pub use self::devices::{BoardDevices, DeviceLayout, MmioDevice, SerialPort};
use crate::{Bus, BusError, Outcome, RunConfig, RunError, SerialInput, Vm, boot, init_vm, run};

/// A complete machine: RAM, vCPUs and devices.
///
/// Each KVM harness has a function `board_on_kvm` that builds one. The type is generic over the [`Vm`], so code that uses
/// boards can be tested with [`fake`](crate::fake).
#[derive(Debug)]
pub struct Board<V: Vm> {
    // Dropped before the virtual machine.
    vcpus: Vec<V::Vcpu>,
    bus: Bus,
    input: Option<SerialInput>,
    vm: Arc<V>,
}

impl<V: Vm> Board<V> {
    /// Builds a machine of devices, `ram` in slots 0, 1, …, and vCPUs 0 to `vcpus` - 1, in this order.
    ///
    /// `connect` creates the bus with the devices and returns it with the console's input, if there is a console. Its
    /// argument is the virtual machine, for interrupt lines. [`BoardDevices::connect`] does this for the usual devices.
    ///
    /// A machine without vCPUs can be built, but not run.
    ///
    /// # Errors
    ///
    /// [`RunError::Bus`] with the error of `connect`; [`RunError::Operation`] with the slot or vCPU that failed.
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

    /// Sets the registers of the first vCPU to `state` and runs the machine.
    ///
    /// # Errors
    ///
    /// As [`boot()`].
    ///
    /// # Panics
    ///
    /// As [`run()`].
    pub fn boot(&mut self, state: &CpuState, config: &RunConfig) -> Result<Outcome, RunError<V::Error>> {
        boot(&mut self.vcpus, state, &self.bus, config)
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
    pub fn resume(&mut self, config: &RunConfig) -> Result<Outcome, RunError<V::Error>> {
        run(&mut self.vcpus, &self.bus, config)
    }

    /// The virtual machine.
    #[must_use]
    pub fn vm(&self) -> &Arc<V> {
        &self.vm
    }

    /// The vCPUs, in order of their numbers, for access to registers and for resets.
    #[must_use]
    pub fn vcpus_mut(&mut self) -> &mut [V::Vcpu] {
        &mut self.vcpus
    }

    /// The bus, for devices in addition to those of `connect`.
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
