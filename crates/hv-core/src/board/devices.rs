//! Devices of boards: serial console, reset and power-off, real-time clock, debug exit.

use std::{fmt, io, sync::Arc};

use boot_core::{Arch, GuestRange, machine::Syscon};

use crate::{
    AddressSpace, Bus, BusError, ConsoleOutput, DebugExitDevice, Device, I8042, IrqError, IrqLine,
    NullObserver, Observer, Rtc, Serial, SerialConfig, SerialInput, SleepControl, SysconDevice, Vm,
    VmIrqLine,
};

/// Addresses of a machine's devices. [`BoardDevices::connect`] creates the devices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceLayout {
    /// Serial port of the console.
    pub serial: Option<SerialPort>,
    /// Register that turns the machine off or resets it.
    pub syscon: Option<Syscon>,
    /// I/O port of the keyboard controller, whose reset command ends the run.
    pub i8042: Option<u16>,
    /// First I/O port of the real-time clock, which has the host's time.
    pub rtc: Option<u16>,
    /// I/O port of the ACPI sleep control register, which turns the machine off.
    pub sleep_control: Option<u16>,
}

impl DeviceLayout {
    /// A layout without devices.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            serial: None,
            syscon: None,
            i8042: None,
            rtc: None,
            sleep_control: None,
        }
    }

    /// The devices of a PC at their usual I/O ports: COM1, keyboard controller and real-time clock; and the sleep control register at
    /// [`SleepControl::PORT`].
    #[must_use]
    pub const fn pc() -> Self {
        Self {
            serial: Some(SerialPort::COM1),
            syscon: None,
            i8042: Some(I8042::PORT),
            rtc: Some(Rtc::PORT),
            sleep_control: Some(SleepControl::PORT),
        }
    }

    /// Sets the serial port of the console.
    #[must_use]
    pub const fn with_serial(mut self, serial: Option<SerialPort>) -> Self {
        self.serial = serial;
        self
    }

    /// Sets the register that turns the machine off or resets it.
    #[must_use]
    pub fn with_syscon(mut self, syscon: Option<Syscon>) -> Self {
        self.syscon = syscon;
        self
    }
}

/// Address and interrupt line of a serial port: an NS16550A with eight registers of one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SerialPort {
    /// Address space of the registers.
    pub space: AddressSpace,
    /// Address of the first register.
    pub base: u64,
    /// Interrupt line, in the numbering of [`Vm::set_irq`]; `None` if the guest polls the port.
    pub line: Option<u32>,
}

impl SerialPort {
    /// The first serial port of a PC.
    pub const COM1: Self = Self {
        space: AddressSpace::Pio,
        base: 0x3f8,
        line: Some(Serial::COM1_IRQ),
    };

    /// A serial port with its registers at I/O port `base`.
    #[must_use]
    pub fn pio(base: u16, line: Option<u32>) -> Self {
        Self {
            space: AddressSpace::Pio,
            base: base.into(),
            line,
        }
    }

    /// A serial port with its registers at the start of the guest physical range `range`.
    #[must_use]
    pub const fn mmio(range: GuestRange, line: Option<u32>) -> Self {
        Self {
            space: AddressSpace::Mmio,
            base: range.start(),
            line,
        }
    }
}

/// Creates a device that raises interrupts on a line.
type CreateDevice = Box<dyn FnOnce(Box<dyn IrqLine>) -> Box<dyn Device> + Send>;

/// A device with registers in guest physical memory and an interrupt line, which [`BoardDevices::connect`] creates.
pub struct MmioDevice {
    range: GuestRange,
    line: Option<u32>,
    create: CreateDevice,
}

impl MmioDevice {
    /// A device with its registers at `range`. `create` receives its interrupt line: line `line` of the machine, in the numbering of
    /// [`Vm::set_irq`], or one without effect if that is `None` and the guest polls the device.
    pub fn new<D: Device + 'static>(
        range: GuestRange,
        line: Option<u32>,
        create: impl FnOnce(Box<dyn IrqLine>) -> D + Send + 'static,
    ) -> Self {
        Self {
            range,
            line,
            create: Box::new(|irq| Box::new(create(irq))),
        }
    }
}

impl fmt::Debug for MmioDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MmioDevice")
            .field("range", &self.range)
            .field("line", &self.line)
            .finish_non_exhaustive()
    }
}

/// Host side of a board's devices: console output, debug-exit devices, the observer of the console, and devices of the caller.
///
/// Debug-exit devices are not described to the guest. Test guests use them to end the run.
#[non_exhaustive]
pub struct BoardDevices {
    /// Output of the console; `None` to discard it.
    pub console: Option<Box<dyn ConsoleOutput>>,
    /// First of four I/O ports of a debug-exit device; x86 only.
    pub exit_port: Option<u16>,
    /// Guest physical address of a page of a debug-exit device. The page must lie outside the machine's RAM: writes to RAM do
    /// not reach devices.
    pub exit_page: Option<u64>,
    /// Observer of [`Milestone::FirstConsoleByte`](crate::Milestone::FirstConsoleByte).
    pub observer: Arc<dyn Observer>,
    /// Further devices, such as virtio disks. The caller describes them to the guest.
    pub mmio: Vec<MmioDevice>,
}

