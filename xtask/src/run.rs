//! `cargo xtask run`: boots a Linux kernel to userspace with the `vmboot` command on KVM.

use std::path::PathBuf;
use std::time::Duration;

use crate::arch::ArchRow;
use crate::build;
use crate::cli::{Protocol, RunArgs};
use crate::error::Error;
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
    let vmboot = build::static_binary(workspace, row, "vmboot")?;
    let kernel = guest_kernel(workspace, row, args)?;
    let task = Task {
        executable: vmboot,
        args: arguments(workspace, row, args, kernel)?,
        deadline: Duration::from_secs(args.timeout) + SLACK,
    };
    print_status(&format!("booting the guest on {}", runner.kind()));
    runner.run_shown(workspace, "vmboot", task)
}

/// The user's kernel, or Debian's in the form that the protocol boots.
fn guest_kernel(workspace: &Workspace, row: &ArchRow, args: &RunArgs) -> Result<PathBuf, Error> {
    if let Some(kernel) = &args.kernel {
        return Ok(kernel.clone());
    }
    let image = kernel::ensure(workspace, row, Suite::Trixie)?.image;
    match args.protocol {
        Protocol::Linux => Ok(image),
        // A bzImage has no PVH entry; the vmlinux in it has one.
        Protocol::Pvh => fixtures::vmlinux(workspace, &image),
    }
}

/// The command line of `vmboot`.
fn arguments(
    workspace: &Workspace,
    row: &ArchRow,
    args: &RunArgs,
    kernel: PathBuf,
) -> Result<Vec<Arg>, Error> {
    let cmdline = args
        .cmdline
        .clone()
        .unwrap_or_else(|| row.linux_cmdline.to_owned());
    let protocol = match args.protocol {
        Protocol::Linux => row.linux_protocol,
        Protocol::Pvh => "pvh",
    };
    let timeout = args.timeout.to_string();
    let vcpus = args.vcpus.to_string();
    let options = [
        ("--protocol", protocol),
        ("--memory", &args.memory),
        ("--vcpus", &vcpus),
        ("--cmdline", &cmdline),
        ("--timeout", &timeout),
    ];
    let mut arguments = vec![Arg::from("run")];
    arguments.extend(
        options
            .into_iter()
            .flat_map(|(name, value)| [name.into(), value.into()]),
    );
    arguments.push("--timeline".into());
    if args.count_exits {
        arguments.push("--count-exits".into());
    }
    let initrd = if let Some(initrd) = &args.initrd {
        // The user's initramfs need not print the milestone.
        initrd.clone()
    } else {
        arguments.extend(["--milestone".into(), MILESTONE.into()]);
        fixtures::linux_initrd(workspace, row)?
    };
    arguments.extend(["--initrd".into(), Arg::File(initrd), Arg::File(kernel)]);
    Ok(arguments)
}
