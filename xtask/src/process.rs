//! Running other programs with their output logged, shown or captured. All of them end with xtask.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio, exit};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

use crate::error::{Error, WithPath as _};

/// Processes to end when xtask is interrupted.
static RUNNING: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// Set once xtask was interrupted; nothing is started after that.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// The exit code of a program that was interrupted, as shells give it.
pub(crate) const INTERRUPTED_CODE: u8 = 130;

/// Time for an interrupted xtask to clean up.
const CLEANUP_TIME: Duration = Duration::from_secs(5);

/// How much of a log an error shows.
const TAIL_LINES: usize = 25;
const TAIL_BYTES: i64 = 16 * 1024;

/// Makes Ctrl-C, SIGTERM and SIGHUP end every program that was started through this module. The task that waits for one
/// then fails and cleans up.
pub(crate) fn end_children_on_interrupt() -> Result<(), Error> {
    ctrlc::set_handler(|| {
        INTERRUPTED.store(true, Ordering::SeqCst);
        for id in RUNNING.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            if let Some(pid) = i32::try_from(*id).ok().and_then(Pid::from_raw) {
                // A process that has ended by itself needs no signal.
                let _: Result<(), rustix::io::Errno> = kill_process(pid, Signal::TERM);
            }
        }
        thread::sleep(CLEANUP_TIME);
        exit(INTERRUPTED_CODE.into());
    })?;
    Ok(())
}

/// True once xtask was interrupted.
pub(crate) fn is_interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

/// A running program that is killed when this value is dropped before the program has ended.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    name: String,
}

impl Running {
    /// Starts `command`.
    pub(crate) fn start(command: &mut Command) -> Result<Self, Error> {
        if is_interrupted() {
            return Err(Error::Interrupted);
        }
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().map_err(|source| Error::Start {
            program: name.clone(),
            source,
        })?;
        RUNNING
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(child.id());
        Ok(Self { child, name })
    }

    /// Starts `command` on the processor that this thread is on, where all its threads stay.
    pub(crate) fn start_on_one_processor(command: &mut Command) -> Result<Self, Error> {
        let program = command.get_program().to_string_lossy().into_owned();
        on_one_processor(|| Self::start(command)).map_err(|source| Error::Start { program, source })?
    }

    /// The process itself, for its pipes.
    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the end.
    pub(crate) fn wait(&mut self) -> Result<ExitStatus, Error> {
        self.child.wait().with_path(Path::new(&self.name))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|id| *id != self.child.id());
        if let Ok(None) = self.child.try_wait() {
            // Nothing more can be done about a process that cannot be killed.
            let _: io::Result<()> = self.child.kill();
            let _: io::Result<ExitStatus> = self.child.wait();
        }
    }
}

/// Calls `start` while this thread may use one processor only. What it starts inherits that.
fn on_one_processor<T>(start: impl FnOnce() -> T) -> io::Result<T> {
    let all = sched_getaffinity(None)?;
    let mut one = CpuSet::new();
    one.set(sched_getcpu());
    sched_setaffinity(None, &one)?;
    let started = start();
    sched_setaffinity(None, &all)?;
    Ok(started)
}

/// Kills the process `id`, which this program started and has not waited for.
pub(crate) fn kill(id: u32) {
    if let Some(pid) = i32::try_from(id).ok().and_then(Pid::from_raw) {
        // It may have ended by itself.
        let _: Result<(), rustix::io::Errno> = kill_process(pid, Signal::KILL);
    }
}

/// Runs `command` without input. Returns its standard output and its exit code, which is `None` if it was killed: by a signal, or after `deadline`.
pub(crate) fn output_until(
    command: &mut Command,
    deadline: Duration,
) -> Result<(String, Option<i32>), Error> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    let mut running = Running::start(command)?;
    let id = running.id();
    let (alive, stop) = mpsc::channel::<()>();
    let watchdog = thread::spawn(move || {
        if stop.recv_timeout(deadline) == Err(RecvTimeoutError::Timeout) {
            kill(id);
        }
    });
    let mut output = Vec::new();
    if let Some(stdout) = running.child().stdout.as_mut() {
        stdout
            .read_to_end(&mut output)
            .with_path(Path::new(command.get_program()))?;
    }
    drop(alive);
    // A watchdog cannot fail: it only waits and kills.
    let _: thread::Result<()> = watchdog.join();
    let code = running.wait()?.code();
    Ok((String::from_utf8_lossy(&output).into_owned(), code))
}

/// Ids of the running processes that the process `id` has started.
pub(crate) fn children(id: u32) -> Result<Vec<u32>, Error> {
    let directory = Path::new("/proc");
    let mut children = Vec::new();
    for entry in fs::read_dir(directory).with_path(directory)? {
        let name = entry.with_path(directory)?.file_name();
        let Some(process) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // A process can end at any time; one that has ended is no child.
        let stat = fs::read_to_string(directory.join(&name).join("stat")).unwrap_or_default();
        if parent(&stat) == Some(id) {
            children.push(process);
        }
    }
    Ok(children)
}

