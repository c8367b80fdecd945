//! A small PC: what a kernel needs to start, and what a harness needs to watch it.

use std::{fmt, io, sync::Arc};

use boot_core::CpuState;
use hv_core::{
    Bus, BusError, ConsoleSink, ExitPort, I8042, Ignore, Observer, Outcome, Policy, RunError, Serial, SerialConfig,
    SerialInput, Space, Vm, VmIrq, assemble, boot,
};

/// The serial port of a [`Pc`].
pub struct SerialPort {
    /// The first of its eight I/O ports.
    pub base: u16,
    /// Its interrupt line.
    pub irq: u32,
    /// Where the guest's output goes.
    pub sink: Box<dyn ConsoleSink>,
}

impl SerialPort {
    /// The first serial port of a PC, with its output going to `sink`.
    #[must_use]
    pub fn com1(sink: impl ConsoleSink + 'static) -> Self {
        Self { base: Serial::COM1_BASE, irq: Serial::COM1_IRQ, sink: Box::new(sink) }
    }
}

impl fmt::Debug for SerialPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SerialPort")
            .field("base", &self.base)
            .field("irq", &self.irq)
            .finish_non_exhaustive()
    }
}

/// Which devices a [`Pc`] has.
pub struct PcDevices {
    /// The console.
    pub serial: Option<SerialPort>,
    /// The keyboard controller's reset command at port 0x64.
    pub reset_port: bool,
    /// An I/O port that ends the run with the value written to it.
    pub exit_port: Option<u16>,
    /// A guest physical page without RAM that ends the run with the value written to it. It must lie outside the
    /// machine's RAM: the kernel gives RAM precedence, and writes to it would never be seen.
    pub exit_page: Option<u64>,
    /// Told about the first byte on the console.
    pub observer: Arc<dyn Observer>,
}

impl fmt::Debug for PcDevices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PcDevices")
            .field("serial", &self.serial)
            .field("reset_port", &self.reset_port)
            .field("exit_port", &self.exit_port)
            .field("exit_page", &self.exit_page)
            .finish_non_exhaustive()
    }
}

impl Default for PcDevices {
    /// A console that is thrown away, the reset port, and a debug-exit port at [`PcDevices::EXIT_PORT`].
    fn default() -> Self {
        Self {
            serial: Some(SerialPort::com1(io::sink())),
            reset_port: true,
            exit_port: Some(Self::EXIT_PORT),
            exit_page: None,
            observer: Arc::new(Ignore),
        }
    }
}

impl PcDevices {
    /// Where test guests customarily look for a debug-exit port.
    pub const EXIT_PORT: u16 = 0xf4;

    /// Size of [`exit_page`](Self::exit_page) in bytes.
    pub const EXIT_PAGE_LEN: u64 = 4096;

    /// A bus with these devices, and the console's input if there is a console.
    ///
    /// # Errors
    ///
    /// [`BusError`] when two of them overlap.
    pub fn connect<V: Vm>(self, vm: &Arc<V>) -> Result<(Bus, Option<SerialInput>), BusError> {
        let Self { serial, reset_port, exit_port, exit_page, observer } = self;
        let mut bus = Bus::new();
        let mut input = None;
        if let Some(SerialPort { base, irq, sink }) = serial {
            let irq = Box::new(VmIrq::new(Arc::clone(vm), irq));
            let serial = Serial::new(SerialConfig { irq, sink, observer });
            input = Some(serial.input());
            bus.insert(Space::Pio, base.into(), Serial::LEN, serial)?;
        }
        if reset_port {
            bus.insert(Space::Pio, I8042::PORT.into(), 1, I8042)?;
        }
        if let Some(port) = exit_port {
            bus.insert(Space::Pio, port.into(), 1, ExitPort)?;
        }
        if let Some(address) = exit_page {
            bus.insert(Space::Mmio, address, Self::EXIT_PAGE_LEN, ExitPort)?;
        }
        Ok((bus, input))
    }
}

/// A machine with RAM, vCPUs and devices, ready to boot.
#[derive(Debug)]
pub struct Pc<V: Vm> {
    // The vCPUs go before the machine whose parts they are.
    vcpus: Vec<V::Vcpu>,
    bus: Bus,
    input: Option<SerialInput>,
    vm: Arc<V>,
}

impl<V: Vm> Pc<V> {
    /// Puts a machine together: `ram` in slots 0, 1, …, `vcpus` vCPUs, and `devices`.
    ///
    /// # Errors
    ///
    /// [`RunError`] with the operation that failed.
    pub fn assemble(
        vm: V,
        ram: impl IntoIterator<Item = V::Ram>,
        vcpus: u32,
        devices: PcDevices,
    ) -> Result<Self, RunError<V::Error>> {
        let vm = Arc::new(vm);
        let (bus, input) = devices.connect(&vm)?;
        let vcpus = assemble(&*vm, ram, vcpus)?;
        Ok(Self { vcpus, bus, input, vm })
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
