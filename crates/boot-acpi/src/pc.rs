//! Hardware of a PC that its ACPI tables describe.

use crate::error::AcpiError;

/// The hardware of a PC that only ACPI describes. The vCPUs and virtio-mmio slots are those of the `Machine`.
///
/// The default is the reference PC of `hv-core`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pc {
    /// Address of the registers of the local APICs.
    pub local_apic: u32,
    /// Address of the registers of the I/O APIC, whose inputs are the global system interrupts from 0 on.
    pub io_apic: u32,
    /// The serial port, if any: an NS16550A.
    pub serial: Option<SerialPort>,
    /// I/O port of the sleep control register, if any; the sleep status register is the port behind it (ACPI 6.5, section 4.8.3.7). The sleep type 5
    /// turns the machine off.
    pub sleep_control: Option<u16>,
    /// The register that resets the machine, if any (ACPI 6.5, section 4.8.3.6).
    pub reset: Option<ResetPort>,
    /// Whether there is a keyboard controller with a keyboard. Without it, guests do not look for one.
    pub has_keyboard_controller: bool,
    /// Whether there is a real-time clock in the CMOS RAM.
    pub has_cmos_rtc: bool,
}

/// A serial port with I/O ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SerialPort {
    /// The first of eight I/O ports.
    pub port: u16,
    /// Its global system interrupt, edge-triggered.
    pub gsi: u32,
}

impl SerialPort {
    /// The first serial port of a PC: I/O port 0x3f8, interrupt 4.
    pub const COM1: Self = Self::new(0x3f8, 4);

    /// A serial port at `port` with this interrupt.
    #[must_use]
    pub const fn new(port: u16, gsi: u32) -> Self {
        Self { port, gsi }
    }
}

/// An I/O port that resets the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResetPort {
    /// The port.
    pub port: u16,
    /// The byte to write.
    pub value: u8,
}

impl ResetPort {
    /// The reset command of the keyboard controller.
    pub const KEYBOARD_CONTROLLER: Self = Self::new(0x64, 0xfe);

    /// A reset by writing `value` to `port`.
    #[must_use]
    pub const fn new(port: u16, value: u8) -> Self {
        Self { port, value }
    }
}

impl Default for Pc {
    fn default() -> Self {
        Self {
            local_apic: 0xfee0_0000,
            io_apic: 0xfec0_0000,
            serial: Some(SerialPort::COM1),
            sleep_control: Some(Self::SLEEP_CONTROL),
            reset: Some(ResetPort::KEYBOARD_CONTROLLER),
            has_keyboard_controller: false,
            has_cmos_rtc: true,
        }
    }
}

/// Number of I/O ports of a serial port.
pub(crate) const SERIAL_PORTS: u8 = 8;
/// Number of I/O ports of the sleep registers: control and status.
const SLEEP_PORTS: u8 = 2;

impl Pc {
    /// Checks the I/O ports.
    pub(crate) fn check(&self) -> Result<(), AcpiError> {
        // The address of a register that does not exist is 0 (ACPI 6.5, section 5.2.3.2).
        let registers = [
            ("sleep control", self.sleep_control),
            ("reset", self.reset.map(|reset| reset.port)),
        ];
        if let Some((register, _)) = registers.into_iter().find(|(_, port)| *port == Some(0)) {
            return Err(AcpiError::Port0 { register });
        }
        let ranges = [
            (self.serial.map(|serial| serial.port), SERIAL_PORTS),
            (self.sleep_control, SLEEP_PORTS),
        ];
        for (port, len) in ranges {
            let len = u16::from(len);
            match port {
                Some(port) if port.checked_add(len.saturating_sub(1)).is_none() => {
                    return Err(AcpiError::PortRange { port, len });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// I/O port of the sleep control register of the reference PC.
    pub const SLEEP_CONTROL: u16 = 0x600;

    /// The same with another serial port, or without one.
    #[must_use]
    pub const fn with_serial(mut self, serial: Option<SerialPort>) -> Self {
        self.serial = serial;
        self
    }

    /// The same with another sleep control register, or without one.
    #[must_use]
    pub const fn with_sleep_control(mut self, port: Option<u16>) -> Self {
        self.sleep_control = port;
        self
    }

    /// The same with another reset register, or without one.
    #[must_use]
    pub const fn with_reset(mut self, reset: Option<ResetPort>) -> Self {
        self.reset = reset;
        self
    }

    /// The same with or without a keyboard controller that has a keyboard.
    #[must_use]
    pub const fn with_keyboard_controller(mut self, is_present: bool) -> Self {
        self.has_keyboard_controller = is_present;
        self
    }

    /// The same with or without a real-time clock in the CMOS RAM.
    #[must_use]
    pub const fn with_cmos_rtc(mut self, is_present: bool) -> Self {
        self.has_cmos_rtc = is_present;
        self
    }
}
