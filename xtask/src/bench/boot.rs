//! The time of a boot from `exec` to userspace: `vmboot run`, and QEMU with its leanest machine, by turns under the same KVM.

use std::fmt;
use std::time::Duration;

use lab_init::Lap;

use super::limits::{self, Limits};
use super::qemu::Qemu;
use crate::arch::ArchRow;
use crate::build;
use crate::cli::BenchArgs;
use crate::error::Error;
use crate::fixtures;
use crate::json_lines;
use crate::kernel;
use crate::progress::print_status;
use crate::runner::job::{Arg, Task};
use crate::runner::{Clock, Runner};
use crate::suite::Suite;
use crate::workspace::Workspace;

/// The first line that the init program prints.
const MILESTONE: &str = "userspace reached";

/// Boots of each VMM.
const ROUNDS: u32 = 3;

/// Seconds for one boot in an emulated machine.
const DEADLINE: u64 = 240;

const MEMORY_MIB: &str = "512";

/// Medians of an architecture in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Boots {
    ours: f64,
    qemu: f64,
}

/// Boots Debian's kernel with one vCPU, prints the times, and checks their ratio if `args` asks for that.
pub(super) fn run(workspace: &Workspace, row: &'static ArchRow, args: &BenchArgs) -> Result<(), Error> {
    let runner = Runner::ensure(workspace, row, args.host)?.with_clock(Clock::Instructions);
    let task = task(workspace, row)?;
    print_status(&format!("booting by turns on {}", runner.kind()));
    let (output, result) = runner.run_captured(workspace, "stopwatch", task);
    result?;
    let laps: Vec<Lap> = json_lines::read(&output, "a lap of the stopwatch")?;
    let Some(boots) = Boots::of(&laps) else {
        return Err(Error::NoLaps);
    };
    let limit = Limits::read().boot.ratio;
    println!("{}: {boots} (limit {limit})", row.name);
    let is_missed = boots.ratio() > limit;
    limits::check(
        args,
        is_missed
            .then(|| format!("boot of {}", row.name))
            .into_iter()
            .collect(),
    )
}

/// The stopwatch with the command lines of both.
fn task(workspace: &Workspace, row: &'static ArchRow) -> Result<Task, Error> {
    let kernel = kernel::ensure(workspace, row, Suite::Trixie)?.image;
    let initrd = fixtures::linux_initrd(workspace, row)?;
    let vmboot = build::static_binary(workspace, row, "vmboot")?;
    let qemu = Qemu::ensure(workspace, row)?;
    let [rounds, deadline] = [ROUNDS.to_string(), DEADLINE.to_string()];
    let mut args: Vec<Arg> = [&*rounds, &deadline, MILESTONE, "--"].map(Arg::from).into();
    let memory = format!("{MEMORY_MIB}M");
    args.push(Arg::File(vmboot));
    args.extend(
        [
            "run",
            "--memory",
            &memory,
            "--vcpus",
            "1",
            "--cmdline",
            row.linux_cmdline,
        ]
        .map(Arg::from),
    );
    args.extend([
        "--initrd".into(),
        Arg::File(initrd.clone()),
        Arg::File(kernel.clone()),
    ]);
    args.extend(["--".into(), Arg::File(qemu.linker), "--library-path".into()]);
    args.extend([Arg::Directory(qemu.libraries), Arg::File(qemu.program)]);
    args.extend(["-L".into(), Arg::Directory(qemu.firmware)]);
    args.extend(Qemu::machine(row.arch).map(Arg::from));
    args.extend(
        [
            "-cpu",
            "host",
            "-m",
            MEMORY_MIB,
            "-smp",
            "1",
            "-nodefaults",
            "-no-user-config",
        ]
        .map(Arg::from),
    );
    args.extend(["-display", "none", "-no-reboot", "-serial", "stdio", "-append"].map(Arg::from));
    args.push(Qemu::command_line(row.arch).into());
    args.extend([
        "-initrd".into(),
        Arg::File(initrd),
        "-kernel".into(),
        Arg::File(kernel),
    ]);
    Ok(Task {
        executable: build::static_program(workspace, row, "lab-init", "stopwatch")?,
        args,
        deadline: Duration::from_secs(u64::from(ROUNDS) * 2 * DEADLINE),
    })
}

impl Boots {
    /// The medians; `None` without a lap of each.
    fn of(laps: &[Lap]) -> Option<Self> {
        let median = |program| {
            let of_program = laps.iter().filter(|lap| lap.program == program);
            let mut times: Vec<f64> = of_program.map(|lap| lap.milestone_ms).collect();
            times.sort_by(f64::total_cmp);
            times.get(times.len() / 2).copied()
        };
        Some(Self {
            ours: median(0)?,
            qemu: median(1)?,
        })
    }

    fn ratio(self) -> f64 {
        self.ours / self.qemu
    }
}

impl fmt::Display for Boots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ours, qemu } = self;
        let ratio = self.ratio();
        write!(
            f,
            "exec to userspace: vmboot {ours:.0} ms, QEMU {qemu:.0} ms, ratio {ratio:.2}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_medians_are_compared() {
        let lap = |program, milestone_ms| Lap {
            program,
            milestone_ms,
            end_ms: 99.0,
        };
        let laps = [
            lap(0, 9.0),
            lap(1, 12.0),
            lap(0, 3.0),
            lap(1, 30.0),
            lap(0, 6.0),
            lap(1, 10.0),
        ];
        let boots = Boots::of(&laps).unwrap();
        assert_eq!(
            boots,
            Boots {
                ours: 6.0,
                qemu: 12.0
            }
        );
        assert!(boots.to_string().contains("vmboot 6 ms, QEMU 12 ms, ratio 0.50"));
        assert_eq!(Boots::of(&laps[..1]), None);
    }
}
