//! `vmboot run`.

mod console;
mod launch;
mod preflight;
mod terminal;
mod timeline;

use std::error::Error;
use std::io;
use std::mem;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use boot_core::Arch;
use guest_ram::{AccessOptions, FileMapping, GuestRam};
use hv_core::{
    BoardDevices, BufferedOutput, ExitCounts, Observer, Outcome, RunConfig, SerialInput, ShutdownPolicy,
    StopHandle,
};
use {hv_kvm_arm64 as arm64, hv_kvm_riscv as riscv64, hv_kvm_x86 as x86_64};

use self::console::Console;
use self::launch::Launch;
use self::preflight::Preflight;
use self::timeline::Timeline;
use super::advised::AdvisedError;
use super::boot::BootArgs;
use super::disks;
use super::number::seconds;
use super::output::note;
use super::result::CommandResult;
use super::summary::{GuestInput, Summary, memory_help};

/// Options of `vmboot run`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    boot: BootArgs,
    /// Start the boot that `vmboot prepare` wrote to this file, in place of KERNEL. The machine is that of the preparation; its disks are named again.
    #[arg(long, value_name = "FILE")]
    prepared: Option<PathBuf>,
    /// End the run with status 4 after this many seconds [default: no limit].
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<u64>,
    /// Print a timeline to standard error: planned, loaded, started, first console output, end.
    #[arg(long)]
    timeline: bool,
    /// Map the kernel and the initrd, or the prepared boot, into the guest's memory rather than copy them. Nobody may write to the files or shorten them during the run.
    #[arg(long)]
    map_files: bool,
    /// Print the number of VM exits to standard error: by reason and address, the most frequent first.
    #[arg(long)]
    count_exits: bool,
    /// Expect this text on the guest's console. The timeline contains its time; without it the status is 5.
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    milestone: Option<String>,
}

/// Ids of the arguments that `--prepared` leaves to the run. All others are about the preparation.
const BESIDE_PREPARED: [&str; 10] = [
    "help",
    "prepared",
    "disks",
    "mode",
    "block_size",
    "timeout",
    "timeline",
    "map_files",
    "count_exits",
    "milestone",
];

/// An argument of `vmboot run`, which `--prepared` excludes or takes the place of.
pub(crate) fn beside_prepared(arg: clap::Arg) -> clap::Arg {
    match arg.get_id().as_str() {
        id if BESIDE_PREPARED.contains(&id) => arg,
        "kernel" => arg
            .required_unless_present_any(["firmware", "prepared"])
            .conflicts_with("prepared"),
        _ => arg.conflicts_with("prepared"),
    }
}

/// There is no KVM harness for the architecture of the guest.
#[derive(Debug, thiserror::Error)]
#[error("vmboot cannot run {0} guests, only inspect and plan them")]
struct NoHarness(Arch);

