//! Programs for a runner, and the reports about them.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use lab_init::Ending;

use crate::error::{Error, WithPath as _};
use crate::fixtures;

/// Programs to run one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) tasks: Vec<Task>,
    /// Value of the environment variable [`fixtures::VARIABLE`].
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
    /// A file. Its path differs in the lab.
    File(PathBuf),
    /// A directory of files, without directories in it. Its path differs in the lab.
    Directory(PathBuf),
    /// A disk image, which the program does not change. In the lab it is a block device, so that large images need no memory.
    Disk(PathBuf),
}

impl From<&str> for Arg {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// An event of a running job. Output is of the program that started last.
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

/// Environment variables that programs get from this one: repetitions of long tests.
const PASSED_ON: [&str; 6] = [
    "VMBOOT_INTERRUPTS",
    "VMBOOT_KASLR_SEEDS",
    "VMBOOT_KVM_FAULTS",
    "VMBOOT_SANDBOX_CALLS",
    "VMBOOT_SANDBOX_CYCLES",
    "VMBOOT_SOAK",
];

/// The environment of a program; `fixtures` is the directory as the program sees it.
pub(super) fn environment(fixtures: Option<&str>) -> Vec<(String, String)> {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut environment = vec![
        pair("PATH", "/usr/bin:/bin"),
        pair("TMPDIR", "/tmp"),
        pair("RUST_BACKTRACE", "1"),
    ];
    environment.extend(fixtures.map(|directory| pair(fixtures::VARIABLE, directory)));
    let passed_on = PASSED_ON
        .iter()
        .filter_map(|name| Some(pair(name, &env::var(name).ok()?)));
    environment.extend(passed_on);
    environment
}

/// Checks that all files of a job exist.
pub(super) fn check_files(job: &Job) -> Result<(), Error> {
    for task in &job.tasks {
        let files = task.args.iter().filter_map(|arg| match arg {
            Arg::File(path) | Arg::Directory(path) | Arg::Disk(path) => Some(path),
            Arg::Text(_) => None,
        });
        for path in files.chain([&task.executable]) {
            fs::metadata(path).with_path(path)?;
        }
    }
    Ok(())
}
