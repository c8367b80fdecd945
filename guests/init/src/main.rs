#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod addresses;
mod disk;
mod firmware;
mod modules;
mod numa;
mod options;
mod report;
mod root;
mod topology;

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::process;

use addresses::KernelAddresses;
use disk::DiskReport;
use firmware::FirmwareReport;
use numa::NumaReport;
use options::{Options, Shutdown};
use report::SystemReport;
use rustix::mount::{MountFlags, mount};
use rustix::system::{RebootCommand, reboot};
use rustix::termios::tcdrain;
use topology::TopologyReport;

fn main() {
    let mounted = mount_all();
    let cmdline = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    if options::switches_root(&cmdline) {
        let error = root::switch(&cmdline);
        // As below.
        let _ = print_error(&error);
        shut_down(Shutdown::PowerOff)
    }
    let options = Options::parse(&cmdline);
    // Without a console there is no way to report the error; the shutdown is still visible to the monitor.
    let _ = print_report(mounted, options);
    shut_down(
        options
            .shutdown
            .unwrap_or_else(|| Shutdown::for_machine(&rustix::system::uname().machine().to_string_lossy())),
    )
}

/// Mounts the file systems that the report reads.
fn mount_all() -> io::Result<()> {
    for (kind, target) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")] {
        fs::create_dir_all(target)?;
        mount(kind, target, kind, MountFlags::empty(), None).map_err(io::Error::from)?;
    }
    Ok(())
}

/// Prints the report and, if requested, echoes input.
fn print_report(mounted: io::Result<()>, options: Options) -> io::Result<()> {
    // Standard output is closed unless the initrd contained /dev/console: the kernel opened it before devtmpfs was mounted.
    let mut console = OpenOptions::new().read(true).write(true).open("/dev/console")?;
    if let Err(error) = mounted {
        writeln!(console, "init: cannot mount: {error}")?;
    }
    if options.unknown_shutdown {
        writeln!(console, "init: init.end must be poweroff or reboot")?;
    }
    if options.firmware || options.disk {
        firmware::silence_kernel()?;
        if let Err(error) = modules::load() {
            writeln!(console, "modules: {error}")?;
        }
    }
    write!(console, "{}{}", SystemReport::read(), NumaReport::read())?;
    write!(console, "{}", TopologyReport::read())?;
    if options.firmware {
        write!(console, "{}", FirmwareReport::read())?;
    }
    if options.disk {
        write!(console, "{}", DiskReport::read())?;
    }
    if options.addresses {
        write!(console, "{}", KernelAddresses::read())?;
    }
    if options.echo {
        echo(&mut console)?;
    }
    // The shutdown does not wait for pending output, which another CPU may be sending.
    tcdrain(&console)?;
    Ok(())
}

fn print_error(error: &io::Error) -> io::Result<()> {
    let mut console = OpenOptions::new().write(true).open("/dev/console")?;
    writeln!(
        console,
        "init: cannot start the system on the root file system: {error}"
    )?;
    tcdrain(&console)?;
    Ok(())
}

/// Echoes lines until `quit`.
fn echo(console: &mut File) -> io::Result<()> {
    let lines = BufReader::new(console.try_clone()?);
    writeln!(console, "init: echoing lines until \"quit\"")?;
    for line in lines.lines() {
        let line = line?;
        if line == "quit" {
            break;
        }
        writeln!(console, "echo: {line}")?;
    }
    Ok(())
}

fn shut_down(how: Shutdown) -> ! {
    rustix::fs::sync();
    let commands = match how {
        Shutdown::PowerOff => [RebootCommand::PowerOff, RebootCommand::Restart],
        Shutdown::Reboot => [RebootCommand::Restart, RebootCommand::PowerOff],
    };
    for command in commands {
        // Returns only on failure; then try the other command.
        let _ = reboot(command);
    }
    // The kernel panics when init exits.
    process::exit(1)
}
