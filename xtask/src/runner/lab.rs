//! The lab: a KVM host machine (L1) that QEMU emulates.
//!
//! L1 boots a stock Debian kernel with an initramfs made here. Its init program is the package `lab-init`. It reads
//! a manifest of the programs to run, and reports through a virtio-serial port that QEMU connects to its standard output.
//! The console of the L1 kernel goes to a file; error messages contain its end.

use std::ffi::OsString;
use std::fs;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use lab_init::{Event, Frame, MANIFEST_PATH, Manifest, Program, read_frame};

use super::debugger::Debugger;
use super::job::{Arg, Job, Observer, Report, check_files, environment};
use crate::arch::{ArchRow, LabMachine};
use crate::build;
use crate::error::{Error, WithPath as _};
use crate::fixtures;
use crate::initramfs::Initramfs;
use crate::kernel::{self, Kernel};
use crate::process::{self, Running};
use crate::progress::print_status;
use crate::qemu::Emulator;
use crate::suite::Suite;
use crate::workspace::Workspace;

/// Memory of L1, for the unpacked initramfs and the guests' memory.
const MEMORY_MIB: u32 = 2048;

/// Time for L1 to boot: four seconds on an idle machine, a minute on a loaded one.
const BOOT_DEADLINE: Duration = Duration::from_mins(5);

/// Time for L1 to power off after the last program.
const SHUTDOWN_DEADLINE: Duration = Duration::from_mins(1);

/// Number of attempts to boot L1: the emulators have bugs that prevent some boots.
const ATTEMPTS: u32 = 3;

/// L1's name of the virtio-serial port: the first port of the first controller.
const REPORT_PORT: &str = "/dev/vport0p1";

/// Directory of the fixtures in L1.
const FIXTURES: &str = "/fixtures";

/// A KVM host machine that can be started.
#[derive(Debug)]
pub(crate) struct Lab {
    row: &'static ArchRow,
    machine: &'static LabMachine,
    emulator: Emulator,
    kernel: Kernel,
    init: PathBuf,
    clock: Clock,
}

/// What the clock of L1 shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Clock {
    /// Time.
    #[default]
    Time,
    /// The number of instructions that L1 executed, one nanosecond each. Other work on this machine does not change it, and equal runs
    /// differ by less than a percent.
    ///
    /// On x86_64, about one boot of Linux in ten stands still: QEMU 7.2 delivers an interrupt of L2 twice. `VMRUN` with an interrupt in `EVENTINJ` (AMD64
    /// Architecture Programmer's Manual, volume 2, section 15.20) leaves its vector in `exception_index`, and if the instruction budget ends before the next
    /// #VMEXIT, QEMU takes that for an exception that is still to be raised, and L2 enters the handler again, although its interrupts are disabled.
    Instructions,
}

impl Lab {
    /// Makes sure that QEMU, the kernel and the init program are there.
    pub(crate) fn ensure(
        workspace: &Workspace,
        row: &'static ArchRow,
        machine: &'static LabMachine,
    ) -> Result<Self, Error> {
        let emulator = machine.qemu.ensure(workspace)?;
        let kernel = kernel::ensure(workspace, row, Suite::Trixie)?;
        let init = build::static_binary(workspace, row, "lab-init")?;
        Ok(Self {
            row,
            machine,
            emulator,
            kernel,
            init,
            clock: Clock::default(),
        })
    }

