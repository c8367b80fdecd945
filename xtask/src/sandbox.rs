//! `cargo xtask sandbox`: shows what sandboxes do, on this machine or in the lab.

mod step;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use self::step::StepTime;
use crate::arch::ArchRow;
use crate::build;
use crate::cli::SandboxArgs;
use crate::error::{Error, WithPath as _};
use crate::guests;
use crate::json_lines;
use crate::plot::{self, Bar};
use crate::progress::print_status;
use crate::runner::Runner;
use crate::runner::job::{Arg, Task};
use crate::workspace::Workspace;

/// Name of the package and the program.
const DEMO: &str = "sandbox-demo";

/// Time for the demo in an emulated machine.
const DEADLINE: Duration = Duration::from_mins(5);

/// The last line of a demo that succeeded.
const OK: &str = "sandbox demo: ok";

/// Builds guest and demo, runs the demo, and prints and draws its times.
pub(crate) fn run(workspace: &Workspace, row: &'static ArchRow, args: &SandboxArgs) -> Result<(), Error> {
    let runner = Runner::ensure(workspace, row, args.host)?;
    let guest = guests::sandbox_demo(workspace, row)?;
    let executable = build::static_binary(workspace, row, DEMO)?;
    let task = Task {
        executable,
        args: vec![Arg::File(guest)],
        deadline: DEADLINE,
    };
    print_status(&format!(
        "running the sandbox demo of {} on {}",
        row.name,
        runner.kind()
    ));
    let (output, result) = runner.run_captured(workspace, DEMO, task);
    let times: Vec<StepTime> = json_lines::read(&output, "a time of the sandbox demo")?;
    let text: Vec<&str> = json_lines::others(&output).collect();
    for line in text.iter().filter(|line| **line != OK) {
        println!("{line}");
    }
    print!("{}", table(&times));
    result?;
    let plot = draw(workspace, row, &times)?;
    println!("times drawn to {}", plot.display());
    // The demo prints the line as its last, and only if every step had the right result.
    if text.last() == Some(&OK) {
        println!("{OK}");
        Ok(())
    } else {
        Err(Error::NoMilestone {
            program: DEMO,
            milestone: OK,
        })
    }
}

fn table(times: &[StepTime]) -> String {
    let width = times.iter().map(|time| time.step.len()).max().unwrap_or(0);
    let line = |time: &StepTime| format!("{:width$}  {:>12.1} us\n", time.step, time.microseconds);
    times.iter().map(line).collect()
}

/// Writes the plot and returns its path.
fn draw(workspace: &Workspace, row: &ArchRow, times: &[StepTime]) -> Result<PathBuf, Error> {
    let directory = workspace.target().join("sandbox");
    fs::create_dir_all(&directory).with_path(&directory)?;
    let path = directory.join(format!("{}.svg", row.name));
    let bar = |time: &StepTime| Bar {
        label: time.step.clone(),
        value: time.microseconds,
        text: format!("{:.1} µs", time.microseconds),
    };
    let bars: Vec<Bar> = times.iter().map(bar).collect();
    let title = format!("Sandbox on {}: time of each step", row.name);
    fs::write(&path, plot::svg(&title, 1.0, &bars)).with_path(&path)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_aligned() {
        let times = [("call", 1.5), ("restore", 12.25)].map(|(step, microseconds)| StepTime {
            step: step.to_owned(),
            microseconds,
        });
        assert_eq!(
            table(&times),
            "call              1.5 us\nrestore          12.2 us\n"
        );
    }
}
