//! A small PC: what a kernel needs to start, and what a harness needs to watch it.

use std::{fmt, io, sync::Arc};

use boot_core::CpuState;
use hv_core::{
    Bus, BusError, ConsoleSink, ExitPort, I8042, Ignore, Observer, Outcome, Policy, Rtc, RunError, Serial,
    SerialConfig, SerialInput, Space, Vm, VmIrq, assemble, boot,
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

/// Which devices a [`Pc`] has.
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

/// A machine with RAM, vCPUs and devices, ready to boot.
///
/// It works with every [`Vm`], so that what is built on it can be tested with [`hv_core::fake`]; on KVM,
/// [`Pc::on_kvm`] makes one in one step.
#[derive(Debug)]
pub struct Pc<V: Vm> {
    // The vCPUs go before the machine whose parts they are.
    vcpus: Vec<V::Vcpu>,
    bus: Bus,
    input: Option<SerialInput>,
    vm: Arc<V>,
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
impl Pc<crate::KvmVm> {
    /// A machine on KVM, with all of `ram` as its RAM and the vCPUs of `topology`.
    ///
    /// # Errors
    ///
    /// [`RunError`] with the operation that failed; [`Operation::CreateVm`](hv_core::Operation::CreateVm) where there
    /// is no KVM.
    pub fn on_kvm(
        ram: &guest_ram::GuestRam,
        topology: crate::Topology,
        devices: PcDevices,
    ) -> Result<Self, RunError<crate::KvmError>> {
        let vm = crate::KvmVm::new(topology).map_err(|source| RunError::Operation {
            operation: hv_core::Operation::CreateVm,
            target: 0,
            source,
        })?;
        Self::assemble(vm, ram.regions(), topology.vcpus(), devices)
    }
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
mod tests {
    use boot_core::cpu::x86_64::State;
    use hv_core::{
        Operation,
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

    fn run(
        devices: PcDevices,
        script: Vec<Step>,
        fail_at: Option<usize>,
    ) -> Result<Outcome, RunError<FakeError>> {
        let vm = FakeVm::new(FakeConfig {
            fail_at,
            ..FakeConfig::new(state(), vec![script])
        });
        Pc::assemble(vm, [RAM], 2, devices)?.boot(&state(), &Policy::default())
    }

    #[test]
    fn devices_are_where_they_were_asked_for() {
        let check = |devices, step: Step, expected: &Outcome| {
            // What no device takes ends up at the other exit port.
            let script = vec![step.clone(), out(0x601, 0xee)];
            let vm = FakeVm::new(FakeConfig::new(state(), vec![script]));
            let mut pc = Pc::assemble(vm, [RAM], 1, devices).unwrap();
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
        let error = run(devices, Vec::new(), None).unwrap_err();
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

    #[test]
    fn every_failing_operation_is_reported() {
        let mut operations = Vec::new();
        for fail_at in 0.. {
            match run(
                PcDevices::default(),
                vec![out(0x3f9, 2), out(0xf4, 9)],
                Some(fail_at),
            ) {
                Err(error) => operations.extend(error.operation()),
                Ok(outcome) => {
                    assert_eq!(outcome, Outcome::DebugExit(9));
                    break;
                }
            }
        }
        let first = [
            Operation::MapRam,
            Operation::CreateVcpu,
            Operation::CreateVcpu,
            Operation::SetState,
        ];
        assert_eq!(operations.get(..4), Some(&first[..]));
        assert!(operations.contains(&Operation::Run), "{operations:?}");
    }
}
