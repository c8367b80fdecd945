//! Runs the conformance guest as the kernel of a boot entry that the firmware of this repository starts, under QEMU with TCG.
//!
//! The guest's clauses are the boot protocols, so they check the hand-over of the firmware. The values of the machine that the firmware
//! must hand on come from a boot of the same machine with QEMU's own loader.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::loader::machines::{Build, Loader};
use super::super::loader::values::Values;
use super::super::loader::{boot, print, read};
use super::super::results::{Case, Outcome};
use crate::arch::ArchRow;
use crate::error::{Error, WithPath as _};
use crate::firmware;
use crate::firmware::entry_disk::TemporaryDisk;
use crate::firmware::medium::entry::EntryFiles;
use crate::qemu::Emulator;
use crate::workspace::Workspace;

/// Runs every build that the firmware starts on every machine, with and without an initrd. Each clause that the guest checks is a test.
pub(super) fn run(
    workspace: &Workspace,
    row: &'static ArchRow,
    fixtures: &Path,
    filter: Option<&str>,
) -> Result<Vec<Case>, Error> {
    let initrd = fixtures.join("initrd").join(row.name).join("payload.bin");
    let initrd = Initrd {
        bytes: fs::read(&initrd).with_path(&initrd)?,
        path: initrd,
    };
    let mut cases = Vec::new();
    for loader in row.loaders {
        cases.extend(Machine::start(workspace, row, fixtures, loader)?.run(&initrd, filter)?);
    }
    cases
        .retain(|case| filter.is_none_or(|filter| case.suite.contains(filter) || case.name.contains(filter)));
    for case in &cases {
        print(case);
    }
    Ok(cases)
}

/// The initrd of the second boot of each build.
struct Initrd {
    path: PathBuf,
    bytes: Vec<u8>,
}

/// A machine with the firmware.
struct Machine<'a> {
    workspace: &'a Workspace,
    row: &'static ArchRow,
    fixtures: &'a Path,
    loader: &'static Loader,
    emulator: Emulator,
    firmware: PathBuf,
    /// What QEMU's own loader hands over.
    values: Values,
}

impl<'a> Machine<'a> {
    /// Builds the firmware, and asks QEMU's own loader for the values of the machine.
    fn start(
        workspace: &'a Workspace,
        row: &'static ArchRow,
        fixtures: &'a Path,
        loader: &'static Loader,
    ) -> Result<Self, Error> {
        let mut machine = Self {
            workspace,
            row,
            fixtures,
            loader,
            emulator: loader.qemu.ensure(workspace)?,
            firmware: firmware::build(workspace, row)?,
            values: Values::default(),
        };
        if let Some(build) = loader.builds.first() {
            let kernel = machine.kernel(build);
            let entry = EntryFiles {
                kernel: &kernel,
                initrd: None,
                options: "",
            };
            // The memory map of a PC depends on the disk: its BIOS has tables for it.
            let disk = TemporaryDisk::with_entry(workspace, &entry)?;
            let mut command = loader.qemu(&machine.emulator);
            command
                .args(disk.options())
                .args(["-append", "mode=exit", "-kernel"])
                .arg(&kernel);
            let (output, _) = boot(&mut command)?;
            machine.values = Values::read(&output);
        }
        Ok(machine)
    }

    fn kernel(&self, build: &Build) -> PathBuf {
        self.fixtures.join("guests").join(self.row.name).join(build.file)
    }

    fn run(&self, initrd: &Initrd, filter: Option<&str>) -> Result<Vec<Case>, Error> {
        let machine = self.loader.machine;
        let suite = format!("firmware with the conformance guest on {machine}");
        let unchecked = self.loader.firmware_unchecked.iter();
        let mut cases: Vec<Case> = unchecked
            .map(|(name, reason)| Case {
                suite: suite.clone(),
                name: (*name).to_owned(),
                outcome: Outcome::Skipped((*reason).to_owned()),
            })
            .collect();
        if !self.values.has_memory() {
            cases.push(Case::failed(
                &suite,
                "the machine has a memory map",
                "the guest printed none under QEMU's own loader",
            ));
        }
        for build in self.loader.firmware_builds {
            for (how, initrd) in [("alone", None), ("with initrd", Some(initrd))] {
                let suite = format!("firmware with {} on {machine}, {how}", build.file);
                // The names of the clauses are not known before the boot, so only those of suites can save boots.
                if filter.is_none_or(|filter| suite.contains(filter) || !filter.starts_with("firmware with"))
                {
                    cases.extend(self.boot(&suite, build, initrd)?);
                }
            }
        }
        Ok(cases)
    }

    fn boot(&self, suite: &str, build: &Build, initrd: Option<&Initrd>) -> Result<Vec<Case>, Error> {
        let loader = self.loader;
        let bytes = initrd.map(|initrd| initrd.bytes.as_slice());
        let options = loader.command_line(build, bytes, "", &self.values);
        let kernel = self.kernel(build);
        let entry = EntryFiles {
            kernel: &kernel,
            initrd: initrd.map(|initrd| initrd.path.as_path()),
            options: &options,
        };
        let disk = TemporaryDisk::with_entry(self.workspace, &entry)?;
        let mut command = loader.qemu(&self.emulator);
        command.args(disk.options()).arg("-kernel").arg(&self.firmware);
        let (output, code) = boot(&mut command)?;
        Ok(read(suite, &output, code, loader.exit_codes))
    }
}
