//! `cargo xtask firmware`: boots media under QEMU with our firmware or with others, and shows the time of each step.

mod boot;
mod debian;
pub(crate) mod entry_disk;
pub(crate) mod error;
mod failure;
mod job;
mod knock_out;
mod machine;
mod matrix;
pub(crate) mod medium;
mod monitor;
pub(crate) mod options;
mod ours;
pub(crate) mod platform;
mod rival;
mod timeline;
mod trace;

use std::path::PathBuf;
use std::time::Duration;

use self::boot::Boot;
use self::error::FirmwareError;
use self::job::{Job, goal, timeout};
use self::machine::{Disk, Firmware, Setup, Way};
use self::matrix::{Cell, Outcome};
use self::medium::kind::Kind;
use self::medium::spec::{End, Medium};
use self::options::FirmwareArgs;
use self::timeline::Milestone;
use crate::arch::ArchRow;
use crate::error::Error;
use crate::workspace::Workspace;

/// Length of a blank disk in MiB.
const BLANK_MIB: u64 = 8;

/// Deadline of a boot of the tests in seconds; it takes a few on an idle machine.
const TEST_TIMEOUT: u64 = 120;

/// A boot of `cargo xtask test --tier firmware`.
#[derive(Debug)]
pub(crate) struct TestBoot(Cell);

/// The boots of the tests: one medium of each kind that the firmware boots by a path of its own, on each machine and bus, two through
/// EFI, and one from flash. They are not on microvm, where the kernel of a busy machine finds no clock.
pub(crate) fn test_boots(row: &'static ArchRow) -> Vec<TestBoot> {
    let [entries, efi, flash] = [Way::Auto, Way::Efi, Way::Flash].map(Firmware::Ours);
    let mut cells = matrix::cells(row, &[entries], TEST_MEMORY);
    cells.retain(|cell| matches!(cell.kind, Some(Kind::Bls1 | Kind::Uki)));
    let through_efi = matrix::cells(row, &[efi], TEST_MEMORY);
    let is_tested = |cell: &Cell| matches!(cell.kind, Some(Kind::Uki | Kind::Shim));
    cells.extend(through_efi.into_iter().filter(is_tested));
    let from_flash = matrix::cells(row, &[flash], TEST_MEMORY);
    cells.extend(from_flash.into_iter().find(|cell| cell.kind == Some(Kind::Grub)));
    cells.retain(|cell| cell.setup.machine.name != "microvm");
    cells.into_iter().map(TestBoot).collect()
}

impl TestBoot {
    /// Such as `uki on q35 pci`.
    pub(crate) fn name(&self) -> String {
        let Setup { machine, bus, .. } = &self.0.setup;
        let medium = self.0.kind.map_or("no disk", Kind::name);
        let way = match self.0.setup.firmware {
            Firmware::Ours(Way::Efi) => " through EFI",
            Firmware::Ours(Way::Flash) => " from flash",
            _ => "",
        };
        format!("{medium} on {} {}{way}", machine.name, bus.name())
    }

    fn is_efi(&self) -> bool {
        matches!(self.0.setup.firmware, Firmware::Ours(Way::Efi))
    }

    /// Runs it; `Some` with the message if it fails.
    pub(crate) fn run(&self, workspace: &Workspace) -> Result<Option<String>, Error> {
        // A reset goes through EFI.
        let end = if self.is_efi() { End::Reboot } else { End::Poweroff };
        let medium = |kind| Medium {
            end,
            ..Medium::new(kind)
        };
        let boot = boot_cell(workspace, &self.0, medium, Duration::from_secs(TEST_TIMEOUT))?;
        Ok(boot
            .failure
            .map(|failure| format!("{failure}; the console is in {}", boot.log.display())))
    }
}

/// Memory of the machines of the tests in MiB.
const TEST_MEMORY: u32 = 1024;

/// Builds the firmware for an architecture, and returns the file that QEMU starts.
pub(crate) fn build(workspace: &Workspace, row: &ArchRow) -> Result<PathBuf, Error> {
    ours::build(workspace, row.firmware)
}

