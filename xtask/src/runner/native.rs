//! Running a job on this machine.

use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use lab_init::{Ending, MAX_PAYLOAD};

use super::job::{Arg, Job, Observer, Report, Task, check_files, environment};
use crate::arch::ArchRow;
use crate::error::{Error, WithPath as _};
use crate::process::Running;

/// Why this machine's own KVM cannot be used; `None` when it can.
pub(super) fn unusable(row: &ArchRow) -> Option<String> {
    if std::env::consts::ARCH != row.name {
        return Some(format!("this machine's architecture is not {}", row.name));
    }
    let cpuinfo = match fs::read_to_string("/proc/cpuinfo") {
        Ok(text) => text,
        Err(error) => return Some(format!("/proc/cpuinfo: {error}")),
    };
    if !has_flag(&cpuinfo, row.kvm_flags) {
        // A KVM without them may emulate ring 0 in software and fail at instructions that Linux uses.
        return Some(format!(
            "the processor does not offer {}",
            row.kvm_flags.join(" or ")
        ));
    }
    OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/kvm")
        .err()
        .map(|error| format!("/dev/kvm: {error}"))
}

/// True when the first processor of `/proc/cpuinfo` has one of `flags`, or `flags` is empty.
fn has_flag(cpuinfo: &str, flags: &[&str]) -> bool {
    let line = cpuinfo
        .lines()
        .find(|line| line.starts_with("flags"))
        .unwrap_or_default();
    flags.is_empty() || line.split_whitespace().any(|flag| flags.contains(&flag))
}

/// Runs the programs one after the other.
pub(super) fn run(job: &Job, observer: Observer<'_>) -> Result<(), Error> {
    check_files(job)?;
    let fixtures = job
        .fixtures
        .as_ref()
        .map(|directory| directory.to_string_lossy().into_owned());
    for (index, task) in job.tasks.iter().enumerate() {
        observer(Report::Started(index))?;
        let ending = run_one(task, fixtures.as_deref(), observer)?;
        observer(Report::Ended(ending))?;
    }
    Ok(())
}

/// Output of a running program: whether it is its standard error, and the bytes.
type Output = (bool, Vec<u8>);

fn run_one(task: &Task, fixtures: Option<&str>, observer: Observer<'_>) -> Result<Ending, Error> {
    let mut command = Command::new(&task.executable);
    command.args(task.args.iter().map(|arg| match arg {
        Arg::Text(text) => Path::new(text),
        Arg::File(path) | Arg::Directory(path) | Arg::Disk(path) => path,
    }));
    command.envs(environment(fixtures));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut running = Running::start(&mut command)?;
    let (sender, output) = mpsc::channel();
    if let Some(stdout) = running.child().stdout.take() {
        forward(stdout, false, sender.clone());
    }
    if let Some(stderr) = running.child().stderr.take() {
        forward(stderr, true, sender.clone());
    }
    drop(sender);
    let end = Instant::now() + task.deadline;
    loop {
        match output.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok((false, bytes)) => observer(Report::Stdout(&bytes))?,
            Ok((true, bytes)) => observer(Report::Stderr(&bytes))?,
            // Dropping the program kills it.
            Err(RecvTimeoutError::Timeout) => return Ok(Ending::DeadlinePassed),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    // The program has closed both outputs, and has until its deadline to exit.
    loop {
        match running.child().try_wait().with_path(&task.executable)? {
            Some(status) => return Ok(ending(status)),
            None if Instant::now() >= end => return Ok(Ending::DeadlinePassed),
            None => thread::sleep(Duration::from_millis(5)),
        }
    }
}

fn ending(status: ExitStatus) -> Ending {
    status.code().map_or_else(
        || Ending::Signalled(status.signal().unwrap_or_default()),
        Ending::Exited,
    )
}

/// Sends the data of `pipe` until the pipe is closed or the receiver is dropped.
fn forward(mut pipe: impl Read + Send + 'static, is_error: bool, sender: Sender<Output>) {
    thread::spawn(move || {
        let mut buffer = vec![0; MAX_PAYLOAD];
        loop {
            match pipe.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => {
                    if sender.send((is_error, buffer[..length].to_vec())).is_err() {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a shell script and gives all it wrote to each output, and how it ended.
    fn shell(script: &str, deadline: Duration) -> (String, String, Ending) {
        let task = Task {
            executable: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
            deadline,
        };
        let job = Job {
            tasks: vec![task],
            fixtures: Some("/some/where".into()),
        };
        let (mut stdout, mut stderr, mut endings) = (Vec::new(), Vec::new(), Vec::new());
        run(&job, &mut |report| {
            match report {
                Report::Stdout(bytes) => stdout.extend_from_slice(bytes),
                Report::Stderr(bytes) => stderr.extend_from_slice(bytes),
                Report::Ended(ending) => endings.push(ending),
                _ => {}
            }
            Ok(())
        })
        .unwrap();
        assert_eq!(endings.len(), 1);
        (
            String::from_utf8(stdout).unwrap(),
            String::from_utf8(stderr).unwrap(),
            endings[0],
        )
    }

    #[test]
    fn output_and_ending_are_reported() {
        let minute = Duration::from_mins(1);
        assert_eq!(
            shell("echo $VMBOOT_FIXTURES; echo b >&2; exit 3", minute),
            ("/some/where\n".into(), "b\n".into(), Ending::Exited(3))
        );
        assert_eq!(shell("kill -9 $$", minute).2, Ending::Signalled(9));
        assert_eq!(shell("exec >&- 2>&-; exit 4", minute).2, Ending::Exited(4));
    }

    #[test]
    fn the_deadline_ends_a_program() {
        assert_eq!(
            shell("exec sleep 1000", Duration::from_millis(50)).2,
            Ending::DeadlinePassed
        );
    }

    #[test]
    fn flags_are_whole_words() {
        let cpuinfo = "processor : 0\nflags\t\t: fpu svm_lock vmmcall\nflags : vmx\n";
        assert!(!has_flag(cpuinfo, &["vmx", "svm"]));
        assert!(has_flag(cpuinfo, &["vmmcall"]));
        assert!(has_flag("", &[]));
        assert!(!has_flag("", &["vmx"]));
    }
}
