//! `cargo xtask run`: a Linux kernel, booted to userspace by the `vmboot` command on KVM.

use std::io::{stderr, stdout};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::arch::ArchRow;
use crate::build;
use crate::cli::{Protocol, RunArgs};
use crate::error::{At as _, Error};
use crate::fixtures;
use crate::kernel;
use crate::progress::say;
use crate::runner::Runner;
use crate::runner::job::{Arg, Job, Report, Task};
use crate::suite::Suite;
use crate::workspace::Workspace;

/// What our init program prints first.
const MILESTONE: &str = "userspace reached";

/// Time that a run in the lab takes beside the guest's own.
const SLACK: Duration = Duration::from_secs(30);

/// Prepares everything, runs the guest and shows its console.
pub(crate) fn run(workspace: &Workspace, row: &'static ArchRow, args: &RunArgs) -> Result<(), Error> {
    let place = Runner::choose(workspace, row, args.host)?;
    let vmboot = build::static_binary(workspace, row, "vmboot")?;
    let kernel = guest_kernel(workspace, row, args)?;
    let task = Task {
        executable: vmboot,
        args: arguments(workspace, row, args, kernel)?,
        deadline: Duration::from_secs(args.timeout) + SLACK,
    };
    say(&format!("booting the guest on {}", place.kind()));
    let mut ending = None;
    place.run(
        workspace,
        &Job {
            tasks: vec![task],
            fixtures: None,
        },
        &mut |report| {
            match report {
                Report::Stdout(bytes) => show(&mut stdout(), bytes)?,
                Report::Stderr(bytes) => show(&mut stderr(), bytes)?,
                Report::Ready(uptime) => say(&format!("the KVM host machine is up after {uptime:.1?}")),
                Report::Started(_) => {}
                Report::Ended(how) => ending = Some(how),
            }
            Ok(())
        },
    )?;
    match ending {
        Some(ending) if !ending.is_success() => Err(Error::Program {
            program: "vmboot".to_owned(),
            ending,
        }),
        _ => Ok(()),
    }
}

/// The user's kernel, or Debian's in the form that the protocol boots.
fn guest_kernel(workspace: &Workspace, row: &ArchRow, args: &RunArgs) -> Result<PathBuf, Error> {
    if let Some(kernel) = &args.kernel {
        return Ok(kernel.clone());
    }
    let image = kernel::ensure(workspace, row, Suite::Trixie)?.image;
    match args.protocol {
        Protocol::Linux => Ok(image),
        // A bzImage has no PVH entry, the vmlinux inside it has.
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
    let initrd = if let Some(initrd) = &args.initrd {
        // What somebody else's initramfs prints is not ours to know.
        initrd.clone()
    } else {
        arguments.extend(["--milestone".into(), MILESTONE.into()]);
        fixtures::linux_initrd(workspace, row)?
    };
    arguments.extend(["--initrd".into(), Arg::File(initrd), Arg::File(kernel)]);
    Ok(arguments)
}

/// Writes output at once: a console's last line often has no end.
fn show(terminal: &mut impl std::io::Write, bytes: &[u8]) -> Result<(), Error> {
    terminal
        .write_all(bytes)
        .and_then(|()| terminal.flush())
        .at(Path::new("the terminal"))
}
