//! A whole machine: RAM, vCPUs and devices, ready to boot.

use std::{fmt, io, sync::Arc};

use boot_core::CpuState;
use hv_core::{
    Bus, BusError, ConsoleSink, ExitPort, Ignore, Observer, Outcome, Policy, RunError, Serial, SerialConfig,
    SerialInput, Space, SysconDevice, Vm, VmIrq, assemble, boot,
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

impl BoardDevices {
    /// Where test guests look for the exit page: behind the syscon of the reference machines.
    pub const EXIT_PAGE: u64 = 0x0900_f000;

    /// Size of [`exit_page`](Self::exit_page) in bytes.
    pub const EXIT_PAGE_LEN: u64 = 4096;

    /// A bus with the devices of `layout`, connected to these, and the console's input if there is a console.
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
            let serial = Serial::new(SerialConfig {
                irq: Box::new(VmIrq::new(Arc::clone(vm), port.spi)),
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
/// `Board::on_kvm` makes one in one step.
#[derive(Debug)]
pub struct Board<V: Vm> {
    // The vCPUs go before the machine whose parts they are.
    vcpus: Vec<V::Vcpu>,
    bus: Bus,
    input: Option<SerialInput>,
    vm: Arc<V>,
}

#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
impl Board<crate::KvmVm> {
    /// A machine on KVM, with all of `ram` as its RAM.
    ///
    /// # Errors
    ///
    /// [`RunError`] with the operation that failed; [`Operation::CreateVm`](hv_core::Operation::CreateVm) where there
    /// is no KVM.
    pub fn on_kvm(
        ram: &guest_ram::GuestRam,
        layout: &Layout,
        features: crate::VcpuFeatures,
        devices: BoardDevices,
    ) -> Result<Self, RunError<crate::KvmError>> {
        let vm = crate::KvmVm::new(layout, features).map_err(|source| RunError::Operation {
            operation: hv_core::Operation::CreateVm,
            target: 0,
            source,
        })?;
        Self::assemble(vm, ram.regions(), layout, devices)
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
mod tests {
    use std::num::NonZeroU32;

    use boot_core::{
        cpu::aarch64::State,
        machine::{Machine, virt},
    };
    use hv_core::{
        Operation,
        fake::{FakeConfig, FakeError, FakeRam, FakeVm, Step},
    };

    use super::*;

    const RAM: FakeRam = FakeRam {
        base: virt::RAM_BASE,
        len: 0x1000,
    };

    fn state() -> CpuState {
        State::new(virt::RAM_BASE).into()
    }

    fn layout() -> Layout {
        let machine = Machine::arm64_virt(1 << 20, NonZeroU32::new(2).unwrap(), virt::Gic::V3).unwrap();
        Layout::of(&machine).unwrap()
    }

    fn write(address: u64, data: &[u8]) -> Step {
        Step::MmioWrite {
            address,
            data: data.to_vec(),
        }
    }

    fn run(
        layout: &Layout,
        devices: BoardDevices,
        script: Vec<Step>,
        fail_at: Option<usize>,
    ) -> Result<Outcome, RunError<FakeError>> {
        let vm = FakeVm::new(FakeConfig {
            fail_at,
            ..FakeConfig::new(state(), vec![script])
        });
        Board::assemble(vm, [RAM], layout, devices)?.boot(&state(), &Policy::default())
    }

    #[test]
    fn devices_are_where_the_layout_says() {
        let end = 0x1234_5000;
        let check = |layout: &Layout, step: Step, expected: &Outcome| {
            // What no device takes ends up at the other exit page.
            let devices = BoardDevices {
                exit_page: Some(end),
                ..BoardDevices::default()
            };
            let script = vec![step.clone(), write(end, &[0xee])];
            assert_eq!(run(layout, devices, script, None).unwrap(), *expected, "{step:?}");
        };
        let (plain, missed) = (layout(), Outcome::DebugExit(0xee));
        let with_syscon = Layout {
            syscon: Some(virt::syscon()),
            ..layout()
        };
        let off = virt::POWEROFF.value.to_le_bytes();
        check(&plain, write(end + 0xfff, &[3]), &Outcome::DebugExit(3));
        check(&plain, write(end + 0x1000, &[3]), &missed);
        check(&plain, write(end - 1, &[3]), &missed);
        check(&plain, write(virt::SYSCON.start(), &off), &missed);
        check(
            &with_syscon,
            write(virt::SYSCON.start(), &off),
            &Outcome::PowerOff,
        );
    }

    #[test]
    fn the_console_raises_its_line() {
        let vm = FakeVm::new(FakeConfig::new(
            state(),
            vec![vec![
                // "Ready to send" interrupts are on, then a byte, then the end.
                write(virt::SERIAL.start() + 1, &[2]),
                write(virt::SERIAL.start(), b"x"),
                write(BoardDevices::EXIT_PAGE, &[1]),
            ]],
        ));
        let mut board = Board::assemble(vm, [RAM], &layout(), BoardDevices::default()).unwrap();
        let outcome = board.boot(&state(), &Policy::default()).unwrap();
        assert_eq!(outcome, Outcome::DebugExit(1));
        let irqs = board.vm().irqs();
        assert_eq!(irqs.first(), Some(&(virt::SERIAL_LINE, true)));
        assert!(irqs.iter().all(|(line, _)| *line == virt::SERIAL_LINE));
        assert!(board.input().is_some());
        let silent = Layout {
            serial: None,
            ..layout()
        };
        let vm = FakeVm::new(FakeConfig::new(state(), Vec::new()));
        let board = Board::assemble(vm, [RAM], &silent, BoardDevices::default()).unwrap();
        assert!(board.input().is_none());
    }

    #[test]
    fn overlapping_devices_are_refused() {
        let devices = BoardDevices {
            exit_page: Some(virt::SERIAL.start()),
            ..BoardDevices::default()
        };
        let error = run(&layout(), devices, Vec::new(), None).unwrap_err();
        assert!(
            matches!(error, RunError::Bus(BusError::Overlap { .. })),
            "{error}"
        );
    }

    #[test]
    fn every_failing_operation_is_reported() {
        let mut operations = Vec::new();
        let script = || {
            vec![
                write(virt::SERIAL.start() + 1, &[2]),
                write(BoardDevices::EXIT_PAGE, &[9]),
            ]
        };
        for fail_at in 0.. {
            match run(&layout(), BoardDevices::default(), script(), Some(fail_at)) {
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
