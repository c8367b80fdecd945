//! Options on the kernel command line.

use std::path::Path;

/// Kind of shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shutdown {
    /// `init.end=poweroff`.
    PowerOff,
    /// `init.end=reboot`.
    Reboot,
}

impl Shutdown {
    /// The kind that works on this machine. Without ACPI, x86 has no power-off and Linux only halts; elsewhere firmware powers the
    /// machine off (ACPI, PSCI, SBI).
    pub(crate) fn for_machine(machine: &str) -> Self {
        let acpi = ["/sys/firmware/acpi", "/proc/acpi"]
            .iter()
            .any(|path| Path::new(path).exists());
        Self::choose(machine, acpi)
    }

    fn choose(machine: &str, acpi: bool) -> Self {
        let x86 = machine == "x86_64" || (machine.starts_with('i') && machine.ends_with("86"));
        if x86 && !acpi {
            Self::Reboot
        } else {
            Self::PowerOff
        }
    }
}

/// The options of this program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent words of the command line"
)]
pub(crate) struct Options {
    /// `init.end=…`; `None`: [`Shutdown::for_machine`].
    pub(crate) shutdown: Option<Shutdown>,
    /// `init.echo`.
    pub(crate) echo: bool,
    /// `init.firmware`.
    pub(crate) firmware: bool,
    /// `init.disk`.
    pub(crate) disk: bool,
    /// `init.addresses`.
    pub(crate) addresses: bool,
    /// Whether `init.end` has an unknown value.
    pub(crate) unknown_shutdown: bool,
}

/// True if the command line has `init.switch_root`: nothing else is done then.
pub(crate) fn switches_root(cmdline: &str) -> bool {
    cmdline
        .split_ascii_whitespace()
        .any(|word| word == "init.switch_root")
}

impl Options {
    pub(crate) fn parse(cmdline: &str) -> Self {
        let mut options = Self::default();
        for word in cmdline.split_ascii_whitespace() {
            match word.split_once('=') {
                None if word == "init.echo" => options.echo = true,
                None if word == "init.firmware" => options.firmware = true,
                None if word == "init.disk" => options.disk = true,
                None if word == "init.addresses" => options.addresses = true,
                Some(("init.end", "poweroff")) => options.shutdown = Some(Shutdown::PowerOff),
                Some(("init.end", "reboot")) => options.shutdown = Some(Shutdown::Reboot),
                Some(("init.end", _)) => options.unknown_shutdown = true,
                _ => {}
            }
        }
        options
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(cmdline: &str, shutdown: Option<Shutdown>, echo: bool, unknown_shutdown: bool) {
        assert_eq!(
            Options::parse(cmdline),
            Options {
                shutdown,
                echo,
                unknown_shutdown,
                ..Options::default()
            },
            "{cmdline:?}"
        );
    }

    #[test]
    fn options_are_parsed() {
        check("", None, false, false);
        check("console=ttyS0 init.echo\n", None, true, false);
        check("init.end=poweroff", Some(Shutdown::PowerOff), false, false);
        check(
            "a init.end=poweroff init.end=reboot b",
            Some(Shutdown::Reboot),
            false,
            false,
        );
        check("init.end=maybe init.echo=1 xinit.echo", None, false, true);
    }

    #[test]
    fn words_without_a_value_are_options() {
        let check = |cmdline: &str, expected: [bool; 4]| {
            let options = Options::parse(cmdline);
            let found = [
                options.firmware,
                options.disk,
                options.addresses,
                switches_root(cmdline),
            ];
            assert_eq!(found, expected, "{cmdline}");
        };
        check("a init.firmware b", [true, false, false, false]);
        check("init.switch_root root=/dev/vda2", [false, false, false, true]);
        check(
            "init.firmware=1 xinit.firmware init.disk init.switch_root=1",
            [false, true, false, false],
        );
        check("init.addresses", [false, false, true, false]);
    }

    #[test]
    fn only_an_x86_without_acpi_reboots() {
        for (machine, acpi, expected) in [
            ("x86_64", false, Shutdown::Reboot),
            ("i686", false, Shutdown::Reboot),
            ("x86_64", true, Shutdown::PowerOff),
            ("aarch64", false, Shutdown::PowerOff),
            ("riscv64", false, Shutdown::PowerOff),
        ] {
            assert_eq!(Shutdown::choose(machine, acpi), expected, "{machine} {acpi}");
        }
    }
}
