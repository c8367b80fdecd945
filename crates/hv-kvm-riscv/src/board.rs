//! A whole machine: RAM, vCPUs and devices, ready to boot.

use std::{
    fmt, io,
    sync::{Arc, Mutex, PoisonError},
};

use boot_core::CpuState;
use hv_core::{
    Bus, BusError, ConsoleSink, ExitPort, Ignore, IrqError, IrqLine, Observer, Outcome, Policy, RunError,
    Serial, SerialConfig, SerialInput, Space, SysconDevice, Vm, VmIrq, assemble, boot,
};

use crate::Layout;

/// What a [`Board`]'s devices are connected to, and those that no guest is told about.
pub struct BoardDevices {
    /// Where the output of the console goes; thrown away where there is none.
    pub console: Option<Box<dyn ConsoleSink>>,
    /// A guest physical page without RAM that ends the run with the value written to it. It must lie outside the
    /// machine's RAM: the kernel gives RAM precedence, and writes to it would never be seen.
    pub exit_page: Option<u64>,
    /// Told about the first byte on the console.
    pub observer: Arc<dyn Observer>,
}

impl fmt::Debug for BoardDevices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoardDevices")
            .field("console", &self.console.is_some())
            .field("exit_page", &self.exit_page)
            .finish_non_exhaustive()
    }
}

impl Default for BoardDevices {
    /// Output is thrown away, and there is an exit page at [`BoardDevices::EXIT_PAGE`].
    fn default() -> Self {
        Self {
            console: None,
            exit_page: Some(Self::EXIT_PAGE),
            observer: Arc::new(Ignore),
        }
    }
}

/// A sink with several writers. The serial port and the consoles of SBI are the same console to the caller.
#[derive(Clone)]
pub struct SharedSink(Arc<Mutex<Box<dyn ConsoleSink>>>);

impl fmt::Debug for SharedSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedSink").finish_non_exhaustive()
    }
}

impl SharedSink {
    /// What is written to any clone of it goes to `sink`, or is thrown away where there is none.
    #[must_use]
    pub fn new(sink: Option<Box<dyn ConsoleSink>>) -> Self {
        Self(Arc::new(Mutex::new(sink.unwrap_or_else(|| Box::new(io::sink())))))
    }
}

impl io::Write for SharedSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A poisoned sink panicked in a vCPU's thread, which the run reports by itself.
        let mut sink = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sink.write(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The line of a device that is polled.
struct NoIrq;

impl IrqLine for NoIrq {
    fn pulse(&self) -> Result<(), IrqError> {
        Ok(())
    }
}

impl BoardDevices {
    /// Where test guests look for the exit page: behind the syscon of the reference machines.
    pub const EXIT_PAGE: u64 = 0x0900_f000;

    /// Size of [`exit_page`](Self::exit_page) in bytes.
    pub const EXIT_PAGE_LEN: u64 = 4096;

    /// A bus with the devices of `layout`, connected to these, and the console's input if there is a console. An
    /// interrupt controller in user space is not among them: it belongs to the machine.
    ///
    /// # Errors
    ///
    /// [`BusError`] when two of them overlap.
    pub fn connect<V: Vm>(
        self,
        vm: &Arc<V>,
        layout: &Layout,
    ) -> Result<(Bus, Option<SerialInput>), BusError> {
        let Self {
            console,
            exit_page,
            observer,
        } = self;
        let mut bus = Bus::new();
        let mut input = None;
        if let Some(port) = layout.serial {
            let irq: Box<dyn IrqLine> = match port.source {
                Some(source) => Box::new(VmIrq::new(Arc::clone(vm), source)),
                None => Box::new(NoIrq),
            };
            let serial = Serial::new(SerialConfig {
                irq,
                sink: console.unwrap_or_else(|| Box::new(io::sink())),
                observer,
            });
            input = Some(serial.input());
            bus.insert(Space::Mmio, port.range.start(), Serial::LEN, serial)?;
        }
        if let Some(syscon) = &layout.syscon {
            let device = SysconDevice::new(syscon.clone());
            bus.insert(Space::Mmio, syscon.range.start(), syscon.range.len(), device)?;
        }
        if let Some(address) = exit_page {
            bus.insert(Space::Mmio, address, Self::EXIT_PAGE_LEN, ExitPort)?;
        }
        Ok((bus, input))
    }
}

/// A machine with RAM, vCPUs and devices, ready to boot.
///
/// It works with every [`Vm`], so that what is built on it can be tested with [`hv_core::fake`]; on KVM,
/// `Board::on_kvm`, which is there on Linux on riscv64, makes one in one step.
#[derive(Debug)]
pub struct Board<V: Vm> {
    // The vCPUs go before the machine whose parts they are.
    vcpus: Vec<V::Vcpu>,
    bus: Bus,
    input: Option<SerialInput>,
    vm: Arc<V>,
}

#[cfg(all(target_os = "linux", target_arch = "riscv64"))]
impl Board<crate::KvmVm> {
    /// A machine on KVM, with all of `ram` as its RAM. The consoles of SBI are its console as well.
    ///
    /// # Errors
    ///
    /// [`RunError`] with the operation that failed; [`Operation::CreateVm`](hv_core::Operation::CreateVm) where there
    /// is no KVM.
    pub fn on_kvm(
        ram: &guest_ram::GuestRam,
        layout: &Layout,
        devices: BoardDevices,
    ) -> Result<Self, RunError<crate::KvmError>> {
        let sink = SharedSink::new(devices.console);
        let console = crate::SbiConsole::new(Box::new(sink.clone()), Arc::clone(&devices.observer));
        let vm = crate::KvmVm::new(layout, console).map_err(|source| RunError::Operation {
            operation: hv_core::Operation::CreateVm,
            target: 0,
            source,
        })?;
        let plic = vm.plic();
        let devices = BoardDevices {
            console: Some(Box::new(sink)),
            ..devices
        };
        let mut board = Self::assemble(vm, ram.regions(), layout, devices)?;
        if let (Some(plic), crate::layout::Controller::Plic { range, .. }) = (plic, layout.controller) {
            board.bus.insert(Space::Mmio, range.start(), range.len(), plic)?;
        }
        Ok(board)
    }
}

impl<V: Vm> Board<V> {
    /// Puts a machine together: `ram` in slots 0, 1, …, the vCPUs of `layout`, and its devices.
    ///
    /// # Errors
    ///
    /// [`RunError`] with the operation that failed.
    pub fn assemble(
        vm: V,
        ram: impl IntoIterator<Item = V::Ram>,
        layout: &Layout,
        devices: BoardDevices,
    ) -> Result<Self, RunError<V::Error>> {
        let vm = Arc::new(vm);
        let (bus, input) = devices.connect(&vm, layout)?;
        let vcpus = assemble(&*vm, ram, layout.vcpus)?;
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
    /// As [`hv_core::run()`].
    ///
    /// # Panics
    ///
    /// As [`hv_core::run()`].
    pub fn boot(&mut self, state: &CpuState, policy: &Policy) -> Result<Outcome, RunError<V::Error>> {
        boot(&mut self.vcpus, state, &self.bus, policy)
    }

    /// Goes on after [`boot`](Self::boot) or this ended, from where the vCPUs are.
    ///
    /// # Errors
    ///
    /// As [`hv_core::run()`].
    ///
    /// # Panics
    ///
    /// As [`hv_core::run()`].
    pub fn resume(&mut self, policy: &Policy) -> Result<Outcome, RunError<V::Error>> {
        hv_core::run(&mut self.vcpus, &self.bus, policy)
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

#[cfg(test)]
mod tests;
