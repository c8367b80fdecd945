//! Results for other programs, as JSON.

use std::env;
use std::fmt::Write as _;
use std::fs;

/// The variable with the path of the file.
const FILE: &str = "VMBOOT_BENCH_ROWS";

/// Rows of a table: one JSON object a line.
#[derive(Default)]
pub(crate) struct Rows(String);

impl Rows {
    /// Adds a row. Names and units have no characters that JSON must escape.
    pub(crate) fn add(&mut self, name: impl AsRef<str>, value: f64, unit: &str) {
        let name = name.as_ref();
        writeln!(self.0, r#"{{"name":"{name}","value":{value},"unit":"{unit}"}}"#).unwrap();
    }

    /// Writes the rows to the file that the variable names, if it does.
    pub(crate) fn write(&self) {
        if let Some(path) = env::var_os(FILE) {
            fs::write(&path, &self.0).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
    }
}
