//! The init program.
//!
//! It always ends by powering the machine off. An error is printed to the console and, once the report channel is open,
//! reported there as well.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use lab_init::{Ending, Event, Frame, MANIFEST_PATH, MAX_PAYLOAD, Manifest, Program, write_frame};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use rustix::process::{Pid, Signal, kill_process_group};
use rustix::system::{RebootCommand, finit_module, reboot};

/// File systems, in the order they are mounted.
const MOUNTS: [(&str, &str); 3] = [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")];

/// `MODULE_INIT_COMPRESSED_FILE` of `include/uapi/linux/module.h`: the kernel decompresses the module itself.
const MODULE_INIT_COMPRESSED_FILE: i32 = 4;

/// Whether memory files get huge pages; Debian's kernels start with `never`.
const HUGE_PAGES_OF_MEMORY_FILES: &str = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";

/// How long a device node may take to appear after its driver was loaded.
const DEVICE_DEADLINE: Duration = Duration::from_secs(30);

/// How long to read the output pipes of a program that has ended, if a child process keeps them open.
const DRAIN_DEADLINE: Duration = Duration::from_secs(2);

/// Interval for polling a running program.
const POLL: Duration = Duration::from_millis(10);

/// The report channel, shared by the threads that forward output.
type Channel = Arc<Mutex<File>>;

/// Runs the manifest and powers the machine off.
pub(crate) fn run() {
    if let Err(error) = work() {
        eprintln!("lab-init: {error}");
    }
    if let Err(error) = reboot(RebootCommand::PowerOff) {
        // Returning from init makes the kernel panic, and `panic=-1` then ends the machine as well.
        eprintln!("lab-init: cannot power off: {error}");
    }
}

/// An error with the step it happened in.
type StepError = Box<dyn std::error::Error + Send + Sync>;

/// Puts the name of the step before an error.
fn at<E: std::error::Error>(step: impl std::fmt::Display) -> impl FnOnce(E) -> StepError {
    move |error| format!("{step}: {error}").into()
}

fn work() -> Result<(), StepError> {
    for (kind, target) in MOUNTS {
        fs::create_dir_all(target).map_err(at(target))?;
        match mount(kind, target, kind, MountFlags::empty(), None) {
            // The kernel has mounted devtmpfs already where CONFIG_DEVTMPFS_MOUNT says so.
            Ok(()) | Err(Errno::BUSY) => {}
            Err(error) => return Err(at(format!("mounting {target}"))(error)),
        }
    }
    fs::create_dir_all("/tmp").map_err(at("/tmp"))?;
    if Path::new(HUGE_PAGES_OF_MEMORY_FILES).exists() {
        // Those that ask for them, as memory of prepared boots does.
        fs::write(HUGE_PAGES_OF_MEMORY_FILES, "advise").map_err(at(HUGE_PAGES_OF_MEMORY_FILES))?;
    }
    let manifest = fs::read(MANIFEST_PATH).map_err(at(MANIFEST_PATH))?;
    let manifest: Manifest = serde_json::from_slice(&manifest).map_err(at(MANIFEST_PATH))?;
    // Drivers of the report channel can be modules too, so they are loaded before it is opened, and an error among
    // them is reported once it is.
    let loaded = manifest
        .modules
        .iter()
        .try_for_each(|module| load_module(Path::new(module)));
    wait_for(Path::new(&manifest.report))?;
    let channel = OpenOptions::new()
        .write(true)
        .open(&manifest.report)
        .map_err(at(&manifest.report))?;
    let channel = Arc::new(Mutex::new(channel));
    let outcome = loaded
        .and_then(|()| wait_for(Path::new("/dev/kvm")))
        .and_then(|()| run_all(&channel, &manifest));
    let last = match &outcome {
        Ok(()) => Event::Finished,
        Err(error) => Event::Failed {
            message: error.to_string(),
        },
    };
    send(&channel, &Frame::Event(last))?;
    outcome
}

/// Loads one module, compressed or not.
fn load_module(path: &Path) -> Result<(), StepError> {
    let file = File::open(path).map_err(at(path.display()))?;
    let plain = path.extension().is_some_and(|extension| extension == "ko");
    let flags = if plain { 0 } else { MODULE_INIT_COMPRESSED_FILE };
    match finit_module(&file, &CString::default(), flags) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(at(format!("loading {}", path.display()))(error)),
    }
}

