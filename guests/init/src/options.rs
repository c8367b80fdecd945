//! What the kernel's command line asks of this program.

use std::path::Path;

/// How to end the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// `init.end=poweroff`.
    PowerOff,
    /// `init.end=reboot`.
    Reboot,
}

impl End {
    /// The way that a monitor sees on a machine like this one. An x86 without ACPI has nothing to switch itself off with:
    /// Linux then only halts. Everywhere else firmware does it (ACPI, PSCI, SBI).
    pub(crate) fn of_machine(machine: &str) -> Self {
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

/// The words of the command line that are for this program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// `init.end=…`; `None`: [`End::of_machine`].
    pub(crate) end: Option<End>,
    /// `init.echo`.
    pub(crate) echo: bool,
    /// There is a value of `init.end` that means nothing.
    pub(crate) unknown_end: bool,
}

impl Options {
    pub(crate) fn parse(cmdline: &str) -> Self {
        let mut options = Self::default();
        for word in cmdline.split_ascii_whitespace() {
            match word.split_once('=') {
                None if word == "init.echo" => options.echo = true,
                Some(("init.end", "poweroff")) => options.end = Some(End::PowerOff),
                Some(("init.end", "reboot")) => options.end = Some(End::Reboot),
                Some(("init.end", _)) => options.unknown_end = true,
                _ => {}
            }
        }
        options
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(cmdline: &str, end: Option<End>, echo: bool, unknown_end: bool) {
        assert_eq!(
            Options::parse(cmdline),
            Options {
                end,
                echo,
                unknown_end
            },
            "{cmdline:?}"
        );
    }

    #[test]
    fn words_are_read() {
        check("", None, false, false);
        check("console=ttyS0 init.echo\n", None, true, false);
        check("init.end=poweroff", Some(End::PowerOff), false, false);
        check(
            "a init.end=poweroff init.end=reboot b",
            Some(End::Reboot),
            false,
            false,
        );
        check("init.end=maybe init.echo=1 xinit.echo", None, false, true);
    }

    #[test]
    fn only_an_x86_without_acpi_reboots() {
        for (machine, acpi, expected) in [
            ("x86_64", false, End::Reboot),
            ("i686", false, End::Reboot),
            ("x86_64", true, End::PowerOff),
            ("aarch64", false, End::PowerOff),
            ("riscv64", false, End::PowerOff),
        ] {
            assert_eq!(End::choose(machine, acpi), expected, "{machine} {acpi}");
        }
    }
}
