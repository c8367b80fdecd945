//! Boots a machine under QEMU with TCG, and checks what it did.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::failure::Failure;
use super::medium::spec::End;
use super::monitor::{Ending, Monitor};
use super::timeline::{Milestone, Timeline};
use crate::error::{Error, WithPath as _};
use crate::process::{self, Running};

/// Pause between looks at the deadline and at the processor.
const POLL: Duration = Duration::from_millis(20);

/// The largest difference between the clocks of the guest and of this machine.
const CLOCK_TOLERANCE: u64 = 5;

/// What a boot must reach, and what init must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Goal {
    /// Userspace, or the kernel only.
    pub(super) milestone: Milestone,
    /// Whether the kernel must find EFI; `None`: either way.
    pub(super) efi: Option<bool>,
    /// True if init must be able to set EFI variables, if it finds EFI.
    pub(super) sets_variables: bool,
    /// True if init must find a clock. Each clock that it finds must be right.
    pub(super) has_clock: bool,
    /// True if init is systemd, which must start all that is enabled.
    pub(super) is_system: bool,
    /// What userspace does at its end.
    pub(super) end: End,
}

/// Result of a boot.
#[derive(Debug)]
pub(super) struct Boot {
    pub(super) timeline: Timeline,
    pub(super) failure: Option<Failure>,
    /// The console's lines with their times.
    pub(super) log: PathBuf,
}

/// Runs `command`, whose standard output is the machine's console, until it ends or reaches a goal without an end.
/// `directory` is for the socket of the monitor.
pub(super) fn run(
    command: &mut Command,
    goal: Goal,
    deadline: Duration,
    directory: &Path,
    log: PathBuf,
) -> Result<Boot, Error> {
    let socket = directory.join("qmp");
    command.arg("-qmp").arg(Monitor::option(&socket));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let since_1970 = since_1970.unwrap_or_default();
    let start = Instant::now();
    let mut running = Running::start(command)?;
    let id = running.id();
    let stdout = running.child().stdout.take();
    let timeline = Arc::new(Mutex::new(Timeline::default()));
    let is_over = Arc::new(AtomicBool::new(false));
    let watch = Watch {
        socket,
        timeline: Arc::clone(&timeline),
        is_over: Arc::clone(&is_over),
        id,
        milestone: goal.milestone,
        start,
        deadline,
    };
    let watch = thread::spawn(move || watch.run());
    if let Some(mut stdout) = stdout {
        let mut piece = vec![0; 1 << 16];
        loop {
            let count = stdout.read(&mut piece).with_path(&log)?;
            if count == 0 {
                break;
            }
            let mut timeline = timeline.lock().unwrap_or_else(PoisonError::into_inner);
            timeline.push(&piece[..count], start.elapsed());
        }
    }
    running.wait()?;
    is_over.store(true, Ordering::SeqCst);
    let (was_killed, ending) = watch.join().unwrap_or_default();
    let mut timeline = timeline.lock().unwrap_or_else(PoisonError::into_inner);
    let timeline = std::mem::take(&mut *timeline);
    fs::write(&log, timeline.to_string()).with_path(&log)?;
    let failure = judge(
        &timeline,
        goal,
        was_killed.then_some(deadline),
        ending,
        since_1970,
    )
    .err();
    Ok(Boot {
        timeline,
        failure,
        log,
    })
}

/// Looks after a running QEMU.
#[derive(Debug)]
struct Watch {
    socket: PathBuf,
    timeline: Arc<Mutex<Timeline>>,
    is_over: Arc<AtomicBool>,
    /// QEMU's process.
    id: u32,
    milestone: Milestone,
    start: Instant,
    deadline: Duration,
}

impl Watch {
    /// Kills QEMU at the deadline, or when the kernel is reached and nothing else is wanted. Tells whether the deadline was
    /// missed, and how the guest ended the machine.
    fn run(self) -> (bool, Option<Ending>) {
        let mut monitor = Monitor::connect(&self.socket);
        let mut is_late = false;
        while !self.is_over.load(Ordering::SeqCst) {
            is_late = self.start.elapsed() > self.deadline;
            if is_late || self.milestone == Milestone::Kernel && self.is_kernel_reached(monitor.as_mut()) {
                process::kill(self.id);
                break;
            }
            thread::sleep(POLL);
        }
        (is_late, monitor.and_then(Monitor::ending))
    }

    /// True if the kernel was seen on the console, or the processor executes it: without a command line it has no console.
    fn is_kernel_reached(&self, monitor: Option<&mut Monitor>) -> bool {
        let is_in_kernel = monitor.is_some_and(Monitor::is_in_kernel);
        let mut timeline = self.timeline.lock().unwrap_or_else(PoisonError::into_inner);
        if is_in_kernel {
            timeline.note(Milestone::Kernel, self.start.elapsed());
        }
        timeline.time_of(Milestone::Kernel).is_some()
    }
}

