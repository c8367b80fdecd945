//! `cargo xtask run`: boots a Linux kernel to userspace with the `vmboot` command on KVM.

use std::path::PathBuf;
use std::time::Duration;

use crate::arch::ArchRow;
use crate::build;
use crate::cli::{Protocol, RunArgs};
use crate::error::Error;
use crate::firmware;
use crate::firmware::medium::content::DebianDisk;
use crate::fixtures;
use crate::kernel;
use crate::progress::print_status;
use crate::runner::Runner;
use crate::runner::job::{Arg, Task};
use crate::suite::Suite;
use crate::workspace::Workspace;

/// The first line that our init program prints.
const MILESTONE: &str = "userspace reached";

/// Time of a run in the lab in addition to the guest's.
const SLACK: Duration = Duration::from_secs(30);

/// Prepares everything, runs the guest and shows its console.
pub(crate) fn run(workspace: &Workspace, row: &'static ArchRow, args: &RunArgs) -> Result<(), Error> {
    let runner = Runner::ensure(workspace, row, args.host)?.with_clock(args.clock);
    let task = task(workspace, row, args)?;
    print_status(&format!("booting the guest on {}", runner.kind()));
    runner.run_shown(workspace, "vmboot", task)
}

/// A boot of Debian's system with `vmboot`.
pub(crate) fn debian(workspace: &Workspace, row: &'static ArchRow) -> Result<Task, Error> {
    task(workspace, row, &RunArgs::debian())
}

fn task(workspace: &Workspace, row: &'static ArchRow, args: &RunArgs) -> Result<Task, Error> {
    Ok(Task {
        executable: build::static_binary(workspace, row, "vmboot")?,
        args: arguments(workspace, row, args)?,
        deadline: Duration::from_secs(args.timeout) + SLACK,
    })
}

/// The user's kernel, or Debian's.
fn guest_kernel(workspace: &Workspace, row: &ArchRow, args: &RunArgs) -> Result<PathBuf, Error> {
    if let Some(kernel) = &args.kernel {
        return Ok(kernel.clone());
    }
    Ok(kernel::ensure(workspace, row, Suite::Trixie)?.image)
}

/// The command line of `vmboot`.
fn arguments(workspace: &Workspace, row: &'static ArchRow, args: &RunArgs) -> Result<Vec<Arg>, Error> {
    let timeout = args.timeout.to_string();
    let vcpus = args.vcpus.to_string();
    let mut arguments = vec![Arg::from("run")];
    let mut add = |options: &[(&str, &str)]| {
        arguments.extend(
            options
                .iter()
                .flat_map(|(name, value)| [(*name).into(), (*value).into()]),
        );
    };
    add(&[
        ("--memory", &args.memory),
        ("--vcpus", &vcpus),
        ("--timeout", &timeout),
    ]);
    let system = args
        .debian
        .then(|| DebianDisk::ensure(workspace, row))
        .transpose()?;
    if args.medium.is_none() {
        let cmdline = match (&args.cmdline, &system) {
            (Some(cmdline), _) => cmdline,
            (None, Some(system)) => &system.cmdline,
            (None, None) => row.linux_cmdline,
        };
        let protocol = match args.protocol {
            Protocol::Linux => row.linux_protocol,
            Protocol::Pvh => "pvh",
        };
        add(&[
            ("--protocol", protocol),
            ("--cmdline", cmdline),
            ("--unpack", &args.unpack),
        ]);
    }
    arguments.push("--timeline".into());
    if args.count_exits {
        arguments.push("--count-exits".into());
    }
    if args.fast {
        arguments.push("--fast".into());
    }
    if args.initrd.is_none() {
        // The user's initramfs need not print the milestone.
        arguments.extend(["--milestone".into(), MILESTONE.into()]);
    }
    if let Some(kind) = args.medium {
        let (firmware, medium) = firmware::for_vmboot(workspace, row, kind)?;
        arguments.extend(["--disk".into(), Arg::Disk(medium)]);
        arguments.extend(["--firmware".into(), Arg::File(firmware)]);
        return Ok(arguments);
    }
    let initrd = match (&args.initrd, system) {
        (Some(initrd), _) => initrd.clone(),
        (None, Some(system)) => {
            arguments.extend(["--disk".into(), Arg::Disk(system.disk)]);
            system.initrd
        }
        (None, None) => fixtures::linux_initrd(workspace, row)?,
    };
    let kernel = guest_kernel(workspace, row, args)?;
    arguments.extend(["--initrd".into(), Arg::File(initrd), Arg::File(kernel)]);
    Ok(arguments)
}
