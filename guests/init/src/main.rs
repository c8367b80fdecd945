#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod options;
mod view;

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::process;

use options::{End, Options};
use rustix::mount::{MountFlags, mount};
use rustix::system::{RebootCommand, reboot};
use rustix::termios::tcdrain;
use view::View;

fn main() {
    let mounted = mount_all();
    let options = fs::read_to_string("/proc/cmdline")
        .map(|line| Options::parse(&line))
        .unwrap_or_default();
    // A console that takes no output leaves nobody to tell; the end of the machine can still be seen.
    let _ = speak(mounted, options);
    end(options
        .end
        .unwrap_or_else(|| End::of_machine(&rustix::system::uname().machine().to_string_lossy())))
}

/// Mounts what the rest looks at.
fn mount_all() -> io::Result<()> {
    for (kind, target) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")] {
        fs::create_dir_all(target)?;
        mount(kind, target, kind, MountFlags::empty(), None).map_err(io::Error::from)?;
    }
    Ok(())
}

/// Says everything there is to say.
fn speak(mounted: io::Result<()>, options: Options) -> io::Result<()> {
    // What the kernel opened for standard output was not there before devtmpfs, unless the initrd brought it along.
    let mut console = OpenOptions::new().read(true).write(true).open("/dev/console")?;
    if let Err(error) = mounted {
        writeln!(console, "init: cannot mount: {error}")?;
    }
    if options.unknown_end {
        writeln!(console, "init: init.end is neither poweroff nor reboot")?;
    }
    write!(console, "{}", View::of_machine())?;
    if options.echo {
        echo(&mut console)?;
    }
    // The machine's end does not wait for what is still on its way out, which another CPU may be busy with.
    tcdrain(&console)?;
    Ok(())
}

/// Answers each line with itself, until one says `quit`.
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

fn end(how: End) -> ! {
    rustix::fs::sync();
    let commands = match how {
        End::PowerOff => [RebootCommand::PowerOff, RebootCommand::Restart],
        End::Reboot => [RebootCommand::Restart, RebootCommand::PowerOff],
    };
    for command in commands {
        // Comes back only if the kernel refuses; then the other way may do.
        let _ = reboot(command);
    }
    // The kernel panics when its first process ends, which a monitor sees too.
    process::exit(1)
}
