//! One boot: the machine, its disks and the goal.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::boot::{self, Boot, Goal};
use super::error::FirmwareError;
use super::failure::Failure;
use super::machine::{Disk, Firmware, Setup, Way};
use super::medium::kind::Kind;
use super::medium::spec::End;
use super::timeline::Milestone;
use super::tpm::Tpm;
use crate::error::{Error, WithPath as _};
use crate::workspace::Workspace;

/// A boot to run.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) setup: Setup,
    pub(super) disks: Vec<Disk>,
    /// What is on the boot disk, for messages.
    pub(super) medium: String,
    pub(super) goal: Goal,
    /// Names and values that init must report.
    pub(super) reports: Vec<(&'static str, String)>,
    pub(super) timeout: Duration,
}

/// How long a boot of a medium of this kind may take, if others may take `seconds`: systems of Debian take longer.
pub(super) fn timeout(kind: Option<Kind>, seconds: u64) -> Duration {
    let factor = if kind.is_some_and(Kind::is_system) { 5 } else { 1 };
    Duration::from_secs(seconds.saturating_mul(factor))
}

/// What a boot of a medium of this kind must reach.
pub(super) fn goal(setup: &Setup, kind: Option<Kind>, end: End) -> Goal {
    let (efi, sets_variables, has_clock) = match &setup.firmware {
        // Entries of the Boot Loader Specification come before EFI programs.
        Firmware::Ours(Way::Auto | Way::Flash) => (kind.map(|kind| !kind.has_entries()), true, true),
        Firmware::Ours(way) => (Some(*way == Way::Efi), true, true),
        Firmware::File { .. } => (None, true, true),
        Firmware::Rival(rival) => (Some(rival.is_efi), rival.sets_variables, rival.has_clock),
    };
    Goal {
        milestone: if kind.is_none_or(Kind::reaches_userspace) {
            Milestone::Userspace
        } else {
            Milestone::Kernel
        },
        efi,
        sets_variables,
        has_clock,
        is_system: kind.is_some_and(Kind::is_system),
        // The command line of this image is not that of other media.
        end: if kind == Some(Kind::Ukify) {
            End::Poweroff
        } else {
            end
        },
    }
}

impl Job {
    /// Such as `uki on x86_64 q35`.
    pub(super) fn name(&self) -> String {
        let Setup { row, machine, .. } = &self.setup;
        format!("{} on {} {}", self.medium, row.name, machine.name)
    }

    /// Runs it.
    pub(super) fn run(&self, workspace: &Workspace) -> Result<Boot, Error> {
        self.clone().prepare(workspace)?.run()
    }

    /// Builds, installs and starts what the machine needs.
    pub(super) fn prepare(self, workspace: &Workspace) -> Result<PreparedJob, Error> {
        let temporary = std::env::temp_dir();
        let directory = tempfile::tempdir_in(&temporary).with_path(&temporary)?;
        let end = self.goal.end;
        let mut command = self
            .setup
            .command(workspace, &self.disks, end, directory.path())?;
        let tpm = if self.setup.has_tpm {
            let row = self.setup.row;
            let device = row.firmware.tpm.ok_or(FirmwareError::NoTpm { arch: row.name })?;
            let tpm = Tpm::start(workspace, directory.path())?;
            command.args(tpm.options(device));
            Some(tpm)
        } else {
            None
        };
        Ok(PreparedJob {
            log: self.log(workspace)?,
            job: self,
            command,
            _tpm: tpm,
            directory,
        })
    }

    /// The file for the console.
    pub(super) fn log(&self, workspace: &Workspace) -> Result<PathBuf, Error> {
        let directory = workspace.xtask("firmware/logs");
        fs::create_dir_all(&directory).with_path(&directory)?;
        let Setup {
            row,
            machine,
            bus,
            firmware,
            has_virtio_console,
            has_tpm,
            ..
        } = &self.setup;
        let firmware = firmware.name();
        let mut parts = vec![row.name, machine.name, bus.name(), &firmware, &self.medium];
        parts.extend(has_virtio_console.then_some("virtio-console"));
        parts.extend(has_tpm.then_some("tpm"));
        Ok(directory.join(parts.join("-").replace([' ', '/'], "_") + ".log"))
    }

    /// Prints the last line of a good boot, or gives the error of another.
    pub(super) fn conclude(&self, boot: Boot) -> Result<(), Error> {
        if let Some(failure) = boot.failure {
            return Err(FirmwareError::Boot {
                boot: self.name(),
                failure,
                log: boot.log,
            }
            .into());
        }
        let milestone = self.goal.milestone;
        let at = boot.timeline.time_of(milestone).unwrap_or_default();
        println!(
            "firmware: {} reached {} in {:.2} s ({}, {})",
            self.name(),
            milestone.name(),
            at.as_secs_f64(),
            self.setup.bus.name(),
            self.setup.firmware.name()
        );
        Ok(())
    }
}

/// A boot whose machine can be started.
#[derive(Debug)]
pub(super) struct PreparedJob {
    job: Job,
    command: Command,
    /// The file for the console.
    log: PathBuf,
    /// Ends after the machine.
    _tpm: Option<Tpm>,
    /// For sockets and state.
    directory: TempDir,
}

impl PreparedJob {
    /// Runs it.
    pub(super) fn run(mut self) -> Result<Boot, Error> {
        let Job { goal, timeout, .. } = self.job;
        let mut boot = boot::run(&mut self.command, goal, timeout, self.directory.path(), self.log)?;
        if boot.failure.is_none() {
            boot.failure = wrong_report(&self.job.reports, &boot);
        }
        Ok(boot)
    }
}

/// The first value that init does not report.
fn wrong_report(reports: &[(&'static str, String)], boot: &Boot) -> Option<Failure> {
    reports.iter().find_map(|(name, expected)| {
        let found = boot.timeline.reported(name).unwrap_or_default();
        (found != *expected).then(|| Failure::Report {
            name,
            found,
            expected: expected.clone(),
        })
    })
}
