//! `vmboot run`.

mod console;
mod terminal;
mod timeline;

use std::error::Error;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use boot_core::Arch;
use guest_ram::GuestRam;
use hv_core::{OnShutdown, Outcome, Policy, StopHandle};
use hv_kvm_x86::{PcBoot, PcDevices, SerialPort, boot_pc};

use self::console::Console;
use self::timeline::Timeline;
use super::Ending;
use super::boot::{Boot, BootArgs};

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
}

pub(crate) fn run(args: &Args) -> Ending {
    let timeline = Timeline::new();
    let boot = args.boot.plan(|arch| args.boot.machine.reference(arch))?;
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
    timeline.reached("ended");
    if args.timeline {
        eprint!("{timeline}");
    }
    let status = status_of(&outcome);
    if status != 0 {
        eprintln!("vmboot: {outcome}");
    } else if args.milestone.is_some() && !seen.get() {
        eprintln!("vmboot: {outcome}, but did not print the milestone's text before");
        return Ok(ExitCode::from(status::NO_MILESTONE));
    }
    Ok(ExitCode::from(status))
}

/// Makes the machine for the plan's architecture and runs it.
fn start(
    args: &Args,
    boot: &Boot,
    ram: &GuestRam,
    console: Console<io::Stdout>,
    timeline: &Timeline,
) -> Result<Outcome, Box<dyn Error>> {
    let (Arch::X86_64, [state, ..]) = (boot.plan.arch(), boot.plan.cpus()) else {
        return Err(NoHarness(boot.plan.arch()).into());
    };
    let stop = StopHandle::new();
    let observer = Arc::new(timeline.clone());
    let policy = Policy {
        deadline: args.timeout.map(Duration::from_secs),
        // Linux resets a PC that has no other way by a triple fault.
        on_shutdown: OnShutdown::Reset,
        stop: stop.clone(),
        observer: Arc::clone(&observer) as _,
        ..Policy::default()
    };
    let devices = PcDevices {
        serial: Some(SerialPort::com1(console)),
        observer,
        ..PcDevices::default()
    };
    let pc = PcBoot {
        ram,
        vcpus: boot.machine.vcpus.get(),
        state,
        devices,
        policy: &policy,
    };
    let mut terminal = None;
    let outcome = boot_pc(pc, |input| terminal = terminal::connect(input, stop));
    drop(terminal);
    Ok(outcome?)
}

fn status_of(outcome: &Outcome) -> u8 {
    match outcome {
        Outcome::PowerOff | Outcome::Reset | Outcome::Stopped => 0,
        // As QEMU's isa-debug-exit does; a status has eight bits.
        Outcome::DebugExit(value) => (value << 1 | 1).to_le_bytes()[0],
        Outcome::Halted => status::HALTED,
        Outcome::Deadline => status::DEADLINE,
        _ => status::CRASH,
    }
}
