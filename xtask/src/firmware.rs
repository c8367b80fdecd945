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
mod read_error;
mod rival;
mod size;
mod timeline;
mod tpm;
mod trace;
pub(crate) mod ukify;

use std::path::PathBuf;
use std::slice;
use std::time::Duration;

use self::boot::Boot;
use self::error::FirmwareError;
use self::job::{Job, PreparedJob, goal, timeout};
use self::machine::{Disk, Firmware, Setup, Way};
use self::matrix::{Cell, Outcome};
use self::medium::kind::Kind;
use self::medium::spec::{End, Medium};
use self::options::FirmwareArgs;
use self::size::Content;
use self::timeline::Milestone;
use crate::arch::{Arch, ArchRow};
use crate::error::Error;
use crate::workspace::Workspace;

/// Length of a blank disk in MiB.
const BLANK_MIB: u64 = 8;

/// Deadline of a boot of the tests in seconds; it takes a few on an idle machine.
const TEST_TIMEOUT: u64 = 120;

/// Clippy on the firmware's program for an architecture, which builds for bare metal only.
pub(crate) fn lint(workspace: &Workspace, row: &ArchRow) -> Result<(), Error> {
    ours::lint(workspace, row.firmware)
}

/// A boot of `cargo xtask test --tier firmware`.
#[derive(Debug)]
pub(crate) struct TestBoot {
    cell: Cell,
    /// True if a first entry has a kernel that cannot be read.
    has_bad_entry: bool,
}

/// The boots of the tests: one medium of each kind that the firmware boots by a path of its own, on each machine and bus, two through
/// EFI, one from flash, one after an entry whose kernel cannot be read, two of an image of ukify, and on x86_64 two with a virtio console and one with edk2 and a TPM. They are not on microvm, where the kernel of a busy machine finds no clock.
pub(crate) fn test_boots(row: &'static ArchRow) -> Vec<TestBoot> {
    let [entries, efi, flash] = [Way::Auto, Way::Efi, Way::Flash].map(Firmware::Ours);
    let mut cells = matrix::cells(row, slice::from_ref(&entries), TEST_MEMORY);
    cells.retain(|cell| matches!(cell.kind, Some(Kind::Bls1 | Kind::Uki)));
    let through_efi = matrix::cells(row, slice::from_ref(&efi), TEST_MEMORY);
    let is_tested = |cell: &Cell| matches!(cell.kind, Some(Kind::Uki | Kind::Shim));
    cells.extend(through_efi.into_iter().filter(is_tested));
    let from_flash = matrix::cells(row, &[flash], TEST_MEMORY);
    cells.extend(from_flash.into_iter().find(|cell| cell.kind == Some(Kind::Grub)));
    // What systemd-stub takes of an image with profiles and an addon, and what this firmware takes without EFI.
    if row.arch != Arch::Riscv64 {
        for way in [entries, efi] {
            let cell = matrix::cells(row, &[way], TEST_MEMORY).into_iter();
            cells.extend(cell.filter(|cell| cell.kind == Some(Kind::Ukify)).take(1));
        }
    }
    cells.extend(with_tpm(row));
    cells.retain(|cell| cell.setup.machine.name != "microvm");
    let boot = |has_bad_entry| move |cell| TestBoot { cell, has_bad_entry };
    let bad = cells.iter().find(|cell| cell.kind == Some(Kind::Bls1)).cloned();
    let bad = bad.into_iter().map(boot(true));
    // Machines of the other architectures have a serial port that cannot be left out.
    let is_pc = row.arch == Arch::X86_64;
    // The command line of an image of ukify must not have further options.
    let for_console = |cell: &&Cell| {
        let is_auto = matches!(cell.setup.firmware, Firmware::Ours(Way::Auto));
        is_pc && is_auto && cell.kind != Some(Kind::Ukify)
    };
    let consoles = cells.iter().filter(for_console).cloned().map(with_virtio_console);
    let consoles: Vec<Cell> = consoles.collect();
    let cells = cells.into_iter().chain(consoles);
    cells.map(boot(false)).chain(bad).collect()
}

/// A boot by systemd-stub under edk2 with a TPM, whose registers are compared with predictions.
fn with_tpm(row: &'static ArchRow) -> Option<Cell> {
    row.firmware.tpm?;
    let edk2 = row.firmware.rivals.iter().find(|rival| rival.name == "edk2")?;
    let cells = matrix::cells(row, &[Firmware::Rival(edk2)], TEST_MEMORY);
    let mut cell = cells.into_iter().find(|cell| cell.kind == Some(Kind::Ukify))?;
    cell.setup.has_tpm = true;
    Some(cell)
}

/// The same without a serial port.
fn with_virtio_console(mut cell: Cell) -> Cell {
    cell.setup.has_virtio_console = true;
    // The firmware gives the kernel this option.
    cell.setup
        .qemu
        .extend(["-append", "console=hvc0"].map(str::to_owned));
    cell
}

impl TestBoot {
    /// Such as `uki on q35 pci`.
    pub(crate) fn name(&self) -> String {
        let Setup { machine, bus, .. } = &self.cell.setup;
        let medium = self.cell.kind.map_or("no disk", Kind::name);
        let way = match self.cell.setup.firmware {
            Firmware::Ours(Way::Efi) => " through EFI",
            Firmware::Ours(Way::Flash) => " from flash",
            Firmware::Rival(_) if self.cell.setup.has_tpm => " with edk2 and a TPM",
            _ => "",
        };
        let console = if self.cell.setup.has_virtio_console {
            " with a virtio console"
        } else {
            ""
        };
        let after = if self.has_bad_entry {
            " after a read error"
        } else {
            ""
        };
        format!("{medium} on {} {}{way}{console}{after}", machine.name, bus.name())
    }

