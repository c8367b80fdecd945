//! System calls, page faults and instructions of `vmboot run` from `exec` to the first `KVM_RUN`.

use std::time::Duration;

use lab_init::StartCost;

use super::limits::{self, Limits};
use crate::arch::{Arch, ArchRow};
use crate::build;
use crate::cli::BenchArgs;
use crate::error::Error;
use crate::fixtures;
use crate::json_lines;
use crate::kernel;
use crate::progress::print_status;
use crate::runner::job::{Arg, Task};
use crate::runner::{Clock, Runner};
use crate::suite::Suite;
use crate::workspace::Workspace;

/// Time for two starts.
const DEADLINE: Duration = Duration::from_mins(2);

/// A way to start.
struct Way {
    name: &'static str,
    /// The first arguments of `start-cost` for it.
    first: &'static [&'static str],
    limits: limits::Start,
}

/// Counts, prints the counts, and checks them if `args` asks for that. The clock of the lab counts instructions.
pub(super) fn run(workspace: &Workspace, row: &'static ArchRow, args: &BenchArgs) -> Result<(), Error> {
    let limits = *Limits::read().start.of(row.arch);
    let ways = [
        Way {
            name: "kernel file",
            first: &[],
            limits: limits.kernel_file,
        },
        Way {
            name: "prepared boot",
            first: &["--prepared"],
            limits: limits.prepared_boot,
        },
    ];
    let runner = Runner::ensure(workspace, row, args.host)?.with_clock(Clock::Instructions);
    let boot = task(workspace, row)?;
    let tasks = ways.iter().map(|way| {
        let mut task = boot.clone();
        task.args.splice(0..0, way.first.iter().copied().map(Arg::from));
        task
    });
    let tasks = tasks.collect();
    print_status(&format!("counting starts of a guest on {}", runner.kind()));
    let (outputs, result) = runner.run_all_captured(workspace, "start-cost", tasks);
    result?;
    let mut all_missed = Vec::new();
    for (Way { name, limits, .. }, output) in ways.iter().zip(outputs) {
        let costs: Vec<StartCost> = json_lines::read(&output, "the cost of a start")?;
        let cost = costs.first().ok_or(Error::NoLaps)?;
        println!("{}, {name}: {}", row.name, text(cost, limits));
        let missed = missed(cost, limits);
        all_missed.extend(missed.into_iter().map(|what| format!("{name}: {what}")));
    }
    limits::check(args, all_missed)
}

/// A boot of Debian's kernel; on x86_64 of its vmlinux, whose pages can be mapped.
fn task(workspace: &Workspace, row: &'static ArchRow) -> Result<Task, Error> {
    let image = kernel::ensure(workspace, row, Suite::Trixie)?.image;
    let kernel = match row.arch {
        Arch::X86_64 => fixtures::vmlinux(workspace, &image)?,
        _ => image,
    };
    let initrd = fixtures::linux_initrd(workspace, row)?;
    let vmboot = build::static_release(workspace, row, "vmboot")?;
    let mut args = vec![Arg::File(vmboot)];
    args.extend(["--cmdline", row.linux_cmdline, "--initrd"].map(Arg::from));
    args.extend([Arg::File(initrd), Arg::File(kernel)]);
    Ok(Task {
        executable: build::static_program(workspace, row, "lab-init", "start-cost")?,
        args,
        deadline: DEADLINE,
    })
}

/// Million instructions from `exec` to the first `KVM_RUN`: the clock advances by a nanosecond for each.
fn million_instructions(cost: &StartCost) -> f64 {
    cost.planned_ms + cost.start_ms
}

fn page_faults(cost: &StartCost) -> u64 {
    cost.minor_faults + cost.major_faults
}

fn missed(cost: &StartCost, limits: &limits::Start) -> Vec<String> {
    let rows = [
        ("system calls of a start", cost.calls > limits.calls),
        (
            "instructions of a start",
            limits
                .million_instructions
                .is_some_and(|limit| million_instructions(cost) > limit),
        ),
        ("page faults of a start", page_faults(cost) > limits.page_faults),
    ];
    let missed = rows.into_iter().filter(|(_, is_missed)| *is_missed);
    missed.map(|(name, _)| name.to_owned()).collect()
}

fn text(cost: &StartCost, limits: &limits::Start) -> String {
    let limit = match limits.million_instructions {
        Some(limit) => format!("limit {limit}"),
        None => "no limit".to_owned(),
    };
    format!(
        "exec to the first KVM_RUN: {} system calls (limit {}), {} page faults (limit {}), {} of them with a read, {:.1} million instructions ({limit}), {:.1} of them to the plan",
        cost.calls,
        limits.calls,
        page_faults(cost),
        limits.page_faults,
        cost.major_faults,
        million_instructions(cost),
        cost.planned_ms,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_count_has_its_limit() {
        let limits = limits::Start {
            calls: 300,
            page_faults: 400,
            million_instructions: Some(5.0),
        };
        let check = |calls, (minor_faults, major_faults), (planned_ms, start_ms), expected: &[&str]| {
            let cost = StartCost {
                calls,
                minor_faults,
                major_faults,
                planned_ms,
                start_ms,
            };
            assert_eq!(missed(&cost, &limits), expected, "{}", text(&cost, &limits));
        };
        check(300, (398, 2), (1.0, 4.0), &[]);
        check(301, (398, 2), (1.0, 4.0), &["system calls of a start"]);
        check(300, (398, 3), (1.0, 4.0), &["page faults of a start"]);
        check(300, (398, 2), (1.0, 4.1), &["instructions of a start"]);
        check(
            900,
            (0, 0),
            (9.0, 4.1),
            &["system calls of a start", "instructions of a start"],
        );
    }
}