/// The output of the guest's console cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("the guest's console output cannot be written to standard output")]
struct ConsoleError(#[source] io::Error);

/// Exit statuses of runs. See the README of the crate.
mod status {
    pub(super) const CRASH: u8 = 3;
    pub(super) const DEADLINE: u8 = 4;
    pub(super) const NO_MILESTONE: u8 = 5;
    pub(super) const HALTED: u8 = 6;
    pub(super) const RESET: u8 = 7;
}

pub(crate) fn run(args: &Args) -> CommandResult {
    let timeline = Timeline::new();
    let host = Preflight::default();
    let mapping = args.map_files.then_some(FileMapping::Trusted);
    let mut launch = match &args.prepared {
        Some(path) => {
            let files = mapping.unwrap_or(FileMapping::Sealed);
            Launch::prepared(path, files, &args.boot, &host)?
        }
        None => Launch::planned(&args.boot, &host)?,
    };
    timeline.reached("planned");
    if let Some(warning) = host.warning(launch.is_linux) {
        note(format_args!("warning: {warning}"));
    }
    let stdin = if launch.reads_stdin {
        GuestInput::None
    } else {
        GuestInput::Stdin
    };
    note(format_args!("vmboot: {}", Summary::new(&launch.summary, stdin)));
    // Nobody else accesses the memory before the start of the machine.
    let access = AccessOptions::new().userfaultfd(true);
    let mut ram = GuestRam::new(&launch.machine.memory)
        .map_err(|error| AdvisedError::new(error, memory_help()))?
        .with_access(access);
    launch.load(&mut ram, mapping)?;
    timeline.reached("loaded");
    let stop = StopHandle::new();
    let of_output = stop.clone();
    let output = BufferedOutput::new(io::stdout())?.on_error(move || of_output.stop());
    let flusher = output.flusher();
    let console = Console::new(output, args.milestone.clone(), timeline.clone());
    let seen = console.seen();
    let exit_counts = args.count_exits.then(|| Arc::new(ExitCounts::new()));
    let observer: Arc<dyn Observer> = match &exit_counts {
        Some(counts) => Arc::new((timeline.clone(), Arc::clone(counts))),
        None => Arc::new(timeline.clone()),
    };
    let disks = mem::take(&mut launch.disks);
    let devices = BoardDevices::new(launch.arch())
        .with_console(console)
        .with_observer(Arc::clone(&observer))
        .with_mmio(disks::devices(&launch.machine, disks, &ram));
    let outcome = start(args, &launch, stdin, &ram, devices, observer, stop);
    let flushed = flusher.flush();
    let outcome = outcome?;
    flushed.map_err(ConsoleError)?;
    timeline.reached(outcome.to_string());
    if args.timeline {
        eprint!("{timeline}");
    }
    if let Some(counts) = exit_counts {
        eprint!("{counts}");
    }
    let is_pc_without_acpi = launch.arch() == Arch::X86_64 && launch.machine.acpi_rsdp.is_none();
    let status = status_of(is_pc_without_acpi, &outcome);
    if status != 0 {
        note(format_args!("vmboot: {outcome}"));
        if let Some(explanation) = host.explanation(&outcome) {
            eprintln!("vmboot: {explanation}");
        } else if let (Some(protocols), status::CRASH | status::HALTED) = (&launch.protocols, status) {
            eprintln!("vmboot: {protocols}");
        }
    } else if args.milestone.is_some() && !seen.get() {
        eprintln!("vmboot: {outcome}, but the text of --milestone was not printed");
        return Ok(ExitCode::from(status::NO_MILESTONE));
    }
    Ok(ExitCode::from(status))
}

/// Builds the machine of the plan on this host's KVM and runs it.
fn start(
    args: &Args,
    launch: &Launch,
    stdin: GuestInput,
    ram: &GuestRam,
    devices: BoardDevices,
    observer: Arc<dyn Observer>,
    stop: StopHandle,
) -> Result<Outcome, Box<dyn Error>> {
    let machine = &launch.machine;
    let run_config = &run_config(args.timeout, stop.clone(), observer);
    let mut terminal = None;
    let with_input = |input: SerialInput| {
        if stdin == GuestInput::Stdin {
            terminal = terminal::connect(input, stop);
        }
    };
    let arch = launch.arch();
    let state = launch.boot_cpu().ok_or(NoHarness(arch))?;
    let outcome = match arch {
        Arch::X86_64 => {
            let boot = x86_64::MachineBoot::new(machine, ram, state, run_config).with_devices(devices);
            x86_64::boot_machine(boot, with_input)?
        }
        Arch::Aarch64 => {
            let boot = arm64::MachineBoot::new(machine, ram, state, run_config).with_devices(devices);
            arm64::boot_machine(boot, with_input)?
        }
        Arch::Riscv64 => {
            let boot = riscv64::MachineBoot::new(machine, ram, state, run_config).with_devices(devices);
            riscv64::boot_machine(boot, with_input)?
        }
        arch => return Err(NoHarness(arch).into()),
    };
    drop(terminal);
    Ok(outcome)
}

/// The configuration of the run.
fn run_config(timeout: Option<u64>, stop: StopHandle, observer: Arc<dyn Observer>) -> RunConfig {
    // A guest that requests a reset uses the keyboard controller; a triple fault is a kernel that failed to start.
    let run_config = RunConfig::default()
        .with_shutdown(ShutdownPolicy::Crash)
        .with_stop(stop)
        .with_observer(observer);
    match timeout {
        Some(seconds) => run_config.with_deadline(Duration::from_secs(seconds)),
        None => run_config,
    }
}

fn status_of(is_pc_without_acpi: bool, outcome: &Outcome) -> u8 {
    match outcome {
        Outcome::PowerOff | Outcome::Stopped => 0,
        // There is no power-off: guests end with a reset.
        Outcome::Reset if is_pc_without_acpi => 0,
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
    use hv_core::{Bus, Fault, SystemEvent, boot, init_vm};

    use super::*;

    #[test]
    fn a_kernel_that_does_not_start_is_a_failure() {
        let check = |is_pc_without_acpi: bool, step: Step, expected: u8| {
            let state: CpuState = State::protected_mode(0x10_0000, 0x10, 0x18).into();
            let vm = FakeVm::new(FakeConfig::new(state.clone(), vec![vec![step.clone()]]));
            let ram = FakeRam { base: 0, len: 0x1000 };
            let mut vcpus = init_vm(&vm, [ram], 1).unwrap();
            let run_config = run_config(None, StopHandle::new(), Arc::new(Timeline::new()));
            let outcome = boot(&mut vcpus, &state, &Bus::new(), &run_config).unwrap();
            assert_eq!(
                status_of(is_pc_without_acpi, &outcome),
                expected,
                "{step:?}: {outcome}"
            );
        };
        check(true, Step::Fault(Fault::Shutdown), status::CRASH);
        check(true, Step::System(SystemEvent::PowerOff), 0);
        check(true, Step::System(SystemEvent::Reset), 0);
        check(false, Step::System(SystemEvent::Reset), status::RESET);
        check(false, Step::Halt, status::HALTED);
    }
}
