//! `/loader/loader.conf`, the configuration of systemd-boot (loader.conf(5)).

use alloc::vec::Vec;

use crate::name::parse_number;
use crate::note::{Note, NoteKind, Notes};
use crate::pattern::Pattern;
use crate::text::{self, Line, TextError};

/// Content of `loader.conf`. A line with an invalid value is ignored, with a note: it never prevents a boot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoaderConf {
    /// `default`: entry to boot.
    pub default: Option<DefaultEntry>,
    /// `preferred`: entry to boot unless it is bad, before `default`.
    pub preferred: Option<DefaultEntry>,
    /// `timeout`.
    pub timeout: Option<Timeout>,
    /// `console-mode`.
    pub console_mode: Option<ConsoleMode>,
    /// `editor`: people may edit the command line.
    pub editor: Option<bool>,
    /// `auto-entries`: show entries of other operating systems.
    pub auto_entries: Option<bool>,
    /// `auto-firmware`: show an entry for the set-up of the firmware.
    pub auto_firmware: Option<bool>,
    /// Lines without effect; at most 32.
    pub notes: Vec<Note>,
}

/// Value of `default` or `preferred`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DefaultEntry {
    /// Pattern for the [identification](crate::Entry::id) of an entry.
    Pattern(Pattern),
    /// `@saved`: the entry of the last boot. Nothing is written to the disk here, so there is none: a note says so.
    Saved,
}

/// Value of `timeout`: time that the menu is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Timeout {
    /// Seconds; zero shows no menu.
    Seconds(u32),
    /// `menu-force`: until somebody selects an entry.
    MenuForce,
    /// `menu-hidden`: no menu unless somebody presses a key.
    MenuHidden,
    /// `menu-disabled`: no menu.
    MenuDisabled,
}

/// Value of `console-mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConsoleMode {
    /// Number of a mode of EFI's text output.
    Number(u32),
    /// `auto`: chosen by heuristics.
    Auto,
    /// `max`: the highest number.
    Max,
    /// `keep`: that of the firmware.
    Keep,
}

impl LoaderConf {
    /// Parses the content of the file. Unknown keys are ignored, with a note.
    ///
    /// # Errors
    ///
    /// [`TextError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, TextError> {
        let text = text::decode(bytes)?;
        let (mut conf, mut notes) = (Self::default(), Notes::default());
        for line in text::lines(text) {
            conf.line(&line, &mut notes);
        }
        conf.notes = notes.0;
        Ok(conf)
    }

    /// Applies a line.
    fn line(&mut self, line: &Line<'_>, notes: &mut Notes) {
        let Line { number, value, .. } = *line;
        if let Some((key, reason)) = WITHOUT_EFFECT.iter().copied().find(|(key, _)| *key == line.key) {
            notes.add(number, NoteKind::Unsupported { key, reason });
            return;
        }
        let Some(key) = KEYS.iter().copied().find(|key| *key == line.key) else {
            notes.unknown_key(number, line.key);
            return;
        };
        if value.is_empty() {
            notes.add(number, NoteKind::NoValue { key });
            return;
        }
        // Stores a valid value.
        macro_rules! set {
            ($field:ident, $value:expr, $expected:literal) => {
                match $value {
                    Some(value) => notes.replace(number, key, &mut self.$field, value),
                    None => notes.invalid(number, key, value, $expected),
                }
            };
        }
        if value == "@saved" && matches!(key, "default" | "preferred") {
            let reason =
                "\"@saved\" needs a variable that keeps the last entry, and this loader does not write";
            notes.add(number, NoteKind::Unsupported { key, reason });
        }
        match key {
            "default" => set!(default, parse_default(value), "a pattern of at most 255 bytes"),
            "preferred" => set!(preferred, parse_default(value), "a pattern of at most 255 bytes"),
            "timeout" => set!(
                timeout,
                parse_timeout(value),
                "seconds, \"menu-force\", \"menu-hidden\" or \"menu-disabled\""
            ),
            "console-mode" => set!(
                console_mode,
                parse_console_mode(value),
                "a number, \"auto\", \"max\" or \"keep\""
            ),
            "editor" => set!(editor, parse_bool(value), "\"yes\" or \"no\""),
            "auto-entries" => set!(auto_entries, parse_bool(value), "\"yes\" or \"no\""),
            // The last of `KEYS`: "auto-firmware".
            _ => set!(auto_firmware, parse_bool(value), "\"yes\" or \"no\""),
        }
    }
}

/// Keys that this crate gives to its callers.
const KEYS: [&str; 7] = [
    "default",
    "preferred",
    "timeout",
    "console-mode",
    "editor",
    "auto-entries",
    "auto-firmware",
];

/// Other keys of systemd-boot, and the reasons why they have no effect.
const WITHOUT_EFFECT: [(&str, &str); 9] = [
    ("auto-poweroff", "there is no menu with an entry for it"),
    ("auto-reboot", "there is no menu with an entry for it"),
    ("beep", "there is no speaker"),
    ("log-level", "messages have no levels"),
    ("reboot-for-bitlocker", "Windows is not started"),
    ("reboot-on-error", "the next entry is tried after an error"),
    ("secure-boot-enroll", "no keys are enrolled"),
    ("secure-boot-enroll-action", "no keys are enrolled"),
    ("random-seed-mode", "the seed is not read from the disk"),
];

