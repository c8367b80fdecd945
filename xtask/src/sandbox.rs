//! `cargo xtask sandbox`: shows what sandboxes do, on this machine or in the lab.

mod plot;
mod step;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::step::StepTime;
use crate::arch::ArchRow;
use crate::build;
use crate::cli::SandboxArgs;
use crate::error::{Error, WithPath as _};
use crate::guests;
use crate::progress::print_status;
use crate::runner::Runner;
use crate::runner::job::{Arg, Job, Report, Task};
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
    let job = Job {
        tasks: vec![Task {
            executable,
            args: vec![Arg::File(guest)],
            deadline: DEADLINE,
        }],
        fixtures: None,
    };
    print_status(&format!(
        "running the sandbox demo of {} on {}",
        row.name,
        runner.kind()
    ));
    let mut output = Vec::new();
    let mut ending = None;
    runner.run(workspace, &job, &mut |report| {
        match report {
            Report::Stdout(bytes) => output.extend_from_slice(bytes),
            Report::Stderr(bytes) => std::io::stderr()
                .write_all(bytes)
                .with_path(Path::new("the terminal"))?,
            Report::Ended(how) => ending = Some(how),
            Report::Ready(_) | Report::Started(_) => {}
        }
        Ok(())
    })?;
    let output = String::from_utf8_lossy(&output);
    let (times, text) = split(&output)?;
    for line in text.iter().filter(|line| **line != OK) {
        println!("{line}");
    }
    print!("{}", table(&times));
    if let Some(ending) = ending.filter(|ending| !ending.is_success()) {
        return Err(Error::Program {
            program: DEMO.to_owned(),
            ending,
        });
    }
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

/// The times, and the lines for people.
fn split(output: &str) -> Result<(Vec<StepTime>, Vec<&str>), Error> {
    let (json, text): (Vec<&str>, Vec<&str>) = output.lines().partition(|line| line.starts_with('{'));
    let times = json.into_iter().map(|line| {
        serde_json::from_str(line).map_err(|source| Error::Json {
            what: "a time of the sandbox demo".into(),
            source,
        })
    });
    Ok((times.collect::<Result<_, _>>()?, text))
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
    fs::write(&path, plot::svg(row.name, times)).with_path(&path)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_text_are_told_apart() {
        let output = "hello\n{\"step\":\"call\",\"microseconds\":1.5}\nsandbox demo: ok\n";
        let (times, text) = split(output).unwrap();
        assert_eq!(text, ["hello", OK]);
        assert_eq!(table(&times), "call           1.5 us\n");
        assert!(split("{").is_err());
    }
}
