//! Completion scripts in their shells, and the manual pages in their formatters.

use std::fs;
use std::path::Path;

use libtest_mimic::{Completion, Trial};

use crate::command::{missing_tool, shell, vmboot};

/// Shell commands that must succeed and print nothing, with the completion script in `SCRIPT`.
const SHELLS: [(&str, &str); 3] = [
    (
        "bash",
        "bash -n SCRIPT && bash -c '. ./SCRIPT && complete -p vmboot | grep -q _vmboot'",
    ),
    (
        "zsh",
        "zsh -n SCRIPT && zsh -fc 'autoload -U compinit && compinit -D && . ./SCRIPT && whence -w _vmboot | grep -q function'",
    ),
    (
        "fish",
        "fish -n SCRIPT && fish --no-config -c '. ./SCRIPT; complete -C \"vmboot ru\" | grep -q ^run'",
    ),
];

/// Formatters of manual pages that print their warnings about `PAGE`.
const FORMATTERS: [(&str, &str); 3] = [
    ("groff", "groff -man -Tutf8 -ww -z PAGE 2>&1"),
    ("man", "man --warnings=w -l PAGE 2>&1 >/dev/null"),
    ("mandoc", "mandoc -Tlint -Wwarning PAGE"),
];

pub(crate) fn trials() -> Vec<Trial> {
    let shells = SHELLS.into_iter().map(|(name, command)| {
        Trial::ignorable_test(format!("completion {name}"), move || {
            let dir = tempfile::tempdir()?;
            fs::write(dir.path().join("SCRIPT"), vmboot(&["completions", name])?)?;
            Ok(silent(name, dir.path(), command))
        })
    });
    let formatters = FORMATTERS.into_iter().map(|(name, command)| {
        Trial::ignorable_test(format!("manual pages {name}"), move || {
            let dir = tempfile::tempdir()?;
            vmboot(&["man", dir.path().to_str().unwrap()])?;
            let mut result = Completion::Completed;
            for page in fs::read_dir(dir.path())? {
                let page = page?.file_name().into_string().unwrap();
                result = silent(name, dir.path(), &command.replace("PAGE", &page));
            }
            Ok(result)
        })
    });
    shells.chain(formatters).collect()
}

/// Runs a command that must succeed and print nothing, unless its tool is not installed.
fn silent(tool: &str, dir: &Path, command: &str) -> Completion {
    if missing_tool(tool).is_some() {
        return Completion::ignored_with(format!("{tool} is not installed"));
    }
    shell(
        dir,
        &format!("output=$({command}); echo \"$output\" >&2; test -z \"$output\""),
    );
    Completion::Completed
}
