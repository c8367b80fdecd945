//! The console of a boot: its text with the time of each line, the milestones, and what init reports.

use std::fmt;
use std::time::Duration;

/// A point of a boot that the console shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Milestone {
    /// The first output of the firmware.
    Output,
    /// The firmware or a boot loader has selected what to start.
    Loader,
    /// The EFI stub of the kernel runs.
    Stub,
    /// The first line of the kernel.
    Kernel,
    /// The first line of init.
    Userspace,
}

impl Milestone {
    pub(super) const ALL: [Self; 5] = [
        Self::Output,
        Self::Loader,
        Self::Stub,
        Self::Kernel,
        Self::Userspace,
    ];

    /// Name in timelines.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Output => "first output",
            Self::Loader => "loader",
            Self::Stub => "EFI stub",
            Self::Kernel => "kernel",
            Self::Userspace => "userspace",
        }
    }

    /// Texts of which one shows that the milestone is reached.
    fn texts(self) -> &'static [&'static str] {
        match self {
            Self::Output => &[],
            Self::Loader => &[
                // edk2.
                "BdsDxe: starting",
                // U-Boot.
                "Booting /",
                "Booting: ",
                "Booting with",
                // GRUB, systemd-boot and the kernel, where the firmware prints nothing.
                "Welcome to GRUB",
                "GRUB ",
                "Loading Linux",
                "systemd-boot",
                "EFI stub:",
                // Our firmware.
                "firmware: starting",
            ],
            Self::Stub => &["EFI stub:"],
            Self::Kernel => &["Linux version"],
            Self::Userspace => &["userspace reached"],
        }
    }
}

/// The console of one boot.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    /// Everything that was read.
    text: Vec<u8>,
    /// The position and the time of each piece that was read.
    pieces: Vec<(usize, Duration)>,
    reached: Vec<(Milestone, Duration)>,
}

impl Timeline {
    /// Adds output that arrived this long after the start of QEMU.
    pub(super) fn push(&mut self, piece: &[u8], at: Duration) {
        // A text can begin in an earlier piece.
        let longest = Milestone::ALL.iter().flat_map(|milestone| milestone.texts());
        let longest = longest.map(|text| text.len()).max().unwrap_or_default();
        let from = self.text.len().saturating_sub(longest);
        self.pieces.push((self.text.len(), at));
        self.text.extend_from_slice(piece);
        let new = &self.text[from..];
        for milestone in Milestone::ALL {
            let is_shown = milestone == Milestone::Output && !piece.is_empty()
                || milestone
                    .texts()
                    .iter()
                    .any(|text| contains(new, text.as_bytes()));
            if is_shown && self.time_of(milestone).is_none() {
                self.reached.push((milestone, at));
            }
        }
    }

    /// Notes a milestone that was seen elsewhere than on the console.
    pub(super) fn note(&mut self, milestone: Milestone, at: Duration) {
        if self.time_of(milestone).is_none() {
            self.reached.push((milestone, at));
        }
    }

    /// When a milestone was reached.
    pub(super) fn time_of(&self, milestone: Milestone) -> Option<Duration> {
        let mut reached = self.reached.iter();
        reached.find(|(known, _)| *known == milestone).map(|(_, at)| *at)
    }

    /// The lines, each with the time at which its first byte arrived, without control characters and escape sequences.
    pub(super) fn lines(&self) -> Vec<(Duration, String)> {
        let mut start = 0;
        let mut lines = Vec::new();
        for line in self.text.split_inclusive(|byte| *byte == b'\n') {
            let piece = self.pieces.partition_point(|(position, _)| *position <= start);
            let at = piece
                .checked_sub(1)
                .map_or(Duration::ZERO, |index| self.pieces[index].1);
            let text = printable(&String::from_utf8_lossy(line));
            if !text.is_empty() {
                lines.push((at, text));
            }
            start += line.len();
        }
        lines
    }

