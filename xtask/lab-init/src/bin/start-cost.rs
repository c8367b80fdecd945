//! Counts what `vmboot run` does from `exec` to the first `KVM_RUN`: system calls, page faults and instructions.
//!
//! `start-cost PROGRAM ARGUMENT...` measures `PROGRAM run --map-files ARGUMENT...`, and `start-cost --prepared PROGRAM ARGUMENT...` a start from the file that `PROGRAM
//! prepare ARGUMENT...` writes. It runs the program twice: with `--timeline` added, to its end; and under ptrace(2) up to the first `ioctl` that is
//! `KVM_RUN`, where it is killed. Prints a `lab_init::StartCost`.
#![forbid(unsafe_code)]

/// A failure in words.
type Failure = Box<dyn std::error::Error>;

fn main() -> std::process::ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match linux::run(&args) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("start-cost: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod linux {
    pub(super) fn run(_: &[String]) -> Result<(), super::Failure> {
        Err("only Linux has KVM".into())
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::BTreeSet;
    use std::fs;
    use std::io::Read as _;
    use std::os::unix::process::CommandExt as _;
    use std::process::{Command, Stdio};
    use std::time::Instant;

    use lab_init::StartCost;
    use nix::sys::ptrace::{self, Options};
    use nix::sys::signal::Signal;
    use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
    use nix::unistd::Pid;

    use super::Failure;

    /// First argument of this program as the one that is traced.
    const TRACED: &str = "--traced";

    /// First argument for a prepared boot.
    const PREPARED: &str = "--prepared";

    /// `ioctl(2)` by its number.
    const IOCTL: i64 = libc::SYS_ioctl;

    /// `KVM_RUN`, `_IO(0xAE, 0x80)` (Linux `include/uapi/linux/kvm.h`).
    const KVM_RUN: u64 = 0xae80;

    pub(super) fn run(args: &[String]) -> Result<(), Failure> {
        match args {
            [first, program, args @ ..] if first == TRACED => {
                ptrace::traceme()?;
                Err(Command::new(program).args(args).exec().into())
            }
            [first, program, args @ ..] if first == PREPARED => {
                let file = std::env::temp_dir().join("prepared-boot");
                let mut prepare = Command::new(program);
                prepare.arg("prepare").args(args).arg("--output").arg(&file);
                let status = prepare.status()?;
                if !status.success() {
                    return Err(format!("{prepare:?} failed: {status}").into());
                }
                let file = file.to_str().ok_or("the name of a file is not UTF-8")?;
                measure(
                    program,
                    &["run", "--map-files", "--prepared", file].map(str::to_owned),
                )
            }
            [program, args @ ..] => {
                let run = ["run", "--map-files"].map(str::to_owned);
                measure(program, &[&run, args].concat())
            }
            [] => Err("expected PROGRAM ARGUMENT...".into()),
        }
    }

    fn measure(program: &str, args: &[String]) -> Result<(), Failure> {
        let (planned_ms, start_ms) = times(program, args)?;
        let counts = counts(program, args)?;
        let cost = StartCost {
            calls: counts.calls,
            minor_faults: counts.faults.minor,
            major_faults: counts.faults.major,
            planned_ms,
            start_ms,
        };
        println!("{}", serde_json::to_string(&cost)?);
        Ok(())
    }

    /// Milliseconds from just before `exec` to the first line on standard error, and from there to the start of the guest.
    fn times(program: &str, args: &[String]) -> Result<(f64, f64), Failure> {
        let start = Instant::now();
        let mut child = Command::new(program)
            .args(args)
            .arg("--timeline")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut messages = child.stderr.take().ok_or("no standard error")?;
        let mut buffer = [0; 0x1000];
        let len = messages.read(&mut buffer)?;
        let seen = start.elapsed();
        let mut text = String::from_utf8_lossy(&buffer[..len]).into_owned();
        messages.read_to_string(&mut text)?;
        let status = child.wait()?;
        let time = |event: &str| -> Result<f64, Failure> {
            let line = text.lines().find(|line| line.ends_with(event));
            let time = line.and_then(|line| line.split_whitespace().next());
            let time =
                time.ok_or_else(|| format!("{program} ({status}) printed no time of {event:?}: {text}"))?;
            Ok(time.parse()?)
        };
        Ok((
            seen.as_secs_f64() * 1e3,
            time(" guest started")? - time(" planned")?,
        ))
    }

    /// Page faults of all threads of a process.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Faults {
        minor: u64,
        major: u64,
    }

    impl Faults {
        fn of(process: Pid) -> Result<Self, Failure> {
            Self::parse(&fs::read_to_string(format!("/proc/{process}/stat"))?)
        }

        /// Takes `/proc/PID/stat`: number, name in parentheses, state, and numbers (proc_pid_stat(5)).
        fn parse(line: &str) -> Result<Self, Failure> {
            /// Places behind the name of fields 10 and 12, `minflt` and `majflt`.
            const PLACES: [usize; 2] = [7, 9];
            let (_, fields) = line.rsplit_once(") ").ok_or("no name in /proc/PID/stat")?;
            let fields: Vec<&str> = fields.split(' ').collect();
            let [minor, major] = PLACES.map(|place| fields.get(place).copied().unwrap_or_default().parse());
            Ok(Self {
                minor: minor?,
                major: major?,
            })
        }

        fn since(self, before: Self) -> Self {
            Self {
                minor: self.minor - before.minor,
                major: self.major - before.major,
            }
        }
    }

    /// What a program does from its start to the first `KVM_RUN`.
    struct Counts {
        calls: u32,
        faults: Faults,
    }

    /// Counts up to the first `KVM_RUN`.
    fn counts(program: &str, args: &[String]) -> Result<Counts, Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(TRACED)
            .arg(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let first = Pid::from_raw(i32::try_from(child.id())?);
        let counted = trace(first);
        // It is stopped, has ended, or runs without a tracer.
        let _ended_before = child.kill();
        counted
    }

    fn trace(first: Pid) -> Result<Counts, Failure> {
        let options =
            Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACECLONE | Options::PTRACE_O_EXITKILL;
        match waitpid(first, None)? {
            // `exec` of the program.
            WaitStatus::Stopped(_, Signal::SIGTRAP) => ptrace::setoptions(first, options)?,
            other => return Err(format!("the program did not start: {other:?}").into()),
        }
        // Those of this program, before it became the other.
        let faults_before = Faults::of(first)?;
        ptrace::syscall(first, None)?;
        let mut calls = 0;
        let mut in_call = BTreeSet::new();
        // Threads before their first stop, which is none of a signal.
        let mut known = BTreeSet::from([first]);
        loop {
            match waitpid(None, Some(WaitPidFlag::__WALL))? {
                WaitStatus::PtraceSyscall(thread) => {
                    // Every second stop of a thread is the end of a call.
                    if !in_call.remove(&thread) {
                        in_call.insert(thread);
                        calls += 1;
                        if is_kvm_run(&fs::read_to_string(format!("/proc/{thread}/syscall"))?) {
                            let faults = Faults::of(first)?.since(faults_before);
                            return Ok(Counts { calls, faults });
                        }
                    }
                    ptrace::syscall(thread, None)?;
                }
                WaitStatus::Stopped(thread, signal) => {
                    let is_new = known.insert(thread) && signal == Signal::SIGSTOP;
                    ptrace::syscall(thread, (!is_new).then_some(signal))?;
                }
                WaitStatus::PtraceEvent(thread, ..) => ptrace::syscall(thread, None)?,
                WaitStatus::Exited(thread, status) if thread == first => {
                    return Err(format!("the program ended with status {status} before KVM_RUN").into());
                }
                WaitStatus::Signaled(thread, signal, _) if thread == first => {
                    return Err(format!("{signal} ended the program before KVM_RUN").into());
                }
                _ => {}
            }
        }
    }

    /// Whether a line of `/proc/PID/syscall` is a `KVM_RUN`: the number of the call, then its arguments (proc_pid_syscall(5)).
    fn is_kvm_run(line: &str) -> bool {
        let mut words = line.split(' ');
        let number = words.next().and_then(|number| number.parse().ok());
        let request = words.nth(1).and_then(|word| word.strip_prefix("0x"));
        let request = request.and_then(|request| u64::from_str_radix(request, 16).ok());
        (number, request) == (Some(IOCTL), Some(KVM_RUN))
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn requests_are_in_the_second_argument() {
            let call =
                |number: i64, request| format!("{number} 0x4 {request} 0x0 0x0 0x0 0x0 0x7ffd 0x7fe1\n");
            assert!(is_kvm_run(&call(IOCTL, "0xae80")));
            assert!(!is_kvm_run(&call(IOCTL, "0xae81")));
            assert!(!is_kvm_run(&call(IOCTL + 1, "0xae80")));
            assert!(!is_kvm_run("running\n"));
        }

        #[test]
        fn faults_are_in_the_tenth_and_the_twelfth_field() {
            let faults = Faults::parse("7 (a) b) R 1 7 7 0 -1 4194560 75 3 2 1 0 0 0 0 20 0\n").unwrap();
            assert_eq!(faults, Faults { minor: 75, major: 2 });
            assert!(Faults::parse("7 (a) R 1 7").is_err());
            let of_this = Faults::of(Pid::this()).unwrap();
            assert!(of_this.minor > 0);
        }

        #[test]
        fn programs_without_kvm_have_no_cost() {
            let error = counts("/bin/true", &[]).err().unwrap().to_string();
            // In the test, the traced program is the test itself, which knows no such option.
            assert!(error.contains("did not start"), "{error}");
            assert!(run(&[]).is_err());
            let error = times("/bin/echo", &[]).unwrap_err().to_string();
            assert!(error.contains("no time of"), "{error}");
        }
    }
}
