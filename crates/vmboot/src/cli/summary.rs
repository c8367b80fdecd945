//! Boots in one line.

use std::fmt;
use std::fs;
use std::io::{self, IsTerminal as _};

use boot_core::ByteCount;

use super::boot::Boot;

/// Where the input of the guest's console comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GuestInput {
    /// Standard input.
    Stdin,
    /// There is none: standard input is one of the files.
    None,
}

/// The line: what is booted, and how to end the run.
pub(crate) struct Summary<'a> {
    boot: &'a str,
    /// Key that ends the run.
    key: &'static str,
}

impl<'a> Summary<'a> {
    /// `boot` is the text of a [`Description`].
    pub(crate) fn new(boot: &'a str, input: GuestInput) -> Self {
        // Only a terminal that the guest reads is in raw mode, in which Control-C is a key of the guest.
        let is_raw = input == GuestInput::Stdin && io::stdin().is_terminal();
        Self {
            boot,
            key: if is_raw { "Control-]" } else { "Control-C" },
        }
    }
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "booting {}; {} ends the run", self.boot, self.key)
    }
}

/// A boot in words: image, protocol, machine and command line.
pub(crate) struct Description<'a> {
    pub(crate) boot: &'a Boot,
    /// Size of the RAM in bytes, as in the options.
    pub(crate) memory: u64,
}

impl fmt::Display for Description<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Boot {
            image,
            plan,
            machine,
            cmdline,
            kernel,
            ..
        } = self.boot;
        f.write_str(image.format())?;
        if let Some(version) = image.kernel_version() {
            // The version of Linux is followed by builder and date.
            write!(f, " {}", version.split(' ').next().unwrap_or(version))?;
        }
        if !kernel.wrappers.is_empty() {
            write!(f, " inside {}", kernel.wrappers)?;
        }
        let cpus = machine.vcpus.get();
        write!(
            f,
            " by the protocol {}, {}, {cpus} vCPU{}, {cmdline}",
            plan.protocol(),
            ByteCount(self.memory),
            if cpus == 1 { "" } else { "s" },
        )
    }
}

/// Advice on RAM that the host does not have.
pub(crate) fn memory_help() -> String {
    match fs::read_to_string("/proc/meminfo")
        .ok()
        .as_deref()
        .and_then(available)
    {
        Some(available) => format!(
            "use a smaller --memory; this host has {} available",
            ByteCount(available)
        ),
        None => "use a smaller --memory".to_owned(),
    }
}

/// Available memory in bytes from the content of `/proc/meminfo` (proc_meminfo(5)).
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::available;

    #[test]
    fn available_memory_is_in_bytes() {
        let text = "MemTotal:       24609052 kB\nMemFree:  1 kB\nMemAvailable:   23414608 kB\n";
        assert_eq!(available(text), Some(23_414_608 << 10));
        assert_eq!(available("MemTotal: 1 kB\n"), None);
        assert_eq!(available("MemAvailable: 1\n"), None);
    }
}
