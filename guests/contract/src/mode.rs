//! What the guest program does after it has said hello.

use core::fmt;

use crate::parse::number;

/// What the guest program is to do; `mode=…` on its command line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Checks every clause and leaves: through the debug-exit port, PSCI or SBI.
    #[default]
    Exit,
    /// Spins for ever with interrupts off.
    Hang,
    /// Halts for ever with interrupts off.
    Halt,
    /// Causes a triple fault; only an x86 can.
    Triple,
    /// Resets the machine: through the i8042, PSCI or SBI.
    Reset,
    /// Switches the machine off by PSCI or SBI; an x86 without ACPI cannot.
    PowerOff,
    /// Reads, writes and reads again the first and the last byte of the page at this address.
    Mmio(u64),
    /// Echoes what comes in on the serial port, woken by its interrupt, until a `q`.
    Echo,
    /// Echoes what comes in on the serial port, asking it again and again, until a `q`.
    EchoPoll,
}

impl Mode {
    /// The modes that take no argument, by the word that names them.
    const PLAIN: [(&'static str, Self); 8] = [
        ("exit", Self::Exit),
        ("hang", Self::Hang),
        ("hlt", Self::Halt),
        ("triple", Self::Triple),
        ("reset", Self::Reset),
        ("poweroff", Self::PowerOff),
        ("echo", Self::Echo),
        ("echo-poll", Self::EchoPoll),
    ];

    pub(crate) fn parse(text: &str) -> Option<Self> {
        if let Some(address) = text.strip_prefix("mmio=") {
            return number(address).map(Self::Mmio);
        }
        Self::PLAIN
            .iter()
            .find(|(word, _)| *word == text)
            .map(|(_, mode)| *mode)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Mmio(address) = self {
            return write!(f, "mode=mmio={address:#x}");
        }
        let word = Self::PLAIN
            .iter()
            .find(|(_, mode)| mode == self)
            .map_or("", |(word, _)| word);
        write!(f, "mode={word}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString as _;

    #[test]
    fn every_mode_survives_the_command_line() {
        let plain = Mode::PLAIN.iter().map(|(_, mode)| *mode);
        for mode in plain.chain([Mode::Mmio(0xfeed_0000)]) {
            let text = mode.to_string();
            assert_eq!(
                text.strip_prefix("mode=").and_then(Mode::parse),
                Some(mode),
                "{text}"
            );
        }
        assert_eq!(Mode::parse("mmio="), None);
        assert_eq!(Mode::parse("dance"), None);
    }
}
