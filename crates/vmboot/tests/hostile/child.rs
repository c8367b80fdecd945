//! The process of one family: it prints the name of each image before the image is tried, so that the last name is that of an image at which it ended.

use std::env;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;

use libtest_mimic::Failed;

use crate::family::FAMILIES;
use crate::judge::{Judge, MAX_HEAP, Tally};
use crate::machine;
use crate::memory::Guarded;

/// Names the family in the environment of its process.
const VARIABLE: &str = "VMBOOT_HOSTILE_FAMILY";

/// Start of the line with the result.
const RESULT: &str = "result: ";

/// In place of a family: touches a guard.
const GUARD: &str = "guard";

/// Largest growth of the process of a family in KiB: the heap of an image, and as much for fragments and for the stacks of copying threads.
const MAX_GROWTH: usize = (2 * MAX_HEAP) >> 10;

/// The family that this process was started for.
pub(crate) fn requested() -> Option<String> {
    env::var(VARIABLE).ok()
}

/// Tries all images of a family.
pub(crate) fn run(name: &str) {
    if name == GUARD {
        return Guarded::new(&machine::all()[0].memory).touch_guard();
    }
    let family = FAMILIES.iter().find(|family| family.name == name).unwrap();
    let mut judge = Judge::new();
    let before = status("VmSize");
    let mut tally = Tally::default();
    let mut stdout = std::io::stdout().lock();
    family.for_each(&mut |image, bytes| {
        writeln!(stdout, "{image}").unwrap();
        stdout.flush().unwrap();
        judge.check(&bytes, &mut tally);
    });
    // With what libraries in C allocate, which the heap's counter does not see.
    let growth = status("VmPeak").saturating_sub(before);
    assert!(growth <= MAX_GROWTH, "the process grew by {growth} KiB");
    writeln!(stdout, "{RESULT}{tally}; {growth} KiB of growth").unwrap();
    family.expect(tally.loaded, tally.refused);
}

/// A number of `/proc/self/status`, in KiB.
fn status(field: &str) -> usize {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    let number = line.trim_start_matches(':').trim_end_matches("kB").trim();
    number.parse().unwrap()
}

/// Runs a family in a process of its own.
pub(crate) fn start(name: &'static str) -> Result<(), Failed> {
    let output = Command::new(env::current_exe()?).env(VARIABLE, name).output()?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    let last = stdout.lines().last().unwrap_or("before the first image");
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{}, at {last}\n{stderr}", output.status).into());
    }
    let result = last
        .strip_prefix(RESULT)
        .ok_or_else(|| format!("no result, but {last}"))?;
    println!("{name}: {result}");
    Ok(())
}

/// An access outside of guest memory ends the process of a family.
pub(crate) fn touch_guard() -> Result<(), Failed> {
    let output = Command::new(env::current_exe()?).env(VARIABLE, GUARD).output()?;
    if output.status.signal() != Some(libc::SIGSEGV) {
        return Err(format!("the guard has access: {}", output.status).into());
    }
    Ok(())
}
