//! Derives an apt source for another Debian release from the machine's own apt sources.
//!
//! The mirror, the keys and the options are the machine's: a proxy, a snapshot or an internal mirror is used for the other
//! release as well, and this repository names no host.

use std::fs;
use std::io;
use std::path::Path;

use crate::error::{Error, WithPath as _};

/// Directory that apt reads in addition to `/etc/apt/sources.list`.
const PARTS: &str = "/etc/apt/sources.list.d";

/// Fields of a deb822 source, and options of a one-line source, about access to the mirror and its signatures.
const KEPT: [&str; 6] = [
    "Signed-By",
    "Trusted",
    "Check-Valid-Until",
    "Valid-Until-Max",
    "Allow-Insecure",
    "By-Hash",
];

/// The keyring with the keys of every current release. The key of a single release cannot check another one.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Names under which a mirror serves a release, besides the release's own.
const ALIASES: [&str; 5] = ["oldstable", "stable", "testing", "unstable", "sid"];

/// One entry of the machine's apt sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    /// URIs of the archive, separated by blanks.
    uris: String,
    suites: Vec<String>,
    components: Vec<String>,
    /// Field name as in deb822, and its value with continuation lines.
    options: Vec<(String, String)>,
}

/// The machine's sources, and the codename of its release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MachineSources {
    codename: String,
    sources: Vec<Source>,
}

/// Reads the machine's sources.
pub(super) fn of_machine() -> Result<MachineSources, Error> {
    let mut sources = one_line(&read("/etc/apt/sources.list".as_ref())?);
    let mut parts: Vec<_> = match fs::read_dir(PARTS) {
        Ok(entries) => entries.collect::<Result<_, _>>().with_path(Path::new(PARTS))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error).with_path(Path::new(PARTS)),
    };
    parts.sort_by_key(fs::DirEntry::file_name);
    for part in parts {
        let path = part.path();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("list") => sources.extend(one_line(&read(&path)?)),
            Some("sources") => sources.extend(deb822(&read(&path)?)),
            _ => {}
        }
    }
    Ok(MachineSources {
        codename: codename().unwrap_or_default(),
        sources,
    })
}

/// The text of a file, empty when it is absent.
fn read(path: &Path) -> Result<String, Error> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        other => other.with_path(path),
    }
}

/// The release that the machine runs, when it is Debian.
pub(super) fn codename() -> Option<String> {
    codename_in(&fs::read_to_string("/etc/os-release").ok()?)
}

fn codename_in(os_release: &str) -> Option<String> {
    let value = |name: &str| {
        let line = os_release
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.map(|value| value.trim_matches('"').to_owned())
    };
    (value("ID")? == "debian").then(|| value("VERSION_CODENAME"))?
}

/// A deb822 source for `suites` from the first entry that serves the main component of the machine's own release.
pub(super) fn derive(machine: &MachineSources, suites: &str) -> Option<String> {
    let source = machine.sources.iter().find(|source| {
        let release = |suite: &String| *suite == machine.codename || ALIASES.contains(&suite.as_str());
        source.suites.iter().any(release) && source.components.iter().any(|name| name == "main")
    })?;
    let mut stanza = format!(
        "Types: deb\nURIs: {}\nSuites: {suites}\nComponents: main\n",
        source.uris
    );
    for (name, value) in &source.options {
        let value = if name == "Signed-By" && is_single_release_keyring(value) {
            KEYRING
        } else {
            value
        };
        stanza.extend([name.as_str(), ": ", value, "\n"]);
    }
    Some(stanza)
}

/// True for Debian's keyrings of one release, such as `/usr/share/keyrings/debian-archive-bookworm-stable.gpg`.
fn is_single_release_keyring(path: &str) -> bool {
    path.starts_with("/usr/share/keyrings/debian-archive-") && path != KEYRING
}

/// Entries in the one-line form: `deb [option=value ...] uri suite component ...`.
fn one_line(text: &str) -> Vec<Source> {
    text.lines().filter_map(one_line_entry).collect()
}

fn one_line_entry(line: &str) -> Option<Source> {
    let line = line.split('#').next()?.trim();
    let rest = line.strip_prefix("deb")?;
    if !rest.starts_with([' ', '\t']) {
        return None;
    }
    let rest = rest.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']')?,
        None => ("", rest),
    };
    let options = options.split_whitespace().filter_map(|option| {
        let (name, value) = option.split_once('=')?;
        let name = KEPT.iter().find(|kept| kept.eq_ignore_ascii_case(name))?;
        Some(((*name).to_owned(), value.replace(',', " ")))
    });
    let mut words = rest.split_whitespace().map(str::to_owned);
    Some(Source {
        options: options.collect(),
        uris: words.next()?,
        suites: vec![words.next()?],
        components: words.collect(),
    })
}

/// Entries in the deb822 form: stanzas of `Name: value` lines, continued by lines that start with a blank.
fn deb822(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut stanza: Vec<(String, String)> = Vec::new();
    for line in text.lines().chain([""]) {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            sources.extend(stanza_source(&std::mem::take(&mut stanza)));
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = stanza.last_mut() {
                value.push('\n');
                value.push_str(line);
            }
        } else if let Some((name, value)) = line.split_once(':') {
            stanza.push((name.trim().to_owned(), value.trim().to_owned()));
        }
    }
    sources
}

