//! Calls, snapshots and clones of sandboxes, in units of one bare KVM round trip of the same run.

use std::time::Duration;

use super::hyperlight::{self, Hyperlight};
use super::limits;
use super::table::Table;
use crate::arch::ArchRow;
use crate::build;
use crate::cli::{BenchArgs, Peer};
use crate::error::Error;
use crate::guests;
use crate::metadata;
use crate::progress::{Step, print_status};
use crate::runner::job::{Arg, Task};
use crate::runner::{Clock, Runner};
use crate::workspace::Workspace;

/// Name of the bench target.
const BENCH: &str = "sandbox";

/// Time for all rows: ten seconds natively, minutes in an emulated machine that counts instructions.
const DEADLINE: Duration = Duration::from_mins(30);

/// Builds the bench, runs it, and prints its table.
pub(super) fn run(workspace: &Workspace, row: &'static ArchRow, args: &BenchArgs) -> Result<(), Error> {
    let runner = Runner::ensure(workspace, row, args.host)?.with_clock(Clock::Instructions);
    let guest = guests::sandbox_demo(workspace, row)?;
    let mut command = build::static_cargo(workspace, row, "bench")?;
    command.args(["--no-run", "--package", "vmboot-sandbox", "--bench", BENCH]);
    let executable = {
        let _step = Step::start(format!("building the bench for {}", row.std_target));
        metadata::program(workspace, &mut command, "build-bench-sandbox", BENCH)?
    };
    let peer = peer(workspace, row, args)?;
    let task = |executable, guest| Task {
        executable,
        args: vec![Arg::File(guest)],
        deadline: DEADLINE,
    };
    let mut tasks = vec![task(executable, guest)];
    tasks.extend(peer.map(|Hyperlight { host, guest }| task(host, guest)));
    print_status(&format!(
        "measuring sandboxes of {} on {}",
        row.name,
        runner.kind()
    ));
    let (outputs, result) = runner.run_all_captured(workspace, BENCH, tasks);
    // The rows before a failure are of use, too.
    let mut outputs = outputs.iter();
    let mut table = Table::parse(outputs.next().map_or("", String::as_str))?;
    if let Some(output) = outputs.next() {
        table = table.with_peer("Hyperlight", output)?;
    }
    print!("{table}");
    result?;
    limits::check(args, table.missed())
}

/// Builds the project that `args` names, if it runs on this architecture.
fn peer(workspace: &Workspace, row: &ArchRow, args: &BenchArgs) -> Result<Option<Hyperlight>, Error> {
    match args.peer {
        None => Ok(None),
        Some(Peer::Hyperlight) if row.name == hyperlight::ARCH => Hyperlight::build(workspace, row).map(Some),
        Some(Peer::Hyperlight) => {
            print_status(&format!("Hyperlight is measured on {} only", hyperlight::ARCH));
            Ok(None)
        }
    }
}
