//! What the guest program does after its first line of output.

use core::fmt;

use crate::number::number;

/// Operation of the guest program; `mode=…` on its command line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Checks every clause and ends the run through the debug-exit port, PSCI or SBI.
    #[default]
    Exit,
    /// Spins forever with interrupts disabled.
    Hang,
    /// Halts forever with interrupts disabled.
    Halt,
    /// Causes a triple fault; x86 only.
    TripleFault,
    /// Resets the machine through the i8042, PSCI or SBI.
    Reset,
    /// Powers the machine off through PSCI or SBI; not on x86.
    PowerOff,
    /// Reads, writes and reads again the first and the last byte of the page at this address.
    Mmio(u64),
    /// Echoes serial input until a `q`, driven by interrupts.
    Echo,
    /// Echoes serial input until a `q`, polling the port.
    EchoPoll,
}

impl Mode {
    /// Names of the modes without an argument.
    const PLAIN: [(&'static str, Self); 8] = [
        ("exit", Self::Exit),
        ("hang", Self::Hang),
        ("hlt", Self::Halt),
        ("triple", Self::TripleFault),
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
    fn every_mode_round_trips() {
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