/// Compares a boot with its goal. `missed` is the deadline, if it was missed; `start` is the time of QEMU's start since 1970.
fn judge(
    timeline: &Timeline,
    goal: Goal,
    missed: Option<Duration>,
    ending: Option<Ending>,
    start: Duration,
) -> Result<(), Failure> {
    let milestone = goal.milestone;
    match (timeline.time_of(milestone), missed) {
        (None, Some(deadline)) => return Err(Failure::Deadline { milestone, deadline }),
        (None, None) => return Err(Failure::Stopped { milestone }),
        (Some(_), Some(deadline)) => return Err(Failure::NoEnd { deadline }),
        (Some(_), None) => {}
    }
    if milestone != Milestone::Userspace {
        return Ok(());
    }
    let system = timeline.reported("system");
    if goal.is_system && system.as_deref() != Some("running") {
        return Err(Failure::Report {
            name: "system",
            found: system.unwrap_or_default(),
            expected: "running".to_owned(),
        });
    }
    let efi = timeline.reported("efi").unwrap_or_else(|| "nothing".to_owned());
    let is_efi = efi.ends_with(" bits");
    if goal.efi.is_some_and(|expected| expected != is_efi) {
        return Err(Failure::Report {
            name: "efi",
            found: efi,
            expected: if is_efi { "none" } else { "its number of bits" }.to_owned(),
        });
    }
    let variable = timeline.reported("efi variable");
    if is_efi && goal.sets_variables && variable.as_deref() != Some("created, read back, deleted") {
        return Err(Failure::Report {
            name: "efi variable",
            found: variable.unwrap_or_default(),
            expected: "created, read back, deleted".to_owned(),
        });
    }
    let mut has_clock = false;
    for (at, line) in timeline.lines() {
        let Some(clock) = line.strip_prefix("clock: ") else {
            continue;
        };
        has_clock = true;
        let (seconds, name) = clock.split_once(' ').unwrap_or((clock, ""));
        let right = (start + at).as_secs();
        let difference = seconds
            .parse()
            .map_or(right, |seconds: u64| seconds.abs_diff(right));
        if difference > CLOCK_TOLERANCE {
            let name = name.to_owned();
            return Err(Failure::Clock { name, difference });
        }
    }
    if goal.has_clock && !has_clock {
        return Err(Failure::Report {
            name: "clock",
            found: "none".to_owned(),
            expected: "seconds and a name".to_owned(),
        });
    }
    let expected = match goal.end {
        End::Poweroff => Ending::PoweredOff,
        End::Reboot => Ending::Reset,
    };
    match ending {
        None => Err(Failure::NoEnding { expected }),
        Some(found) if found != expected => Err(Failure::Ending { found, expected }),
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOAL: Goal = Goal {
        milestone: Milestone::Userspace,
        efi: Some(true),
        sets_variables: true,
        has_clock: true,
        is_system: false,
        end: End::Poweroff,
    };

    const GOOD: &str = "userspace reached: Linux\nefi: 64 bits\nefi variable: created, read back, deleted\nclock: 1000 rtc0\n";

    fn check(text: &str, goal: Goal, ending: Option<Ending>, expected: Option<&str>) {
        let mut timeline = Timeline::default();
        timeline.push(text.as_bytes(), Duration::from_secs(1));
        let failure = judge(&timeline, goal, None, ending, Duration::from_secs(1001)).err();
        assert_eq!(
            failure.map(|failure| failure.to_string()).as_deref(),
            expected,
            "{text}"
        );
    }

    #[test]
    fn a_boot_is_compared_with_its_goal() {
        let off = Some(Ending::PoweredOff);
        check(GOOD, GOAL, off, None);
        check(
            "Linux version 6",
            GOAL,
            off,
            Some("the machine stopped before userspace was reached"),
        );
        let without_efi = Goal {
            efi: Some(false),
            ..GOAL
        };
        check(
            GOOD,
            without_efi,
            off,
            Some("init reports \"efi\" as \"64 bits\", expected none"),
        );
        check(
            &GOOD.replace("64 bits", "none"),
            GOAL,
            off,
            Some("init reports \"efi\" as \"none\", expected its number of bits"),
        );
        check(
            &GOOD.replace("created, read back, deleted", "No such device"),
            GOAL,
            off,
            Some("init reports \"efi variable\" as \"No such device\", expected created, read back, deleted"),
        );
        check(
            &GOOD.replace("1000", "900"),
            GOAL,
            off,
            Some("the clock rtc0 of the guest differs by 102 s"),
        );
        check(
            &GOOD.replace("clock", "watch"),
            GOAL,
            off,
            Some("init reports \"clock\" as \"none\", expected seconds and a name"),
        );
        check(
            GOOD,
            GOAL,
            Some(Ending::Reset),
            Some("the machine ended by a reset, expected a power-off"),
        );
        check(
            GOOD,
            GOAL,
            None,
            Some("QEMU ended for another reason than a power-off"),
        );
        let system = Goal {
            is_system: true,
            ..GOAL
        };
        check(&format!("{GOOD}system: running\n"), system, off, None);
        check(
            &format!("{GOOD}system: degraded\nfailed unit: dbus.service\n"),
            system,
            off,
            Some("init reports \"system\" as \"degraded\", expected running"),
        );
        let reboot = Goal {
            end: End::Reboot,
            ..GOAL
        };
        check(GOOD, reboot, Some(Ending::Reset), None);
        let kernel = Goal {
            milestone: Milestone::Kernel,
            ..GOAL
        };
        check("Linux version 6", kernel, None, None);
    }

    #[test]
    fn a_missed_deadline_tells_what_was_missing() {
        let mut timeline = Timeline::default();
        let deadline = Some(Duration::from_secs(9));
        let failure = judge(&timeline, GOAL, deadline, None, Duration::ZERO)
            .unwrap_err()
            .to_string();
        assert_eq!(failure, "userspace was not reached within 9 s");
        timeline.push(GOOD.as_bytes(), Duration::ZERO);
        let failure = judge(&timeline, GOAL, deadline, None, Duration::ZERO)
            .unwrap_err()
            .to_string();
        assert_eq!(failure, "userspace did not end the machine within 9 s");
    }
}
