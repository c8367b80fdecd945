//! Counts what `vmboot run` does from `exec` to the first `KVM_RUN`: system calls, page faults and instructions.
//!
//! `start-cost PROGRAM ARGUMENT...` measures `PROGRAM run --map-files ARGUMENT...`, and `start-cost --prepared PROGRAM ARGUMENT...` a start from the file that `PROGRAM
//! prepare ARGUMENT...` writes. It runs the program twice under ptrace(2), from `exec` to the first `ioctl` that is `KVM_RUN`, where it kills the program: once
//! with a stop at these two calls alone, for the time, and once with a stop at every call. Prints a `lab_init::StartCost`.
//!
//! The guest never runs: with a clock that counts instructions, the lab of x86_64 cannot run a kernel for long (`Clock::Instructions` of `xtask`).
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
    use std::collections::{BTreeMap, BTreeSet};
    use std::fs;
    use std::io::{self, Read};
    use std::os::unix::process::CommandExt as _;
    use std::panic;
    use std::process::{Child, Command, Stdio};
    use std::thread::{self, JoinHandle};
    use std::time::{Duration, Instant};

    use lab_init::StartCost;
    use libc::c_int;
    use nix::sys::ptrace::{self, Event, Options};
    use nix::sys::signal::{self, Signal};
    use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
    use nix::unistd::Pid;
    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
        SeccompRule,
    };

    use super::Failure;

    /// First argument of this program as the one that is traced.
    const TRACED: &str = "--traced";

    /// First argument for a prepared boot.
    const PREPARED: &str = "--prepared";

    /// `KVM_RUN`, `_IO(0xAE, 0x80)` (Linux `include/uapi/linux/kvm.h`).
    const KVM_RUN: u64 = 0xae80;

    pub(super) fn run(args: &[String]) -> Result<(), Failure> {
        match args {
            [first, program, args @ ..] if first == TRACED => {
                ptrace::traceme()?;
                seccompiler::apply_filter(&filter()?)?;
                // The tracer sets its options.
                signal::raise(Signal::SIGSTOP)?;
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

    /// Stops for the tracer: `execve`, and every `ioctl` that is `KVM_RUN`.
    fn filter() -> Result<BpfProgram, Failure> {
        let request = SeccompCondition::new(1, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, KVM_RUN)?;
        let rules = BTreeMap::from([
            (libc::SYS_execve, Vec::new()),
            (libc::SYS_ioctl, vec![SeccompRule::new(vec![request])?]),
        ]);
        let filter = SeccompFilter::new(
            rules,
            SeccompAction::Allow,
            SeccompAction::Trace(0),
            std::env::consts::ARCH.try_into()?,
        )?;
        Ok(filter.try_into()?)
    }

    fn measure(program: &str, args: &[String]) -> Result<(), Failure> {
        // First the counts: on riscv64, the first program from a file flushes the instruction caches.
        let counts = counts(program, args)?;
        let (planned, started) = times(program, args)?;
        let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
        let cost = StartCost {
            calls: counts.calls,
            minor_faults: counts.faults.minor,
            major_faults: counts.faults.major,
            planned_ms: milliseconds(planned),
            start_ms: milliseconds(started.saturating_sub(planned)),
        };
        println!("{}", serde_json::to_string(&cost)?);
        Ok(())
    }

    /// Time from `exec` to the first line on standard error, and to the first `KVM_RUN`.
    fn times(program: &str, args: &[String]) -> Result<(Duration, Duration), Failure> {
        let traced = Traced::spawn(program, args)?;
        let start = Instant::now();
        let outcome = traced.run(ptrace::cont, |_| ());
        let started = start.elapsed();
        let (_, messages) = traced.end(outcome)?;
        let planned = messages
            .first
            .ok_or("the program printed nothing before KVM_RUN")?;
        Ok((planned.saturating_duration_since(start), started))
    }

    /// What a program writes to its standard error.
    struct Messages {
        /// Time of the first byte.
        first: Option<Instant>,
        text: String,
    }

    impl Messages {
        fn read(mut source: impl Read) -> io::Result<Self> {
            let mut buffer = vec![0; 0x1000];
            let len = source.read(&mut buffer)?;
            let first = (len > 0).then(Instant::now);
            buffer.truncate(len);
            source.read_to_end(&mut buffer)?;
            let text = String::from_utf8_lossy(&buffer).into_owned();
            Ok(Self { first, text })
        }
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

    /// Counts from `exec` to the first `KVM_RUN`.
    fn counts(program: &str, args: &[String]) -> Result<Counts, Failure> {
        let traced = Traced::spawn(program, args)?;
        let first = traced.first;
        let mut faults_before = None;
        // The threads in a call, with the number of calls up to this one.
        let mut in_call = BTreeMap::new();
        let mut calls = 0;
        let outcome = traced.run(ptrace::syscall, |stop| match stop {
            Stop::Executed => {
                faults_before = Some(Faults::of(first));
                // The call that ends next is `execve`, which does not count, nor do those before it that failed.
                in_call = BTreeMap::from([(first, 0)]);
                calls = 0;
            }
            Stop::Call(thread) => {
                // Every second stop of a thread is the end of a call.
                if in_call.remove(&thread).is_none() {
                    calls += 1;
                    in_call.insert(thread, calls);
                }
            }
        });
        let counts = outcome.and_then(|runner| {
            // Those of this program, before it became the other.
            let faults_before = faults_before.ok_or("the program did not start")??;
            let faults = Faults::of(first)?.since(faults_before);
            // Other threads have gone on since the start of `KVM_RUN`.
            let calls = *in_call.get(&runner).ok_or("KVM_RUN is no system call")?;
            Ok(Counts { calls, faults })
        });
        let (counts, _) = traced.end(counts)?;
        Ok(counts)
    }

    /// A stop of a traced program.
    enum Stop {
        /// The end of `execve`.
        Executed,
        /// The start or the end of a system call of a thread.
        Call(Pid),
    }

    /// A traced program, which is killed when it is dropped.
    struct Traced {
        child: Child,
        first: Pid,
        /// Reads its standard error.
        reader: Option<JoinHandle<io::Result<Messages>>>,
    }

    impl Drop for Traced {
        fn drop(&mut self) {
            self.kill();
        }
    }

    impl Traced {
        /// Starts a program, stopped at its `execve`.
        fn spawn(program: &str, args: &[String]) -> Result<Self, Failure> {
            let mut child = Command::new(std::env::current_exe()?)
                .arg(TRACED)
                .arg(program)
                .args(args)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()?;
            let first = Pid::from_raw(i32::try_from(child.id())?);
            let messages = child.stderr.take();
            let reader = messages.map(|messages| thread::spawn(move || Messages::read(messages)));
            let traced = Self { child, first, reader };
            match waitpid(first, None)? {
                WaitStatus::Stopped(_, Signal::SIGSTOP) => {}
                other => return Err(format!("the program did not start: {other:?}").into()),
            }
            let options = Options::PTRACE_O_TRACESYSGOOD
                | Options::PTRACE_O_TRACECLONE
                | Options::PTRACE_O_TRACEEXEC
                | Options::PTRACE_O_TRACESECCOMP
                | Options::PTRACE_O_EXITKILL;
            ptrace::setoptions(first, options)?;
            ptrace::cont(first, None)?;
            match waitpid(first, None)? {
                WaitStatus::PtraceEvent(_, _, event) if is_seccomp(event) => Ok(traced),
                other => Err(format!("the program did not start: {other:?}").into()),
            }
        }

        fn kill(&mut self) {
            let _ended_before = self.child.kill();
            // Each of its threads is waited for; the first ends as the last. This process has no other children.
            while waitpid(None, Some(WaitPidFlag::__WALL)).is_ok() {}
        }

        /// Kills it. Adds its messages to the error of `outcome`.
        fn end<T>(mut self, outcome: Result<T, Failure>) -> Result<(T, Messages), Failure> {
            self.kill();
            let reader = self.reader.take().ok_or("no standard error")?;
            let messages = reader
                .join()
                .unwrap_or_else(|panic| panic::resume_unwind(panic))?;
            match outcome {
                Ok(found) => Ok((found, messages)),
                Err(error) => Err(format!("{error}: {}", messages.text).into()),
            }
        }

        /// Lets it run to its first `KVM_RUN`, where that thread, the result, stays stopped; `resume` lets a thread go on after a stop.
        fn run(
            &self,
            resume: impl Fn(Pid, Option<Signal>) -> nix::Result<()>,
            mut stopped: impl FnMut(Stop),
        ) -> Result<Pid, Failure> {
            // Threads before their first stop, which is none of a signal.
            let mut known = BTreeSet::from([self.first]);
            let mut is_executed = false;
            resume(self.first, None)?;
            loop {
                match waitpid(None, Some(WaitPidFlag::__WALL))? {
                    WaitStatus::PtraceSyscall(thread) => {
                        stopped(Stop::Call(thread));
                        resume(thread, None)?;
                    }
                    // Before, it is a further `execve`: the program is searched in the directories of PATH.
                    WaitStatus::PtraceEvent(thread, _, event) if is_seccomp(event) && is_executed => {
                        return Ok(thread);
                    }
                    WaitStatus::PtraceEvent(thread, _, event) => {
                        if event == Event::PTRACE_EVENT_EXEC as c_int {
                            is_executed = true;
                            stopped(Stop::Executed);
                        }
                        resume(thread, None)?;
                    }
                    WaitStatus::Stopped(thread, signal) => {
                        let is_new = known.insert(thread) && signal == Signal::SIGSTOP;
                        resume(thread, (!is_new).then_some(signal))?;
                    }
                    WaitStatus::Exited(thread, status) if thread == self.first => {
                        return Err(format!("the program ended with status {status} before KVM_RUN").into());
                    }
                    WaitStatus::Signaled(thread, signal, _) if thread == self.first => {
                        return Err(format!("{signal} ended the program before KVM_RUN").into());
                    }
                    _ => {}
                }
            }
        }
    }

    fn is_seccomp(event: c_int) -> bool {
        event == Event::PTRACE_EVENT_SECCOMP as c_int
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn faults_are_in_the_tenth_and_the_twelfth_field() {
            let faults = Faults::parse("7 (a) b) R 1 7 7 0 -1 4194560 75 3 2 1 0 0 0 0 20 0\n").unwrap();
            assert_eq!(faults, Faults { minor: 75, major: 2 });
            assert!(Faults::parse("7 (a) R 1 7").is_err());
            let of_this = Faults::of(Pid::this()).unwrap();
            assert!(of_this.minor > 0);
        }
    }
}