/// The parent in the content of `/proc/ID/stat`: `ID (NAME) STATE PARENT …`. The name can contain blanks and parentheses.
fn parent(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

/// Runs `command` with its output in the file `log`.
pub(crate) fn run_logged(command: &mut Command, log: &Path) -> Result<(), Error> {
    let file = File::create(log).with_path(log)?;
    let second = file.try_clone().with_path(log)?;
    command.stdin(Stdio::null()).stdout(file).stderr(second);
    let status = Running::start(command)?.wait()?;
    finish_logged(command, status, log)
}

/// Converts the exit status of a command whose output is in `log` to a result.
pub(crate) fn finish_logged(command: &Command, status: ExitStatus, log: &Path) -> Result<(), Error> {
    if status.success() {
        return Ok(());
    }
    Err(Error::Command {
        command: describe(command),
        status,
        tail: tail(log)?,
        log: log.to_path_buf(),
    })
}

/// Runs `command` with its output on the terminal.
pub(crate) fn run_shown(command: &mut Command) -> Result<(), Error> {
    command.stdin(Stdio::null());
    let status = Running::start(command)?.wait()?;
    if status.success() {
        Ok(())
    } else {
        Err(Error::Shown {
            command: describe(command),
            status,
        })
    }
}

/// Runs `command` and returns its standard output; its standard error goes to `log`.
pub(crate) fn output(command: &mut Command, log: &Path) -> Result<Vec<u8>, Error> {
    let file = File::create(log).with_path(log)?;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(file);
    let mut running = Running::start(command)?;
    let mut taken = Vec::new();
    if let Some(stdout) = running.child().stdout.as_mut() {
        stdout.read_to_end(&mut taken).with_path(log)?;
    }
    let status = running.wait()?;
    finish_logged(command, status, log)?;
    Ok(taken)
}

/// The last lines of a text file, for an error message.
pub(crate) fn tail(path: &Path) -> Result<String, Error> {
    let mut file = File::open(path).with_path(path)?;
    let length = i64::try_from(file.metadata().with_path(path)?.len()).unwrap_or(i64::MAX);
    file.seek(SeekFrom::End(-length.min(TAIL_BYTES)))
        .with_path(path)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).with_path(path)?;
    Ok(last_lines(&String::from_utf8_lossy(&bytes)))
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let skipped = lines.len().saturating_sub(TAIL_LINES);
    lines
        .iter()
        .skip(skipped)
        .map(|line| format!("    {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// A command as one would type it.
pub(crate) fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

/// Path of a program on `PATH` or in the `sbin` directories, which a user's `PATH` often lacks.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|directory| directory.join(program))
        .find(|candidate| fs::metadata(candidate).is_ok_and(|metadata| metadata.is_file()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_shows_the_end_of_the_log() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let error = run_logged(Command::new("sh").args(["-c", "seq 1 100; exit 3"]), &log).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("sh -c seq 1 100; exit 3 failed"), "{text}");
        assert!(
            text.contains("    100\n") && text.contains("    76\n") && !text.contains("    75\n"),
            "{text}"
        );
    }

    #[test]
    fn a_dropped_program_is_killed() {
        let running = Running::start(Command::new("sleep").arg("1000")).unwrap();
        let id = running.id();
        drop(running);
        assert!(!Path::new(&format!("/proc/{id}")).exists());
    }

    #[test]
    fn a_program_on_one_processor_leaves_all_of_them_to_this_thread() {
        let before = sched_getaffinity(None).unwrap();
        let mut command = Command::new("sleep");
        let running = Running::start_on_one_processor(command.arg("1000")).unwrap();
        let id = Pid::from_raw(running.id().try_into().unwrap());
        assert_eq!(sched_getaffinity(id).unwrap().count(), 1);
        assert_eq!(sched_getaffinity(None).unwrap(), before);
    }

    #[test]
    fn children_are_found_by_their_parent() {
        assert_eq!(parent("7 (a ) b) S 42 7 7 0 -1"), Some(42));
        assert_eq!(parent(""), None);
        let running = Running::start(Command::new("sleep").arg("1000")).unwrap();
        assert!(children(std::process::id()).unwrap().contains(&running.id()));
        assert_eq!(children(running.id()).unwrap(), Vec::<u32>::new());
    }

    #[test]
    fn programs_are_found_on_the_path() {
        assert!(which("sh").is_some());
        assert_eq!(which("no-such-program-anywhere"), None);
    }

    #[test]
    fn standard_output_is_taken_apart_from_standard_error() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let taken = output(Command::new("sh").args(["-c", "echo out; echo err >&2"]), &log).unwrap();
        assert_eq!(taken, b"out\n");
        assert_eq!(fs::read(&log).unwrap(), b"err\n");
    }
}
