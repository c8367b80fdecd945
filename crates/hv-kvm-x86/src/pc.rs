//! The devices of a small PC: what a kernel needs to start, and what a harness needs to watch it.

use std::{fmt, io, sync::Arc};

use hv_core::{
    Bus, BusError, ConsoleSink, ExitPort, I8042, Ignore, Observer, Rtc, Serial, SerialConfig, SerialInput,
    Space, Vm, VmIrq,
};

/// The serial port of a PC.
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
        Self {
            base: Serial::COM1_BASE,
            irq: Serial::COM1_IRQ,
            sink: Box::new(sink),
        }
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

/// Which devices a PC has.
pub struct PcDevices {
    /// The console.
    pub serial: Option<SerialPort>,
    /// The keyboard controller's reset command at port 0x64.
    pub reset_port: bool,
    /// The real-time clock, which tells the host's time.
    pub clock: bool,
    /// An I/O port that ends the run with the value written to it, and the first of four.
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
            .field("clock", &self.clock)
            .field("exit_port", &self.exit_port)
            .field("exit_page", &self.exit_page)
            .finish_non_exhaustive()
    }
}

impl Default for PcDevices {
    /// A console that is thrown away, the reset port, the clock, and a debug-exit port at [`PcDevices::EXIT_PORT`].
    fn default() -> Self {
        Self {
            serial: Some(SerialPort::com1(io::sink())),
            reset_port: true,
            clock: true,
            exit_port: Some(Self::EXIT_PORT),
            exit_page: None,
            observer: Arc::new(Ignore),
        }
    }
}

impl PcDevices {
    /// Where test guests customarily look for a debug-exit port.
    pub const EXIT_PORT: u16 = 0xf4;

    /// How many I/O ports [`exit_port`](Self::exit_port) is the first of: it takes 32-bit values.
    pub const EXIT_PORT_LEN: u64 = 4;

    /// Size of [`exit_page`](Self::exit_page) in bytes.
    pub const EXIT_PAGE_LEN: u64 = 4096;

    /// A bus with these devices, and the console's input if there is a console.
    ///
    /// # Errors
    ///
    /// [`BusError`] when two of them overlap.
    pub fn connect<V: Vm>(self, vm: &Arc<V>) -> Result<(Bus, Option<SerialInput>), BusError> {
        let Self {
            serial,
            reset_port,
            clock,
            exit_port,
            exit_page,
            observer,
        } = self;
        let mut bus = Bus::new();
        let mut input = None;
        if let Some(SerialPort { base, irq, sink }) = serial {
            let irq = Box::new(VmIrq::new(Arc::clone(vm), irq));
            let serial = Serial::new(SerialConfig { irq, sink, observer });
            input = Some(serial.input());
            bus.insert(Space::Pio, base.into(), Serial::LEN, serial)?;
        }
        if clock {
            bus.insert(Space::Pio, Rtc::PORT.into(), Rtc::LEN, Rtc::default())?;
        }
        if reset_port {
            bus.insert(Space::Pio, I8042::PORT.into(), 1, I8042)?;
        }
        if let Some(port) = exit_port {
            bus.insert(Space::Pio, port.into(), Self::EXIT_PORT_LEN, ExitPort)?;
        }
        if let Some(address) = exit_page {
            bus.insert(Space::Mmio, address, Self::EXIT_PAGE_LEN, ExitPort)?;
        }
        Ok((bus, input))
    }
}

#[cfg(test)]
mod tests {
    use boot_core::{CpuState, cpu::x86_64::State};
    use hv_core::{
        Board, Outcome, Policy, RunError,
        fake::{FakeConfig, FakeError, FakeRam, FakeVm, Step},
    };

    use super::*;

    const RAM: FakeRam = FakeRam { base: 0, len: 0x1000 };

    fn state() -> CpuState {
        State::protected_mode(0x10_0000, 0x10, 0x18).into()
    }

    fn out(port: u16, value: u8) -> Step {
        Step::IoWrite {
            port,
            size: 1,
            data: vec![value],
        }
    }

    fn pc(devices: PcDevices, script: Vec<Step>) -> Result<Board<FakeVm>, RunError<FakeError>> {
        let vm = FakeVm::new(FakeConfig::new(state(), vec![script]));
        Board::assemble(vm, [RAM], 1, |vm| devices.connect(vm))
    }

    #[test]
    fn devices_are_where_they_were_asked_for() {
        let check = |devices, step: Step, expected: &Outcome| {
            // What no device takes ends up at the other exit port.
            let script = vec![step.clone(), out(0x601, 0xee)];
            let mut pc = pc(devices, script).unwrap();
            pc.bus().insert(Space::Pio, 0x601, 1, ExitPort).unwrap();
            assert_eq!(
                pc.boot(&state(), &Policy::default()).unwrap(),
                *expected,
                "{step:?}"
            );
        };
        let none = || PcDevices {
            serial: None,
            reset_port: false,
            clock: false,
            exit_port: None,
            ..PcDevices::default()
        };
        let missed = Outcome::DebugExit(0xee);
        check(PcDevices::default(), out(0xf4, 1), &Outcome::DebugExit(1));
        check(
            PcDevices::default(),
            Step::IoWrite {
                port: 0xf4,
                size: 4,
                data: vec![1, 2, 3, 4],
            },
            &Outcome::DebugExit(0x0403_0201),
        );
        check(
            PcDevices {
                exit_port: Some(0x501),
                ..none()
            },
            out(0x501, 2),
            &Outcome::DebugExit(2),
        );
        check(none(), out(0xf4, 1), &missed);
        check(PcDevices::default(), out(0x64, 0xfe), &Outcome::Reset);
        check(none(), out(0x64, 0xfe), &missed);
        let page = |address| Step::MmioWrite {
            address,
            data: vec![3, 0, 0, 0],
        };
        check(
            PcDevices {
                exit_page: Some(0xd000_0000),
                ..none()
            },
            page(0xd000_0ffc),
            &Outcome::DebugExit(3),
        );
        check(
            PcDevices {
                exit_page: Some(0xd000_0000),
                ..none()
            },
            page(0xd000_1000),
            &missed,
        );
    }

    #[test]
    fn overlapping_devices_are_refused() {
        let devices = PcDevices {
            exit_port: Some(0x3fa),
            ..PcDevices::default()
        };
        let error = pc(devices, Vec::new()).unwrap_err();
        assert!(
            matches!(
                error,
                RunError::Bus(BusError::Overlap {
                    other_base: 0x3f8,
                    ..
                })
            ),
            "{error}"
        );
    }
}
