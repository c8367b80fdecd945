//! `vmboot run`.

mod console;
mod terminal;
mod timeline;

use std::error::Error;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use boot_core::{Arch, Machine};
use guest_ram::GuestRam;
use hv_core::{Observer, OnShutdown, Outcome, Policy, SerialInput, StopHandle};
use hv_kvm_x86::{PcBoot, PcDevices, SerialPort};
use {hv_kvm_arm64 as arm64, hv_kvm_riscv as riscv64, hv_kvm_x86 as x86_64};

use self::console::Console;
use self::timeline::Timeline;
use super::boot::{Boot, BootArgs};
use super::result::CommandResult;

/// Options of `vmboot run`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    boot: BootArgs,
    /// End the run after this many seconds, with status 4.
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// Say on standard error when what happened.
    #[arg(long)]
    timeline: bool,
    /// A text the guest must print; its time goes into the timeline, and without it the status is 5.
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    milestone: Option<String>,
}

/// What cannot be run.
#[derive(Debug, thiserror::Error)]
#[error("this version cannot run {0} guests, only inspect and plan them")]
struct NoHarness(Arch);

/// How a run ends, as an exit status. See the crate's README.
mod status {
    pub(super) const CRASH: u8 = 3;
    pub(super) const DEADLINE: u8 = 4;
    pub(super) const NO_MILESTONE: u8 = 5;
    pub(super) const HALTED: u8 = 6;
    pub(super) const RESET: u8 = 7;
}

pub(crate) fn run(args: &Args) -> CommandResult {
    let timeline = Timeline::new();
    let boot = args.boot.plan(|arch| machine(args, arch))?;
    timeline.reached("planned");
    for warning in boot.plan.warnings() {
        eprintln!("vmboot: warning: {warning}");
    }
    let mut ram = GuestRam::new(&boot.machine.memory)?;
    boot.with_sources(|sources| boot.plan.load(sources, &mut ram))?;
    timeline.reached("loaded");
    let console = Console::new(io::stdout(), args.milestone.clone(), timeline.clone());
    let seen = console.seen();
    let outcome = start(args, &boot, &ram, console, &timeline)?;
    timeline.reached(outcome.to_string());
    if args.timeline {
        eprint!("{timeline}");
    }
    let status = status_of(boot.plan.arch(), &outcome);
    if status != 0 {
        eprintln!("vmboot: {outcome}");
    } else if args.milestone.is_some() && !seen.get() {
        eprintln!("vmboot: {outcome}, but did not print the milestone's text before");
        return Ok(ExitCode::from(status::NO_MILESTONE));
    }
    Ok(ExitCode::from(status))
}

/// The machine for images of `arch`, as this host can make it.
fn machine(args: &Args, arch: Arch) -> Result<Machine, Box<dyn Error>> {
    let wanted = &args.boot.machine;
    if arch != Arch::Riscv64 {
        return wanted.reference(arch);
    }
    // The instruction set and the clock of a riscv64 guest are the host's.
    let host = riscv64::host()?;
    let irqchip = wanted.riscv_irqchip()?.unwrap_or_else(|| host.irqchip());
    wanted.finish(host.machine(wanted.memory, wanted.vcpus, irqchip)?)
}

/// Makes the machine of the plan on this host's KVM and runs it.
fn start(
    args: &Args,
    boot: &Boot,
    ram: &GuestRam,
    console: Console<io::Stdout>,
    timeline: &Timeline,
) -> Result<Outcome, Box<dyn Error>> {
    let Boot { plan, machine, .. } = boot;
    let stop = StopHandle::new();
    let observer = Arc::new(timeline.clone());
    let policy = &policy(args.timeout, stop.clone(), Arc::clone(&observer) as _);
    let mut terminal = None;
    let with_input = |input: SerialInput| terminal = terminal::connect(input, stop);
    let outcome = match (plan.arch(), plan.cpus()) {
        (Arch::X86_64, [state, ..]) => {
            let serial = Some(SerialPort::com1(console));
            let devices = PcDevices {
                serial,
                observer,
                ..PcDevices::default()
            };
            let vcpus = machine.vcpus.get();
            x86_64::boot_pc(
                PcBoot {
                    ram,
                    vcpus,
                    state,
                    devices,
                    policy,
                },
                with_input,
            )?
        }
        (Arch::Aarch64, [state, ..]) => {
            let console = Some(Box::new(console) as _);
            let devices = arm64::BoardDevices {
                console,
                observer,
                ..Default::default()
            };
            let features = arm64::VcpuFeatures::default();
            let boot = arm64::MachineBoot {
                machine,
                ram,
                state,
                features,
                devices,
                policy,
            };
            arm64::boot_machine(boot, with_input)?
        }
        (Arch::Riscv64, [state, ..]) => {
            let console = Some(Box::new(console) as _);
            let devices = riscv64::BoardDevices {
                console,
                observer,
                ..Default::default()
            };
            let boot = riscv64::MachineBoot {
                machine,
                ram,
                state,
                devices,
                policy,
            };
            riscv64::boot_machine(boot, with_input)?
        }
        (arch, _) => return Err(NoHarness(arch).into()),
    };
    drop(terminal);
    Ok(outcome)
}

/// What ends a run.
fn policy(timeout: Option<u64>, stop: StopHandle, observer: Arc<dyn Observer>) -> Policy {
    Policy {
        deadline: timeout.map(Duration::from_secs),
        // A guest that wants a reset has the keyboard controller; a triple fault is how a kernel ends that did not start.
        on_shutdown: OnShutdown::Crash,
        stop,
        observer,
        ..Policy::default()
    }
}

fn status_of(arch: Arch, outcome: &Outcome) -> u8 {
    match outcome {
        Outcome::PowerOff | Outcome::Stopped => 0,
        // A PC without ACPI has no power-off: its guests end by a reset.
        Outcome::Reset if arch == Arch::X86_64 => 0,
        Outcome::Reset => status::RESET,
        // As QEMU's isa-debug-exit does; a status has eight bits.
        Outcome::DebugExit(value) => (value << 1 | 1).to_le_bytes()[0],
        Outcome::Halted => status::HALTED,
        Outcome::Deadline => status::DEADLINE,
        _ => status::CRASH,
    }
}

#[cfg(test)]
mod tests {
    use boot_core::CpuState;
    use boot_core::cpu::x86_64::State;
    use hv_core::fake::{FakeConfig, FakeRam, FakeVm, Step};
    use hv_core::{Bus, Fault, SystemEvent, assemble, boot};

    use super::*;

    #[test]
    fn a_kernel_that_does_not_start_is_no_success() {
        let check = |step: Step, expected: u8| {
            let state: CpuState = State::protected_mode(0x10_0000, 0x10, 0x18).into();
            let vm = FakeVm::new(FakeConfig::new(state.clone(), vec![vec![step.clone()]]));
            let ram = FakeRam { base: 0, len: 0x1000 };
            let mut vcpus = assemble(&vm, [ram], 1).unwrap();
            let policy = policy(None, StopHandle::new(), Arc::new(Timeline::new()));
            let outcome = boot(&mut vcpus, &state, &Bus::new(), &policy).unwrap();
            assert_eq!(status_of(Arch::X86_64, &outcome), expected, "{step:?}: {outcome}");
        };
        check(Step::Fault(Fault::Shutdown), status::CRASH);
        check(Step::System(SystemEvent::PowerOff), 0);
        check(Step::System(SystemEvent::Reset), 0);
        check(Step::Halt, status::HALTED);
    }
}