impl fmt::Debug for BoardDevices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoardDevices")
            .field("console", &self.console.is_some())
            .field("exit_port", &self.exit_port)
            .field("exit_page", &self.exit_page)
            .field("mmio", &self.mmio)
            .finish_non_exhaustive()
    }
}

/// Interrupt line of a device that the guest polls.
struct NoIrq;

/// Interrupt line `line` of `vm`, or none.
fn irq_line<V: Vm>(vm: &Arc<V>, line: Option<u32>) -> Box<dyn IrqLine> {
    match line {
        Some(line) => Box::new(VmIrqLine::new(Arc::clone(vm), line)),
        None => Box::new(NoIrq),
    }
}

impl IrqLine for NoIrq {
    fn set(&self, _: bool) -> Result<(), IrqError> {
        Ok(())
    }
}

impl BoardDevices {
    /// The debug-exit port that test guests use on x86.
    pub const EXIT_PORT: u16 = 0xf4;

    /// Number of I/O ports from [`exit_port`](Self::exit_port) on, for 32-bit values.
    pub const EXIT_PORT_LEN: u64 = 4;

    /// Address of the debug-exit page that test guests use on arm64 and riscv64. The reference machines have no device there.
    pub const EXIT_PAGE: u64 = 0x0900_f000;

    /// Size of [`exit_page`](Self::exit_page) in bytes.
    pub const EXIT_PAGE_LEN: u64 = 4096;

    /// Devices that discard the console's output and have the debug-exit device of `arch`: [`EXIT_PORT`](Self::EXIT_PORT)
    /// on x86_64, [`EXIT_PAGE`](Self::EXIT_PAGE) elsewhere.
    #[must_use]
    pub fn new(arch: Arch) -> Self {
        let is_pc = arch == Arch::X86_64;
        Self {
            console: None,
            exit_port: is_pc.then_some(Self::EXIT_PORT),
            exit_page: (!is_pc).then_some(Self::EXIT_PAGE),
            observer: Arc::new(NullObserver),
            mmio: Vec::new(),
        }
    }

    /// Sets the output of the console.
    #[must_use]
    pub fn with_console(mut self, console: impl ConsoleOutput + 'static) -> Self {
        self.console = Some(Box::new(console));
        self
    }

    /// Sets the first of the debug-exit ports, or removes them.
    #[must_use]
    pub fn with_exit_port(mut self, exit_port: Option<u16>) -> Self {
        self.exit_port = exit_port;
        self
    }

    /// Sets the debug-exit page, or removes it.
    #[must_use]
    pub fn with_exit_page(mut self, exit_page: Option<u64>) -> Self {
        self.exit_page = exit_page;
        self
    }

    /// Sets the observer of [`Milestone::FirstConsoleByte`](crate::Milestone::FirstConsoleByte).
    #[must_use]
    pub fn with_observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = observer;
        self
    }

    /// Adds devices with registers in guest physical memory.
    #[must_use]
    pub fn with_mmio(mut self, devices: impl IntoIterator<Item = MmioDevice>) -> Self {
        self.mmio.extend(devices);
        self
    }

    /// Creates the devices of `layout`, the debug-exit devices and those of the caller on a bus. Also returns the input of the serial port, if there
    /// is one. Interrupt controllers are part of the virtual machine, not of these devices.
    ///
    /// # Errors
    ///
    /// [`BusError`] when two devices overlap or a device extends past its address space.
    pub fn connect<V: Vm>(
        self,
        vm: &Arc<V>,
        layout: &DeviceLayout,
    ) -> Result<(Bus, Option<SerialInput>), BusError> {
        let mut bus = Bus::new();
        let mut input = None;
        if let Some(port) = layout.serial {
            let irq = irq_line(vm, port.line);
            let output = self.console.unwrap_or_else(|| Box::new(io::sink()));
            let serial = Serial::new(SerialConfig::new(irq, output).with_observer(self.observer));
            input = Some(serial.input());
            bus.insert(port.space, port.base, Serial::LEN, serial)?;
        }
        if let Some(port) = layout.rtc {
            bus.insert(AddressSpace::Pio, port.into(), Rtc::LEN, Rtc::default())?;
        }
        if let Some(port) = layout.i8042 {
            bus.insert(AddressSpace::Pio, port.into(), 1, I8042)?;
        }
        if let Some(port) = layout.sleep_control {
            bus.insert(AddressSpace::Pio, port.into(), SleepControl::LEN, SleepControl)?;
        }
        if let Some(syscon) = &layout.syscon {
            let device = SysconDevice::new(syscon.clone());
            bus.insert(
                AddressSpace::Mmio,
                syscon.range.start(),
                syscon.range.len(),
                device,
            )?;
        }
        if let Some(port) = self.exit_port {
            bus.insert(
                AddressSpace::Pio,
                port.into(),
                Self::EXIT_PORT_LEN,
                DebugExitDevice,
            )?;
        }
        if let Some(address) = self.exit_page {
            bus.insert(AddressSpace::Mmio, address, Self::EXIT_PAGE_LEN, DebugExitDevice)?;
        }
        for device in self.mmio {
            let MmioDevice { range, line, create } = device;
            let device = create(irq_line(vm, line));
            bus.insert(AddressSpace::Mmio, range.start(), range.len(), device)?;
        }
        Ok((bus, input))
    }
}