    /// The value of the first line `NAME: VALUE` of init.
    pub(super) fn reported(&self, name: &str) -> Option<String> {
        self.lines().into_iter().find_map(|(_, line)| {
            let value = line.strip_prefix(name)?.strip_prefix(": ")?;
            Some(value.to_owned())
        })
    }

    /// The lines of init, from its first to its last.
    pub(super) fn report(&self) -> Vec<String> {
        let lines = self.lines().into_iter().map(|(_, line)| line);
        lines
            .skip_while(|line| !line.contains("userspace reached"))
            // The kernel's own messages.
            .filter(|line| !line.starts_with('['))
            .collect()
    }
}

/// The lines with their times in seconds.
impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines()
            .iter()
            .try_for_each(|(at, line)| writeln!(f, "{:9.3} {line}", at.as_secs_f64()))
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// A line without control characters, escape sequences of terminals (ECMA-48) and blanks at its end.
fn printable(line: &str) -> String {
    let mut text = String::new();
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            // A control sequence ends with a character from `@` on; others have one character.
            if characters.next() == Some('[') {
                let _: Option<char> = characters.find(|end| ('@'..='~').contains(end));
            }
        } else if !character.is_control() {
            text.push(character);
        }
    }
    text.truncate(text.trim_end().len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn milestones_are_seen_across_pieces() {
        let mut timeline = Timeline::default();
        for (at, piece) in [
            (10, "\u{1b}[2J\u{1b}[01;01HBds"),
            (20, "Dxe: starting Boot0001\r\n"),
            (30, "EFI stub: Loaded initrd\r\n[    0.000000] Linux ver"),
            (40, "sion 6.12\r\n"),
            (50, "userspace reached: Linux 6.12 x86_64\r\nefi: 64 bits\r\n"),
            (60, "[    4.0] reboot: Power down\r\nclock: 7 rtc_cmos\r\n"),
        ] {
            timeline.push(piece.as_bytes(), ms(at));
        }
        let times = Milestone::ALL.map(|milestone| timeline.time_of(milestone));
        assert_eq!(times, [10, 20, 30, 40, 50].map(|at| Some(ms(at))));
        assert_eq!(
            timeline.lines()[..3],
            [
                (ms(10), "BdsDxe: starting Boot0001".to_owned()),
                (ms(30), "EFI stub: Loaded initrd".to_owned()),
                (ms(30), "[    0.000000] Linux version 6.12".to_owned()),
            ]
        );
        assert!(
            timeline
                .to_string()
                .starts_with("    0.010 BdsDxe: starting Boot0001\n    0.030 EFI stub")
        );
        assert_eq!(timeline.reported("efi").unwrap(), "64 bits");
        assert_eq!(timeline.reported("acpi"), None);
        assert_eq!(
            timeline.report(),
            [
                "userspace reached: Linux 6.12 x86_64",
                "efi: 64 bits",
                "clock: 7 rtc_cmos"
            ]
        );
    }

    #[test]
    fn a_milestone_counts_once() {
        let mut timeline = Timeline::default();
        timeline.push(b"", ms(1));
        assert_eq!(timeline.time_of(Milestone::Output), None);
        timeline.push(b"Linux version", ms(2));
        timeline.push(b"Linux version", ms(3));
        timeline.note(Milestone::Kernel, ms(4));
        timeline.note(Milestone::Userspace, ms(5));
        assert_eq!(timeline.time_of(Milestone::Kernel), Some(ms(2)));
        assert_eq!(timeline.time_of(Milestone::Userspace), Some(ms(5)));
        assert_eq!(timeline.time_of(Milestone::Stub), None);
    }

    #[test]
    fn escape_sequences_are_not_printable() {
        for (line, expected) in [
            ("\u{1b}[0m\u{1b}[37mab c \r\n", "ab c"),
            ("\u{1b}c\u{8}x", "x"),
            ("\u{1b}[", ""),
            ("\u{1b}", ""),
        ] {
            assert_eq!(printable(line), expected, "{line:?}");
        }
    }
}
