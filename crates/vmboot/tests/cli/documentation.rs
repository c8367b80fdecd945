//! Completion scripts and manual pages, without their tools.

use std::fs;

use crate::{stderr, vmboot};

/// The long options of a subcommand, by its help.
fn long_options(subcommand: &str) -> Vec<String> {
    let output = vmboot(&[subcommand, "--help"]);
    let help = str::from_utf8(&output.stdout).unwrap();
    let options: Vec<_> = help
        .lines()
        .filter_map(|line| line.trim_start().split_once("--"))
        .filter(|(before, _)| before.is_empty() || *before == "-h, " || *before == "-V, ")
        .map(|(_, option)| format!("--{}", option.split([' ', '.', ',']).next().unwrap()))
        .collect();
    assert!(!options.is_empty(), "{help}");
    options
}

#[test]
fn completions_have_all_options_and_subcommands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = vmboot(&["completions", shell]);
        assert!(output.status.success(), "{}", stderr(&output));
        let script = str::from_utf8(&output.stdout).unwrap();
        for subcommand in [
            "inspect",
            "plan",
            "measure",
            "run",
            "completions",
            "man",
            "doctor",
        ] {
            assert!(script.contains(subcommand), "{shell}: no {subcommand}");
            for option in long_options(subcommand) {
                // fish has the names without dashes.
                assert!(
                    script.contains(option.trim_start_matches('-')),
                    "{shell}: no {option} of {subcommand}"
                );
            }
        }
    }
}

#[test]
fn each_subcommand_has_a_page_with_its_options() {
    let dir = tempfile::tempdir().unwrap();
    let pages = dir.path().join("man1");
    let output = vmboot(&["man", pages.to_str().unwrap()]);
    assert!(output.status.success(), "{}", stderr(&output));
    let mut names: Vec<_> = fs::read_dir(&pages)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    for subcommand in [
        "inspect",
        "plan",
        "measure",
        "run",
        "completions",
        "man",
        "doctor",
    ] {
        let name = format!("vmboot-{subcommand}.1");
        assert!(names.contains(&name), "{names:?}");
        let page = fs::read_to_string(pages.join(&name)).unwrap();
        assert!(
            page.contains(".TH vmboot-") && page.contains(".SH OPTIONS"),
            "{page}"
        );
        for option in long_options(subcommand) {
            // Hyphens are escaped.
            let option = option.replace('-', "\\-");
            assert!(page.contains(&option), "{name}: no {option}");
        }
    }
    assert!(!names.contains(&"vmboot-help.1".to_owned()), "{names:?}");
    let top = fs::read(pages.join("vmboot.1")).unwrap();
    assert_eq!(vmboot(&["man"]).stdout, top);
    let text = String::from_utf8(top).unwrap();
    assert!(text.contains("vmboot\\-run(1)"), "{text}");
}