    /// Sets what the clock of L1 shows.
    pub(super) fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// The emulated machine.
    pub(crate) fn machine(&self) -> &'static LabMachine {
        self.machine
    }

    /// Boots L1, runs the job there and waits for QEMU to exit.
    pub(super) fn run(&self, workspace: &Workspace, job: &Job, observer: Observer<'_>) -> Result<(), Error> {
        check_files(job)?;
        let directory = workspace.xtask("lab");
        fs::create_dir_all(&directory).with_path(&directory)?;
        let scratch = tempfile::tempdir_in(&directory).with_path(&directory)?;
        let initramfs = scratch.path().join("initramfs.cpio");
        let debugger = Debugger::of(workspace, self.row, self.machine, job)?;
        let debugger = debugger.as_ref();
        self.pack(job, debugger, &initramfs)?;
        let console = scratch.path().join("console.log");
        let mut attempts = 1;
        let outcome = loop {
            let mut is_up = false;
            let outcome = self.boot(job, debugger, &initramfs, &console, &mut |report| {
                is_up = true;
                observer(report)
            });
            // Before L1 is ready no program has run, so a retry hides no failure of a program.
            match outcome {
                Err(BootError::Ended | BootError::Deadline(_))
                    if !is_up && attempts < ATTEMPTS && !process::is_interrupted() =>
                {
                    print_status("the KVM host machine did not boot, starting it again");
                    attempts += 1;
                }
                outcome => break outcome,
            }
        };
        // The scratch directory is removed; the console of the last machine is kept.
        let kept = directory.join(format!("console-{}{}.log", self.row.name, self.machine.variant));
        if console.exists() {
            fs::rename(&console, &kept).with_path(&console)?;
        }
        match outcome {
            Err(BootError::Error(error)) => Err(error),
            Err(BootError::Ended) => Err(Error::LabStopped {
                tail: process::tail(&kept)?,
                console: kept,
            }),
            Err(BootError::Deadline(deadline)) => Err(Error::LabDeadline {
                deadline,
                tail: process::tail(&kept)?,
                console: kept,
            }),
            Ok(()) => Ok(()),
        }
    }

    /// Writes the initramfs: init, modules, programs, their files, the fixtures, and the manifest.
    fn pack(&self, job: &Job, debugger: Option<&Debugger>, path: &Path) -> Result<(), Error> {
        let mut archive = Initramfs::create(path)?;
        archive.file("init", 0o755, &self.init)?;
        let mut manifest = Manifest {
            report: REPORT_PORT.to_owned(),
            ..Manifest::default()
        };
        let disks = disks(job);
        let mut modules = self.kernel.module_files(self.row)?;
        if !disks.is_empty() {
            modules.extend(self.kernel.modules_named(&["virtio_blk"])?);
        }
        for module in modules {
            let name = module
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let name = format!("lab/modules/{name}");
            archive.file(&name, 0o644, &module)?;
            manifest.modules.push(format!("/{name}"));
        }
        if let Some(fixtures) = &job.fixtures {
            for file in fixtures::for_lab(fixtures, self.row)? {
                let name = file
                    .strip_prefix(fixtures)
                    .unwrap_or(&file)
                    .to_string_lossy()
                    .into_owned();
                archive.file(&format!("{}/{name}", &FIXTURES[1..]), 0o755, &file)?;
            }
        }
        for (number, task) in job.tasks.iter().enumerate() {
            let program = format!("lab/{number}/{}", file_name(&task.executable));
            archive.file(&program, 0o755, &task.executable)?;
            let mut args = Vec::new();
            for (position, arg) in task.args.iter().enumerate() {
                args.push(match arg {
                    Arg::Text(text) => text.clone(),
                    Arg::File(path) => {
                        let name = format!("lab/{number}/{position}/{}", file_name(path));
                        archive.file(&name, 0o755, path)?;
                        format!("/{name}")
                    }
                    Arg::Directory(path) => {
                        let name = format!("lab/{number}/{position}");
                        for file in kernel::walk(path)? {
                            archive.file(&format!("{name}/{}", file_name(&file)), 0o755, &file)?;
                        }
                        format!("/{name}")
                    }
                    Arg::Disk(path) => block_device(&disks, path),
                });
            }
            manifest.programs.push(Program {
                path: format!("/{program}"),
                args,
                env: environment(job.fixtures.as_ref().map(|_| FIXTURES))
                    .into_iter()
                    .chain(debugger.into_iter().flat_map(|_| Debugger::environment()))
                    .collect(),
                deadline_secs: task.deadline.as_secs(),
            });
        }
        let json = serde_json::to_vec(&manifest).map_err(|source| Error::Json {
            what: "the lab's manifest".into(),
            source,
        })?;
        archive.bytes(&MANIFEST_PATH[1..], 0o644, &json)?;
        archive.finish()
    }

    fn qemu(&self, job: &Job, debugger: Option<&Debugger>, initramfs: &Path, console: &Path) -> Command {
        let mut console_option = OsString::from("file:");
        console_option.push(console);
        let mut command = self.emulator.command();
        command
            .args(self.machine.args)
            // With more than one processor, QEMU may run code that another processor is patching, and the kernel sometimes
            // hits a breakpoint that was already removed.
            .args(["-smp", "1", "-m", &MEMORY_MIB.to_string()])
            .args(["-nodefaults", "-display", "none", "-no-reboot"])
            .args(match self.clock {
                Clock::Time => &[][..],
                Clock::Instructions => &["-icount", "shift=0,sleep=off"],
            })
            .arg("-serial")
            .arg(console_option)
            // With a file, the port is open from the start; with other back ends L1 waits until a reader connects.
            .args(["-chardev", "file,id=report,path=/dev/stdout"])
            .args([
                "-device",
                "virtio-serial-pci",
                "-device",
                "virtserialport,chardev=report,nr=1",
            ])
            .args(debugger.map(Debugger::qemu_args).unwrap_or_default())
            .args(disks(job).into_iter().enumerate().flat_map(disk_options))
            .arg("-kernel")
            .arg(&self.kernel.image)
            .arg("-initrd")
            .arg(initramfs)
            .args([
                "-append",
                &format!("{} quiet oops=panic panic=-1", self.machine.cmdline),
            ]);
        command
    }

    /// Starts QEMU and follows the reports until it ends.
    fn boot(
        &self,
        job: &Job,
        debugger: Option<&Debugger>,
        initramfs: &Path,
        console: &Path,
        observer: Observer<'_>,
    ) -> Result<(), BootError> {
        let work = job.tasks.iter().map(|task| task.deadline).sum::<Duration>();
        let mut command = self.qemu(job, debugger, initramfs, console);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        let start = if self.machine.is_on_one_processor {
            Running::start_on_one_processor
        } else {
            Running::start
        };
        let mut running = start(&mut command)?;
        let id = running.id();
        let Some(stdout) = running.child().stdout.take() else {
            return Err(BootError::Ended);
        };
        let (alive, stop) = mpsc::channel::<()>();
        // QEMU is waited for only after this thread has ended, so the process id cannot be reused before.
        let watchdog = thread::spawn(move || {
            let mut deadline = BOOT_DEADLINE;
            loop {
                match stop.recv_timeout(deadline) {
                    Ok(()) => deadline = work + SHUTDOWN_DEADLINE,
                    Err(RecvTimeoutError::Disconnected) => return None,
                    Err(RecvTimeoutError::Timeout) => {
                        process::kill(id);
                        return Some(deadline);
                    }
                }
            }
        });
        // Ends when it is dropped, unless it has ended before.
        let mut gdb = None;
        let outcome = follow(stdout, job.tasks.len(), &mut |report| {
            if matches!(report, Report::Ready(_)) {
                // Fails when the watchdog has just stopped the machine; its result is then returned below.
                let _: Result<(), mpsc::SendError<()>> = alive.send(());
                gdb = debugger.map(Debugger::start).transpose()?;
            }
            observer(report)
        });
        if outcome.is_err() {
            process::kill(id);
        }
        drop(alive);
        drop(gdb);
        let late = watchdog.join().unwrap_or_default();
        running.wait()?;
        late.map_or(outcome, |deadline| Err(BootError::Deadline(deadline)))
    }
}