fn stanza_source(stanza: &[(String, String)]) -> Option<Source> {
    let field = |name: &str| {
        let found = stanza.iter().find(|(field, _)| field.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    };
    let words = |name| {
        field(name)
            .unwrap_or_default()
            .split_whitespace()
            .map(str::to_owned)
            .collect()
    };
    let disabled = field("Enabled").is_some_and(|value| ["no", "false", "0"].contains(&value));
    let types: Vec<String> = words("Types");
    if disabled || !types.iter().any(|kind| kind == "deb") {
        return None;
    }
    let options = stanza.iter().filter_map(|(name, value)| {
        let name = KEPT.iter().find(|kept| kept.eq_ignore_ascii_case(name))?;
        Some(((*name).to_owned(), value.clone()))
    });
    Some(Source {
        uris: field("URIs")?.split_whitespace().collect::<Vec<_>>().join(" "),
        suites: words("Suites"),
        components: words("Components"),
        options: options.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Derives a trixie source on a bookworm machine with these sources.
    fn check(sources: Vec<Source>, expected: Option<&str>) {
        let machine = MachineSources {
            codename: "bookworm".into(),
            sources,
        };
        assert_eq!(derive(&machine, "trixie").as_deref(), expected);
    }

    #[test]
    fn one_line_sources() {
        check(
            one_line("deb http://mirror.example/debian bookworm main contrib # the archive\n"),
            Some("Types: deb\nURIs: http://mirror.example/debian\nSuites: trixie\nComponents: main\n"),
        );
        check(
            one_line("deb http://mirror.example/debian stable main"),
            Some("Types: deb\nURIs: http://mirror.example/debian\nSuites: trixie\nComponents: main\n"),
        );
        check(
            one_line(
                "# deb http://off.example/debian bookworm main\n\
                 deb-src http://src.example/debian bookworm main\n\
                 deb http://sec.example/debian-security bookworm-security main\n\
                 deb [arch=amd64 signed-by=/k/a.gpg,/k/b.gpg check-valid-until=no] \
                 mirror+file:/etc/apt/mirrors/debian.list bookworm main\n",
            ),
            Some(
                "Types: deb\nURIs: mirror+file:/etc/apt/mirrors/debian.list\nSuites: trixie\n\
                 Components: main\nSigned-By: /k/a.gpg /k/b.gpg\nCheck-Valid-Until: no\n",
            ),
        );
    }

    #[test]
    fn deb822_sources() {
        check(
            deb822(
                "Types: deb deb-src\n# a comment inside\nURIs: http://a.example/debian http://b.example/debian\n\
                 Suites: bookworm bookworm-updates\nComponents: main\n\
                 Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n\
                 Types: deb\nURIs: http://sec.example/debian-security\nSuites: bookworm-security\nComponents: main\n",
            ),
            Some(
                "Types: deb\nURIs: http://a.example/debian http://b.example/debian\nSuites: trixie\n\
                 Components: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n",
            ),
        );
    }

    #[test]
    fn a_key_inside_the_source_is_kept() {
        let key = "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQIN\n";
        let text = format!("Types: deb\nURIs: http://a.example\nSuites: bookworm\nComponents: main\n{key}");
        let expected = "Types: deb\nURIs: http://a.example\nSuites: trixie\nComponents: main\n\
                        Signed-By: \n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQIN\n";
        check(deb822(&text), Some(expected));
    }

    #[test]
    fn the_key_of_one_release_gives_way_to_the_keyring() {
        check(
            one_line(
                "deb [signed-by=/usr/share/keyrings/debian-archive-bookworm-stable.gpg] http://a.example bookworm main",
            ),
            Some(&format!(
                "Types: deb\nURIs: http://a.example\nSuites: trixie\nComponents: main\nSigned-By: {KEYRING}\n"
            )),
        );
    }

    #[test]
    fn nothing_usable_gives_nothing() {
        check(Vec::new(), None);
        check(
            one_line("deb http://a.example bookworm-backports main\ndeb http://b.example bookworm non-free"),
            None,
        );
        check(
            deb822("Enabled: no\nTypes: deb\nURIs: http://a.example\nSuites: bookworm\nComponents: main\n"),
            None,
        );
        check(deb822("Types: deb\nSuites: bookworm\nComponents: main\n"), None);
        check(
            one_line("deb [signed-by=/k http://a.example bookworm main\ndebian http://a bookworm main\n"),
            None,
        );
    }

    #[test]
    fn only_debian_has_a_codename() {
        for (text, expected) in [
            ("ID=debian\nVERSION_CODENAME=bookworm\n", Some("bookworm")),
            ("VERSION_CODENAME=\"trixie\"\nID=\"debian\"\n", Some("trixie")),
            ("ID=ubuntu\nVERSION_CODENAME=noble\n", None),
            ("ID=debian\n", None),
            ("", None),
        ] {
            assert_eq!(codename_in(text).as_deref(), expected, "{text}");
        }
    }
}