/// Waits until a device node exists.
fn wait_for(path: &Path) -> Result<(), StepError> {
    let started = Instant::now();
    while !path.exists() {
        if started.elapsed() > DEVICE_DEADLINE {
            return Err(format!("{} did not appear", path.display()).into());
        }
        thread::sleep(POLL);
    }
    Ok(())
}

/// Milliseconds since the kernel started, from the first number of `/proc/uptime`.
fn uptime_ms() -> Result<u64, StepError> {
    let text = fs::read_to_string("/proc/uptime").map_err(at("/proc/uptime"))?;
    let seconds: f64 = text
        .split(' ')
        .next()
        .unwrap_or_default()
        .parse()
        .map_err(at("/proc/uptime"))?;
    Ok(u64::try_from(Duration::from_secs_f64(seconds).as_millis()).unwrap_or(u64::MAX))
}

fn run_all(channel: &Channel, manifest: &Manifest) -> Result<(), StepError> {
    send(
        channel,
        &Frame::Event(Event::Ready {
            uptime_ms: uptime_ms()?,
        }),
    )?;
    for (index, program) in manifest.programs.iter().enumerate() {
        send(channel, &Frame::Event(Event::Started { index }))?;
        let ending = run_one(channel, program).map_err(|error| format!("{}: {error}", program.path))?;
        send(channel, &Frame::Event(Event::Ended { index, ending }))?;
    }
    Ok(())
}

/// Runs one program to its end or its deadline, and forwards what it writes.
fn run_one(channel: &Channel, program: &Program) -> Result<Ending, StepError> {
    let mut child = Command::new(&program.path)
        .args(&program.args)
        .env_clear()
        .envs(program.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A group of its own, so that the deadline ends its children as well.
        .process_group(0)
        .spawn()?;
    let (done, drained) = mpsc::channel();
    if let Some(stdout) = child.stdout.take() {
        forward(stdout, Frame::Stdout, channel, done.clone());
    }
    if let Some(stderr) = child.stderr.take() {
        forward(stderr, Frame::Stderr, channel, done.clone());
    }
    drop(done);
    let ending = wait(&mut child, Duration::from_secs(program.deadline_secs))?;
    // Nothing is ever sent: the wait ends when both forwarders have dropped their end, or at the deadline.
    let _: Result<(), mpsc::RecvTimeoutError> = drained.recv_timeout(DRAIN_DEADLINE);
    Ok(ending)
}

/// Waits for the child, and kills its process group when the deadline passes.
fn wait(child: &mut Child, deadline: Duration) -> Result<Ending, StepError> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            let signal = status.signal().unwrap_or_default();
            return Ok(status.code().map_or(Ending::Signalled(signal), Ending::Exited));
        }
        if started.elapsed() > deadline {
            match Pid::from_raw(i32::try_from(child.id())?) {
                Some(group) => kill_process_group(group, Signal::KILL)?,
                None => child.kill()?,
            }
            child.wait()?;
            return Ok(Ending::DeadlinePassed);
        }
        thread::sleep(POLL);
    }
}

/// Copies a pipe into frames on a thread of its own, and drops `done` when the pipe is closed.
fn forward(
    mut pipe: impl Read + Send + 'static,
    frame: fn(Vec<u8>) -> Frame,
    channel: &Channel,
    done: Sender<()>,
) {
    let channel = Arc::clone(channel);
    thread::spawn(move || {
        let mut buffer = vec![0_u8; MAX_PAYLOAD];
        loop {
            match pipe.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => {
                    let bytes = buffer.get(..length).unwrap_or_default().to_vec();
                    if let Err(error) = send(&channel, &frame(bytes)) {
                        eprintln!("lab-init: {error}");
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    eprintln!("lab-init: reading a program's output: {error}");
                    break;
                }
            }
        }
        drop(done);
    });
}

fn send(channel: &Channel, frame: &Frame) -> Result<(), StepError> {
    let mut channel = channel.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(write_frame(&mut *channel, frame)?)
}