    fn is_efi(&self) -> bool {
        matches!(self.cell.setup.firmware, Firmware::Ours(Way::Efi))
    }

    /// Builds, installs and starts what it needs.
    pub(crate) fn prepare(&self, workspace: &Workspace) -> Result<PreparedBoot, Error> {
        // A reset goes through EFI.
        let end = if self.is_efi() && self.cell.kind != Some(Kind::Ukify) {
            End::Reboot
        } else {
            End::Poweroff
        };
        let medium = |kind| Medium {
            end,
            has_bad_entry: self.has_bad_entry,
            ..Medium::new(kind)
        };
        let mut job = cell_job(workspace, &self.cell, medium, Duration::from_secs(TEST_TIMEOUT))?;
        let bad = if self.has_bad_entry {
            job.medium += " bad";
            read_error::add(&mut job.disks)?
        } else {
            None
        };
        Ok(PreparedBoot {
            job: job.prepare(workspace)?,
            bad,
        })
    }
}

/// A boot of the tests whose machine can be started.
#[derive(Debug)]
pub(crate) struct PreparedBoot {
    job: PreparedJob,
    /// The sector that cannot be read.
    bad: Option<u64>,
}

impl PreparedBoot {
    /// Runs it; `Some` with the message if it fails.
    pub(crate) fn run(self) -> Result<Option<String>, Error> {
        let boot = self.job.run()?;
        let failure = match &boot.failure {
            Some(failure) => Some(failure.to_string()),
            None => self
                .bad
                .and_then(|sector| read_error::missing(&boot.timeline, sector)),
        };
        Ok(failure.map(|failure| format!("{failure}; the console is in {}", boot.log.display())))
    }
}

/// The firmware for the machines of `vmboot run`, and the medium of this kind for them.
pub(crate) fn for_vmboot(
    workspace: &Workspace,
    row: &ArchRow,
    kind: Kind,
) -> Result<(PathBuf, PathBuf), Error> {
    let firmware = build(workspace, row)?;
    Ok((firmware, Medium::for_vmboot(kind).ensure(workspace, row)?))
}

/// Builds the firmware without EFI where that is possible, and checks its size. The builds for the tests check that of the others.
pub(crate) fn check_size(workspace: &Workspace, row: &'static ArchRow) -> Result<(), Error> {
    if row.firmware.is_without_efi {
        let built = ours::build(workspace, row.firmware, Content::WithoutEfi)?;
        println!("{} without EFI: {}", row.firmware.package, built.size);
    }
    Ok(())
}

/// Memory of the machines of the tests in MiB.
const TEST_MEMORY: u32 = 1024;

/// Builds the firmware for an architecture, and returns the file that QEMU starts.
pub(crate) fn build(workspace: &Workspace, row: &ArchRow) -> Result<PathBuf, Error> {
    Ok(ours::build(workspace, row.firmware, Content::Whole)?.path)
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
    if matches!(job.setup.firmware, Firmware::Ours(_)) {
        let built = ours::build(workspace, row.firmware, Content::Whole)?;
        println!("{}: {}", built.path.display(), built.size);
    }
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
        has_virtio_console: false,
        has_tpm: args.tpm,
        qemu: args.qemu.clone(),
    };
    let mut disks = Vec::new();
    for _ in 0..args.blank_disks {
        disks.push(Disk {
            image: medium::ensure_blank(workspace, BLANK_MIB)?,
            block_size: 512,
            bad_sector: None,
        });
    }
    let is_direct = setup.firmware.is_direct();
    let medium = match &args.image {
        _ if is_direct => "no disk".to_owned(),
        Some(image) => {
            disks.push(Disk {
                image: image.clone(),
                block_size: args.block_size,
                bad_sector: None,
            });
            image.display().to_string()
        }
        None => {
            let medium = Medium {
                tsc_khz: setup.tsc_khz(),
                ..args.medium()
            };
            disks.push(Disk::medium(workspace, row, &medium)?);
            args.medium.name().to_owned()
        }
    };
    let kind = (args.image.is_none() && !is_direct).then_some(args.medium);
    Ok(Job {
        goal: goal(&setup, kind, args.end),
        reports: reports(workspace, &setup, kind)?,
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
    cell_job(workspace, cell, medium, timeout)?.run(workspace)
}

/// The boot of a cell of the matrix.
fn cell_job(
    workspace: &Workspace,
    cell: &Cell,
    medium: impl Fn(Kind) -> Medium,
    timeout: Duration,
) -> Result<Job, Error> {
    let medium = cell.kind.map(|kind| Medium {
        tsc_khz: cell.setup.tsc_khz(),
        ..medium(kind)
    });
    let disks = match &medium {
        None => Vec::new(),
        Some(medium) => vec![Disk::medium(workspace, cell.setup.row, medium)?],
    };
    Ok(Job {
        setup: cell.setup.clone(),
        disks,
        medium: cell.kind.map_or("no disk", Kind::name).to_owned(),
        goal: goal(
            &cell.setup,
            cell.kind,
            medium.map_or(End::Poweroff, |medium| medium.end),
        ),
        reports: reports(workspace, &cell.setup, cell.kind)?,
        timeout,
    })
}

/// What init must report of a medium of this kind.
fn reports(
    workspace: &Workspace,
    setup: &Setup,
    kind: Option<Kind>,
) -> Result<Vec<(&'static str, String)>, Error> {
    if kind != Some(Kind::Ukify) {
        return Ok(Vec::new());
    }
    let mut reports = ukify::reports(workspace, setup.row)?;
    // Our firmware measures nothing.
    if setup.has_tpm && matches!(setup.firmware, Firmware::Rival(_)) {
        reports.extend(ukify::registers(workspace, setup.row)?);
    }
    Ok(reports)
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
