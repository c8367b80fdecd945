//! The devices of machines that a device tree describes: all of them memory-mapped.

use std::{fmt, io, sync::Arc};

use boot_core::{GuestRange, machine::Syscon};

use crate::{
    Bus, BusError, ConsoleSink, ExitPort, Ignore, IrqError, IrqLine, Observer, Serial, SerialConfig,
    SerialInput, Space, SysconDevice, Vm, VmIrq,
};

/// Where [`BoardDevices`] are: what of a machine's description it takes to put them on a bus.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceLayout {
    /// The console, where there is one.
    pub serial: Option<SerialPort>,
    /// The register that turns the machine off or resets it, where there is one.
    pub syscon: Option<Syscon>,
}

/// A memory-mapped serial port: an NS16550A with byte-wide registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SerialPort {
    /// Its registers.
    pub range: GuestRange,
    /// The interrupt line that it raises, in the numbering of [`Vm::set_irq`]; `None` for a port that is polled.
    pub line: Option<u32>,
}

/// What the devices of a [`DeviceLayout`] are connected to on the host's side, and those that no guest is told about.
pub struct BoardDevices {
    /// Where the output of the console goes; thrown away where there is none.
    pub console: Option<Box<dyn ConsoleSink>>,
    /// A guest physical page without RAM that ends the run with the value written to it. It must lie outside the
    /// machine's RAM: hypervisors give RAM precedence, and writes to it would never be seen.
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
    /// interrupt controller is not among them: it belongs to the machine.
    ///
    /// # Errors
    ///
    /// [`BusError`] when two of them overlap.
    pub fn connect<V: Vm>(
        self,
        vm: &Arc<V>,
        layout: &DeviceLayout,
    ) -> Result<(Bus, Option<SerialInput>), BusError> {
        let Self {
            console,
            exit_page,
            observer,
        } = self;
        let mut bus = Bus::new();
        let mut input = None;
        if let Some(port) = layout.serial {
            let irq: Box<dyn IrqLine> = match port.line {
                Some(line) => Box::new(VmIrq::new(Arc::clone(vm), line)),
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
