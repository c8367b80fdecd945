//! `cargo xtask mutants`: measures how many mutants of a pure crate its own tests catch.
//!
//! `cargo-mutants` changes one thing at a time in a copy of the sources and runs the crate's unit and integration tests. A
//! mutant that no test catches is *missed*: a test is lacking, or the mutant is *equivalent*: it behaves like the original.
//! Equivalent mutants are listed with their reasons in `xtask/equivalent-mutants.toml` ([`equivalent`]).

mod equivalent;
mod outcomes;

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::cli::MutantsArgs;
use crate::error::{Error, WithPath as _};
use crate::process::{self, Running};
use crate::progress::print_status;
use crate::tidy::{PureCrate, pure_crates};
use crate::tools;
use crate::workspace::Workspace;
use equivalent::Equivalents;
use outcomes::{Outcomes, Score};

/// Minimum share of the viable mutants that must be caught, in per cent.
const MIN_SCORE: f64 = 99.0;

/// Minimum timeout of the tests of a mutant, in seconds. The timeout is otherwise five times the unmutated run's time.
const MIN_TIMEOUT_SECONDS: &str = "20";

/// Runs the tests of each crate against its mutants, then shows the scores.
pub(crate) fn run(workspace: &Workspace, args: &MutantsArgs) -> Result<(), Error> {
    let crates = select(pure_crates(workspace.root())?, &args.crates)?;
    let equivalents = Equivalents::read(workspace.root())?;
    let cargo_mutants = tools::ensure(workspace, "cargo-mutants")?;
    let mut scores = Vec::new();
    for pure in &crates {
        let outcomes = test(workspace, &cargo_mutants, pure, args)?;
        scores.push(Score::new(&pure.name, &outcomes, &equivalents));
    }
    println!("{}", outcomes::table(&scores));
    let failed: Vec<_> = scores
        .iter()
        .filter(|score| !score.is_at_least(MIN_SCORE))
        .map(|score| score.name.clone())
        .collect();
    if failed.is_empty() {
        Ok(())
    } else {
        Err(Error::Mutants {
            min: MIN_SCORE,
            crates: failed.join(", "),
        })
    }
}

/// The crates of these names, or all of them.
fn select(mut all: Vec<PureCrate>, names: &[String]) -> Result<Vec<PureCrate>, Error> {
    let unknown = names
        .iter()
        .find(|name| all.iter().all(|pure| pure.name != **name));
    if let Some(name) = unknown {
        let known: Vec<_> = all.iter().map(|pure| pure.name.as_str()).collect();
        return Err(Error::NoPureCrate {
            name: name.clone(),
            known: known.join(", "),
        });
    }
    all.retain(|pure| names.is_empty() || names.contains(&pure.name));
    Ok(all)
}

/// Runs the tests of one crate against its mutants.
fn test(
    workspace: &Workspace,
    cargo_mutants: &Path,
    pure: &PureCrate,
    args: &MutantsArgs,
) -> Result<Outcomes, Error> {
    print_status(&format!("testing the mutants of {}", pure.name));
    let output = workspace.xtask("mutants").join(&pure.name);
    fs::create_dir_all(&output).with_path(&output)?;
    let results = output.join("mutants.out/outcomes.json");
    // Results of an earlier run must not be mistaken for this run's.
    if results.exists() {
        fs::remove_file(&results).with_path(&results)?;
    }
    let mut command = command(workspace, cargo_mutants, pure, args);
    command
        .arg("--output")
        .arg(&output)
        .args(["--", "--lib", "--tests"]);
    let status = Running::start(&mut command)?.wait()?;
    // It also fails for a missed mutant; the results are then complete.
    match (status.code(), Outcomes::read(&results)?) {
        (Some(0 | 2 | 3), Some(outcomes)) => Ok(outcomes),
        _ => Err(Error::Shown {
            command: process::describe(&command),
            status,
        }),
    }
}

/// cargo-mutants for one crate, without the options for its results and its tests.
///
/// One target directory serves the mutants of all crates, so that what they depend on is built once; that allows one
/// job at a time. Without debug information a mutant links faster.
fn command(workspace: &Workspace, cargo_mutants: &Path, pure: &PureCrate, args: &MutantsArgs) -> Command {
    let mut command = Command::new(cargo_mutants);
    command
        .current_dir(workspace.root())
        .args([
            "mutants",
            "--package",
            &pure.package,
            "--test-package",
            &pure.package,
        ])
        .args(["--all-features", "--cap-lints=true", "--jobs=1"])
        .args(["--minimum-test-timeout", MIN_TIMEOUT_SECONDS])
        .env("CARGO_TARGET_DIR", workspace.xtask("mutants/target"))
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .env("CARGO_PROFILE_TEST_DEBUG", "0");
    for file in &args.files {
        command.args(["--file", file]);
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crates_are_chosen_by_the_name_of_their_directory() {
        let all = || {
            ["fmt-elf", "fmt-pe"]
                .map(|name| PureCrate {
                    name: name.to_owned(),
                    package: format!("prefix-{name}"),
                })
                .to_vec()
        };
        let check = |names: &[&str], expected: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let chosen = select(all(), &names).unwrap();
            let packages: Vec<_> = chosen.iter().map(|pure| pure.package.as_str()).collect();
            assert_eq!(packages, expected, "{names:?}");
        };
        check(&[], &["prefix-fmt-elf", "prefix-fmt-pe"]);
        check(&["fmt-pe"], &["prefix-fmt-pe"]);
        let error = select(all(), &["hv-core".to_owned()]).unwrap_err().to_string();
        assert!(
            error.contains("hv-core") && error.contains("fmt-elf, fmt-pe"),
            "{error}"
        );
    }
}
