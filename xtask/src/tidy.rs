//! `cargo xtask tidy`: the house rules that no compiler checks.
//!
//! A rule reads the [`tree::Tree`] and returns its violations. What a rule allows, such as the dependencies of each crate, is
//! a table at the start of its file.

mod circle;
mod code;
mod dependencies;
mod fuzzing;
mod imports;
mod layout;
mod manifests;
mod readme;
mod source;
#[cfg(test)]
mod testing;
mod tree;
mod unsafety;
mod validation;
mod violation;

use std::path::Path;

use crate::cli::TidyArgs;
use crate::error::Error;
use crate::progress::print_status;
use crate::workspace::Workspace;
use tree::Tree;
use violation::Violation;

/// A rule: its name, and the function that finds its violations.
type Rule = (&'static str, fn(&Tree) -> Vec<Violation>);

const RULES: [Rule; 16] = [
    ("dependencies", dependencies::check),
    ("dependency-circle", dependencies::check_circles),
    ("external-dependencies", dependencies::check_external),
    ("forbid-unsafe", unsafety::check_forbidden),
    ("unsafe-reason", unsafety::check_reasons),
    ("target-arch", code::check_target_arch),
    ("forbidden-code", code::check_forbidden),
    ("file-length", layout::check_length),
    ("file-name", layout::check_names),
    ("mod-rs", layout::check_mod_rs),
    ("fuzz-target", fuzzing::check),
    ("readme", readme::check),
    ("inheritance", manifests::check),
    ("licences", manifests::check_licences),
    ("import-circle", imports::check),
    ("validation", validation::check),
];

/// Checks the rules and prints the violations.
pub(crate) fn run(workspace: &Workspace, args: &TidyArgs) -> Result<(), Error> {
    let rules = select(&args.rules)?;
    let tree = Tree::read(workspace.root())?;
    let mut violations: Vec<Violation> = rules
        .iter()
        .flat_map(|(name, rule)| named(name, rule(&tree)))
        .collect();
    violations.retain(|violation| {
        args.paths.is_empty() || args.paths.iter().any(|path| violation.path.starts_with(path))
    });
    violations.sort();
    violations.dedup();
    for violation in &violations {
        println!("{violation}");
    }
    if violations.is_empty() {
        let files = tree.sources().count();
        print_status(&format!("{} house rules hold in {files} files", rules.len()));
        Ok(())
    } else {
        Err(Error::Tidy {
            count: violations.len(),
        })
    }
}

/// A pure crate: no I/O and no unsafe code, so that its own tests can cover all of it.
#[derive(Clone, Debug)]
pub(crate) struct PureCrate {
    /// The name of its directory.
    pub(crate) name: String,
    /// The name of its package.
    pub(crate) package: String,
}

/// The pure crates of the repository.
pub(crate) fn pure_crates(root: &Path) -> Result<Vec<PureCrate>, Error> {
    let tree = Tree::read_packages(root)?;
    let pure = tree
        .packages()
        .iter()
        .filter(|package| dependencies::is_pure(package));
    Ok(pure
        .map(|package| PureCrate {
            name: package.short_name().to_owned(),
            package: package.name.clone(),
        })
        .collect())
}

fn named(name: &'static str, mut violations: Vec<Violation>) -> Vec<Violation> {
    for violation in &mut violations {
        violation.rule = name;
    }
    violations
}

/// The rules of these names, or all of them.
fn select(names: &[String]) -> Result<Vec<Rule>, Error> {
    let unknown = names
        .iter()
        .find(|name| RULES.iter().all(|(rule, _)| rule != name));
    if let Some(name) = unknown {
        let known: Vec<_> = RULES.iter().map(|(name, _)| *name).collect();
        return Err(Error::NoRule {
            name: name.clone(),
            known: known.join(", "),
        });
    }
    let is_chosen = |rule: &Rule| names.is_empty() || names.iter().any(|name| name == rule.0);
    Ok(RULES.into_iter().filter(is_chosen).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_holds_in_a_good_workspace() {
        let tree = testing::tree(&[]);
        for (name, rule) in RULES {
            assert_eq!(rule(&tree), [], "{name}");
        }
    }

    #[test]
    fn rules_are_chosen_by_name() {
        let names = |wanted: &[&str]| {
            let wanted: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
            select(&wanted).map(|rules| rules.iter().map(|(name, _)| *name).collect::<Vec<_>>())
        };
        assert_eq!(names(&["readme", "mod-rs"]).unwrap(), ["mod-rs", "readme"]);
        assert_eq!(names(&[]).unwrap().len(), RULES.len());
        let error = names(&["no-such-rule"]).unwrap_err().to_string();
        assert!(
            error.contains("no-such-rule") && error.contains("import-circle"),
            "{error}"
        );
    }
}