fn parse_default(value: &str) -> Option<DefaultEntry> {
    match value {
        "@saved" => Some(DefaultEntry::Saved),
        pattern => Pattern::parse(pattern).ok().map(DefaultEntry::Pattern),
    }
}

fn parse_timeout(value: &str) -> Option<Timeout> {
    match value {
        "menu-force" => Some(Timeout::MenuForce),
        "menu-hidden" => Some(Timeout::MenuHidden),
        "menu-disabled" => Some(Timeout::MenuDisabled),
        seconds => parse_number(seconds).map(Timeout::Seconds),
    }
}

fn parse_console_mode(value: &str) -> Option<ConsoleMode> {
    match value {
        "auto" => Some(ConsoleMode::Auto),
        "max" => Some(ConsoleMode::Max),
        "keep" => Some(ConsoleMode::Keep),
        number => parse_number(number).map(ConsoleMode::Number),
    }
}

/// "Boolean arguments" of loader.conf(5).
fn parse_bool(value: &str) -> Option<bool> {
    match value {
        "yes" | "y" | "true" | "t" | "on" | "1" => Some(true),
        "no" | "n" | "false" | "f" | "off" | "0" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &LoaderConf, notes: &[&str]) {
        let mut conf = LoaderConf::parse(text.as_bytes()).unwrap();
        let found: Vec<_> = conf.notes.drain(..).map(|note| note.to_string()).collect();
        assert_eq!(found, notes);
        assert_eq!(conf, *expected, "{text}");
    }

    fn pattern(text: &str) -> DefaultEntry {
        DefaultEntry::Pattern(Pattern::parse(text).unwrap())
    }

    #[test]
    fn all_keys() {
        check("", &LoaderConf::default(), &[]);
        check(
            "# systemd-boot\r\n\ndefault debian-*\npreferred [a]\ntimeout 5\nconsole-mode max\neditor no\n\
             auto-entries\tt\nauto-firmware 0",
            &LoaderConf {
                default: Some(pattern("debian-*")),
                preferred: Some(pattern("[a]")),
                timeout: Some(Timeout::Seconds(5)),
                console_mode: Some(ConsoleMode::Max),
                editor: Some(false),
                auto_entries: Some(true),
                auto_firmware: Some(false),
                notes: Vec::new(),
            },
            &[],
        );
    }

    #[test]
    fn timeouts_and_modes() {
        let check = |timeout, mode, expected: (Option<Timeout>, Option<ConsoleMode>)| {
            let text = alloc::format!("timeout {timeout}\nconsole-mode {mode}");
            let conf = LoaderConf::parse(text.as_bytes()).unwrap();
            assert_eq!((conf.timeout, conf.console_mode), expected);
        };
        check(
            "0",
            "0",
            (Some(Timeout::Seconds(0)), Some(ConsoleMode::Number(0))),
        );
        check(
            "menu-force",
            "auto",
            (Some(Timeout::MenuForce), Some(ConsoleMode::Auto)),
        );
        check(
            "menu-hidden",
            "keep",
            (Some(Timeout::MenuHidden), Some(ConsoleMode::Keep)),
        );
        check(
            "menu-disabled",
            "max",
            (Some(Timeout::MenuDisabled), Some(ConsoleMode::Max)),
        );
        check("-1", "+1", (None, None));
        check("4294967296", "one", (None, None));
    }

    #[test]
    fn notes_explain_what_has_no_effect() {
        let default = LoaderConf::default;
        check(
            "default",
            &default(),
            &["line 1: \"default\" has no value; the line is ignored"],
        );
        check(
            "defaults x\n editor maybe",
            &default(),
            &[
                "line 1: the key \"defaults\" is unknown; the line is ignored",
                "line 2: \"maybe\" is no value for \"editor\", expected \"yes\" or \"no\"; the line is ignored",
            ],
        );
        check(
            "beep yes",
            &default(),
            &["line 1: \"beep\" is ignored: there is no speaker"],
        );
        check(
            "default @saved",
            &LoaderConf {
                default: Some(DefaultEntry::Saved),
                ..default()
            },
            &[
                "line 1: \"default\" is ignored: \"@saved\" needs a variable that keeps the last entry, and this loader does not write",
            ],
        );
        check(
            "timeout 1\ntimeout 2",
            &LoaderConf {
                timeout: Some(Timeout::Seconds(2)),
                ..default()
            },
            &["line 2: \"timeout\" occurs again and replaces the earlier line"],
        );
        let long = alloc::format!("default {}", "a".repeat(256));
        let note = alloc::format!(
            "line 1: \"{}\" is no value for \"default\", expected a pattern of at most 255 bytes; the line is ignored",
            "a".repeat(64)
        );
        check(&long, &default(), &[&note]);
    }
}
