//! Profiles of cargo that one workspace takes from another.

use std::fs;

use toml::{Table, Value};

use crate::error::{Error, WithPath as _};
use crate::workspace::Workspace;

/// The release profile of the workspace in this directory, as the environment variables that set it for another workspace.
///
/// # Errors
///
/// The manifest cannot be read.
pub(crate) fn release_variables(
    workspace: &Workspace,
    directory: &str,
) -> Result<Vec<(String, String)>, Error> {
    let path = workspace.root().join(directory).join("Cargo.toml");
    let text = fs::read_to_string(&path).with_path(&path)?;
    let manifest: Table = toml::from_str(&text).map_err(|source| Error::Toml { path, source })?;
    let profile = manifest
        .get("profile")
        .and_then(|profiles| profiles.get("release"));
    let entries = profile.and_then(Value::as_table).into_iter().flatten();
    Ok(entries
        .filter_map(|(key, value)| Some((variable(key), text_of(value)?)))
        .collect())
}

/// The variable of a key, as the Cargo Book's chapter "Configuration" defines it.
fn variable(key: &str) -> String {
    let key = key.to_uppercase().replace('-', "_");
    format!("CARGO_PROFILE_RELEASE_{key}")
}

/// A value as text; `None` for tables and arrays, which have no variable.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Boolean(flag) => Some(flag.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guests_profile_is_read() {
        let workspace = Workspace::find().unwrap();
        let variables = release_variables(&workspace, "guests").unwrap();
        let value = |name: &str| {
            let found = variables.iter().find(|(variable, _)| variable == name);
            found.map(|(_, value)| value.as_str())
        };
        assert_eq!(value("CARGO_PROFILE_RELEASE_OPT_LEVEL"), Some("s"));
        assert_eq!(value("CARGO_PROFILE_RELEASE_LTO"), Some("true"));
        assert_eq!(value("CARGO_PROFILE_RELEASE_CODEGEN_UNITS"), Some("1"));
        assert_eq!(value("CARGO_PROFILE_DEV_PANIC"), None);
    }
}