/// `cargo xtask firmware`.
pub(crate) fn run(
    workspace: &Workspace,
    rows: &[&'static ArchRow],
    args: &FirmwareArgs,
) -> Result<(), Error> {
    if args.all {
        return run_matrix(workspace, rows, args);
    }
    rows.iter().try_for_each(|row| run_one(workspace, row, args))
}

/// Boots one medium and prints its timeline.
fn run_one(workspace: &Workspace, row: &'static ArchRow, args: &FirmwareArgs) -> Result<(), Error> {
    if args.make {
        let disk = Disk::medium(workspace, row, &args.medium())?;
        println!("{}", disk.image.display());
        return Ok(());
    }
    let mut job = job(workspace, row, args)?;
    if args.calls.knock_out {
        return knock_out::run(workspace, &job);
    }
    let traced = if args.calls.trace {
        Some(trace::prepare(workspace, &mut job, "")?)
    } else {
        None
    };
    let boot = job.run(workspace)?;
    print(&boot, args.console);
    job.conclude(boot)?;
    traced.map_or(Ok(()), |path| trace::compare(workspace, &job, &path))
}

/// The boot that the options describe.
fn job(workspace: &Workspace, row: &'static ArchRow, args: &FirmwareArgs) -> Result<Job, Error> {
    let machine = machine::find(row, args.machine.as_deref())?;
    let setup = Setup {
        row,
        machine,
        bus: machine::find_bus(machine, args.bus)?,
        firmware: Firmware::find(row, args.firmware.as_deref().unwrap_or("ours"), args.start)?,
        memory: args.memory,
        qemu: args.qemu.clone(),
    };
    let mut disks = Vec::new();
    for _ in 0..args.blank_disks {
        disks.push(Disk {
            image: medium::ensure_blank(workspace, BLANK_MIB)?,
            block_size: 512,
        });
    }
    let is_direct = setup.firmware.is_direct();
    let medium = match &args.image {
        _ if is_direct => "no disk".to_owned(),
        Some(image) => {
            disks.push(Disk {
                image: image.clone(),
                block_size: args.block_size,
            });
            image.display().to_string()
        }
        None => {
            disks.push(Disk::medium(workspace, row, &args.medium())?);
            args.medium.name().to_owned()
        }
    };
    let kind = (args.image.is_none() && !is_direct).then_some(args.medium);
    Ok(Job {
        goal: goal(&setup, kind, args.end),
        setup,
        disks,
        medium,
        timeout: timeout(kind, args.timeout),
    })
}

/// Boots every medium of the matrix and prints a table.
fn run_matrix(workspace: &Workspace, rows: &[&'static ArchRow], args: &FirmwareArgs) -> Result<(), Error> {
    let mut cells = Vec::new();
    for row in rows {
        let firmware = match &args.firmware {
            None => matrix::every_firmware(row, ours::has_source(workspace)),
            Some(name) => vec![Firmware::find(row, name, args.start)?],
        };
        cells.extend(matrix::cells(row, &firmware, args.memory));
    }
    let mut failed = 0;
    println!("{}", Outcome::head());
    for cell in &cells {
        let outcome = run_cell(workspace, cell, args)?;
        failed += usize::from(outcome.is_failure());
        println!("{outcome}");
    }
    if failed == 0 {
        println!("firmware: {} boots reached their goals", cells.len());
        return Ok(());
    }
    let all = cells.len();
    Err(FirmwareError::Matrix { failed, all }.into())
}

fn run_cell(workspace: &Workspace, cell: &Cell, args: &FirmwareArgs) -> Result<Outcome, Error> {
    let medium = |kind| Medium {
        kind,
        ..args.medium()
    };
    let boot = boot_cell(workspace, cell, medium, timeout(cell.kind, args.timeout))?;
    let failure = boot.failure.as_ref().map(ToString::to_string);
    Ok(Outcome::new(cell, &boot.timeline, failure))
}

/// Boots a cell of the matrix from the medium that `medium` gives for its kind.
fn boot_cell(
    workspace: &Workspace,
    cell: &Cell,
    medium: impl Fn(Kind) -> Medium,
    timeout: Duration,
) -> Result<Boot, Error> {
    let medium = cell.kind.map(medium);
    let disks = match &medium {
        None => Vec::new(),
        Some(medium) => vec![Disk::medium(workspace, cell.setup.row, medium)?],
    };
    let job = Job {
        setup: cell.setup.clone(),
        disks,
        medium: cell.kind.map_or("no disk", Kind::name).to_owned(),
        goal: goal(
            &cell.setup,
            cell.kind,
            medium.map_or(End::Poweroff, |medium| medium.end),
        ),
        timeout,
    };
    job.run(workspace)
}

/// Prints the timeline and what init reports; before it the whole console if that is wanted.
fn print(boot: &Boot, with_console: bool) {
    if with_console {
        print!("{}", boot.timeline);
    }
    for milestone in Milestone::ALL {
        if let Some(at) = boot.timeline.time_of(milestone) {
            println!("{:9.3} s  {}", at.as_secs_f64(), milestone.name());
        }
    }
    for line in boot.timeline.report() {
        println!("             {line}");
    }
}
