//! Runs programs that need KVM: on this machine, or in the lab.

mod debugger;
pub(crate) mod job;
mod lab;
mod native;

use std::fmt;
use std::io::{Write, stderr, stdout};
use std::path::Path;

pub(crate) use lab::{Clock, Lab};

use self::job::{Job, Observer, Report, Task};
use crate::arch::{ArchRow, LabMachine, Selection};
use crate::error::{Error, WithPath as _};
use crate::progress::print_status;
use crate::workspace::Workspace;

/// `--host`: where KVM comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Host {
    /// This machine if it can run every guest, the lab otherwise.
    #[default]
    Auto,
    /// This machine's own KVM.
    Native,
    /// A KVM host machine emulated by QEMU.
    Lab,
}

/// Selects a machine with KVM; [`RunnerKind::prepare`] makes it usable.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RunnerKind {
    /// This machine.
    Native,
    /// One that QEMU emulates.
    Lab(&'static LabMachine),
}

impl RunnerKind {
    /// Every machine that the tests of an architecture run on.
    pub(crate) fn all(row: &'static ArchRow, host: Host) -> Result<Vec<Self>, Error> {
        match (host, native::unusable(row)) {
            (Host::Auto | Host::Native, None) => Ok(vec![Self::Native]),
            (Host::Native, Some(reason)) => Err(Error::NoNativeKvm { reason }),
            (Host::Auto | Host::Lab, _) => Ok(row.labs.iter().map(Self::Lab).collect()),
        }
    }

    /// The tests that run here, unless the user names others.
    pub(crate) fn tests(self) -> Selection {
        match self {
            Self::Native => Selection::All,
            Self::Lab(machine) => machine.tests,
        }
    }

    /// Installs and builds what the machine needs.
    pub(crate) fn prepare(self, workspace: &Workspace, row: &'static ArchRow) -> Result<Runner, Error> {
        match self {
            Self::Native => Ok(Runner::Native),
            Self::Lab(machine) => Ok(Runner::Lab(Lab::ensure(workspace, row, machine)?)),
        }
    }
}

impl fmt::Display for RunnerKind {
    /// The name in messages and results.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Native => f.write_str("native KVM"),
            Self::Lab(machine) if machine.variant.is_empty() => f.write_str("KVM in the lab"),
            Self::Lab(machine) => write!(f, "KVM in the lab with {}", machine.variant),
        }
    }
}

/// A machine with KVM that is ready to run programs.
#[derive(Debug)]
pub(crate) enum Runner {
    Native,
    Lab(Lab),
}

impl Runner {
    /// Prepares the first machine of an architecture.
    pub(crate) fn ensure(workspace: &Workspace, row: &'static ArchRow, host: Host) -> Result<Self, Error> {
        let kinds = RunnerKind::all(row, host)?;
        let first = kinds.first().copied().unwrap_or(RunnerKind::Lab(row.first_lab()));
        first.prepare(workspace, row)
    }

    /// Makes the clock of an emulated machine count instructions instead of time.
    pub(crate) fn with_clock(self, clock: Clock) -> Self {
        match self {
            Self::Native => Self::Native,
            Self::Lab(lab) => Self::Lab(lab.with_clock(clock)),
        }
    }

    /// Its kind.
    pub(crate) fn kind(&self) -> RunnerKind {
        match self {
            Self::Native => RunnerKind::Native,
            Self::Lab(lab) => RunnerKind::Lab(lab.machine()),
        }
    }

    /// Runs all programs of a job. A program that fails does not stop the job.
    pub(crate) fn run(&self, workspace: &Workspace, job: &Job, observer: Observer<'_>) -> Result<(), Error> {
        match self {
            Self::Native => native::run(job, observer),
            Self::Lab(lab) => lab.run(workspace, job, observer),
        }
    }

    /// Runs one program and shows its output.
    ///
    /// # Errors
    /// [`Error::Program`] when it fails.
    pub(crate) fn run_shown(&self, workspace: &Workspace, name: &str, task: Task) -> Result<(), Error> {
        self.run_tasks(workspace, name, vec![task], |_, bytes| show(&mut stdout(), bytes))
    }

    /// Runs one program and returns its standard output, with its error if it fails. Its standard error is shown.
    pub(crate) fn run_captured(
        &self,
        workspace: &Workspace,
        name: &str,
        task: Task,
    ) -> (String, Result<(), Error>) {
        let (outputs, result) = self.run_all_captured(workspace, name, vec![task]);
        (outputs.into_iter().next().unwrap_or_default(), result)
    }

    /// Runs programs one after the other on one machine and returns the standard output of each, with the error of the first that fails.
    /// Their standard error is shown.
    pub(crate) fn run_all_captured(
        &self,
        workspace: &Workspace,
        name: &str,
        tasks: Vec<Task>,
    ) -> (Vec<String>, Result<(), Error>) {
        let mut outputs = vec![Vec::new(); tasks.len()];
        let result = self.run_tasks(workspace, name, tasks, |index, bytes| {
            if let Some(output) = outputs.get_mut(index) {
                output.extend_from_slice(bytes);
            }
            Ok(())
        });
        let text = outputs
            .iter()
            .map(|output| String::from_utf8_lossy(output).into_owned());
        (text.collect(), result)
    }

    /// Runs programs; `output` takes the number of a program and a part of its standard output.
    fn run_tasks(
        &self,
        workspace: &Workspace,
        name: &str,
        tasks: Vec<Task>,
        mut output: impl FnMut(usize, &[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let job = Job {
            tasks,
            fixtures: None,
        };
        let mut current = 0;
        let mut failure = None;
        self.run(workspace, &job, &mut |report| {
            match report {
                Report::Stdout(bytes) => output(current, bytes)?,
                Report::Stderr(bytes) => show(&mut stderr(), bytes)?,
                Report::Ready(uptime) => {
                    print_status(&format!("the KVM host machine is ready after {uptime:.1?}"));
                }
                Report::Started(index) => current = index,
                Report::Ended(ending) if ending.is_success() => {}
                Report::Ended(ending) => failure = failure.or(Some(ending)),
            }
            Ok(())
        })?;
        match failure {
            Some(ending) => Err(Error::Program {
                program: name.to_owned(),
                ending,
            }),
            None => Ok(()),
        }
    }
}

/// Writes output and flushes it: the last line of a console often has no newline.
fn show(terminal: &mut impl Write, bytes: &[u8]) -> Result<(), Error> {
    terminal
        .write_all(bytes)
        .and_then(|()| terminal.flush())
        .with_path(Path::new("the terminal"))
}
