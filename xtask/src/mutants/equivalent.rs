//! The list of equivalent mutants: those that behave like the original.

use std::fs;
use std::path::Path;

use serde::Deserialize;

use crate::error::{Error, WithPath as _};

/// Path of the list, relative to the root of the repository.
const LIST: &str = "xtask/equivalent-mutants.toml";

/// The equivalent mutants.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Equivalents {
    #[serde(default, rename = "equivalent")]
    pub(super) all: Vec<Equivalent>,
}

/// Mutants of one file that have the same name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Equivalent {
    /// From the root of the repository.
    pub(super) file: String,
    /// The mutant's name as cargo-mutants prints it, after the line and column.
    pub(super) mutant: String,
    /// How many mutants of the file with this name are equivalent.
    #[serde(default = "one")]
    pub(super) count: usize,
    /// Why no test can notice it.
    pub(super) reason: String,
}

fn one() -> usize {
    1
}

impl Equivalents {
    /// Reads the list of the repository.
    pub(super) fn read(root: &Path) -> Result<Self, Error> {
        let path = root.join(LIST);
        let text = fs::read_to_string(&path).with_path(&path)?;
        toml::from_str(&text).map_err(|source| Error::Toml { path, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_has_a_reason() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for entry in Equivalents::read(root).unwrap().all {
            assert!(!entry.reason.trim().is_empty() && entry.count > 0, "{entry:?}");
            assert!(root.join(&entry.file).exists(), "{entry:?}");
        }
    }

    #[test]
    fn an_entry_without_a_reason_is_refused() {
        let entry = "[[equivalent]]\nfile = \"a.rs\"\nmutant = \"replace > with >= in f\"\n";
        let error = toml::from_str::<Equivalents>(entry).unwrap_err();
        assert!(error.to_string().contains("reason"), "{error}");
        let list: Equivalents =
            toml::from_str(&format!("{entry}reason = \"they are never equal\"\n")).unwrap();
        assert_eq!(list.all.iter().map(|entry| entry.count).collect::<Vec<_>>(), [1]);
    }
}