/// Why a boot of L1 ended before all programs had ended.
enum BootError {
    Ended,
    Deadline(Duration),
    Error(Error),
}

impl<E: Into<Error>> From<E> for BootError {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

/// Forwards the reports until the channel ends. Succeeds when all programs have ended.
fn follow(channel: impl std::io::Read, tasks: usize, observer: Observer<'_>) -> Result<(), BootError> {
    let mut channel = BufReader::new(channel);
    let mut done = false;
    let mut ended = 0;
    while let Some(frame) = read_frame(&mut channel)? {
        match frame {
            Frame::Stdout(bytes) => observer(Report::Stdout(&bytes))?,
            Frame::Stderr(bytes) => observer(Report::Stderr(&bytes))?,
            Frame::Event(Event::Ready { uptime_ms }) => {
                observer(Report::Ready(Duration::from_millis(uptime_ms)))?;
            }
            Frame::Event(Event::Started { index }) => observer(Report::Started(index))?,
            Frame::Event(Event::Ended { ending, .. }) => {
                ended += 1;
                observer(Report::Ended(ending))?;
            }
            Frame::Event(Event::Failed { message }) => return Err(Error::Lab { message }.into()),
            Frame::Event(Event::Finished) => done = true,
        }
    }
    if done && ended == tasks {
        Ok(())
    } else {
        Err(BootError::Ended)
    }
}

/// The disk images of a job, each once.
fn disks(job: &Job) -> Vec<&Path> {
    let mut disks: Vec<&Path> = Vec::new();
    for arg in job.tasks.iter().flat_map(|task| &task.args) {
        if let Arg::Disk(path) = arg
            && !disks.contains(&path.as_path())
        {
            disks.push(path);
        }
    }
    disks
}

/// QEMU's options for a disk of L1.
fn disk_options((index, path): (usize, &Path)) -> [OsString; 4] {
    let mut drive = OsString::from(format!("if=none,id=disk{index},format=raw,readonly=on,file="));
    // A comma would start the next option.
    drive.push(path.to_string_lossy().replace(',', ",,"));
    let device = format!("virtio-blk-pci,drive=disk{index}");
    ["-drive".into(), drive, "-device".into(), device.into()]
}

/// L1's name of the block device of a disk image. L1 has no other disks.
fn block_device(disks: &[&Path], path: &Path) -> String {
    let index = disks.iter().position(|disk| *disk == path).unwrap_or_default();
    let letter = ('a'..='z').nth(index).unwrap_or('z');
    format!("/dev/vd{letter}")
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use lab_init::{Ending, write_frame};

    use super::*;

    /// Follows a channel with these events and one task; true when the task counts as done.
    fn is_done(events: &[Event]) -> bool {
        let mut channel = Vec::new();
        for event in events {
            write_frame(&mut channel, &Frame::Event(event.clone())).unwrap();
        }
        follow(channel.as_slice(), 1, &mut |_| Ok(())).is_ok()
    }

    #[test]
    fn work_is_done_only_when_all_of_it_was_reported() {
        let ended = Event::Ended {
            index: 0,
            ending: Ending::Exited(1),
        };
        assert!(is_done(&[
            Event::Ready { uptime_ms: 1 },
            Event::Started { index: 0 },
            ended.clone(),
            Event::Finished
        ]));
        assert!(!is_done(&[Event::Finished]));
        assert!(!is_done(&[ended]));
        assert!(!is_done(&[Event::Failed {
            message: "no /dev/kvm".into()
        }]));
        assert!(!is_done(&[]));
    }
}
