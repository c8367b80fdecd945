//! `os-release` files in unified kernel images (os-release(5)).

use alloc::borrow::ToOwned;
use alloc::string::String;

use crate::text::{self, TextError};

/// Fields of an `os-release` file that describe an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OsRelease {
    /// `PRETTY_NAME`
    pub pretty_name: Option<String>,
    /// `NAME`
    pub name: Option<String>,
    /// `ID`
    pub id: Option<String>,
    /// `IMAGE_ID`
    pub image_id: Option<String>,
    /// `IMAGE_VERSION`
    pub image_version: Option<String>,
    /// `VERSION`
    pub version: Option<String>,
    /// `VERSION_ID`
    pub version_id: Option<String>,
    /// `BUILD_ID`
    pub build_id: Option<String>,
}

impl OsRelease {
    /// Parses the content of a file. Other fields, and lines that are not assignments, are ignored.
    ///
    /// # Errors
    ///
    /// [`TextError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, TextError> {
        let mut fields = Self::default();
        for (key, value) in assignments(text::decode(bytes)?) {
            let field = match key {
                "PRETTY_NAME" => &mut fields.pretty_name,
                "NAME" => &mut fields.name,
                "ID" => &mut fields.id,
                "IMAGE_ID" => &mut fields.image_id,
                "IMAGE_VERSION" => &mut fields.image_version,
                "VERSION" => &mut fields.version,
                "VERSION_ID" => &mut fields.version_id,
                "BUILD_ID" => &mut fields.build_id,
                _ => continue,
            };
            *field = Some(value).filter(|value| !value.is_empty());
        }
        Ok(fields)
    }

    /// Title of the entry: the most precise name for people.
    #[must_use]
    pub fn title(&self) -> Option<&str> {
        first([&self.pretty_name, &self.image_id, &self.name, &self.id])
    }

    /// Version of the entry: that of the image, else of the operating system.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        first([
            &self.image_version,
            &self.version,
            &self.version_id,
            &self.build_id,
        ])
    }

    /// Sort key of the entry: the identification of the image, else of the operating system.
    #[must_use]
    pub fn sort_key(&self) -> Option<&str> {
        first([&self.image_id, &self.id])
    }
}

fn first<const N: usize>(fields: [&Option<String>; N]) -> Option<&str> {
    fields.into_iter().find_map(|field| field.as_deref())
}

/// The assignments `KEY=VALUE` of a text, with the values unquoted.
pub(crate) fn assignments(text: &str) -> impl Iterator<Item = (&str, String)> {
    text.split('\n').filter_map(|line| {
        let line = line.trim_matches(text::is_space);
        let (key, value) = line.split_once('=')?;
        (!key.starts_with('#')).then(|| (key, unquote(value)))
    })
}

/// Removes the quotes of a value. A backslash protects the next character, except between single quotes.
fn unquote(value: &str) -> String {
    let quoted = |quote| value.strip_prefix(quote)?.strip_suffix(quote);
    if let Some(inner) = quoted('\'') {
        return inner.to_owned();
    }
    let inner = quoted('"').unwrap_or(value);
    let mut unquoted = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        let c = if c == '\\' { chars.next().unwrap_or(c) } else { c };
        unquoted.push(c);
    }
    unquoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, title: Option<&str>, version: Option<&str>, sort_key: Option<&str>) {
        let fields = OsRelease::parse(text.as_bytes()).unwrap();
        assert_eq!(
            (fields.title(), fields.version(), fields.sort_key()),
            (title, version, sort_key),
            "{text}"
        );
    }

    #[test]
    fn fields_by_precision() {
        check("", None, None, None);
        check(
            "PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"13\"\n\
             VERSION=\"13 (trixie)\"\nID=debian\nHOME_URL=\"https://www.debian.org/\"\n",
            Some("Debian GNU/Linux 13 (trixie)"),
            Some("13 (trixie)"),
            Some("debian"),
        );
        let image = "IMAGE_ID=appliance\nIMAGE_VERSION=7\nNAME=Base\nVERSION=1\nID=base";
        check(image, Some("appliance"), Some("7"), Some("appliance"));
        check(
            "NAME=Arch\nBUILD_ID=rolling\nID=arch",
            Some("Arch"),
            Some("rolling"),
            Some("arch"),
        );
        check(
            "ID=arch\nVERSION_ID=3\nBUILD_ID=4",
            Some("arch"),
            Some("3"),
            Some("arch"),
        );
        check("PRETTY_NAME=\nNAME=a", Some("a"), None, None);
        check("NAME=a\nNAME=b\r\n", Some("b"), None, None);
    }

    #[test]
    fn quotes() {
        let check = |text, expected| assert_eq!(unquote(text), expected, "{text}");
        check("a b", "a b");
        check("\"a b\"", "a b");
        check("'a \\b'", "a \\b");
        check("\"a \\\"b\\\" \\$c\\\\\"", "a \"b\" $c\\");
        check("\"a", "\"a");
        check("'", "'");
        check("\"", "\"");
        check("a\\", "a\\");
        check("", "");
    }

    #[test]
    fn other_lines_are_ignored() {
        check(
            "#NAME=a\n NAME=b \nno assignment\n=c\nname=d",
            Some("b"),
            None,
            None,
        );
        assert!(OsRelease::parse(b"NAME=\xff").is_err());
    }
}
