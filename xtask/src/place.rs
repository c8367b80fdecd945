//! Where programs that need KVM run: on this machine, or in the lab.

mod lab;
mod native;

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use lab_init::Ending;

pub(crate) use lab::Lab;

use crate::arch::{ArchRow, LabMachine};
use crate::error::{At as _, Error};
use crate::fixtures;
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

/// Programs to run one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) tasks: Vec<Task>,
    /// A directory that the programs find through the variable of [`fixtures::VARIABLE`].
    pub(crate) fixtures: Option<PathBuf>,
}

/// One program of a job, statically linked.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) executable: PathBuf,
    pub(crate) args: Vec<Arg>,
    pub(crate) deadline: Duration,
}

/// An argument of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Arg {
    Text(String),
    /// A file, whose path is another one in the lab.
    File(PathBuf),
}

impl From<&str> for Arg {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// What happens while a job runs. Output belongs to the program that started last.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Report<'a> {
    /// The KVM host machine is up, this long after its kernel started.
    Ready(Duration),
    Started(usize),
    Stdout(&'a [u8]),
    Stderr(&'a [u8]),
    Ended(Ending),
}

/// Takes the reports of a job.
pub(crate) type Observer<'a> = &'a mut dyn FnMut(Report<'_>) -> Result<(), Error>;

/// A machine with KVM that programs can run on, before it is known to work.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Site {
    /// This machine.
    Native,
    /// One that QEMU emulates.
    Lab(&'static LabMachine),
}

impl Site {
    /// Every machine that the tests of an architecture run on.
    pub(crate) fn all(row: &'static ArchRow, host: Host) -> Result<Vec<Self>, Error> {
        match (host, native::unusable(row)) {
            (Host::Auto | Host::Native, None) => Ok(vec![Self::Native]),
            (Host::Native, Some(reason)) => Err(Error::NoNativeKvm { reason }),
            (Host::Auto | Host::Lab, _) => Ok(row.labs.iter().map(Self::Lab).collect()),
        }
    }

    /// The part of their names that the tests have which this machine is there for; none: all tests run on it.
    pub(crate) fn only(self) -> Option<&'static str> {
        match self {
            Self::Native => None,
            Self::Lab(machine) => machine.only,
        }
    }

    /// Makes sure that the machine can be used.
    pub(crate) fn prepare(self, workspace: &Workspace, row: &'static ArchRow) -> Result<Place, Error> {
        match self {
            Self::Native => Ok(Place::Native),
            Self::Lab(machine) => Ok(Place::Lab(Lab::ensure(workspace, row, machine)?)),
        }
    }
}

impl fmt::Display for Site {
    /// The name in messages and results.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Native => f.write_str("native KVM"),
            Self::Lab(machine) if machine.variant.is_empty() => f.write_str("KVM in the lab"),
            Self::Lab(machine) => write!(f, "KVM in the lab with {}", machine.variant),
        }
    }
}

/// A machine with KVM that can be used.
#[derive(Debug)]
pub(crate) enum Place {
    Native,
    Lab(Lab),
}

impl Place {
    /// Chooses one machine, and makes sure that it can be used.
    pub(crate) fn choose(workspace: &Workspace, row: &'static ArchRow, host: Host) -> Result<Self, Error> {
        let sites = Site::all(row, host)?;
        let first = sites.first().copied().unwrap_or(Site::Lab(row.first_lab()));
        first.prepare(workspace, row)
    }

    /// Where it is.
    pub(crate) fn site(&self) -> Site {
        match self {
            Self::Native => Site::Native,
            Self::Lab(lab) => Site::Lab(lab.machine()),
        }
    }

    /// Runs all programs of a job, whatever the ones before ended with.
    pub(crate) fn run(&self, workspace: &Workspace, job: &Job, observer: Observer<'_>) -> Result<(), Error> {
        match self {
            Self::Native => native::run(job, observer),
            Self::Lab(lab) => lab.run(workspace, job, observer),
        }
    }
}

/// The environment of a program; `fixtures` is the directory as the program sees it.
fn environment(fixtures: Option<&str>) -> Vec<(String, String)> {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut environment = vec![
        pair("PATH", "/usr/bin:/bin"),
        pair("TMPDIR", "/tmp"),
        pair("RUST_BACKTRACE", "1"),
    ];
    environment.extend(fixtures.map(|directory| pair(fixtures::VARIABLE, directory)));
    environment
}

/// Refuses a job whose files are not all there, before anything is started.
fn check_files(job: &Job) -> Result<(), Error> {
    for task in &job.tasks {
        let files = task.args.iter().filter_map(|arg| match arg {
            Arg::File(path) => Some(path),
            Arg::Text(_) => None,
        });
        for path in files.chain([&task.executable]) {
            fs::metadata(path).at(path)?;
        }
    }
    Ok(())
}
