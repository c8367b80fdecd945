//! The boots of `cargo xtask firmware --all`, and their table.

use std::fmt;

use super::machine::{Firmware, Setup, Way};
use super::medium::kind::Kind;
use super::platform::Bus;
use super::timeline::{Milestone, Timeline};
use crate::arch::ArchRow;

/// A boot of the matrix.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    pub(super) setup: Setup,
    /// `None` if no disk is read.
    pub(super) kind: Option<Kind>,
}

/// The boots of an architecture with the firmware `only`, or with each: its [machines](super::platform::Machine) and
/// [rivals](super::platform::Rival) are the data.
pub(super) fn cells(row: &'static ArchRow, only: &[Firmware], memory: u32) -> Vec<Cell> {
    let mut cells = Vec::new();
    for machine in row.firmware.machines {
        for bus in machine.buses.iter().copied().filter(|bus| bus.is_in_matrix()) {
            for firmware in only {
                let setup = Setup {
                    row,
                    machine,
                    bus,
                    firmware: firmware.clone(),
                    memory,
                    has_virtio_console: false,
                    has_tpm: false,
                    qemu: Vec::new(),
                };
                cells.extend(setup.media().into_iter().map(|kind| Cell {
                    setup: setup.clone(),
                    kind,
                }));
            }
        }
    }
    cells
}

/// Every firmware of an architecture; ours only if `has_ours`.
pub(super) fn every_firmware(row: &ArchRow, has_ours: bool) -> Vec<Firmware> {
    let ours = [Way::Auto, Way::Efi].map(Firmware::Ours);
    let ours = ours.into_iter().filter(|_| has_ours);
    let rivals = row.firmware.rivals.iter().map(Firmware::Rival);
    ours.chain(rivals).collect()
}

impl Setup {
    /// What this firmware boots on this machine: kinds of media, or `None` for the boot without a disk.
    fn media(&self) -> Vec<Option<Kind>> {
        let has_shim = self.row.firmware.shim.is_some();
        // The command line of a unified kernel image has no frequency of the TSC.
        let is_made = |kind: &Kind| match kind {
            Kind::Shim | Kind::Shimfb => has_shim,
            Kind::Ukify => !self.machine.needs_tsc,
            _ => true,
        };
        match &self.firmware {
            Firmware::Ours(Way::Efi) => {
                let media = self.machine.efi_media.iter().copied();
                media.filter(is_made).map(Some).collect()
            }
            Firmware::Ours(Way::Flash) => self.machine.flash_media.iter().copied().map(Some).collect(),
            Firmware::Ours(_) => {
                let media = self.machine.own_media.iter().copied();
                media.filter(is_made).map(Some).collect()
            }
            Firmware::File { .. } => Kind::ALL.into_iter().filter(is_made).map(Some).collect(),
            Firmware::Rival(rival) if !rival.machines.contains(&self.machine.name) => Vec::new(),
            Firmware::Rival(_) if self.firmware.is_direct() => {
                let is_first = self.machine.buses.first() == Some(&self.bus);
                is_first.then_some(None).into_iter().collect()
            }
            Firmware::Rival(rival) => rival.media.iter().copied().filter(is_made).map(Some).collect(),
        }
    }
}

/// A row of the table of results.
#[derive(Debug)]
pub(super) struct Outcome {
    arch: &'static str,
    machine: &'static str,
    bus: Bus,
    firmware: String,
    medium: &'static str,
    times: [String; 3],
    result: String,
}

impl Outcome {
    /// The row of a boot, which failed with `failure`.
    pub(super) fn new(cell: &Cell, timeline: &Timeline, failure: Option<String>) -> Self {
        let times = [Milestone::Loader, Milestone::Kernel, Milestone::Userspace].map(|milestone| {
            timeline
                .time_of(milestone)
                .map_or_else(|| "-".to_owned(), |at| format!("{:.2}", at.as_secs_f64()))
        });
        Self {
            arch: cell.setup.row.name,
            machine: cell.setup.machine.name,
            bus: cell.setup.bus,
            firmware: cell.setup.firmware.name(),
            medium: cell.kind.map_or("-", Kind::name),
            times,
            result: failure.unwrap_or_else(|| "ok".to_owned()),
        }
    }

    /// True if the boot failed.
    pub(super) fn is_failure(&self) -> bool {
        self.result != "ok"
    }

    /// The head of the table.
    pub(super) fn head() -> &'static str {
        "architecture  machine  bus   firmware    medium       loader  kernel  userspace  result"
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [loader, kernel, userspace] = &self.times;
        write!(
            f,
            "{:<12}  {:<7}  {:<4}  {:<10}  {:<11}  {loader:>6}  {kernel:>6}  {userspace:>9}  {}",
            self.arch,
            self.machine,
            self.bus.name(),
            self.firmware,
            self.medium,
            self.result
        )
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::arch::Arch;
    use crate::firmware::options::FileOption;

    #[test]
    fn the_matrix_has_every_medium_of_the_architecture() {
        let check = |arch: Arch, name: &str, expected: usize| {
            let firmware = Firmware::find(arch.row(), name, FileOption::Kernel).unwrap();
            let cells = cells(arch.row(), &[firmware], 1024);
            assert_eq!(cells.len(), expected, "{arch} {name}");
        };
        // 7 media without EFI, and 10 with it (8 on riscv64), on each machine and bus, of which there are two; microvm has one less.
        check(Arch::X86_64, "ours", 13);
        check(Arch::Aarch64, "ours", 14);
        check(Arch::Riscv64, "ours", 14);
        check(Arch::X86_64, "ours-efi", 19);
        check(Arch::Aarch64, "ours-efi", 20);
        check(Arch::Riscv64, "ours-efi", 16);
        check(Arch::Aarch64, "ours-flash", 4);
        check(Arch::Riscv64, "ours-flash", 0);
        check(Arch::X86_64, "edk2", 10);
        check(Arch::X86_64, "direct", 2);
        check(Arch::Riscv64, "direct", 1);
        for arch in [Arch::X86_64, Arch::Aarch64, Arch::Riscv64] {
            let row = arch.row();
            for rival in row.firmware.rivals {
                for name in rival.machines {
                    let known = ["q35", "microvm", "virt"];
                    assert!(known.contains(name), "{arch} {name}");
                }
            }
            assert_eq!(every_firmware(row, true).len(), row.firmware.rivals.len() + 2);
        }
    }

    #[test]
    fn rows_have_times_or_dashes() {
        let row = Arch::X86_64.row();
        let firmware = Firmware::find(row, "edk2", FileOption::Kernel).unwrap();
        let cells = cells(row, &[firmware], 1024);
        let mut timeline = Timeline::default();
        timeline.push(b"Linux version", Duration::from_millis(1752));
        let cell = cells.iter().find(|cell| cell.kind == Some(Kind::Uki)).unwrap();
        let outcome = Outcome::new(cell, &timeline, None).to_string();
        assert_eq!(
            outcome,
            "x86_64        q35      pci   edk2        uki               -    1.75          -  ok"
        );
        assert_eq!(outcome.find("uki"), Outcome::head().find("medium"));
    }
}
